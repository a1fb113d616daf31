//! The receiving end of a client's ring without copies: the server writes into our mbufs.
//!
//! 1. Slots are given empty mbufs of the exported pool, as many as the window says; a slot's descriptor says where its mbuf
//!    lies and how much it holds. The mbuf itself stays here, in the order of the slots.
//! 2. What the server has filled is given its length and handed on: no byte is copied.
//! 3. At the end of each burst empty mbufs take the slots behind the others. There is no threshold below which this
//!    waits, so rings of any size work (statement 62). When the pool is empty, fewer slots are posted for a while.
//!
//! Only flags and length are read from a descriptor, and the length is bounded by the mbuf: a hostile server can spoil the
//! bytes of the packets it sends, nothing else. What it cannot be kept from is writing into a buffer after it has given
//! it back: who chooses zero-copy trusts the peer not to.

use pmd_core::{BURST_MAX, Burst, Mbuf, MbufFifo};

use super::exported::ExportedPool;
use super::gather::{Chain, Found};
use super::rx::{CountRx, RxTally, tallied};
use super::window::Window;
use super::{Descriptor, PACKET_MAX, Place, RING_MASK_INT, RingMemory, RingSize, Slots};

/// The receiving end.
#[derive(Debug)]
pub(crate) struct ZeroCopyRxRing<M> {
    memory: M,
    size: RingSize,
    pool: ExportedPool,
    /// The mbufs of the posted slots, from the first one that is not consumed.
    mbufs: MbufFifo,
    /// Slots consumed, free-running, private.
    consumed: u16,
    /// The server's index as last loaded.
    filled: u16,
    window: Window,
    /// Mbufs on their way into slots.
    fresh: Box<Burst>,
    /// The packet that `take_chain` works on.
    chain: Chain,
}

impl<M: RingMemory> ZeroCopyRxRing<M> {
    /// The receiving end of a connected ring, polling, with as many slots posted as the pool can fill.
    pub(crate) fn new(memory: M, size: RingSize, pool: ExportedPool) -> Self {
        let (mbufs, fresh) = (MbufFifo::new(size.get().into()), Box::new(Burst::new()));
        let chain = Chain::new(size);
        let window = Window::new(size, u32::try_from(pool.pool.data_room()).unwrap_or(u32::MAX));
        let mut ring = Self { memory, size, pool, mbufs, consumed: 0, filled: 0, window, fresh, chain };
        ring.memory.set_flags(RING_MASK_INT);
        ring.refill(&mut RxTally::default());
        ring
    }

    /// The ring's memory.
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// Whether the server has filled slots that have not been consumed.
    pub(crate) fn has_packets(&self) -> bool {
        self.memory.tail() != self.consumed
    }

    /// Adds received packets to `burst`, up to its limit, and says how many.
    #[inline(always)]
    pub(crate) fn receive(&mut self, port: u16, burst: &mut Burst, count: impl CountRx) -> usize {
        let claimed = self.claimed(burst.room());
        if claimed == 0 && self.posted() >= self.window.open() {
            0
        } else {
            self.receive_claimed(port, burst, claimed, count)
        }
    }

    /// The same, out of slots that the server claims to have filled.
    #[inline(never)]
    fn receive_claimed(&mut self, port: u16, burst: &mut Burst, claimed: u16, count: impl CountRx) -> usize {
        tallied(count, |tally| self.receive_visible(port, burst, claimed, tally))
    }

    #[inline(always)]
    fn receive_visible(&mut self, port: u16, burst: &mut Burst, claimed: u16, tally: &mut RxTally) -> usize {
        let before = burst.len();
        let mut left = self.visible(claimed, tally);
        if usize::from(left) <= burst.room() {
            // They are read now, and written when mbufs are posted again.
            self.memory.own_descriptors(self.consumed, left);
        }
        while left > 0 && burst.room() > 0 {
            let run = self.straight(port, left, burst, tally);
            let slots = if run > 0 { run } else { self.take_any(port, left, burst, tally) };
            if slots == 0 {
                break;
            }
            self.consumed = self.consumed.wrapping_add(slots);
            left -= slots;
        }
        if self.posted() < self.window.open() {
            self.refill(tally);
        }
        let packets = burst.len() - before;
        tally.packets += packets as u64;
        packets
    }

    /// Hands on the leading packets that are one sound descriptor each, out of the `visible` slots and as far as `burst` has
    /// room; says how many. Fewer where the ring goes round.
    #[inline(always)]
    fn straight(&mut self, port: u16, visible: u16, burst: &mut Burst, tally: &mut RxTally) -> u16 {
        let front = self.mbufs.front_mut();
        let slots = self.memory.slots(self.consumed, front.len().min(visible.into()).min(burst.room()));
        let (mut run, mut bytes) = (0, 0);
        for (i, mbuf) in front[..slots.len()].iter_mut().enumerate() {
            let descriptor = slots.outline(i);
            let len = descriptor.length as usize;
            if descriptor.flags != 0 || len == 0 || mbuf.receive(len, port).is_none() {
                break;
            }
            bytes += len as u64;
            run += 1;
        }
        self.mbufs.pop_to(burst, usize::from(run));
        tally.bytes += bytes;
        run
    }

