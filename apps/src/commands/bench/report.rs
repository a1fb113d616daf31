//! What all results have in common: rates as people read them, and the JSON around them.

use serde::Serialize;

use super::machine::Fingerprint;
use crate::failure::Failure;
use crate::output::print_json;

/// What is printed with `--json`.
#[derive(Debug, Serialize)]
struct Results<'a, T, S> {
    machine: &'a Fingerprint,
    /// What was asked for.
    setup: &'a S,
    results: &'a [T],
}

/// Prints results with the machine they belong to, on one line.
///
/// # Errors
/// When nobody reads.
pub(super) fn print_results<T: Serialize, S: Serialize>(
    machine: &Fingerprint,
    setup: &S,
    results: &[T],
) -> Result<(), Failure> {
    print_json(&Results { machine, setup, results })
}

/// A rate in millions per second.
pub(super) fn mpps(rate: f64) -> String {
    format!("{:.3}", rate / 1e6)
}

/// Processor cycles in so many nanoseconds, if the frequency is known.
pub(super) fn cycles(machine: &Fingerprint, ns: f64) -> Option<f64> {
    machine.mhz.map(|mhz| ns * mhz / 1e3)
}

/// Cycles, or that they are not known.
pub(super) fn cycles_text(cycles: Option<f64>) -> String {
    cycles.map_or_else(|| "?".into(), |cycles| format!("{cycles:.0}"))
}

/// How a disturbed measurement is marked.
pub(super) fn mark(disturbed: bool) -> String {
    if disturbed { "disturbed".into() } else { String::new() }
}

/// Tells what the marks mean, when there are any.
pub(super) const DISTURBED: &str =
    "disturbed: other work kept the polling threads from their CPUs in every repetition; run it on a quiet machine";
