//! The buffers of a ring that a client receives into from another process: all of them in turn.
//!
//! 1. There are more of them than slots. Index `i` of the ring is posted with buffer `i`, counted round.
//! 2. When a burst has been consumed, as many slots are posted again as it had, with the next buffers: not with those that were
//!    just read. Our CPU's cache holds their lines, and the server's stores would wait until it has given up one after the other.
//! 3. When it is a buffer's turn again, other packets have driven its lines out.
//!
//! The whole ring is posted all the time: a pause loses no packet that it can hold.

use super::posted::{RxBuffers, RxRun, RxView};
use super::{Descriptor, OwnRun, OwnSlots, Place, RingMemory, RingSize};

/// A client's, all of them in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RotatedBuffers {
    own: OwnSlots,
    size: RingSize,
    /// The first slot that is not posted, free-running: our index.
    posted: u16,
}

impl RotatedBuffers {
    /// The buffers of a ring of `size` slots.
    pub(crate) fn new(own: OwnSlots, size: RingSize) -> Self {
        Self { own, size, posted: 0 }
    }
}

/// Buffers that are consumed, and those that are posted instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RotatedRun {
    consumed: OwnRun,
    posted: OwnRun,
}

impl RxRun for RotatedRun {
    #[inline(always)]
    fn first(self, _count: usize) -> Self {
        self
    }

    #[inline(always)]
    fn place(self, i: usize, _seen: Descriptor) -> Place {
        self.consumed.place(i)
    }

    /// The buffer that is posted is not the one that was consumed, but the one whose turn it is.
    #[inline(always)]
    fn again(self, i: usize, _place: Place) -> Descriptor {
        self.posted.empty(i)
    }
}

impl RxView for RotatedBuffers {
    type Run = RotatedRun;

    #[inline(always)]
    fn capacity(self) -> u16 {
        self.own.largest()
    }

    #[inline(always)]
    fn posted(self) -> u16 {
        self.posted
    }

    #[inline(always)]
    fn run(self, index: u16, again: u16, most: usize) -> (RotatedRun, usize) {
        let (consumed, left) = self.own.from(index.into());
        let (posted, left_to_post) = self.own.from(again.into());
        (RotatedRun { consumed, posted }, most.min(left).min(left_to_post))
    }
}

impl RxBuffers for RotatedBuffers {
    const CLIENT: bool = true;

    type View<'a> = Self;

    #[inline(always)]
    fn view(&self) -> Self {
        *self
    }

    fn start(&mut self, memory: &impl RingMemory) {
        let slots = self.size.get();
        (0..slots).for_each(|index| memory.set_descriptor(index, self.own.empty(index.into())));
        self.publish(memory, 0, slots);
    }

    fn region(&self) -> u16 {
        self.own.region
    }

    /// No more than was posted (statement 48).
    #[inline(always)]
    fn limit(&self, _size: RingSize, consumed: u16) -> u16 {
        self.posted.wrapping_sub(consumed)
    }

    #[inline(always)]
    fn look(&mut self, _memory: &impl RingMemory, _consumed: u16, _waiting: u16) {}

    #[inline(always)]
    fn publish(&mut self, memory: &impl RingMemory, _consumed: u16, slots: u16) {
        self.posted = self.posted.wrapping_add(slots);
        memory.set_head(self.posted);
    }
}
