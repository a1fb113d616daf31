//! Shared memory: maps regions and reaches into them. Nobody else touches memory that a peer can write.
//!
//! ```text
//!   Regions (Arc)                       ShmRing
//!   [ base, len ] [ base, len ] ...     header --> cookie, flags, head | tail | descriptors
//!        ^                                 |
//!        +---------------------------------+ each ring keeps the regions alive
//! ```
//!
//! 1. [`Regions::map`] maps each fd, after looking once more that the file is as large as it was said to be.
//! 2. Whose memory it is puts a cookie where each ring begins ([`Regions::put_cookie`]). [`ShmRing::new`] checks that a ring lies
//!    inside its region, aligned, with the right cookie.
//! 3. A queue works on its rings through [`crate::ring::RingMemory`]; every place is checked against the table before it is touched.
//! 4. Where packets are lent, a [`ShmLender`] says where they lie. Buffers of ours can be a pool of mbufs ([`over_pool`]).
//! 5. The last ring, lender or pool to go unmaps the regions: never under a burst, since the burst's ring holds them.
//!
//! No reference to shared memory ever exists, but for the data of such mbufs. Index words are atomics, made for one access inside
//! one accessor; the rest is volatile (outside every Rust allocation, which volatile access is for) or goes through `copy`.

#![allow(unsafe_code)]

mod lender;
mod pool;
mod ring;
#[cfg(all(test, not(miri)))]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use pmd_core::pool::{FileId, Span};

pub(crate) use self::lender::ShmLender;
pub(crate) use self::pool::over_pool;
use self::ring::DESCRIPTOR;
pub(crate) use self::ring::{RingWords, ShmRing};
use crate::copy::{Kernel, access};
use crate::ring::{BadPlace, COOKIE, Place, RingSize};
use crate::sigbus::Watch;

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

    /// Marks a place of ours as the beginning of a ring, for [`ShmRing::new`] and the peer.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn put_cookie(&self, place: Place) -> Result<(), ShmError> {
        let Place { region, offset } = place;
        let at = self.address(place, size_of_val(&COOKIE)).map_err(|_| ShmError::RingOutside { region, offset })?;
        // SAFETY: these bytes lie in a region, as just checked, which is mapped while `self` lives.
        unsafe { access::store(at.as_ptr(), COOKIE.to_le()) };
        Ok(())
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
        // Before anybody touches it. A wish, not a need: most kernels give shared memory huge pages only where they are told to.
        drop(map.advise(Advice::HugePage));
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
