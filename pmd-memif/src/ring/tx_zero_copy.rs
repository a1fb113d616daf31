//! The sending end of a client's ring without copies: the server reads out of our mbufs.
//!
//! 1. A packet in an exported pool is posted where it lies, a descriptor per segment; its mbuf waits in the place of the
//!    packet's last slot in `slots`.
//! 2. When the server has consumed the slot, the mbuf is taken out and returns to its pool, in bulk.
//! 3. A packet from elsewhere is copied into an exported pool first: those of one segment many at a time.
//!
//! Segments longer than the cap are posted in parts (statement 69).

use pmd_core::{BURST_MAX, Burst, Mbuf};

use super::exported::ExportedPool;
use super::tx::{Sent, TxTally};
use super::{DESC_NEXT, Descriptor, PACKET_MAX, Place, RingMemory, RingSize};

/// The sending end.
#[derive(Debug)]
pub(crate) struct ZeroCopyTxRing<M> {
    memory: M,
    size: RingSize,
    /// All pools the server has mapped; copies go into the first one.
    pools: Vec<ExportedPool>,
    segment_max: usize,
    /// The mbuf that is done with when the slot is consumed.
    slots: Vec<Option<Mbuf>>,
    /// Slots filled, free-running: our index, private.
    filled: u16,
    /// Slots whose mbufs have come back, free-running, private.
    reclaimed: u16,
    /// Mbufs on their way home.
    done: Box<Burst>,
    /// Copies of packets from elsewhere, on their way into slots; `None` while [`Self::copy_in`] has it.
    copies: Option<Box<Burst>>,
}

impl<M: RingMemory> ZeroCopyTxRing<M> {
    /// The sending end of a connected ring. `pools` is not empty; `segment_max` is in bytes.
    pub(crate) fn new(memory: M, size: RingSize, pools: Vec<ExportedPool>, segment_max: u32) -> Self {
        let slots = std::iter::repeat_with(|| None).take(size.get().into()).collect();
        let (done, copies) = (Box::new(Burst::new()), Some(Box::new(Burst::new())));
        let segment_max = segment_max as usize;
        let ring = Self { memory, size, pools, segment_max, slots, filled: 0, reclaimed: 0, done, copies };
        ring.memory.set_head(0);
        ring
    }

    /// The ring's memory.
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// Adds up to `n` empty mbufs that the server can read from to `burst`, and says how many.
    pub(crate) fn alloc(&mut self, burst: &mut Burst, n: usize) -> usize {
        self.pools[0].pool.alloc_bulk(burst, n)
    }

    /// Sends the leading mbufs of `burst`, as many as fit, and takes them out of it.
    #[inline]
    pub(crate) fn send(&mut self, burst: &mut Burst, tally: &mut TxTally) -> Sent {
        self.reclaim(tally);
        let before = self.filled;
        let mut taken = self.straight(burst, tally);
        while !burst.is_empty() {
            let copied = self.copy_in(burst, tally);
            if copied == 0 {
                taken += self.post_rest(burst, tally);
                break;
            }
            taken += copied + self.straight(burst, tally);
        }
        if self.filled != before {
            self.memory.set_head(self.filled);
        }
        Sent { taken, fault: None }
    }

