//! Waking a worker that sleeps.
//!
//! 1. A worker that may sleep announces it, looks once more for work, and only then sleeps on [`Waker::fd`]
//!    ([`Waker::sleep_unless`]).
//! 2. Whoever leaves work for it calls [`Waker::wake`] afterwards.
//!
//! Announcement and work are in two places, each side writes one and then reads the other; the sequentially consistent
//! fence between the two steps on both sides makes it impossible that each misses the other. A worker that never sleeps
//! has no fd, and waking it costs one load of a constant.

use std::os::fd::BorrowedFd;

use super::bell::Bell;
use crate::sync::{AtomicBool, Ordering, fence};

/// One worker's alarm clock: rung by any thread, slept on by the worker.
#[derive(Debug)]
pub(crate) struct Waker {
    /// Written by the worker when it goes to sleep, cleared by the first thread that wakes it.
    asleep: AtomicBool,
    /// `None` for a worker that never sleeps.
    bell: Option<Bell>,
}

impl Waker {
    /// For a worker that sleeps at times, or never.
    pub(crate) fn new(may_sleep: bool) -> std::io::Result<Self> {
        let bell = may_sleep.then(Bell::new).transpose()?;
        Ok(Self { asleep: AtomicBool::new(false), bell })
    }

    /// Wakes the worker if it sleeps or is about to. The work must have been published before.
    #[inline]
    pub(crate) fn wake(&self) {
        if let Some(bell) = &self.bell {
            fence(Ordering::SeqCst);
            if self.asleep.load(Ordering::Relaxed) {
                self.ring(bell);
            }
        }
    }

    #[cold]
    fn ring(&self, bell: &Bell) {
        if self.asleep.swap(false, Ordering::Relaxed) {
            bell.ring();
        }
    }

    /// Announces sleep, looks once more whether there is work, sleeps by `sleep` if there is none, and gets up.
    pub(crate) fn sleep_unless(&self, has_work: impl FnOnce() -> bool, sleep: impl FnOnce(&Self)) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !has_work() {
            sleep(self);
        }
        self.asleep.store(false, Ordering::Relaxed);
        if let Some(bell) = &self.bell {
            bell.silence();
        }
    }

    /// What becomes readable; `None` for a worker that never sleeps.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.bell.as_ref().map(Bell::fd)
    }

    /// What a model sleeps by.
    #[cfg(all(test, loom))]
    pub(super) fn wait(&self) {
        self.bell.as_ref().expect("it may sleep").wait();
    }
}
