//! The buffers of a ring that is received from: a server finds them in the descriptors, a client keeps them posted.
//!
//! Those of a client whose server is in the same process go from slot to slot ([`super::rotated`]: in another one):
//!
//! ```text
//!     filled by the server      posted, empty                 not posted
//!   . [ b3 ][ b4 ]            | [ b5 ][ b6 ][ b7 ][ b0 ] | . . . . . . . . .      spare: b1 b2
//!     ^ consumed                                         ^ posted
//!     +------------- as many as the window says ---------+
//! ```
//!
//! 1. A consumed slot's buffer is posted again with the same burst, in the first slot that is not posted: a window's distance
//!    ahead.
//! 2. When the window closes, buffers of consumed slots are laid aside; when it opens, they are posted again.
//! 3. Which buffer lies in which slot only we know: what the server writes into descriptors is never asked.

use super::window::Window;
use super::{Descriptor, OwnSlots, PACKET_MAX, PeersSlots, Place, RingMemory, RingSize};

/// Whose memory the buffers of a ring lie in that is received from, and what has to be done when they are empty again.
pub(crate) trait RxBuffers {
    /// Whether we are the client: we own the memory and write `head`; a server writes `tail`.
    const CLIENT: bool;

    /// What the loop over packets has to know.
    type View<'a>: RxView
    where
        Self: 'a;

    /// That, as it is until the next [`Self::publish`].
    fn view(&self) -> Self::View<'_>;

    /// Posts what has to be posted when the link comes up.
    fn start(&mut self, memory: &impl RingMemory);

    /// The region that the first packets are expected in.
    fn region(&self) -> u16;

    /// How many slots from `consumed` on the peer can have filled at most.
    fn limit(&self, size: RingSize, consumed: u16) -> u16;

    /// A fresh look at the peer's index found so many filled slots.
    fn look(&mut self, memory: &impl RingMemory, consumed: u16, waiting: u16);

    /// Publishes that the buffers of `slots` slots were handed back, after which all before `consumed` are consumed.
    fn publish(&mut self, memory: &impl RingMemory, consumed: u16, slots: u16);
}

/// What the loop over packets has to know of the buffers: by value, so that it stays in registers.
pub(crate) trait RxView: Copy {
    /// Buffers of slots that follow each other.
    type Run: RxRun;

    /// Bytes of a packet that a buffer holds at most, as far as we know it.
    fn capacity(self) -> u16;

    /// A client's first slot that is not posted, free-running: the first buffer of a burst is posted again there, the next one
    /// in the next slot, and so on.
    fn posted(self) -> u16;

    /// The buffers of the slots from that of a free-running index on, `most` or fewer, and how many. When they are empty, the
    /// slots from `again` on are posted.
    fn run(self, index: u16, again: u16, most: usize) -> (Self::Run, usize);
}

/// The buffers of slots that follow each other: by value, so that it stays in registers.
pub(crate) trait RxRun: Copy {
    /// The first `count` of them.
    fn first(self, count: usize) -> Self;

    /// Where the packet (or segment) lies that the descriptor `seen` of the slot `i` describes.
    fn place(self, i: usize, seen: Descriptor) -> Place;

    /// What a client posts when the buffer of the slot `i`, at `place`, is empty again.
    fn again(self, i: usize, place: Place) -> Descriptor;
}

/// A client's, few of them in use.
#[derive(Debug)]
pub(crate) struct PostedBuffers {
    own: OwnSlots,
    size: RingSize,
    /// Where the buffer of each slot begins.
    offsets: Box<[u32]>,
    /// Buffers that are in no slot; each lies in front of the ones laid aside before it.
    spare: Vec<u32>,
    /// The first slot that is not posted, free-running: our index.
    posted: u16,
    window: Window,
}

impl PostedBuffers {
    /// The buffers of a ring of `size` slots.
    pub(crate) fn new(own: OwnSlots, size: RingSize) -> Self {
        let offsets = (0..size.get().into()).map(|slot| own.place(slot).offset).collect();
        let spare = Vec::with_capacity(size.get().into());
        Self { own, size, offsets, spare, posted: 0, window: Window::new(size, own.capacity) }
    }

    /// The buffers of `slots` slots from the free-running index `from` on now lie in those from `to` on.
    fn carry(&mut self, mut from: u16, mut to: u16, slots: u16) {
        let (size, mut left) = (usize::from(self.size.get()), slots);
        while left > 0 {
            // Up to where one of the two goes round.
            let [first, target] = [from, to].map(|index| usize::from(self.size.slot(index)));
            let run = usize::from(left).min(size - first.max(target));
            self.offsets.copy_within(first..first + run, target);
            (from, to, left) = (from.wrapping_add(run as u16), to.wrapping_add(run as u16), left - run as u16);
        }
    }

