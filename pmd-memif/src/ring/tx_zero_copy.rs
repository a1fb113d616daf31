//! The sending end of a client's ring without copies: the server reads out of our mbufs.
//!
//! 1. A packet in an exported pool is posted where it lies, a descriptor per segment; its mbuf waits for the packet's last slot
//!    to be consumed, in the order of the slots. Those before the last are noted as having none.
//! 2. What the server has consumed returns to its pool, in bulk; towards another process, large ones may rest before
//!    ([`super::resting`]).
//! 3. A packet that the server lent to this very process out of the mbufs that wait in front, both ends being ours, is posted
//!    again as what it is: one of these mbufs, which from now on waits for the new slot. So the old slot, which has none any
//!    more, is free as soon as the server hears that the packet is back.
//! 4. A packet from elsewhere is copied into an exported pool first: those of one segment many at a time.
//!
//! Segments longer than the cap are posted in parts (statement 69).

use std::collections::VecDeque;
use std::time::Instant;

use pmd_core::pool::Span;
use pmd_core::{Burst, Mbuf, MbufFifo, Pool};

use super::exported::{ExportedMemory, ExportedPool};
use super::resting::Resting;
use super::tx::{DESCRIPTORS_AHEAD, Sent, TxTally};
#[cfg(test)]
use super::ways::Ways;
use super::ways::{self, Way};
use super::{DESC_NEXT, Descriptor, PACKET_MAX, Place, RingMemory, RingSize};
use crate::copy::{Copier, Streamed, copy_slice, with_copier};

/// Bytes from which a packet that comes back is posted again: copying less is cheaper, best when it is received.
const RETURNED_FROM: usize = 256;

/// The sending end.
#[derive(Debug)]
pub(crate) struct ZeroCopyTxRing<M> {
    memory: M,
    size: RingSize,
    /// Which of them the last packet lay in.
    expected: usize,
    segment_max: usize,
    /// The mbufs that are done with when their slots are consumed.
    mbufs: MbufFifo,
    /// Those that were, and rest; `None` where none may.
    resting: Option<Box<Resting>>,
    /// Filled slots that none of them waits for, free-running: never more than the ring has.
    without: VecDeque<u16>,
    /// How many slots before those of `mbufs` have none because it is in a later one.
    vacated: u16,
    /// Slots filled, free-running: our index, private.
    filled: u16,
    /// Slots whose mbufs have come back, free-running, private.
    reclaimed: u16,
    /// Mbufs for copies of packets from elsewhere, empty between bursts; `None` while [`Self::copy_in`] has it.
    copies: Option<Box<Burst>>,
    /// All pools the server has mapped; copies go into the first one. Dropped behind their mbufs: a thread that drops the last handle
    /// on a pool gives back what its cache has of it.
    pools: Vec<ExportedPool>,
}

impl<M: RingMemory> ZeroCopyTxRing<M> {
    /// The sending end of a connected ring. `pools` is not empty; `segment_max` is in bytes; so many mbufs rest at most, where the
    /// peer is another process.
    pub(crate) fn new(memory: M, size: RingSize, pools: Vec<ExportedPool>, segment_max: u32, resting: usize) -> Self {
        let slots = usize::from(size.get());
        let may_rest = resting > 0 && memory.is_peer_apart();
        let ring = Self {
            memory,
            size,
            pools,
            expected: 0,
            segment_max: segment_max as usize,
            mbufs: MbufFifo::new(slots),
            resting: may_rest.then(|| Box::new(Resting::new(size, resting))),
            without: VecDeque::with_capacity(slots),
            vacated: 0,
            filled: 0,
            reclaimed: 0,
            copies: Some(Box::new(Burst::new())),
        };
        ring.memory.set_head(0);
        ring
    }

    /// The same end, behind so many slots that have been filled and consumed.
    pub(super) fn behind(self, filled: u16) -> Self {
        self.memory.set_head(filled);
        Self { filled, reclaimed: filled, ..self }
    }

