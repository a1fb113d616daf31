//! What a live link consists of, for those who watch it: regions, and rings with their index words.
//!
//! 1. [`crate::link::Link`] makes the view from what the handshake agreed on, before the queues take the rings.
//! 2. Any thread may read it while it holds the link; the queues do not know.
//! 3. It goes with the link, when the device lets go of it: no memory stays mapped for its sake.
//!
//! The view reads three words per ring and believes none of them: they are shown, not used.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::fstat;
use nix::sys::statfs::{HUGETLBFS_MAGIC, TMPFS_MAGIC, fstatfs};

use crate::control::Region;
use crate::message::Direction;
use crate::ring::{Place, RING_MASK_INT, RingSize};
use crate::shm::RingWords;

/// A link's memory.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) regions: Vec<RegionView>,
    pub(crate) rings: Vec<RingView>,
}

/// A region: what its file was when the link came up.
#[derive(Debug)]
pub(crate) struct RegionView {
    /// Bytes its owner declared.
    pub(crate) size: u64,
    /// `memfd`, `shm` (a named file in shared memory), `hugetlb` or `file`.
    pub(crate) kind: &'static str,
    /// The seals it had: `seal`, `shrink`, `grow`, `write`, `future-write`.
    pub(crate) seals: Vec<&'static str>,
}

/// A ring.
#[derive(Debug)]
pub(crate) struct RingView {
    pub(crate) direction: Direction,
    pub(crate) index: u16,
    pub(crate) place: Place,
    pub(crate) size: RingSize,
    /// Bytes that each buffer of the ring holds; only who made the memory knows.
    pub(crate) buffer_size: Option<u32>,
    pub(crate) words: RingWords,
}

impl RingView {
    /// Whether the receiver of its packets asks for interrupts.
    pub(crate) fn interrupts(&self) -> bool {
        self.words.flags() & RING_MASK_INT == 0
    }
}

impl RegionView {
    /// Looks at a region's file. What the system does not say is left out.
    pub(crate) fn of(region: &Region) -> Self {
        Self { size: region.size, kind: kind(&region.fd), seals: seals(&region.fd) }
    }
}

fn kind(fd: &OwnedFd) -> &'static str {
    match fstatfs(fd).map(|fs| fs.filesystem_type()) {
        Ok(HUGETLBFS_MAGIC) => "hugetlb",
        // A memfd never had a name in any directory.
        Ok(TMPFS_MAGIC) if fstat(fd).is_ok_and(|status| status.st_nlink == 0) => "memfd",
        Ok(TMPFS_MAGIC) => "shm",
        _ => "file",
    }
}

fn seals(fd: &OwnedFd) -> Vec<&'static str> {
    const NAMES: [(SealFlag, &str); 5] = [
        (SealFlag::F_SEAL_SEAL, "seal"),
        (SealFlag::F_SEAL_SHRINK, "shrink"),
        (SealFlag::F_SEAL_GROW, "grow"),
        (SealFlag::F_SEAL_WRITE, "write"),
        (SealFlag::from_bits_retain(nix::libc::F_SEAL_FUTURE_WRITE), "future-write"),
    ];
    let set = fcntl(fd.as_fd(), FcntlArg::F_GET_SEALS).map_or(SealFlag::empty(), SealFlag::from_bits_retain);
    NAMES.iter().filter(|(seal, _)| set.contains(*seal)).map(|(_, name)| *name).collect()
}

#[cfg(all(test, not(miri)))]
mod tests {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use pmd_core::deployment::PageSize;
    use pmd_core::pool::sealed_memfd;

    use super::*;

    #[test]
    fn a_region_is_told_by_its_file() {
        let view = |fd| RegionView::of(&Region { fd, size: 4096 });
        let sealed = view(sealed_memfd(c"view", 4096, PageSize::Small).unwrap());
        assert_eq!((sealed.size, sealed.kind, sealed.seals), (4096, "memfd", vec!["seal", "shrink", "grow"]));
        let open = view(memfd_create(c"view", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap());
        assert_eq!((open.kind, open.seals), ("memfd", vec![]));
        let disk = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(view(disk.into()).kind, "file");
    }
}
