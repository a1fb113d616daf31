//! The sending end of a ring: packets out of mbufs into shared memory.
//!
//! A burst:
//! 1. how many slots are free: from the remembered index of the peer, or a fresh load of it;
//! 2. mbuf by mbuf: the slot's buffer (a client's own, a server's as the client describes it now), checks, copy,
//!    descriptor;
//! 3. one store publishes all of them, so that no chain is ever half visible (statement 55).
//!
//! A client's buffers are taken in the order of their numbers. Within a process it begins with the first one again whenever the
//! server has consumed all that was sent: while it keeps up, packets are written to the same few buffers, which the caches
//! still have.
//!
//! Where the peer is another process, its CPU's cache has the lines of what it has read lately. Stores wait for one such line
//! after the other. So a client lets all its buffers pass, of which there are more than slots, before it takes the first one
//! again. The descriptors of the burst after next are asked for as well; by a server, those of this burst.
//!
//! Whether large packets had better go past the caches then, or to few buffers ([`Few`]), is tried now and then ([`Ways`]).
//!
//! The mbufs stay in the burst; the queue frees those that were taken, in bulk. Most packets are one segment that fits one
//! slot, and are copied by a [`Run`]; the others are packed into as many slots as they need ([`Plan`]), or leave the ring
//! untouched.

use std::time::Instant;

use pmd_core::Mbuf;

use super::exported::ExportedPool;
use super::few::Few;
use super::resting::MOST_RESTING;
use super::scatter::Plan;
use super::tx_run::{AHEAD, LARGE, Run};
use super::tx_zero_copy::ZeroCopyTxRing;
use super::ways::{self, Way, Ways};
use super::{Buffers, Descriptor, OwnSlots, PACKET_MAX, PeersSlots, RingMemory, RingSize, Slots};
use crate::copy::{Copier, Streamed, with_copier};

/// Slots that a client fills between two looks at the index of a server in its process, unless there is no room for as many.
const LOOK_EVERY: u16 = 64;

/// How many slots behind a burst a client asks for the lines of as many descriptors: the server's CPU has read them a ring ago.
pub(super) const DESCRIPTORS_AHEAD: u16 = 32;

/// What a burst did, for the queue's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TxTally {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Packets dropped: no data (statement 68).
    pub(crate) empty: u64,
    /// Packets dropped: longer than 65535 bytes, or than the whole ring can hold.
    pub(crate) too_long: u64,
    /// Packets dropped: no mbuf to copy them into, where only shared ones can be sent.
    pub(crate) nombuf: u64,
    /// Bursts cut short because the ring was full.
    pub(crate) full: u64,
    /// Bursts cut short because an mbuf lies in the ring's next slots that is not sent now, or cannot be moved out of the way.
    pub(crate) held: u64,
    /// Packets sent where they were written or received: in the ring's buffers, or an exported pool.
    pub(crate) in_place: u64,
    /// Packets of bursts that were written past the caches.
    pub(crate) streamed: u64,
    /// Packets of bursts that were written to few buffers.
    pub(crate) to_few: u64,
    /// Packets that this process had borrowed out of mbufs posted here, and that were posted again in these.
    pub(crate) returned: u64,
    /// Times the peer's index was impossible.
    pub(crate) overrun: u64,
}

impl TxTally {
    /// Packets that were taken and not sent.
    fn dropped(&self) -> u64 {
        self.empty + self.too_long + self.nombuf
    }
}

impl<M: RingMemory> TxRing<M, PeersSlots> {
    /// The next slot, free-running.
    #[inline(always)]
    pub(super) fn filled(&self) -> u16 {
        self.filled
    }

    /// The ring's size.
    #[inline(always)]
    pub(super) fn size(&self) -> RingSize {
        self.size
    }

    /// The buffer that the client has posted in a slot; its length is what may be put there.
    pub(super) fn usable(&self, slot: u16) -> Descriptor {
        let buffer = self.buffer(slot);
        Descriptor { length: buffer.length.min(self.segment_max), ..buffer }
    }

    /// Describes what lies in the next slot but `skip`, for [`Self::advance`].
    #[inline(always)]
    pub(super) fn describe_filled(&self, skip: u16, flags: u16, length: u32) {
        let slot = self.size.slot(self.filled.wrapping_add(skip));
        self.describe(slot, Descriptor { flags, length, ..self.buffer(slot) });
    }

    /// Publishes the next slots, so many.
    #[inline(always)]
    pub(super) fn advance(&mut self, slots: u16) {
        self.filled = self.filled.wrapping_add(slots);
        self.publish();
    }
}

