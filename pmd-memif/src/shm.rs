//! Shared memory: maps regions and reaches into them. The only file that touches memory a peer can write.
//!
//! ```text
//!   Regions (Arc)                       ShmRing
//!   [ base, len ] [ base, len ] ...     header --> cookie, flags, head | tail | descriptors
//!        ^                                 |
//!        +---------------------------------+ each ring keeps the regions alive
//! ```
//!
//! 1. [`Regions::map`] maps each fd, after looking once more that the file is as large as it was said to be.
//! 2. [`ShmRing::new`] checks that a ring lies inside its region, aligned, with the right cookie.
//! 3. A queue works on its rings through [`RingMemory`]; every place is checked against the table before it is touched.
//! 4. The last ring to go unmaps the regions: never under a burst, since the burst's ring holds them.
//!
//! No reference to shared memory ever exists. Index words are atomics, made for one access inside one accessor; the rest
//! is volatile (outside every Rust allocation, which volatile access is for) or goes through `copy`.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use pmd_core::pool::{FileId, Lender, LentSegment, Span};
use pmd_core::{Burst, Mbuf, Pool};

use crate::copy::{self, Copier, Kernel, with_copier};
use crate::doorbell;
use crate::ring::rx_borrow::LendSlots;
use crate::ring::tx_lend::LendBuffers;
use crate::ring::{BadPlace, COOKIE, Descriptor, PacketMemory, Place, RingMemory, RingSize, Slots};
use crate::sigbus::Watch;

/// Offsets in a ring's header that do not depend on the cache line's size.
const FLAGS: usize = 4;
const HEAD: usize = 6;

/// Bytes of a descriptor.
const DESCRIPTOR: usize = 16;

/// Size of the cache line that a ring's header is laid out by; not negotiated, the peers must agree (rule 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheLine {
    /// x86-64, and most others.
    B64,
    /// Generic aarch64 builds of VPP and libmemif, POWER.
    B128,
}

impl CacheLine {
    /// Where `tail` stands.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::B64 => 64,
            Self::B128 => 128,
        }
    }

    /// Bytes of a ring: header and descriptors.
    pub(crate) fn ring_bytes(self, size: RingSize) -> usize {
        2 * self.bytes() + DESCRIPTOR * usize::from(size.get())
    }
}

/// Why memory offered by a peer, or our own, cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShmError {
    #[error("region {index}: cannot map {len} bytes: {source}")]
    Map { index: usize, len: u64, source: std::io::Error },
    #[error("region {index} is declared with {len} bytes, but its file has {file}")]
    Short { index: usize, len: u64, file: u64 },
    #[error("no memory for the headers of packets that are lent: {0}")]
    Lender(std::io::Error),
    #[error("ring at offset {offset} of region {region} does not lie inside it, or not at a multiple of 4")]
    RingOutside { region: u16, offset: u32 },
    #[error("wrong cookie {cookie:#x} on the ring at offset {offset} of region {region}, expected {COOKIE:#x}")]
    Cookie { region: u16, offset: u32, cookie: u32 },
}

/// The mapped regions of one link.
#[derive(Debug)]
pub(crate) struct Regions {
    table: Vec<Region>,
    kernel: Kernel,
}

/// One mapped region.
#[derive(Debug)]
struct Region {
    /// Stays mapped while this lives.
    extent: Extent,
    file: FileId,
    /// Set for a file that its owner can still truncate. Dropped before the mapping (fields go in this order).
    watch: Option<Watch>,
    _map: MmapRaw,
}

// SAFETY: a Region is a mapping with an address; accesses through it are atomic, volatile or opaque copies.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Regions {
    /// Maps the files, each with the length its owner declared.
    ///
    /// # Errors
    /// When a file is smaller than that, or the system refuses.
    pub(crate) fn map<'f>(files: impl Iterator<Item = (&'f OwnedFd, u64)>) -> Result<Arc<Self>, ShmError> {
        let table = files.enumerate().map(|(index, (file, len))| Region::map(index, file, len));
        Ok(Arc::new(Self { table: table.collect::<Result<_, _>>()?, kernel: Kernel::detect() }))
    }

    /// Whether the peer has truncated a file under us: what is mapped there now is private and zero (statement 67).
    pub(crate) fn is_lost(&self) -> bool {
        self.table.iter().any(|region| region.watch.as_ref().is_some_and(Watch::is_lost))
    }

    /// Where the region of this index is mapped, if there is one.
    #[inline(always)]
    fn extent(&self, index: u16) -> Option<Extent> {
        self.table.get(usize::from(index)).map(|region| region.extent)
    }

    /// Which file is mapped where.
    fn files(&self) -> Vec<(FileId, Span)> {
        let file = |region: &Region| (region.file, Span::new(region.extent.base, region.extent.len as usize));
        self.table.iter().map(file).collect()
    }

    /// The address of `len` bytes at `place`.
    fn address(&self, place: Place, len: usize) -> Result<NonNull<u8>, BadPlace> {
        self.extent(place.region).ok_or(BadPlace::Region)?.address(place.offset, len)
    }
}

