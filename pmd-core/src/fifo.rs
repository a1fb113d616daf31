//! A first-in, first-out queue of mbufs that moves many at a time: what a driver keeps of mbufs that its device has.
//!
//! ```text
//!   items:  [ m5 ][ m6 ][    ][    ][    ][ m2 ][ m3 ][ m4 ]
//!                   ^ end                   ^ start
//! ```
//!
//! 1. A driver gives mbufs to its device in order: [`MbufFifo::push_from`] a burst.
//! 2. The device is done with them in the same order: [`MbufFifo::pop_to`] a burst, or [`MbufFifo::free`] to their pools.
//! 3. What is still in it when it is dropped returns to its pools.
//!
//! This file owns `unsafe`: of `items` exactly those are initialised that lie at the `len` places from `start` on.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use crate::burst::{BURST_MAX, Burst};
use crate::mbuf::{Header, Mbuf};
use crate::pool;

/// A queue of mbufs with a fixed capacity. For drivers.
pub struct MbufFifo {
    items: Box<[MaybeUninit<Mbuf>]>,
    /// Place of the first one, below the capacity.
    start: usize,
    len: usize,
}

impl MbufFifo {
    /// An empty one for up to `capacity` mbufs.
    ///
    /// # Panics
    /// When that is 0.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a queue for no mbufs");
        Self { items: Box::new_uninit_slice(capacity), start: 0, len: 0 }
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

    /// How many more it can take.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.items.len() - self.len
    }

    /// The first mbufs, as many as lie behind each other in memory: some, unless it is empty.
    #[inline(always)]
    pub fn front_mut(&mut self) -> &mut [Mbuf] {
        let run = self.len.min(self.items.len() - self.start);
        let run = &mut self.items[self.start..self.start + run];
        // SAFETY: MaybeUninit<Mbuf> has Mbuf's layout, and these are among the `len` from `start` on, so they are initialised.
        unsafe { &mut *(std::ptr::from_mut(run) as *mut [Mbuf]) }
    }

    /// Adds one behind those that are here.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn push(&mut self, mbuf: Mbuf) {
        assert!(self.room() > 0, "a queue of {} mbufs is full", self.len);
        let end = self.wrap(self.start + self.len);
        self.items[end].write(mbuf);
        self.len += 1;
    }

    /// Moves the first `n` mbufs of `burst` behind those that are here.
    ///
    /// # Panics
    /// When `burst` has fewer, or there is no room for them.
    #[inline]
    pub fn push_from(&mut self, burst: &mut Burst, n: usize) {
        assert!(n <= self.room() && n <= burst.len(), "{n} of {} mbufs into room for {}", burst.len(), self.room());
        let end = self.wrap(self.start + self.len);
        let first = n.min(self.items.len() - end);
        let (from, to) = (burst.as_raw().cast::<MaybeUninit<Mbuf>>().as_ptr(), self.items.as_mut_ptr());
        // SAFETY: the burst has n mbufs. The n places behind the end are free, as just checked: `first` of them up to the end of
        // `items`, the others from its beginning. The originals are forgotten in the next line, so each has one owner.
        unsafe {
            std::ptr::copy_nonoverlapping(from, to.add(end), first);
            std::ptr::copy_nonoverlapping(from.add(first), to, n - first);
        }
        burst.forget_front(n);
        self.len += n;
    }

    /// Moves the first `n` mbufs to the end of `burst`.
    ///
    /// # Panics
    /// When there are fewer, or the burst has no room for them.
    #[inline]
    pub fn pop_to(&mut self, burst: &mut Burst, n: usize) {
        assert!(n <= self.len && n <= burst.room(), "{n} of {} mbufs into room for {}", self.len, burst.room());
        let first = n.min(self.items.len() - self.start);
        let to = burst.len();
        // SAFETY: the n mbufs are here: `first` of them up to the end of `items`, the others from its beginning. The burst has
        // space for them behind its own. In the next line they leave this queue, so each has one owner.
        unsafe {
            let to = burst.as_raw().cast::<MaybeUninit<Mbuf>>().add(to).as_ptr();
            std::ptr::copy_nonoverlapping(self.items.as_ptr().add(self.start), to, first);
            std::ptr::copy_nonoverlapping(self.items.as_ptr(), to.add(first), n - first);
        }
        self.leave(n);
        // SAFETY: n pointers were written there, of mbufs that nobody else has any more.
        unsafe { burst.grow(n) };
    }

    /// Moves the first `n` mbufs to the end: the device has them again.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline]
    pub fn rotate(&mut self, n: usize) {
        assert!(n <= self.len, "{n} of {} mbufs to the end", self.len);
        for _ in 0..n {
            let first = std::mem::replace(&mut self.items[self.start], MaybeUninit::uninit());
            // In a full queue that is where it was.
            let end = self.wrap(self.start + self.len);
            self.items[end] = first;
            self.start = self.wrap(self.start + 1);
        }
    }

    /// Takes the first mbuf.
    pub fn pop(&mut self) -> Option<Mbuf> {
        let first = (self.len > 0).then_some(self.start)?;
        self.leave(1);
        // SAFETY: it was the first of those held, and is held no longer.
        Some(unsafe { self.items[first].assume_init_read() })
    }

    /// Returns the first `n` mbufs to their pools.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline]
    pub fn free(&mut self, n: usize) {
        assert!(n <= self.len, "cannot free {n} of {} mbufs", self.len);
        let (start, mut left) = (self.start, n);
        // They leave the queue before their pools get them: a panic in between leaks, it never frees twice.
        self.leave(n);
        let mut at = start;
        while left > 0 {
            let run = left.min(self.items.len() - at).min(BURST_MAX);
            // SAFETY: Mbuf is a transparent NonNull<Header>; these were held, and nobody else has them.
            unsafe {
                let heads = self.items[at..at + run].as_ptr().cast::<NonNull<Header>>();
                pool::release(std::slice::from_raw_parts(heads, run));
            }
            (at, left) = (self.wrap(at + run), left - run);
        }
    }

    /// The first `n`, which somebody has read, are held no longer.
    #[inline(always)]
    fn leave(&mut self, n: usize) {
        self.start = self.wrap(self.start + n);
        self.len -= n;
    }

    /// A place that may be up to one capacity too far.
    #[inline(always)]
    fn wrap(&self, place: usize) -> usize {
        if place >= self.items.len() { place - self.items.len() } else { place }
    }
}

