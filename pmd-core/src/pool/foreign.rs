//! Mbufs of another copy of this crate: what a driver in a shared object receives into and sends.
//!
//! 1. Every header says which copy its pool belongs to ([`Owner`]). Code of one copy never follows a pool pointer of
//!    another: it may have been compiled with another layout of pools.
//! 2. In a driver's shared object a stand-in ([`ForeignPool::stand_in`]) takes mbufs from a pool of the program.
//! 3. Foreign mbufs that are dropped go, in runs, to the function of [`free_foreign_with`].
//!
//! A chain may mix segments of both. Taken apart, each goes home by its own way.

#![allow(unsafe_code)]

use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::segment::Segment;
use super::{Common, Handle, Pool, PoolCore, cache, next_id};
use crate::burst::Burst;
use crate::deployment::PageSize;
use crate::mbuf::Header;

/// A copy of this crate in the process, by the address of a static that each copy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Owner(*const u8);

static US: u8 = 0;

impl Owner {
    /// This copy.
    pub(crate) fn us() -> Self {
        Self(&raw const US)
    }

    /// Whether it is this copy.
    #[inline(always)]
    pub(crate) fn is_us(self) -> bool {
        std::ptr::eq(self.0, &raw const US)
    }
}

/// Takes back the leading foreign packets of `heads`, each with its whole chain.
type Free = unsafe fn(&[NonNull<Header>]);

static FREE: OnceLock<Free> = OnceLock::new();

/// Names the function that takes foreign packets back: once, before the first one comes. Later calls change nothing.
///
/// # Safety
/// The function may be called on any thread with headers that the caller owns and gives up.
pub unsafe fn free_foreign_with(free: Free) {
    // The first one stays: mbufs may be out that only it can take.
    let _ = FREE.set(free);
}

/// Where a stand-in takes mbufs from.
///
/// # Safety
/// [`Self::alloc_bulk`] gives each header to one owner only, empty, and the memory of all lives while one is out.
pub unsafe trait ForeignSource: Send + Sync {
    /// Writes up to `n` headers to `to`, which has room for them, and says how many.
    ///
    /// # Safety
    /// `to` may be written `n` times.
    unsafe fn alloc_bulk(&self, to: NonNull<NonNull<Header>>, n: usize) -> usize;

    /// Mbufs that can be taken.
    fn available(&self) -> usize;
}

/// What is known of a pool of another copy.
pub struct ForeignPool {
    /// Its name.
    pub name: String,
    /// Number of mbufs it was made with.
    pub size: usize,
    /// Bytes of data one mbuf holds behind its headroom.
    pub data_room: usize,
    /// First byte of the memory its buffers lie in.
    pub base: NonNull<u8>,
    /// Bytes of that memory.
    pub len: usize,
    /// Its pages.
    pub page: PageSize,
    /// The file behind it, if it can be shared.
    pub file: Option<OwnedFd>,
    /// Where mbufs come from.
    pub source: Box<dyn ForeignSource>,
}

impl ForeignPool {
    /// A pool that stands for it: what is taken from it comes from there.
    pub fn stand_in(self) -> Pool {
        let core = Arc::new(PoolCore {
            id: next_id(),
            name: self.name,
            size: self.size,
            data_room: self.data_room,
            // Only their owner knows where its buffers lie; nothing of them is posted here (`Posted::accepts`).
            stride: 1,
            cache_target: 0,
            headers: Segment::borrowed(NonNull::dangling(), 0, PageSize::Small, None),
            buffers: Some(Segment::borrowed(self.base, self.len, self.page, self.file)),
            lent: None,
            foreign: Some(self.source),
            common: Mutex::new(Common { free: Vec::new(), caches: Vec::new(), loan: None }),
            this: Weak::new(),
            _keep: None,
        });
        Pool(Arc::new(Handle(core)))
    }
}

impl std::fmt::Debug for ForeignPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignPool").field("name", &self.name).field("size", &self.size).finish_non_exhaustive()
    }
}

/// Takes up to `n` mbufs, which must fit into `burst`, and says how many it was.
#[cold]
pub(super) fn alloc_bulk(source: &dyn ForeignSource, burst: &mut Burst, n: usize) -> usize {
    let len = burst.len();
    // SAFETY: a burst has space for `n` pointers behind its `len`; those written are headers that are ours now.
    unsafe {
        let taken = source.alloc_bulk(burst.as_raw().add(len), n).min(n);
        burst.grow(taken);
        taken
    }
}