impl<M: RingMemory> TxRing<M, OwnSlots> {
    /// Whether the server has consumed all that was sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.memory.tail() == self.filled
    }

    /// The buffers.
    pub(crate) fn buffers(&self) -> OwnSlots {
        self.buffers
    }

    /// The same end, which sends the mbufs of `pool` from now on, where they lie: in the buffers. It is idle.
    pub(crate) fn into_zero_copy(self, pool: ExportedPool) -> ZeroCopyTxRing<M> {
        let Self { memory, size, segment_max, filled, .. } = self;
        ZeroCopyTxRing::new(memory, size, vec![pool], segment_max, MOST_RESTING).behind(filled)
    }
}

/// What the client wrote into a slot it posted makes the link unusable: the slot cannot be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TxFault {
    #[error("posted a buffer of length 0")]
    NoCapacity,
    #[error("posted a buffer outside its regions")]
    BadPlace,
}

/// The sending end.
#[derive(Debug)]
pub(crate) struct TxRing<M, B> {
    memory: M,
    size: RingSize,
    /// A client fills its own.
    buffers: B,
    /// Bytes put into one slot at most, whatever its capacity (statement 69).
    segment_max: u32,
    /// Slots filled, free-running: our index, private.
    filled: u16,
    /// The peer's index as last loaded.
    peer: u16,
    /// Slots filled when it was loaded.
    looked: u16,
    /// Where the numbers of a client's own buffers begin.
    few: Few,
    /// The region that the last unusual packet went to: the straight path writes to no other.
    region: u16,
    /// How large packets are written, where the peer is another process. Behind a pointer, as most rings have no use for it.
    ways: Box<Ways>,
    /// The slots of the packet that `scatter` works on.
    plan: Plan,
}

/// What became of the leading mbufs of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// How many mbufs are done with: sent, or dropped and counted.
    pub(crate) taken: usize,
    /// Why the link must end, if it must.
    pub(crate) fault: Option<TxFault>,
}

/// What became of a packet that the straight path could not take.
enum Scattered {
    /// Sent in so many slots.
    Sent(u16),
    /// Can never be sent; counted.
    Dropped,
    /// Does not fit now.
    Full,
    /// The client's slots are unusable.
    Fault(TxFault),
}

impl<M: RingMemory, B: Buffers> TxRing<M, B> {
    /// The sending end of a connected ring. `segment_max` is in bytes.
    pub(crate) fn new(memory: M, size: RingSize, buffers: B, segment_max: u32) -> Self {
        let plan = Plan::new(size);
        let few = Few::new(size, buffers.count());
        let (region, ways) = (buffers.region(), Box::new(Ways::new(size, few.is_possible())));
        let (filled, peer, looked) = (0, 0, 0);
        let ring = Self { memory, size, buffers, segment_max, filled, peer, looked, few, region, ways, plan };
        ring.publish();
        ring
    }

    /// The ring's memory.
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// How large packets are written to another process.
    #[cfg(test)]
    pub(super) fn ways(&mut self) -> &mut Ways {
        &mut self.ways
    }

    /// Sends the leading mbufs of `burst`, as many as fit; the mbufs stay in it.
    #[inline]
    pub(crate) fn send(&mut self, burst: &[Mbuf], tally: &mut TxTally) -> Sent {
        let mut free = self.free(burst.len(), tally);
        let (mut taken, mut slots, mut bytes) = (0, 0, 0);
        let dropped_before = tally.dropped();
        let mut fault = None;
        let has_ways = self.memory.is_peer_apart() && burst.first().is_some_and(|mbuf| mbuf.len() >= ways::FROM);
        let way = if has_ways { self.ways.now() } else { Way::InTurn };
        if way == Way::ToFew || self.few.is_limited() {
            free = free.min(self.room(burst.len(), way, tally));
        }
        if !B::CLIENT {
            self.memory.own_descriptors(self.filled, free.min(burst.len() as u16));
        }
        loop {
            let rest = &burst[taken..];
            let (run, copied) = if rest.first().is_some_and(|mbuf| mbuf.len() > LARGE) {
                self.copy::<true>(way, rest, slots, free)
            } else {
                self.copy::<false>(way, rest, slots, free)
            };
            (taken, slots, bytes) = (taken + usize::from(run), slots + run, bytes + copied);
            let Some(mbuf) = burst.get(taken) else { break };
            if run > 0 {
                continue;
            }
            match self.scatter(mbuf, slots, &mut free, tally) {
                Scattered::Sent(used) => {
                    slots += used;
                    bytes += mbuf.packet_len() as u64;
                    taken += 1;
                }
                Scattered::Dropped => taken += 1,
                Scattered::Full => {
                    tally.full += 1;
                    break;
                }
                Scattered::Fault(found) => {
                    fault = Some(found);
                    break;
                }
            }
        }
        if slots > 0 {
            match way {
                Way::InTurn => {}
                Way::PastCaches => {
                    Streamed::fence();
                    tally.streamed += taken as u64;
                }
                Way::ToFew => tally.to_few += taken as u64,
            }
            self.filled = self.filled.wrapping_add(slots);
            self.publish();
            if B::CLIENT {
                self.memory.own_descriptors(self.filled.wrapping_add(DESCRIPTORS_AHEAD), slots);
            }
        }
        if has_ways {
            let Self { memory, ways, size, filled, .. } = self;
            ways.sent(slots, || Self::free_at(*size, *filled, Self::peers_index(memory)), Instant::now);
        }
        tally.packets += taken as u64 - (tally.dropped() - dropped_before);
        tally.bytes += bytes;
        Sent { taken, fault }
    }

