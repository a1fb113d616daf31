//! How long each contest may take, so that a comparison ends in time on any machine.
//!
//! Each [`Section`] has a share of the time. Latency and idle mode measure until theirs is over; the rates have what is left.
//! It is dealt out evenly to the contests that are still to come: who needs less leaves it to the others.

use std::time::Duration;

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

/// The time for all of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    total: Duration,
}

impl Budget {
    /// A budget of `total`.
    pub fn new(total: Duration) -> Self {
        Self { total }
    }

    /// How long the next contest may take, when `spent` of the time is gone and `left` contests are to come, the next one
    /// among them.
    pub fn share(&self, spent: Duration, left: u32) -> Duration {
        self.total.saturating_sub(spent) / left.max(1)
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
    fn what_is_left_is_dealt_out_evenly() {
        let budget = Budget::new(60 * SECOND);
        assert_eq!(budget.share(Duration::ZERO, 30), 2 * SECOND);
        assert_eq!(budget.share(20 * SECOND, 10), 4 * SECOND);
        assert_eq!(budget.share(61 * SECOND, 10), Duration::ZERO);
        assert_eq!((budget.is_spent(59 * SECOND), budget.is_spent(60 * SECOND)), (false, true));
    }
}
