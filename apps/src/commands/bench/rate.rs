//! `lport bench rate`: maximum receive rates.
//!
//! Loopback lets packets go round between two lports ([`super::circulate`]), as a forwarder moves them; everything else is a
//! trial without a schedule on a rig: as much as goes through.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::args::{RateArgs, Setup};
use super::arrangement::{Arrangement, Work, arrange, works};
use super::circulate::{self, Round};
use super::driver::DriverWords;
use super::frames::FrameSize;
use super::machine::Fingerprint;
use super::progress::Progress;
use super::report::{DISTURBED, cycles, cycles_text, mark, mpps, print_results};
use super::rig::Rig;
use super::tester::Order;
use crate::failure::Failure;
use crate::output::{Align, Table, grouped, print};
use crate::signals::Signals;

/// Packets that go round between the two lports of a loopback pair, from each side.
const IN_FLIGHT: u64 = 512;

/// A case with its outcome, as printed.
#[derive(Debug, Serialize)]
struct Row {
    work: Work,
    driver: DriverWords,
    peer: Option<DriverWords>,
    size: FrameSize,
    burst: usize,
    queues: u16,
    cores: Vec<usize>,
    seconds: f64,
    /// Packets that were sent; of a loopback, that were received.
    sent: u64,
    received: u64,
    lost: u64,
    mpps: f64,
    gbit_s: f64,
    ns_per_packet: f64,
    cycles_per_packet: Option<f64>,
    disturbed: bool,
}

/// What a case came to.
struct Counted {
    seconds: f64,
    sent: u64,
    received: u64,
    bytes: u64,
    lost: u64,
    disturbed: bool,
}

/// Runs the command.
///
/// # Errors
/// When a case cannot be run.
pub(super) fn rate(args: &RateArgs, signals: &Signals) -> Result<(), Failure> {
    let machine = Fingerprint::take();
    let progress = Progress::new();
    let duration = args.manner.duration(args.duration, 0.7, 0.2);
    let works = works(&args.setup, &args.work)?;
    let cases = works.iter().flat_map(|work| args.sizes.iter().map(move |size| (work, *size)));
    let cases: Vec<_> = (0..args.rounds).flat_map(|_| cases.clone()).collect();
    let mut rows = Vec::new();
    for (done, ((work, cores), size)) in cases.iter().enumerate() {
        progress.show(&format!("{}/{}: {}, {size} bytes", done + 1, cases.len(), work.word()));
        let directory = tempfile::tempdir()?;
        let arrangement = arrange(&args.setup, *work, *size, cores, directory.path());
        let Some(counted) = measure(&args.setup, &arrangement, duration, directory.path(), signals)? else { break };
        rows.push(row(&args.setup, &arrangement, &counted, &machine));
    }
    drop(progress);
    if args.manner.json {
        return print_results(&machine, &args.setup, &rows);
    }
    print(&table(&rows).to_string())?;
    if rows.iter().any(|row| row.disturbed) { print(DISTURBED) } else { Ok(()) }
}

fn measure(
    setup: &Setup,
    arrangement: &Arrangement,
    duration: Duration,
    directory: &Path,
    signals: &Signals,
) -> Result<Option<Counted>, Failure> {
    if arrangement.work == Work::Loopback {
        return go_round(setup, arrangement, duration, signals);
    }
    let Some(mut rig) = Rig::start(setup, arrangement, directory, signals)? else { return Ok(None) };
    let outcome = rig.undisturbed(Order { rate: None, duration, record_every: 0 })?;
    rig.stop()?;
    let (tally, bytes, disturbed) = (&outcome.tally, outcome.bytes, outcome.disturbed);
    let (sent, received, seconds) = (tally.sent, tally.received, tally.sending.as_secs_f64());
    if received == 0 && !signals.came() {
        return Err(Failure::Running(format!("no packet came in {seconds:.1} seconds")));
    }
    Ok(Some(Counted { seconds, sent, received, bytes, lost: outcome.lost(), disturbed }))
}

fn go_round(
    setup: &Setup,
    arrangement: &Arrangement,
    duration: Duration,
    signals: &Signals,
) -> Result<Option<Counted>, Failure> {
    let pairs = (0..setup.queues).map(|queue| (format!("a:{queue}"), format!("b:{queue}")));
    let partners: Vec<_> = pairs.flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]).collect();
    let first = partners.iter().map(|(from, _)| from.clone()).collect();
    // A null lport needs no first packet: it makes its own. More than half a ring might not find room.
    let in_flight = if setup.driver.is_null() { 0 } else { IN_FLIGHT.min(1 << setup.rings.unwrap_or(10) >> 1) };
    let round = Round {
        file: &arrangement.own,
        registry: &setup.registry,
        partners,
        first: (first, in_flight),
        warm_packets: 0,
        size: arrangement.size,
        seed: setup.seed,
        burst: setup.burst,
        cores: &arrangement.cores,
        duration,
    };
    let Some(measured) = circulate::measure(&round, signals)? else { return Ok(None) };
    let circulate::Measured { seconds, packets, bytes, lost, disturbed, .. } = measured;
    Ok(Some(Counted { seconds, sent: packets + lost, received: packets, bytes, lost, disturbed }))
}

fn row(setup: &Setup, arrangement: &Arrangement, counted: &Counted, machine: &Fingerprint) -> Row {
    let Counted { seconds, sent, received, bytes, lost, disturbed } = *counted;
    // One core does the work that is counted, whichever of the two is slower: a packet costs the time between two.
    let ns_per_packet = seconds * 1e9 / received.max(1) as f64;
    Row {
        work: arrangement.work,
        driver: setup.driver.clone(),
        peer: setup.peer.clone(),
        size: arrangement.size,
        burst: setup.burst,
        queues: setup.queues,
        cores: arrangement.cores.clone(),
        seconds,
        sent,
        received,
        lost,
        mpps: received as f64 / seconds / 1e6,
        gbit_s: bytes as f64 * 8.0 / seconds / 1e9,
        ns_per_packet,
        cycles_per_packet: cycles(machine, ns_per_packet),
        disturbed,
    }
}

fn table(rows: &[Row]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("work", Left),
        ("driver", Left),
        ("bytes", Right),
        ("cores", Left),
        ("Mpps", Right),
        ("Gbit/s", Right),
        ("ns/packet", Right),
        ("cycles", Right),
        ("lost", Right),
        ("", Left),
    ]);
    for row in rows {
        let ends = row.peer.as_ref().map_or(row.driver.to_string(), |peer| format!("{} {peer}", row.driver));
        table.row([
            row.work.word(),
            ends,
            row.size.to_string(),
            pmd_core::lcore::cpu_list(&row.cores),
            mpps(row.mpps * 1e6),
            format!("{:.2}", row.gbit_s),
            format!("{:.1}", row.ns_per_packet),
            cycles_text(row.cycles_per_packet),
            grouped(row.lost),
            mark(row.disturbed),
        ]);
    }
    table
}
