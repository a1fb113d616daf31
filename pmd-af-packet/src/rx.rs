//! The receiving half of a queue: frames out of the kernel's ring into mbufs.
//!
//! A burst
//! 1. looks whether the block it has come to is ours: one load, no system call;
//! 2. copies its frames into mbufs, one by one: VLAN tags are put back, checksums completed, large packets cut;
//! 3. gives each block back when its last frame has been read. A burst that is full stops inside a block, or inside a
//!    packet that is being cut, and the next one goes on from there.
//!
//! The kernel hands a block over when it is full or `blocktmo` has passed, whichever comes first.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use pmd_core::device::bytes_of;
use pmd_core::pool::RxPool;
use pmd_core::{Burst, LportId, Mbuf, Pool, RxQueue};

use crate::counters::Counters;
use crate::device::OpenDevice;
use crate::frame::{self, Frame, Unfinished};
use crate::offload::{Cut, complete_checksum, has_internet_checksum};
use crate::ring::RxRing;

/// Where Ethernet puts the VLAN tag: behind the two addresses.
const ADDRESSES: usize = 12;

/// The receiving half of an lport.
pub(crate) struct PacketRx {
    open: Arc<OpenDevice>,
    queue: usize,
    epoch: u32,
    reader: Option<Reader>,
    into: Sink,
}

/// Where received packets go.
struct Sink {
    pool: RxPool,
    port: u16,
    counters: Arc<Counters>,
    /// Empty mbufs at hand during a burst.
    fresh: Burst,
    /// Where a packet is put together that fits no mbuf, or is cut out of another one.
    scratch: Vec<u8>,
}

/// A ring and how far it has been read.
pub(crate) struct Reader {
    ring: RxRing,
    block: usize,
    /// Frames of the block not read yet; 0: it is not opened yet.
    left: u32,
    /// Where the next of them is.
    at: usize,
    /// How many packets have been cut out of it.
    cut: usize,
}

/// What came of a frame.
enum Step {
    /// It has been read, or dropped and counted.
    Done,
    /// The burst is full, or there are no mbufs: go on later, from here.
    Later,
}

impl PacketRx {
    pub(crate) fn new(open: Arc<OpenDevice>, queue: usize, port: u16, pool: Pool, counters: Arc<Counters>) -> Self {
        let into = Sink { pool: RxPool::new(pool), port, counters, fresh: Burst::new(), scratch: Vec::new() };
        Self { open, queue, epoch: 0, reader: None, into }
    }

    #[inline(always)]
    fn link_has_changed(&self) -> bool {
        self.open.device().epoch() != self.epoch
    }

    /// Lets the old ring go and takes the new one, if there is one.
    #[cold]
    fn adopt(&mut self) {
        if let Some((epoch, ring)) = self.open.device().take_ring(self.queue, self.epoch) {
            self.epoch = epoch;
            self.reader = ring.map(Reader::new);
        }
    }

    /// Empties the ring of an interface that is down: what is in it is late, and not kept for later.
    #[cold]
    fn discard(&mut self) {
        if let Some(reader) = &mut self.reader {
            self.into.counters.common.rx.missed.add(reader.skip_blocks());
        }
    }
}

impl RxQueue for PacketRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.link_has_changed() {
            self.adopt();
        }
        if !self.open.device().state.is_up() {
            self.discard();
            return 0;
        }
        let Some(reader) = &mut self.reader else { return 0 };
        let first = burst.len();
        reader.read(burst, &mut self.into);
        self.into.fresh.clear();
        let received = &burst[first..];
        self.into.counters.common.rx.add(received.len(), bytes_of(received));
        received.len()
    }

    fn renumber(&mut self, lport: LportId) {
        self.into.port = lport.0;
    }

    fn receive_into(&mut self, pool: Option<Pool>) {
        self.into.pool.set(pool);
    }

    /// The socket is readable as long as a block is ours that comes after the one we have come to.
    fn arm(&mut self) -> bool {
        let Some(reader) = &self.reader else { return !self.link_has_changed() };
        // An interface that goes down leaves an error, and with it the socket readable.
        reader.ring.socket().clear_error();
        !reader.has_frames() && !self.link_has_changed()
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        // While the link is down the owner's sleep is bounded instead.
        self.reader.as_ref().filter(|_| self.open.device().state.is_up()).map(|reader| reader.ring.as_fd())
    }
}