    /// Lays buffers aside of the `handed_back` ones that are not published yet, or posts some that were, until as many are
    /// posted as the window says.
    #[cold]
    fn follow_window(&mut self, memory: &impl RingMemory, consumed: u16, handed_back: u16) {
        let out = self.posted.wrapping_sub(consumed);
        for _ in 0..out.saturating_sub(self.window.open()).min(handed_back) {
            self.posted = self.posted.wrapping_sub(1);
            self.spare.push(self.offsets[usize::from(self.size.slot(self.posted))]);
        }
        for _ in out..self.window.open() {
            let Some(offset) = self.spare.pop() else { break };
            self.offsets[usize::from(self.size.slot(self.posted))] = offset;
            memory.set_descriptor(self.posted, self.own.empty_at(offset));
            self.posted = self.posted.wrapping_add(1);
        }
    }
}

/// What the loop has to know of a client's buffers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PostedView<'a> {
    own: OwnSlots,
    offsets: &'a [u32],
    posted: u16,
}

/// Where the buffers of slots that follow each other begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PostedRun<'a> {
    own: OwnSlots,
    offsets: &'a [u32],
}

impl RxRun for PostedRun<'_> {
    #[inline(always)]
    fn first(self, count: usize) -> Self {
        Self { offsets: &self.offsets[..count], ..self }
    }

    #[inline(always)]
    fn place(self, i: usize, _seen: Descriptor) -> Place {
        Place { region: self.own.region, offset: self.offsets[i] }
    }

    /// Descriptors are written in full, so that whatever the server left there is healed (statement 57).
    #[inline(always)]
    fn again(self, _i: usize, place: Place) -> Descriptor {
        self.own.empty_at(place.offset)
    }
}

impl<'a> RxView for PostedView<'a> {
    type Run = PostedRun<'a>;

    #[inline(always)]
    fn capacity(self) -> u16 {
        self.own.largest()
    }

    #[inline(always)]
    fn posted(self) -> u16 {
        self.posted
    }

    #[inline(always)]
    fn run(self, index: u16, _again: u16, most: usize) -> (PostedRun<'a>, usize) {
        // As many as the ring has slots. Masked with their own number, it needs no check.
        let offsets = &self.offsets[usize::from(index) & (self.offsets.len() - 1)..];
        let count = most.min(offsets.len());
        (PostedRun { own: self.own, offsets: &offsets[..count] }, count)
    }
}

impl RxBuffers for PostedBuffers {
    const CLIENT: bool = true;

    type View<'a> = PostedView<'a>;

    #[inline(always)]
    fn view(&self) -> PostedView<'_> {
        PostedView { own: self.own, offsets: &self.offsets, posted: self.posted }
    }

    fn start(&mut self, memory: &impl RingMemory) {
        (0..).zip(&self.offsets).for_each(|(index, offset)| memory.set_descriptor(index, self.own.empty_at(*offset)));
        self.posted = self.size.get();
        memory.set_head(self.posted);
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
    fn look(&mut self, memory: &impl RingMemory, consumed: u16, waiting: u16) {
        if self.window.look(waiting) {
            self.publish(memory, consumed, 0);
        }
    }

    #[inline(always)]
    fn publish(&mut self, memory: &impl RingMemory, consumed: u16, slots: u16) {
        let (from, to) = (consumed.wrapping_sub(slots), self.posted);
        if to.wrapping_sub(from) != self.size.get() {
            self.carry(from, to, slots);
        }
        self.posted = to.wrapping_add(slots);
        if self.posted.wrapping_sub(consumed) != self.window.open() {
            self.follow_window(memory, consumed, slots);
        }
        memory.set_head(self.posted);
    }
}

/// The client's, which says in each descriptor where they lie.
impl RxRun for PeersSlots {
    #[inline(always)]
    fn first(self, _count: usize) -> Self {
        self
    }

    #[inline(always)]
    fn place(self, _i: usize, seen: Descriptor) -> Place {
        seen.place()
    }

    fn again(self, _i: usize, _place: Place) -> Descriptor {
        unreachable!("a server posts nothing")
    }
}

impl RxView for PeersSlots {
    type Run = Self;

    #[inline(always)]
    fn capacity(self) -> u16 {
        PACKET_MAX as u16
    }

    #[inline(always)]
    fn posted(self) -> u16 {
        0
    }

    #[inline(always)]
    fn run(self, _index: u16, _again: u16, most: usize) -> (Self, usize) {
        (self, most)
    }
}

impl RxBuffers for PeersSlots {
    const CLIENT: bool = false;

    type View<'a> = Self;

    #[inline(always)]
    fn view(&self) -> Self {
        *self
    }

    fn start(&mut self, memory: &impl RingMemory) {
        memory.set_tail(0);
    }

    fn region(&self) -> u16 {
        0
    }

    /// No honest client is further ahead than the ring is long (statement 47).
    #[inline(always)]
    fn limit(&self, size: RingSize, _consumed: u16) -> u16 {
        size.get()
    }

    #[inline(always)]
    fn look(&mut self, _memory: &impl RingMemory, _consumed: u16, _waiting: u16) {}

    #[inline(always)]
    fn publish(&mut self, memory: &impl RingMemory, consumed: u16, _slots: u16) {
        memory.set_tail(consumed);
    }
}