    /// Copies the leading packets of `burst` into the free slots behind the `used` ones, as far as a [`Run`] can take them; says how
    /// many, and their bytes. `BACK`: from the last to the first.
    #[inline(always)]
    fn copy<const BACK: bool>(&self, way: Way, burst: &[Mbuf], used: u16, free: u16) -> (u16, u64) {
        with_copier!(self.memory.kernel(), copier => match way {
            Way::InTurn if self.memory.is_peer_apart() => self.straight::<BACK, true, true>(copier, burst, used, free),
            Way::InTurn => self.straight::<BACK, false, false>(copier, burst, used, free),
            Way::ToFew => self.straight::<BACK, true, false>(copier, burst, used, free),
            Way::PastCaches => self.straight::<BACK, true, false>(Streamed(copier), burst, used, free),
        })
    }

    /// The same with one copier, where the peer is another process or not (`APART`) and owns lines of our buffers or not (`OWNS`). Not
    /// inlined: what is kept in registers around the loop would not be there for it.
    #[inline(never)]
    fn straight<const BACK: bool, const APART: bool, const OWNS: bool>(
        &self,
        copier: impl Copier,
        burst: &[Mbuf],
        used: u16,
        free: u16,
    ) -> (u16, u64) {
        let Some(run) = self.run::<APART>(used, free, burst) else { return (0, 0) };
        if BACK { run.back::<APART, OWNS>(copier, burst) } else { run.forth::<APART, OWNS>(copier, burst) }
    }

    /// The free slots behind the `used` ones, for a burst, or fewer where the ring goes round or the buffers; none without the
    /// expected region. `APART`: the peer is another process, and some slots behind them are of interest, too.
    #[inline(always)]
    fn run<const APART: bool>(
        &self,
        used: u16,
        free: u16,
        burst: &[Mbuf],
    ) -> Option<Run<M::Slots<'_>, M::Packets<'_>, B>> {
        let Self { region, segment_max, buffers, .. } = *self;
        let memory = self.memory.packets(region)?;
        let most = burst.len().min(free.saturating_sub(used).into());
        let ahead = self.memory.slots(self.filled.wrapping_add(used), if APART { most + AHEAD } else { most });
        let (buffers, count) = buffers.from(self.number(used).into());
        let ahead = ahead.first(ahead.len().min(count));
        let slots = ahead.first(ahead.len().min(most));
        let is_lent = APART && burst.first().is_some_and(Mbuf::is_lent);
        Some(Run { slots, ahead, buffers, memory, region, segment_max, is_lent })
    }

    /// Sends one packet of any shape, or says why not; `used` slots of this burst are taken, `free` may be refreshed.
    #[cold]
    fn scatter(&mut self, mbuf: &Mbuf, used: u16, free: &mut u16, tally: &mut TxTally) -> Scattered {
        self.few.leave(self.filled.wrapping_add(used));
        let len = mbuf.packet_len();
        if len == 0 {
            tally.empty += 1;
            return Scattered::Dropped;
        }
        if len > PACKET_MAX {
            tally.too_long += 1;
            return Scattered::Dropped;
        }
        let slots = match self.plan(len, used, *free) {
            Ok(Some(slots)) => slots,
            Err(fault) => return Scattered::Fault(fault),
            Ok(None) => {
                *free = self.reload(tally);
                match self.plan(len, used, *free) {
                    Ok(Some(slots)) => slots,
                    Err(fault) => return Scattered::Fault(fault),
                    Ok(None) if used == 0 && *free == self.size.get() => {
                        tally.too_long += 1;
                        return Scattered::Dropped;
                    }
                    Ok(None) => return Scattered::Full,
                }
            }
        };
        self.region = self.plan.region().unwrap_or(self.region);
        let first = self.filled.wrapping_add(used);
        match self.plan.write(&self.memory, mbuf, |i, described| self.describe(first.wrapping_add(i), described)) {
            Ok(()) => Scattered::Sent(slots),
            Err(fault) => Scattered::Fault(fault),
        }
    }

