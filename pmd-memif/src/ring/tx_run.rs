//! The straight path of sending: packets of one segment each, into slots that follow each other.
//!
//! 1. [`super::tx`] says which slots: up to where the ring goes round, or the buffers, or what is free ends.
//! 2. Packet by packet: the slot's buffer, checks, copy, descriptor, until one of them is nothing for a slot of the expected region.
//! 3. How many there were, and their bytes, goes back; the caller publishes them all at once, so that nobody sees in which order they
//!    were copied. Large ones, of which a burst fills a first-level cache, are copied from the last to the first: the last was
//!    received last, and is still there.
//!
//! Where the peer is another process, lines are asked for some packets ahead: those of buffers that its CPU may have, since it may
//! bring few; and those of packets that were lent to us, often by another process, as nobody has looked at their bytes yet. Only a
//! hint comes of that look at a descriptor.

use pmd_core::Mbuf;

use super::{Buffers, Descriptor, PacketMemory, Slots};
use crate::copy::{Copier, access};

/// How many packets ahead a slot's buffer is asked for, and a packet that was lent, and how many bytes of it: behind those the CPU
/// asks by itself.
pub(super) const AHEAD: usize = 4;
const ASKED_FOR: usize = 256;

/// Bytes above which a burst is copied from the last packet to the first: 32 of them fill a first-level cache.
pub(super) const LARGE: usize = 768;

/// Slots that follow each other, which whole packets are put into: by value, so that it stays in registers.
pub(super) struct Run<S, P, B: Buffers> {
    pub(super) slots: S,
    /// The same, and some behind them, where the peer is another process.
    pub(super) ahead: S,
    pub(super) buffers: B::Run,
    pub(super) memory: P,
    /// The region that the buffers are expected in.
    pub(super) region: u16,
    pub(super) segment_max: u32,
    /// Whether packets were lent, as far as the first one tells.
    pub(super) is_lent: bool,
}

impl<S: Slots, P: PacketMemory, B: Buffers> Run<S, P, B> {
    /// Copies the leading packets of `burst`, as many as there are slots at most, as long as each is one segment that fits one slot
    /// of the expected region, from the first to the last; says how many, and their bytes. A loop with as little as possible to keep
    /// in registers. `APART`: the peer is another process; if it `OWNS`, lines of buffers are asked for that its CPU may have.
    #[inline(always)]
    pub(super) fn forth<const APART: bool, const OWNS: bool>(&self, copier: impl Copier, burst: &[Mbuf]) -> (u16, u64) {
        let (mut done, mut bytes) = (0, 0);
        for (i, mbuf) in (0..self.slots.len()).zip(&burst[..self.slots.len()]) {
            if APART {
                self.ask::<OWNS>(burst.get(i + AHEAD), i + AHEAD, mbuf.len());
            }
            let Some(len) = self.put(copier, mbuf, i) else { break };
            bytes += len;
            done += 1;
        }
        (done, bytes)
    }

    /// The same, from the last to the first.
    #[inline(always)]
    pub(super) fn back<const APART: bool, const OWNS: bool>(&self, copier: impl Copier, burst: &[Mbuf]) -> (u16, u64) {
        if self.slots.len() == 0 {
            return (0, 0);
        }
        // As far as can be told by the first slot alone, so that little is copied in vain.
        let room = self.room(0);
        let is_plain = |mbuf: &&Mbuf| mbuf.segment_count() == 1 && mbuf.len() <= room;
        let plain = &burst[..burst[..self.slots.len()].iter().take_while(is_plain).count()];
        let (mut done, mut bytes) = (plain.len(), 0);
        for (i, mbuf) in plain.iter().enumerate().rev() {
            if APART {
                let next = i.wrapping_sub(AHEAD);
                self.ask::<OWNS>(plain.get(next), next, mbuf.len());
            }
            match self.put(copier, mbuf, i) {
                Some(len) => bytes += len,
                // What lies behind it is not published, and copied again when this one is done with.
                None => (done, bytes) = (i, 0),
            }
        }
        (done as u16, bytes)
    }

    /// Asks for the first lines of what is to be copied into the slot `i`, if that was lent; and, if it `OWNS`, for those of the slot's
    /// buffer. `len` is what packets have.
    #[inline(always)]
    fn ask<const OWNS: bool>(&self, packet: Option<&Mbuf>, i: usize, len: usize) {
        if len <= 64 {
            return;
        }
        let len = len.min(ASKED_FOR);
        if let Some(packet) = packet.filter(|_| self.is_lent) {
            access::prefetch(packet.data().as_ptr(), len);
        }
        if OWNS && i < self.ahead.len() {
            self.memory.own(B::empty(self.buffers, i, || self.ahead.descriptor(i)).offset, len);
        }
    }

    /// Copies a packet of one segment that fits there, describes it, and says how long it is.
    #[inline(always)]
    fn put(&self, copier: impl Copier, mbuf: &Mbuf, i: usize) -> Option<u64> {
        let Self { memory, region, segment_max, .. } = *self;
        let buffer = self.buffer(i);
        let data = mbuf.data();
        let fits = data.len() <= buffer.length.min(segment_max) as usize;
        if mbuf.segment_count() != 1
            || buffer.region != region
            || data.is_empty()
            || !fits
            || memory.write(copier, buffer.offset, data).is_err()
        {
            return None;
        }
        let filled = Descriptor { flags: 0, region, length: data.len() as u32, ..buffer };
        if B::CLIENT {
            self.slots.set_descriptor(i, filled);
        } else {
            self.slots.set_filled(i, filled);
        }
        Some(data.len() as u64)
    }

    /// The buffer of the slot `i`.
    #[inline(always)]
    fn buffer(&self, i: usize) -> Descriptor {
        B::empty(self.buffers, i, || self.slots.descriptor(i))
    }

    /// Bytes that may be put there.
    #[inline(always)]
    fn room(&self, i: usize) -> usize {
        self.buffer(i).length.min(self.segment_max) as usize
    }
}
