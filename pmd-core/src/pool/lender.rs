//! The lender: mbufs on memory that belongs to somebody else, a peer's ring for example.
//!
//! 1. A driver makes a [`Lender`] for so many mbufs, and gives it whatever keeps the memory mapped.
//! 2. [`Lender::lend`] makes an mbuf of bytes where they lie, [`Lender::lend_run`] many. It behaves like any other: one owner,
//!    any thread, chains.
//! 3. Dropping it, on any thread, marks its number as back; the driver sees that with [`Lender::is_back`], or all at once
//!    with [`Lender::all_back`]. The driver chooses the numbers: the header of one that was back just now is in the cache.
//! 4. Who can send packets of one pool only and copies a lent one into it says so ([`Pool::tell_lender`]). A driver that sees
//!    that ([`Lender::copied_into`]) had better copy such packets itself, at once and into that pool.
//! 5. Where the memory is a pool of this process, which it has sent to itself, its owner finds that out ([`Pool::seen_by_lender`]):
//!    a lent packet then is one of its own mbufs.
//! 6. When the lender is dropped, the memory stays until the last mbuf is back; whoever brings that one frees it.
//!
//! Bringing mbufs back costs one atomic addition per burst and lender: the price of knowing which one is the last. Nothing
//! else in this crate needs one.
//!
//! How the last one is found: `balance` counts mbufs brought back, all of them since the beginning; it never falls while
//! the lender lives. The lender's end takes away the number that it ever lent. From then on the balance is minus the
//! number still out, and whoever brings it to 0 (the lender itself, if none is out) frees.

#![allow(unsafe_code)]

use std::any::Any;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, Weak};

use super::segment::{FileId, Segment, Span};
use super::{Common, Owner, Pool, PoolCore, cache, next_id};
use crate::burst::Burst;
use crate::deployment::PageSize;
use crate::mbuf::{Header, Mbuf};

/// What a lender's mbufs share.
pub(super) struct Lent {
    /// For each number whether its mbuf is back: cleared by the lender, set by whoever drops the mbuf.
    back: Box<[AtomicBool]>,
    balance: AtomicI64,
    /// The pool that packets were copied into, by its id, and how many since it was another one. A hint: two threads that
    /// copy at once may count one for the other.
    copied_into: AtomicU64,
    copies: AtomicU64,
    /// The files that the memory is, and where they are mapped.
    files: Vec<(FileId, Span)>,
    /// Dropped with the last mbuf.
    _keep: Box<dyn Any + Send + Sync>,
}

/// Lends packets out of memory that is not a pool's. For drivers.
pub struct Lender {
    core: NonNull<PoolCore>,
    /// Mbufs lent since the beginning.
    lent: i64,
}

/// A segment of a packet, as its lender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LentSegment {
    /// The number it was lent with.
    pub number: usize,
    /// Bytes from where it was lent to where its data begins now.
    pub offset: usize,
    /// Bytes of data.
    pub len: usize,
}

// SAFETY: the lender is the only writer of headers that are back, and owns the core together with the mbufs that are out.
unsafe impl Send for Lender {}

impl Lender {
    /// A lender of up to `size` mbufs at a time, 1 to 65536, which keeps `keep` until the last of them is back. `files` says
    /// where it has mapped which file; it may be empty.
    ///
    /// # Errors
    /// When there is no memory for their headers.
    ///
    /// # Panics
    /// When `size` is out of range.
    pub fn new(size: usize, files: Vec<(FileId, Span)>, keep: Box<dyn Any + Send + Sync>) -> std::io::Result<Self> {
        assert!((1..=65536).contains(&size), "a lender of {size} mbufs; 1 to 65536 are possible");
        let headers = Segment::private(size * size_of::<Header>(), PageSize::Small)?;
        let core = NonNull::from(Box::leak(Box::new(PoolCore {
            id: next_id(),
            name: "lender".into(),
            size,
            data_room: 0,
            stride: 0,
            cache_target: 0,
            headers,
            buffers: None,
            lent: Some(Lent {
                back: (0..size).map(|_| AtomicBool::new(true)).collect(),
                balance: AtomicI64::new(0),
                copied_into: AtomicU64::new(0),
                copies: AtomicU64::new(0),
                files,
                _keep: keep,
            }),
            foreign: None,
            common: Mutex::new(Common { free: Vec::new(), caches: Vec::new(), loan: None }),
            this: Weak::new(),
            _keep: None,
        })));
        let lender = Self { core, lent: 0 };
        for number in 0..size {
            let header = Header {
                buffer: NonNull::dangling(),
                pool: core,
                next: None,
                room: 0,
                offset: 0,
                len: 0,
                packet_len: 0,
                segments: 1,
                port: 0,
                index: number as u32,
                owner: Owner::us(),
            };
            // SAFETY: the segment holds `size` headers, and nobody has one yet.
            unsafe { lender.header(number).write(header) };
        }
        Ok(lender)
    }

