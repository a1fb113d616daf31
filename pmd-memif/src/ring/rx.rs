//! The receiving end of a ring: packets out of shared memory into mbufs.
//!
//! A burst:
//! 1. how many slots the peer has filled: from the remembered index, or a fresh load of it;
//! 2. as many mbufs from the pool as packets may come;
//! 3. slot by slot: one snapshot, checks, copy; the buffer is handed back to the peer;
//! 4. one store publishes all slots that were used; mbufs left over go back.
//!
//! Most packets are one descriptor and fit one mbuf; the others (chains, large ones, broken ones) take `gather`.
//!
//! Where the peer is another process, data is asked for some packets ahead of copying it: it is in another CPU's cache. Only a
//! hint comes of that look at a descriptor. A client asks for the descriptors that it posts again, too.
//!
//! Where the buffers lie, and what is done with empty ones, is [`super::posted`]'s.

use std::cell::RefCell;

use pmd_core::{Burst, Mbuf, Pool};

use super::gather::{Chain, Found, Refusal, copy_segments};
use super::posted::{RxBuffers, RxRun, RxView};
use super::{Descriptor, PacketMemory, Place, RING_MASK_INT, RingMemory, RingSize, Slots};
use crate::copy::{Copier, with_copier};

/// How many packets ahead data is asked for, and how many bytes of it: behind those the CPU asks by itself.
const AHEAD: usize = 4;
const ASKED_FOR: usize = 512;

/// What a burst did, for the queue's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RxTally {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Packets handed out where they lie.
    pub(crate) lent: u64,
    /// Bursts cut short because the pool was empty; the packets stay in the ring.
    pub(crate) nombuf: u64,
    /// Packets dropped: a region index the link does not have.
    pub(crate) bad_region: u64,
    /// Packets dropped: offset and length outside the region.
    pub(crate) bad_range: u64,
    /// Packets dropped: a segment of length 0 or above 65535, or above the buffer it lies in.
    pub(crate) bad_length: u64,
    /// Packets dropped: longer than 65535 bytes in all, or a chain that fills the whole ring without an end.
    pub(crate) too_long: u64,
    /// Times the peer's index was further away than the ring is long.
    pub(crate) overrun: u64,
}

/// Who counts what bursts did. Asked only after a burst for which there was something to look at: most polls of a quiet ring find
/// nothing, and are to touch as little memory as they can.
pub(crate) trait CountRx {
    /// Adds a burst.
    fn add(self, tally: &RxTally);
}

impl CountRx for &mut RxTally {
    fn add(self, tally: &RxTally) {
        self.packets += tally.packets;
        self.bytes += tally.bytes;
        self.lent += tally.lent;
        self.nombuf += tally.nombuf;
        self.bad_region += tally.bad_region;
        self.bad_range += tally.bad_range;
        self.bad_length += tally.bad_length;
        self.too_long += tally.too_long;
        self.overrun += tally.overrun;
    }
}

/// Receives a burst and has it counted; says how many packets it was.
#[inline(always)]
pub(super) fn tallied(count: impl CountRx, receive: impl FnOnce(&mut RxTally) -> usize) -> usize {
    let mut tally = RxTally::default();
    let packets = receive(&mut tally);
    count.add(&tally);
    packets
}

/// The receiving end.
#[derive(Debug)]
pub(crate) struct RxRing<M, B> {
    pub(super) memory: M,
    pub(super) size: RingSize,
    buffers: B,
    /// Slots consumed, free-running: our index, private.
    pub(super) consumed: u16,
    /// The peer's index as last loaded.
    pub(super) filled: u16,
    /// Behind a pointer, so that all else is seen not to change while packets are copied.
    unusual: Box<RefCell<Unusual>>,
}

/// What there is to unusual packets.
#[derive(Debug)]
struct Unusual {
    /// The packet that `gather` works on.
    chain: Chain,
    /// The region it lies in: from then on, the straight path expects packets in this one, and no other.
    region: u16,
}

