//! A peer that truncates its file under our mapping: containing SIGBUS.
//!
//! Touching a page that a shared file no longer has raises SIGBUS, which would end the process. Sealed files cannot shrink;
//! where unsealed ones are accepted (`seals=warn`), their mappings are watched:
//!
//! 1. [`Watch::new`] enters a mapping into a table of fixed size, and installs the handler with the first one.
//! 2. When a page is gone, the handler finds the mapping in the table, lays zeroed private memory over all of it, marks it
//!    as lost and rings the control thread. The interrupted access goes on and reads zeros.
//! 3. The control thread finds the links whose memory is lost and ends them, with that reason.
//! 4. A SIGBUS elsewhere goes to whoever handled it before us.
//!
//! This file owns `unsafe`: the handler runs inside an interrupted thread, so it touches nothing but atomics, and makes no
//! call but mmap and write, which may be made there.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Most mappings that can be watched at a time: every one of more unsealed regions is refused.
const WATCHED_MAX: usize = 4096;

/// A row of the table. Written by whoever holds the [`Watch`]; `lost` also by the handler.
struct Row {
    taken: AtomicBool,
    /// First address; 0 while the row means nothing.
    base: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
}

static TABLE: [Row; WATCHED_MAX] = [const {
    Row {
        taken: AtomicBool::new(false),
        base: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; WATCHED_MAX];

/// The eventfd to ring when a mapping is lost; -1 for none.
static ALARM: AtomicI32 = AtomicI32::new(-1);

/// What handled SIGBUS before us.
static BEFORE: OnceLock<SigAction> = OnceLock::new();

/// A mapping that may lose its file. Dropped before the mapping is.
#[derive(Debug)]
pub(crate) struct Watch(usize);

impl Watch {
    /// Watches `len` bytes at `base`, a mapping of pages.
    ///
    /// # Errors
    /// When the table is full, or the handler cannot be installed.
    pub(crate) fn new(base: NonNull<u8>, len: usize) -> io::Result<Self> {
        install()?;
        let free = |row: &Row| row.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let full =
            || io::Error::other(format!("{WATCHED_MAX} unsealed regions are mapped already, no more can be watched"));
        let index = TABLE.iter().position(free).ok_or_else(full)?;
        let row = &TABLE[index];
        row.lost.store(false, Ordering::Relaxed);
        row.len.store(len, Ordering::Relaxed);
        row.base.store(base.as_ptr() as usize, Ordering::Release);
        Ok(Self(index))
    }

    /// Whether the file has lost a page that was touched: what is mapped now is private and zero.
    pub(crate) fn is_lost(&self) -> bool {
        TABLE[self.0].lost.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let row = &TABLE[self.0];
        row.base.store(0, Ordering::Release);
        row.taken.store(false, Ordering::Release);
    }
}

/// Says whom to ring; `None` for nobody. The fd stays open until then.
pub(crate) fn set_alarm(event: Option<BorrowedFd<'_>>) {
    ALARM.store(event.map_or(-1, |event| event.as_raw_fd()), Ordering::Release);
}

fn install() -> io::Result<()> {
    static INSTALLED: std::sync::Mutex<bool> = std::sync::Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*installed {
        let action = SigAction::new(SigHandler::SigAction(on_sigbus), SaFlags::SA_SIGINFO, SigSet::empty());
        // SAFETY: the handler keeps to what may be done in one, as the head of this file says.
        let before = unsafe { sigaction(Signal::SIGBUS, &action) }?;
        let _ = BEFORE.set(before);
        *installed = true;
    }
    Ok(())
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid siginfo, and for SIGBUS its address is set.
    let address = unsafe { (*info).si_addr() } as usize;
    let hit = TABLE.iter().find(|row| {
        let base = row.base.load(Ordering::Acquire);
        base != 0 && address.wrapping_sub(base) < row.len.load(Ordering::Relaxed)
    });
    match hit {
        Some(row) if cover(row) => ring(ALARM.load(Ordering::Acquire)),
        _ => pass_on(signal, info, context),
    }
}

/// Lays zeroed private memory over a lost mapping.
fn cover(row: &Row) -> bool {
    let (base, len) = (row.base.load(Ordering::Acquire), row.len.load(Ordering::Relaxed));
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the range is one whole mapping of ours: its Watch is dropped before it is unmapped, and the thread that was
    // interrupted is using it. Replacing it atomically leaves every access to it valid.
    let covered = unsafe { libc::mmap(base as *mut libc::c_void, len, protection, flags, -1, 0) };
    row.lost.store(true, Ordering::Release);
    covered as usize == base
}

fn ring(alarm: RawFd) {
    if alarm >= 0 {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: 8 readable bytes; write may be called in a handler, and an fd that is gone only makes it fail.
        unsafe { libc::write(alarm, one.as_ptr().cast(), one.len()) };
    }
}

/// A SIGBUS that is not ours: to the handler before us, or to its default, which ends the process.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    match BEFORE.get().map(SigAction::handler) {
        Some(SigHandler::SigAction(handler)) => handler(signal, info, context),
        Some(SigHandler::Handler(handler)) => handler(signal),
        _ => {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: back to the default; the access that faulted is made again and ends the process as it should.
            let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
        }
    }
}
