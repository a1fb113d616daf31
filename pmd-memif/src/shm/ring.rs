//! One ring in mapped memory: its index words, its descriptors and the packets that they describe.
//!
//! 1. [`ShmRing::new`] takes a ring that its owner has initialised, and looks whether it is one.
//! 2. A queue moves packets: [`ShmSlots`] are descriptors that follow each other, [`ShmPackets`] a region they point into; both
//!    are by value, and live no longer than the borrow of the ring, which keeps what they reach into mapped.
//! 3. [`RingWords`] are for those who watch a link from another thread.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{CacheLine, Extent, Regions, ShmError};
use crate::copy::{Copier, Kernel, access, with_copier};
use crate::doorbell;
use crate::ring::{BadPlace, COOKIE, Descriptor, PacketMemory, Place, RingMemory, RingSize, Slots};

/// Offsets in a ring's header that do not depend on the cache line's size.
const FLAGS: usize = 4;
const HEAD: usize = 6;

/// Bytes of a descriptor.
pub(super) const DESCRIPTOR: usize = 16;

/// One ring in mapped memory, with its eventfd.
#[derive(Debug)]
pub(crate) struct ShmRing {
    pub(super) regions: Arc<Regions>,
    header: NonNull<u8>,
    /// The first of them.
    descriptors: NonNull<u8>,
    size: RingSize,
    line: usize,
    kernel: Kernel,
    /// Whether the peer is another process.
    apart: bool,
    event: OwnedFd,
}

// SAFETY: the pointer is an address in a mapping that `regions` keeps; accesses are atomic, volatile or opaque copies.
unsafe impl Send for ShmRing {}

impl ShmRing {
    /// A ring that its owner has initialised.
    ///
    /// # Errors
    /// When it does not lie inside its region, at a multiple of 4 (statement 25), or has no cookie (27).
    pub(crate) fn new(
        regions: &Arc<Regions>,
        place: Place,
        size: RingSize,
        line: CacheLine,
        event: OwnedFd,
    ) -> Result<Self, ShmError> {
        let Place { region, offset } = place;
        let header = regions.address(place, line.ring_bytes(size)).ok().filter(|_| offset.is_multiple_of(4));
        let header = header.ok_or(ShmError::RingOutside { region, offset })?;
        let (regions, kernel) = (Arc::clone(regions), regions.kernel);
        // SAFETY: header and descriptors lie in the region, as just checked.
        let descriptors = unsafe { header.add(2 * line.bytes()) };
        let ring = Self { regions, header, descriptors, size, line: line.bytes(), kernel, apart: false, event };
        // SAFETY: the first 4 bytes of the ring, as just checked.
        match u32::from_le(unsafe { access::load(ring.header.as_ptr()) }) {
            COOKIE => Ok(ring),
            cookie => Err(ShmError::Cookie { region, offset, cookie }),
        }
    }

    /// The same ring, whose peer is another process, or is not.
    pub(crate) fn with_peer_apart(self, apart: bool) -> Self {
        Self { apart, ..self }
    }

    /// The ring's eventfd.
    pub(crate) fn event(&self) -> &OwnedFd {
        &self.event
    }

    /// The ring's index words, to look at from any thread; they keep the regions mapped.
    pub(crate) fn words(&self) -> RingWords {
        RingWords { _regions: Arc::clone(&self.regions), header: self.header, line: self.line }
    }

    /// A 16-bit word of the header. `offset` is FLAGS, HEAD or the cache line's size.
    #[inline(always)]
    fn word(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: `new` checked the header, which `regions` keeps mapped while `self` lives.
        unsafe { word(self.header, offset) }
    }
}

/// The index words of a ring, read only: for those who watch a link, not for those who move packets.
#[derive(Debug)]
pub(crate) struct RingWords {
    _regions: Arc<Regions>,
    header: NonNull<u8>,
    line: usize,
}

// SAFETY: the pointer is an address in a mapping that `_regions` keeps; accesses are atomic loads.
unsafe impl Send for RingWords {}
// SAFETY: as above.
unsafe impl Sync for RingWords {}

impl RingWords {
    /// `head` as it is now, by whoever wrote it.
    pub(crate) fn head(&self) -> u16 {
        self.load(HEAD)
    }

    /// `tail` as it is now.
    pub(crate) fn tail(&self) -> u16 {
        self.load(self.line)
    }

    /// The ring's flags as they are now.
    pub(crate) fn flags(&self) -> u16 {
        self.load(FLAGS)
    }

