//! `make bench` measures testpmd and us at the same work, and both move packets.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use lport_tests::Testbed;
use lport_tests::comparison::cases::{Case, Work};
use lport_tests::comparison::machine::Machine;
use lport_tests::comparison::measuring::Conditions;
use lport_tests::comparison::results::Results;
use lport_tests::comparison::rule::Rule;
use lport_tests::comparison::{idle, latency, table};

/// Every row once, at one size, shortly. On a busy machine too: whatever others take is tolerated.
#[test]
fn a_round_gives_a_pair_of_every_row() -> Result<()> {
    let testbed = Testbed::new()?;
    let machine = Machine::look()?;
    let conditions = Conditions { cpus: machine.cpus, burst: 32, rule: Rule::NONE, pairs: 1, repeats: 0 };
    let mut results = Results::new(machine, conditions, Case::all(Work::value_variants(), &[512]), false, 1);
    for contest in &mut results.contests {
        contest.hold(&testbed, conditions, 1, Duration::ZERO);
        assert_eq!(contest.counted().count(), 1, "{}: {:?}", contest.question.title(), contest.failures);
    }
    for outcome in results.outcomes() {
        let is_chain = matches!(outcome.case.work, Work::Chain | Work::ChainOfPeers);
        assert_eq!(outcome.ends.is_some(), is_chain, "{:?}", outcome.case);
        // Wide, as others may take the CPUs in between; without the one or the other it would be 0 or millions.
        let is_used = |share: f64| share > 1e-3 && share < 1e3;
        assert!(outcome.ends.is_none_or(|ends| ends.used.iter().copied().all(is_used)), "{outcome:?}");
    }
    assert!(table::summary(&results).ends_with(" 0 not measured"), "{}", table::markdown(&results));
    Ok(())
}

/// Once, shortly, whatever others take.
#[test]
fn latency_and_idle_mode_are_measured_of_both() -> Result<()> {
    let testbed = Testbed::new()?;
    let machine = Machine::look()?;
    let conditions = Conditions { cpus: machine.cpus, burst: 32, rule: Rule::NONE, pairs: 1, repeats: 0 };
    let mut results = Results::new(machine, conditions, Vec::new(), false, 1);
    let length = Duration::from_millis(100);
    let latency = latency::measure(&testbed, conditions, Duration::ZERO);
    assert!(latency.failures.is_empty() && !latency.pdrs.is_empty(), "{latency:?}");
    assert!(latency::LOADS.iter().all(|load| latency.pairs.iter().any(|pair| pair.load == *load)), "{latency:?}");
    let idle = idle::measure(&testbed, conditions, Duration::ZERO, length);
    assert!(idle.failures.is_empty() && idle.runs.len() == 1, "{idle:?}");
    let modes: Vec<_> = idle.runs[0].iter().map(|row| row.mode.as_str()).collect();
    assert_eq!(modes, ["polling", "idle", "bare wake-up"]);
    // First packets that others disturbed have no median.
    let counted = idle.rows().into_iter().filter(|row| !row.what.starts_with("first packet"));
    let medians: Vec<_> = counted.flat_map(|row| row.medians).collect();
    assert!(medians.len() == 4 && medians.iter().all(|median| median.is_finite()), "{idle:?}");
    (results.latency, results.idle) = (Some(latency), Some(idle));
    let text = table::markdown(&results);
    assert!(text.contains("| 90 % |") && text.contains("| idle mode |") && !text.contains("| work |"), "{text}");
    Ok(())
}
