//! One measurement of one subject.
//!
//! 1. [`Contender::start`] starts the subject's processes, lets them warm up, and freezes them. Those of several subjects can
//!    so stand ready at the same time without disturbing each other.
//! 2. [`Contender::measure`] lets them go on, reads twice, asks what the ends of a chain leave, and freezes them again; then it
//!    probes the CPUs. What they were like before is known from the measurement before it.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::cases::{Work, ZeroCopy};
use super::disturbance::{self, Disturbance};
use super::limits::HotLoop;
use super::probe::Probe;
use super::processes::{Program, Stage, Traffic};
use super::rule::{Circumstances, Rule};
use crate::process::wait_until;
use crate::testbed::Testbed;

/// Packets that must have arrived before the time to warm up begins.
const FIRST_PACKETS: u64 = 100_000;

/// Time to warm up.
const WARM_UP: Duration = Duration::from_millis(200);

/// Time for rings and caches to fill again after the processes were frozen, and for what adapts itself to get over it.
const AFTER_FREEZE: Duration = Duration::from_millis(60);

/// Time packets are counted. Short, so that what is compared is near in time; a counter that is printed every 100 ms makes
/// it somewhat longer.
const WINDOW: Duration = Duration::from_millis(150);

/// The same of a loop, which is started for it: what starting costs must be small beside it.
const LOOP_WINDOW: Duration = Duration::from_millis(300);

/// How it is measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Conditions {
    /// The CPUs of the server (of a single process, of a chain's ends) and of the client (of a chain's forwarder).
    pub cpus: [usize; 2],
    /// Packets per burst, 1 to 256.
    pub burst: u16,
    /// Which measurements are dropped.
    pub rule: Rule,
    /// How many pairs of a row are wanted in a round.
    pub pairs: u32,
    /// How many more may be measured in place of dropped ones.
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

impl Subject {
    /// A program at a work of the table.
    pub fn of(program: Program, work: Work, zero_copy: ZeroCopy, size: usize) -> Self {
        Self::Program { program, traffic: Traffic { work, zero_copy, size, large_buffers: false } }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Packets per second.
    pub rate: f64,
    /// How long was measured.
    pub seconds: f64,
    /// Packets per second that the ends of a chain could have moved ([`super::ends`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_of_ends: Option<f64>,
    /// In which circumstances.
    #[serde(flatten)]
    pub circumstances: Circumstances,
}

impl AsRef<Circumstances> for Sample {
    fn as_ref(&self) -> &Circumstances {
        &self.circumstances
    }
}

/// A subject that is ready to be measured.
#[derive(Debug)]
pub enum Contender {
    /// Processes, frozen.
    Stage {
        /// All of them.
        stage: Stage,
        /// The CPUs that they poll on.
        polling: Vec<usize>,
    },
    /// Nothing yet: each measurement is a process of its own.
    Loop(HotLoop),
}

impl Contender {
    /// Gets a subject ready.
    ///
    /// # Errors
    /// When a process does not start, or no packet moves.
    pub fn start(testbed: &Testbed, subject: Subject, conditions: Conditions) -> Result<Self> {
        match subject {
            Subject::Loop(hot_loop) => Ok(Self::Loop(hot_loop)),
            Subject::Program { program, traffic } => {
                let Conditions { cpus, burst, .. } = conditions;
                let mut stage = Stage::start(testbed, program, traffic, cpus, burst)?;
                wait_until("the first packets", || Ok((stage.reading()?.packets >= FIRST_PACKETS).then_some(())))?;
                thread::sleep(WARM_UP);
                stage.freeze()?;
                Ok(Self::Stage { stage, polling: cpus[..traffic.work.cpus()].to_vec() })
            }
        }
    }

    /// Measures it. `before` is what the CPUs, the same as those it was started with, were like just now.
    ///
    /// # Errors
    /// When a process is gone, or no packet moves.
    pub fn measure(&mut self, cpus: [usize; 2], before: Probe) -> Result<Sample> {
        let (moved, polled) = match self {
            Self::Stage { stage, polling } => (moved(stage, polling)?, polling.len()),
            Self::Loop(hot_loop) => {
                let (rate, seconds, disturbance) = hot_loop.measure(cpus[0], LOOP_WINDOW)?;
                (Moved { rate, seconds, limit_of_ends: None, disturbance }, 1)
            }
        };
        let Moved { rate, seconds, limit_of_ends, disturbance } = moved;
        let circumstances = Circumstances { disturbance, cpus: polled, probes: [before, Probe::take(cpus)?] };
        Ok(Sample { rate, seconds, limit_of_ends, circumstances })
    }
}

/// What moved while it was measured, as in [`Sample`], and who else used the CPUs.
struct Moved {
    rate: f64,
    seconds: f64,
    limit_of_ends: Option<f64>,
    disturbance: Disturbance,
}

/// What frozen processes, which poll on these CPUs, move between a thaw and the next freeze.
fn moved(stage: &mut Stage, polling: &[usize]) -> Result<Moved> {
    stage.thaw()?;
    thread::sleep(AFTER_FREEZE);
    let pids = stage.pids();
    let cpu_time = || disturbance::Reading::take(polling, disturbance::ran(&pids));
    let (before, first) = (cpu_time()?, stage.reading()?);
    thread::sleep(WINDOW);
    let (last, after) = (stage.reading()?, cpu_time()?);
    let limit_of_ends = stage.limit_of_ends(&first, &last)?;
    stage.freeze()?;
    ensure!(last.packets > first.packets, "packets stopped flowing at {}", first.packets);
    Ok(Moved {
        rate: first.rate_until(&last),
        seconds: last.seconds - first.seconds,
        limit_of_ends,
        disturbance: before.until(&after, polling.len()),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::rule::tests::quiet;
    use super::*;

    /// A measurement of a quiet machine.
    pub(in super::super) fn sample(rate: f64, cpus: usize, round_trip: f64) -> Sample {
        Sample { rate, seconds: 0.2, limit_of_ends: None, circumstances: quiet(cpus, round_trip) }
    }
}
