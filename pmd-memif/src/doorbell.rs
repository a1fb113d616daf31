//! Ringing a peer's eventfd without ever waiting for it.
//!
//! Both ends of a memif share one open file for each eventfd, and with it the flag O_NONBLOCK: a peer that clears the flag
//! and fills the counter would have our next write(2) block, in the middle of a burst. No form of write avoids that (there
//! is no RWF_NOWAIT for eventfds, and to look first is a race). But the kernel rings eventfds itself, without waiting, when
//! an asynchronous read has finished:
//!
//! 1. The first ring of the process makes a [`Bell`]: a context for asynchronous reads (io_setup) and an empty file.
//! 2. [`ring`] asks for a read of nothing of that file, to be announced at the eventfd (io_submit, IOCB_FLAG_RESFD). The
//!    read is over before the call returns. An eventfd that is full stays readable: nothing is lost. A file that is no
//!    eventfd is refused.
//! 3. When the context's list of finished reads is full, it is emptied (io_getevents) and the call made again.
//!
//! Where the system gives no such context (built without AIO, a filter of system calls, fs.aio-max-nr used up), the eventfd
//! is set non-blocking again and written to: there a peer that clears the flag in between can still block a worker. A
//! warning says so once.
//!
//! Nobody reads an eventfd of a peer either: the receiver takes the edges that epoll saw (`crate::queue`).
//!
//! This file owns `unsafe`: the three system calls have no safe form.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::socket::set_nonblocking;

/// Finished reads that the context lists before it has to be emptied. The kernel rounds up.
const LISTED: usize = 64;

/// How often the list is emptied for one ring: other threads may fill it again.
const TRIES: u32 = 100;

/// Read (struct iocb's opcode IOCB_CMD_PREAD).
const READ: u16 = 0;

/// Announce the end at an eventfd (IOCB_FLAG_RESFD).
const ANNOUNCE: u32 = 1;

/// The kernel's `struct iocb`. The order of `key` and `rw_flags` depends on the machine's; both are 0.
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

const _: () = assert!(size_of::<Request>() == 64);

/// The kernel's `struct io_event`: what it lists for a finished read, of no interest here.
type Finished = [u64; 4];

/// What rings eventfds: one for the process, never given back.
#[derive(Debug)]
struct Bell {
    context: libc::c_ulong,
    /// A file of no bytes, to read nothing of.
    empty: OwnedFd,
}

static BELL: OnceLock<Option<Bell>> = OnceLock::new();

/// Adds 1 to an eventfd's counter, or leaves it at its limit; `false` when that failed. Never waits, whatever whoever
/// shares the eventfd does to it.
pub(crate) fn ring(eventfd: BorrowedFd<'_>) -> bool {
    match BELL.get_or_init(Bell::or_warn) {
        Some(bell) => bell.ring(eventfd).is_ok(),
        None => write_to(eventfd),
    }
}

/// The second best way, see this file's head.
fn write_to(eventfd: BorrowedFd<'_>) -> bool {
    let written = set_nonblocking(eventfd).and_then(|()| Ok(nix::unistd::write(eventfd, &1_u64.to_ne_bytes())?));
    // A full counter is one that rings already.
    written.is_ok()
}

impl Bell {
    fn or_warn() -> Option<Self> {
        let bell = Self::new();
        if let Err(error) = &bell {
            tracing::warn!(
                "memif: interrupts are written to eventfds, which a hostile peer may block: no asynchronous I/O ({error})"
            );
        }
        bell.ok()
    }

    fn new() -> io::Result<Self> {
        let empty = memfd_create(c"memif doorbell", MFdFlags::MFD_CLOEXEC)?;
        let mut context: libc::c_ulong = 0;
        // SAFETY: io_setup writes the context's number, and keeps no pointer.
        match unsafe { libc::syscall(libc::SYS_io_setup, LISTED, &raw mut context) } {
            0 => Ok(Self { context, empty }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn ring(&self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        let mut done = self.submit(eventfd);
        for _ in 0..TRIES {
            match &done {
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => {}
                _ => break,
            }
            self.empty_list();
            done = self.submit(eventfd);
        }
        done
    }

    fn submit(&self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        // File descriptors that are open are not negative.
        let number = |fd: i32| fd as u32;
        let mut request = Request {
            opcode: READ,
            file: number(self.empty.as_raw_fd()),
            flags: ANNOUNCE,
            eventfd: number(eventfd.as_raw_fd()),
            ..Request::default()
        };
        let mut requests = [&raw mut request];
        // SAFETY: one request, laid out as the kernel has it. It is copied before the call returns, but for its key, which
        // is written back; it reads no byte, so no buffer is needed.
        match unsafe { libc::syscall(libc::SYS_io_submit, self.context, 1_usize, requests.as_mut_ptr()) } {
            1 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Takes finished reads off the context's list, as many as there are now.
    fn empty_list(&self) {
        let mut finished = [Finished::default(); LISTED];
        let mut at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let (least, most) = (0_usize, finished.len());
        // SAFETY: the array has room for `most` entries of 32 bytes; nothing is kept.
        unsafe {
            libc::syscall(libc::SYS_io_getevents, self.context, least, most, finished.as_mut_ptr(), &raw mut at_once)
        };
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;

    /// An eventfd as a hostile peer leaves it: blocking, and full.
    fn full() -> EventFd {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC).unwrap();
        event.write(u64::MAX - 1).unwrap();
        event
    }

    #[test]
    fn every_ring_counts_however_many_there_are() {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
        let rings = 10_000;
        assert!((0..rings).all(|_| ring(event.as_fd())));
        assert_eq!(event.read(), Ok(rings));
        assert!(write_to(event.as_fd()));
        assert_eq!(event.read(), Ok(1));
    }

    #[test]
    fn a_full_eventfd_that_would_block_does_not() {
        let (done, finished) = channel();
        let ringer = std::thread::spawn(move || {
            let event = full();
            let rung = ring(event.as_fd()) && ring(event.as_fd());
            done.send(rung && event.read() == Ok(u64::MAX)).unwrap();
        });
        assert_eq!(finished.recv_timeout(Duration::from_secs(30)), Ok(true));
        ringer.join().unwrap();
    }

    #[test]
    fn what_is_no_eventfd_is_refused() {
        let (_reader, writer) = nix::unistd::pipe().unwrap();
        assert!(!ring(writer.as_fd()));
    }

    #[test]
    fn threads_ring_at_the_same_time() {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!((0..2000).all(|_| ring(event.as_fd()))));
            }
        });
        assert_eq!(event.read(), Ok(8000));
    }
}
