//! `make bench`: `lport bench` against dpdk-testpmd on the same cores, in one interleaved run, and the ratios.
//!
//! 1. The CPUs are taken from those we may use; the machine must have two.
//! 2. Round by round, every case is measured with testpmd and with us.
//! 3. A table of medians, ratios and spreads goes to standard output, the raw rates to `bench-results/`.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lport_tests::comparison::{Arrangement, Case, Conditions, Outcome, median, run_round, spread};
use lport_tests::{Testbed, testbed};
use serde_json::json;

/// Where raw rates go, from the root of the repository.
const RESULTS: &str = "bench-results";

/// Compares `lport bench` with dpdk-testpmd, interleaved, on the same cores.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often every case is measured with each of the two
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Milliseconds of each measurement
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    milliseconds: u64,
    /// Packet sizes in bytes
    #[arg(long, value_delimiter = ',', default_values_t = [64, 512, 1518])]
    sizes: Vec<usize>,
    /// Packets per burst
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    burst: u16,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let testbed = Testbed::new()?;
    let cpus = testbed::allowed_cpus()?;
    ensure!(cpus.len() >= 2, "two processes need a CPU each, but only CPU {} is allowed", cpus[0]);
    let duration = Duration::from_millis(arguments.milliseconds);
    let conditions = Conditions { cpus: [cpus[0], cpus[1]], burst: arguments.burst, duration };

    let cases = Arrangement::ALL
        .into_iter()
        .flat_map(|arrangement| arguments.sizes.iter().map(move |&packet_size| Case { arrangement, packet_size }));
    let mut outcomes: Vec<_> = cases.map(Outcome::new).collect();
    for round in 1..=arguments.rounds {
        for outcome in &mut outcomes {
            eprintln!("round {round}: {}, {} bytes", outcome.arrangement.word(), outcome.packet_size);
            run_round(&testbed, outcome, conditions)?;
        }
    }
    print_table(&outcomes);
    write_raw(&outcomes, conditions)
}

fn print_table(outcomes: &[Outcome]) {
    println!("| work | bytes | testpmd Mpps | lport Mpps | ratio | spread testpmd | spread lport |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for outcome in outcomes {
        let Outcome { arrangement, packet_size, testpmd, lport } = outcome;
        let [theirs, ours] = [testpmd, lport].map(|rates| median(rates) / 1e6);
        let [their_spread, our_spread] = [testpmd, lport].map(|rates| spread(rates) * 100.0);
        println!(
            "| {} | {packet_size} | {theirs:.2} | {ours:.2} | {:.2} | {their_spread:.0} % | {our_spread:.0} % |",
            arrangement.word(),
            outcome.ratio(),
        );
    }
}

fn write_raw(outcomes: &[Outcome], conditions: Conditions) -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(RESULTS);
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = directory.join(format!("side-by-side-{time}.json"));
    let Conditions { cpus, burst, duration } = conditions;
    let conditions = json!({ "cpus": cpus, "burst": burst, "seconds": duration.as_secs_f64() });
    let raw = json!({ "unix_time": time, "conditions": conditions, "packets_per_second": outcomes });
    fs::write(&path, format!("{raw:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("raw rates: {RESULTS}/side-by-side-{time}.json");
    Ok(())
}
