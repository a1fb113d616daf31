//! When a client tries again (statement 32).

use std::time::Duration;

/// Pauses between attempts: 50 ms, doubling to 1 s.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    /// The pause after one more failure.
    pub(super) fn after_failure(&mut self) -> Duration {
        let pause = Self::FIRST * (1 << self.failures.min(5));
        self.failures += 1;
        pause.min(Self::LONGEST)
    }

    /// The pause after a link that lasted so long. None if it was of use; a link that is lost as soon as it is made
    /// counts as a failure, else two peers could spin.
    pub(super) fn after_link(&mut self, lasted: Duration) -> Duration {
        if lasted < Self::LONGEST {
            return self.after_failure();
        }
        self.reset();
        Duration::ZERO
    }

    /// Forgets all failures: something has changed.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s32_pauses_double_to_a_second() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.after_failure().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
    }

    #[test]
    fn s32_a_lasting_link_is_retried_at_once_and_a_short_one_is_not() {
        let mut backoff = Backoff::default();
        backoff.after_failure();
        assert_eq!(backoff.after_link(Duration::from_millis(10)), Duration::from_millis(100));
        assert_eq!(backoff.after_link(Duration::from_secs(5)), Duration::ZERO);
        assert_eq!(backoff.after_failure(), Duration::from_millis(50));
    }
}