    fn load(&self, offset: usize) -> u16 {
        // SAFETY: made from a ring, whose header `ShmRing::new` checked and `_regions` keeps mapped.
        unsafe { word(self.header, offset) }.load(Ordering::Relaxed)
    }
}

/// A 16-bit word of a ring's header. `offset` is FLAGS, HEAD or the cache line's size.
///
/// # Safety
/// `header` is a checked ring header, mapped for as long as the answer lives.
#[inline(always)]
unsafe fn word<'a>(header: NonNull<u8>, offset: usize) -> &'a AtomicU16 {
    // SAFETY: the word lies in the header, at an even address (headers are 4-byte aligned); the peer reaches it by atomic
    // or plain 16-bit accesses, which do not tear.
    unsafe { AtomicU16::from_ptr(header.as_ptr().add(offset).cast()) }
}

/// Slots of a ring that follow each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShmSlots<'a> {
    first: NonNull<u8>,
    count: usize,
    _mapped: PhantomData<&'a ShmRing>,
}

impl ShmSlots<'_> {
    /// The 16 bytes of a descriptor.
    #[inline(always)]
    fn at(self, i: usize) -> *mut u8 {
        // No numbers in the message: a loop would keep them in memory for it.
        assert!(i < self.count, "a slot behind the last");
        self.first.as_ptr().wrapping_add(i * DESCRIPTOR)
    }
}

impl Slots for ShmSlots<'_> {
    #[inline(always)]
    fn len(self) -> usize {
        self.count
    }

    #[inline(always)]
    fn first(self, count: usize) -> Self {
        assert!(count <= self.count, "more slots than there are");
        Self { count, ..self }
    }

    #[inline(always)]
    fn outline(self, i: usize) -> Descriptor {
        // SAFETY: the first 8 bytes of a descriptor inside the ring, which we borrow and which keeps them mapped.
        let low = u64::from_le(unsafe { access::load(self.at(i)) });
        Descriptor { flags: low as u16, region: (low >> 16) as u16, length: (low >> 32) as u32, offset: 0 }
    }

    #[inline(always)]
    fn descriptor(self, i: usize) -> Descriptor {
        let at = self.at(i);
        // SAFETY: 16 bytes inside the ring, which we borrow and which keeps them mapped; each word is read once.
        let (low, high): (u64, u32) = unsafe { (access::load(at), access::load(at.add(8))) };
        let low = u64::from_le(low);
        Descriptor {
            flags: low as u16,
            region: (low >> 16) as u16,
            length: (low >> 32) as u32,
            offset: u32::from_le(high),
        }
    }

    #[inline(always)]
    fn set_descriptor(self, i: usize, descriptor: Descriptor) {
        let words = [low_word(descriptor).to_le(), u64::from(descriptor.offset).to_le()];
        // SAFETY: 16 bytes inside the ring, as above. The metadata word, which nobody uses, becomes 0.
        unsafe { access::store_words(self.at(i), words) };
    }

    #[inline(always)]
    fn set_filled(self, i: usize, descriptor: Descriptor) {
        // SAFETY: the first 8 bytes of a descriptor, as above.
        unsafe { access::store_word(self.at(i), low_word(descriptor).to_le()) };
    }
}

/// One of a link's regions, at hand for many packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShmPackets<'a> {
    region: Extent,
    _mapped: PhantomData<&'a ShmRing>,
}

impl PacketMemory for ShmPackets<'_> {
    #[inline(always)]
    fn own(self, offset: u32, len: usize) {
        for line in (0..len).step_by(64) {
            access::prefetch_to_write(self.region.base.as_ptr().wrapping_add(offset as usize + line));
        }
    }

    #[inline(always)]
    fn fetch(self, offset: u32, len: usize) {
        access::prefetch(self.region.base.as_ptr().wrapping_add(offset as usize), len);
    }

    #[inline(always)]
    fn read_blocks(self, copier: impl Copier, offset: u32, room: &mut [u8]) -> Result<(), BadPlace> {
        debug_assert!(!room.is_empty() && room.len().is_multiple_of(64), "{} bytes are no blocks", room.len());
        let source = self.region.address(offset, room.len())?;
        // SAFETY: as many bytes are mapped at the source as the room has, which is private.
        unsafe { copier.copy_blocks(room.as_mut_ptr(), source.as_ptr(), room.len()) };
        Ok(())
    }

    #[inline(always)]
    fn write(self, copier: impl Copier, offset: u32, data: &[u8]) -> Result<(), BadPlace> {
        let target = self.region.address(offset, data.len())?;
        // SAFETY: as many bytes are mapped at the target; the data is private.
        unsafe { copier.copy(target.as_ptr(), data.as_ptr(), data.len()) };
        Ok(())
    }
}

