//! The burst: a list of up to 256 mbufs, the only currency of the data path.
//!
//! rx_burst fills its tail up to the limit, tx_burst takes from its front. What tx did not accept stays in it, so nothing
//! can leak or be freed twice. Clearing or dropping a burst returns its mbufs to their pools in bulk.
//!
//! This file owns `unsafe`: the first `len` entries of `items` are always initialised, the others never read.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use crate::mbuf::{Header, Mbuf};
use crate::pool;

/// Most mbufs a burst can hold.
pub const BURST_MAX: usize = 256;

/// A list of mbufs with a fixed capacity of [`BURST_MAX`] and a settable limit for receiving.
///
/// ```
/// use pmd_core::{Burst, Pool, PoolConfig};
///
/// let pool = Pool::new(&PoolConfig { name: "p".into(), size: 8, ..PoolConfig::default() })?;
/// let mut burst = Burst::with_limit(4);
/// assert_eq!(pool.alloc_bulk(&mut burst, 8), 4);
/// assert_eq!((burst.len(), burst.room()), (4, 0));
/// burst.clear();
/// assert_eq!(pool.available(), 8);
/// # Ok::<(), pmd_core::PoolError>(())
/// ```
pub struct Burst {
    len: usize,
    limit: usize,
    items: [MaybeUninit<Mbuf>; BURST_MAX],
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

impl Burst {
    /// An empty burst whose limit is its capacity.
    pub fn new() -> Self {
        Self::with_limit(BURST_MAX)
    }

    /// An empty burst that receivers fill up to `limit` mbufs.
    ///
    /// # Panics
    /// When `limit` is 0 or more than [`BURST_MAX`].
    pub fn with_limit(limit: usize) -> Self {
        assert!((1..=BURST_MAX).contains(&limit), "a burst's limit is {limit}, but must be 1 to {BURST_MAX}");
        Self { len: 0, limit, items: [const { MaybeUninit::uninit() }; BURST_MAX] }
    }

    /// Number of mbufs held.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more mbufs a receiver may add.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.len)
    }

    /// Adds one mbuf at the end.
    ///
    /// # Errors
    /// Gives the mbuf back when all [`BURST_MAX`] places are taken.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.items.get_mut(self.len) {
            Some(item) => {
                item.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Takes the last mbuf.
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the entry was below `len`, so it is initialised; now it is above, so it is not read again.
        Some(unsafe { self.items[self.len].assume_init_read() })
    }

    /// Shortens to the first `keep` mbufs; the others return to their pools.
    pub fn truncate(&mut self, keep: usize) {
        if keep < self.len {
            let tail = self.len - keep;
            self.len = keep;
            // SAFETY: the `tail` entries from `keep` are initialised; `len` has been lowered, so they are given up here.
            unsafe { pool::release(self.headers(keep, tail)) };
        }
    }

    /// Returns all mbufs to their pools.
    #[inline]
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Returns the first `n` mbufs to their pools: what a sender does after copying them.
    ///
    /// # Panics
    /// When it holds fewer than `n`.
    #[inline]
    pub fn free_front(&mut self, n: usize) {
        assert!(n <= self.len, "cannot free {n} of {} mbufs", self.len);
        // Ownership leaves the list before the pool gets it: a panic in between leaks, it never frees twice.
        let (kept, len) = (self.len - n, std::mem::replace(&mut self.len, 0));
        // SAFETY: the first n <= len entries are initialised and no longer counted by `len`.
        unsafe { pool::release(self.headers(0, n)) };
        self.close_gap(n, len);
        self.len = kept;
    }

    /// Moves the first `n` mbufs out, in order.
    ///
    /// # Panics
    /// When it holds fewer than `n`.
    pub fn drain_front(&mut self, n: usize) -> Drain<'_> {
        assert!(n <= self.len, "cannot take {n} of {} mbufs", self.len);
        let len = std::mem::replace(&mut self.len, 0);
        Drain { burst: self, next: 0, end: n, len }
    }

    /// Moves the first mbufs to the end of `to`, as many as fit, and says how many.
    pub fn move_to(&mut self, to: &mut Burst) -> usize {
        let n = self.len.min(BURST_MAX - to.len);
        for mbuf in self.drain_front(n) {
            let pushed = to.push(mbuf);
            debug_assert!(pushed.is_ok(), "n places were free");
        }
        n
    }

    /// The mbufs as pointers to their headers: `len` of them, and behind them space for [`Self::room`] more, which
    /// [`Self::grow`] makes part of the burst. For drivers that receive and send in C.
    #[inline(always)]
    pub fn as_raw(&mut self) -> NonNull<NonNull<Header>> {
        NonNull::from(&mut self.items).cast()
    }

    /// Takes the next `n` pointers of [`Self::as_raw`] for received mbufs.
    ///
    /// # Safety
    /// `n` pointers have been written there, and each is one that [`Mbuf::from_raw`] would take.
    ///
    /// # Panics
    /// When there is no room for `n`.
    #[inline(always)]
    pub unsafe fn grow(&mut self, n: usize) {
        assert!(n <= self.room(), "{n} mbufs more, but there is room for {}", self.room());
        self.len += n;
    }

    /// Gives up the first `n` mbufs without returning them to their pools: somebody else has taken them as pointers.
    ///
    /// # Panics
    /// When it holds fewer than `n`.
    #[inline(always)]
    pub fn forget_front(&mut self, n: usize) {
        assert!(n <= self.len, "cannot forget {n} of {} mbufs", self.len);
        self.close_gap(n, self.len);
        self.len -= n;
    }

    /// Appends headers that the caller owns.
    ///
    /// # Safety
    /// Each header is out of its pool and nobody else has it. They fit: `len() + headers.len() <= BURST_MAX`.
    #[inline(always)]
    pub(crate) unsafe fn extend_from_headers(&mut self, headers: &[NonNull<Header>]) {
        let end = self.len + headers.len();
        for (item, header) in self.items[self.len..end].iter_mut().zip(headers) {
            // SAFETY: the caller owns the header and passes it on.
            item.write(unsafe { Mbuf::from_raw(*header) });
        }
        self.len = end;
    }

    /// `n` entries from `first`, seen as the headers they are handles of.
    fn headers(&self, first: usize, n: usize) -> &[NonNull<Header>] {
        let entries = &self.items[first..first + n];
        // SAFETY: Mbuf is a transparent NonNull<Header>, MaybeUninit<Mbuf> has its layout; callers name initialised entries
        // only (private function, three callers above and below).
        unsafe { std::slice::from_raw_parts(entries.as_ptr().cast(), n) }
    }

    /// Moves the entries [n, len) to the front.
    #[inline]
    fn close_gap(&mut self, n: usize, len: usize) {
        if n > 0 && n < len {
            let base = self.items.as_mut_ptr();
            // SAFETY: both ranges lie inside `items`; MaybeUninit entries may be copied bytewise, and the caller treats the
            // originals as moved.
            unsafe { std::ptr::copy(base.add(n), base, len - n) };
        }
    }
}