/// Where a region is mapped: by value, so that a loop over packets keeps it in registers.
#[derive(Debug, Clone, Copy)]
struct Extent {
    base: NonNull<u8>,
    len: u64,
}

impl Extent {
    /// The address of `len` bytes at `offset`.
    #[inline(always)]
    fn address(self, offset: u32, len: usize) -> Result<NonNull<u8>, BadPlace> {
        // 64-bit sums of a 32-bit offset and a length that a usize held before: they cannot wrap (statement 51).
        if u64::from(offset) + len as u64 > self.len {
            return Err(BadPlace::Range);
        }
        // SAFETY: the offset lies within the region, as just checked.
        Ok(unsafe { self.base.add(offset as usize) })
    }
}

impl Region {
    fn map(index: usize, file: &OwnedFd, len: u64) -> Result<Self, ShmError> {
        let failed = |source| ShmError::Map { index, len, source };
        let size = nix::sys::stat::fstat(file.as_fd()).map_err(|errno| failed(errno.into()))?.st_size as u64;
        if size < len {
            return Err(ShmError::Short { index, len, file: size });
        }
        let bytes = usize::try_from(len).map_err(|_| failed(std::io::ErrorKind::OutOfMemory.into()))?;
        let map = MmapOptions::new().len(bytes).map_raw(file).map_err(failed)?;
        let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is never at address 0");
        let watch = if is_sealed(file) { None } else { Some(Watch::new(base, bytes).map_err(failed)?) };
        let file = FileId::of(file.as_fd()).map_err(failed)?;
        Ok(Self { extent: Extent { base, len }, file, watch, _map: map })
    }
}

/// Whether a file can no longer shrink.
fn is_sealed(file: &OwnedFd) -> bool {
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).unwrap_or(0);
    SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK)
}

