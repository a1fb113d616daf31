//! The rule by which measurements that are compared with each other count, or are dropped together.
//!
//! A host moves its guests' CPUs at any moment, and the same program's rate between two CPUs that share a cache is several
//! times that between two that do not. So rates are compared only when they were taken directly one after the other, while
//! the CPUs were in one state: **others took no more than a given share of the CPUs' time, and neither the round trip of a
//! cache line between the CPUs nor the time of a computation on them changed by more than a given factor**, from the first
//! of them to the last. Any state will do, so long as it was the same one.
//!
//! The CPUs are probed before the first measurement, between any two, and behind the last ([`super::probe`]).

use std::fmt;

use serde::Serialize;

use super::disturbance::Disturbance;
use super::probe::Probe;

/// What a measurement is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Circumstances {
    /// Who else used the CPUs.
    pub disturbance: Disturbance,
    /// How many CPUs it was about.
    pub cpus: usize,
    /// What the CPUs were like before and after.
    pub probes: [Probe; 2],
}

/// The rule's limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rule {
    /// The share of the CPUs' time that others may take, 0 to 1.
    pub others: f64,
    /// The longest round trip of a cache line over the shortest; of no interest where one CPU does the work.
    pub farther: f64,
    /// The longest time of a computation over the shortest, on the same CPU.
    pub slower: f64,
}

impl Rule {
    /// The rule with a share of `others`.
    pub fn new(others: f64) -> Self {
        Self { others, farther: 1.4, slower: 1.2 }
    }

    /// One that drops nothing.
    pub const NONE: Self = Self { others: 1.0, farther: f64::INFINITY, slower: f64::INFINITY };

    /// Why measurements that were taken one after the other are not compared, if so.
    pub fn reason<T: AsRef<Circumstances>>(&self, measurements: &[T]) -> Option<Reason> {
        let all = || measurements.iter().map(AsRef::as_ref);
        let others = all().map(|one| one.disturbance.share()).fold(0.0, f64::max);
        if others > self.others {
            return Some(Reason::Others { share: others });
        }
        let probes = || all().flat_map(|one| one.probes);
        let cpus = all().map(|one| one.cpus).max().unwrap_or(0);
        let round_trip = range(probes().map(|probe| probe.round_trip));
        if cpus > 1 && self.is_moved(round_trip) {
            return Some(Reason::Moved { round_trip });
        }
        let of_cpu = |cpu: usize| range(probes().map(move |probe| probe.work[cpu]));
        let slowed = (0..cpus).map(of_cpu).find(|[least, most]| *most > *least * self.slower);
        slowed.map(|work| Reason::Slowed { work })
    }

    /// Whether two round trips are of different states of the CPUs.
    pub fn is_moved(&self, [one, other]: [f64; 2]) -> bool {
        one.max(other) > one.min(other) * self.farther
    }
}

/// The smallest and the largest.
fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, 0.0], |[least, most], value| [least.min(value), most.max(value)])
}

/// Why measurements were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Others took too much of the CPUs' time.
    Others {
        /// How much, 0 to 1.
        share: f64,
    },
    /// The CPUs were moved.
    Moved {
        /// Nanoseconds of the shortest and of the longest round trip.
        round_trip: [f64; 2],
    },
    /// A CPU became faster or slower.
    Slowed {
        /// Nanoseconds of the shortest and of the longest multiplication.
        work: [f64; 2],
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Others { share } => write!(f, "others took {:.1} % of the CPUs' time", share * 100.0),
            Self::Moved { round_trip: [least, most] } => {
                write!(f, "a cache line's round trip changed between {least:.0} and {most:.0} ns")
            }
            Self::Slowed { work: [least, most] } => {
                write!(f, "a CPU's multiplication changed between {least:.2} and {most:.2} ns")
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::measuring::Sample;
    use super::super::measuring::tests::sample;
    use super::*;

    /// The circumstances of a quiet machine.
    pub(in super::super) fn quiet(cpus: usize, round_trip: f64) -> Circumstances {
        let disturbance = Disturbance { others: 0.0, stolen: 0.0 };
        let probe = Probe { round_trip, work: [1.0, 1.0] };
        Circumstances { disturbance, cpus, probes: [probe, probe] }
    }

    fn reason(samples: &[Sample]) -> String {
        Rule::new(0.02).reason(samples).map(|reason| reason.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_alike_counts_however_far_apart_the_cpus_are() {
        for round_trip in [70.0, 570.0] {
            assert_eq!(reason(&[sample(1.0, 2, round_trip), sample(2.0, 2, round_trip * 1.39)]), "");
        }
        assert_eq!(reason(&[]), "");
    }

    #[test]
    fn a_move_before_between_or_after_drops_all() {
        let moved = "a cache line's round trip changed between 100 and 300 ns";
        for at in 0..4 {
            let mut samples = [sample(1.0, 2, 100.0), sample(2.0, 2, 100.0)];
            samples[at / 2].circumstances.probes[at % 2].round_trip = 300.0;
            assert_eq!(reason(&samples), moved, "probe {at}");
        }
    }

    #[test]
    fn a_single_cpu_may_be_anywhere_but_not_slower() {
        let mut samples = [sample(1.0, 1, 100.0), sample(2.0, 1, 900.0)];
        assert_eq!(reason(&samples), "");
        samples[1].circumstances.probes[1].work = [1.2, 9.0];
        assert_eq!(reason(&samples), "", "the second CPU has no part in it");
        samples[1].circumstances.probes[1].work = [1.3, 1.0];
        assert_eq!(reason(&samples), "a CPU's multiplication changed between 1.00 and 1.30 ns");
        let mut samples = [sample(1.0, 2, 100.0)];
        samples[0].circumstances.probes[1].work = [1.0, 1.3];
        assert_ne!(reason(&samples), "", "now it has");
    }

    #[test]
    fn others_may_take_their_share_and_no_more() {
        let mut samples = [sample(1.0, 2, 100.0), sample(2.0, 2, 100.0)];
        samples[1].circumstances.disturbance.others = 0.02;
        assert_eq!(reason(&samples), "");
        samples[0].circumstances.disturbance.stolen = 0.031;
        assert_eq!(reason(&samples), "others took 3.1 % of the CPUs' time");
    }

    #[test]
    fn the_rule_that_drops_nothing_drops_nothing() {
        let mut worst = sample(1.0, 2, 100.0);
        worst.circumstances.disturbance.others = 1.0;
        worst.circumstances.probes[0] = Probe { round_trip: 9e9, work: [9e9; 2] };
        assert_eq!(Rule::NONE.reason(&[worst]), None);
    }
}
