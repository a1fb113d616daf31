//! `lport bench`: packet rates of this machine.
//!
//! 1. The arguments become a list of cases (`case`): plain data, lport files for one or two processes and what to count.
//! 2. Each case is run (`measure`): its processes start, warm up, and are measured over a time.
//! 3. The results are printed as a table, or as JSON with the machine they belong to.

mod case;
mod machine;
mod measure;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::{DriverFiles, burst, seconds};
use crate::failure::Failure;
use crate::output::{Align, Table, grouped, print, print_json};
use crate::signals::Signals;
use case::{Case, cases};
use machine::Fingerprint;
use measure::{Measured, measure};

/// The command's arguments.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure; default: everything the driver can do
    #[arg(long, value_enum, value_delimiter = ',')]
    work: Vec<Work>,
    /// Driver under test: net_memif, net_null, net_ring, or another one whose lports receive what they sent, or make packets
    #[arg(long, value_name = "NAME", default_value = "net_memif")]
    driver: String,
    #[command(flatten)]
    drivers: DriverFiles,
    /// Packet sizes in bytes, without FCS
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [64, 512, 1518],
          value_parser = clap::value_parser!(u64).range(60..=9216))]
    sizes: Vec<u64>,
    /// Packets at a time
    #[arg(long, value_name = "PACKETS", default_value_t = 32, value_parser = burst)]
    burst: usize,
    /// How long each case is measured
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// How often all cases are run, in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// The CPUs of the first and second process; default: chosen by the machine's topology
    #[arg(long, value_name = "CPUS", value_delimiter = ',', num_args = 1..=2)]
    cores: Vec<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// one process, one core: forwards between two of its own lports, joined to each other
    Loopback,
    /// two processes, one core each: the memif server sends, the client receives
    ServerToClient,
    /// two processes, one core each: the memif client sends, the server receives
    ClientToServer,
}

/// A case with its outcome, as printed.
#[derive(Debug, Serialize)]
struct Row {
    work: Work,
    driver: String,
    size: u64,
    burst: usize,
    cores: Vec<usize>,
    seconds: f64,
    mpps: f64,
    gbit_s: f64,
    ns_per_packet: f64,
    cycles_per_packet: Option<f64>,
    lost: u64,
}

/// What is printed with `--json`.
#[derive(Debug, Serialize)]
struct Results<'a> {
    machine: &'a Fingerprint,
    results: &'a [Row],
}

/// Runs the command.
///
/// # Errors
/// When a case cannot be run.
pub(crate) fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    let machine = Fingerprint::take();
    let directory = tempfile::tempdir()?;
    let cases = cases(args, directory.path())?;
    let mut rows = Vec::new();
    for case in (0..args.rounds).flat_map(|_| &cases) {
        tracing::info!("{:?}, {} bytes, {:.1} s", case.work, case.size, case.seconds.as_secs_f64());
        let Some(measured) = measure(case, &args.drivers, &signals)? else { break };
        rows.push(row(case, &measured, &machine));
    }
    if args.json {
        print_json(&Results { machine: &machine, results: &rows })
    } else {
        print(&table(&rows).to_string())
    }
}

fn row(case: &Case, measured: &Measured, machine: &Fingerprint) -> Row {
    let rate = measured.packets as f64 / measured.seconds;
    // One core does the work that is counted, whichever of the two is slower: a packet costs the time between two.
    let ns_per_packet = 1e9 / rate;
    Row {
        work: case.work,
        driver: case.driver.clone(),
        size: case.size,
        burst: case.burst,
        cores: case.cores.clone(),
        seconds: measured.seconds,
        mpps: rate / 1e6,
        gbit_s: measured.bytes as f64 * 8.0 / measured.seconds / 1e9,
        ns_per_packet,
        cycles_per_packet: machine.mhz.map(|mhz| ns_per_packet * mhz / 1e3),
        lost: measured.lost,
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
    ]);
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|v| v.get_name().to_owned()).unwrap_or_default();
    for row in rows {
        table.row([
            name(row.work.to_possible_value()),
            row.driver.clone(),
            row.size.to_string(),
            pmd_core::lcore::cpu_list(&row.cores),
            format!("{:.3}", row.mpps),
            format!("{:.2}", row.gbit_s),
            format!("{:.1}", row.ns_per_packet),
            row.cycles_per_packet.map_or_else(|| "?".into(), |cycles| format!("{cycles:.0}")),
            grouped(row.lost),
        ]);
    }
    table
}
