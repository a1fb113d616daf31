//! The idle policy: when a worker sleeps, and how.
//!
//! 1. Without an `idle_timeout`, or with an `intr_timeout` of 0, a worker spins for ever.
//! 2. Otherwise it spins until no packet has moved for `idle_timeout`; a task that acts on its own keeps it spinning.
//! 3. Then it arms the interrupts of all its lports, announces that it sleeps, and looks once more: packets that came
//!    before the arming would ring no bell, and none rings for what a queue has still to send.
//! 4. It sleeps on the lports' fds and its own, `intr_timeout` long at most. An lport without an fd bounds the sleep to
//!    [`NAP_WITHOUT_FD`].
//! 5. It polls one round, so that what woke it waits no longer than it must, and then disarms; with nothing there it sleeps
//!    again at once.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::activity::Activity;
use super::ports::Ports;
use super::waker::Waker;
use crate::deployment::ThreadSpec;
use crate::lport::RxQueue;

/// Longest sleep of a thread that has an lport without interrupts.
pub const NAP_WITHOUT_FD: Duration = Duration::from_millis(1);

/// When a worker sleeps.
#[derive(Debug)]
pub(crate) struct IdlePolicy {
    timeouts: Option<Timeouts>,
    idle_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Timeouts {
    idle: Duration,
    sleep: Duration,
}

impl IdlePolicy {
    pub(crate) fn new(spec: &ThreadSpec) -> Self {
        let timeouts = spec.idle_timeout.map(|idle| Timeouts { idle, sleep: spec.intr_timeout });
        Self { timeouts: timeouts.filter(|timeouts| !timeouts.sleep.is_zero()), idle_since: None }
    }

    /// Whether the thread ever sleeps.
    pub(crate) fn ever_sleeps(&self) -> bool {
        self.timeouts.is_some()
    }

    /// Whether it is time to sleep. `active`: packets have moved since the last call.
    pub(crate) fn is_due(&mut self, now: Instant, active: bool) -> bool {
        let Some(timeouts) = self.timeouts else { return false };
        if active {
            self.idle_since = None;
            return false;
        }
        now.saturating_duration_since(*self.idle_since.get_or_insert(now)) >= timeouts.idle
    }

    /// Forgets how long the thread has been idle: something came.
    pub(crate) fn reset(&mut self) {
        self.idle_since = None;
    }

    /// Sleeps once, unless there is something to do. Every queue is armed afterwards, and has to be disarmed
    /// ([`Self::get_up`]).
    pub(crate) fn sleep(&self, ports: &mut Ports, waker: &Waker, stop: &AtomicBool, activity: &Activity) {
        let Some(timeouts) = self.timeouts else { return };
        // Every queue is armed, also after one has answered no: all are disarmed alike.
        let mut armed = true;
        for rx in ports.receivers() {
            armed &= rx.arm();
        }
        let ports = RefCell::new(ports);
        let is_busy = |ports: &Ports| ports.has_handed_over() || ports.holds_back();
        let has_work = || !armed || is_busy(&ports.borrow()) || stop.load(Ordering::Relaxed);
        waker.sleep_unless(has_work, |waker| {
            activity.sleeps.add(1);
            let woken = wait(&mut ports.borrow_mut(), waker, timeouts.sleep);
            activity.wakeups.add(u64::from(woken));
        });
    }

    /// Ends what [`Self::sleep`] began, when the first round after it is over.
    pub(crate) fn get_up(&self, ports: &mut Ports) {
        ports.receivers().for_each(RxQueue::disarm);
    }
}

/// Blocks until something comes (`true`) or the time is up.
fn wait(ports: &mut Ports, waker: &Waker, longest: Duration) -> bool {
    let mut bound = longest;
    let mut fds: Vec<_> = waker.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).into_iter().collect();
    for rx in ports.receivers() {
        match rx.wake_fd() {
            Some(fd) => fds.push(PollFd::new(fd, PollFlags::POLLIN)),
            None => bound = bound.min(NAP_WITHOUT_FD),
        }
    }
    let timeout = PollTimeout::try_from(bound).unwrap_or(PollTimeout::MAX);
    // A signal ends the sleep like anything else that comes.
    poll(&mut fds, timeout) != Ok(0)
}