    /// Hands on a packet of several segments, or drops a broken one, and says how many slots it took; none when its end is
    /// not there yet.
    #[cold]
    fn take_any(&mut self, port: u16, visible: u16, burst: &mut Burst, tally: &mut RxTally) -> u16 {
        let Self { memory, size, consumed, .. } = self;
        let mut chain = std::mem::replace(&mut self.chain, Chain::EMPTY);
        let (packet, slots) = match chain.read(*size, visible, |i| memory.descriptor(consumed.wrapping_add(i))) {
            Found::Packet(slots) => (self.join(&chain, false, tally), slots),
            Found::Endless(slots) => (self.join(&chain, true, tally), slots),
            Found::Unfinished => (None, 0),
        };
        self.chain = chain;
        if let Some(mut packet) = packet {
            packet.set_port(port);
            tally.bytes += packet.packet_len() as u64;
            let pushed = burst.push(packet);
            debug_assert!(pushed.is_ok(), "the burst has room");
        }
        slots
    }

    /// The next mbuf, filled as its descriptor says.
    fn take_segment(&mut self, descriptor: Descriptor, tally: &mut RxTally) -> Option<Mbuf> {
        let mut mbuf = self.mbufs.pop()?;
        let len = descriptor.length as usize;
        if len == 0 || mbuf.receive(len, 0).is_none() {
            tally.bad_length += 1;
            return None;
        }
        Some(mbuf)
    }

    /// The packet in `chain`, taken out of its slots; none if it was broken.
    fn join(&mut self, chain: &Chain, endless: bool, tally: &mut RxTally) -> Option<Mbuf> {
        let before = tally.bad_length;
        let mut packet: Option<Mbuf> = None;
        for descriptor in chain.descriptors() {
            let Some(segment) = self.take_segment(*descriptor, tally) else { continue };
            match &mut packet {
                // A chain of more than 65535 segments does not fit any ring.
                Some(head) => drop(head.chain(segment)),
                None => packet = Some(segment),
            }
        }
        if tally.bad_length > before {
            // One broken packet, however many of its segments were.
            tally.bad_length = before + 1;
            packet = None;
        } else if endless || packet.as_ref().is_some_and(|packet| packet.packet_len() > PACKET_MAX) {
            tally.too_long += 1;
            packet = None;
        }
        packet
    }

    /// Posts empty mbufs until there are as many as the window says, as far as the pool goes.
    fn refill(&mut self, tally: &mut RxTally) {
        let mut missing = usize::from(self.window.open().saturating_sub(self.posted()));
        while missing > 0 {
            let wanted = missing.min(BURST_MAX);
            let got = self.pool.pool.alloc_bulk(&mut self.fresh, wanted);
            let described = self.describe_fresh();
            self.mbufs.push_from(&mut self.fresh, described);
            debug_assert_eq!(described, got, "a pool's mbufs lie in its memory");
            self.fresh.clear();
            missing -= got;
            if got < wanted {
                tally.nombuf += 1;
                break;
            }
        }
        self.memory.set_head(self.consumed.wrapping_add(self.posted()));
    }

    /// Describes the mbufs in `fresh` in the first slots that are not posted, and says how many.
    #[inline(always)]
    fn describe_fresh(&mut self) -> usize {
        let (exported, first) = (self.pool.memory(), self.consumed.wrapping_add(self.posted()));
        let empty = |mbuf: &mut Mbuf| {
            let room = mbuf.room_mut();
            let Place { region, offset } = exported.place_of(room)?;
            Some(Descriptor { flags: 0, region, length: room.len() as u32, offset })
        };
        self.memory.set_descriptors(first, self.fresh.len(), self.fresh.iter_mut().map_while(empty))
    }

    /// Slots posted and not consumed. A queue as long as the ring holds their mbufs.
    #[inline(always)]
    fn posted(&self) -> u16 {
        self.mbufs.len() as u16
    }

    /// How many slots are filled, as the server says.
    #[inline(always)]
    fn claimed(&mut self, wanted: usize) -> u16 {
        let mut claimed = self.filled.wrapping_sub(self.consumed);
        if usize::from(claimed) < wanted {
            self.filled = self.memory.tail();
            claimed = self.filled.wrapping_sub(self.consumed);
            self.window.look(claimed);
        }
        claimed
    }

    /// How many of them may be taken now.
    #[inline(always)]
    fn visible(&mut self, claimed: u16, tally: &mut RxTally) -> u16 {
        let posted = self.posted();
        if claimed <= posted {
            return claimed;
        }
        // Statement 48: the server claims slots that it was never given.
        tally.overrun += 1;
        self.filled = self.consumed.wrapping_add(posted);
        posted
    }
}