impl Drop for MbufFifo {
    fn drop(&mut self) {
        self.free(self.len);
    }
}

impl std::fmt::Debug for MbufFifo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MbufFifo").field("len", &self.len).field("capacity", &self.items.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pool, PoolConfig};

    fn pool() -> Pool {
        Pool::new(&PoolConfig { size: 64, data_room: 64, ..PoolConfig::default() }).unwrap()
    }

    /// A burst of mbufs that say which they are.
    fn marked(pool: &Pool, marks: std::ops::Range<u8>) -> Burst {
        let mut burst = Burst::new();
        pool.alloc_bulk(&mut burst, marks.len());
        burst.iter_mut().zip(marks).for_each(|(mbuf, mark)| mbuf.append(1).unwrap()[0] = mark);
        burst
    }

    fn marks(mbufs: &[Mbuf]) -> Vec<u8> {
        mbufs.iter().map(|mbuf| mbuf.data()[0]).collect()
    }

    #[test]
    fn the_first_go_to_the_end_around_every_end() {
        let pool = pool();
        for (capacity, held) in (1..6).flat_map(|capacity| (0..=capacity).map(move |held| (capacity, held))) {
            for (n, skip) in (0..=held).flat_map(|n| (0..capacity).map(move |skip| (n, skip))) {
                let mut queue = MbufFifo::new(capacity);
                for _ in 0..skip {
                    queue.push(pool.alloc().unwrap());
                    queue.free(1);
                }
                queue.push_from(&mut marked(&pool, 0..held as u8), held);
                queue.rotate(n);
                let left: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|mbuf| mbuf.data()[0] as usize).collect();
                assert_eq!(left, (n..held).chain(0..n).collect::<Vec<_>>(), "{capacity} {held} {n} {skip}");
            }
        }
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn mbufs_leave_in_the_order_they_came_around_every_end() {
        let pool = pool();
        for capacity in 1..9 {
            let mut fifo = MbufFifo::new(capacity);
            let (mut sent, mut seen) = (0, 0);
            for round in 0..40 {
                let n = (round * 5 % 7).min(fifo.room());
                let mut burst = marked(&pool, sent..sent + n as u8 + 1);
                fifo.push_from(&mut burst, n);
                assert_eq!(burst.len(), 1, "what was not asked for stays");
                sent += n as u8;
                let n = (round * 3 % 5).min(fifo.len());
                let mut out = Burst::new();
                fifo.pop_to(&mut out, n);
                assert_eq!(marks(&out), (seen..seen + n as u8).collect::<Vec<_>>());
                seen += n as u8;
                assert_eq!(fifo.len(), usize::from(sent - seen));
                let front = fifo.front_mut().first_mut();
                assert_eq!(front.map(|mbuf| mbuf.data_mut()[0]), (seen < sent).then_some(seen));
            }
            if let Some(mbuf) = fifo.pop() {
                assert_eq!(mbuf.data(), [seen]);
                fifo.push(mbuf);
            }
            drop(fifo);
            assert_eq!(pool.available(), pool.size());
        }
    }

    #[test]
    fn the_first_are_freed_across_the_end_and_the_rest_with_the_queue() {
        let pool = pool();
        let mut fifo = MbufFifo::new(6);
        fifo.push_from(&mut marked(&pool, 0..5), 5);
        fifo.free(4);
        fifo.push_from(&mut marked(&pool, 5..10), 5);
        assert_eq!((fifo.len(), fifo.room(), marks(fifo.front_mut())), (6, 0, vec![4, 5]));
        fifo.free(3);
        assert_eq!((pool.in_use(), marks(fifo.front_mut())), (3, vec![7, 8, 9]));
        drop(fifo);
        assert_eq!(pool.available(), pool.size());
    }

    #[test]
    #[should_panic(expected = "3 of 3 mbufs into room for 2")]
    fn it_takes_no_more_than_its_capacity() {
        let pool = pool();
        MbufFifo::new(2).push_from(&mut marked(&pool, 0..3), 3);
    }

    #[test]
    #[should_panic(expected = "cannot free 1 of 0 mbufs")]
    fn it_frees_no_more_than_it_holds() {
        MbufFifo::new(2).free(1);
    }
}