/// Gives the leading foreign packets of `heads` back and returns the others.
///
/// # Safety
/// The caller owns the packets and does not use them afterwards; the first one is foreign.
#[cold]
pub(super) unsafe fn give_back_run(heads: &[NonNull<Header>]) -> &[NonNull<Header>] {
    // SAFETY: the caller owns the headers.
    let owner = |head: &NonNull<Header>| unsafe { head.as_ref() }.owner;
    let run = heads.iter().position(|head| owner(head).is_us()).unwrap_or(heads.len());
    for head in &heads[..run] {
        // SAFETY: passed on from the caller.
        unsafe { send_own_segments_home(*head) };
    }
    if let Some(free) = FREE.get() {
        // SAFETY: passed on from the caller; what is left of each chain is foreign.
        unsafe { free(&heads[..run]) };
    }
    &heads[run..]
}

/// Unlinks the segments that are ours from a packet whose first one is not.
///
/// # Safety
/// The caller owns the chain.
unsafe fn send_own_segments_home(head: NonNull<Header>) {
    let mut last = head;
    // SAFETY: the caller owns the chain; each reference ends before the next one is made.
    unsafe {
        while let Some(segment) = last.as_ref().next {
            if segment.as_ref().owner.is_us() {
                let own = &mut *segment.as_ptr();
                (*last.as_ptr()).next = own.next.take();
                own.segments = 1;
                (*head.as_ptr()).segments -= 1;
                (*head.as_ptr()).packet_len -= own.len;
                cache::send_home(segment);
            } else {
                last = segment;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mbuf, PoolConfig};

    /// Another pool, as a driver's shared object would see it.
    struct Other(Pool);

    // SAFETY: a pool gives each mbuf to one owner only, and lives while one is out.
    unsafe impl ForeignSource for Other {
        unsafe fn alloc_bulk(&self, to: NonNull<NonNull<Header>>, n: usize) -> usize {
            let mut burst = Burst::new();
            let n = self.0.alloc_bulk(&mut burst, n);
            // SAFETY: the caller has space for n; the burst has n, and gives them up.
            unsafe { to.copy_from_nonoverlapping(burst.as_raw(), n) };
            burst.forget_front(n);
            n
        }

        fn available(&self) -> usize {
            self.0.available()
        }
    }

    fn pool() -> Pool {
        Pool::new(&PoolConfig { size: 16, data_room: 64, ..PoolConfig::default() }).unwrap()
    }

    fn stand_in(pool: &Pool) -> Pool {
        let segment = pool.segment();
        let (base, len, page) = (segment.base(), segment.len(), segment.page());
        let source = Box::new(Other(pool.clone()));
        ForeignPool { name: "s".into(), size: 16, data_room: 64, base, len, page, file: None, source }.stand_in()
    }

    #[test]
    fn a_stand_in_gives_the_mbufs_of_the_pool_it_stands_for() {
        let pool = pool();
        let stand_in = stand_in(&pool);
        let mut burst = Burst::with_limit(10);
        assert_eq!((stand_in.alloc_bulk(&mut burst, 4), stand_in.alloc_bulk(&mut burst, 99)), (4, 6));
        assert_eq!((stand_in.available(), stand_in.in_use(), pool.available(), burst.room()), (6, 10, 6, 0));
        burst[0].append(3).unwrap().copy_from_slice(b"abc");
        assert!(stand_in.segment().offset_of(burst[0].data()).is_some() && !stand_in.is_same(&pool));
        drop(stand_in);
        burst.clear();
        assert_eq!(pool.available(), 16);
    }

    #[test]
    fn a_burst_gives_up_and_takes_pointers() {
        let pool = pool();
        let (mut from, mut to) = (Burst::new(), Burst::with_limit(3));
        pool.alloc_bulk(&mut from, 5);
        for (mbuf, mark) in from.iter_mut().zip(0..) {
            mbuf.append(1).unwrap()[0] = mark;
        }
        // SAFETY: there are 5 in the one, room for 3 in the other, and each has one owner afterwards.
        unsafe {
            to.as_raw().copy_from_nonoverlapping(from.as_raw(), 3);
            to.grow(3);
        }
        from.forget_front(3);
        let marks = |burst: &Burst| burst.iter().map(|mbuf| mbuf.data()[0]).collect::<Vec<_>>();
        assert_eq!((marks(&to), marks(&from)), (vec![0, 1, 2], vec![3, 4]));
        let raw = from.pop().unwrap().into_raw();
        // SAFETY: it was given up in the line above.
        assert!(!unsafe { Mbuf::from_raw(raw) }.is_foreign());
        drop((from, to));
        assert_eq!(pool.available(), 16);
    }

    #[test]
    #[should_panic(expected = "2 mbufs more, but there is room for 1")]
    fn a_burst_takes_no_more_than_its_limit() {
        // SAFETY: it is refused before anything is taken.
        unsafe { Burst::with_limit(1).grow(2) };
    }
}
