//! How long each contest may take, so that a comparison ends in time on any machine.
//!
//! What is left of the time is dealt out evenly to those that are still to come: who needs less leaves it to the others.

use std::time::Duration;

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

    #[test]
    fn what_is_left_is_dealt_out_evenly() {
        const SECOND: Duration = Duration::from_secs(1);
        let budget = Budget::new(60 * SECOND);
        assert_eq!(budget.share(Duration::ZERO, 30), 2 * SECOND);
        assert_eq!(budget.share(20 * SECOND, 10), 4 * SECOND);
        assert_eq!(budget.share(61 * SECOND, 10), Duration::ZERO);
        assert_eq!((budget.is_spent(59 * SECOND), budget.is_spent(60 * SECOND)), (false, true));
    }
}
