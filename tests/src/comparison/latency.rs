//! Latency, there and back through a process of either program, at the same loads.
//!
//! 1. testpmd's PDR is searched, three times; the loads are shares of the median, for both programs, so that neither is
//!    favoured by what it can do beyond it. "No load" is ten thousand packets per second.
//! 2. Both processes under test run all the time, on the same CPU, and all but the one that is measured are frozen. A tester,
//!    `lport bench latency`, joins one, measures one load, and leaves.
//! 3. A [`Pair`] is one such measurement of each, directly after each other, testpmd first in every other one. The load that
//!    has been measured least is next, until the time is over.
//! 4. A pair does not count when others took more than the rule allows of the CPUs' time, or kept the tester from its CPU, in
//!    either of its measurements; or when a cache line's way from CPU to CPU and back, probed before, between and after the
//!    two, changed by more than [`MOVED`] times. What comes right after each other on CPUs that did not move is compared with
//!    itself: the ratio is the median of the pairs' ratios.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::cases::Verdict;
use super::disturbance::{Disturbance, Reading, ran};
use super::limits::children_ran;
use super::measuring::Conditions;
use super::probe::Probe;
use super::processes::Program;
use super::reflector::Reflector;
use super::statistics::{median, spread};
use super::tester::{self, Latencies};
use crate::testbed::Testbed;

/// Loads in per cent of testpmd's PDR; 0: no load.
pub const LOADS: [u32; 4] = [0, 10, 50, 90];

/// What is compared.
pub const PERCENTILES: [&str; 3] = ["p50", "p99", "p99.9"];

/// How many times testpmd's latency counts as no worse, for the noise of a measurement; at p50 ours has to be shorter.
pub const NO_WORSE: f64 = 1.05;

/// The share of packets that may get lost on either side where latencies are compared: a packet that is dropped is not late.
pub const LOSS: f64 = 0.005;

/// How many times a cache line's way may differ around the two measurements of a pair.
pub const MOVED: f64 = 1.5;

/// How often testpmd's PDR is searched.
const SEARCHES: usize = 3;

/// How often something may fail until it is given up.
const FAILURES: usize = 10;

/// The programs, in the order of a pair's members.
const PROGRAMS: [Program; 2] = [Program::Testpmd, Program::Lport];

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Member {
    /// What the tester found.
    #[serde(flatten)]
    pub latencies: Latencies,
    /// Who else used the CPUs.
    pub disturbance: Disturbance,
}

/// One measurement of each program.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// In per cent of testpmd's PDR.
    pub load: u32,
    /// testpmd's, and ours.
    pub members: [Member; 2],
    /// A cache line's way there and back before, between and after them, in nanoseconds.
    pub round_trips: [f64; 3],
    /// Why it does not count.
    pub dropped: Option<String>,
}

impl Pair {
    /// Applies the rule.
    fn judge(&mut self, others: f64) {
        let share = self.members.map(|member| member.disturbance.share()).into_iter().fold(0.0, f64::max);
        let near = self.round_trips.into_iter().fold(f64::INFINITY, f64::min);
        let moved = self.round_trips.into_iter().fold(0.0, f64::max) / near;
        self.dropped = if share > others {
            Some(format!("others took {:.1} % of the CPUs' time", share * 100.0))
        } else if self.members.iter().any(|member| member.latencies.disturbed) {
            Some("the tester was kept from its CPU".to_owned())
        } else {
            (moved > MOVED).then(|| format!("the CPUs moved: {moved:.1} times as far from each other as before"))
        };
    }

    /// A percentile of both, in microseconds.
    fn percentile(&self, which: usize) -> [f64; 2] {
        self.members.map(|Member { latencies, .. }| [latencies.p50_us, latencies.p99_us, latencies.p999_us][which])
    }

    fn lost(&self) -> [f64; 2] {
        self.members.map(|Member { latencies, .. }| latencies.lost as f64 / latencies.intended.max(1) as f64)
    }
}

