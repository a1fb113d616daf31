//! One measurement, and which of them a comparison needs.
//!
//! 1. [`subjects`] gives what has to be measured for some rows, each once: rows share testpmd's. Ours and testpmd's at the
//!    same work and size stand next to each other.
//! 2. [`measure`] starts the processes of one, lets them warm up, and reads twice; or runs a hot loop. Around the readings it
//!    looks at the machine.
//! 3. What was disturbed ([`super::disturbance`]) is kept, but does not count, and is repeated a few times while the processes
//!    run on. What failed is started again, because testpmd 22.11 crashes now and then.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::cases::{Case, Work, ZeroCopy};
use super::disturbance::{self, Disturbance, Rule};
use super::limits::HotLoop;
use super::probe::Probe;
use super::processes::{Program, Stage, Traffic, polling_cpus};
use crate::process::wait_until;
use crate::testbed::Testbed;

/// Packets that must have arrived before the time to warm up begins.
const FIRST_PACKETS: u64 = 100_000;

/// Time to warm up.
const WARM_UP: Duration = Duration::from_millis(200);

/// Time for the rings to fill again after the processes were frozen.
const AFTER_FREEZE: Duration = Duration::from_millis(20);

/// How often a measurement that fails is tried.
const ATTEMPTS: u32 = 3;

/// How it is measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Conditions {
    /// The CPUs of the server (of a single process, of a chain's ends) and of the client (of a chain's forwarder).
    pub cpus: [usize; 2],
    /// Packets per burst, 1 to 256.
    pub burst: u16,
    /// Which measurements are dropped.
    pub rule: Rule,
    /// How often a disturbed measurement is repeated in its round.
    pub repeats: u32,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A program at some work.
    Program {
        /// Which.
        program: Program,
        /// At what.
        traffic: Traffic,
    },
    /// A loop inside one process.
    Loop(HotLoop),
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Packets per second.
    pub rate: f64,
    /// How long was measured.
    pub seconds: f64,
    /// Who else used the CPUs.
    pub disturbance: Disturbance,
    /// How many CPUs it was about.
    pub cpus: usize,
    /// What the CPUs were like, at worst of before and after.
    pub probe: Probe,
    /// Why the rule drops it.
    pub dropped: Option<String>,
}

impl Sample {
    /// Applies the rule: by the best that the CPUs were like in all of the run so far.
    pub fn judge(&mut self, rule: Rule, best: Probe) {
        self.dropped = rule.reason(self.disturbance, self.cpus, self.probe, best);
    }
}

/// A subject, and what became of it in all rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// What is measured.
    pub subject: Subject,
    /// All measurements, the dropped ones too.
    pub samples: Vec<Sample>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Measured {
    /// One that was not measured yet.
    pub fn new(subject: Subject) -> Self {
        Self { subject, samples: Vec::new(), failures: Vec::new() }
    }

    /// The rates that count.
    pub fn rates(&self) -> Vec<f64> {
        self.samples.iter().filter(|sample| sample.dropped.is_none()).map(|sample| sample.rate).collect()
    }

    /// How many measurements were dropped.
    pub fn dropped(&self) -> usize {
        self.samples.iter().filter(|sample| sample.dropped.is_some()).count()
    }

    /// Tries `once`, and again when it fails, within limits. What fails never ends a comparison.
    fn attempt(&mut self, mut once: impl FnMut(&mut Vec<Sample>) -> Result<()>) {
        for _ in 0..ATTEMPTS {
            match once(&mut self.samples) {
                Ok(()) => return,
                Err(error) => self.failures.push(format!("{error:#}")),
            }
        }
    }
}

/// Adds a measurement to `samples`, and further ones while the rule drops them, within limits.
fn repeat(
    samples: &mut Vec<Sample>,
    conditions: Conditions,
    best: Probe,
    mut once: impl FnMut() -> Result<Sample>,
) -> Result<()> {
    let mut best = best;
    for _ in 0..=conditions.repeats {
        let mut sample = once()?;
        best = best.best(sample.probe);
        sample.judge(conditions.rule, best);
        let counts = sample.dropped.is_none();
        samples.push(sample);
        if counts {
            break;
        }
    }
    Ok(())
}

/// What has to be measured for some rows.
pub fn subjects(cases: &[Case]) -> Vec<Subject> {
    let mut subjects = Vec::new();
    let mut add = |subject| {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    };
    // Rows of one work and size next to each other, whatever the order of the table.
    let mut groups: Vec<(Work, usize)> = Vec::new();
    for case in cases {
        if !groups.contains(&(case.work, case.size)) {
            groups.push((case.work, case.size));
        }
    }
    for (work, size) in groups {
        for case in cases.iter().filter(|case| (case.work, case.size) == (work, size)) {
            for &zero_copy in case.zero_copy.of_testpmd() {
                add(Subject::of(Program::Testpmd, work, zero_copy, size));
            }
            add(Subject::of(Program::Lport, work, case.zero_copy, size));
        }
    }
    subjects
}

impl Subject {
    /// A program at a work of the table.
    pub fn of(program: Program, work: Work, zero_copy: ZeroCopy, size: usize) -> Self {
        Self::Program { program, traffic: Traffic { work, zero_copy, size, large_buffers: false } }
    }

    /// What progress calls it.
    pub fn title(&self) -> String {
        match self {
            Self::Program { program, traffic } => {
                let Traffic { work, zero_copy, size, .. } = traffic;
                format!("{}: {}, zero-copy {}, {size} bytes", program.word(), work.title(), zero_copy.title())
            }
            Self::Loop(hot_loop) => format!("hot loop {}", hot_loop.word()),
        }
    }
}

