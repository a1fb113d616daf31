//! The trials made so far, and what they say about a load: RFC 9971's classification.
//!
//! A trial is good when it lost no more than the goal allows, and long when it lasted as long as the goal wants. Long ones
//! count by their time. Short ones cannot show that a load is good, but bad ones beyond what the exceed ratio would
//! forgive count as bad time. The load is a lower bound when even if all time still missing up to the sum were bad the
//! bad share would be within the exceed ratio; an upper bound when even if it were good it would not.

use std::collections::BTreeMap;

use super::{Load, Phase, Trial};

/// What sums of seconds may be off by.
const ROUNDING: f64 = 1e-9;

/// All trials, by the load that was asked for.
#[derive(Debug, Default)]
pub(super) struct Trials {
    by_load: BTreeMap<Load, Vec<Trial>>,
}

/// What a load is for a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It meets the goal.
    Lower,
    /// It does not.
    Upper,
    /// Its trials do not tell yet.
    Undecided,
}

/// Time in seconds, by kind of trial.
#[derive(Debug, Default)]
struct Sums {
    good_long: f64,
    bad_long: f64,
    good_short: f64,
    bad_short: f64,
}

impl Trials {
    pub(super) fn add(&mut self, trial: Trial, load: Load) {
        self.by_load.entry(load).or_default().push(trial);
    }

    pub(super) fn count(&self) -> usize {
        self.by_load.values().map(Vec::len).sum()
    }

    pub(super) fn seconds(&self) -> f64 {
        self.by_load.values().flatten().map(|trial| trial.seconds).sum()
    }

    /// What the trials at `load` say.
    pub(super) fn verdict(&self, load: Load, phase: &Phase) -> Verdict {
        self.by_load.get(&load).map_or(Verdict::Undecided, |trials| verdict(trials, phase))
    }

    /// Every load that was tried, ascending, with its verdict.
    pub(super) fn verdicts(&self, phase: &Phase) -> impl DoubleEndedIterator<Item = (Load, Verdict)> {
        self.by_load.iter().map(|(load, trials)| (*load, verdict(trials, phase)))
    }

    /// Conditional throughput at `load`: what arrived in the worst trial that the exceed ratio does not forgive.
    pub(super) fn throughput(&self, load: Load, phase: &Phase) -> f64 {
        let trials = self.by_load.get(&load).map_or(&[][..], Vec::as_slice);
        let mut long: Vec<_> = trials.iter().filter(|trial| is_long(trial, phase)).collect();
        if long.is_empty() {
            // An answer that was cut short rests on the short trials of an earlier phase.
            long = trials.iter().collect();
        }
        long.sort_by(|a, b| a.loss_ratio.total_cmp(&b.loss_ratio));
        let whole: f64 = long.iter().map(|trial| trial.seconds).sum();
        let mut left = whole * (1.0 - phase.exceed_ratio);
        let mut loss_ratio = 0.0;
        for trial in long {
            loss_ratio = trial.loss_ratio;
            left -= trial.seconds;
            if left <= 1e-9 {
                break;
            }
        }
        load as f64 * (1.0 - loss_ratio)
    }
}

/// A hair of tolerance: a trial of the time that was asked for is long.
fn is_long(trial: &Trial, phase: &Phase) -> bool {
    trial.seconds >= phase.trial_s * 0.99
}

fn verdict(trials: &[Trial], phase: &Phase) -> Verdict {
    let mut sums = Sums::default();
    for trial in trials {
        let sum = match (trial.loss_ratio <= phase.loss_ratio, is_long(trial, phase)) {
            (true, true) => &mut sums.good_long,
            (false, true) => &mut sums.bad_long,
            (true, false) => &mut sums.good_short,
            (false, false) => &mut sums.bad_short,
        };
        *sum += trial.seconds;
    }
    let Sums { good_long, bad_long, good_short, bad_short } = sums;
    let forgiven = good_short * phase.exceed_ratio / (1.0 - phase.exceed_ratio);
    let bad = bad_long + (bad_short - forgiven).max(0.0);
    let whole = (good_long + bad).max(phase.sum_s);
    let missing = (whole - good_long - bad).max(0.0);
    if (bad + missing) / whole <= phase.exceed_ratio + ROUNDING {
        Verdict::Lower
    } else if bad / whole > phase.exceed_ratio + ROUNDING {
        Verdict::Upper
    } else {
        Verdict::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASE: Phase = Phase { loss_ratio: 0.01, exceed_ratio: 0.5, trial_s: 1.0, sum_s: 4.0, width: 0.01 };

    /// The verdict on trials given as (seconds, lost share).
    fn of(trials: &[(f64, f64)], phase: &Phase) -> Verdict {
        let trial = |&(seconds, loss_ratio): &(f64, f64)| Trial { load: 100, seconds, loss_ratio };
        verdict(&trials.iter().map(trial).collect::<Vec<_>>(), phase)
    }

    #[test]
    fn half_of_the_time_decides_when_half_may_be_bad() {
        let (good, bad) = ((1.0, 0.0), (1.0, 0.5));
        assert_eq!(of(&[good], &PHASE), Verdict::Undecided);
        assert_eq!(of(&[good, good], &PHASE), Verdict::Lower);
        assert_eq!(of(&[bad, good, good], &PHASE), Verdict::Lower);
        assert_eq!(of(&[bad, bad, good], &PHASE), Verdict::Undecided);
        assert_eq!(of(&[bad, bad, bad, good], &PHASE), Verdict::Upper);
        assert_eq!(of(&[], &PHASE), Verdict::Undecided);
    }

    #[test]
    fn short_trials_can_condemn_a_load_but_not_recommend_it() {
        let (good, bad) = ((0.5, 0.0), (0.5, 0.5));
        assert_eq!(of(&[good; 20], &PHASE), Verdict::Undecided);
        assert_eq!(of(&[bad; 5], &PHASE), Verdict::Upper);
        assert_eq!(of(&[good, good, good, bad, bad, bad, bad, bad], &PHASE), Verdict::Undecided);
    }

    #[test]
    fn without_an_exceed_ratio_one_bad_trial_is_enough_and_all_time_must_be_good() {
        let strict = Phase { exceed_ratio: 0.0, ..PHASE };
        assert_eq!(of(&[(1.0, 0.02)], &strict), Verdict::Upper);
        assert_eq!(of(&[(1.0, 0.01); 3], &strict), Verdict::Undecided);
        assert_eq!(of(&[(1.0, 0.01); 4], &strict), Verdict::Lower);
    }

    #[test]
    fn conditional_throughput_is_that_of_the_worst_trial_that_counts() {
        let mut trials = Trials::default();
        for loss_ratio in [0.0, 0.2, 0.1, 0.4] {
            trials.add(Trial { load: 100, seconds: 1.0, loss_ratio }, 100);
        }
        assert_eq!(trials.throughput(100, &PHASE), 90.0);
        assert_eq!(trials.throughput(100, &Phase { exceed_ratio: 0.0, ..PHASE }), 60.0);
    }
}