impl std::ops::Deref for Burst {
    type Target = [Mbuf];

    #[inline(always)]
    fn deref(&self) -> &[Mbuf] {
        // SAFETY: the first `len` entries are initialised.
        unsafe { std::slice::from_raw_parts(self.items.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Burst {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        // SAFETY: the first `len` entries are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.items.as_mut_ptr().cast(), self.len) }
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

impl std::fmt::Debug for Burst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Owning iterator over the front of a burst; made by [`Burst::drain_front`]. What it has not yielded when it is dropped
/// returns to the pools.
pub struct Drain<'a> {
    burst: &'a mut Burst,
    next: usize,
    end: usize,
    len: usize,
}

impl Iterator for Drain<'_> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: entries [next, len) are initialised and counted by nobody else: the burst's own `len` is 0 meanwhile.
        let mbuf = unsafe { self.burst.items[self.next].assume_init_read() };
        self.next += 1;
        Some(mbuf)
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        // SAFETY: what was not yielded, [next, end), is initialised and given up here.
        unsafe { pool::release(self.burst.headers(self.next, self.end - self.next)) };
        self.burst.close_gap(self.end, self.len);
        self.burst.len = self.len - self.end;
    }
}

impl std::fmt::Debug for Drain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drain").field("left", &(self.end - self.next)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pool, PoolConfig};

    fn filled(n: usize) -> (Pool, Burst) {
        let pool =
            Pool::new(&PoolConfig { name: "burst-test".into(), size: 300, data_room: 64, ..PoolConfig::default() });
        let (pool, mut burst) = (pool.unwrap(), Burst::new());
        assert_eq!(pool.alloc_bulk(&mut burst, n), n);
        for (i, mbuf) in burst.iter_mut().enumerate() {
            mbuf.append(1).unwrap()[0] = i as u8;
        }
        (pool, burst)
    }

    fn marks(burst: &Burst) -> Vec<u8> {
        burst.iter().map(|mbuf| mbuf.data()[0]).collect()
    }

    #[test]
    fn freeing_from_the_front_keeps_the_rest_in_order() {
        let (pool, mut burst) = filled(5);
        burst.free_front(2);
        assert_eq!(marks(&burst), [2, 3, 4]);
        burst.free_front(0);
        burst.free_front(3);
        assert!(burst.is_empty());
        assert_eq!(pool.available(), pool.size());
    }

    #[test]
    fn draining_part_of_the_front_frees_what_was_not_taken() {
        let (pool, mut burst) = filled(6);
        let taken: Vec<_> = burst.drain_front(4).take(2).collect();
        assert_eq!(taken.iter().map(|mbuf| mbuf.data()[0]).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(marks(&burst), [4, 5]);
        assert_eq!(pool.available(), pool.size() - 4);
        drop((burst, taken));
        assert_eq!(pool.available(), pool.size());
    }

    #[test]
    fn moving_stops_at_the_capacity() {
        let (pool, mut from) = filled(10);
        let mut to = Burst::new();
        pool.alloc_bulk(&mut to, 250);
        assert_eq!(from.move_to(&mut to), 6);
        assert_eq!((from.len(), to.len()), (4, BURST_MAX));
        assert!(to.push(from.pop().unwrap()).is_err(), "a full burst gives the mbuf back, and the test drops it");
        drop((from, to));
        assert_eq!(pool.available(), pool.size());
    }

    #[test]
    fn receivers_see_the_limit() {
        let (pool, _) = filled(0);
        let mut burst = Burst::with_limit(32);
        assert_eq!(pool.alloc_bulk(&mut burst, 100), 32);
        burst.truncate(30);
        assert_eq!((burst.room(), pool.alloc_bulk(&mut burst, 1)), (2, 1));
    }
}
