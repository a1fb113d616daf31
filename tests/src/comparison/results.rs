//! Everything a comparison measured, and what it comes to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::cases::{Case, Verdict, ZeroCopy};
use super::idle::Idle;
use super::latency::Latency;
use super::limits::{self, COPY_GOAL, FLAT_GOAL, FLAT_SIZES, HotLoop};
use super::machine::Machine;
use super::measuring::{Conditions, Measured, Subject};
use super::probe::Probe;
use super::processes::Program;
use super::statistics::{median, spread};

/// What was measured so far.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// How.
    pub conditions: Conditions,
    /// The rows.
    pub cases: Vec<Case>,
    /// Whether the limits belong to it.
    pub with_limits: bool,
    /// Rounds that were asked for, and rounds that were made.
    pub rounds: [u32; 2],
    /// In the order in which they are measured.
    pub measured: Vec<Measured>,
    /// Latencies, if they were asked for.
    pub latency: Option<Latency>,
    /// Idle mode, if it was asked for.
    pub idle: Option<Idle>,
}

/// One side of a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Side {
    /// Its ends with zero-copy.
    pub zero_copy: ZeroCopy,
    /// Packets per second; NaN without any that counts.
    pub median: f64,
    /// From the slowest to the fastest, as a share of the median.
    pub spread: f64,
    /// Measurements that count.
    pub rounds: usize,
}

/// What a row comes to.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Outcome {
    /// Which row.
    pub case: Case,
    /// testpmd; the better one where it cannot do the same.
    pub testpmd: Side,
    /// Ours.
    pub lport: Side,
    /// Ours over testpmd's.
    pub ratio: f64,
    /// Whether that is what is wanted.
    pub verdict: Verdict,
}

/// What the limits come to.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// Copied packets per second: through a memif, and by memcpy alone.
    pub copies: [f64; 2],
    /// The first as a share of the second.
    pub copy_share: f64,
    /// Whether that is what is wanted.
    pub copy_verdict: Verdict,
    /// Nanoseconds a packet takes without copies, by size.
    pub flat: Vec<(usize, f64)>,
    /// The dearest over the cheapest of them.
    pub unevenness: f64,
    /// Whether that is what is wanted.
    pub flat_verdict: Verdict,
}

impl Results {
    /// None yet.
    pub fn new(machine: Machine, conditions: Conditions, cases: Vec<Case>, with_limits: bool, rounds: u32) -> Self {
        let mut subjects = super::measuring::subjects(&cases);
        if with_limits {
            subjects.extend(limits::subjects());
        }
        let measured = subjects.into_iter().map(Measured::new).collect();
        Self { machine, conditions, cases, with_limits, rounds: [rounds, 0], measured, latency: None, idle: None }
    }

    /// What the CPUs were like at best, in the whole run.
    pub fn best(&self) -> Probe {
        let probes = self.measured.iter().flat_map(|measured| &measured.samples).map(|sample| sample.probe);
        probes.fold(self.machine.best.unwrap_or(Probe::WORST), Probe::best)
    }

    /// Applies the rule to all measurements, by what is known now.
    pub fn judge(&mut self) {
        let (rule, best) = (self.conditions.rule, self.best());
        let samples = self.measured.iter_mut().flat_map(|measured| &mut measured.samples);
        samples.for_each(|sample| sample.judge(rule, best));
    }

