//! The search for the highest loads that a device forwards with no more loss than is asked for: MLRsearch, RFC 9971.
//!
//! 1. A [`Goal`] is a loss ratio with what makes its answer trustworthy: how long trials last, how much measured time must
//!    agree, which share of it may be worse (the exceed ratio), and how narrow the answer has to be.
//! 2. [`search`] begins with trials at the largest load and at what the device then forwarded, and goes through phases
//!    ([`Phase`]): short trials and wide intervals first, the goals' own at the end. Every phase begins with what the one
//!    before has found, and every goal sees the trials of all.
//! 3. Whether a load is a lower or an upper bound of a goal is a sum over its trials (`load`), so one stalled trial decides
//!    nothing. Which load is tried next is `hunt`.
//! 4. The answer of a goal is an interval of loads and the conditional throughput: what was forwarded at its lower end,
//!    at the worst of the trials that count.
//!
//! Nothing here knows packets, clocks or devices: trials come from a [`Measurer`].

mod hunt;
mod load;
#[cfg(test)]
mod tests;

use serde::Serialize;

use hunt::{Hunt, Interval};
use load::Trials;

/// Packets per second.
pub(super) type Load = u64;

/// One trial's result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Trial {
    /// What was offered, in packets per second.
    pub(super) load: Load,
    /// How long, in seconds.
    pub(super) seconds: f64,
    /// The share of what was intended that did not arrive, 0 to 1.
    pub(super) loss_ratio: f64,
}

impl Trial {
    /// Packets per second that arrived.
    pub(super) fn forwarded(&self) -> f64 {
        self.load as f64 * (1.0 - self.loss_ratio)
    }
}

/// Who makes trials.
pub(super) trait Measurer {
    /// Why a trial was not possible.
    type Error;

    /// Offers `load` for `seconds`; the trial may be shorter or longer, and says so.
    fn measure(&mut self, load: Load, seconds: f64) -> Result<Trial, Self::Error>;
}

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Goal {
    /// `NDR`, `PDR`.
    pub(super) name: &'static str,
    /// A trial that loses more is a bad one.
    pub(super) loss_ratio: f64,
    /// The share of measured time that may be bad at a lower bound.
    pub(super) exceed_ratio: f64,
    /// Seconds of a trial that counts fully.
    pub(super) trial_s: f64,
    /// Seconds that decide about a load whose trials disagree.
    pub(super) sum_s: f64,
    /// Largest width of the answer, relative to its upper end.
    pub(super) width: f64,
}

/// Where and how long is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Smallest load tried.
    pub(super) min: Load,
    /// Largest load tried.
    pub(super) max: Load,
    /// Seconds of a trial in the first phase.
    pub(super) first_trial_s: f64,
    /// Phases before the goals' own.
    pub(super) phases: u32,
    /// Seconds of trials after which the search ends with what it has.
    pub(super) budget_s: f64,
}

/// The answer to a goal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Found {
    /// Highest load that meets the goal, with none below it that does not; `None`: not even the smallest does.
    pub(super) lower: Option<Load>,
    /// Lowest load that does not; `None`: the largest does.
    pub(super) upper: Option<Load>,
    /// Conditional throughput: packets per second that arrived at `lower`, in the worst trials that count.
    pub(super) throughput: f64,
    /// Whether the interval is as narrow as was asked, or ends at a limit.
    pub(super) complete: bool,
}

/// What a search ends with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// In the order of the goals.
    pub(super) found: Vec<Found>,
    /// Number of trials.
    pub(super) trials: usize,
    /// Their time together.
    pub(super) seconds: f64,
}

/// How exact one phase is for one goal.
#[derive(Debug, Clone, Copy)]
struct Phase {
    loss_ratio: f64,
    exceed_ratio: f64,
    trial_s: f64,
    sum_s: f64,
    width: f64,
}