/// One ring in mapped memory, with its eventfd.
#[derive(Debug)]
pub(crate) struct ShmRing {
    regions: Arc<Regions>,
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
        match u32::from_le(unsafe { copy::load(ring.header.as_ptr()) }) {
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

/// Lends the packets of a peer's ring where they lie, and keeps the regions mapped until the last is back.
#[derive(Debug)]
pub(crate) struct ShmLender {
    regions: Arc<Regions>,
    lender: Lender,
}

impl ShmLender {
    /// For a ring of `size` slots.
    ///
    /// # Errors
    /// When there is no memory for the mbufs' headers.
    pub(crate) fn new(ring: &ShmRing, size: RingSize) -> std::io::Result<Self> {
        let regions = Arc::clone(&ring.regions);
        let lender = Lender::new(size.get().into(), regions.files(), Box::new(Arc::clone(&regions)))?;
        Ok(Self { regions, lender })
    }
}

impl LendSlots for ShmLender {
    fn lend(&mut self, number: u16, descriptor: Descriptor, port: u16) -> Result<Mbuf, BadPlace> {
        let len = descriptor.length as usize;
        let data = self.regions.address(descriptor.place(), len)?;
        // SAFETY: the bytes lie in a region, as just checked, and the regions are what the lender keeps. A ring lends a
        // slot again only when it is back, so no two mbufs come from one slot; a peer that lets two slots overlap, or
        // writes while we read, spoils bytes of its own packets: the trust that `zero-copy=yes` is documented to give.
        Ok(unsafe { self.lender.lend(number.into(), data, len, port) })
    }

    #[inline(always)]
    fn lend_run(
        &mut self,
        numbers: Range<u16>,
        port: u16,
        burst: &mut Burst,
        mut next: impl FnMut(u16) -> Option<Descriptor>,
    ) -> (u16, u64) {
        let Self { regions, lender } = self;
        // Most packets lie in the region of the one before: by value, so that it stays in registers.
        let (mut known, Some(mut extent)) = (0, regions.extent(0)) else { return (0, 0) };
        let next = |i: usize| {
            let Descriptor { region, length, offset, .. } = next(i as u16)?;
            if region != known {
                (known, extent) = (region, regions.extent(region)?);
            }
            Some((extent.address(offset, length as usize).ok()?, length))
        };
        // SAFETY: as in `lend`.
        let (run, bytes) = unsafe { lender.lend_run(numbers.start.into(), numbers.len(), port, burst, next) };
        (run as u16, bytes)
    }

    #[inline(always)]
    fn is_back(&self, number: u16) -> bool {
        self.lender.is_back(number.into())
    }

    #[inline(always)]
    fn all_back(&self) -> bool {
        self.lender.all_back()
    }

    fn copied_into(&self, pool: &Pool) -> u64 {
        self.lender.copied_into(pool)
    }
}

impl LendBuffers for ShmLender {
    fn lend_empty(&mut self, slot: u16, buffer: Descriptor) -> Result<Mbuf, BadPlace> {
        let room = buffer.length as usize;
        let data = self.regions.address(buffer.place(), room)?;
        // SAFETY: as in `lend`; the client has posted the buffer for us to write into.
        Ok(unsafe { self.lender.lend_empty(slot.into(), data, room) })
    }

    #[inline(always)]
    fn segments<'a>(&'a self, packet: &'a Mbuf) -> impl Iterator<Item = Option<LentSegment>> + 'a {
        self.lender.segments(packet)
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
        let low = u64::from_le(unsafe { copy::load(self.at(i)) });
        Descriptor { flags: low as u16, region: (low >> 16) as u16, length: (low >> 32) as u32, offset: 0 }
    }

    #[inline(always)]
    fn descriptor(self, i: usize) -> Descriptor {
        let at = self.at(i);
        // SAFETY: 16 bytes inside the ring, which we borrow and which keeps them mapped; each word is read once.
        let (low, high): (u64, u32) = unsafe { (copy::load(at), copy::load(at.add(8))) };
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
        unsafe { copy::store_words(self.at(i), words) };
    }

    #[inline(always)]
    fn set_filled(self, i: usize, descriptor: Descriptor) {
        // SAFETY: the first 8 bytes of a descriptor, as above.
        unsafe { copy::store_word(self.at(i), low_word(descriptor).to_le()) };
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
            copy::prefetch_to_write(self.region.base.as_ptr().wrapping_add(offset as usize + line));
        }
    }

    #[inline(always)]
    fn fetch(self, offset: u32, len: usize) {
        for line in (0..len).step_by(64) {
            copy::prefetch(self.region.base.as_ptr().wrapping_add(offset as usize + line));
        }
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
        for nth in (0..count).step_by(64 / DESCRIPTOR) {
            copy::prefetch_to_write(self.slots(index.wrapping_add(nth), 1).at(0));
        }
    }

    fn clear_flags(&self, index: u16) {
        // SAFETY: the first 2 bytes of a descriptor, inside the ring, which `regions` keeps mapped.
        unsafe { copy::store(self.slots(index, 1).at(0), 0_u16) };
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

#[cfg(all(test, not(miri)))]
mod tests {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use pmd_core::PoolConfig;

    use super::*;
    use crate::ring::rx::{RxRing, RxTally};
    use crate::ring::tx::{TxRing, TxTally};
    use crate::ring::{OwnSlots, PeersSlots};

    fn memfd(len: u64) -> OwnedFd {
        let file = memfd_create(c"shm test", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&file, len as i64).unwrap();
        file
    }

    fn ring(line: CacheLine, offset: u32) -> (ShmRing, OwnedFd) {
        let file = memfd(8192);
        nix::sys::uio::pwrite(&file, &COOKIE.to_le_bytes(), offset.into()).unwrap();
        let regions = Regions::map(std::iter::once((&file, 8192))).unwrap();
        let place = Place { region: 0, offset };
        (ShmRing::new(&regions, place, RingSize::from_log2(3), line, memfd(0)).unwrap(), file)
    }

    fn file_bytes(file: &OwnedFd, at: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        nix::sys::uio::pread(file, &mut bytes, at as i64).unwrap();
        bytes
    }

    #[test]
    fn s39_the_header_and_descriptors_stand_where_the_cache_line_says() {
        for (line, tail, descriptors) in [(CacheLine::B64, 64, 128), (CacheLine::B128, 128, 256)] {
            let (ring, file) = ring(line, 4);
            ring.set_flags(1);
            ring.set_head(0x0203);
            ring.set_tail(0x0405);
            assert_eq!(file_bytes(&file, 4, 8), [0x20, 0x1F, 0xE3, 0x03, 1, 0, 3, 2]);
            assert_eq!(file_bytes(&file, 4 + tail, 2), [5, 4]);
            ring.set_descriptor(2, Descriptor { flags: 1, region: 2, length: 3, offset: 4 });
            let bytes = file_bytes(&file, 4 + descriptors + 32, 16);
            assert_eq!(bytes, [1, 0, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(ring.descriptor(2), Descriptor { flags: 1, region: 2, length: 3, offset: 4 });
            ring.set_filled(2, Descriptor { flags: 0, region: 2, length: 9, offset: 77 });
            ring.clear_flags(2);
            assert_eq!(ring.descriptor(2), Descriptor { flags: 0, region: 2, length: 9, offset: 4 });
            assert_eq!((ring.head(), ring.tail(), ring.flags()), (0x0203, 0x0405, 1));
            let words = ring.words();
            drop(ring);
            assert_eq!((words.head(), words.tail(), words.flags()), (0x0203, 0x0405, 1));
        }
    }

    /// Large packets between two threads, as between two processes, through trials of the ways to write them.
    #[test]
    fn what_is_written_past_the_caches_is_what_the_other_end_reads() {
        const PACKETS: usize = 100_000;
        let bytes = 1 << 16;
        let file = memfd(bytes);
        nix::sys::uio::pwrite(&file, &COOKIE.to_le_bytes(), 0).unwrap();
        let own = OwnSlots { region: 0, first: 1024, stride: 1600, capacity: 1536, mask: 31 };
        let end = || {
            let regions = Regions::map(std::iter::once((&file, bytes))).unwrap();
            let (place, size) = (Place { region: 0, offset: 0 }, RingSize::from_log2(4));
            let shm = ShmRing::new(&regions, place, size, CacheLine::B64, memfd(0)).unwrap().with_peer_apart(true);
            (shm, size, Pool::new(&PoolConfig { size: 64, ..PoolConfig::default() }).unwrap())
        };
        let contents = |number: usize| (0..300 + number % 1200).map(move |i| (number * 7 + i) as u8);
        let (shm, size, pool) = end();
        let mut receiver = RxRing::new(shm, size, PeersSlots);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (shm, size, pool) = end();
                let mut sender = TxRing::new(shm, size, own, 2048);
                let (mut burst, mut tally, mut number) = (Burst::with_limit(8), TxTally::default(), 0);
                while number < PACKETS || !burst.is_empty() {
                    while number < PACKETS && burst.room() > 0 {
                        let data: Vec<_> = contents(number).collect();
                        burst.push(pool.alloc_packet(&data).unwrap()).unwrap();
                        number += 1;
                    }
                    let taken = sender.send(&burst, &mut tally).taken;
                    burst.free_front(taken);
                    std::thread::yield_now();
                }
                assert!((1..PACKETS as u64 / 2).contains(&tally.streamed), "{} were streamed", tally.streamed);
            });
            let (mut burst, mut number) = (Burst::new(), 0);
            while number < PACKETS {
                receiver.receive(&pool, 0, &mut burst, &mut RxTally::default());
                for packet in burst.iter() {
                    assert!(packet.data().iter().copied().eq(contents(number)), "packet {number}");
                    number += 1;
                }
                burst.clear();
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn s51_places_outside_the_regions_are_neither_read_nor_written() {
        let (ring, _file) = ring(CacheLine::B64, 0);
        let at = |region, offset| Place { region, offset };
        let mut room = [7; 64];
        assert_eq!(ring.read(at(1, 0), 1, &mut room), Err(BadPlace::Region));
        assert_eq!(ring.read(at(0, 8192), 1, &mut room), Err(BadPlace::Range));
        assert_eq!(ring.read(at(0, u32::MAX), 64, &mut room), Err(BadPlace::Range));
        assert_eq!(ring.write(at(0, 8190), &[1, 2, 3]), Err(BadPlace::Range));
        assert_eq!(room, [7; 64]);
        assert_eq!(ring.write(at(0, 8189), &[1, 2, 3]), Ok(()));
        assert_eq!(ring.read(at(0, 8189), 3, &mut room), Ok(()), "the very end, where whole blocks would not fit");
        assert_eq!(room[..4], [1, 2, 3, 7]);
        assert_eq!(ring.read(at(0, 8189 - 64), 3, &mut room), Ok(()));
        assert_eq!(room[..3], [0, 0, 0]);
    }

    #[test]
    fn s24_s25_s27_memory_that_is_not_what_it_should_be_is_refused() {
        let file = memfd(4096);
        let short = Regions::map(std::iter::once((&file, 4097))).unwrap_err().to_string();
        assert_eq!(short, "region 0 is declared with 4097 bytes, but its file has 4096");
        let regions = Regions::map(std::iter::once((&file, 4096))).unwrap();
        nix::sys::uio::pwrite(&file, &COOKIE.to_le_bytes(), 4096 - 160).unwrap();
        let make = |region, offset, log2| {
            let (place, size) = (Place { region, offset }, RingSize::from_log2(log2));
            ShmRing::new(&regions, place, size, CacheLine::B64, memfd(0)).map(|_| ())
        };
        for (region, offset, log2) in [(1, 0, 1), (0, 2, 1), (0, 4096, 1), (0, u32::MAX - 3, 15), (0, 0, 8)] {
            let refused = make(region, offset, log2).unwrap_err();
            assert!(matches!(refused, ShmError::RingOutside { .. }), "{region} {offset} {log2}");
        }
        let cookie = make(0, 0, 1).unwrap_err().to_string();
        assert_eq!(cookie, "wrong cookie 0x0 on the ring at offset 0 of region 0, expected 0x3e31f20");
        assert!(make(0, 4096 - 160, 1).is_ok());
    }
}