/// What became of a packet that the straight path could not take.
enum Gathered {
    /// Delivered; it took so many slots.
    Delivered(u16),
    /// Broken and counted; it took so many slots.
    Dropped(u16),
    /// It stays in the ring: its end is not there yet, or there is no mbuf.
    Waits,
}

/// Slots that follow each other, whole packets in them, and where their buffers are posted again: by value, so that it stays in
/// registers.
struct Run<'a, S, P, B: RxBuffers + 'a> {
    slots: S,
    buffers: <B::View<'a> as RxView>::Run,
    /// The same, and what has been filled behind them.
    ahead: (S, <B::View<'a> as RxView>::Run),
    posted: S,
    memory: P,
    /// The region that the packets are expected in.
    region: u16,
    capacity: u16,
    port: u16,
}

impl<'a, S: Slots, P: PacketMemory, B: RxBuffers + 'a> Run<'a, S, P, B> {
    /// Asks for the lines of `len` bytes of the packet in the slot `i`, if that is filled.
    #[inline(always)]
    fn fetch(&self, i: usize, len: usize) {
        let (slots, buffers) = self.ahead;
        if i < slots.len() {
            self.memory.fetch(buffers.place(i, slots.descriptor(i)).offset, len);
        }
    }

    /// Fills the leading ones of `mbufs`, as many as there are slots at most, as long as packets are one sound descriptor of the
    /// expected region and fit one mbuf in whole blocks; says how many, and their bytes. A loop of its own, with as little as
    /// possible to do and to keep in registers.
    #[inline(always)]
    fn take<const APART: bool>(&self, copier: impl Copier, mbufs: &mut [Mbuf]) -> (usize, u64) {
        let Self { slots, buffers, posted, memory, region, capacity, port, .. } = *self;
        let (mut taken, mut bytes) = (0, 0);
        for (i, mbuf) in (0..slots.len()).zip(mbufs) {
            let seen = if B::CLIENT { slots.outline(i) } else { slots.descriptor(i) };
            if !seen.is_whole_in(region) || seen.length == 0 || seen.length > u32::from(capacity) {
                break;
            }
            let len = seen.length as u16;
            if APART && len > 64 {
                self.fetch(i + AHEAD, usize::from(len).min(ASKED_FOR));
            }
            let Some(room) = mbuf.receive_blocks(len, port) else { break };
            let place = buffers.place(i, seen);
            if memory.read_blocks(copier, place.offset, room).is_err() {
                break;
            }
            if B::CLIENT {
                posted.set_descriptor(i, buffers.again(i, place));
            }
            bytes += u64::from(len);
            taken += 1;
        }
        (taken, bytes)
    }
}

impl<M: RingMemory, B: RxBuffers> RxRing<M, B> {
    /// The receiving end of a connected ring, polling. A client posts all its buffers.
    pub(crate) fn new(memory: M, size: RingSize, mut buffers: B) -> Self {
        memory.set_flags(RING_MASK_INT);
        buffers.start(&memory);
        let unusual = Box::new(RefCell::new(Unusual { chain: Chain::new(size), region: buffers.region() }));
        Self { memory, size, buffers, consumed: 0, filled: 0, unusual }
    }

    /// The ring's memory.
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// The ring's size.
    pub(crate) fn size(&self) -> RingSize {
        self.size
    }

    /// Whether the peer has filled slots that have not been consumed.
    pub(crate) fn has_packets(&self) -> bool {
        self.load_filled() != self.consumed
    }

    /// Adds received packets to `burst`, up to its limit, and says how many.
    #[inline(always)]
    pub(crate) fn receive(&mut self, pool: &Pool, port: u16, burst: &mut Burst, count: impl CountRx) -> usize {
        let claimed = self.claimed(burst.room());
        // A poll that finds nothing has nothing to do with the loops' registers and stack.
        if claimed == 0 { 0 } else { self.receive_claimed(pool, port, burst, claimed, count) }
    }