    /// Where the header of a number is; the caller makes sure that there is one.
    #[inline(always)]
    fn header(&self, number: usize) -> NonNull<Header> {
        let first = self.core().headers.base().cast::<Header>();
        debug_assert!(number < self.core().size);
        // An address inside the segment, since number < size.
        NonNull::new(first.as_ptr().wrapping_add(number)).expect("a mapping does not end at address 0")
    }

    /// An empty mbuf over the `room` bytes at `data`, to be written: as [`Self::lend`] otherwise.
    ///
    /// # Safety
    /// As [`Self::lend`], with `room` bytes that may be written.
    ///
    /// # Panics
    /// As [`Self::lend`].
    #[inline]
    pub unsafe fn lend_empty(&mut self, number: usize, data: NonNull<u8>, room: usize) -> Mbuf {
        // SAFETY: passed on to the caller.
        let mut mbuf = unsafe { self.lend(number, data, room, 0) };
        let emptied = mbuf.trim(room);
        debug_assert!(emptied, "it has that many bytes");
        mbuf
    }

    /// What each segment of `packet` is of this lender's: `None` for one that it has not lent.
    #[inline]
    pub fn segments<'a>(&'a self, packet: &'a Mbuf) -> impl Iterator<Item = Option<LentSegment>> + 'a {
        packet.headers().map(|header| {
            (header.pool == self.core).then_some(LentSegment {
                number: header.index as usize,
                offset: header.offset as usize,
                len: header.len as usize,
            })
        })
    }

    fn core(&self) -> &PoolCore {
        // SAFETY: the core lives at least as long as the lender.
        unsafe { self.core.as_ref() }
    }

    fn lent(&self) -> &Lent {
        self.core().lent.as_ref().expect("made with it")
    }

    /// Whether the mbuf of this number is not out (any more).
    ///
    /// # Panics
    /// When there is no such number.
    #[inline(always)]
    pub fn is_back(&self, number: usize) -> bool {
        self.lent().back[number].load(Ordering::Acquire)
    }

    /// Whether no mbuf is out. As quick as one [`Self::is_back`].
    #[inline(always)]
    pub fn all_back(&self) -> bool {
        self.lent().balance.load(Ordering::Acquire) == self.lent
    }

    /// Packets that were sent as copies in `pool`, as those say who did so ([`Pool::tell_lender`]), since any were in another one.
    /// Whoever receives into `pool` does better to copy such packets there at once: then they are sent from where they lie.
    pub fn copied_into(&self, pool: &Pool) -> u64 {
        let Lent { copied_into, copies, .. } = self.lent();
        if copied_into.load(Ordering::Relaxed) == pool.core().id { copies.load(Ordering::Relaxed) } else { 0 }
    }

    /// An mbuf of the `len` bytes at `data`, received on `port`, without room before or behind them.
    ///
    /// # Safety
    /// The bytes are initialised and mapped while `keep` lives, and nobody in this process touches them until the mbuf is
    /// back. (A peer that writes to them meanwhile changes what the owner reads: that is what sharing means.)
    ///
    /// # Panics
    /// When there is no such number, or its mbuf is out, or `len` does not fit 32 bits.
    #[inline(always)]
    pub unsafe fn lend(&mut self, number: usize, data: NonNull<u8>, len: usize, port: u16) -> Mbuf {
        assert!(self.is_back(number), "mbuf {number} is out: it cannot be lent again");
        let len = u32::try_from(len).expect("a packet is shorter than 4 GiB");
        self.lent().back[number].store(false, Ordering::Relaxed);
        self.lent += 1;
        let header = self.header(number);
        // SAFETY: the header is one of `size` (the access above checked the number), and it is back, so it is ours.
        unsafe {
            lay_over(&mut *header.as_ptr(), data, len, port);
            Mbuf::from_raw(header)
        }
    }

