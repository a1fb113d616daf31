//! The receiving end of a server's ring without copies: packets are lent where the client put them.
//!
//! 1. A packet's descriptors are read once, checked, and its bytes lent to the application as mbufs, a segment each.
//! 2. The application drops them, on any thread and in any order.
//! 3. At the beginning of each burst the slots whose mbufs are back are released to the client, in the order of the ring:
//!    a packet that is kept for long holds up those behind it.
//! 4. When half of the ring is out, further packets are copied, so that an application that queues cannot stop the ring
//!    before the other half is used up.
//! 5. Where lending gains nothing, because who sends the packets copies them into mbufs of ours, they are copied here
//!    ([`Lending`]): by the copying end, which works on the same indices. It begins when no mbuf is out.
//! 6. Who passes packets on unread is lent the large ones alone, and those even without `zero-copy=yes`.
//!
//! The lender keeps the link's memory until the last mbuf is back, whatever becomes of the link and of this ring. The
//! lengths and headers are ours; the client can still change the bytes of a packet while it is being read: who chooses
//! zero-copy trusts the peer that far.

use std::ops::Range;

use pmd_core::{Burst, Mbuf, Pool};

use super::gather::{Chain, Found, Refusal, copy_segments};
use super::lending::Lending;
use super::rx::{CountRx, RxRing, RxTally, tallied};
use super::{BadPlace, Descriptor, PACKET_MAX, PeersSlots, RingMemory, RingSize, Slots};

/// Who lends the packets of a ring, known by numbers below the ring's size.
pub(crate) trait LendSlots {
    /// An mbuf of the bytes that a descriptor describes.
    ///
    /// # Errors
    /// When they lie outside the regions.
    ///
    /// # Panics
    /// When the last mbuf of this number is not back.
    fn lend(&mut self, number: u16, descriptor: Descriptor, port: u16) -> Result<Mbuf, BadPlace>;

    /// Adds mbufs to `burst`, as far as it has room, with the given numbers in their order, each of the bytes that `next`
    /// describes; says how many, and how many bytes they hold. The first that `next` does not give, or that lies outside the
    /// regions, ends the run.
    fn lend_run(
        &mut self,
        numbers: Range<u16>,
        port: u16,
        burst: &mut Burst,
        next: impl FnMut(u16) -> Option<Descriptor>,
    ) -> (u16, u64);

    /// Whether the mbuf of this number is back, or was never lent.
    fn is_back(&self, number: u16) -> bool;

    /// Whether the mbufs of all numbers are.
    fn all_back(&self) -> bool;

    /// Lent packets that were copied into `pool`, since any were copied into another one.
    fn copied_into(&self, pool: &Pool) -> u64;
}

/// The receiving end.
#[derive(Debug)]
pub(crate) struct BorrowRxRing<M, L> {
    /// The ring, and the end that copies: what is consumed, by either of us.
    ring: RxRing<M, PeersSlots>,
    lender: L,
    lending: Lending,
    /// Slots given back to the client, free-running: what `tail` says.
    released: u16,
    /// The slot, free-running, that has number 0: the next one each time all mbufs are back. So the headers that are used
    /// are the first few, whatever slot they are for, and stay in L1 as long as the application keeps up.
    base: u16,
    /// The packet that `take_any` works on.
    chain: Chain,
}

impl<M: RingMemory, L: LendSlots> BorrowRxRing<M, L> {
    /// The receiving end of a connected ring, polling.
    pub(crate) fn new(memory: M, lender: L, size: RingSize) -> Self {
        Self::over(RxRing::new(memory, size, PeersSlots), lender, Lending::of_all())
    }

    /// The same ring: large packets are lent from now on, as who receives them passes them on unread.
    pub(crate) fn of_large(ring: RxRing<M, PeersSlots>, lender: L) -> Self {
        Self::over(ring, lender, Lending::of_large())
    }

    fn over(ring: RxRing<M, PeersSlots>, lender: L, lending: Lending) -> Self {
        let (released, chain) = (ring.consumed, Chain::new(ring.size));
        Self { ring, lender, lending, released, base: released, chain }
    }

    /// Whether who receives packets passes them on unread.
    pub(crate) fn set_passed_on(&mut self, passed_on: bool) {
        self.lending.set_passed_on(passed_on);
    }

