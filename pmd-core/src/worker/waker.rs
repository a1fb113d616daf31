//! Waking a worker that sleeps.
//!
//! 1. A worker that may sleep announces it ([`Waker::fall_asleep`]), looks once more for work, and only then sleeps on
//!    [`Waker::fd`].
//! 2. Whoever leaves work for it calls [`Waker::wake`] afterwards.
//!
//! Announcement and work are in two places, each side writes one and then reads the other; the sequentially consistent
//! fence between the two steps on both sides makes it impossible that each misses the other. A worker that never sleeps
//! has no fd, and waking it costs one load of a constant.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// One worker's alarm clock: rung by any thread, slept on by the worker.
#[derive(Debug)]
pub(crate) struct Waker {
    /// Written by the worker when it goes to sleep, cleared by the first thread that wakes it.
    asleep: AtomicBool,
    /// `None` for a worker that never sleeps.
    event: Option<EventFd>,
}

impl Waker {
    /// For a worker that sleeps at times, or never.
    pub(crate) fn new(may_sleep: bool) -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let event = may_sleep.then(|| EventFd::from_flags(flags)).transpose()?;
        Ok(Self { asleep: AtomicBool::new(false), event })
    }

    /// Wakes the worker if it sleeps or is about to. The work must have been published before.
    #[inline]
    pub(crate) fn wake(&self) {
        if let Some(event) = &self.event {
            fence(Ordering::SeqCst);
            if self.asleep.load(Ordering::Relaxed) {
                self.ring(event);
            }
        }
    }

    #[cold]
    fn ring(&self, event: &EventFd) {
        if self.asleep.swap(false, Ordering::Relaxed) {
            // Fails only when the counter is at its limit: then the fd is readable already.
            let _ = event.write(1);
        }
    }

    /// Announces sleep; the caller looks for work once more before it sleeps.
    pub(crate) fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Ends the sleep.
    pub(crate) fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        if let Some(event) = &self.event {
            // Nothing to read when nobody rang.
            let _ = event.read();
        }
    }

    /// What becomes readable; `None` for a worker that never sleeps.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.event.as_ref().map(AsFd::as_fd)
    }
}