/// What was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Latency {
    /// testpmd's PDR, in packets per second, as often as it was searched.
    pub pdrs: Vec<f64>,
    /// All pairs, the dropped ones too.
    pub pairs: Vec<Pair>,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// A percentile at a load.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Row {
    /// In per cent of testpmd's PDR.
    pub load: u32,
    /// Millions of packets per second.
    pub offered_mpps: f64,
    /// Which of [`PERCENTILES`].
    pub percentile: &'static str,
    /// Microseconds, the median of the pairs that count: testpmd's, and ours.
    pub medians_us: [f64; 2],
    /// From the shortest to the longest, as a share of the median.
    pub spreads: [f64; 2],
    /// The median of ours over testpmd's, pair by pair.
    pub ratio: f64,
    /// Share of packets that got lost, the median.
    pub lost: [f64; 2],
    /// Pairs that count.
    pub pairs: usize,
    /// Whether ours is no worse, or better.
    pub verdict: Verdict,
}

impl Latency {
    /// The load that is 100 %, in packets per second; NaN when it was not found.
    pub fn pdr(&self) -> f64 {
        median(&self.pdrs)
    }

    /// Every percentile at every load.
    pub fn rows(&self) -> Vec<Row> {
        let percentiles = |load| (0..PERCENTILES.len()).map(move |which| (load, which));
        LOADS.into_iter().flat_map(percentiles).map(|(load, which)| self.row(load, which)).collect()
    }

    fn row(&self, load: u32, which: usize) -> Row {
        let pairs: Vec<_> = self.of(load).filter(|pair| pair.dropped.is_none()).collect();
        let side = |of: &dyn Fn(&Pair) -> [f64; 2], side: usize| pairs.iter().map(|pair| of(pair)[side]).collect();
        let each = |of: &dyn Fn(&Pair) -> [f64; 2]| -> [Vec<f64>; 2] { [side(of, 0), side(of, 1)] };
        let times = each(&|pair| pair.percentile(which));
        let lost = each(&Pair::lost).map(|shares| median(&shares));
        let ratios: Vec<_> = times[1].iter().zip(&times[0]).map(|(ours, theirs)| ours / theirs).collect();
        let offered: Vec<_> = pairs.iter().map(|pair| pair.members[0].latencies.offered_mpps).collect();
        let ratio = median(&ratios);
        Row {
            load,
            offered_mpps: median(&offered),
            percentile: PERCENTILES[which],
            medians_us: [median(&times[0]), median(&times[1])],
            spreads: [spread(&times[0]), spread(&times[1])],
            ratio,
            lost,
            pairs: pairs.len(),
            verdict: verdict(load, which, ratio, lost),
        }
    }

    fn of(&self, load: u32) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(move |pair| pair.load == load)
    }

    /// Whether there is time left, or a load that was not measured at all.
    fn goes_on(&self, end: Instant) -> bool {
        Instant::now() < end || LOADS.into_iter().any(|load| self.of(load).next().is_none())
    }

    /// The load that has been measured least. A dropped pair weighs a quarter of one that counts, so that a load whose pairs
    /// are all dropped does not take all the time.
    fn next_load(&self) -> u32 {
        let weight = |pair: &Pair| if pair.dropped.is_none() { 4 } else { 1 };
        LOADS.into_iter().min_by_key(|load| self.of(*load).map(weight).sum::<usize>()).unwrap_or_default()
    }
}

/// The goal of a percentile: how many times testpmd's ours may be, and whether it has to be less. At no load there is none.
pub(super) fn goal(load: u32, which: usize) -> Option<(f64, bool)> {
    let better = which == 0;
    (load > 0).then_some((if better { 1.0 } else { NO_WORSE }, better))
}

fn verdict(load: u32, which: usize, ratio: f64, lost: [f64; 2]) -> Verdict {
    match goal(load, which) {
        _ if !ratio.is_finite() => Verdict::NotMeasured,
        None => Verdict::NoGoal,
        // Who drops packets has none that come late.
        Some(_) if lost[1] > lost[0].max(LOSS) => Verdict::Missed,
        Some((limit, better)) if ratio < limit || (!better && ratio <= limit) => Verdict::Reached,
        Some(_) => Verdict::Missed,
    }
}

/// Measures until `time` is over, but each load at least once, for `length`. What fails is tried again, and ends nothing but
/// this.
pub fn measure(testbed: &Testbed, conditions: Conditions, time: Duration, length: Duration) -> Latency {
    let mut latency = Latency::default();
    let end = Instant::now() + time;
    while latency.goes_on(end) && latency.failures.len() < FAILURES {
        if let Err(error) = pairs(testbed, conditions, end, length, &mut latency) {
            eprintln!("latency: {error:#}");
            latency.failures.push(format!("{error:#}"));
        }
    }
    latency
}