impl Reader {
    fn new(ring: RxRing) -> Self {
        Self { ring, block: 0, left: 0, at: 0, cut: 0 }
    }

    fn has_frames(&self) -> bool {
        self.ring.block(self.block).is_some()
    }

    /// Fills `burst` from the ring, as far as both go.
    fn read(&mut self, burst: &mut Burst, into: &mut Sink) {
        while burst.room() > 0 {
            let Some(block) = self.ring.block(self.block) else { return };
            if self.left == 0 {
                let header = frame::block_header(block);
                if header.is_none() {
                    into.counters.rx.bad.add(1);
                }
                (self.left, self.at) = header.map_or((0, 0), |header| (header.frames, header.first));
            }
            while self.left > 0 {
                let Some(frame) = frame::frame(block, self.at) else {
                    // Nothing behind it can be found either.
                    into.drop_bad(u64::from(self.left));
                    self.left = 0;
                    break;
                };
                if matches!(into.take(&frame, &mut self.cut, self.left, burst), Step::Later) {
                    return;
                }
                (self.left, self.at, self.cut) = (self.left - 1, self.at + frame.next, 0);
            }
            self.next_block();
        }
    }

    fn next_block(&mut self) {
        self.ring.give_back(self.block);
        self.block = (self.block + 1) % self.ring.blocks();
        (self.left, self.cut) = (0, 0);
    }

    /// Gives back every block that is ours and says how many frames were in them.
    fn skip_blocks(&mut self) -> u64 {
        let mut skipped = 0;
        // At most once round: the kernel may be as fast as we are.
        for _ in 0..self.ring.blocks() {
            let Some(block) = self.ring.block(self.block) else { break };
            let whole = || frame::block_header(block).map_or(0, |header| header.frames);
            skipped += u64::from(if self.left > 0 { self.left } else { whole() });
            self.next_block();
        }
        skipped
    }
}

impl Sink {
    /// Puts `frame` into `burst`: one packet, or those it stands for that are not there yet (`cut` of them are). `left`
    /// frames are in the block, this one included.
    #[inline]
    fn take(&mut self, frame: &Frame<'_>, cut: &mut usize, left: u32, burst: &mut Burst) -> Step {
        if burst.room() == 0 {
            return Step::Later;
        }
        if frame.full_len > frame.packet.len() {
            self.drop_truncated();
            return Step::Done;
        }
        // Only an Ethernet frame has a tag.
        if frame.vlan.is_some() && frame.packet.len() < ADDRESSES {
            self.drop_bad(1);
            return Step::Done;
        }
        match &frame.unfinished {
            Some(unfinished) if unfinished.segments.is_some() => self.take_segments(frame, unfinished, cut, burst),
            Some(_) if !has_internet_checksum(frame) => {
                self.counters.rx.checksum_unknown.add(1);
                self.counters.common.rx.errors.add(1);
                Step::Done
            }
            _ => self.take_one(frame, left, burst),
        }
    }

    #[inline]
    fn take_one(&mut self, frame: &Frame<'_>, left: u32, burst: &mut Burst) -> Step {
        let tag = frame.vlan.as_ref().map_or(0, |tag| tag.len());
        let len = frame.packet.len() + tag;
        if len > self.pool.data_room() {
            return self.take_long(frame, tag, burst);
        }
        let Some(mut mbuf) = self.fresh_mbuf(left as usize, burst) else { return Step::Later };
        let room = &mut mbuf.room_mut()[..len];
        match &frame.vlan {
            None => room.copy_from_slice(frame.packet),
            Some(tag) => copy_with_tag(frame.packet, tag, room),
        }
        if !self.finish(room, frame, tag) {
            return Step::Done;
        }
        mbuf.set_received(len, self.port);
        push(burst, mbuf);
        Step::Done
    }

