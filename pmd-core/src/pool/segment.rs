//! Memory segments: what pools lie on.
//!
//! A segment is private anonymous memory, or a sealed memfd that a peer may be given (zero-copy). Huge pages are taken
//! when asked for and there; otherwise the next smaller size, with a warning that names both. Ordinary private memory is
//! offered to the kernel for transparent huge pages. Pages are touched when first used, so they lie on the NUMA node of
//! the thread that uses them.
//!
//! Under miri, which has no mmap of files, every segment is heap memory.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use crate::deployment::PageSize;

/// A run of zeroed memory, unmapped when dropped.
#[derive(Debug)]
pub struct Segment {
    base: NonNull<u8>,
    /// What is to be unmapped; `None` for memory of somebody else.
    _memory: Option<Memory>,
    len: usize,
    page: PageSize,
    file: Option<OwnedFd>,
    id: Option<FileId>,
}

impl Segment {
    /// Private memory of at least `len` bytes.
    ///
    /// # Errors
    /// What the system says when there is no memory.
    pub fn private(len: usize, page: PageSize) -> io::Result<Self> {
        largest_page(page, |page| {
            let len = round_up(len, page);
            Ok(Self::new(Memory::anonymous(len, page)?, len, page, None))
        })
    }

    /// A memfd of at least `len` bytes that cannot be shrunk or grown any more, mapped here.
    ///
    /// # Errors
    /// What the system says when there is no memory.
    pub fn shareable(len: usize, page: PageSize) -> io::Result<Self> {
        largest_page(page, |page| {
            let len = round_up(len, page);
            let file = sealed_memfd(c"pmd pool", len, page)?;
            Ok(Self::new(Memory::of_file(file.as_fd(), len)?, len, page, Some(file)))
        })
    }

    fn new(memory: Memory, len: usize, page: PageSize, file: Option<OwnedFd>) -> Self {
        let base = memory.base();
        Self { _memory: Some(memory), ..Self::borrowed(base, len, page, file) }
    }

    /// Memory that somebody else has mapped and unmaps.
    pub(super) fn borrowed(base: NonNull<u8>, len: usize, page: PageSize, file: Option<OwnedFd>) -> Self {
        // A file that does not say which it is, is like no other.
        let id = file.as_ref().and_then(|file| FileId::of(file.as_fd()).ok());
        Self { base, _memory: None, len, page, file, id }
    }

    /// Its first byte.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Where the data of an mbuf begins, in bytes from the start of the segment; `None` when it does not lie in it. Not for
    /// empty data. For drivers that hand the memory itself to a device or a peer.
    #[inline(always)]
    pub fn offset_of(&self, data: &[u8]) -> Option<usize> {
        self.span().offset_of(data)
    }

    /// Where it lies.
    #[inline(always)]
    pub fn span(&self) -> Span {
        Span::new(self.base, self.len)
    }

    /// Its size in bytes: what was asked for, rounded up to pages.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes: never.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The page size it really has.
    pub fn page(&self) -> PageSize {
        self.page
    }

    /// The file behind a shareable segment.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Which file that is.
    pub(super) fn file_id(&self) -> Option<FileId> {
        self.id
    }
}

/// Which file a descriptor stands for: equal for all descriptors of it, here or in another process, while one is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file behind `file`.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        let status = nix::sys::stat::fstat(file)?;
        Ok(Self { device: status.st_dev, inode: status.st_ino })
    }
}

/// Where a segment lies: by value, so that a loop over packets keeps it in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: usize,
    len: usize,
}

impl Span {
    /// Of `len` bytes at `start`, which somebody has mapped.
    pub fn new(start: NonNull<u8>, len: usize) -> Self {
        Self { start: start.as_ptr() as usize, len }
    }

    /// As [`Segment::offset_of`].
    #[inline(always)]
    pub fn offset_of(self, data: &[u8]) -> Option<usize> {
        let offset = (data.as_ptr() as usize).wrapping_sub(self.start);
        // Mappings do not overlap, and no buffer reaches beyond its own: what begins here ends here.
        debug_assert!(offset >= self.len || data.len() <= self.len - offset);
        (offset < self.len).then_some(offset)
    }
}

