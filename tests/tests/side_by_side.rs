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
use lport_tests::comparison::table;

/// Everything but the limits once, at one size, shortly. On a busy machine too: whatever others take is tolerated.
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
    assert!(table::summary(&results).ends_with(" 0 not measured"), "{}", table::markdown(&results));
    Ok(())
}