    /// Chooses the slots for `len` bytes, behind the `used` ones and within the `free` ones: how many, or `None` when they
    /// do not suffice.
    fn plan(&mut self, len: usize, used: u16, free: u16) -> Result<Option<u16>, TxFault> {
        let mut plan = std::mem::take(&mut self.plan);
        let buffers = (used..free).map(|i| self.buffer(self.filled.wrapping_add(i)));
        let chosen = plan.choose(&self.memory, self.segment_max, len, buffers);
        self.plan = plan;
        chosen
    }

    /// How many slots may be filled now: the remembered ones if they satisfy `wanted`, otherwise by a fresh look.
    #[inline(always)]
    pub(super) fn free(&mut self, wanted: usize, tally: &mut TxTally) -> u16 {
        let mut free = self.remembered();
        let few_in_use = B::CLIENT && !self.memory.is_peer_apart();
        // Looked at now and then all the same: whether the first buffers are free.
        let stale = few_in_use && self.filled.wrapping_sub(self.looked) >= LOOK_EVERY;
        if stale || usize::from(free) < wanted || free > self.size.get() {
            free = self.reload(tally);
        }
        if few_in_use && self.peer == self.filled {
            self.few.rewind_all(self.filled);
        }
        free
    }

    /// How many slots may be filled as far as buffers go.
    fn room(&mut self, wanted: usize, way: Way, tally: &mut TxTally) -> u16 {
        let (mut few, filled) = (self.few, self.filled);
        let room = few.room(filled, wanted as u16, way == Way::ToFew, || {
            self.reload(tally);
            filled.wrapping_sub(self.peer)
        });
        self.few = few;
        room
    }

    /// Looks at the peer's index.
    fn reload(&mut self, tally: &mut TxTally) -> u16 {
        self.peer = Self::peers_index(&self.memory);
        self.looked = self.filled;
        let free = self.remembered();
        if free <= self.size.get() {
            return free;
        }
        // Impossible for an honest peer. A server that claims to have consumed what we never sent gets nothing (its own
        // index is in the way of our counting); a client that posts more than the ring holds is clamped (statement 49).
        tally.overrun += 1;
        if B::CLIENT {
            self.peer = self.filled.wrapping_sub(self.size.get());
            return 0;
        }
        self.peer = self.filled.wrapping_add(self.size.get());
        self.size.get()
    }

    /// Free slots by the peer's index as last loaded; more than the ring's size when that index is impossible.
    #[inline(always)]
    fn remembered(&self) -> u16 {
        Self::free_at(self.size, self.filled, self.peer)
    }

    /// Free slots where the peer's index is `peer`.
    #[inline(always)]
    fn free_at(size: RingSize, filled: u16, peer: u16) -> u16 {
        if B::CLIENT {
            // In flight: sent and not consumed. More than the ring's size wraps into a large number here.
            size.get().wrapping_sub(filled.wrapping_sub(peer))
        } else {
            // Posted and not filled.
            peer.wrapping_sub(filled)
        }
    }

    #[inline(always)]
    fn peers_index(memory: &M) -> u16 {
        if B::CLIENT { memory.tail() } else { memory.head() }
    }

    /// The buffer of a slot and its capacity: our own, or one snapshot of what the client posted.
    #[inline(always)]
    fn buffer(&self, index: u16) -> Descriptor {
        let (run, _) = self.buffers.from(index.wrapping_sub(self.few.first()).into());
        B::empty(run, 0, || self.memory.descriptor(index))
    }

    /// The number of the client's buffer for the next slot but `skip`, free-running.
    #[inline(always)]
    fn number(&self, skip: u16) -> u16 {
        self.filled.wrapping_add(skip).wrapping_sub(self.few.first())
    }

    /// Describes the packet (or segment) now in a slot. Flags are written in full, never merged (statement 54).
    #[inline(always)]
    fn describe(&self, index: u16, descriptor: Descriptor) {
        if B::CLIENT {
            self.memory.set_descriptor(index, descriptor);
        } else {
            self.memory.set_filled(index, descriptor);
        }
    }

    #[inline(always)]
    fn publish(&self) {
        if B::CLIENT {
            self.memory.set_head(self.filled);
        } else {
            self.memory.set_tail(self.filled);
        }
    }
}
