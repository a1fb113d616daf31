//! Our program and dpdk-testpmd at the same work on the same cores, interleaved.
//!
//! 1. A [`Case`] is a kind of work and a packet size; every case is measured once a round, first testpmd, then us, so
//!    that whatever disturbs the machine disturbs both.
//! 2. [`run_round`] measures one case with both: testpmd through [`measure`], us through `lport bench`.
//! 3. [`Outcome`] holds the rates of a case over all rounds, and gives medians, their ratio and the spread.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::lport;
use crate::measure::{self, Work};
use crate::memif::Role;
use crate::testbed::Testbed;

/// A kind of work, in the words of `lport bench --work`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrangement {
    /// One process, one core: two memif ports joined with each other.
    Loopback,
    /// Two processes, one core each: the server sends.
    ServerToClient,
    /// Two processes, one core each: the client sends.
    ClientToServer,
}

impl Arrangement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Loopback, Self::ServerToClient, Self::ClientToServer];

    /// Its word on the command line of `lport bench`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::ServerToClient => "server-to-client",
            Self::ClientToServer => "client-to-server",
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The kind of work.
    pub arrangement: Arrangement,
    /// Bytes per packet.
    pub packet_size: usize,
}

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// The CPUs of the server (and of a single process) and of the client.
    pub cpus: [usize; 2],
    /// Packets per burst.
    pub burst: u16,
    /// How long each of the two is measured in a round.
    pub duration: Duration,
}

/// The rates of a case, one of each per round, in packets per second.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The kind of work.
    pub arrangement: Arrangement,
    /// Bytes per packet.
    pub packet_size: usize,
    /// testpmd's.
    pub testpmd: Vec<f64>,
    /// Ours.
    pub lport: Vec<f64>,
}

impl Outcome {
    /// A case that was not measured yet.
    pub fn new(case: Case) -> Self {
        let Case { arrangement, packet_size } = case;
        Self { arrangement, packet_size, testpmd: Vec::new(), lport: Vec::new() }
    }

    /// The case it belongs to.
    pub fn case(&self) -> Case {
        Case { arrangement: self.arrangement, packet_size: self.packet_size }
    }

    /// Our median over testpmd's.
    pub fn ratio(&self) -> f64 {
        median(&self.lport) / median(&self.testpmd)
    }
}

/// The middle of some rates; the mean of the two in the middle of an even number; NaN of none.
pub fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// The distance from the slowest to the fastest, as a share of the median.
pub fn spread(rates: &[f64]) -> f64 {
    let (slowest, fastest) =
        rates.iter().fold((f64::MAX, f64::MIN), |(low, high), &rate| (low.min(rate), high.max(rate)));
    (fastest - slowest) / median(rates)
}

/// Measures a case with testpmd, then with us, and adds both rates to its outcome.
///
/// # Errors
/// When one of the two fails.
pub fn run_round(testbed: &Testbed, outcome: &mut Outcome, conditions: Conditions) -> Result<()> {
    outcome.testpmd.push(measure_testpmd(testbed, outcome.case(), conditions)?);
    outcome.lport.push(measure_lport(outcome.case(), conditions)?);
    Ok(())
}

fn measure_testpmd(testbed: &Testbed, case: Case, conditions: Conditions) -> Result<f64> {
    let Conditions { cpus, burst, duration } = conditions;
    let work = Work { packet_size: case.packet_size, burst, zero_copy: false, duration };
    let rate = match case.arrangement {
        Arrangement::Loopback => measure::loopback(testbed, cpus[0], work),
        Arrangement::ServerToClient => measure::one_way(testbed, Role::Server, cpus, work),
        Arrangement::ClientToServer => measure::one_way(testbed, Role::Client, cpus, work),
    };
    Ok(rate?.packets_per_second())
}

/// What is read of the answer of `lport bench --json`.
#[derive(Deserialize)]
struct Answer {
    results: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    mpps: f64,
}

fn measure_lport(case: Case, conditions: Conditions) -> Result<f64> {
    let Conditions { cpus, burst, duration } = conditions;
    let mut command = Command::new(lport::program()?);
    command.args(["bench", "--json", "--work", case.arrangement.word()]);
    command.args(["--sizes", &case.packet_size.to_string(), "--burst", &burst.to_string()]);
    command.args(["--seconds", &duration.as_secs_f64().to_string(), "--cores", &format!("{},{}", cpus[0], cpus[1])]);
    let output = command.output().context("cannot start lport")?;
    ensure!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let answer: Answer = serde_json::from_slice(&output.stdout).with_context(|| format!("answer of {command:?}"))?;
    let row = answer.results.first().with_context(|| format!("{command:?} gave no result"))?;
    Ok(row.mpps * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads_of_odd_and_even_counts() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), spread(&[3.0, 1.0, 2.0])), (2.0, 1.0));
        assert_eq!((median(&[4.0, 1.0]), spread(&[4.0, 1.0])), (2.5, 1.2));
        assert!(median(&[]).is_nan());
    }
}
