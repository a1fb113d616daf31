//! One measurement, and which of them a comparison needs.
//!
//! 1. [`subjects`] gives what has to be measured for some rows, each once: rows share testpmd's. Ours and testpmd's at the
//!    same work and size stand next to each other.
//! 2. [`measure`] starts the processes of one, lets them warm up, and reads twice; or runs a hot loop.
//! 3. A disturbed measurement ([`super::disturbance`]) is kept, but does not count, and is repeated a few times; so is one
//!    that failed, because testpmd 22.11 crashes now and then.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::cases::{Case, Work, ZeroCopy};
use super::disturbance::{self, Disturbance};
use super::limits::HotLoop;
use super::processes::{Program, Stage, Traffic, polling_cpus};
use crate::process::wait_until;
use crate::testbed::Testbed;

/// Packets that must have arrived before the time to warm up begins.
const FIRST_PACKETS: u64 = 100_000;

/// Time to warm up.
const WARM_UP: Duration = Duration::from_millis(200);

/// How often a measurement that fails is tried.
const ATTEMPTS: u32 = 3;

/// How it is measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Conditions {
    /// The CPUs of the server (of a single process, of a chain's ends) and of the client (of a chain's forwarder).
    pub cpus: [usize; 2],
    /// Packets per burst, 1 to 256.
    pub burst: u16,
    /// The share of the CPUs' time that others may take.
    pub tolerated: f64,
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
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// Packets per second.
    pub rate: f64,
    /// How long was measured.
    pub seconds: f64,
    /// Who else used the CPUs.
    pub disturbance: Disturbance,
    /// Whether the rule drops it.
    pub dropped: bool,
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
        self.samples.iter().filter(|sample| !sample.dropped).map(|sample| sample.rate).collect()
    }

    /// How many measurements were dropped.
    pub fn dropped(&self) -> usize {
        self.samples.iter().filter(|sample| sample.dropped).count()
    }

    /// Adds a measurement; further ones while they are disturbed or fail, within limits. What fails never ends a comparison.
    fn add(&mut self, repeats: u32, mut once: impl FnMut() -> Result<Sample>) {
        let (mut disturbed, mut failed) = (0, 0);
        while disturbed <= repeats && failed < ATTEMPTS {
            match once() {
                Ok(sample) => {
                    self.samples.push(sample);
                    if !sample.dropped {
                        return;
                    }
                    disturbed += 1;
                }
                Err(error) => {
                    self.failures.push(format!("{error:#}"));
                    failed += 1;
                }
            }
        }
    }
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
                let program = if *program == Program::Testpmd { "testpmd" } else { "lport" };
                format!("{program}: {}, zero-copy {}, {size} bytes", work.title(), zero_copy.title())
            }
            Self::Loop(hot_loop) => format!("hot loop {}", hot_loop.word()),
        }
    }
}

/// Measures a subject for a round, counting packets for `window`.
pub fn measure(testbed: &Testbed, conditions: Conditions, measured: &mut Measured, window: Duration) {
    let subject = measured.subject;
    measured.add(conditions.repeats, || {
        let (rate, seconds, disturbance) = match subject {
            Subject::Program { program, traffic } => moved(testbed, conditions, program, traffic, window)?,
            Subject::Loop(hot_loop) => hot_loop.measure(conditions.cpus[0], window)?,
        };
        Ok(Sample { rate, seconds, disturbance, dropped: disturbance.exceeds(conditions.tolerated) })
    });
}

/// Packets per second, in how long a time, and who else used the CPUs.
fn moved(
    testbed: &Testbed,
    conditions: Conditions,
    program: Program,
    traffic: Traffic,
    window: Duration,
) -> Result<(f64, f64, Disturbance)> {
    let Conditions { cpus, burst, .. } = conditions;
    let mut stage = Stage::start(testbed, program, traffic, cpus, burst)?;
    wait_until("the first packets", || Ok((stage.reading()?.packets >= FIRST_PACKETS).then_some(())))?;
    thread::sleep(WARM_UP);
    let (pids, cpus) = (stage.pids(), polling_cpus(traffic.work, cpus));
    let cpu_time = || disturbance::Reading::take(&cpus, disturbance::ran(&pids));
    let (before, first) = (cpu_time()?, stage.reading()?);
    thread::sleep(window);
    let (last, after) = (stage.reading()?, cpu_time()?);
    ensure!(last.packets > first.packets, "packets stopped flowing at {}", first.packets);
    Ok((first.rate_until(&last), last.seconds - first.seconds, before.until(&after, cpus.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use clap::ValueEnum;

    fn sample(dropped: bool) -> Sample {
        let disturbance = Disturbance { others: 0.0, stolen: 0.0 };
        Sample { rate: 1.0, seconds: 1.0, disturbance, dropped }
    }

    fn measured() -> Measured {
        Measured::new(Subject::of(Program::Lport, Work::Loopback, ZeroCopy::None, 64))
    }

    #[test]
    fn disturbed_measurements_are_repeated_and_do_not_count() {
        let mut measured = measured();
        let mut disturbed = [true, true, false, false].into_iter();
        measured.add(3, || Ok(sample(disturbed.next().unwrap())));
        assert_eq!((measured.rates().len(), measured.dropped()), (1, 2));
        // On a busy machine, a round ends without a rate.
        measured.add(3, || Ok(sample(true)));
        assert_eq!((measured.rates().len(), measured.dropped()), (1, 6));
    }

    #[test]
    fn failures_are_tried_again_kept_and_given_up() {
        let mut measured = measured();
        let mut crashes = 1;
        measured.add(0, || {
            crashes -= 1;
            if crashes >= 0 { bail!("crashed") } else { Ok(sample(false)) }
        });
        assert_eq!((measured.rates().len(), measured.failures.len()), (1, 1));
        measured.add(0, || bail!("not installed"));
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
