//! When each packet of a trial is to be sent: an open loop.
//!
//! The moment of a packet follows from its number alone, never from what became of the packets before it. A generator that
//! was kept from running sends late what was due; a latency counts from the intended moment, so the wait is in it, as it
//! would be for a user (no coordinated omission).

use std::time::{Duration, Instant};

/// Packets at equal distances, from a start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    start: Instant,
    /// Packets per second.
    rate: f64,
    total: u64,
}

impl Schedule {
    /// `rate` packets per second for `duration`; at least one.
    pub(super) fn new(start: Instant, rate: f64, duration: Duration) -> Self {
        let total = (rate * duration.as_secs_f64()).round().max(1.0) as u64;
        Self { start, rate, total }
    }

    /// Packets of the whole trial.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Packets whose moment has come at `now`.
    #[inline]
    pub(super) fn due(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_secs_f64();
        ((passed * self.rate) as u64 + 1).min(self.total)
    }

    /// The moment of packet `number`, from 0.
    #[inline]
    pub(super) fn moment(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos((number as f64 * 1e9 / self.rate) as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_packet_is_due_at_once_and_none_beyond_the_last() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 1000.0, Duration::from_millis(500));
        let due = |ms| schedule.due(start + Duration::from_millis(ms));
        assert_eq!((schedule.total(), due(0), due(10), due(499), due(60_000)), (500, 1, 11, 500, 500));
        assert_eq!(schedule.due(start - Duration::from_millis(1)), 1);
        assert_eq!(schedule.moment(250), start + Duration::from_millis(250));
    }

    #[test]
    fn a_trial_has_a_packet_however_short_it_is() {
        assert_eq!(Schedule::new(Instant::now(), 1.0, Duration::from_millis(1)).total(), 1);
    }

    proptest! {
        #[test]
        fn a_packet_is_due_from_its_moment_on(rate in 1.0..1e8_f64, number in 0..1_000_000_u64) {
            let start = Instant::now();
            let schedule = Schedule::new(start, rate, Duration::from_secs(1_000_000));
            let moment = schedule.moment(number);
            // A nanosecond is all that rounding may move.
            let near = Duration::from_nanos(2 + (number as f64 / rate) as u64);
            prop_assert!(schedule.due(moment + near) > number);
            let before = moment.checked_sub(near).unwrap_or(start);
            prop_assert!(number == 0 || schedule.due(before) <= number + 1);
        }
    }
}
