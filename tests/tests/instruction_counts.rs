//! What a packet costs in instructions, on the hot loops, counted by callgrind: the same to a tenth every time, on any machine
//! that runs the same kernel of copies. A change that makes a hot loop longer fails here.
//!
//! Each loop runs twice, with different numbers of bursts; the difference is free of what starting and stopping cost.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lport_tests::cargo;

/// Instructions per packet, by case of `pmd-memif/benches/hot_loops.rs`: the most that is accepted. Bounds are a little
/// above what was counted (valgrind knows AVX2 at most); lower them when a loop becomes shorter.
const BOUNDS: [(&str, f64); 15] = [
    ("pool", 20.3),
    ("null", 60.0),
    ("copy-64", 116.0),
    ("copy-64-single", 491.0),
    ("copy-1518", 454.5),
    ("zero-copy-64", 115.0),
    ("zero-copy-1518", 283.0),
    ("borrow-64", 118.5),
    ("borrow-1518", 377.0),
    ("both-64", 117.5),
    ("both-1518", 205.5),
    ("crossed-64", 116.5),
    ("crossed-1518", 234.0),
    ("crossed-pools-64", 153.5),
    ("idle", 69.0),
];

/// Instructions per round of a worker, by case of `pmd-core/benches/rounds.rs` and number of lports: the most that is accepted. In
/// `busy` one of them has packets, and the others hardly slow it.
const ROUNDS_BOUNDS: [(&str, u64, f64); 4] =
    [("idle", 1, 200.0), ("idle", 64, 6400.0), ("busy", 1, 1385.0), ("busy", 64, 1480.0)];

/// Bursts of the shorter run.
const BURSTS: u64 = 2000;

/// Rounds of the shorter run: whole windows of 256, at whose ends the program can be stopped. The last one does not count: it and those
/// behind it take a tenth of a second each.
const ROUNDS: u64 = 80 * 256;

#[test]
fn hot_loops_stay_within_their_bounds() -> Result<()> {
    let program = cargo::build_bench("pmd-memif", "hot_loops")?;
    let mut report = Report::default();
    for (case, bound) in BOUNDS {
        let count = |bursts: u64| {
            let Counted { printed, instructions } = count(&program, &[case, &bursts.to_string()])?;
            // Packets, and the time they took, which says nothing here.
            let packets = printed.split_whitespace().next().unwrap_or_default();
            Ok::<_, anyhow::Error>((packets.parse::<u64>().context("no number of packets")?, instructions))
        };
        let (short, long) = (count(BURSTS)?, count(2 * BURSTS)?);
        ensure!(long.0 > short.0, "{case}: twice the bursts moved {} packets", long.0);
        report.add(&format!("{case}, per packet"), (long.1 - short.1) as f64 / (long.0 - short.0) as f64, bound);
    }
    report.judge()
}

#[test]
fn a_round_stays_within_its_bounds_and_idle_lports_hardly_slow_a_busy_one() -> Result<()> {
    let program = cargo::build_bench("pmd-core", "rounds")?;
    let mut report = Report::default();
    for (case, lports, bound) in ROUNDS_BOUNDS {
        let lports = lports.to_string();
        let count = |rounds: u64| {
            Ok::<_, anyhow::Error>(count(&program, &[case, &lports, &(rounds - 1).to_string()])?.instructions)
        };
        let per_round = (count(2 * ROUNDS)? - count(ROUNDS)?) as f64 / ROUNDS as f64;
        report.add(&format!("{case}, {lports} lports, per round"), per_round, bound);
    }
    report.judge()
}

/// What was counted, beside its bounds.
#[derive(Default)]
struct Report {
    lines: String,
    is_exceeded: bool,
}

impl Report {
    fn add(&mut self, what: &str, cost: f64, bound: f64) {
        self.is_exceeded |= cost > bound;
        self.lines += &format!("{what}: {cost:.1} instructions, at most {bound:.1}\n");
    }

    fn judge(self) -> Result<()> {
        println!("{}", self.lines);
        ensure!(!self.is_exceeded, "a hot loop has become longer:\n{}", self.lines);
        Ok(())
    }
}

struct Counted {
    printed: String,
    instructions: u64,
}

fn count(program: &Path, arguments: &[&str]) -> Result<Counted> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(arguments);
    let output = valgrind.output().context("cannot start valgrind: sudo apt-get install valgrind")?;
    let messages = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?} under callgrind: {}\n{messages}", output.status);
    let collected = messages.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number);
    Ok(Counted {
        printed: String::from_utf8_lossy(&output.stdout).into_owned(),
        instructions: collected.with_context(|| format!("no count in {messages}"))?.trim().parse()?,
    })
}