fn pairs(
    testbed: &Testbed,
    conditions: Conditions,
    end: Instant,
    length: Duration,
    latency: &mut Latency,
) -> Result<()> {
    let Conditions { cpus, burst, rule, .. } = conditions;
    let reflectors = [
        Reflector::start(testbed, PROGRAMS[0], cpus[1], burst)?,
        Reflector::start(testbed, PROGRAMS[1], cpus[1], burst)?,
    ];
    reflectors.iter().try_for_each(|reflector| reflector.process().freeze())?;
    while latency.pdrs.len() < SEARCHES {
        let found = alone(&reflectors[0], || tester::pdr(&reflectors[0].attach(), cpus[0], burst))?;
        eprintln!("latency: testpmd's PDR is {:.2} Mpps", found / 1e6);
        latency.pdrs.push(found);
    }
    while latency.goes_on(end) {
        let load = latency.next_load();
        let first = latency.of(load).count() % 2;
        let mut pair = pair(&reflectors, conditions, load, first, latency.pdr(), length)?;
        pair.judge(rule.others);
        say(&pair);
        latency.pairs.push(pair);
    }
    Ok(())
}

/// Measures both at a load, the one at `first` before the other.
fn pair(
    reflectors: &[Reflector; 2],
    conditions: Conditions,
    load: u32,
    first: usize,
    pdr: f64,
    length: Duration,
) -> Result<Pair> {
    let cpus = conditions.cpus;
    let probe = || Ok::<_, anyhow::Error>(Probe::take(cpus)?.round_trip);
    let one = |at: usize| member(&reflectors[at], conditions, load, pdr, length);
    let before = probe()?;
    let earlier = one(first)?;
    let between = probe()?;
    let later = one(1 - first)?;
    let members = if first == 0 { [earlier, later] } else { [later, earlier] };
    Ok(Pair { load, members, round_trips: [before, between, probe()?], dropped: None })
}

/// Measures one at a load, from when it goes on to when it is frozen again.
fn member(reflector: &Reflector, conditions: Conditions, load: u32, pdr: f64, length: Duration) -> Result<Member> {
    let Conditions { cpus, burst, .. } = conditions;
    let [load, pdr, cpu] = [load.to_string(), format!("{pdr:.0}"), cpus[0].to_string()];
    let [burst, length, attach] = [burst.to_string(), length.as_secs_f64().to_string(), reflector.attach()];
    let mut arguments = vec!["latency", "--attach", &attach, "--loads", &load, "--pdr", &pdr];
    arguments.extend(["--duration", &length, "--cores", &cpu, "--burst", &burst]);
    let pids = [reflector.process().id()];
    let cpu_time = || Reading::take(&cpus, ran(&pids) + children_ran()?);
    alone(reflector, || {
        let before = cpu_time()?;
        let rows: Vec<Latencies> = tester::bench(&arguments)?;
        let disturbance = before.until(&cpu_time()?, cpus.len());
        Ok(Member { latencies: *rows.first().context("no row of latencies")?, disturbance })
    })
}

/// Lets a frozen one go on while `during` is done.
fn alone<T>(reflector: &Reflector, during: impl FnOnce() -> Result<T>) -> Result<T> {
    reflector.process().thaw()?;
    let done = during();
    reflector.process().freeze()?;
    done
}