    /// Adds mbufs to `burst`, as far as it has room, `limit` at most, with the numbers from `first` on; says how many, and how
    /// many bytes they hold. `next` gives the bytes of each, by its distance from the first; `None`, or a number whose mbuf is
    /// out, ends the run.
    ///
    /// # Safety
    /// As [`Self::lend`], for all that `next` gives.
    ///
    /// # Panics
    /// When there are no `limit` numbers from `first` on.
    #[inline(always)]
    pub unsafe fn lend_run(
        &mut self,
        first: usize,
        limit: usize,
        port: u16,
        burst: &mut Burst,
        mut next: impl FnMut(usize) -> Option<(NonNull<u8>, u32)>,
    ) -> (usize, u64) {
        let back = &self.lent().back[first..first + limit];
        let headers = self.header(first).as_ptr();
        let place = burst.as_raw().as_ptr();
        let (before, room) = (burst.len(), burst.room());
        let (mut run, mut bytes) = (0, 0);
        for (i, back) in back.iter().enumerate().take(room) {
            let Some((data, len)) = next(i).filter(|_| back.load(Ordering::Acquire)) else { break };
            back.store(false, Ordering::Relaxed);
            // SAFETY: the header is one of `size`, as `back` is one of as many; it is back, so it is ours. The burst has a place
            // for each of `room` more.
            unsafe {
                let header = headers.add(i);
                lay_over(&mut *header, data, len, port);
                place.add(before + i).write(NonNull::new_unchecked(header));
            }
            bytes += u64::from(len);
            run = i + 1;
        }
        self.lent += run as i64;
        // SAFETY: so many headers were written behind the others; nobody else has them.
        unsafe { burst.grow(run) };
        (run, bytes)
    }
}

/// Makes a header that is back one of these bytes. All else in it is fixed, or as a free mbuf has it.
#[inline(always)]
fn lay_over(header: &mut Header, data: NonNull<u8>, len: u32, port: u16) {
    debug_assert!(header.next.is_none() && header.segments == 1);
    header.buffer = data;
    (header.room, header.offset) = (len, 0);
    (header.len, header.packet_len) = (len, len);
    header.port = port;
}

impl Drop for Lender {
    fn drop(&mut self) {
        let balance = self.lent().balance.fetch_sub(self.lent, Ordering::AcqRel) - self.lent;
        if balance == 0 {
            // SAFETY: every mbuf is back, and the lender is ending: nobody else has the core.
            drop(unsafe { Box::from_raw(self.core.as_ptr()) });
        }
    }
}

impl std::fmt::Debug for Lender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lender").field("size", &self.core().size).finish_non_exhaustive()
    }
}

impl Mbuf {
    /// Whether the packet begins where a device has put it ([`Lender::lend`]): most likely, nobody on this CPU has looked at its
    /// bytes yet.
    #[inline]
    pub fn is_lent(&self) -> bool {
        lent_of(self).is_some()
    }
}

impl Pool {
    /// For drivers that sent packets as copies in this pool, because their device cannot read them where they lie: tells the
    /// lender of the first one, if it has one, how many it was. It may copy what follows by itself ([`Lender::copied_into`]).
    pub fn tell_lender(&self, first: &Mbuf, packets: usize) {
        let Some(lent) = lent_of(first) else { return };
        let id = self.core().id;
        let before =
            if lent.copied_into.load(Ordering::Relaxed) == id { lent.copies.load(Ordering::Relaxed) } else { 0 };
        lent.copies.store(before + packets as u64, Ordering::Relaxed);
        lent.copied_into.store(id, Ordering::Relaxed);
    }

