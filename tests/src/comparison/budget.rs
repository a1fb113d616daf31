//! How long each measurement may take, so that a comparison ends in time on any machine.
//!
//! Each [`Section`] has a share of the time. Latency and idle mode measure until theirs is over.
//!
//! What starting and stopping processes costs is not known beforehand. It is learned from the measurements made so far, and
//! what is left of the time is dealt out evenly to those that are still to come.

use std::time::Duration;

/// Shortest and longest time packets are counted. Longer ones would more often be disturbed, and say no more.
const WINDOW: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// What starting, warming up and stopping is taken to cost before the first measurement.
const FIRST_GUESS: Duration = Duration::from_millis(1500);

/// A section of the table that has time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// All rows of packets per second.
    Rates,
    /// Latencies.
    Latency,
    /// Idle mode.
    Idle,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rates, Self::Latency, Self::Idle];

    /// Its share of the time of a run that measures everything, in per cent.
    fn share(self) -> u32 {
        match self {
            Self::Rates => 82,
            Self::Latency => 14,
            Self::Idle => 4,
        }
    }

    /// Its part of `total`, which is the time of everything, or of what `asked` names alone.
    pub fn part(self, total: Duration, asked: Option<&[Self]>) -> Duration {
        let whole = asked.map_or(100, |asked| asked.iter().map(|section| section.share()).sum());
        total * self.share() / whole
    }
}

/// The time for all measurements of rates.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    total: Duration,
    /// Time that was spent on something else than counting, and by how many measurements.
    overhead: (Duration, u32),
}

impl Budget {
    /// A budget of `total`.
    pub fn new(total: Duration) -> Self {
        Self { total, overhead: (Duration::ZERO, 0) }
    }

    /// How long the next measurement counts packets, when `spent` of the time is gone and `left` measurements are to come,
    /// the next one among them.
    pub fn window(&self, spent: Duration, left: u32) -> Duration {
        let (overhead, measurements) = self.overhead;
        let each = if measurements == 0 { FIRST_GUESS } else { overhead / measurements };
        let share = self.total.saturating_sub(spent) / left.max(1);
        share.saturating_sub(each).clamp(WINDOW[0], WINDOW[1])
    }

    /// Learns from a measurement that took `elapsed`, with all of its repetitions, and counted packets for `window`.
    pub fn learn(&mut self, elapsed: Duration, window: Duration) {
        self.overhead.0 += elapsed.saturating_sub(window);
        self.overhead.1 += 1;
    }

    /// Whether the time is over.
    pub fn is_spent(&self, spent: Duration) -> bool {
        spent >= self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sections_have_shares_of_a_whole_run_or_of_what_is_asked_for() {
        let parts = Section::ALL.map(|section| section.part(100 * SECOND, None).as_secs());
        assert_eq!((parts, parts.iter().sum::<u64>()), ([82, 14, 4], 100));
        assert_eq!(Section::Idle.part(90 * SECOND, Some(&[Section::Idle])), 90 * SECOND);
        assert_eq!(Section::Latency.part(90 * SECOND, Some(&[Section::Latency, Section::Idle])), 70 * SECOND);
    }

    #[test]
    fn what_is_left_is_dealt_out_evenly_without_what_starting_costs() {
        let mut budget = Budget::new(60 * SECOND);
        assert_eq!(budget.window(Duration::ZERO, 30), Duration::from_millis(500));
        budget.learn(3 * SECOND, SECOND);
        budget.learn(2 * SECOND, SECOND);
        assert_eq!(budget.window(10 * SECOND, 25), SECOND / 2);
    }

    #[test]
    fn a_window_has_a_shortest_and_a_longest_length() {
        let budget = Budget::new(60 * SECOND);
        assert_eq!(budget.window(59 * SECOND, 100), WINDOW[0]);
        assert_eq!(budget.window(Duration::ZERO, 1), WINDOW[1]);
        assert_eq!((budget.is_spent(59 * SECOND), budget.is_spent(60 * SECOND)), (false, true));
    }
}
