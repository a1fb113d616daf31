//! The sending end of a server's ring whose slots the application may write packets into: written once, copied never.
//!
//! ```text
//!            sent and published    lent, in the ring's order     posted by the client
//!          ... . . . . . . . . . | # # _ # # # # # # # # # # # | . . . . . . . . ...
//!                                ^ filled      (_ dropped)     ^ lent
//! ```
//!
//! 1. [`LendTxRing::alloc`] lends the buffers of the next slots that the client has posted, as empty mbufs.
//! 2. An mbuf that is sent when its slot is the next one stays where it is: only its descriptor is written.
//! 3. Dropped ones leave holes. What no longer lies where it has to go is moved out of the slots into mbufs of the pool; when
//!    nothing in the slots is out any more, it is sent as every other packet is, by a copy.
//! 4. While the application keeps an mbuf back, nothing can pass its slot: bursts take what lies before it, and no more.
//! 5. The lender keeps the link's memory until the last mbuf is back, whatever becomes of the link and of this ring. To any
//!    other ring such an mbuf is like any other.
//!
//! The client can read a packet while it is being written, and write into it: who chooses zero-copy trusts the peer that far.

use pmd_core::pool::LentSegment;
use pmd_core::{Burst, Mbuf, Pool};

use super::rx_borrow::LendSlots;
use super::tx::{Sent, TxRing, TxTally};
use super::{BadPlace, DESC_NEXT, Descriptor, PACKET_MAX, PeersSlots, RingMemory};

/// Who lends the buffers of a ring's slots to be written.
pub(crate) trait LendBuffers: LendSlots {
    /// An empty mbuf over the buffer that a descriptor describes, known by its slot.
    ///
    /// # Errors
    /// When it lies outside the regions.
    ///
    /// # Panics
    /// When the last mbuf of the slot is not back.
    fn lend_empty(&mut self, slot: u16, buffer: Descriptor) -> Result<Mbuf, BadPlace>;

    /// What each segment of `packet` is of what was lent here.
    fn segments<'a>(&'a self, packet: &'a Mbuf) -> impl Iterator<Item = Option<LentSegment>> + 'a;
}

/// The sending end.
#[derive(Debug)]
pub(crate) struct LendTxRing<M, L> {
    ring: TxRing<M, PeersSlots>,
    lender: L,
    /// The slot behind the last one that was lent, free-running; every mbuf that is out belongs to a slot between the ring's
    /// next one and this.
    lent: u16,
}

impl<M: RingMemory, L: LendBuffers> LendTxRing<M, L> {
    /// The sending end of a connected ring that sends as `ring` does.
    pub(crate) fn new(ring: TxRing<M, PeersSlots>, lender: L) -> Self {
        let lent = ring.filled();
        Self { ring, lender, lent }
    }

    /// The ring's memory.
    pub(crate) fn memory(&self) -> &M {
        self.ring.memory()
    }

    /// Adds up to `n` empty mbufs that lie in the ring to `burst`, as far as it has room and the client has posted slots, and
    /// says how many.
    pub(crate) fn alloc(&mut self, burst: &mut Burst, n: usize, tally: &mut TxTally) -> usize {
        self.forget_dropped();
        let out = self.lent.wrapping_sub(self.ring.filled());
        // A burst is far smaller than what a u16 counts.
        let wanted = n.min(burst.room()) as u16;
        let free = self.ring.free(usize::from(out) + usize::from(wanted), tally).saturating_sub(out);
        let before = burst.len();
        for _ in 0..wanted.min(free) {
            let slot = self.ring.size().slot(self.lent);
            let buffer = self.ring.usable(slot);
            // What cannot be lent, sending finds and names.
            let Some(mbuf) = self.lender.lend_empty(slot, buffer).ok().filter(|_| buffer.length > 0) else { break };
            let pushed = burst.push(mbuf);
            debug_assert!(pushed.is_ok(), "the burst has room");
            self.lent = self.lent.wrapping_add(1);
        }
        burst.len() - before
    }

    /// Sends the leading mbufs of `burst`, as many as fit, and takes them out of it. `pool` is for those that have to move.
    #[inline]
    pub(crate) fn send(&mut self, pool: &Pool, burst: &mut Burst, tally: &mut TxTally) -> Sent {
        let mut in_place = 0;
        if self.lent != self.ring.filled() {
            in_place = self.send_in_place(burst, tally);
            if in_place == burst.len() || !self.clear_the_way(pool, &mut burst[in_place..], tally) {
                burst.free_front(in_place);
                return Sent { taken: in_place, fault: None };
            }
        }
        let Sent { taken, fault } = self.ring.send(&burst[in_place..], tally);
        self.lent = self.ring.filled();
        burst.free_front(in_place + taken);
        Sent { taken: in_place + taken, fault }
    }

    /// Publishes the leading packets that lie where they have to go, and says how many.
    fn send_in_place(&mut self, burst: &[Mbuf], tally: &mut TxTally) -> usize {
        // Chains take more slots than the burst has mbufs: a fresh look.
        let free = self.ring.free(usize::from(self.ring.size().get()), tally);
        let (mut packets, mut slots, mut bytes) = (0, 0, 0);
        for mbuf in burst {
            let Some(taken) = self.lies_at(mbuf, slots, free) else { break };
            let mut left = mbuf.packet_len();
            for segment in mbuf.segments() {
                left -= segment.len();
                let flags = if left > 0 { DESC_NEXT } else { 0 };
                self.ring.describe_filled(slots, flags, segment.len() as u32);
                slots += 1;
            }
            debug_assert_eq!(mbuf.segment_count(), usize::from(taken));
            bytes += mbuf.packet_len() as u64;
            packets += 1;
        }
        if slots > 0 {
            self.ring.advance(slots);
        }
        tally.packets += packets as u64;
        tally.in_place += packets as u64;
        tally.bytes += bytes;
        packets
    }

    /// How many slots a packet takes that lies exactly in the ring's slots from the next one but `skip`, whole and within the
    /// `free` ones; `None` for any other.
    #[inline(always)]
    fn lies_at(&self, mbuf: &Mbuf, skip: u16, free: u16) -> Option<u16> {
        if mbuf.packet_len() > PACKET_MAX {
            return None;
        }
        let mut end = skip;
        for segment in self.lender.segments(mbuf) {
            let segment = segment?;
            let slot = self.ring.size().slot(self.ring.filled().wrapping_add(end));
            if end >= free || segment.number != usize::from(slot) || segment.offset > 0 || segment.len == 0 {
                return None;
            }
            end += 1;
        }
        Some(end - skip)
    }

    /// Moves what lies in the ring's slots, but not where it has to go, out of them. `false` when mbufs are still out: then
    /// nothing can be sent now.
    #[cold]
    fn clear_the_way(&mut self, pool: &Pool, burst: &mut [Mbuf], tally: &mut TxTally) -> bool {
        for mbuf in burst {
            if self.lender.segments(mbuf).any(|segment| segment.is_some()) {
                let Some(moved) = pool.alloc_copy(mbuf) else {
                    tally.held += 1;
                    return false;
                };
                *mbuf = moved;
            }
        }
        self.forget_dropped();
        // What was not the last one and is back is a hole: all of them are, or somebody holds one behind it.
        let clear = self.lent == self.ring.filled();
        tally.held += u64::from(!clear);
        clear
    }

    /// Slots at the end whose mbufs were dropped can be lent again.
    fn forget_dropped(&mut self) {
        while self.lent != self.ring.filled() && self.lender.is_back(self.ring.size().slot(self.lent.wrapping_sub(1))) {
            self.lent = self.lent.wrapping_sub(1);
        }
    }
}