    /// [`Self::receive_visible`], out of slots that the peer claims to have filled.
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
            let visible = self.visible(claimed, tally);
            self.receive_visible(pool, port, burst, visible, tally)
        })
    }

    /// Adds packets out of the `visible` slots to `burst`, up to its limit, and says how many.
    #[inline(always)]
    pub(super) fn receive_visible(
        &mut self,
        pool: &Pool,
        port: u16,
        burst: &mut Burst,
        visible: u16,
        tally: &mut RxTally,
    ) -> usize {
        let first = burst.len();
        let wanted = burst.room().min(usize::from(visible));
        // As they were freed: `straight` makes them packets of its own, `gather` empties them.
        let got = pool.raw_alloc_bulk(burst, wanted);
        if got < wanted {
            tally.nombuf += 1;
        }
        if B::CLIENT && usize::from(visible) <= wanted {
            self.memory.own_descriptors(self.buffers.view().posted(), got as u16);
        }
        let (packets, slots) = self.fill(pool, port, &mut burst[first..], visible, tally);
        burst.truncate(first + packets);
        if slots > 0 {
            self.consumed = self.consumed.wrapping_add(slots);
            self.buffers.publish(&self.memory, self.consumed, slots);
        }
        tally.packets += packets as u64;
        packets
    }

    /// Fills `mbufs` from the `visible` slots; says how many mbufs it filled and how many slots it used.
    #[inline(always)]
    fn fill(&self, pool: &Pool, port: u16, mbufs: &mut [Mbuf], visible: u16, tally: &mut RxTally) -> (usize, u16) {
        let run = self.fill_straight(port, mbufs, 0, visible, tally);
        if usize::from(run) == mbufs.len() {
            return (run.into(), run);
        }
        self.fill_rest(pool, port, mbufs, run, visible, tally)
    }

    /// The same behind the first `run` slots: where the ring goes round, or what comes next is nothing for the straight path. Out
    /// of the way of most bursts, which one run fills.
    #[inline(never)]
    fn fill_rest(
        &self,
        pool: &Pool,
        port: u16,
        mbufs: &mut [Mbuf],
        run: u16,
        visible: u16,
        tally: &mut RxTally,
    ) -> (usize, u16) {
        let (mut packets, mut slots, mut run) = (usize::from(run), run, run);
        while packets < mbufs.len() && slots < visible {
            if run == 0 {
                let mbuf = &mut mbufs[packets];
                match self.gather(pool, mbuf, slots, visible, tally) {
                    Gathered::Delivered(used) => {
                        mbuf.set_port(port);
                        (packets, slots) = (packets + 1, slots + used);
                    }
                    Gathered::Dropped(used) => slots += used,
                    Gathered::Waits => break,
                }
            }
            run = self.fill_straight(port, &mut mbufs[packets..], slots, visible, tally);
            (packets, slots) = (packets + usize::from(run), slots + run);
        }
        (packets, slots)
    }

    /// [`Self::straight`], with the best copier.
    #[inline(always)]
    fn fill_straight(&self, port: u16, mbufs: &mut [Mbuf], skip: u16, visible: u16, tally: &mut RxTally) -> u16 {
        with_copier!(self.memory.kernel(), copier => if self.memory.is_peer_apart() {
            self.straight::<true>(copier, port, mbufs, skip, visible, tally)
        } else {
            self.straight::<false>(copier, port, mbufs, skip, visible, tally)
        })
    }

    /// Fills `mbufs` from the slots behind the `skip` ones, until the ring goes round, what is posted, or the buffers, and as far as
    /// [`Run::take`] can; says how many those were. `APART`: the peer is another process. Not inlined: what is kept in registers
    /// around it would not be there for the loop.
    #[inline(never)]
    fn straight<const APART: bool>(
        &self,
        copier: impl Copier,
        port: u16,
        mbufs: &mut [Mbuf],
        skip: u16,
        visible: u16,
        tally: &mut RxTally,
    ) -> u16 {
        let region = self.unusual.borrow().region;
        let Some(memory) = self.memory.packets(region) else { return 0 };
        let view = self.buffers.view();
        let capacity = view.capacity();
        let (index, again) = (self.consumed.wrapping_add(skip), view.posted().wrapping_add(skip));
        let left = usize::from(visible - skip);
        let most = mbufs.len().min(left);
        let filled = self.memory.slots(index, if APART { left } else { most });
        let (places, count) = view.run(index, again, filled.len());
        let ahead = (filled.first(count), places);
        let count = count.min(most);
        let posted = if B::CLIENT { self.memory.slots(again, count) } else { filled.first(count) };
        let (slots, buffers) = (filled.first(posted.len()), places.first(posted.len()));
        let run = Run::<_, _, B> { slots, buffers, ahead, posted, memory, region, capacity, port };
        let (taken, bytes) = run.take::<APART>(copier, &mut mbufs[..posted.len()]);
        tally.bytes += bytes;
        taken as u16
    }

    /// Takes a packet of several segments, one larger than an mbuf, or a broken one: into `mbuf`, chaining more to it. The
    /// look at its first descriptor that led here is forgotten: this one counts.
    #[cold]
    fn gather(&self, pool: &Pool, mbuf: &mut Mbuf, skip: u16, visible: u16, tally: &mut RxTally) -> Gathered {
        mbuf.reset();
        let first = self.consumed.wrapping_add(skip);
        let Unusual { chain, region } = &mut *self.unusual.borrow_mut();
        let found = chain.read(self.size, visible - skip, |i| self.snapshot(first.wrapping_add(i)));
        let view = self.buffers.view();
        let (slots, copied) = match found {
            Found::Packet(slots) => (slots, copy_segments(&self.memory, pool, mbuf, view.capacity().into(), chain)),
            Found::Endless(slots) => (slots, Err(Refusal::Broken(|tally| &mut tally.too_long))),
            Found::Unfinished => return Gathered::Waits,
        };
        let gathered = match copied {
            Ok(()) => {
                tally.bytes += mbuf.packet_len() as u64;
                Gathered::Delivered(slots)
            }
            Err(refusal) => {
                mbuf.reset();
                let waits = matches!(refusal, Refusal::NoMbuf);
                refusal.count(tally);
                if waits {
                    return Gathered::Waits;
                }
                Gathered::Dropped(slots)
            }
        };
        for (i, segment) in (0..slots).zip(chain.descriptors()) {
            if B::CLIENT {
                let again = view.posted().wrapping_add(skip + i);
                let (buffer, _) = view.run(first.wrapping_add(i), again, 1);
                self.memory.set_descriptor(again, buffer.again(0, segment.place()));
            } else {
                // A stale NEXT flag must not stay (quirk Q2).
                self.memory.clear_flags(first.wrapping_add(i));
            }
            *region = segment.region;
        }
        gathered
    }

    /// How many slots are filled, as the peer says: as far as remembered if that satisfies `wanted`, otherwise by a fresh look.
    #[inline(always)]
    pub(super) fn claimed(&mut self, wanted: usize) -> u16 {
        let mut claimed = self.filled.wrapping_sub(self.consumed);
        if usize::from(claimed) < wanted {
            self.filled = self.load_filled();
            claimed = self.filled.wrapping_sub(self.consumed);
            self.buffers.look(&self.memory, self.consumed, claimed);
        }
        claimed
    }

    /// How many of them may be taken now.
    #[inline(always)]
    pub(super) fn visible(&mut self, claimed: u16, tally: &mut RxTally) -> u16 {
        let limit = self.buffers.limit(self.size, self.consumed);
        if claimed <= limit {
            return claimed;
        }
        tally.overrun += 1;
        self.filled = self.consumed.wrapping_add(limit);
        limit
    }

    /// One snapshot of a descriptor; a client knows the place better than the descriptor does.
    fn snapshot(&self, index: u16) -> Descriptor {
        let seen = self.memory.descriptor(index);
        let (buffer, _) = self.buffers.view().run(index, index, 1);
        let Place { region, offset } = buffer.place(0, seen);
        Descriptor { region, offset, ..seen }
    }

    #[inline(always)]
    fn load_filled(&self) -> u16 {
        if B::CLIENT { self.memory.tail() } else { self.memory.head() }
    }
}
