//! Memory of a fake client: regions, and rings where the test wants them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use crate::message::{AddRing, Direction};
use crate::ring::{COOKIE, RingSize};
use crate::shm::CacheLine;

/// Everything a client shares.
#[derive(Debug, Default)]
pub struct FakeMemory {
    /// By index.
    pub regions: Vec<FakeRegion>,
    /// In the order in which they are announced.
    pub rings: Vec<FakeRing>,
}

/// A region.
#[derive(Debug)]
pub struct FakeRegion {
    /// Its file; reading and writing it reads and writes the shared memory.
    pub file: File,
    /// The size that is declared; by default that of the file.
    pub size: u64,
}

/// A ring.
#[derive(Debug)]
pub struct FakeRing {
    /// What is announced.
    pub message: AddRing,
    /// Its eventfd.
    pub eventfd: EventFd,
}

/// A plain layout: one sealed region, S2M rings, M2S rings, then a buffer for every slot.
#[derive(Debug, Clone, Copy)]
pub struct RingPlan {
    /// Rings from client to server.
    pub s2m: u16,
    /// Rings from server to client.
    pub m2s: u16,
    /// log2 of the slots of every ring, 1 to 15.
    pub log2: u8,
    /// Bytes of a buffer.
    pub buffer_size: u32,
}

impl Default for RingPlan {
    /// One ring per direction, 1024 slots, 2048 bytes per buffer: every peer's default.
    fn default() -> Self {
        Self { s2m: 1, m2s: 1, log2: 10, buffer_size: 2048 }
    }
}

impl FakeMemory {
    /// The memory of a copying client, with cache lines of 64 bytes, cookies in place.
    ///
    /// # Errors
    /// The system gives no memory or descriptors.
    ///
    /// # Panics
    /// The plan's `log2` is above 15.
    pub fn plain(plan: RingPlan) -> io::Result<Self> {
        let ring_size = RingSize::from_log2(plan.log2);
        let stride = CacheLine::B64.ring_bytes(ring_size) as u32;
        let rings = u64::from(plan.s2m) + u64::from(plan.m2s);
        let slots = rings * u64::from(ring_size.get());
        let size = u64::from(stride) * rings + slots * u64::from(plan.buffer_size);
        let mut memory = Self { regions: vec![FakeRegion::sealed(size)?], rings: Vec::new() };
        for (direction, count, first) in [(Direction::S2m, plan.s2m, 0), (Direction::M2s, plan.m2s, plan.s2m)] {
            for index in 0..count {
                let offset = stride * u32::from(first + index);
                memory.add_ring(AddRing {
                    direction,
                    index,
                    region: 0,
                    offset,
                    log2_ring_size: plan.log2,
                    private_hdr_size: 0,
                })?;
            }
        }
        Ok(memory)
    }

    /// Adds a ring with an eventfd of its own, and writes its cookie where that is possible.
    ///
    /// # Errors
    /// The system gives no eventfd.
    pub fn add_ring(&mut self, message: AddRing) -> io::Result<()> {
        if let Some(region) = self.regions.get(usize::from(message.region)) {
            // A ring outside of its file has no cookie.
            let _ = region.file.write_all_at(&COOKIE.to_le_bytes(), u64::from(message.offset));
        }
        let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        self.rings.push(FakeRing { message, eventfd });
        Ok(())
    }
}

impl FakeRegion {
    /// A memfd of `size` bytes that cannot shrink or grow.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn sealed(size: u64) -> io::Result<Self> {
        let region = Self::unsealed(size)?;
        fcntl(&region.file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW))?;
        Ok(region)
    }

    /// A memfd of `size` bytes that can be truncated at any time.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn unsealed(size: u64) -> io::Result<Self> {
        let fd: OwnedFd = memfd_create("fake-memif-region", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&fd, i64::try_from(size).map_err(io::Error::other)?)?;
        Ok(Self { file: File::from(fd), size })
    }
}

impl AsFd for FakeRegion {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