    /// The ring's memory.
    pub(crate) fn memory(&self) -> &M {
        self.ring.memory()
    }

    /// Whether the client has filled slots that have not been consumed.
    pub(crate) fn has_packets(&self) -> bool {
        self.ring.has_packets()
    }

    /// Adds received packets to `burst`, up to its limit, and says how many. `pool` is for those that are copied.
    #[inline(always)]
    pub(crate) fn receive(&mut self, pool: &Pool, port: u16, burst: &mut Burst, count: impl CountRx) -> usize {
        self.release();
        let claimed = self.ring.claimed(burst.room());
        if claimed == 0 { 0 } else { self.receive_claimed(pool, port, burst, claimed, count) }
    }

    /// The same, out of slots that the client claims to have filled.
    #[inline(never)]
    fn receive_claimed(
        &mut self,
        pool: &Pool,
        port: u16,
        burst: &mut Burst,
        claimed: u16,
        count: impl CountRx,
    ) -> usize {
        tallied(count, |tally| {
            if self.lending.is_suspended() && self.released == self.ring.consumed {
                self.receive_copies(pool, port, burst, claimed, tally)
            } else {
                self.receive_lent(pool, port, burst, claimed, tally)
            }
        })
    }

    #[inline(always)]
    fn receive_lent(&mut self, pool: &Pool, port: u16, burst: &mut Burst, claimed: u16, tally: &mut RxTally) -> usize {
        let before = burst.len();
        let mut left = self.visible(claimed, tally);
        while left > 0 && burst.room() > 0 {
            let run = self.straight(port, left, burst, tally);
            let slots = if run > 0 { run } else { self.take_any(pool, port, left, burst, tally) };
            if slots == 0 {
                break;
            }
            self.ring.consumed = self.ring.consumed.wrapping_add(slots);
            left -= slots;
        }
        let packets = burst.len() - before;
        tally.packets += packets as u64;
        self.lending.lent(packets, tally.bytes, || self.lender.copied_into(pool));
        packets
    }

    /// The same, while nothing is lent.
    #[inline(never)]
    fn receive_copies(
        &mut self,
        pool: &Pool,
        port: u16,
        burst: &mut Burst,
        claimed: u16,
        tally: &mut RxTally,
    ) -> usize {
        let visible = self.ring.visible(claimed, tally);
        let packets = self.ring.receive_visible(pool, port, burst, visible, tally);
        (self.released, self.base) = (self.ring.consumed, self.ring.consumed);
        self.lending.copied(packets, tally.bytes, || self.lender.copied_into(pool));
        packets
    }

