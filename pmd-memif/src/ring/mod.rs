//! memif rings: head and tail arithmetic, descriptors, packets; over a small memory trait, without `unsafe`.
//!
//! ```text
//!   ring header          descriptors (2^log2)           packet data, in any region
//!   +--------------+     +-------+-------+-----+        +------------+
//!   | cookie flags |     | flags region length |------->| ...        |
//!   | head         |     | offset metadata     |        +------------+
//!   +--------------+     +-------+-------+-----+
//!   | tail         |
//!   +--------------+
//! ```
//!
//! In both directions the client writes `head` and the server writes `tail` (rule 1 of the protocol):
//!
//! | ring | sender | `head` counts | `tail` counts |
//! |---|---|---|---|
//! | S2M | client | packets sent | packets consumed |
//! | M2S | server | empty buffers posted | buffers filled |
//!
//! Each side keeps its own index privately and only stores it to shared memory (statement 43); the peer's index is loaded
//! (Acquire) when the remembered one no longer suffices. Indices run freely through 65535 -> 0 and are masked only to find
//! a slot. Nothing that a peer can write is believed: one snapshot per descriptor (50), distances clamped to the ring's
//! size (47-49), every place checked before it is touched (51, in [`RingMemory`]).
//!
//! The same code runs on shared memory (`shm`) and, in tests and under miri, on a heap fake (`fake_memory`).

pub(crate) mod exported;
#[cfg(test)]
pub(crate) mod fake_memory;
mod few;
mod gather;
pub(crate) mod interrupt;
mod lending;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod posted;
pub(crate) mod resting;
pub(crate) mod rotated;
pub(crate) mod rx;
pub(crate) mod rx_borrow;
pub(crate) mod rx_zero_copy;
mod scatter;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_in_use;
#[cfg(test)]
mod tests_snapshot;
#[cfg(test)]
mod tests_zero_copy;
pub(crate) mod tx;
pub(crate) mod tx_lend;
mod tx_run;
pub(crate) mod tx_zero_copy;
mod ways;
mod window;

use crate::copy::{Copier, Kernel};

/// First word of every ring.
pub(crate) const COOKIE: u32 = 0x03E3_1F20;

/// Ring flag: the receiver wants no interrupts.
pub(crate) const RING_MASK_INT: u16 = 1;

/// Descriptor flag: the packet goes on in the next slot.
pub(crate) const DESC_NEXT: u16 = 1;

/// Largest packet either way: peers keep lengths in 16 bits (quirk Q8).
pub(crate) const PACKET_MAX: usize = 65535;

/// One descriptor, as read in one snapshot or as it is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Descriptor {
    pub(crate) flags: u16,
    pub(crate) region: u16,
    pub(crate) length: u32,
    pub(crate) offset: u32,
}

impl Descriptor {
    /// Whether it is all of a packet, and says that it lies in `region`: one compare, as most packets are.
    #[inline(always)]
    pub(crate) fn is_whole_in(self, region: u16) -> bool {
        u32::from(self.flags) | u32::from(self.region) << 16 == u32::from(region) << 16
    }

    /// Whether the packet goes on in the next slot.
    #[inline(always)]
    pub(crate) fn has_next(self) -> bool {
        self.flags & DESC_NEXT != 0
    }

    /// Where its data lies.
    #[inline(always)]
    pub(crate) fn place(self) -> Place {
        Place { region: self.region, offset: self.offset }
    }
}

/// A byte of a region, as a peer names it: an allegation, until [`RingMemory`] has checked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) region: u16,
    pub(crate) offset: u32,
}

/// What is wrong with a place (statement 51).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadPlace {
    /// The link has no region of this index.
    Region,
    /// Offset and length do not lie inside the region.
    Range,
}

/// The buffers of a ring whose memory we own, at least as many as it has slots: number `i` lies at `first + i * stride` of one
/// region. A client takes places from here, never from what the server may have written into a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnSlots {
    pub(crate) region: u16,
    pub(crate) first: u32,
    pub(crate) stride: u32,
    /// Bytes a buffer holds.
    pub(crate) capacity: u32,
    /// How many there are less one: a power of two up to 65536, so that free-running indices can number them.
    pub(crate) mask: u16,
    /// How many mbufs they and what lies behind them can be, with a headroom before each of them; none where there is no such
    /// memory.
    pub(crate) mbufs: u32,
}

impl OwnSlots {
    /// Where the buffer of a free-running number begins. The layout made sure that no buffer lies beyond 4 GiB.
    #[inline(always)]
    pub(crate) fn place(&self, number: usize) -> Place {
        let number = number as u32 & u32::from(self.mask);
        Place { region: self.region, offset: self.first + number * self.stride }
    }

    /// The buffers from a free-running number on, and how many follow each other before the first one comes again.
    #[inline(always)]
    pub(crate) fn from(&self, number: usize) -> (OwnRun, usize) {
        let run = OwnRun { first: self.place(number).offset, own: *self };
        let mask = usize::from(self.mask);
        (run, mask + 1 - (number & mask))
    }

