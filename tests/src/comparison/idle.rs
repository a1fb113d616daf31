//! Idle mode: what sleeping saves beside a program that polls for ever, and what it costs.
//!
//! `lport bench idle` measures ours, run after run: CPU time without traffic, the first packet after a sleep, and throughput
//! with idle mode and without, in turn. Three things are put beside it: testpmd's CPU time without traffic; a bare thread that
//! sleeps on an eventfd, on the same CPU after the same pauses, which no program that sleeps can beat; and our own throughput
//! without idle mode. On a machine whose bare wake-up alone takes longer than the goal there is nothing to judge.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::cases::Verdict;
use super::disturbance::ran;
use super::measuring::Conditions;
use super::processes::Program;
use super::reflector::Reflector;
use super::statistics::{CHANCE, chance, median};
use super::tester::{self, IdleRow};
use crate::testbed::Testbed;

/// Per cent of a core that idle mode is to stay below without traffic.
pub const CPU: f64 = 1.0;

/// Microseconds within which 99 of a hundred first packets after a sleep are to be back.
pub const FIRST_PACKET: f64 = 50.0;

/// The share of the throughput without idle mode that counts as none lost, for the noise of a measurement.
pub const THROUGHPUT: f64 = 0.98;

/// Milliseconds without packets after which our thread sleeps; pauses follow from it. Short, for many sleeps in little time.
const IDLE_TIMEOUT: &str = "1";

/// How often throughput is measured in each run, with idle mode and without. Few and long: a thread that slept until a trial
/// began, on a CPU that slept as well, needs some milliseconds to be as fast as one that polled.
const ROUNDS: &str = "4";

/// How long testpmd is watched in each run.
const WATCHED: Duration = Duration::from_secs(1);

/// How often something may fail until it is given up.
const FAILURES: usize = 3;

/// What was measured, run by run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Idle {
    /// Per cent of a core that testpmd takes without traffic.
    pub testpmd_cpu: Vec<f64>,
    /// What `lport bench idle` printed.
    pub runs: Vec<Vec<IdleRow>>,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// Something that is compared.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What, with its unit.
    pub what: &'static str,
    /// What stands beside it.
    pub beside: &'static str,
    /// Medians: of that, and of ours with idle mode.
    pub medians: [f64; 2],
    /// What ours has to reach.
    pub goal: String,
    /// Whether it does.
    pub verdict: Verdict,
}

impl Idle {
    /// All rows.
    pub fn rows(&self) -> Vec<Row> {
        let [typical, late] = self.first_packets();
        vec![self.cpu_time(), typical, late, self.throughput_kept()]
    }

    fn cpu_time(&self) -> Row {
        let ours = self.median("idle", |row| row.cpu_percent);
        Row {
            what: "CPU time without traffic, per cent of a core",
            beside: "testpmd",
            medians: [median(&self.testpmd_cpu), ours],
            goal: format!("below {CPU}"),
            verdict: smaller(ours, ours < CPU),
        }
    }

    /// At p50, and at p99.
    fn first_packets(&self) -> [Row; 2] {
        let medians = |of: fn(&IdleRow) -> f64| {
            ["bare wake-up", "idle"].map(|mode| self.median(mode, |row| (!row.disturbed).then(|| of(row))))
        };
        let (typical, late) = (medians(|row| row.p50_us), medians(|row| row.p99_us));
        let row = |what, medians, goal, verdict| Row { what, beside: "a bare wake-up", medians, goal, verdict };
        [
            row("first packet after a sleep, p50 us", typical, String::new(), Verdict::of(typical[1], None)),
            row("first packet after a sleep, p99 us", late, format!("{FIRST_PACKET}"), first_packet(late)),
        ]
    }

    fn throughput_kept(&self) -> Row {
        let ratios = self.throughput();
        Row {
            what: "throughput at full load",
            beside: "without idle mode",
            medians: [1.0, median(&ratios)],
            goal: format!("{THROUGHPUT}"),
            verdict: throughput(&ratios),
        }
    }

    /// Packets per second at full load, in millions: without idle mode, and with it.
    pub fn rates(&self) -> [f64; 2] {
        ["polling", "idle"].map(|mode| {
            let rates: Vec<_> = self.of(mode).flat_map(|row| row.rounds_mpps.clone()).collect();
            median(&rates)
        })
    }