    /// What all rows come to.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.cases.iter().map(|case| self.outcome(*case)).collect()
    }

    fn outcome(&self, case: Case) -> Outcome {
        let side = |program, zero_copy| {
            let rates = self.rates(Subject::of(program, case.work, zero_copy, case.size));
            Side { zero_copy, median: median(&rates), spread: spread(&rates), rounds: rates.len() }
        };
        let theirs = case.zero_copy.of_testpmd().iter().map(|&zero_copy| side(Program::Testpmd, zero_copy));
        // A side without a rate is NaN, which loses against any number.
        let better = |a: Side, b: Side| if b.median > a.median || a.median.is_nan() { b } else { a };
        let testpmd = theirs.reduce(better).unwrap_or_else(|| side(Program::Testpmd, ZeroCopy::None));
        let lport = side(Program::Lport, case.zero_copy);
        let ratio = lport.median / testpmd.median;
        Outcome { case, testpmd, lport, ratio, verdict: Verdict::of(ratio, case.goal()) }
    }

    /// What the limits come to, if they were asked for.
    pub fn limits(&self) -> Option<Limits> {
        let median_of = |subject| median(&self.rates(subject));
        let copies = [HotLoop::Packets, HotLoop::Memcpy].map(|hot_loop| median_of(Subject::Loop(hot_loop)));
        let flat: Vec<_> =
            FLAT_SIZES.iter().map(|&size| (size, 1e9 / median_of(limits::without_copies(size)))).collect();
        let times: Vec<_> = flat.iter().map(|(_, time)| *time).filter(|time| !time.is_nan()).collect();
        let (copy_share, unevenness) = (copies[0] / copies[1], limits::unevenness(&times));
        self.with_limits.then(|| Limits {
            copies,
            copy_share,
            copy_verdict: Verdict::of(copy_share, Some(COPY_GOAL)),
            flat,
            unevenness,
            // The smaller, the better: a goal is reached from below.
            flat_verdict: Verdict::of(FLAT_GOAL / unevenness, Some(1.0)),
        })
    }

    fn rates(&self, subject: Subject) -> Vec<f64> {
        self.measured.iter().find(|measured| measured.subject == subject).map(Measured::rates).unwrap_or_default()
    }

    /// Measurements that were dropped, of how many.
    pub fn dropped(&self) -> [usize; 2] {
        let sum = |count: fn(&Measured) -> usize| self.measured.iter().map(count).sum();
        [sum(Measured::dropped), sum(|measured| measured.samples.len())]
    }

    /// Whether nothing at all was measured.
    pub fn is_empty(&self) -> bool {
        let rates = self.measured.iter().any(|measured| !measured.samples.is_empty());
        let latency = self.latency.as_ref().is_some_and(|latency| !latency.pairs.is_empty());
        let idle = self.idle.as_ref().is_some_and(|idle| !idle.runs.is_empty());
        !(rates || latency || idle)
    }

    /// What failed, by subject.
    pub fn failures(&self) -> impl Iterator<Item = &Measured> {
        self.measured.iter().filter(|measured| !measured.failures.is_empty())
    }

    /// Writes all of it as JSON, over what was written before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let (outcomes, limits) = (self.outcomes(), self.limits());
        let latency = self.latency.as_ref().map(Latency::rows);
        let idle = self.idle.as_ref().map(Idle::rows);
        let all = serde_json::json!({
            "raw": self, "outcomes": outcomes, "limits": limits, "latency": latency, "idle": idle
        });
        // Beside it first, so that an interruption leaves a whole file.
        let new: PathBuf = path.with_extension("json.new");
        let written = fs::write(&new, format!("{all:#}\n")).and_then(|()| fs::rename(&new, path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::cases::Work;
    use super::super::disturbance::{Disturbance, Rule};
    use super::super::measuring::Sample;
    use super::*;

    /// Results of the loopback pair with these rates, the last of each dropped.
    pub(in super::super) fn results(rates: &[(Program, ZeroCopy, &[f64])]) -> Results {
        let machine =
            Machine { model: "A <fast> & \"odd\" CPU".into(), date: "2026-01-02".into(), ..Machine::default() };
        let conditions = Conditions { cpus: [0, 1], burst: 32, rule: Rule::new(0.02), repeats: 2 };
        let cases = Case::all(&[Work::Loopback], &[64, 128]);
        let mut results = Results::new(machine, conditions, cases, true, 2);
        for (program, zero_copy, rates) in rates {
            let subject = Subject::of(*program, Work::Loopback, *zero_copy, 64);
            let measured = results.measured.iter_mut().find(|measured| measured.subject == subject).unwrap();
            measured.samples =
                rates.iter().enumerate().map(|(at, &rate)| sample(rate, at + 1 == rates.len())).collect();
        }
        results
    }

    fn sample(rate: f64, dropped: bool) -> Sample {
        let disturbance = Disturbance { others: if dropped { 0.5 } else { 0.0 }, stolen: 0.0 };
        let probe = Probe { round_trip: 100.0, work: [1.0, 1.0] };
        let mut sample = Sample { rate, seconds: 1.0, disturbance, cpus: 1, probe, dropped: None };
        sample.judge(Rule::new(0.02), probe);
        sample
    }

    #[test]
    fn ratios_are_of_medians_of_what_counts() {
        let results = results(&[
            (Program::Testpmd, ZeroCopy::None, &[10e6, 12e6, 11e6, 1.0]),
            (Program::Lport, ZeroCopy::None, &[33e6, 1.0]),
        ]);
        let outcome = results.outcomes()[0];
        assert_eq!((outcome.testpmd.median, outcome.testpmd.rounds, outcome.lport.rounds), (11e6, 3, 1));
        assert_eq!((outcome.ratio, outcome.verdict), (3.0, Verdict::Reached));
        assert_eq!(results.dropped(), [2, 6]);
    }

    #[test]
    fn the_best_of_the_whole_run_decides_what_is_dropped_in_the_end() {
        let mut results = results(&[(Program::Lport, ZeroCopy::None, &[33e6, 34e6, 1.0])]);
        let measured = results.measured.iter_mut().find(|measured| !measured.samples.is_empty()).unwrap();
        measured.samples[0].probe.work = [2.0, 1.0];
        assert_eq!(results.dropped(), [1, 3]);
        results.judge();
        assert_eq!((results.dropped(), results.best().work), ([2, 3], [1.0, 1.0]));
    }

    #[test]
    fn where_testpmd_cannot_do_the_same_its_best_counts() {
        let both = |none: &[f64], client: &[f64]| {
            let rates = [(Program::Testpmd, ZeroCopy::None, none), (Program::Testpmd, ZeroCopy::Client, client)];
            results(&rates).outcome(Case { work: Work::Loopback, zero_copy: ZeroCopy::Both, size: 64 }).testpmd
        };
        assert_eq!(both(&[10.0, 0.0], &[20.0, 0.0]).zero_copy, ZeroCopy::Client);
        assert_eq!(both(&[20.0, 0.0], &[10.0, 0.0]).zero_copy, ZeroCopy::None);
        // One of them may have failed.
        assert_eq!(both(&[], &[10.0, 0.0]).median, 10.0);
        assert_eq!(both(&[10.0, 0.0], &[]).median, 10.0);
    }

    #[test]
    fn what_failed_or_was_always_disturbed_is_not_judged() {
        let results =
            results(&[(Program::Testpmd, ZeroCopy::None, &[10e6, 1.0]), (Program::Lport, ZeroCopy::None, &[1.0])]);
        assert!(results.outcomes().iter().all(|outcome| outcome.verdict == Verdict::NotMeasured));
        let limits = results.limits().unwrap();
        assert_eq!((limits.copy_verdict, limits.flat_verdict), (Verdict::NotMeasured, Verdict::NotMeasured));
    }

    #[test]
    fn limits_are_judged_by_share_and_by_unevenness() {
        let mut results = results(&[]);
        let rate = |subject| match subject {
            Subject::Loop(HotLoop::Packets) => 8e6,
            Subject::Loop(HotLoop::Memcpy) => 10e6,
            Subject::Program { traffic, .. } if traffic.size == 9000 => 80e6,
            Subject::Program { .. } => 100e6,
        };
        for measured in &mut results.measured {
            measured.samples.push(sample(rate(measured.subject), false));
        }
        let limits = results.limits().unwrap();
        assert_eq!((limits.copy_share, limits.copy_verdict), (0.8, Verdict::Reached));
        assert_eq!((limits.unevenness, limits.flat_verdict), (1.25, Verdict::Missed));
    }

    #[test]
    fn raw_results_are_whole_json_whatever_was_measured() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw.json");
        results(&[(Program::Lport, ZeroCopy::None, &[1.0, 2.0])]).write(&path).unwrap();
        let read: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(read["outcomes"][0]["ratio"].is_null(), "NaN is no number of JSON");
        assert_eq!(read["raw"]["conditions"]["burst"], 32);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }
}