    /// Bytes of a packet that a buffer holds at most.
    #[inline(always)]
    pub(crate) fn largest(&self) -> u16 {
        self.capacity.min(PACKET_MAX as u32) as u16
    }

    /// What describes the buffer at `offset`, empty.
    #[inline(always)]
    pub(crate) fn empty_at(&self, offset: u32) -> Descriptor {
        Descriptor { flags: 0, region: self.region, length: self.capacity, offset }
    }

    /// What describes the buffer of a free-running number, empty.
    #[inline(always)]
    pub(crate) fn empty(&self, number: usize) -> Descriptor {
        self.empty_at(self.place(number).offset)
    }
}

/// Buffers of ours that follow each other: a loop over them goes from one to the next by an addition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnRun {
    own: OwnSlots,
    first: u32,
}

impl OwnRun {
    /// Where the buffer `i` behind the first begins.
    #[inline(always)]
    pub(crate) fn place(self, i: usize) -> Place {
        Place { region: self.own.region, offset: self.first + i as u32 * self.own.stride }
    }

    /// What describes it, empty.
    #[inline(always)]
    pub(crate) fn empty(self, i: usize) -> Descriptor {
        self.own.empty_at(self.place(i).offset)
    }
}

/// Whose memory the buffers of a ring lie in that is sent into: decides at compile time which index is ours and where places
/// come from. For one that is received from, see [`posted`].
pub(crate) trait Buffers: Copy {
    /// Whether we are the client: we own the memory and write `head`; a server writes `tail`.
    const CLIENT: bool;

    /// Buffers that follow each other.
    type Run: Copy;

    /// The region that the first packets are expected to go to.
    fn region(&self) -> u16;

    /// How many buffers there are, where we give them out: a power of two. None for a server.
    fn count(&self) -> usize;

    /// The buffers from a free-running number on, and how many at most a loop may take of them.
    fn from(&self, number: usize) -> (Self::Run, usize);

    /// The empty buffer `i` of a run, for a client; for a server whatever `posted` reads.
    fn empty(run: Self::Run, i: usize, posted: impl FnOnce() -> Descriptor) -> Descriptor;
}

/// The buffers are ours.
impl Buffers for OwnSlots {
    const CLIENT: bool = true;

    type Run = OwnRun;

    fn region(&self) -> u16 {
        self.region
    }

    fn count(&self) -> usize {
        usize::from(self.mask) + 1
    }

    #[inline(always)]
    fn from(&self, number: usize) -> (OwnRun, usize) {
        OwnSlots::from(self, number)
    }

    #[inline(always)]
    fn empty(run: OwnRun, i: usize, _posted: impl FnOnce() -> Descriptor) -> Descriptor {
        run.empty(i)
    }
}

/// The buffers are the peer's: it says in each descriptor where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeersSlots;

impl Buffers for PeersSlots {
    const CLIENT: bool = false;

    type Run = ();

    fn region(&self) -> u16 {
        0
    }

    fn count(&self) -> usize {
        0
    }

    #[inline(always)]
    fn from(&self, _number: usize) -> ((), usize) {
        ((), usize::MAX)
    }

    #[inline(always)]
    fn empty((): (), _i: usize, posted: impl FnOnce() -> Descriptor) -> Descriptor {
        posted()
    }
}

/// The memory of one ring and of the regions its descriptors point into.
///
/// Implementations check every place against the regions and mask every index, so that no argument, whatever a peer made of
/// it, reaches other memory. Descriptors are named by free-running indices.
pub(crate) trait RingMemory {
    /// The region that the loop over packets copies from or to.
    type Packets<'a>: PacketMemory
    where
        Self: 'a;
    /// The descriptors that it works on.
    type Slots<'a>: Slots
    where
        Self: 'a;

