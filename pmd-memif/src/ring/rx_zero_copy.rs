//! The receiving end of a client's ring without copies: the server writes into our mbufs.
//!
//! 1. Slots are given empty mbufs of the exported pool, as many as the window says; a slot's descriptor says where its mbuf
//!    lies and how much it holds. The mbuf itself stays here, in the slot's place of `slots`.
//! 2. What the server has filled is taken out of its place, given its length and handed on: no byte is copied.
//! 3. At the end of each burst empty mbufs take the places of those that went. There is no threshold below which this
//!    waits, so rings of any size work (statement 62). When the pool is empty, fewer slots are posted for a while.
//!
//! Only flags and length are read from a descriptor, and the length is bounded by the mbuf: a hostile server can spoil the
//! bytes of the packets it sends, nothing else. What it cannot be kept from is writing into a buffer after it has given
//! it back: who chooses zero-copy trusts the peer not to.

use pmd_core::{BURST_MAX, Burst, Mbuf};

use super::exported::ExportedPool;
use super::gather::{Chain, Found};
use super::rx::RxTally;
use super::window::Window;
use super::{Descriptor, PACKET_MAX, RING_MASK_INT, RingMemory, RingSize};

/// The receiving end.
#[derive(Debug)]
pub(crate) struct ZeroCopyRxRing<M> {
    memory: M,
    size: RingSize,
    pool: ExportedPool,
    /// The mbuf of each posted slot.
    slots: Vec<Option<Mbuf>>,
    /// Slots consumed, free-running, private.
    consumed: u16,
    /// Slots posted, free-running: our index, private. Never more than `size` ahead of `consumed`.
    posted: u16,
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
        let slots = std::iter::repeat_with(|| None).take(size.get().into()).collect();
        let fresh = Box::new(Burst::new());
        let chain = Chain::new(size);
        let window = Window::new(size, u32::try_from(pool.pool.data_room()).unwrap_or(u32::MAX));
        let mut ring = Self { memory, size, pool, slots, consumed: 0, posted: 0, filled: 0, window, fresh, chain };
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
    #[inline]
    pub(crate) fn receive(&mut self, port: u16, burst: &mut Burst, tally: &mut RxTally) -> usize {
        let before = burst.len();
        let room = burst.room();
        let mut left = self.visible(room, tally);
        while left > 0 && burst.room() > 0 {
            let run = self.straight(port, left, burst, tally);
            let slots = if run > 0 { run } else { self.take_any(port, left, burst, tally) };
            if slots == 0 {
                break;
            }
            self.consumed = self.consumed.wrapping_add(slots);
            left -= slots;
        }
        if self.posted.wrapping_sub(self.consumed) < self.window.open() {
            self.refill(tally);
        }
        let packets = burst.len() - before;
        tally.packets += packets as u64;
        packets
    }

    /// Hands on the leading packets that are one sound descriptor each, out of the `visible` slots and as far as `burst` has
    /// room; says how many.
    #[inline(always)]
    fn straight(&mut self, port: u16, visible: u16, burst: &mut Burst, tally: &mut RxTally) -> u16 {
        let Self { memory, size, slots, consumed, .. } = self;
        let (mut run, mut bytes) = (0, 0);
        while run < visible && burst.room() > 0 {
            let index = consumed.wrapping_add(run);
            let descriptor = memory.descriptor(index);
            let place = &mut slots[usize::from(size.slot(index))];
            let len = descriptor.length as usize;
            let sound = |mbuf: &mut Mbuf| len > 0 && mbuf.receive(len, port).is_some();
            if descriptor.flags != 0 || !place.as_mut().is_some_and(sound) {
                break;
            }
            if let Some(mbuf) = place.take() {
                let pushed = burst.push(mbuf);
                debug_assert!(pushed.is_ok(), "the burst has room");
            }
            bytes += len as u64;
            run += 1;
        }
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

    /// The mbuf at an index, filled as its descriptor says.
    fn take_segment(&mut self, index: u16, descriptor: Descriptor, tally: &mut RxTally) -> Option<Mbuf> {
        let mut mbuf = self.slots[usize::from(self.size.slot(index))].take()?;
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
        for (i, descriptor) in (0..).zip(chain.descriptors()) {
            let index = self.consumed.wrapping_add(i);
            let Some(segment) = self.take_segment(index, *descriptor, tally) else { continue };
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
        let posted = self.posted.wrapping_sub(self.consumed);
        let mut missing = usize::from(self.window.open().saturating_sub(posted));
        while missing > 0 {
            let wanted = missing.min(BURST_MAX);
            let got = self.pool.pool.alloc_bulk(&mut self.fresh, wanted);
            let Self { memory, size, pool, slots, posted, fresh, .. } = self;
            for mut mbuf in fresh.drain_front(got) {
                let room = mbuf.room_mut();
                let Some(place) = pool.place_of(room) else { continue };
                let descriptor =
                    Descriptor { flags: 0, region: place.region, length: room.len() as u32, offset: place.offset };
                memory.set_descriptor(*posted, descriptor);
                slots[usize::from(size.slot(*posted))] = Some(mbuf);
                *posted = posted.wrapping_add(1);
            }
            missing -= got;
            if got < wanted {
                tally.nombuf += 1;
                break;
            }
        }
        self.memory.set_head(self.posted);
    }

    /// How many filled slots may be taken now.
    #[inline(always)]
    fn visible(&mut self, wanted: usize, tally: &mut RxTally) -> u16 {
        let mut visible = self.filled.wrapping_sub(self.consumed);
        if usize::from(visible) < wanted {
            self.filled = self.memory.tail();
            visible = self.filled.wrapping_sub(self.consumed);
            self.window.look(visible);
        }
        let posted = self.posted.wrapping_sub(self.consumed);
        if visible > posted {
            // Statement 48: the server claims slots that it was never given.
            tally.overrun += 1;
            visible = posted;
            self.filled = self.consumed.wrapping_add(visible);
        }
        visible
    }
}