    /// Where whoever lent `packet` has mapped this pool's memory; `None` when it was not lent, or out of other memory. An offset
    /// there is one in [`Pool::segment`].
    #[inline]
    pub fn seen_by_lender(&self, packet: &Mbuf) -> Option<Span> {
        let file = self.segment().file_id()?;
        lent_of(packet)?.files.iter().find_map(|(lent, span)| (*lent == file).then_some(*span))
    }
}

/// What the mbufs of the lender of `packet` share, if it has one.
fn lent_of(packet: &Mbuf) -> Option<&Lent> {
    let header = packet.headers().next().filter(|header| header.owner.is_us())?;
    // SAFETY: the pool, or the lender's core, lives while an mbuf of it is out, which `packet` is.
    unsafe { header.pool.as_ref() }.lent.as_ref()
}

/// Takes back the leading mbufs of `heads` that belong to the lender `core`, with their chains, and returns the others.
///
/// # Safety
/// The caller owns the mbufs and does not use them afterwards; the first one belongs to `core`.
pub(super) unsafe fn take_back_run(core: NonNull<PoolCore>, heads: &[NonNull<Header>]) -> &[NonNull<Header>] {
    // SAFETY: an mbuf of it is out, so the core is alive until the balance below.
    let lent = unsafe { core.as_ref() }.lent.as_ref().expect("it is a lender");
    // By value: it would be loaded again after every store to it.
    let back = &*lent.back;
    let (mut run, mut count) = (0, 0);
    for head in heads {
        // SAFETY: the caller owns the header; the reference ends before the header is given away.
        let (pool, next, index) = unsafe { (head.as_ref().pool, head.as_ref().next, head.as_ref().index) };
        if pool != core {
            break;
        }
        if next.is_none() {
            count += 1;
            // From here on the lender may lend it again.
            back[index as usize].store(true, Ordering::Release);
        } else {
            // SAFETY: passed on from the caller.
            count += unsafe { take_back_chain(core, lent, *head) };
        }
        run += 1;
    }
    if lent.balance.fetch_add(count, Ordering::AcqRel) + count == 0 {
        // SAFETY: the lender has ended, and this was the last mbuf: nobody else has the core.
        drop(unsafe { Box::from_raw(core.as_ptr()) });
    }
    &heads[run..]
}