impl RingMemory for ShmRing {
    type Packets<'a> = ShmPackets<'a>;
    type Slots<'a> = ShmSlots<'a>;

    #[inline]
    fn packets(&self, region: u16) -> Option<ShmPackets<'_>> {
        let region = self.regions.extent(region)?;
        Some(ShmPackets { region, _mapped: PhantomData })
    }

    #[inline(always)]
    fn slots(&self, index: u16, most: usize) -> ShmSlots<'_> {
        let slot = usize::from(self.size.slot(index));
        let count = most.min(usize::from(self.size.get()) - slot);
        // SAFETY: a slot inside the ring.
        let first = unsafe { self.descriptors.add(slot * DESCRIPTOR) };
        ShmSlots { first, count, _mapped: PhantomData }
    }

    #[inline(always)]
    fn is_peer_apart(&self) -> bool {
        self.apart
    }

    #[inline(always)]
    fn kernel(&self) -> Kernel {
        self.kernel
    }

    #[inline(always)]
    fn head(&self) -> u16 {
        self.word(HEAD).load(Ordering::Acquire)
    }

    #[inline(always)]
    fn tail(&self) -> u16 {
        self.word(self.line).load(Ordering::Acquire)
    }

    #[inline(always)]
    fn set_head(&self, index: u16) {
        self.word(HEAD).store(index, Ordering::Release);
    }

    #[inline(always)]
    fn set_tail(&self, index: u16) {
        self.word(self.line).store(index, Ordering::Release);
    }

    #[inline(always)]
    fn flags(&self) -> u16 {
        self.word(FLAGS).load(Ordering::Relaxed)
    }

    fn set_flags(&self, flags: u16) {
        self.word(FLAGS).store(flags, Ordering::Relaxed);
    }

    #[inline(always)]
    fn descriptor(&self, index: u16) -> Descriptor {
        self.slots(index, 1).descriptor(0)
    }

    #[inline(always)]
    fn set_descriptor(&self, index: u16, descriptor: Descriptor) {
        self.slots(index, 1).set_descriptor(0, descriptor);
    }

    #[inline(always)]
    fn set_filled(&self, index: u16, descriptor: Descriptor) {
        self.slots(index, 1).set_filled(0, descriptor);
    }

    #[inline(always)]
    fn own_descriptors(&self, index: u16, count: u16) {
        if !self.is_peer_apart() {
            return;
        }
        let mut left = usize::from(count);
        while left > 0 {
            let slot = self.size.slot(index.wrapping_add(left as u16 - 1));
            access::prefetch_to_write(self.descriptors.as_ptr().wrapping_add(usize::from(slot) * DESCRIPTOR));
            left = left.saturating_sub(64 / DESCRIPTOR);
        }
    }

    fn clear_flags(&self, index: u16) {
        // SAFETY: the first 2 bytes of a descriptor, inside the ring, which `regions` keeps mapped.
        unsafe { access::store(self.slots(index, 1).at(0), 0_u16) };
    }

    fn check(&self, place: Place, len: usize) -> Result<(), BadPlace> {
        self.regions.address(place, len).map(|_| ())
    }

    fn read(&self, place: Place, len: usize, room: &mut [u8]) -> Result<(), BadPlace> {
        assert!(len <= room.len(), "the caller has room for what it asks for");
        let source = self.regions.address(place, len)?;
        // SAFETY: `len` bytes are mapped at the source, and the private room has as many.
        unsafe { with_copier!(self.kernel, copier => copier.copy(room.as_mut_ptr(), source.as_ptr(), len)) };
        Ok(())
    }

    fn write(&self, place: Place, data: &[u8]) -> Result<(), BadPlace> {
        let target = self.regions.address(place, data.len())?;
        // SAFETY: as many bytes are mapped at the target; the data is private.
        unsafe { with_copier!(self.kernel, copier => copier.copy(target.as_ptr(), data.as_ptr(), data.len())) };
        Ok(())
    }

    fn interrupt(&self) -> bool {
        doorbell::ring(self.event.as_fd())
    }
}

/// Flags, region and length, as they stand in a descriptor's first 8 bytes.
#[inline(always)]
fn low_word(descriptor: Descriptor) -> u64 {
    u64::from(descriptor.flags) | u64::from(descriptor.region) << 16 | u64::from(descriptor.length) << 32
}