    /// Gives the slots back whose mbufs are, in order.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.released == self.ring.consumed {
            return;
        }
        if self.lender.all_back() {
            self.base = self.ring.consumed;
            self.released = self.ring.consumed;
        } else if !self.release_leading() {
            return;
        }
        self.ring.memory.set_tail(self.released);
    }

    /// Releases the slots before the first one whose mbuf is out; whether there are any.
    #[inline(never)]
    fn release_leading(&mut self) -> bool {
        let before = self.released;
        while self.released != self.ring.consumed && self.lender.is_back(self.number(self.released)) {
            self.released = self.released.wrapping_add(1);
        }
        self.released != before
    }

    /// The number of the mbuf that a slot is lent as. No two slots that are out have the same: they are fewer than the ring has.
    #[inline(always)]
    fn number(&self, slot: u16) -> u16 {
        self.ring.size.slot(slot.wrapping_sub(self.base))
    }

    /// Lends the leading packets that are one sound descriptor each, out of the `visible` slots, as far as `burst` has room
    /// and no more than half of the ring is out; says how many. Fewer where the numbers begin anew, or
    /// the ring does.
    #[inline(always)]
    fn straight(&mut self, port: u16, visible: u16, burst: &mut Burst, tally: &mut RxTally) -> u16 {
        let first = self.number(self.ring.consumed);
        let Self { ring: RxRing { memory, size, consumed, .. }, lender, released, .. } = self;
        let lendable = (size.get() / 2).saturating_sub(consumed.wrapping_sub(*released)).min(visible);
        let slots = memory.slots(*consumed, lendable.min(size.get() - first).into());
        let numbers = first..first + slots.len() as u16;
        let (run, bytes) = lender.lend_run(numbers, port, burst, |i| {
            let descriptor = slots.descriptor(i.into());
            (descriptor.flags == 0 && has_sound_length(descriptor)).then_some(descriptor)
        });
        tally.bytes += bytes;
        tally.lent += u64::from(run);
        run
    }

    /// Hands on a chain or a packet that must be copied, or drops a broken one, and says how many slots it took: none when its
    /// end is not there yet, or there is no mbuf to copy it into.
    #[cold]
    fn take_any(&mut self, pool: &Pool, port: u16, visible: u16, burst: &mut Burst, tally: &mut RxTally) -> u16 {
        let Self { ring: RxRing { memory, size, consumed, .. }, released, chain, .. } = self;
        let held = consumed.wrapping_sub(*released);
        let (packet, slots) = match chain.read(*size, visible, |i| memory.descriptor(consumed.wrapping_add(i))) {
            Found::Packet(slots) if held >= size.get() / 2 => (self.copy(pool), slots),
            Found::Packet(slots) => {
                let lent = self.lend_chain(port);
                tally.lent += u64::from(lent.is_ok());
                (lent, slots)
            }
            Found::Endless(slots) => (Err(Refusal::Broken(|tally| &mut tally.too_long)), slots),
            Found::Unfinished => return 0,
        };
        match packet {
            Ok(mut packet) => {
                packet.set_port(port);
                tally.bytes += packet.packet_len() as u64;
                let pushed = burst.push(packet);
                debug_assert!(pushed.is_ok(), "the burst has room");
            }
            Err(refusal) => {
                refusal.count(tally);
                if matches!(refusal, Refusal::NoMbuf) {
                    return 0;
                }
            }
        }
        self.clear_flags(slots);
        slots
    }

    /// What older peers leave behind in a slot must not meet them again (quirk Q2, statement 57).
    fn clear_flags(&self, slots: u16) {
        for i in 0..slots {
            self.ring.memory.clear_flags(self.ring.consumed.wrapping_add(i));
        }
    }

    /// The packet in `chain`, lent.
    fn lend_chain(&mut self, port: u16) -> Result<Mbuf, Refusal> {
        let first = self.number(self.ring.consumed);
        let mut packet: Option<Mbuf> = None;
        for (i, descriptor) in (0..).zip(self.chain.descriptors()) {
            if !has_sound_length(*descriptor) {
                return Err(Refusal::Broken(|tally| &mut tally.bad_length));
            }
            let segment = self.lender.lend(self.ring.size.slot(first + i), *descriptor, port)?;
            match &mut packet {
                None => packet = Some(segment),
                Some(head) if head.packet_len() + segment.len() > PACKET_MAX => {
                    return Err(Refusal::Broken(|tally| &mut tally.too_long));
                }
                // A ring has fewer slots than a chain may have segments.
                Some(head) => head.chain(segment).map_err(|_| Refusal::NoMbuf)?,
            }
        }
        packet.ok_or(Refusal::NoMbuf)
    }

    /// The packet in `chain`, copied.
    fn copy(&self, pool: &Pool) -> Result<Mbuf, Refusal> {
        let mut packet = pool.alloc().ok_or(Refusal::NoMbuf)?;
        copy_segments(&self.ring.memory, pool, &mut packet, PACKET_MAX, &self.chain)?;
        Ok(packet)
    }

    /// How many of the slots that the client claims to have filled may be taken now.
    #[inline(always)]
    fn visible(&mut self, claimed: u16, tally: &mut RxTally) -> u16 {
        // The client may fill only what it was given back (statement 47).
        let possible = self.ring.size.get() - self.ring.consumed.wrapping_sub(self.released);
        if claimed <= possible {
            return claimed;
        }
        tally.overrun += 1;
        self.ring.filled = self.ring.consumed.wrapping_add(possible);
        possible
    }
}

/// Whether a descriptor describes as much as a packet may have, and something.
#[inline(always)]
fn has_sound_length(descriptor: Descriptor) -> bool {
    (1..=PACKET_MAX as u32).contains(&descriptor.length)
}