/// One line of progress.
fn say(pair: &Pair) {
    let [theirs, ours] = pair.members.map(|Member { latencies: Latencies { p50_us, p99_us, p999_us, .. }, .. }| {
        format!("{p50_us:.2} {p99_us:.2} {p999_us:.2}")
    });
    let dropped = pair.dropped.as_ref().map_or_else(String::new, |reason| format!(", dropped: {reason}"));
    eprintln!("latency at {} %, p50 p99 p99.9 us: testpmd {theirs}, lport {ours}{dropped}", pair.load);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A pair at a load with these percentiles (p50, p99, p99.9 in microseconds) of testpmd and of ours.
    pub(in super::super) fn pair(load: u32, times: [[f64; 3]; 2]) -> Pair {
        let member = |[p50_us, p99_us, p999_us]: [f64; 3]| Member {
            latencies: Latencies {
                offered_mpps: f64::from(load) / 10.0,
                intended: 1000,
                lost: 0,
                samples: 1000,
                p50_us,
                p99_us,
                p999_us,
                max_us: p999_us,
                disturbed: false,
            },
            disturbance: Disturbance { others: 0.0, stolen: 0.0 },
        };
        Pair { load, members: times.map(member), round_trips: [100.0; 3], dropped: None }
    }

    fn latency(pairs: Vec<Pair>) -> Latency {
        Latency { pdrs: vec![10e6], pairs, failures: Vec::new() }
    }

    fn verdicts(latency: &Latency, load: u32) -> Vec<Verdict> {
        latency.rows().iter().filter(|row| row.load == load).map(|row| row.verdict).collect()
    }

    #[test]
    fn the_ratio_is_the_median_of_pairs_whatever_the_machine_did_between_them() {
        // The same program at half the speed of the machine: medians over all would compare different times.
        let at = |factor: f64| [[factor, 2.0 * factor, 4.0 * factor], [0.8 * factor, 2.0 * factor, 5.0 * factor]];
        let latency = latency([1.0, 2.0, 8.0].map(|factor| pair(50, at(factor))).into());
        let rows: Vec<_> = latency.rows().into_iter().filter(|row| row.load == 50).collect();
        assert_eq!(rows.iter().map(|row| row.ratio).collect::<Vec<_>>(), [0.8, 1.0, 1.25]);
        assert_eq!((rows[0].medians_us, rows[0].pairs, rows[0].offered_mpps), ([2.0, 1.6], 3, 5.0));
        assert_eq!(verdicts(&latency, 50), [Verdict::Reached, Verdict::Reached, Verdict::Missed]);
        assert_eq!(verdicts(&latency, 90), [Verdict::NotMeasured; 3]);
    }

    #[test]
    fn half_of_the_packets_have_to_be_faster_and_the_slow_ones_no_slower() {
        let same = latency(vec![pair(10, [[1.0, 2.0, 3.0]; 2]), pair(0, [[1.0, 2.0, 3.0]; 2])]);
        assert_eq!(verdicts(&same, 10), [Verdict::Missed, Verdict::Reached, Verdict::Reached]);
        assert_eq!(verdicts(&same, 0), [Verdict::NoGoal; 3]);
        let slower = latency(vec![pair(10, [[1.0, 2.0, 3.0], [0.9, 2.1, 3.2]])]);
        assert_eq!(verdicts(&slower, 10), [Verdict::Reached, Verdict::Reached, Verdict::Missed]);
    }

    #[test]
    fn who_loses_packets_that_the_other_brings_back_is_not_better() {
        let mut losing = pair(90, [[2.0; 3], [1.0; 3]]);
        losing.members[1].latencies.lost = 6;
        assert_eq!(verdicts(&latency(vec![losing.clone()]), 90), [Verdict::Missed; 3]);
        losing.members[0].latencies.lost = 6;
        assert_eq!(verdicts(&latency(vec![losing]), 90), [Verdict::Reached; 3]);
    }

    #[test]
    fn a_pair_is_dropped_when_others_ran_or_the_cpus_moved() {
        let reason = |change: fn(&mut Pair)| {
            let mut pair = pair(10, [[1.0; 3]; 2]);
            change(&mut pair);
            pair.judge(0.02);
            pair.dropped.unwrap_or_default()
        };
        assert_eq!(reason(|pair| pair.round_trips = [100.0, 150.0, 100.0]), "");
        assert!(reason(|pair| pair.round_trips = [300.0, 300.0, 100.0]).contains("3.0 times as far"));
        assert!(reason(|pair| pair.members[1].disturbance.stolen = 0.03).contains("3.0 %"));
        assert!(reason(|pair| pair.members[0].latencies.disturbed = true).contains("kept from its CPU"));
    }

    #[test]
    fn the_load_that_has_fewest_pairs_that_count_is_next() {
        let mut latency = latency(LOADS.map(|load| pair(load, [[1.0; 3]; 2])).into());
        assert_eq!(latency.next_load(), 0);
        latency.pairs[2].dropped = Some("others".into());
        for _ in 0..3 {
            assert_eq!(latency.next_load(), 50);
            latency.pairs.push(Pair { dropped: Some("others".into()), ..pair(50, [[1.0; 3]; 2]) });
        }
        assert_eq!(latency.next_load(), 0);
    }
}
