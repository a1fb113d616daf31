//! `make bench`: our program against dpdk-testpmd on the same cores, in pairs, and the ratios.
//!
//! 1. The machine is looked at; what spoils numbers on it is said.
//! 2. Round by round, every row is measured, forwards in odd rounds and backwards in even ones: in pairs, testpmd and ours
//!    directly one after the other. How long each row takes is what is left of the time, dealt out evenly.
//! 3. After each round the raw results are written, so that an interruption loses one round. When the time is over, it ends
//!    with fewer rounds.
//! 4. At the end the table goes to standard output, and table and chart to files beside the raw results.
//!
//! Progress goes to standard error. What fails is said there and in the table, and everything else goes on; only when nothing
//! at all could be measured is the exit code not 0.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use lport_tests::comparison::budget::Budget;
use lport_tests::comparison::cases::{Case, SIZES, Work};
use lport_tests::comparison::contest::Contest;
use lport_tests::comparison::machine::Machine;
use lport_tests::comparison::measuring::Conditions;
use lport_tests::comparison::results::Results;
use lport_tests::comparison::rule::Rule;
use lport_tests::comparison::{chart, table};
use lport_tests::{Testbed, lport};

/// Where results go, from the root of the repository.
const RESULTS: &str = "bench-results";

/// Minutes, rounds, and pairs of a row in a round; usually and in a hurry. Some time is left for building before.
const USUAL: (u64, u32, u32) = (55, 10, 8);
const QUICK: (u64, u32, u32) = (9, 3, 4);

/// Compares `lport run` with dpdk-testpmd on the same cores, in pairs measured one directly after the other.
#[derive(Debug, Parser)]
struct Arguments {
    /// Fewer rounds with fewer pairs: 3 rounds in 9 minutes
    #[arg(long)]
    quick: bool,
    /// How often everything is measured; default: 10, or 3 with `--quick`
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Minutes all of it may take; default: 55, or 9 with `--quick`
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: Option<u64>,
    /// What to compare; default: everything
    #[arg(long, value_enum, value_delimiter = ',')]
    work: Vec<Work>,
    /// Packet sizes in bytes, 64 to 2000
    #[arg(long, value_delimiter = ',', default_values_t = SIZES, value_parser = size)]
    sizes: Vec<usize>,
    /// Packets per burst
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    burst: u16,
    /// Per cent of the CPUs' time that others may take before a pair is dropped
    #[arg(long, default_value_t = 2.0, value_parser = percent)]
    tolerate: f64,
    /// Pairs of each row that are wanted in a round, if there is time; default: 8, or 4 with `--quick`
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: Option<u32>,
    /// How many more pairs of a row are measured in a round in place of dropped ones, if there is time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    repeats: u32,
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (64..=2000).contains(size));
    size.ok_or_else(|| format!("`{text}` is not a number of bytes from 64 to 2000: one buffer holds the packet"))
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| format!("`{text}` is not a number of per cent from 0 to 100"))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let testbed = Testbed::new()?;
    // Built before the time begins.
    lport::program()?;
    let machine = Machine::look()?;
    eprintln!("{}", machine.title());
    machine.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));

    let (minutes, rounds, pairs) = if arguments.quick { QUICK } else { USUAL };
    let minutes = Duration::from_secs(60 * arguments.minutes.unwrap_or(minutes));
    let paths = Paths::new(&machine)?;
    let mut results = results(&arguments, machine, rounds, pairs);
    run(&testbed, &mut results, minutes, &paths)?;

    let text = table::markdown(&results);
    print!("{text}");
    paths.write("md", &text)?;
    paths.write("svg", &chart::svg(&results))?;
    eprintln!("{}; {RESULTS}/{}: .md, .svg, .json", table::summary(&results), paths.name);
    let measured = results.contests.iter().any(|contest| !contest.turns.is_empty());
    ensure!(measured, "nothing could be measured");
    Ok(())
}

fn results(arguments: &Arguments, machine: Machine, rounds: u32, pairs: u32) -> Results {
    let works = if arguments.work.is_empty() { Work::value_variants() } else { &arguments.work };
    let conditions = Conditions {
        cpus: machine.cpus,
        burst: arguments.burst,
        rule: Rule::new(arguments.tolerate / 100.0),
        pairs: arguments.pairs.unwrap_or(pairs),
        repeats: arguments.repeats,
    };
    let (cases, rounds) = (Case::all(works, &arguments.sizes), arguments.rounds.unwrap_or(rounds));
    // Who asks for single works wants these.
    Results::new(machine, conditions, cases, arguments.work.is_empty(), rounds)
}

/// All rounds, or as many as there is time for.
fn run(testbed: &Testbed, results: &mut Results, total: Duration, paths: &Paths) -> Result<()> {
    let [rounds, _] = results.rounds;
    let (start, budget, contests) = (Instant::now(), Budget::new(total), results.contests.len());
    let mut left = rounds * u32::try_from(contests)?;
    for round in 1..=rounds {
        let mut order: Vec<_> = (0..contests).collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for at in order {
            // Whatever happens, everything is measured once.
            if round > 1 && budget.is_spent(start.elapsed()) {
                eprintln!("the time is over in round {round} of {rounds}");
                return finish_round(results, round - 1, paths);
            }
            let contest = &mut results.contests[at];
            let before = [contest.turns.len(), contest.failures.len()];
            contest.hold(testbed, results.conditions, round, budget.share(start.elapsed(), left));
            eprintln!("round {round}/{rounds}, {left} to go: {}", progress(contest, before));
            left -= 1;
        }
        finish_round(results, round, paths)?;
    }
    Ok(())
}

fn finish_round(results: &mut Results, round: u32, paths: &Paths) -> Result<()> {
    results.rounds[1] = round;
    results.write(&paths.file("json"))
}

/// What became of a contest in a round, before which it had so many turns and failures.
fn progress(contest: &Contest, [turns, failures]: [usize; 2]) -> String {
    let new = &contest.turns[turns..];
    let mut text = format!("{}:", contest.question.title());
    for turn in new {
        let rates: Vec<_> = turn.samples.iter().map(|sample| format!("{:.2}", sample.rate / 1e6)).collect();
        text += &format!(" {}{}", rates.join("/"), if turn.dropped.is_some() { "!" } else { "" });
    }
    text += " Mpps";
    if let Some(reason) = new.iter().rev().find_map(|turn| turn.dropped) {
        text += &format!("; ! dropped, at last because {reason}");
    }
    contest.failures[failures..].iter().for_each(|failure| text += &format!("\nfailed: {failure}"));
    text
}

/// Where the results of this run go.
struct Paths {
    directory: PathBuf,
    name: String,
}

impl Paths {
    fn new(machine: &Machine) -> Result<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(RESULTS);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self { directory, name: format!("side-by-side-{}", machine.unix_time) })
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.name))
    }

    fn write(&self, kind: &str, text: &str) -> Result<()> {
        let path = self.file(kind);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
