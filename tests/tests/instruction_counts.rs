//! What a packet costs in instructions, on the hot loops, counted by callgrind: the same to a tenth every time, on any machine
//! that runs the same kernel of copies. A change that makes a hot loop longer fails here.
//!
//! Each loop runs twice, with different numbers of bursts; the difference is free of what starting and stopping cost.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lport_tests::cargo;

/// Instructions per packet, by case of `pmd-memif/benches/hot_loops.rs`: the most that is accepted. Bounds are a little
/// above what was counted (valgrind knows AVX2 at most); lower them when a loop becomes shorter.
const BOUNDS: [(&str, f64); 15] = [
    ("pool", 20.3),
    ("null", 60.0),
    ("copy-64", 116.5),
    ("copy-64-single", 491.5),
    ("copy-1518", 455.0),
    ("zero-copy-64", 115.0),
    ("zero-copy-1518", 283.0),
    ("borrow-64", 119.0),
    ("borrow-1518", 377.0),
    ("both-64", 118.0),
    ("both-1518", 205.5),
    ("crossed-64", 116.5),
    ("crossed-1518", 234.0),
    ("crossed-pools-64", 153.5),
    ("idle", 102.0),
];

/// Bursts of the shorter run.
const BURSTS: u64 = 2000;

#[test]
fn hot_loops_stay_within_their_bounds() -> Result<()> {
    let program = cargo::build_bench("pmd-memif", "hot_loops")?;
    let mut report = String::new();
    let mut exceeded = false;
    for (case, bound) in BOUNDS {
        let (short, long) = (count(&program, case, BURSTS)?, count(&program, case, 2 * BURSTS)?);
        ensure!(long.packets > short.packets, "{case}: twice the bursts moved {} packets", long.packets);
        let cost = (long.instructions - short.instructions) as f64 / (long.packets - short.packets) as f64;
        exceeded |= cost > bound;
        report += &format!("{case}: {cost:.1} instructions per packet, at most {bound:.1}\n");
    }
    println!("{report}");
    ensure!(!exceeded, "a hot loop has become longer:\n{report}");
    Ok(())
}

struct Counted {
    packets: u64,
    instructions: u64,
}

fn count(program: &PathBuf, case: &str, bursts: u64) -> Result<Counted> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    let output = valgrind.args([case, &bursts.to_string()]).output();
    let output = output.context("cannot start valgrind: sudo apt-get install valgrind")?;
    let messages = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{case} under callgrind: {}\n{messages}", output.status);
    let collected = messages.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number);
    // Packets, and the time they took, which says nothing here.
    let printed = String::from_utf8_lossy(&output.stdout);
    let packets = printed.split_whitespace().next().unwrap_or_default();
    Ok(Counted {
        packets: packets.parse().context("no number of packets")?,
        instructions: collected.with_context(|| format!("no count in {messages}"))?.trim().parse()?,
    })
}
