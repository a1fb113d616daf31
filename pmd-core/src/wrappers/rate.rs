//! So many per second: a bucket of tokens, filled by the clock.
//!
//! A bucket for packets holds what two milliseconds earn, and at least one token: an even rate, as long as somebody asks
//! every millisecond.

use std::time::{Duration, Instant};

/// Tokens are counted in parts, so that nothing is lost between two looks at the clock.
const PARTS: u64 = 1_000_000_000;

/// Largest rate.
pub(super) const RATE_MAX: u64 = 1_000_000_000;

/// A rate and what is left of it at the moment.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u64,
    full: u64,
    parts: u64,
    last: Option<Instant>,
}

impl Rate {
    /// `per_second` packets a second, 1 to [`RATE_MAX`].
    pub(super) fn of_packets(per_second: u64) -> Self {
        Self::new(per_second, PARTS.max(per_second * (PARTS / 500)))
    }

    /// `per_second` lines a second, 1 to [`RATE_MAX`], all of them at once if need be.
    pub(super) fn of_lines(per_second: u64) -> Self {
        Self::new(per_second, per_second * PARTS)
    }

    fn new(per_second: u64, full: u64) -> Self {
        Self { per_second, full, parts: full, last: None }
    }

    /// Tokens there are at `now`.
    pub(super) fn tokens(&mut self, now: Instant) -> usize {
        let last = self.last.replace(now).unwrap_or(now);
        // A second fills every bucket; so the product stays below 2^64.
        let elapsed = now.saturating_duration_since(last).min(Duration::from_secs(1)).as_nanos() as u64;
        self.parts = self.full.min(self.parts + elapsed * self.per_second);
        (self.parts / PARTS) as usize
    }

    /// Takes `n` tokens, which must be there.
    pub(super) fn take(&mut self, n: usize) {
        self.parts = self.parts.saturating_sub(n as u64 * PARTS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_with_time_and_do_not_pile_up() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::of_packets(10);
        assert_eq!(rate.tokens(start), 1);
        rate.take(1);
        assert_eq!([0, 50, 99, 100, 5000].map(|ms| rate.tokens(at(ms))), [0, 0, 0, 1, 1]);
        let mut fast = Rate::of_packets(RATE_MAX);
        fast.take(2_000_000);
        assert_eq!((fast.tokens(start), fast.tokens(at(1)), fast.tokens(at(100_000))), (0, 1_000_000, 2_000_000));
    }

    #[test]
    fn however_often_one_looks_a_second_has_so_many() {
        for step_us in [7, 300, 1000] {
            let start = Instant::now();
            let mut rate = Rate::of_packets(12_345);
            let mut taken = 0;
            for step in 0..=1_000_000 / step_us {
                let tokens = rate.tokens(start + Duration::from_micros(step * step_us));
                rate.take(tokens);
                taken += tokens;
            }
            // A full bucket to begin with.
            assert!((12_340..=12_345 + 25).contains(&taken), "{taken} by steps of {step_us} us");
        }
    }
}
