//! The program's pools, as the driver sees them.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use pmd_core::deployment::PageSize;
use pmd_core::raw::{ForeignPool, ForeignSource, Header};
use pmd_core::{OpenError, Pool};

use super::exported;
use super::text::read;
use crate::abi;

/// The stand-ins for the pools of a device: one for each of the program's.
#[derive(Default)]
pub(super) struct Pools(Vec<(*mut abi::Pool, Pool)>);

impl Pools {
    /// The stand-in for `pool`.
    ///
    /// # Safety
    /// `pool` is one of the request that is being answered.
    pub(super) unsafe fn of(&mut self, pool: *mut abi::Pool) -> Result<Option<Pool>, OpenError> {
        if pool.is_null() {
            return Ok(None);
        }
        if let Some((_, made)) = self.0.iter().find(|(known, _)| *known == pool) {
            return Ok(Some(made.clone()));
        }
        // SAFETY: passed on from the caller.
        let made = unsafe { stand_in(pool)? };
        self.0.push((pool, made.clone()));
        Ok(Some(made))
    }
}

/// # Safety
/// As [`Pools::of`].
unsafe fn stand_in(pool: *mut abi::Pool) -> Result<Pool, OpenError> {
    // SAFETY: passed on from the caller.
    let (known, name) = unsafe { (*pool, read((*pool).name)) };
    let page = match known.page {
        0x20_0000 => PageSize::Huge2M,
        0x4000_0000 => PageSize::Huge1G,
        _ => PageSize::Small,
    };
    let file = match known.file {
        ..0 => None,
        // SAFETY: the pool's own file is open while the pool lives.
        fd => Some(duplicate(unsafe { BorrowedFd::borrow_raw(fd) }, &name)?),
    };
    let base = NonNull::new(known.memory).ok_or_else(|| OpenError(format!("pool `{name}` has no memory")))?;
    let (size, len, data_room) = (known.size as usize, known.memory_len as usize, known.data_room as usize);
    // SAFETY: the pool lives, as the device that it belongs to is being opened.
    let source = unsafe { Source::new(pool) };
    Ok(ForeignPool { name, size, data_room, base, len, page, file, source: Box::new(source) }.stand_in())
}

fn duplicate(file: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, OpenError> {
    file.try_clone_to_owned().map_err(|error| OpenError(format!("the file of pool `{name}` cannot be shared: {error}")))
}

/// A reference to a pool of the program.
struct Source(*mut abi::Pool);

// SAFETY: the program's functions may be called by any thread, also at once.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Source {
    /// # Safety
    /// The pool lives.
    unsafe fn new(pool: *mut abi::Pool) -> Self {
        // SAFETY: passed on from the caller.
        unsafe { (exported().host.pool_ref)(pool) };
        Self(pool)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: the reference that `new` took.
        unsafe { (exported().host.pool_unref)(self.0) };
    }
}

// SAFETY: the program gives mbufs out once, empty, and keeps their memory while one is out.
unsafe impl ForeignSource for Source {
    unsafe fn alloc_bulk(&self, to: NonNull<NonNull<Header>>, n: usize) -> usize {
        // SAFETY: passed on from the caller; the pool lives, since we have a reference to it.
        usize::from(unsafe { (exported().host.alloc_bulk)(self.0, to.as_ptr(), n as u16) })
    }

    fn available(&self) -> usize {
        // SAFETY: as above.
        unsafe { (exported().host.available)(self.0) as usize }
    }
}