/// Measures a subject for a round, counting packets for `window`. `best` is what the CPUs were like at best so far.
pub fn measure(testbed: &Testbed, conditions: Conditions, best: Probe, measured: &mut Measured, window: Duration) {
    let subject = measured.subject;
    measured.attempt(|samples| match subject {
        Subject::Program { program, traffic } => {
            let Conditions { cpus, burst, .. } = conditions;
            let mut stage = Stage::start(testbed, program, traffic, cpus, burst)?;
            wait_until("the first packets", || Ok((stage.reading()?.packets >= FIRST_PACKETS).then_some(())))?;
            thread::sleep(WARM_UP);
            let polling = polling_cpus(traffic.work, cpus);
            repeat(samples, conditions, best, || moved(&mut stage, cpus, &polling, window))
        }
        Subject::Loop(hot_loop) => repeat(samples, conditions, best, || looped(hot_loop, conditions.cpus, window)),
    });
}

/// What the processes move.
fn moved(stage: &mut Stage, cpus: [usize; 2], polling: &[usize], window: Duration) -> Result<Sample> {
    let probe = stage.frozen(|| Probe::take(cpus))?;
    thread::sleep(AFTER_FREEZE);
    let pids = stage.pids();
    let cpu_time = || disturbance::Reading::take(polling, disturbance::ran(&pids));
    let (before, first) = (cpu_time()?, stage.reading()?);
    thread::sleep(window);
    let (last, after) = (stage.reading()?, cpu_time()?);
    ensure!(last.packets > first.packets, "packets stopped flowing at {}", first.packets);
    let probe = probe.worst(stage.frozen(|| Probe::take(cpus))?);
    let (rate, seconds) = (first.rate_until(&last), last.seconds - first.seconds);
    let disturbance = before.until(&after, polling.len());
    Ok(Sample { rate, seconds, disturbance, cpus: polling.len(), probe, dropped: None })
}

/// What a loop does.
fn looped(hot_loop: HotLoop, cpus: [usize; 2], window: Duration) -> Result<Sample> {
    let before = Probe::take(cpus)?;
    let (rate, seconds, disturbance) = hot_loop.measure(cpus[0], window)?;
    let probe = before.worst(Probe::take(cpus)?);
    Ok(Sample { rate, seconds, disturbance, cpus: 1, probe, dropped: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use clap::ValueEnum;

    const PROBE: Probe = Probe { round_trip: 100.0, work: [1.0, 1.0] };

    fn sample(others: f64, round_trip: f64) -> Sample {
        let disturbance = Disturbance { others, stolen: 0.0 };
        let probe = Probe { round_trip, ..PROBE };
        Sample { rate: 1.0, seconds: 1.0, disturbance, cpus: 2, probe, dropped: None }
    }

    fn measured() -> Measured {
        Measured::new(Subject::of(Program::Lport, Work::Loopback, ZeroCopy::None, 64))
    }

    const CONDITIONS: Conditions =
        Conditions { cpus: [0, 1], burst: 32, rule: Rule { others: 0.02, farther: 2.0, slower: 1.2 }, repeats: 3 };

    #[test]
    fn disturbed_measurements_are_repeated_and_do_not_count() {
        let mut measured = measured();
        let mut given = [sample(0.1, 100.0), sample(0.0, 300.0), sample(0.0, 100.0), sample(0.0, 100.0)].into_iter();
        repeat(&mut measured.samples, CONDITIONS, PROBE, || Ok(given.next().unwrap())).unwrap();
        assert_eq!((measured.rates().len(), measured.dropped(), given.len()), (1, 2, 1));
        // On a busy machine, a round ends without a rate.
        repeat(&mut measured.samples, CONDITIONS, PROBE, || Ok(sample(1.0, 100.0))).unwrap();
        assert_eq!((measured.rates().len(), measured.dropped()), (1, 6));
    }

    #[test]
    fn what_counted_is_dropped_when_the_cpus_turn_out_to_have_been_far_apart() {
        let mut early = sample(0.0, 300.0);
        early.judge(CONDITIONS.rule, Probe { round_trip: 290.0, ..PROBE });
        assert_eq!(early.dropped, None);
        early.judge(CONDITIONS.rule, PROBE);
        assert!(early.dropped.is_some());
    }

    #[test]
    fn failures_are_tried_again_kept_and_given_up() {
        let mut measured = measured();
        let mut crashes = 1;
        measured.attempt(|samples| {
            crashes -= 1;
            ensure!(crashes < 0, "crashed");
            samples.push(sample(0.0, 100.0));
            Ok(())
        });
        assert_eq!((measured.rates().len(), measured.failures.len()), (1, 1));
        measured.attempt(|_| bail!("not installed"));
        assert_eq!((measured.rates().len(), measured.failures.len()), (1, 1 + ATTEMPTS as usize));
    }

    #[test]
    fn everything_is_measured_once_and_ours_beside_testpmds() {
        let cases = Case::all(Work::value_variants(), &[64, 512]);
        let subjects = subjects(&cases);
        // 11 rows of ours; of testpmd's, the zero-copy server's are lacking.
        assert_eq!(subjects.len(), (11 + 8) * 2);
        let position = |program, size| {
            let subject = Subject::of(program, Work::ClientToServer, ZeroCopy::None, size);
            subjects.iter().position(|other| *other == subject).unwrap()
        };
        assert_eq!(position(Program::Lport, 512), position(Program::Testpmd, 512) + 1);
    }
}
