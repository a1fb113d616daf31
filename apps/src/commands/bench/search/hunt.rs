//! Which load is tried next, for one goal in one phase.
//!
//! 1. The bounds that count: the lowest load that is an upper bound, and the highest lower bound below it.
//! 2. While one of the two is missing, what the phase before has found is asked first; then the search goes away from the
//!    bound it has, in steps that double, up to the limit.
//! 3. With both it halves the interval, by ratio, until it is narrow enough.
//!
//! A load that is undecided is proposed again: each trial adds time, and enough time decides. So every phase ends.

use super::load::{Trials, Verdict};
use super::{Limits, Load, Phase};

/// Bounds of what is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) lower: Option<Load>,
    pub(super) upper: Option<Load>,
}

impl Interval {
    pub(super) fn is_empty(&self) -> bool {
        self.lower.is_none() && self.upper.is_none()
    }
}

/// The search of one goal in one phase.
#[derive(Debug)]
pub(super) struct Hunt {
    phase: Phase,
    limits: Limits,
    hint: Interval,
    /// The next step away from the only bound, relative.
    step: f64,
    /// What was proposed last while a bound was missing.
    outside: Option<Load>,
}

impl Hunt {
    pub(super) fn new(phase: Phase, limits: Limits, hint: Interval) -> Self {
        Self { phase, limits, hint, step: phase.width, outside: None }
    }

    /// The bounds as the trials now say.
    pub(super) fn interval(&self, trials: &Trials) -> Interval {
        let upper = trials.verdicts(&self.phase).find(|(_, verdict)| *verdict == Verdict::Upper).map(|(load, _)| load);
        let below = |load: &Load| upper.is_none_or(|upper| *load < upper);
        let lowers = trials.verdicts(&self.phase).rev().filter(|(_, verdict)| *verdict == Verdict::Lower);
        Interval { lower: lowers.map(|(load, _)| load).find(below), upper }
    }

    /// The load to try; `None` when the interval is narrow enough, or ends at a limit.
    pub(super) fn next(&mut self, trials: &Trials) -> Option<Load> {
        match self.interval(trials) {
            Interval { lower: None, upper: None } => {
                let hinted = self.hint.lower.or(self.hint.upper);
                Some(self.undecided_near(hinted.unwrap_or(self.limits.max)))
            }
            Interval { lower: Some(lower), upper: None } => self.above(trials, lower),
            Interval { lower: None, upper: Some(upper) } => self.below(trials, upper),
            Interval { lower: Some(lower), upper: Some(upper) } => self.between(lower, upper),
        }
    }

    fn undecided_near(&self, load: Load) -> Load {
        load.clamp(self.limits.min, self.limits.max)
    }

    fn above(&mut self, trials: &Trials, lower: Load) -> Option<Load> {
        if lower >= self.limits.max {
            return None;
        }
        if let Some(hinted) = self.hint.upper.filter(|hinted| *hinted > lower) {
            return Some(self.undecided_near(hinted));
        }
        Some(self.outward(trials, |step, max, _| {
            let further = (lower as f64 * (1.0 + step)) as Load;
            further.clamp(lower + 1, max)
        }))
    }

    fn below(&mut self, trials: &Trials, upper: Load) -> Option<Load> {
        if upper <= self.limits.min {
            return None;
        }
        if let Some(hinted) = self.hint.lower.filter(|hinted| *hinted < upper) {
            return Some(self.undecided_near(hinted));
        }
        Some(self.outward(trials, |step, _, min| {
            let further = (upper as f64 / (1.0 + step)) as Load;
            further.clamp(min, upper - 1)
        }))
    }

    /// A step away from the only bound; the same one until it is decided, the next one twice as long.
    fn outward(&mut self, trials: &Trials, go: impl Fn(f64, Load, Load) -> Load) -> Load {
        let pending = self.outside.filter(|load| trials.verdict(*load, &self.phase) == Verdict::Undecided);
        let load = pending.unwrap_or_else(|| {
            let load = go(self.step, self.limits.max, self.limits.min);
            self.step = (self.step * 2.0).min(1.0);
            load
        });
        self.outside = Some(load);
        load
    }

    fn between(&self, lower: Load, upper: Load) -> Option<Load> {
        let width = (upper - lower) as f64 / upper as f64;
        if width <= self.phase.width || upper - lower <= 1 {
            return None;
        }
        let inside = |load: &Load| (lower + 1..upper).contains(load);
        if let Some(hinted) = [self.hint.lower, self.hint.upper].into_iter().flatten().find(inside) {
            return Some(hinted);
        }
        let middle = (lower as f64 * upper as f64).sqrt() as Load;
        Some(middle.clamp(lower + 1, upper - 1))
    }
}