impl Phase {
    /// Phase `number` of `limits.phases + 1` for `goal`: the last one is the goal itself, each earlier one has wider
    /// intervals and a trial that is shorter by an equal factor, and is decided by one trial.
    fn of(goal: &Goal, limits: &Limits, number: u32) -> Self {
        let left = limits.phases - number;
        let Goal { loss_ratio, exceed_ratio, trial_s, sum_s, width, .. } = *goal;
        if left == 0 {
            return Self { loss_ratio, exceed_ratio, trial_s, sum_s, width };
        }
        let shorter = (limits.first_trial_s / trial_s).min(1.0).powf(f64::from(left) / f64::from(limits.phases));
        let trial_s = trial_s * shorter;
        let width = (width * f64::from(1_u32 << (2 * left).min(20))).min(0.5);
        Self { loss_ratio, exceed_ratio, trial_s, sum_s: trial_s, width }
    }
}

/// Searches for all `goals` at once.
///
/// # Errors
/// What the measurer says first.
///
/// # Panics
/// When the limits are no interval: `min` is 0 or above `max`.
pub(super) fn search<M: Measurer>(measurer: &mut M, goals: &[Goal], limits: &Limits) -> Result<Answer, M::Error> {
    assert!(0 < limits.min && limits.min <= limits.max, "loads from {} to {}", limits.min, limits.max);
    let mut trials = Trials::default();
    let mrr = start(measurer, &mut trials, limits)?;
    let mut intervals = vec![Interval { lower: None, upper: None }; goals.len()];
    let mut complete = vec![false; goals.len()];
    let mut spent = 0.0;
    // The goal that allows most loss first: what it finds bounds the others from above.
    let mut order: Vec<_> = (0..goals.len()).collect();
    order.sort_by(|a, b| goals[*b].loss_ratio.total_cmp(&goals[*a].loss_ratio));
    for number in 0..=limits.phases {
        for &goal in &order {
            let phase = Phase::of(&goals[goal], limits, number);
            let mut hunt = Hunt::new(phase, *limits, hint(intervals[goal], mrr, limits));
            complete[goal] = loop {
                let Some(load) = hunt.next(&trials) else { break true };
                if spent >= limits.budget_s {
                    break false;
                }
                // By what was asked: also a measurer whose trials take no time ends.
                spent += phase.trial_s;
                trials.add(measurer.measure(load, phase.trial_s)?, load);
            };
            // One that was cut short leaves the better answer of the phase before, if there is any.
            if complete[goal] || intervals[goal].is_empty() {
                intervals[goal] = hunt.interval(&trials);
            }
        }
    }
    let found = goals.iter().enumerate().map(|(i, goal)| {
        let Interval { lower, upper } = intervals[i];
        let throughput = lower.map_or(0.0, |load| trials.throughput(load, &Phase::of(goal, limits, limits.phases)));
        Found { lower, upper, throughput, complete: complete[i] }
    });
    let found = found.collect();
    Ok(Answer { found, trials: trials.count(), seconds: trials.seconds() })
}

/// The largest load, and what came through: a device under too much load may forward less than it could.
fn start<M: Measurer>(measurer: &mut M, trials: &mut Trials, limits: &Limits) -> Result<f64, M::Error> {
    let first = measurer.measure(limits.max, limits.first_trial_s)?;
    trials.add(first, limits.max);
    let forwarded = first.forwarded() as Load;
    if (limits.min..limits.max).contains(&forwarded) {
        trials.add(measurer.measure(forwarded, limits.first_trial_s)?, forwarded);
    }
    Ok(first.forwarded())
}

/// Where a phase begins: at the interval of the one before, at first around the maximum receive rate.
fn hint(before: Interval, mrr: f64, limits: &Limits) -> Interval {
    if !before.is_empty() {
        return before;
    }
    let guess = (mrr as Load).clamp(limits.min, limits.max);
    Interval { lower: Some(guess), upper: None }
}