    /// The region of an index, if there is one.
    fn packets(&self, region: u16) -> Option<Self::Packets<'_>>;
    /// The slots from that of a free-running index on: `most`, or fewer where the ring goes round; one at least.
    fn slots(&self, index: u16, most: usize) -> Self::Slots<'_>;
    /// How to copy.
    fn kernel(&self) -> Kernel {
        Kernel::detect()
    }
    /// Whether the peer's CPU is another one, most likely: then its cache has what we read and write next.
    fn is_peer_apart(&self) -> bool {
        false
    }
    /// Loads `head`, Acquire (statement 44).
    fn head(&self) -> u16;
    /// Loads `tail`, Acquire.
    fn tail(&self) -> u16;
    /// Stores `head`, Release. Only for clients (statement 42).
    fn set_head(&self, index: u16);
    /// Stores `tail`, Release. Only for servers.
    fn set_tail(&self, index: u16);
    /// Loads the ring's flags.
    fn flags(&self) -> u16;
    /// Stores the ring's flags. Only for the receiver of the ring's packets (statement 64).
    fn set_flags(&self, flags: u16);
    /// One snapshot of the descriptor at `index`.
    fn descriptor(&self, index: u16) -> Descriptor;
    /// Writes all of the descriptor at `index`.
    fn set_descriptor(&self, index: u16, descriptor: Descriptor);
    /// Writes `descriptors` to the slots from that of a free-running index on, `most` or fewer, and says how many.
    #[inline(always)]
    fn set_descriptors(&self, index: u16, most: usize, mut descriptors: impl Iterator<Item = Descriptor>) -> usize {
        let mut done = 0;
        while done < most {
            let slots = self.slots(index.wrapping_add(done as u16), most - done);
            for i in 0..slots.len() {
                let Some(descriptor) = descriptors.next() else { return done };
                slots.set_descriptor(i, descriptor);
                done += 1;
            }
        }
        done
    }
    /// Writes flags, region and length of the descriptor at `index`, not its offset: what a server may do.
    fn set_filled(&self, index: u16, descriptor: Descriptor);
    /// Asks for the lines of `count` descriptors from `index` on, which will be written soon, where the peer is another process.
    /// The last one first: a CPU that sees line after line go on asks for those behind them by itself, and takes them from the
    /// peer, who is at work on them. Who receives need not ask where more packets wait behind these: there the CPU may well do so.
    fn own_descriptors(&self, _index: u16, _count: u16) {}
    /// Clears the flags of the descriptor at `index`.
    fn clear_flags(&self, index: u16);
    /// Whether `len` bytes at `place` lie inside a region.
    ///
    /// # Errors
    /// When they do not.
    fn check(&self, place: Place, len: usize) -> Result<(), BadPlace>;
    /// Copies `len` bytes at `place` to the front of `room`, which is at least as long.
    ///
    /// # Errors
    /// When they do not lie inside a region; then nothing has been copied.
    fn read(&self, place: Place, len: usize, room: &mut [u8]) -> Result<(), BadPlace>;
    /// Copies `data` to `place`.
    ///
    /// # Errors
    /// When it would not lie inside a region; then nothing has been copied.
    fn write(&self, place: Place, data: &[u8]) -> Result<(), BadPlace>;
    /// Wakes the peer through the ring's eventfd; `false` when that failed.
    fn interrupt(&self) -> bool;
}

/// Slots that follow each other in memory, up to the end of the ring: a loop over them masks no index. By value, so that it
/// stays in registers.
///
/// # Panics
/// All that is done to a slot, where there are not so many. A loop up to [`Self::len`], or up to the number that
/// [`Self::first`] was given, is compiled without this check.
pub(crate) trait Slots: Copy {
    /// How many there are.
    fn len(self) -> usize;
    /// The first `count` of them, which are as many at least.
    fn first(self, count: usize) -> Self;
    /// As [`RingMemory::descriptor`], of the slot `i`.
    fn descriptor(self, i: usize) -> Descriptor;
    /// The same with the offset 0: what a client asks, who knows where its buffers lie.
    fn outline(self, i: usize) -> Descriptor;
    /// As [`RingMemory::set_descriptor`].
    fn set_descriptor(self, i: usize, descriptor: Descriptor);
    /// As [`RingMemory::set_filled`].
    fn set_filled(self, i: usize, descriptor: Descriptor);
}

/// A region, looked up once for many packets: by value, so that it stays in registers.
pub(crate) trait PacketMemory: Copy {
    /// Asks for the lines of `len` bytes at `offset`, which will be written soon. Nothing happens where there are none.
    fn own(self, _offset: u32, _len: usize) {}
    /// Asks for the lines of `len` bytes at `offset`, which will be read soon. Nothing happens where there are none.
    fn fetch(self, _offset: u32, _len: usize) {}
    /// Copies the bytes at `offset` to all of `room`, whose length is a multiple of 64 and not 0.
    ///
    /// # Errors
    /// When they do not lie inside the region; then nothing has been copied.
    fn read_blocks(self, copier: impl Copier, offset: u32, room: &mut [u8]) -> Result<(), BadPlace>;
    /// Copies `data` to `offset`.
    ///
    /// # Errors
    /// When it would not lie inside the region; then nothing has been copied.
    fn write(self, copier: impl Copier, offset: u32, data: &[u8]) -> Result<(), BadPlace>;
}

/// The size of a ring and the arithmetic that follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingSize {
    /// The size less one: what a free-running index is masked with.
    mask: u16,
}

impl RingSize {
    /// A ring of 2^log2 descriptors; `log2` is at most 15 (statement 26).
    pub(crate) fn from_log2(log2: u8) -> Self {
        assert!(log2 <= 15, "the handshake refuses log2 ring sizes above 15");
        Self { mask: (1 << log2) - 1 }
    }

    /// Number of descriptors.
    #[inline(always)]
    pub(crate) fn get(self) -> u16 {
        self.mask + 1
    }

    /// The slot of a free-running index.
    #[inline(always)]
    pub(crate) fn slot(self, index: u16) -> u16 {
        index & self.mask
    }
}
