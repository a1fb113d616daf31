//! `lport bench idle`: what sleeping saves, and what it costs.
//!
//! The other process of a round trip runs twice in turn, polling for ever and with idle mode on. Measured of each: the CPU
//! time of the whole process while nothing is sent; the round trip of single packets so far apart that each finds it asleep;
//! and the maximum receive rate.
//!
//! What of the latency is the machine's: a bare thread on the same CPU that sleeps on an eventfd is woken after equal pauses, from
//! the generator's CPU ([`bare_wake_up`]). No program that sleeps can be faster, and on a virtual machine this alone may take
//! most of the time.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::Serialize;
use serde_json::json;

use super::args::IdleArgs;
use super::arrangement::{THREAD, Work, arrange, works};
use super::frames::FrameSize;
use super::histogram::{Histogram, Percentiles};
use super::machine::Fingerprint;
use super::progress::Progress;
use super::report::{mark, mpps, print_results};
use super::rig::Rig;
use super::tester::Order;
use crate::failure::Failure;
use crate::output::{Align, Table, grouped, print};
use crate::signals::Signals;

/// What was measured of a mode.
#[derive(Debug, Clone, Serialize)]
struct Row {
    /// `polling`, `idle`, or `bare wake-up`.
    mode: &'static str,
    /// Per cent of a CPU that the whole process takes without traffic.
    cpu_percent: Option<f64>,
    /// The round trip of a packet that comes after a pause.
    #[serde(flatten)]
    latency: Percentiles,
    /// The pause.
    pause_ms: u64,
    /// Maximum receive rate: the median of the rounds.
    mpps: Option<f64>,
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
    let duration = args.manner.duration(args.duration, 3.0, 0.5);
    let work = works(&args.setup, &[Work::RoundTrip])?.remove(0);
    let row = |mode| Row {
        mode,
        cpu_percent: None,
        latency: Percentiles::default(),
        pause_ms: 2 * args.idle_timeout + 5,
        mpps: None,
        rounds_mpps: Vec::new(),
        disturbed: false,
    };
    let mut rows = vec![row("polling"), row("idle")];
    'rounds: for round in 0..args.rounds {
        // Forwards and backwards in turn: neither mode is always the second.
        let modes = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for mode in modes {
            let row = &mut rows[mode];
            let directory = tempfile::tempdir()?;
            let mut arrangement = arrange(&args.setup, work.0, FrameSize::Fixed(64), &work.1, directory.path());
            if let (Some((file, _)), "idle") = (&mut arrangement.other, row.mode) {
                let thread = &mut file["threads"][THREAD];
                thread["idle_timeout"] = json!(args.idle_timeout);
                thread["intr_timeout"] = json!(args.intr_timeout);
            }
            progress.show(&format!("round {} of {}, {}", round + 1, args.rounds, row.mode));
            let Some(mut rig) = Rig::start(&args.setup, &arrangement, directory.path(), signals)? else {
                break 'rounds;
            };
            let measured = measure(row, &mut rig, round, args.rounds, duration, signals);
            rig.stop()?;
            measured?;
            if signals.came() {
                break 'rounds;
            }
        }
    }
    if !signals.came() {
        progress.show("bare wake-up");
        let mut floor = row("bare wake-up");
        let count = pauses(duration, floor.pause_ms);
        floor.latency = bare_wake_up(&work.1, Duration::from_millis(floor.pause_ms), count, signals)?.percentiles();
        rows.push(floor);
    }
    drop(progress);
    if args.manner.json { print_results(&machine, &args.setup, &rows) } else { print(&table(&rows).to_string()) }
}

fn measure(
    row: &mut Row,
    rig: &mut Rig<'_>,
    round: u32,
    rounds: u32,
    length: Duration,
    signals: &Signals,
) -> Result<(), Failure> {
    let throughput = rig.undisturbed(Order { rate: None, duration: length / rounds, record_every: 0 })?;
    row.rounds_mpps.push(throughput.rate() / 1e6);
    let mut sorted = row.rounds_mpps.clone();
    sorted.sort_by(f64::total_cmp);
    row.mpps = Some(sorted[sorted.len() / 2]);
    if round > 0 {
        return Ok(());
    }
    // It falls asleep before it is watched.
    if signals.wait(Duration::from_millis(row.pause_ms + 50)) {
        return Ok(());
    }
    row.cpu_percent = Some(rig.cpu_share_at_rest(length) * 100.0);
    let pause = Duration::from_millis(row.pause_ms);
    let duration = pause * pauses(length, row.pause_ms);
    let order = Order { rate: Some(1.0 / pause.as_secs_f64()), duration, record_every: 1 };
    let first_packets = rig.trial(order)?;
    row.latency = first_packets.tally.latencies.percentiles();
    row.disturbed = first_packets.disturbed;
    Ok(())
}

/// How many packets are sent with pauses between them: a hundred at least, however long that takes. Of fewer there is no 99th
/// percentile.
fn pauses(length: Duration, pause_ms: u64) -> u32 {
    (length.as_millis() / u128::from(pause_ms)).clamp(100, 100_000) as u32
}

/// From writing an eventfd on the first of `cpus` until a thread on the second that sleeps on it runs, `count` times with pauses
/// between. Who writes polls in the pauses, as the generator does: a CPU that slept as well would wake up slower, and on the
/// sleeper's own CPU there would be nobody to wake.
fn bare_wake_up(cpus: &[usize], pause: Duration, count: u32, signals: &Signals) -> Result<Histogram, Failure> {
    let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(io::Error::from)?;
    let (written, over) = (Mutex::new(Instant::now()), AtomicBool::new(false));
    let (first, second) = (cpus[0], cpus[1]);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            // Elsewhere it tells less, but something.
            let _ = pmd_core::lcore::pin_current(&[second]);
            let mut histogram = Histogram::default();
            while bell.read().is_ok() && !over.load(Ordering::Acquire) {
                let woken = Instant::now();
                let written = *written.lock().unwrap_or_else(PoisonError::into_inner);
                histogram.record(woken.saturating_duration_since(written));
            }
            histogram
        });
        let writer = scope.spawn(|| -> io::Result<()> {
            let _ = pmd_core::lcore::pin_current(&[first]);
            for _ in 0..count {
                if signals.came() {
                    break;
                }
                spin(pause);
                *written.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                bell.write(1)?;
            }
            // Woken once more, for its end.
            spin(pause);
            over.store(true, Ordering::Release);
            bell.write(1)?;
            Ok(())
        });
        let failed = || Failure::Running("a thread of the bare wake-up has failed".into());
        writer.join().map_err(|_| failed())??;
        sleeper.join().map_err(|_| failed())
    })
}

fn spin(length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        std::hint::spin_loop();
    }
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
            row.cpu_percent.map_or_else(String::new, |percent| format!("{percent:.2} %")),
            grouped(row.latency.samples),
            us(row.latency.p50_us),
            us(row.latency.p99_us),
            us(row.latency.max_us),
            row.mpps.map_or_else(String::new, |rate| mpps(rate * 1e6)),
            mark(row.disturbed),
        ]);
    }
    table
}