    /// Throughput with idle mode over that without, round by round: both were measured right after each other.
    pub fn throughput(&self) -> Vec<f64> {
        let rounds = |run: &Vec<IdleRow>, mode: &str| {
            run.iter().find(|row| row.mode == mode).map(|row| row.rounds_mpps.clone()).unwrap_or_default()
        };
        let pairs = self.runs.iter().flat_map(|run| rounds(run, "idle").into_iter().zip(rounds(run, "polling")));
        pairs.map(|(with, without)| with / without).collect()
    }

    fn of(&self, mode: &str) -> impl Iterator<Item = &IdleRow> {
        self.runs.iter().flatten().filter(move |row| row.mode == mode)
    }

    fn median(&self, mode: &str, of: impl Fn(&IdleRow) -> Option<f64>) -> f64 {
        median(&self.of(mode).filter_map(of).collect::<Vec<_>>())
    }
}

/// Of a value that is the better the smaller it is, if there is one.
fn smaller(value: f64, is_reached: bool) -> Verdict {
    match value {
        value if !value.is_finite() => Verdict::NotMeasured,
        _ if is_reached => Verdict::Reached,
        _ => Verdict::Missed,
    }
}

/// A machine that takes longer to wake anybody up says nothing about us.
fn first_packet([bare, ours]: [f64; 2]) -> Verdict {
    match smaller(ours, ours <= FIRST_PACKET) {
        Verdict::Missed if bare > FIRST_PACKET => Verdict::Undecided,
        verdict => verdict,
    }
}

/// The median decides; against us only where so many rounds lost something that it was not chance.
fn throughput(ratios: &[f64]) -> Verdict {
    let lost = ratios.iter().filter(|ratio| **ratio < THROUGHPUT).count();
    match Verdict::of(median(ratios), Some(THROUGHPUT)) {
        Verdict::Missed if chance(lost, ratios.len()) > CHANCE => Verdict::Undecided,
        verdict => verdict,
    }
}

/// Measures until `time` is over, at least once, with parts of `length`. What fails is tried again, and ends nothing but this.
pub fn measure(testbed: &Testbed, conditions: Conditions, time: Duration, length: Duration) -> Idle {
    let mut idle = Idle::default();
    let end = Instant::now() + time;
    while idle.failures.len() < FAILURES && (idle.runs.is_empty() || Instant::now() < end) {
        if let Err(error) = run(testbed, conditions, length, &mut idle) {
            eprintln!("idle: {error:#}");
            idle.failures.push(format!("{error:#}"));
        }
    }
    idle
}

fn run(testbed: &Testbed, conditions: Conditions, length: Duration, idle: &mut Idle) -> Result<()> {
    let Conditions { cpus: [first, second], burst, .. } = conditions;
    let (cpus, burst, length) = (format!("{first},{second}"), burst.to_string(), length.as_secs_f64().to_string());
    idle.testpmd_cpu.push(testpmd_at_rest(testbed, conditions)?);
    let mut arguments = vec!["idle", "--idle-timeout", IDLE_TIMEOUT, "--duration", &length, "--rounds", ROUNDS];
    arguments.extend(["--cores", &cpus, "--burst", &burst]);
    idle.runs.push(tester::bench(&arguments)?);
    say(idle)
}