/// Marks every segment of a chain that belongs to this lender as back and says how many; sends the others home.
///
/// # Safety
/// The caller owns the chain and does not use it afterwards.
#[cold]
unsafe fn take_back_chain(core: NonNull<PoolCore>, lent: &Lent, head: NonNull<Header>) -> i64 {
    let (mut next, mut count) = (Some(head), 0);
    while let Some(segment) = next {
        // SAFETY: the caller owns the chain; the reference ends before the segment is given away.
        let index = unsafe {
            let header = &mut *segment.as_ptr();
            next = header.next.take();
            header.segments = 1;
            (header.pool == core).then_some(header.index as usize)
        };
        match index {
            Some(index) => {
                count += 1;
                // From here on the lender may lend it again.
                lent.back[index].store(true, Ordering::Release);
            }
            // SAFETY: passed on; the segment is unlinked.
            None => unsafe { cache::send_home(segment) },
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Pool, PoolConfig};

    /// A lender that keeps its memory by itself, and a token that tells when that is gone.
    fn lender(size: usize) -> (Lender, NonNull<u8>, Arc<Vec<u8>>) {
        let memory = Arc::new(vec![7_u8; 1024]);
        let data = NonNull::new(memory.as_ptr().cast_mut()).unwrap();
        (Lender::new(size, Vec::new(), Box::new(Arc::clone(&memory))).unwrap(), data, memory)
    }

    fn lend(lender: &mut Lender, data: NonNull<u8>, number: usize, len: usize) -> Mbuf {
        // SAFETY: the lender keeps the memory, each number has its own 64 bytes of it, and the tests only read.
        unsafe { lender.lend(number, data.add(number * 64), len, 3) }
    }

    #[test]
    fn a_lent_packet_is_an_mbuf_without_room_around_it() {
        let (mut lender, data, token) = lender(4);
        let mut mbuf = lend(&mut lender, data, 1, 60);
        assert_eq!((mbuf.data(), mbuf.port(), mbuf.headroom(), mbuf.tailroom()), (&[7; 60][..], 3, 0, 0));
        assert!(mbuf.append(1).is_none() && mbuf.prepend(1).is_none() && mbuf.adj(20) && mbuf.trim(10));
        assert_eq!((mbuf.len(), lender.is_back(1), lender.is_back(0)), (30, false, true));
        drop(mbuf);
        assert!(lender.is_back(1));
        drop(lender);
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[cfg(not(miri))]
    #[test]
    fn the_owner_of_lent_memory_finds_it_and_no_other_does() {
        let shareable = || Pool::new(&PoolConfig { size: 4, shareable: true, ..PoolConfig::default() }).unwrap();
        let (owner, other, private) = (shareable(), shareable(), Pool::new(&PoolConfig::default()).unwrap());
        let file = |pool: &Pool| FileId::of(pool.segment().file().unwrap()).unwrap();
        let memory = Box::new([0_u8; 256]);
        let data = NonNull::from(&*memory).cast::<u8>();
        let span = Span::new(data, 256);
        let files = vec![(file(&shareable()), Span::new(NonNull::dangling(), 1)), (file(&owner), span)];
        let mut lender = Lender::new(4, files, memory).unwrap();
        let lent = lend(&mut lender, data, 2, 64);
        let copy = owner.alloc_copy(&lent).unwrap();
        assert_eq!((lent.is_lent(), copy.is_lent()), (true, false));
        assert_eq!(owner.seen_by_lender(&lent).and_then(|span| span.offset_of(lent.data())), Some(128));
        assert_eq!([&other, &private].map(|pool| pool.seen_by_lender(&lent)), [None, None]);
        assert_eq!(owner.seen_by_lender(&copy), None, "it is nobody's loan");
    }

    #[test]
    fn a_run_ends_where_there_is_no_packet_no_room_or_no_mbuf_that_is_back() {
        let (mut lender, data, token) = lender(8);
        let mut lend_run = |first: usize, limit, burst: &mut Burst, packets| {
            // SAFETY: the lender keeps the memory, each packet has its own 64 bytes of it, and the test only reads.
            let lent = unsafe {
                let next = |i: usize| (i < packets).then(|| (data.add(64 * (first + i)), 10 + i as u32));
                lender.lend_run(first, limit, 5, burst, next)
            };
            (lent, (0..8).filter(|number| !lender.is_back(*number)).collect::<Vec<_>>(), lender.all_back())
        };
        let mut burst = Burst::with_limit(3);
        assert_eq!(lend_run(1, 4, &mut burst, 2), ((2, 21), vec![1, 2], false));
        assert_eq!(lend_run(6, 2, &mut burst, 9), ((1, 10), vec![1, 2, 6], false));
        let seen: Vec<_> =
            burst.iter().map(|mbuf| (mbuf.len(), mbuf.packet_len(), mbuf.port(), mbuf.tailroom())).collect();
        assert_eq!(seen, [(10, 10, 5, 0), (11, 11, 5, 0), (10, 10, 5, 0)]);
        let mut more = Burst::new();
        assert_eq!(lend_run(0, 8, &mut more, 8), ((1, 10), vec![0, 1, 2, 6], false));
        drop((burst, more));
        assert_eq!(lend_run(0, 0, &mut Burst::new(), 8), ((0, 0), vec![], true));
        drop(lender);
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn the_memory_stays_until_the_last_packet_is_back_on_whatever_thread() {
        let (mut lender, data, token) = lender(8);
        let mut burst = Burst::new();
        for number in 0..8 {
            burst.push(lend(&mut lender, data, number, 60)).unwrap();
        }
        let last = burst.pop();
        drop(lender);
        std::thread::spawn(move || drop(burst)).join().unwrap();
        assert_eq!((Arc::strong_count(&token), last.as_ref().map(|mbuf| mbuf.data()[0])), (2, Some(7)));
        drop(last);
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn chains_over_a_lender_and_a_pool_go_home_both_ways() {
        let pool = Pool::new(&PoolConfig { size: 4, data_room: 64, ..PoolConfig::default() }).unwrap();
        let (mut lender, data, token) = lender(4);
        let mut own_first = pool.alloc().unwrap();
        own_first.chain(lend(&mut lender, data, 0, 60)).unwrap();
        own_first.chain(pool.alloc().unwrap()).unwrap();
        let mut lent_first = lend(&mut lender, data, 1, 60);
        lent_first.chain(pool.alloc().unwrap()).unwrap();
        lent_first.chain(lend(&mut lender, data, 2, 60)).unwrap();
        drop((own_first, lent_first));
        assert_eq!(pool.available(), 4);
        assert!((0..3).all(|number| lender.is_back(number)));
        drop(lender);
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn a_lender_is_told_of_copies_into_the_pool_that_was_copied_into_last() {
        let pools = [4, 5].map(|size| Pool::new(&PoolConfig { size, data_room: 64, ..PoolConfig::default() }).unwrap());
        let (mut lender, data, _token) = lender(4);
        let told = |lender: &Lender| [0, 1].map(|i| lender.copied_into(&pools[i]));
        let mbuf = lend(&mut lender, data, 0, 60);
        pools[0].tell_lender(&mbuf, 32);
        pools[0].tell_lender(&mbuf, 2);
        assert_eq!(told(&lender), [34, 0]);
        pools[1].tell_lender(&mbuf, 1);
        assert_eq!(told(&lender), [0, 1]);
        pools[0].tell_lender(&pools[1].alloc().unwrap(), 1);
        assert_eq!(told(&lender), [0, 1], "a pool's mbufs are no lender's");
    }

    #[test]
    fn lending_goes_on_while_another_thread_brings_back() {
        let (mut lender, data, token) = lender(8);
        let (send, receive) = std::sync::mpsc::sync_channel::<Mbuf>(4);
        let sink = std::thread::spawn(move || receive.into_iter().map(|mbuf| usize::from(mbuf.data()[0] == 7)).sum());
        let rounds = if cfg!(miri) { 50 } else { 5000 };
        for i in 0..rounds {
            while !lender.is_back(i % 8) {
                std::thread::yield_now();
            }
            send.send(lend(&mut lender, data, i % 8, 60)).unwrap();
        }
        drop((send, lender));
        assert_eq!((sink.join().unwrap(), Arc::strong_count(&token)), (rounds, 1));
    }

    #[test]
    fn an_empty_mbuf_is_written_where_it_lies_and_told_by_its_lender() {
        let mut memory = vec![0_u8; 128];
        let data = NonNull::new(memory.as_mut_ptr()).unwrap();
        let pool = Pool::new(&PoolConfig { size: 4, data_room: 64, ..PoolConfig::default() }).unwrap();
        let mut lender = Lender::new(4, Vec::new(), Box::new(())).unwrap();
        // SAFETY: the memory outlives the mbuf, and nobody else touches it until then.
        let mut mbuf = unsafe { lender.lend_empty(3, data, 100) };
        assert_eq!((mbuf.len(), mbuf.packet_len(), mbuf.tailroom(), mbuf.headroom()), (0, 0, 100, 0));
        mbuf.append(5).unwrap().copy_from_slice(b"hello");
        assert!(mbuf.append(96).is_none() && mbuf.adj(1));
        mbuf.chain(pool.alloc().unwrap()).unwrap();
        let segments: Vec<_> = lender.segments(&mbuf).collect();
        assert_eq!(segments, [Some(LentSegment { number: 3, offset: 1, len: 4 }), None]);
        drop(mbuf);
        assert!(lender.is_back(3));
        assert_eq!((&memory[..5], pool.available()), (&b"hello"[..], 4));
    }

    #[test]
    fn resetting_an_mbuf_smaller_than_a_headroom_leaves_it_no_room_at_all() {
        let (mut lender, data, _token) = lender(4);
        let mut mbuf = lend(&mut lender, data, 0, 60);
        mbuf.reset();
        assert_eq!((mbuf.len(), mbuf.tailroom(), mbuf.headroom(), mbuf.room_mut().len()), (0, 0, 60, 0));
        assert!(mbuf.append(1).is_none());
    }

    #[test]
    #[should_panic(expected = "mbuf 2 is out")]
    fn an_mbuf_that_is_out_is_not_lent_again() {
        let (mut lender, data, _) = lender(4);
        let _held = lend(&mut lender, data, 2, 60);
        lend(&mut lender, data, 2, 60);
    }
}
