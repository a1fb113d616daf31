//! Per-thread caches: where almost every mbuf comes from and goes to.
//!
//! A thread has one cache per pool it has touched, found by the pool's id in a short list, the last one used first. A
//! cache is a stack: the mbuf freed last, whose lines are hot, is taken first. Taking more than it holds refills it from
//! the common list; growing beyond twice its target gives the cold half back. It ends with the thread.
//!
//! Invariant C1: while a cache holds a header its pool is alive, since the header is away from the common list (`loan`).
//! An empty cache may outlive its pool; it is then never used again, because ids are not reused, and swept in time.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use super::{FreeHeader, PoolCore, foreign, lender};
use crate::burst::{BURST_MAX, Burst};
use crate::mbuf::Header;
use crate::pool::HEADROOM;

/// How full a cache is: written by its thread, read by [`super::Pool::available`].
#[derive(Debug, Default)]
pub(super) struct CacheCount(CachePadded<AtomicUsize>);

impl CacheCount {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set(&self, n: usize) {
        self.0.store(n, Ordering::Relaxed);
    }
}

/// One thread's cache of one pool.
struct Cache {
    pool_id: u64,
    pool: NonNull<PoolCore>,
    target: usize,
    items: Vec<FreeHeader>,
    count: Arc<CacheCount>,
}

/// All caches of a thread, the one used last in front.
struct Caches(Vec<Cache>);

thread_local! {
    static CACHES: RefCell<Caches> = const { RefCell::new(Caches(Vec::new())) };
}

/// Takes up to `n` mbufs, which must fit into `burst`, and says how many it was. `EMPTY`: with the whole headroom and without
/// data, not as they were freed.
#[inline]
pub(super) fn alloc_bulk<const EMPTY: bool>(pool: &PoolCore, burst: &mut Burst, n: usize) -> usize {
    let take = |caches: &RefCell<Caches>| caches.borrow_mut().of(pool).take::<EMPTY>(pool, burst, n);
    match CACHES.try_with(take) {
        Ok(taken) => taken,
        // The thread is ending and its caches are gone: serve it without one.
        Err(_) => Cache::new(pool).take::<EMPTY>(pool, burst, n),
    }
}

/// Returns packets, each with all its segments, to their pools.
///
/// # Safety
/// The caller owns each header of `heads`, and the chain behind it, and does not use them afterwards.
pub(crate) unsafe fn release(heads: &[NonNull<Header>]) {
    if heads.is_empty() {
        return;
    }
    let put = |caches: &RefCell<Caches>| {
        // SAFETY: passed on from the caller.
        unsafe { caches.borrow_mut().put(heads) };
    };
    if CACHES.try_with(put).is_err() {
        // SAFETY: passed on from the caller; the short-lived caches give everything back as they end.
        unsafe { Caches(Vec::new()).put(heads) };
    }
}

/// Returns the leading packets of `heads` that belong to the lender `pool`, or, if it is not of ours, to other copies of this
/// crate; gives the others back.
///
/// # Safety
/// As [`release`]; the first packet is such a one.
#[cold]
unsafe fn give_back_run(pool: NonNull<PoolCore>, is_ours: bool, heads: &[NonNull<Header>]) -> &[NonNull<Header>] {
    // SAFETY: passed on from the caller.
    unsafe { if is_ours { lender::take_back_run(pool, heads) } else { foreign::give_back_run(heads) } }
}

/// Returns one segment, unlinked from its chain, without going through a cache.
///
/// # Safety
/// The caller owns it and does not use it afterwards.
pub(super) unsafe fn send_home(segment: NonNull<Header>) {
    // SAFETY: the caller owns it.
    if !unsafe { segment.as_ref() }.owner.is_us() {
        // SAFETY: passed on from the caller.
        unsafe { foreign::give_back_run(&[segment]) };
        return;
    }
    // SAFETY: the mbuf is out, so its pool is alive (H1), until what is dropped in the last line is gone.
    let (pool, is_lent) = unsafe {
        let pool = segment.as_ref().pool;
        (pool, pool.as_ref().lent.is_some())
    };
    if is_lent {
        // SAFETY: passed on from the caller.
        unsafe { lender::take_back_run(pool, &[segment]) };
    } else {
        // SAFETY: as above.
        drop(unsafe { pool.as_ref() }.give_back(&[segment]));
    }
}

