//! `lport bench` as the tester of both programs, and what it prints with `--json`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lport;

/// Seconds that a process under test is waited for, which is there already or has crashed.
pub(super) const WAIT: &str = "5";

/// A row of `lport bench latency`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Millions of packets per second that were offered.
    pub offered_mpps: f64,
    /// Packets whose moment came.
    pub intended: u64,
    /// Those of them that did not come back.
    pub lost: u64,
    /// Packets whose latency was recorded.
    pub samples: u64,
    /// Microseconds, of half of them.
    pub p50_us: f64,
    /// Of 99 in a hundred.
    pub p99_us: f64,
    /// Of 999 in a thousand.
    pub p999_us: f64,
    /// Of all.
    pub max_us: f64,
    /// Whether the tester itself was kept from its CPU, in every repetition.
    pub disturbed: bool,
}

/// A row of `lport bench idle`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdleRow {
    /// `polling`, `idle` or `bare wake-up`.
    pub mode: String,
    /// Per cent of a core without traffic.
    pub cpu_percent: Option<f64>,
    /// Microseconds until a packet that came after a pause was back.
    pub p50_us: f64,
    /// See there.
    pub p99_us: f64,
    /// Millions of packets per second at full load, round by round.
    pub rounds_mpps: Vec<f64>,
    /// Whether the tester or who answered was kept from its CPU while packets came after pauses.
    pub disturbed: bool,
}

/// Runs `lport bench` with these arguments, and gives the rows it prints.
///
/// # Errors
/// When it fails; the error shows what it said.
pub(super) fn bench<T: for<'de> Deserialize<'de>>(arguments: &[&str]) -> Result<Vec<T>> {
    let mut command = Command::new(lport::program()?);
    command.arg("bench").args(arguments).arg("--json").env_remove("RUST_LOG").env("NO_COLOR", "1");
    let output = command.output().context("cannot start lport bench")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "lport bench {}: {}: {}", arguments.join(" "), output.status, said.trim());
    rows(&String::from_utf8_lossy(&output.stdout))
}

/// The rows in what it printed.
fn rows<T: for<'de> Deserialize<'de>>(printed: &str) -> Result<Vec<T>> {
    let mut all: Value = serde_json::from_str(printed).with_context(|| format!("no JSON: {printed}"))?;
    serde_json::from_value(all["results"].take()).with_context(|| format!("unexpected results: {printed}"))
}

/// The highest load with at most 0.5 % of loss that a search has found, in packets per second.
///
/// # Errors
/// When it found none.
pub(super) fn pdr(attach: &str, cpu: usize, burst: u16) -> Result<f64> {
    let (cpu, burst) = (cpu.to_string(), burst.to_string());
    let arguments =
        ["search", "--quick", "--width", "10", "--attach", attach, "--wait", WAIT, "--cores", &cpu, "--burst", &burst];
    let rows: Vec<Value> = bench(&arguments)?;
    found(&rows).with_context(|| format!("no PDR in {rows:?}"))
}

fn found(rows: &[Value]) -> Option<f64> {
    let goals = rows.first()?["goals"].as_array()?;
    goals.iter().find(|goal| goal["name"] == "PDR")?["lower"].as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_whatever_else_is_printed_beside_them() {
        let row = r#"{"work":"round-trip","load_percent":10,"offered_mpps":1.5,"intended":9,"received":8,"lost":1,"samples":7,
                      "p50_us":0.4,"p99_us":0.8,"p999_us":2.5,"max_us":9.0,"longest_gap_us":3.0,"disturbed":false}"#;
        let read: Vec<Latencies> = rows(&format!(r#"{{"machine":{{}},"setup":{{}},"results":[{row}]}}"#)).unwrap();
        assert_eq!((read[0].lost, read[0].p999_us, read[0].disturbed), (1, 2.5, false));
        for bad in ["", "{}", r#"{"results":[{"p50_us":1}]}"#] {
            assert!(rows::<Latencies>(bad).unwrap_err().to_string().contains(bad), "{bad}");
        }
    }

    #[test]
    fn the_pdr_of_a_search_is_its_lower_bound() {
        let row: Value = serde_json::from_str(
            r#"{"goals":[{"name":"NDR","lower":10,"upper":11},{"name":"PDR","lower":12,"upper":13}]}"#,
        )
        .unwrap();
        assert_eq!(found(&[row]), Some(12.0));
        let nothing: Value = serde_json::from_str(r#"{"goals":[{"name":"PDR","lower":null,"upper":13}]}"#).unwrap();
        assert_eq!((found(&[nothing]), found(&[])), (None, None));
    }
}