    /// Copies the leading packets of `burst` that are one segment outside the exported pools into one of them, posts the copies
    /// as far as slots are free, and takes the packets out of `burst`; says how many.
    #[inline(never)]
    fn copy_in(&mut self, burst: &mut Burst, tally: &mut TxTally) -> usize {
        let Some(mut copies) = self.copies.take() else { return 0 };
        let free = usize::from(self.size.get() - self.filled.wrapping_sub(self.reclaimed));
        let from_elsewhere =
            |mbuf: &&Mbuf| (1..=self.segment_max).contains(&mbuf.len()) && self.place(mbuf.data()).is_none();
        let count = burst.iter().take(free).take_while(from_elsewhere).count();
        let copied = self.pools[0].pool.alloc_copies(&burst[..count], &mut copies);
        burst.free_front(copied);
        let posted = self.straight(&mut copies, tally);
        debug_assert_eq!(posted, copied, "they lie in an exported pool, and there are as many slots");
        self.copies = Some(copies);
        copied
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

    /// Posts the leading packets of `burst` that are one segment of an exported pool, as far as slots are free, and takes them
    /// out of it; says how many.
    #[inline(always)]
    fn straight(&mut self, burst: &mut Burst, tally: &mut TxTally) -> usize {
        let Self { memory, size, pools, segment_max, slots, filled, reclaimed, .. } = self;
        let free = usize::from(size.get() - filled.wrapping_sub(*reclaimed));
        let first = *filled;
        let (mut run, mut bytes) = (0, 0);
        for mbuf in burst.iter().take(free) {
            let data = mbuf.data();
            let simple = mbuf.segment_count() == 1 && !data.is_empty() && data.len() <= *segment_max;
            let Some(Place { region, offset }) = pools.iter().find_map(|pool| pool.place_of(data)).filter(|_| simple)
            else {
                break;
            };
            let length = data.len() as u32;
            memory.set_descriptor(first.wrapping_add(run), Descriptor { flags: 0, region, length, offset });
            bytes += data.len() as u64;
            run += 1;
        }
        *filled = first.wrapping_add(run);
        for (i, mbuf) in (0..).zip(burst.drain_front(run.into())) {
            slots[usize::from(size.slot(first.wrapping_add(i)))] = Some(mbuf);
        }
        tally.packets += u64::from(run);
        tally.bytes += bytes;
        run.into()
    }

    /// Returns the mbufs of consumed slots to their pools.
    pub(crate) fn reclaim(&mut self, tally: &mut TxTally) {
        let consumed = self.memory.tail().wrapping_sub(self.reclaimed);
        if consumed > self.filled.wrapping_sub(self.reclaimed) {
            // The server claims what was never sent; until its index is possible again nothing comes back.
            tally.overrun += 1;
            return;
        }
        for _ in 0..consumed {
            let slot = usize::from(self.size.slot(self.reclaimed));
            self.reclaimed = self.reclaimed.wrapping_add(1);
            if let Some(mbuf) = self.slots[slot].take() {
                if self.done.len() == BURST_MAX {
                    self.done.clear();
                }
                let pushed = self.done.push(mbuf);
                debug_assert!(pushed.is_ok(), "there is room");
            }
        }
        self.done.clear();
    }

    /// How many leading mbufs fit into the free slots.
    fn fitting(&self, burst: &[Mbuf], tally: &mut TxTally) -> usize {
        let mut free = usize::from(self.size.get() - self.filled.wrapping_sub(self.reclaimed));
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
    #[inline(always)]
    fn slots_of(&self, mbuf: &Mbuf) -> usize {
        let len = mbuf.packet_len();
        if mbuf.segment_count() == 1 && len <= self.segment_max && self.place(mbuf.data()).is_some() {
            return usize::from(len > 0);
        }
        self.slots_of_any(mbuf)
    }

    #[cold]
    fn slots_of_any(&self, mbuf: &Mbuf) -> usize {
        let len = mbuf.packet_len();
        let slots = if self.is_exported(mbuf) {
            mbuf.segments().map(|data| data.len().div_ceil(self.segment_max)).sum()
        } else {
            len.div_ceil(self.pools[0].pool.data_room()) * self.pools[0].pool.data_room().div_ceil(self.segment_max)
        };
        if len > PACKET_MAX || slots > usize::from(self.size.get()) { 0 } else { slots }
    }

    /// Posts a packet that fits, or drops and counts it.
    #[inline(always)]
    fn post(&mut self, mbuf: Mbuf, tally: &mut TxTally) {
        let len = mbuf.packet_len();
        if mbuf.segment_count() == 1
            && len > 0
            && len <= self.segment_max
            && let Some(place) = self.place(mbuf.data())
        {
            self.describe(place, len, 0);
            self.posted(mbuf, tally);
        } else {
            self.post_any(mbuf, tally);
        }
    }

    #[cold]
    fn post_any(&mut self, mbuf: Mbuf, tally: &mut TxTally) {
        if mbuf.packet_len() == 0 {
            tally.empty += 1;
            return;
        }
        if self.slots_of(&mbuf) == 0 {
            tally.too_long += 1;
            return;
        }
        if self.is_exported(&mbuf) {
            return self.post_segments(mbuf, tally);
        }
        match self.pools[0].pool.alloc_copy(&mbuf) {
            Some(copy) => self.post_segments(copy, tally),
            None => tally.nombuf += 1,
        }
    }

    /// Posts every segment where it lies.
    fn post_segments(&mut self, mbuf: Mbuf, tally: &mut TxTally) {
        let mut left = mbuf.packet_len();
        for data in mbuf.segments() {
            for part in data.chunks(self.segment_max) {
                left -= part.len();
                let flags = if left > 0 { DESC_NEXT } else { 0 };
                if let Some(place) = self.place(part) {
                    self.describe(place, part.len(), flags);
                }
            }
        }
        self.posted(mbuf, tally);
    }

    /// The packet whose last descriptor was just written goes with that slot.
    #[inline(always)]
    fn posted(&mut self, mbuf: Mbuf, tally: &mut TxTally) {
        tally.packets += 1;
        tally.bytes += mbuf.packet_len() as u64;
        let last = self.size.slot(self.filled.wrapping_sub(1));
        self.slots[usize::from(last)] = Some(mbuf);
    }

    #[inline(always)]
    fn describe(&mut self, place: Place, len: usize, flags: u16) {
        let Place { region, offset } = place;
        self.memory.set_descriptor(self.filled, Descriptor { flags, region, length: len as u32, offset });
        self.filled = self.filled.wrapping_add(1);
    }

    #[inline(always)]
    fn place(&self, data: &[u8]) -> Option<Place> {
        self.pools.iter().find_map(|pool| pool.place_of(data))
    }

    fn is_exported(&self, mbuf: &Mbuf) -> bool {
        mbuf.segments().all(|data| self.place(data).is_some())
    }
}