/// Per cent of a core that all threads of testpmd take without traffic.
fn testpmd_at_rest(testbed: &Testbed, conditions: Conditions) -> Result<f64> {
    let reflector = Reflector::start(testbed, Program::Testpmd, conditions.cpus[1], conditions.burst)?;
    let pids = [reflector.process().id()];
    let (start, before) = (Instant::now(), ran(&pids));
    thread::sleep(WATCHED);
    Ok((ran(&pids) - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}

/// One line of progress.
fn say(idle: &Idle) -> Result<()> {
    let last = idle.runs.last().context("no run")?;
    let row = |mode: &str| last.iter().find(|row| row.mode == mode).with_context(|| format!("no row `{mode}`"));
    let (ours, bare) = (row("idle")?, row("bare wake-up")?);
    eprintln!(
        "idle: {:.2} % of a core, testpmd {:.0} %; first packet {:.1} us, bare wake-up {:.1} us at p99",
        ours.cpu_percent.unwrap_or(f64::NAN),
        idle.testpmd_cpu.last().unwrap_or(&f64::NAN),
        ours.p99_us,
        bare.p99_us
    );
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run with this much CPU time, these first packets at p99 (a bare wake-up's, ours), and these rates of some rounds.
    pub(in super::super) fn idle(cpu: f64, p99: [f64; 2], polling: &[f64], sleeping: &[f64]) -> Idle {
        let row = |mode: &str, cpu_percent, p99_us, rates: &[f64]| IdleRow {
            mode: mode.to_owned(),
            cpu_percent,
            p50_us: p99_us / 2.0,
            p99_us,
            rounds_mpps: rates.to_vec(),
            disturbed: false,
        };
        let run = vec![
            row("polling", Some(99.0), 1.0, polling),
            row("idle", Some(cpu), p99[1], sleeping),
            row("bare wake-up", None, p99[0], &[]),
        ];
        Idle { testpmd_cpu: vec![97.0], runs: vec![run], failures: Vec::new() }
    }

    fn verdicts(idle: &Idle) -> [Verdict; 4] {
        idle.rows().iter().map(|row| row.verdict).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn rows_put_testpmd_the_bare_wake_up_and_polling_beside_ours() {
        let idle = idle(0.1, [30.0, 40.0], &[10.0, 20.0, 10.0], &[9.9, 19.9, 9.9]);
        let medians: Vec<_> = idle.rows().iter().map(|row| row.medians).collect();
        assert_eq!(medians, [[97.0, 0.1], [15.0, 20.0], [30.0, 40.0], [1.0, 0.99]]);
        use Verdict::{NoGoal, Reached};
        assert_eq!(verdicts(&idle), [Reached, NoGoal, Reached, Reached]);
    }

    #[test]
    fn first_packets_of_a_run_that_others_disturbed_do_not_count() {
        let mut two = idle(0.1, [30.0, 40.0], &[10.0], &[10.0]);
        let mut disturbed = idle(0.1, [30.0, 4000.0], &[10.0], &[10.0]).runs.remove(0);
        disturbed[1].disturbed = true;
        two.runs.push(disturbed);
        assert_eq!((two.rows()[2].medians, two.rows()[2].verdict), ([30.0, 40.0], Verdict::Reached));
    }

    #[test]
    fn throughput_is_compared_round_by_round() {
        // The machine became slower with the second round: medians over all would not show that nothing was lost.
        let idle = idle(0.1, [30.0, 40.0], &[20.0, 10.0, 10.0], &[20.0, 9.9, 9.0]);
        assert_eq!(idle.rates(), [10.0, 9.9]);
        assert_eq!((idle.throughput(), verdicts(&idle)[3]), (vec![1.0, 0.99, 0.9], Verdict::Reached));
    }

    #[test]
    fn goals_are_missed_by_what_is_ours_only() {
        use Verdict::{Missed, NoGoal, NotMeasured, Undecided};
        let slow = idle(1.2, [30.0, 60.0], &[10.0; 5], &[9.0; 5]);
        assert_eq!(verdicts(&slow), [Missed, NoGoal, Missed, Missed]);
        // Three rounds prove nothing.
        assert_eq!(verdicts(&idle(0.1, [30.0, 40.0], &[10.0; 3], &[9.0; 3]))[3], Undecided);
        // Nobody is woken sooner on this machine.
        assert_eq!(verdicts(&idle(0.1, [55.0, 60.0], &[10.0; 3], &[10.0; 3]))[2], Undecided);
        assert_eq!(verdicts(&Idle::default()), [NotMeasured; 4]);
    }

    #[test]
    fn goals_are_reached_as_the_table_words_them() {
        let exactly = idle(1.0, [30.0, 50.0], &[100.0; 3], &[98.0; 3]);
        let goals: Vec<_> = exactly.rows().into_iter().map(|row| row.goal).collect();
        assert_eq!(goals, ["below 1", "", "50", "0.98"]);
        use Verdict::{Missed, NoGoal, Reached};
        assert_eq!(verdicts(&exactly), [Missed, NoGoal, Reached, Reached]);
        assert_eq!(verdicts(&idle(0.99, [30.0, 50.0], &[], &[]))[0], Reached);
    }
}