/// Gives back all that the calling thread's cache of `pool` holds.
pub(super) fn flush(pool: &PoolCore) {
    // A thread that is ending has given everything back already.
    let _ = CACHES.try_with(|caches| caches.borrow_mut().0.retain(|cache| cache.pool_id != pool.id));
}

impl Caches {
    #[inline(always)]
    fn of(&mut self, pool: &PoolCore) -> &mut Cache {
        if self.0.first().is_none_or(|cache| cache.pool_id != pool.id) {
            self.bring_to_front(pool);
        }
        &mut self.0[0]
    }

    #[cold]
    fn bring_to_front(&mut self, pool: &PoolCore) {
        let found = self.0.iter().position(|cache| cache.pool_id == pool.id);
        let at = found.unwrap_or_else(|| {
            // A pool may be gone once its cache is empty; keep the list from growing with every pool there ever was.
            self.0.retain(|cache| !cache.items.is_empty());
            self.0.push(Cache::new(pool));
            self.0.len() - 1
        });
        self.0.swap(0, at);
    }

    /// # Safety
    /// As [`release`].
    #[inline]
    unsafe fn put(&mut self, heads: &[NonNull<Header>]) {
        let mut rest = heads;
        while let Some(first) = rest.first() {
            // SAFETY: the caller owns the header.
            let (pool_of_run, is_ours) = unsafe { (first.as_ref().pool, first.as_ref().owner.is_us()) };
            // SAFETY: the pool is alive while its mbuf is out (H1), and it is one of this copy of the crate, if it is looked
            // at. The reference does not outlive the use of the cache below, whose flush is what may end the pool.
            if !is_ours || unsafe { pool_of_run.as_ref() }.lent.is_some() {
                // SAFETY: passed on from the caller; the first mbuf is not a pool's of ours.
                rest = unsafe { give_back_run(pool_of_run, is_ours, rest) };
                continue;
            }
            // SAFETY: as above.
            let pool = unsafe { pool_of_run.as_ref() };
            let cache = self.of(pool);
            // SAFETY: passed on from the caller.
            rest = unsafe { cache.put_run(pool_of_run, rest) };
        }
    }
}

/// How many leading mbufs of `heads` are packets of one segment that belongs to `pool`.
///
/// # Safety
/// As [`release`].
#[inline(always)]
unsafe fn leading_wholes(pool: NonNull<PoolCore>, heads: &[NonNull<Header>]) -> usize {
    let is_whole = |head: &&NonNull<Header>| {
        // SAFETY: the caller owns the header, and nobody changes it meanwhile.
        let header = unsafe { head.as_ref() };
        header.pool == pool && header.next.is_none()
    };
    // Four in a round of the loop: counting rounds is half of the work otherwise.
    let fours = heads.as_chunks::<4>().0.iter().take_while(|four| four.iter().all(|head| is_whole(&head))).count();
    4 * fours + heads[4 * fours..].iter().take_while(is_whole).count()
}

impl Cache {
    #[cold]
    fn new(pool: &PoolCore) -> Self {
        let count = Arc::new(CacheCount::default());
        let mut common = pool.lock();
        // An empty cache that was swept left its count behind, which nobody else holds any more.
        common.caches.retain(|count| Arc::strong_count(count) > 1);
        common.caches.push(Arc::clone(&count));
        drop(common);
        let target = pool.cache_target;
        // Room for the target twice over, plus what one call can add before it looks.
        let items = Vec::with_capacity(2 * target + 2 * BURST_MAX);
        Self { pool_id: pool.id, pool: NonNull::from(pool), target, items, count }
    }

