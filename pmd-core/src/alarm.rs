//! An alarm: a file descriptor that becomes readable at a moment, for receive queues whose packets come by the clock.
//!
//! A queue that knows when its next packet is due sets the alarm in [`crate::RxQueue::arm`] and answers
//! [`crate::RxQueue::wake_fd`] with it. System calls are made only there, when a thread is about to sleep.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

/// A timerfd.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// Has it go off once, `after` from now, and not before.
    pub fn set(&self, after: Duration) {
        // Zero would clear it.
        let after = after.clamp(Duration::from_nanos(1), Duration::from_secs(1 << 31));
        // It fails only for flags and times that the kernel does not know.
        let set = self.0.set(Expiration::OneShot(TimeSpec::from_duration(after)), TimerSetTimeFlags::empty());
        debug_assert_eq!(set, Ok(()));
    }

    /// Has it never go off.
    pub fn clear(&self) {
        let cleared = self.0.unset();
        debug_assert_eq!(cleared, Ok(()));
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
#[cfg_attr(miri, allow(unused_imports))]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_readable(alarm: &Alarm, timeout: PollTimeout) -> bool {
        poll(&mut [PollFd::new(alarm.as_fd(), PollFlags::POLLIN)], timeout) == Ok(1)
    }

    #[test]
    #[cfg_attr(miri, ignore = "no timerfd")]
    fn it_goes_off_when_set_and_not_when_cleared_or_set_anew() {
        let alarm = Alarm::new().unwrap();
        assert!(!is_readable(&alarm, PollTimeout::ZERO));
        alarm.set(Duration::ZERO);
        assert!(is_readable(&alarm, PollTimeout::NONE));
        alarm.set(Duration::from_secs(u64::MAX));
        assert!(!is_readable(&alarm, PollTimeout::ZERO));
        alarm.set(Duration::from_millis(1));
        assert!(is_readable(&alarm, PollTimeout::NONE));
        alarm.clear();
        assert!(!is_readable(&alarm, PollTimeout::ZERO));
    }
}
