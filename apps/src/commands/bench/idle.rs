//! `lport bench idle`: what sleeping saves, and what it costs.
//!
//! The other process of a round trip runs twice in turn, polling for ever and with idle mode on. Measured of each: the CPU
//! time of the whole process while nothing is sent; the round trip of single packets so far apart that each finds it asleep;
//! and the maximum receive rate.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::args::IdleArgs;
use super::arrangement::{THREAD, Work, arrange, works};
use super::frames::FrameSize;
use super::histogram::Percentiles;
use super::machine::Fingerprint;
use super::progress::Progress;
use super::report::{mark, mpps, print_results};
use super::rig::Rig;
use super::tester::Order;
use crate::failure::Failure;
use crate::output::{Align, Table, grouped, print};
use crate::signals::Signals;

/// How often throughput is measured, with and without idle mode in turn.
const ROUNDS: usize = 3;

/// What was measured of a mode.
#[derive(Debug, Clone, Serialize)]
struct Row {
    /// `polling` or `idle`.
    mode: &'static str,
    /// Per cent of a CPU that the whole process takes without traffic.
    cpu_percent: f64,
    /// The round trip of a packet that comes after a pause.
    #[serde(flatten)]
    latency: Percentiles,
    /// The pause.
    pause_ms: u64,
    /// Maximum receive rate: the median of the rounds.
    mpps: f64,
    /// All rounds.
    rounds_mpps: Vec<f64>,
    disturbed: bool,
}

/// Runs the command.
///
/// # Errors
/// When a process cannot be started, or fails.
pub(super) fn idle(args: &IdleArgs, signals: &Signals) -> Result<(), Failure> {
    let machine = Fingerprint::take();
    let progress = Progress::new();
    let directory = tempfile::tempdir()?;
    let duration = args.manner.duration(args.duration, 3.0, 0.5);
    let work = works(&args.setup, &[Work::RoundTrip])?.remove(0);
    let mut rows = ["polling", "idle"].map(|mode| Row {
        mode,
        cpu_percent: 0.0,
        latency: Percentiles::default(),
        pause_ms: 2 * args.idle_timeout + 5,
        mpps: 0.0,
        rounds_mpps: Vec::new(),
        disturbed: false,
    });
    'rounds: for round in 0..ROUNDS {
        for row in &mut rows {
            let mut arrangement = arrange(&args.setup, work.0, FrameSize::Fixed(64), &work.1, directory.path());
            if let (Some((file, _)), "idle") = (&mut arrangement.other, row.mode) {
                let thread = &mut file["threads"][THREAD];
                thread["idle_timeout"] = json!(args.idle_timeout);
                thread["intr_timeout"] = json!(args.intr_timeout);
            }
            progress.show(&format!("round {} of {ROUNDS}, {}", round + 1, row.mode));
            let Some(mut rig) = Rig::start(&args.setup, &arrangement, directory.path(), signals)? else {
                break 'rounds;
            };
            let measured = measure(row, &mut rig, round, duration, signals);
            rig.stop()?;
            measured?;
            if signals.came() {
                break 'rounds;
            }
        }
    }
    drop(progress);
    if args.manner.json { print_results(&machine, &args.setup, &rows) } else { print(&table(&rows).to_string()) }
}

fn measure(row: &mut Row, rig: &mut Rig<'_>, round: usize, length: Duration, signals: &Signals) -> Result<(), Failure> {
    let throughput = rig.undisturbed(Order { rate: None, duration: length / ROUNDS as u32, record_every: 0 })?;
    row.rounds_mpps.push(throughput.rate() / 1e6);
    let mut sorted = row.rounds_mpps.clone();
    sorted.sort_by(f64::total_cmp);
    row.mpps = sorted[sorted.len() / 2];
    if round > 0 {
        return Ok(());
    }
    // It falls asleep before it is watched.
    if signals.wait(Duration::from_millis(row.pause_ms + 50)) {
        return Ok(());
    }
    row.cpu_percent = rig.cpu_share_at_rest(length) * 100.0;
    let pause = Duration::from_millis(row.pause_ms);
    // At least a hundred packets, however long that takes: of fewer there is no 99th percentile.
    let order = Order { rate: Some(1.0 / pause.as_secs_f64()), duration: length.max(pause * 100), record_every: 1 };
    let first_packets = rig.trial(order)?;
    row.latency = first_packets.tally.latencies.percentiles();
    row.disturbed = first_packets.disturbed;
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("mode", Left),
        ("CPU without traffic", Right),
        ("packets after a pause", Right),
        ("p50 us", Right),
        ("p99 us", Right),
        ("max us", Right),
        ("Mpps at full load", Right),
        ("", Left),
    ]);
    for row in rows {
        let us = |us: f64| format!("{us:.1}");
        table.row([
            row.mode.to_owned(),
            format!("{:.2} %", row.cpu_percent),
            grouped(row.latency.samples),
            us(row.latency.p50_us),
            us(row.latency.p99_us),
            us(row.latency.max_us),
            mpps(row.mpps * 1e6),
            mark(row.disturbed),
        ]);
    }
    table
}