    #[inline(always)]
    fn take<const EMPTY: bool>(&mut self, pool: &PoolCore, burst: &mut Burst, n: usize) -> usize {
        if self.items.len() < n {
            self.refill(pool, n);
        }
        let n = n.min(self.items.len());
        let keep = self.items.len() - n;
        if EMPTY {
            for header in &mut self.items[keep..] {
                // SAFETY: free headers in our cache are ours alone, and their pool is alive (C1).
                let header = unsafe { header.as_mut() };
                (header.offset, header.len, header.packet_len) = (HEADROOM as u32, 0, 0);
            }
        }
        // SAFETY: these headers leave the cache in the next line; `n` fits, as our callers promise.
        unsafe { burst.extend_from_headers(&self.items[keep..]) };
        self.items.truncate(keep);
        self.count.set(keep);
        n
    }

    #[cold]
    fn refill(&mut self, pool: &PoolCore, n: usize) {
        let missing = n - self.items.len() + self.target;
        // What comes from the common list is colder than what is here: it goes below.
        let hot = self.items.len();
        pool.take(missing, &mut self.items);
        self.items.rotate_left(hot);
        self.count.set(self.items.len());
    }

    /// Puts the leading mbufs of `heads` that belong to `pool`, and returns the others.
    ///
    /// # Safety
    /// As [`release`]; `heads` is not empty and its first mbuf belongs to `pool`.
    #[inline(always)]
    unsafe fn put_run<'h>(&mut self, pool: NonNull<PoolCore>, heads: &'h [NonNull<Header>]) -> &'h [NonNull<Header>] {
        let mut rest = heads;
        loop {
            // Looking first and moving then are two short loops, faster than one that does both.
            // SAFETY: passed on from the caller.
            let whole = unsafe { leading_wholes(pool, rest) };
            self.push_all(&rest[..whole]);
            rest = &rest[whole..];
            // SAFETY: the caller owns the chain; the reference ends with the condition.
            let Some(head) = rest.first().filter(|head| unsafe { head.as_ref() }.pool == pool) else { break };
            // SAFETY: the caller owns the chain, and no reference into it is still in use.
            unsafe { self.unchain(pool, &mut *head.as_ptr()) };
        }
        self.count.set(self.items.len());
        if self.items.len() > 2 * self.target {
            self.flush();
        }
        rest
    }

    /// Adds free headers, any number.
    #[inline(always)]
    fn push_all(&mut self, headers: &[FreeHeader]) {
        if self.items.capacity() - self.items.len() < headers.len() {
            self.flush();
        }
        self.items.extend_from_slice(headers);
    }

    #[inline(always)]
    fn push(&mut self, header: FreeHeader) {
        if self.items.len() == self.items.capacity() {
            self.flush();
        }
        self.items.push(header);
    }

    /// Takes a chain apart and returns all segments but the first.
    ///
    /// # Safety
    /// The caller owns the chain that begins with `head`.
    #[cold]
    unsafe fn unchain(&mut self, pool: NonNull<PoolCore>, head: &mut Header) {
        head.segments = 1;
        let mut next = head.next.take();
        while let Some(segment) = next {
            // SAFETY: the caller owns the chain.
            let header = unsafe { &mut *segment.as_ptr() };
            next = header.next.take();
            header.segments = 1;
            if header.pool == pool {
                self.push(segment);
            } else {
                // A chain over two pools is rare; its strangers go home without a cache.
                // SAFETY: the caller owns the segment, which is unlinked now.
                unsafe { send_home(segment) };
            }
        }
    }

    /// Gives the cold half back, all of it when there is no target.
    #[cold]
    fn flush(&mut self) {
        let cold = self.items.len() - self.target.min(self.items.len());
        self.give_back(cold);
    }

    fn give_back(&mut self, cold: usize) {
        if cold == 0 {
            return;
        }
        // The count is lowered before the list grows, so no mbuf is ever counted twice.
        self.count.set(self.items.len() - cold);
        // SAFETY: the cache holds headers, so the pool is alive (C1), until the loan is dropped.
        let loan = unsafe { self.pool.as_ref() }.give_back(&self.items[..cold]);
        self.items.drain(..cold);
        drop(loan);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.items.is_empty() {
            return;
        }
        // SAFETY: the cache holds headers, so the pool is alive (C1).
        unsafe { self.pool.as_ref() }.lock().caches.retain(|count| !Arc::ptr_eq(count, &self.count));
        self.give_back(self.items.len());
    }
}