    /// A packet that is longer than an mbuf: a chain of them.
    #[cold]
    fn take_long(&mut self, frame: &Frame<'_>, tag: usize, burst: &mut Burst) -> Step {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(frame.packet);
        if let Some(tag) = &frame.vlan {
            scratch.splice(ADDRESSES..ADDRESSES, tag.iter().copied());
        }
        let whole = self.finish(&mut scratch, frame, tag);
        let step = if whole { self.push_copy(&scratch, burst) } else { Step::Done };
        self.scratch = scratch;
        step
    }

    /// The packets that a large one stands for.
    #[cold]
    fn take_segments(
        &mut self,
        frame: &Frame<'_>,
        unfinished: &Unfinished,
        cut: &mut usize,
        burst: &mut Burst,
    ) -> Step {
        let Some(how) = Cut::of(frame, unfinished) else {
            self.drop_bad(1);
            return Step::Done;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut step = Step::Done;
        while *cut < how.count() && matches!(step, Step::Done) {
            if burst.room() == 0 {
                step = Step::Later;
                break;
            }
            how.write(frame.packet, *cut, &mut scratch);
            if let Some(tag) = &frame.vlan {
                scratch.splice(ADDRESSES..ADDRESSES, tag.iter().copied());
                self.counters.rx.vlan_tags.add(1);
            }
            step = self.push_copy(&scratch, burst);
            if matches!(step, Step::Done) {
                *cut += 1;
                self.counters.rx.segments.add(1);
            }
        }
        self.scratch = scratch;
        step
    }

    /// Completes a packet into which a tag of `tag` bytes was put; `false` when it had to be dropped instead.
    #[inline]
    fn finish(&self, packet: &mut [u8], frame: &Frame<'_>, tag: usize) -> bool {
        if tag > 0 {
            self.counters.rx.vlan_tags.add(1);
        }
        let Some(unfinished) = &frame.unfinished else { return true };
        let complete = complete_checksum(packet, unfinished, tag);
        if complete {
            self.counters.rx.checksums.add(1);
        } else {
            self.drop_bad(1);
        }
        complete
    }

    /// An empty mbuf; `left` says how many will be wanted in this burst.
    #[inline]
    fn fresh_mbuf(&mut self, left: usize, burst: &Burst) -> Option<Mbuf> {
        if self.fresh.is_empty() && self.pool.alloc_bulk(&mut self.fresh, left.min(burst.room())) == 0 {
            self.counters.common.rx.nombuf.add(1);
        }
        self.fresh.pop()
    }

    fn push_copy(&mut self, packet: &[u8], burst: &mut Burst) -> Step {
        if packet.len() > self.pool.size() * self.pool.data_room() {
            self.drop_truncated();
            return Step::Done;
        }
        // What is at hand may be all there is.
        self.fresh.clear();
        let Some(mut mbuf) = self.pool.alloc_packet(packet) else {
            self.counters.common.rx.nombuf.add(1);
            return Step::Later;
        };
        mbuf.set_port(self.port);
        push(burst, mbuf);
        Step::Done
    }

    #[cold]
    fn drop_bad(&self, frames: u64) {
        self.counters.rx.bad.add(frames);
        self.counters.common.rx.errors.add(frames);
    }

    #[cold]
    fn drop_truncated(&self) {
        self.counters.rx.truncated.add(1);
        self.counters.common.rx.errors.add(1);
    }
}

/// Writes `packet` to `room`, which has as many bytes more as the tag that is put back into it.
fn copy_with_tag(packet: &[u8], tag: &[u8], room: &mut [u8]) {
    let (addresses, rest) = packet.split_at(ADDRESSES);
    let (to_addresses, to_rest) = room.split_at_mut(ADDRESSES);
    let (to_tag, to_rest) = to_rest.split_at_mut(tag.len());
    to_addresses.copy_from_slice(addresses);
    to_tag.copy_from_slice(tag);
    to_rest.copy_from_slice(rest);
}

#[inline(always)]
fn push(burst: &mut Burst, mbuf: Mbuf) {
    let pushed = burst.push(mbuf);
    debug_assert!(pushed.is_ok(), "there was room");
}