/// Tries `page`, then each smaller size.
fn largest_page(page: PageSize, make: impl Fn(PageSize) -> io::Result<Segment>) -> io::Result<Segment> {
    let sizes = [PageSize::Huge1G, PageSize::Huge2M, PageSize::Small];
    let mut result = Err(io::ErrorKind::OutOfMemory.into());
    for size in sizes.into_iter().skip_while(|size| *size != page) {
        result = make(size);
        match &result {
            Ok(_) if size != page => tracing::warn!("no {page} pages to be had: using {size} pages instead"),
            Err(error) if size != PageSize::Small => tracing::debug!("{size} pages: {error}"),
            _ => {}
        }
        if result.is_ok() {
            break;
        }
    }
    result
}

fn round_up(len: usize, page: PageSize) -> usize {
    let page = match page {
        PageSize::Small => 4 << 10,
        PageSize::Huge2M => 2 << 20,
        PageSize::Huge1G => 1 << 30,
    };
    len.next_multiple_of(page)
}

/// A memory file of `len` bytes, zeroed, that can be neither shrunk nor grown: safe to map for whoever it is sent to.
///
/// # Errors
/// What the system says when there is no such memory; huge pages want a multiple of their size.
pub fn sealed_memfd(name: &std::ffi::CStr, len: usize, page: PageSize) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    let huge = match page {
        PageSize::Small => MFdFlags::empty(),
        PageSize::Huge2M => MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB,
        PageSize::Huge1G => MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_1GB,
    };
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | huge)?;
    nix::unistd::ftruncate(&file, len as i64)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

/// Asks for huge pages under a mapping that nobody has touched yet. A wish, not a need: kernels without transparent huge pages
/// refuse it, and for shared memory most give them only where they are told to.
#[cfg(not(miri))]
fn wish_for_huge_pages(map: &memmap2::MmapRaw) {
    if map.len() >= 2 << 20 {
        drop(map.advise(memmap2::Advice::HugePage));
    }
}

#[cfg(not(miri))]
#[derive(Debug)]
struct Memory(memmap2::MmapRaw);

#[cfg(not(miri))]
impl Memory {
    fn anonymous(len: usize, page: PageSize) -> io::Result<Self> {
        let huge = match page {
            PageSize::Small => None,
            PageSize::Huge2M => Some(21),
            PageSize::Huge1G => Some(30),
        };
        let mut options = memmap2::MmapOptions::new();
        options.len(len);
        if huge.is_some() {
            options.huge(huge);
        }
        let map = memmap2::MmapRaw::from(options.map_anon()?);
        if huge.is_none() {
            wish_for_huge_pages(&map);
        }
        Ok(Self(map))
    }

    fn of_file(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let map = memmap2::MmapOptions::new().len(len).map_raw(&file)?;
        wish_for_huge_pages(&map);
        Ok(Self(map))
    }

    fn base(&self) -> NonNull<u8> {
        NonNull::new(self.0.as_mut_ptr()).expect("a mapping is never at address 0")
    }
}

#[cfg(miri)]
#[derive(Debug)]
struct Memory {
    base: NonNull<u8>,
    layout: std::alloc::Layout,
}

#[cfg(miri)]
impl Memory {
    fn anonymous(len: usize, _page: PageSize) -> io::Result<Self> {
        let layout = std::alloc::Layout::from_size_align(len, 4096).map_err(io::Error::other)?;
        // SAFETY: the layout has a size: segments are at least one page.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        NonNull::new(base).map(|base| Self { base, layout }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn of_file(_file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::anonymous(len, PageSize::Small)
    }

    fn base(&self) -> NonNull<u8> {
        self.base
    }
}

#[cfg(miri)]
impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "miri has no memfd")]
    fn a_shareable_segment_is_a_file_that_keeps_its_size() {
        let segment = Segment::shareable(5000, PageSize::Small).unwrap();
        assert_eq!(segment.len(), 8192);
        let file = std::fs::File::from(segment.file().unwrap().try_clone_to_owned().unwrap());
        assert_eq!(file.metadata().unwrap().len(), 8192);
        assert!(file.set_len(4096).is_err() && file.set_len(12288).is_err(), "sealed");
    }

    #[test]
    #[cfg_attr(miri, ignore = "miri has no huge pages")]
    fn huge_pages_that_are_not_there_fall_back() {
        let segment = Segment::private(4096, PageSize::Huge1G).unwrap();
        assert!(segment.len() >= 4096 && segment.len().is_multiple_of(4096));
    }
}