    /// The ring's memory.
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// The pool that copies go into.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pools[0].pool
    }

    /// Which way large packets go, where mbufs may rest.
    #[cfg(test)]
    pub(super) fn ways(&mut self) -> Option<&mut Ways> {
        self.resting.as_mut().map(|resting| &mut resting.ways)
    }

    /// Adds up to `n` empty mbufs that the server can read from to `burst`, and says how many.
    pub(crate) fn alloc(&mut self, burst: &mut Burst, n: usize) -> usize {
        self.pools[0].pool.alloc_bulk(burst, n)
    }

    /// Sends the leading mbufs of `burst`, as many as fit, and takes them out of it.
    #[inline]
    pub(crate) fn send(&mut self, burst: &mut Burst, tally: &mut TxTally) -> Sent {
        let way = self.way(burst);
        let rests = way.is_some_and(|way| way != Way::ToFew);
        self.take_back(rests, tally);
        let before = self.filled;
        let mut taken = if way == Some(Way::PastCaches) { self.copy_past_caches(burst, tally) } else { 0 };
        taken += self.straight(burst, tally);
        while !burst.is_empty() {
            if !self.expects_another(&burst[0]) {
                let returned = if burst[0].len() < RETURNED_FROM { 0 } else { self.post_again(burst, tally) };
                let moved = if returned > 0 { returned } else { self.copy_in(burst, tally) };
                if moved == 0 {
                    taken += self.post_rest(burst, tally);
                    break;
                }
                taken += moved;
            }
            taken += self.straight(burst, tally);
        }
        if self.filled != before {
            self.memory.set_head(self.filled);
            if rests {
                self.memory
                    .own_descriptors(self.filled.wrapping_add(DESCRIPTORS_AHEAD), self.filled.wrapping_sub(before));
            }
        }
        // What was taken for packets that went another way.
        self.copies.iter_mut().for_each(|copies| copies.clear());
        if let Some(way) = way {
            self.sent(way, self.filled.wrapping_sub(before), tally);
        }
        Sent { taken, fault: None }
    }

    /// Which way packets like the first of `burst` go now, if that matters.
    #[inline(always)]
    fn way(&self, burst: &[Mbuf]) -> Option<Way> {
        let is_large = burst.first().is_some_and(|mbuf| mbuf.len() >= ways::FROM);
        self.resting.as_ref().filter(|_| is_large).map(|resting| resting.ways.now())
    }

    /// So many slots have been filled that way.
    fn sent(&mut self, way: Way, slots: u16, tally: &mut TxTally) {
        let Self { memory, resting, size, filled, .. } = self;
        let free = || size.get().wrapping_sub(filled.wrapping_sub(memory.tail()));
        resting.iter_mut().for_each(|resting| resting.ways.sent(slots, free, Instant::now));
        tally.to_few += if way == Way::ToFew { slots.into() } else { 0 };
    }

    /// Posts the leading packets of `burst` that are the mbufs in front, lent to us, in these mbufs, and gives the loans back; says
    /// how many. Cold for almost everybody, so that it stays out of the way of the loops of [`Self::send`].
    #[cold]
    fn post_again(&mut self, burst: &mut Burst, tally: &mut TxTally) -> usize {
        // Without slots that have no mbuf, the first slot that is not vacated is that of the mbuf in front.
        let Some(first) = burst.first().filter(|_| self.without.is_empty()) else { return 0 };
        let seen = |pool: &ExportedPool| Some((pool.memory(), pool.pool.seen_by_lender(first)?));
        let Some((exported, lender)) = self.pools.iter().find_map(seen) else { return 0 };
        let (free, segment_max, mut bytes) = (self.free(), self.segment_max, 0);
        let again = burst.iter().zip(self.mbufs.front_mut()).map_while(|(loan, own)| {
            let descriptor = regained(loan, lender, own, exported, segment_max)?;
            bytes += u64::from(descriptor.length);
            Some(descriptor)
        });
        let run = self.memory.set_descriptors(self.filled, free, again);
        self.filled = self.filled.wrapping_add(run as u16);
        self.vacated += run as u16;
        self.mbufs.rotate(run);
        burst.free_front(run);
        tally.packets += run as u64;
        tally.returned += run as u64;
        tally.bytes += bytes;
        run
    }

    /// Copies the leading packets of `burst` that are one segment outside the exported pools into one of them, posts the copies
    /// as far as slots are free, and takes the packets out of `burst`; says how many.
    #[inline(never)]
    fn copy_in(&mut self, burst: &mut Burst, tally: &mut TxTally) -> usize {
        let Some(mut copies) = self.copies.take() else { return 0 };
        let missing = burst.len().min(self.free()).saturating_sub(copies.len());
        self.pools[0].pool.alloc_bulk(&mut copies, missing);
        let run =
            with_copier!(self.memory.kernel(), copier => self.post_copies::<true>(copier, burst, &mut copies, tally));
        self.filled = self.filled.wrapping_add(run as u16);
        if let Some(first) = burst.first().filter(|_| run > 0) {
            self.pools[0].pool.tell_lender(first, run);
        }
        burst.free_front(run);
        self.mbufs.push_from(&mut copies, run);
        self.copies = Some(copies);
        run
    }

    /// Copies the leading packets of `burst` that are one segment, past the caches, into mbufs that have rested, posts these as far
    /// as slots are free, and takes the packets out of `burst`; says how many.
    #[inline(never)]
    fn copy_past_caches(&mut self, burst: &mut Burst, tally: &mut TxTally) -> usize {
        let wanted = burst.len().min(self.free());
        let (Some(mut copies), Some(resting)) = (self.copies.take(), &mut self.resting) else { return 0 };
        resting.take(&mut copies, wanted);
        let run = with_copier!(self.memory.kernel(), copier => {
            self.post_copies::<false>(Streamed(copier), burst, &mut copies, tally)
        });
        Streamed::fence();
        self.filled = self.filled.wrapping_add(run as u16);
        tally.streamed += run as u64;
        burst.free_front(run);
        self.mbufs.push_from(&mut copies, run);
        self.copies = Some(copies);
        run
    }

    /// Copies the leading packets of `burst` that are one segment, `FOREIGN`: from elsewhere, to `copies`, and posts these; says
    /// how many.
    #[inline(always)]
    fn post_copies<const FOREIGN: bool>(
        &self,
        copier: impl Copier,
        burst: &Burst,
        copies: &mut Burst,
        tally: &mut TxTally,
    ) -> usize {
        let (exported, segment_max, mut bytes) = (self.pools[0].memory(), self.segment_max, 0);
        let copied = burst.iter().zip(copies.iter_mut()).map_while(|(mbuf, copy)| {
            let data = mbuf.data();
            if mbuf.segment_count() != 1
                || data.is_empty()
                || data.len() > segment_max
                || FOREIGN && self.place(data).is_some()
            {
                return None;
            }
            let room = copy.receive(data.len(), mbuf.port())?;
            let Place { region, offset } = exported.place_of(room)?;
            copy_slice(copier, room, data);
            bytes += data.len() as u64;
            Some(Descriptor { flags: 0, region, length: data.len() as u32, offset })
        });
        let run = self.memory.set_descriptors(self.filled, self.free(), copied);
        tally.packets += run as u64;
        tally.bytes += bytes;
        run
    }

    /// Posts or drops what does not go the straight way, and what stands behind it; says how many.
    #[cold]
    fn post_rest(&mut self, burst: &mut Burst, tally: &mut TxTally) -> usize {
        let fitting = self.fitting(burst, tally);
        for mbuf in burst.drain_front(fitting) {
            self.post(mbuf, tally);
        }
        fitting
    }

    /// Whether a packet of one segment lies in another exported pool than was expected; from now on, that one is.
    #[inline(never)]
    fn expects_another(&mut self, mbuf: &Mbuf) -> bool {
        let lies_in = |pool: &ExportedPool| pool.place_of(mbuf.data()).is_some();
        let found = self.pools.iter().position(lies_in).filter(|found| *found != self.expected && self.is_simple(mbuf));
        self.expected = found.unwrap_or(self.expected);
        found.is_some()
    }

    /// Whether a packet takes one slot, if it lies in an exported pool.
    #[inline(always)]
    fn is_simple(&self, mbuf: &Mbuf) -> bool {
        mbuf.segment_count() == 1 && !mbuf.is_empty() && mbuf.len() <= self.segment_max
    }

    /// Posts the leading packets of `burst` that are one segment of the expected pool, as far as slots are free, and takes them
    /// out of it; says how many. A loop of its own, with as little as possible to keep in registers.
    #[inline(always)]
    fn straight(&mut self, burst: &mut Burst, tally: &mut TxTally) -> usize {
        let (exported, segment_max, mut bytes) = (self.pools[self.expected].memory(), self.segment_max, 0);
        let posted = burst.iter().map_while(|mbuf| {
            let data = mbuf.data();
            if mbuf.segment_count() != 1 || data.is_empty() || data.len() > segment_max {
                return None;
            }
            let Place { region, offset } = exported.place_of(data)?;
            bytes += data.len() as u64;
            Some(Descriptor { flags: 0, region, length: data.len() as u32, offset })
        });
        let run = self.memory.set_descriptors(self.filled, self.free(), posted);
        self.filled = self.filled.wrapping_add(run as u16);
        self.mbufs.push_from(burst, run);
        tally.packets += run as u64;
        tally.in_place += run as u64;
        tally.bytes += bytes;
        run
    }

    /// Returns the mbufs of consumed slots to their pools; while others are under way, they may rest first.
    pub(crate) fn reclaim(&mut self, tally: &mut TxTally) {
        let rests = self.resting.as_ref().is_some_and(|resting| !resting.is_empty());
        self.take_back(rests, tally);
        if self.filled == self.reclaimed {
            self.resting.iter_mut().for_each(|resting| resting.free_all());
        }
    }

    /// Returns the mbufs of consumed slots to their pools, or lets them rest.
    #[inline(always)]
    fn take_back(&mut self, rests: bool, tally: &mut TxTally) {
        let consumed = self.memory.tail().wrapping_sub(self.reclaimed);
        if consumed > self.filled.wrapping_sub(self.reclaimed) {
            // The server claims what was never sent; until its index is possible again nothing comes back.
            tally.overrun += 1;
            return;
        }
        let vacated = self.vacated.min(consumed);
        self.vacated -= vacated;
        let mut mbufs = usize::from(consumed - vacated);
        while self.without.front().is_some_and(|slot| slot.wrapping_sub(self.reclaimed) < consumed) {
            self.without.pop_front();
            mbufs -= 1;
        }
        match &mut self.resting {
            Some(resting) if rests => resting.add(&mut self.mbufs, mbufs),
            Some(resting) => {
                resting.free_all();
                self.mbufs.free(mbufs);
            }
            None => self.mbufs.free(mbufs),
        }
        self.reclaimed = self.reclaimed.wrapping_add(consumed);
    }

    /// Slots that can be filled.
    #[inline(always)]
    fn free(&self) -> usize {
        usize::from(self.size.get() - self.filled.wrapping_sub(self.reclaimed))
    }

    /// How many leading mbufs fit into the free slots.
    fn fitting(&self, burst: &[Mbuf], tally: &mut TxTally) -> usize {
        let mut free = self.free();
        for (i, mbuf) in burst.iter().enumerate() {
            let slots = self.slots_of(mbuf);
            if slots > free {
                tally.full += 1;
                return i;
            }
            free -= slots;
        }
        burst.len()
    }

    /// Slots that a packet takes; 0 for one that is dropped instead.
    fn slots_of(&self, mbuf: &Mbuf) -> usize {
        let len = mbuf.packet_len();
        let slots = if self.is_exported(mbuf) {
            mbuf.segments().map(|data| data.len().div_ceil(self.segment_max)).sum()
        } else {
            len.div_ceil(self.pools[0].pool.data_room()) * self.pools[0].pool.data_room().div_ceil(self.segment_max)
        };
        if len > PACKET_MAX || slots > usize::from(self.size.get()) { 0 } else { slots }
    }

    /// Posts a packet that fits, or drops and counts it.
    fn post(&mut self, mbuf: Mbuf, tally: &mut TxTally) {
        if mbuf.packet_len() == 0 {
            tally.empty += 1;
            return;
        }
        if self.slots_of(&mbuf) == 0 {
            tally.too_long += 1;
            return;
        }
        if self.is_exported(&mbuf) {
            tally.in_place += 1;
            return self.post_segments(mbuf, tally);
        }
        match self.pools[0].pool.alloc_copy(&mbuf) {
            Some(copy) => {
                self.pools[0].pool.tell_lender(&mbuf, 1);
                self.post_segments(copy, tally);
            }
            None => tally.nombuf += 1,
        }
    }

    /// Posts every segment where it lies. The mbuf goes with the last of its slots.
    fn post_segments(&mut self, mbuf: Mbuf, tally: &mut TxTally) {
        let mut left = mbuf.packet_len();
        for part in mbuf.segments().flat_map(|data| data.chunks(self.segment_max)) {
            // All of them lie in exported pools, and only the last is followed by none.
            let Some(Place { region, offset }) = self.place(part) else { continue };
            left -= part.len();
            let flags = if left > 0 { DESC_NEXT } else { 0 };
            let descriptor = Descriptor { flags, region, length: part.len() as u32, offset };
            self.memory.set_descriptor(self.filled, descriptor);
            if left > 0 {
                self.without.push_back(self.filled);
            }
            self.filled = self.filled.wrapping_add(1);
        }
        tally.packets += 1;
        tally.bytes += mbuf.packet_len() as u64;
        self.mbufs.push(mbuf);
    }

    fn place(&self, data: &[u8]) -> Option<Place> {
        self.pools.iter().find_map(|pool| pool.place_of(data))
    }

    fn is_exported(&self, mbuf: &Mbuf) -> bool {
        mbuf.segments().all(|data| self.place(data).is_some())
    }
}

/// Makes `own` the packet that `loan` is, if that lies in its buffer, and describes it. `lender` is where the memory of `own` lies
/// for who lent it, `exported` where for us.
#[inline(always)]
fn regained(
    loan: &Mbuf,
    lender: Span,
    own: &mut Mbuf,
    exported: ExportedMemory,
    segment_max: usize,
) -> Option<Descriptor> {
    let data = loan.data();
    if loan.segment_count() != 1 || own.segment_count() != 1 || data.is_empty() || data.len() > segment_max {
        return None;
    }
    let offset = lender.offset_of(data)?;
    let Place { region, offset: begin } = exported.place_of(own.data())?;
    // The headroom of a posted mbuf lies before its data, in the pool.
    let buffer = begin as usize - own.headroom();
    own.set_received_at(offset.checked_sub(buffer)?, data.len(), loan.port()).ok()?;
    Some(Descriptor { flags: 0, region, length: data.len() as u32, offset: offset as u32 })
}
