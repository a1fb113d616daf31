//! `make bench` measures testpmd and us at the same work, and both move packets.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use lport_tests::Testbed;
use lport_tests::comparison::cases::{Case, Work};
use lport_tests::comparison::disturbance::Rule;
use lport_tests::comparison::machine::Machine;
use lport_tests::comparison::measuring::{Conditions, measure};
use lport_tests::comparison::probe::Probe;
use lport_tests::comparison::results::Results;
use lport_tests::comparison::{idle, latency, table};

/// Everything but the limits once, at one size, shortly. On a busy machine too: whatever others take is tolerated.
#[test]
fn a_round_gives_a_rate_of_each_in_every_row() -> Result<()> {
    let testbed = Testbed::new()?;
    let machine = Machine::look()?;
    let conditions = Conditions { cpus: machine.cpus, burst: 32, rule: Rule::NONE, repeats: 0 };
    let mut results = Results::new(machine, conditions, Case::all(Work::value_variants(), &[512]), false, 1);
    for measured in &mut results.measured {
        measure(&testbed, conditions, Probe::WORST, measured, Duration::from_millis(100));
        assert_eq!(measured.rates().len(), 1, "{}: {:?}", measured.subject.title(), measured.failures);
    }
    assert!(table::summary(&results).ends_with(" 0 not measured"), "{}", table::markdown(&results));
    Ok(())
}

/// Once, shortly, whatever others take.
#[test]
fn latency_and_idle_mode_are_measured_of_both() -> Result<()> {
    let testbed = Testbed::new()?;
    let machine = Machine::look()?;
    let conditions = Conditions { cpus: machine.cpus, burst: 32, rule: Rule::NONE, repeats: 0 };
    let mut results = Results::new(machine, conditions, Vec::new(), false, 1);
    let length = Duration::from_millis(100);
    let latency = latency::measure(&testbed, conditions, Duration::ZERO, length);
    assert!(latency.failures.is_empty() && !latency.pdrs.is_empty(), "{latency:?}");
    assert!(latency::LOADS.iter().all(|load| latency.pairs.iter().any(|pair| pair.load == *load)), "{latency:?}");
    let idle = idle::measure(&testbed, conditions, Duration::ZERO, length);
    assert!(
        idle.failures.is_empty() && idle.rows().iter().all(|row| row.medians.iter().all(|n| n.is_finite())),
        "{idle:?}"
    );
    (results.latency, results.idle) = (Some(latency), Some(idle));
    let text = table::markdown(&results);
    assert!(text.contains("| 90 % |") && text.contains("| idle mode |") && !text.contains("| work |"), "{text}");
    Ok(())
}
