//! `lport bench latency`: how long packets take there and back, at no load and at shares of the PDR; through an `lport run`,
//! or through a process that somebody else has started (`--attach`).
//!
//! A packet's number says when it was to be sent ([`super::schedule`]), and its latency counts from there: packets that had to
//! wait because earlier ones were slow are as slow as they would be for a user. The histogram is HDR.

use std::time::Duration;

use serde::Serialize;

use super::args::LatencyArgs;
use super::arrangement::Work;
use super::driver::AttachedWords;
use super::find::{Exactness, goals};
use super::frames::FrameSize;
use super::histogram::Percentiles;
use super::machine::Fingerprint;
use super::progress::Progress;
use super::report::{DISTURBED, mark, mpps, print_results};
use super::rig::Rig;
use super::tester::Order;
use crate::failure::Failure;
use crate::output::{Align, Table, grouped, print};
use crate::signals::Signals;

/// Packets per second at "no load": each is long back before the next one goes.
const NO_LOAD: f64 = 10_000.0;

/// Most packets per second that go into the histogram.
const RECORDED: f64 = 500_000.0;

/// One packet in how many is recorded at `rate`, so that recording does not load the generator.
pub(super) fn record_every(rate: f64) -> u64 {
    (rate / RECORDED).ceil().max(1.0) as u64
}

/// The latencies at a load.
#[derive(Debug, Serialize)]
struct Row {
    work: Work,
    /// Our ends of links to a process that is not ours.
    attached: Vec<AttachedWords>,
    size: FrameSize,
    /// Per cent of the PDR; 0: no load.
    load_percent: u32,
    offered_mpps: f64,
    intended: u64,
    received: u64,
    lost: u64,
    #[serde(flatten)]
    latency: Percentiles,
    /// The longest time the generator was away.
    longest_gap_us: f64,
    disturbed: bool,
}

/// Runs the command.
///
/// # Errors
/// When a case cannot be run.
pub(super) fn latency(args: &LatencyArgs, signals: &Signals) -> Result<(), Failure> {
    let machine = Fingerprint::take();
    let progress = Progress::new();
    let mut rows = Vec::new();
    'cases: for (work, cores) in args.cases.works(&args.setup, || returning(args))? {
        for size in &args.cases.sizes {
            let directory = tempfile::tempdir()?;
            let arrangement = args.cases.arrange(&args.setup, work, *size, &cores, directory.path());
            args.cases.announce(&progress);
            let Some(mut rig) = Rig::start(&args.setup, &arrangement, directory.path(), signals)? else { break 'cases };
            let measured = measure(args, work, *size, &mut rig, &progress);
            rig.stop()?;
            rows.extend(measured?);
            if signals.came() {
                break 'cases;
            }
        }
    }
    drop(progress);
    if args.manner.json {
        return print_results(&machine, &args.setup, &rows);
    }
    print(&table(&rows).to_string())?;
    if rows.iter().any(|row| row.disturbed) { print(DISTURBED) } else { Ok(()) }
}

/// The works that were asked for, or else the round trip, if packets come back.
fn returning(args: &LatencyArgs) -> Result<Vec<Work>, Failure> {
    let asked = match (&args.cases.work[..], args.setup.driver.is_memif()) {
        ([], true) => vec![Work::RoundTrip],
        (asked, _) => super::find::usual(&args.setup, asked)?,
    };
    match asked.iter().find(|work| !work.returns()) {
        None => Ok(asked),
        Some(work) => {
            let message = format!("latency needs packets that come back: not {}, but round-trip or chain", work.word());
            Err(Failure::Configuration(message))
        }
    }
}

fn measure(
    args: &LatencyArgs,
    work: Work,
    size: FrameSize,
    rig: &mut Rig<'_>,
    progress: &Progress,
) -> Result<Vec<Row>, Failure> {
    let label = format!("{}, {size} bytes", work.word());
    let needs_pdr = args.loads.iter().any(|load| *load > 0);
    let pdr = if needs_pdr { pdr(args, rig, progress, &label)? } else { Some(0.0) };
    let Some(pdr) = pdr else { return Ok(Vec::new()) };
    let duration = args.manner.duration(args.duration, 2.0, 0.3);
    let mut rows = Vec::new();
    for &load_percent in &args.loads {
        let rate = if load_percent == 0 { NO_LOAD } else { pdr * f64::from(load_percent) / 100.0 };
        progress.show(&format!("{label}: {load_percent} % of {} Mpps", mpps(pdr)));
        let order = Order { rate: Some(rate), duration, record_every: record_every(rate) };
        let outcome = rig.undisturbed(order)?;
        if rig.is_interrupted() {
            break;
        }
        rows.push(Row {
            work,
            attached: args.cases.attach.clone(),
            size,
            load_percent,
            offered_mpps: rate / 1e6,
            intended: outcome.tally.intended,
            received: outcome.tally.received,
            lost: outcome.lost(),
            latency: outcome.tally.latencies.percentiles(),
            longest_gap_us: outcome.tally.longest_gap.as_nanos() as f64 / 1e3,
            disturbed: outcome.disturbed,
        });
    }
    Ok(rows)
}

/// What was given, or found by a search under the conditions of these trials. `None`: a signal came.
fn pdr(args: &LatencyArgs, rig: &mut Rig<'_>, progress: &Progress, label: &str) -> Result<Option<f64>, Failure> {
    if let Some(pdr) = args.pdr {
        return Ok(Some(pdr as f64));
    }
    let trial = Duration::from_secs_f64(if args.manner.quick { 0.1 } else { 0.5 });
    let exactness = Exactness { records: true, width: 0.05, ..Exactness::of(&args.manner, trial) };
    let Some(searched) = goals(rig, &[("PDR", 0.005)], exactness, progress, label)? else { return Ok(None) };
    let found = searched.goals[0].found;
    match found.lower {
        Some(load) => Ok(Some(load as f64)),
        None => Err(Failure::Running(format!(
            "no load without much loss was found: even {} packets/s lose more than 0.5 %; name one with `--pdr`",
            found.upper.unwrap_or_default()
        ))),
    }
}

fn table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("work", Left),
        ("bytes", Right),
        ("load", Right),
        ("Mpps", Right),
        ("p50 us", Right),
        ("p99 us", Right),
        ("p99.9 us", Right),
        ("max us", Right),
        ("samples", Right),
        ("lost", Right),
        ("", Left),
    ]);
    for row in rows {
        let load = if row.load_percent == 0 { "none".into() } else { format!("{} %", row.load_percent) };
        let us = |us: f64| format!("{us:.1}");
        table.row([
            row.work.word(),
            row.size.to_string(),
            load,
            mpps(row.offered_mpps * 1e6),
            us(row.latency.p50_us),
            us(row.latency.p99_us),
            us(row.latency.p999_us),
            us(row.latency.max_us),
            grouped(row.latency.samples),
            grouped(row.lost),
            mark(row.disturbed),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_stays_within_what_a_generator_can_do_beside() {
        assert_eq!([1.0, 10_000.0, 500_000.0, 500_001.0, 12e6].map(record_every), [1, 1, 1, 2, 24]);
    }
}
