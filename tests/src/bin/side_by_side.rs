//! `make bench`: our program against dpdk-testpmd on the same cores, in pairs, and the ratios.
//!
//! 1. The machine is looked at; what spoils numbers on it is said.
//! 2. Latency and idle mode are compared, each for its share of the time.
//! 3. Round by round, every row of rates is measured, forwards in odd rounds and backwards in even ones: in pairs, testpmd and
//!    ours directly one after the other. How long each row takes is what is left of the time, dealt out evenly.
//! 4. Before the first round and after each the raw results are written, so that an interruption loses one round. When the time
//!    is over, it ends with fewer rounds.
//! 5. At the end the table goes to standard output, and table and chart to files beside the raw results.
//!
//! Progress goes to standard error. What fails is said there and in the table, and everything else goes on; only when nothing
//! at all could be measured is the exit code not 0.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValue;
use clap::{Parser, ValueEnum};
use lport_tests::comparison::budget::{Budget, Section};
use lport_tests::comparison::cases::{Case, SIZES, Work};
use lport_tests::comparison::contest::Contest;
use lport_tests::comparison::machine::Machine;
use lport_tests::comparison::measuring::Conditions;
use lport_tests::comparison::results::Results;
use lport_tests::comparison::rule::Rule;
use lport_tests::comparison::{chart, idle, latency, table};
use lport_tests::{Testbed, lport};

/// Where results go, from the root of the repository.
const RESULTS: &str = "bench-results";

/// How much is measured when nothing else is said. Some time is left for building before.
struct Extent {
    minutes: u64,
    rounds: u32,
    /// How long each part of idle mode is measured.
    idle: Duration,
}

const USUAL: Extent = Extent { minutes: 55, rounds: 10, idle: Duration::from_secs(4) };
/// One round: getting processes ready takes as long as two pairs, and each round does it anew.
const QUICK: Extent = Extent { minutes: 9, rounds: 1, idle: Duration::from_secs(2) };

/// Compares `lport run` with dpdk-testpmd on the same cores, in pairs measured one directly after the other.
#[derive(Debug, Parser)]
struct Arguments {
    /// A single round, in 9 minutes
    #[arg(long)]
    quick: bool,
    /// How often every rate is measured; default: 10, or 1 with `--quick`
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Minutes all of it may take; default: 55, or 9 with `--quick`, of which latency and idle alone take their share
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: Option<u64>,
    /// What to compare; default: everything
    #[arg(long, value_enum, value_delimiter = ',')]
    work: Vec<Subject>,
    /// Packet sizes in bytes, 64 to 2000
    #[arg(long, value_delimiter = ',', default_values_t = SIZES, value_parser = size)]
    sizes: Vec<usize>,
    /// Packets per burst
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    burst: u16,
    /// Per cent of the CPUs' time that others may take before a pair is dropped
    #[arg(long, default_value_t = 2.0, value_parser = percent)]
    tolerate: f64,
    /// Pairs of each row that are wanted in a round, if there is time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// How many more pairs of a row are measured in a round in place of dropped ones, if there is time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    repeats: u32,
}

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Rates(Work),
    Latency,
    Idle,
}

impl Subject {
    fn section(self) -> Section {
        match self {
            Self::Rates(_) => Section::Rates,
            Self::Latency => Section::Latency,
            Self::Idle => Section::Idle,
        }
    }
}

impl ValueEnum for Subject {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Subject>> = LazyLock::new(|| {
            let rates = Work::value_variants().iter().copied().map(Subject::Rates);
            rates.chain([Subject::Latency, Subject::Idle]).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Rates(work) => work.to_possible_value(),
            Self::Latency => {
                Some(PossibleValue::new("latency").help("round trips at no load and at shares of testpmd's PDR"))
            }
            Self::Idle => {
                Some(PossibleValue::new("idle").help("idle mode: CPU time, first packets after a sleep, throughput"))
            }
        }
    }
}

impl Arguments {
    fn extent(&self) -> Extent {
        if self.quick { QUICK } else { USUAL }
    }

    /// What is to be compared.
    fn subjects(&self) -> &[Subject] {
        if self.work.is_empty() { Subject::value_variants() } else { &self.work }
    }

    /// The sections that are to be compared.
    fn sections(&self) -> Vec<Section> {
        let asked = |section: &Section| self.subjects().iter().any(|subject| subject.section() == *section);
        Section::ALL.into_iter().filter(asked).collect()
    }

    /// How long a section may take; none when it was not asked for.
    fn time(&self, section: Section) -> Option<Duration> {
        let minutes = |minutes| Duration::from_secs(60 * minutes);
        let asked = self.sections();
        let part = match self.minutes {
            Some(all) => section.part(minutes(all), Some(&asked)),
            None => section.part(minutes(self.extent().minutes), None),
        };
        asked.contains(&section).then_some(part)
    }

    /// How long all of it may take.
    fn total(&self) -> Duration {
        self.sections().into_iter().filter_map(|section| self.time(section)).sum()
    }
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

    let paths = Paths::new(&machine)?;
    let mut results = results(&arguments, machine);
    let start = Instant::now();
    compare_times(&arguments, &testbed, &mut results);
    results.write(&paths.file("json"))?;
    if !results.contests.is_empty() {
        run(&testbed, &mut results, start, Budget::new(arguments.total()), &paths)?;
    }

    let text = table::markdown(&results);
    print!("{text}");
    paths.write("md", &text)?;
    if !results.contests.is_empty() {
        paths.write("svg", &chart::svg(&results))?;
    }
    eprintln!("{}; {RESULTS}/{}.*", table::summary(&results), paths.name);
    ensure!(!results.is_empty(), "nothing could be measured");
    Ok(())
}

/// Latency and idle mode, if they were asked for.
fn compare_times(arguments: &Arguments, testbed: &Testbed, results: &mut Results) {
    let (conditions, extent) = (results.conditions, arguments.extent());
    let time = |section| arguments.time(section);
    results.latency = time(Section::Latency).map(|time| latency::measure(testbed, conditions, time));
    results.idle = time(Section::Idle).map(|time| idle::measure(testbed, conditions, time, extent.idle));
}

fn results(arguments: &Arguments, machine: Machine) -> Results {
    let works: Vec<_> = arguments
        .subjects()
        .iter()
        .filter_map(|subject| match subject {
            Subject::Rates(work) => Some(*work),
            Subject::Latency | Subject::Idle => None,
        })
        .collect();
    let extent = arguments.extent();
    let conditions = Conditions {
        cpus: machine.cpus,
        burst: arguments.burst,
        rule: Rule::new(arguments.tolerate / 100.0),
        pairs: arguments.pairs,
        repeats: arguments.repeats,
    };
    let rounds = arguments.rounds.unwrap_or(extent.rounds);
    let cases = Case::all(&works, &arguments.sizes);
    // Who asks for single works wants these.
    Results::new(machine, conditions, cases, arguments.work.is_empty(), rounds)
}

/// All rounds of rates, or as many as there is time for since the `start` of everything.
fn run(testbed: &Testbed, results: &mut Results, start: Instant, budget: Budget, paths: &Paths) -> Result<()> {
    let ([rounds, _], contests) = (results.rounds, results.contests.len());
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
