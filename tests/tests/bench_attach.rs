//! `lport bench --attach`: a forwarder that is not ours is measured as one of ours is.

use anyhow::{Context, Result};
use lport_tests::memif::{Memif, Role};
use lport_tests::process::wait_until;
use lport_tests::testpmd::Forward;
use lport_tests::{Lport, LportFile, Testbed, Testpmd};
use serde_json::{Value, json};

/// Starts `lport bench` on our ends of some links.
fn attach(testbed: &Testbed, arguments: &[&str], links: &[Memif]) -> Result<Lport> {
    let ends: Vec<_> = links.iter().map(|link| format!("--attach=net_memif:{}", link.peer())).collect();
    let ends = ends.iter().map(String::as_str);
    testbed.lport(&["bench"].iter().chain(arguments).copied().chain(ends).chain(["--json"]).collect::<Vec<_>>())
}

/// The rows it prints at its end.
fn rows(bench: Lport) -> Result<Vec<Value>> {
    let finished = bench.wait()?;
    anyhow::ensure!(finished.code() == Some(0), "{}", finished.stderr);
    let results: Value = serde_json::from_str(&finished.stdout)?;
    results["results"].as_array().cloned().context("no rows")
}

/// Every packet came back or was lost, and both loads are there.
fn assert_measured(rows: &[Value], work: &str, links: usize) {
    assert_eq!(rows.iter().map(|row| row["load_percent"].clone()).collect::<Vec<_>>(), [json!(0), json!(50)]);
    for row in rows {
        let number = |key: &str| row[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {row}"));
        assert!(number("received") > 0 && number("samples") > 0, "{row}");
        assert_eq!(number("intended"), number("received") + number("lost"), "{row}");
        assert_eq!((&row["work"], row["attached"].as_array().map(Vec::len)), (&json!(work), Some(links)), "{row}");
    }
}

const LATENCY: [&str; 7] = ["latency", "--loads", "0,50", "--pdr", "20000", "--duration", "0.1"];

fn testpmd(testbed: &Testbed, links: &[Memif]) -> Result<Testpmd> {
    let builder = testbed.testpmd("under-test").forward(Forward::Io);
    links.iter().fold(builder, lport_tests::testpmd::Builder::memif).start()
}

#[test]
fn testpmd_with_one_port_sends_back_what_is_sent() -> Result<()> {
    let testbed = Testbed::new()?;
    let links = [Memif::new(Role::Server, &testbed.abstract_socket("link"))];
    let mut testpmd = testpmd(&testbed, &links)?;
    testpmd.start_forwarding()?;
    // Once only: testpmd 22.11 may crash when its tester leaves.
    assert_measured(&rows(attach(&testbed, &LATENCY, &links)?)?, "round-trip", 1);
    Ok(())
}

#[test]
fn one_tester_after_the_other_finds_a_forwarder_of_ours_as_the_first_did() -> Result<()> {
    let testbed = Testbed::new()?;
    let links = [Memif::new(Role::Server, &testbed.abstract_socket("link"))];
    let _forwarder = testbed.run("forwarder", &LportFile::new("lb").memif("link", &links[0], 1))?;
    for _ in 0..3 {
        assert_measured(&rows(attach(&testbed, &LATENCY, &links)?)?, "round-trip", 1);
    }
    Ok(())
}

#[test]
fn testpmd_with_two_ports_forwards_from_the_first_link_to_the_second() -> Result<()> {
    let testbed = Testbed::new()?;
    let links = ["in", "out"].map(|name| Memif::new(Role::Server, &testbed.abstract_socket(name)));
    let mut testpmd = testpmd(&testbed, &links)?;
    testpmd.start_forwarding()?;
    assert_measured(&rows(attach(&testbed, &LATENCY, &links)?)?, "chain", 2);
    Ok(())
}

#[test]
fn a_tester_that_listens_waits_for_who_comes_later() -> Result<()> {
    let testbed = Testbed::new()?;
    let link = Memif::new(Role::Client, &testbed.path_socket("link.sock"));
    let bench = attach(&testbed, &LATENCY, std::slice::from_ref(&link))?;
    let socket = testbed.path("link.sock");
    wait_until("the tester to listen", || Ok(socket.exists().then_some(())))?;
    let mut testpmd = testpmd(&testbed, std::slice::from_ref(&link))?;
    testpmd.start_forwarding()?;
    assert_measured(&rows(bench)?, "round-trip", 1);
    Ok(())
}

#[test]
fn a_search_finds_what_a_forwarder_can_do() -> Result<()> {
    let testbed = Testbed::new()?;
    let link = Memif::new(Role::Server, &testbed.abstract_socket("link"));
    let file = LportFile::new("lb").memif("link", &link, 1);
    let _forwarder = testbed.run("forwarder", &file)?;
    let rows = rows(attach(
        &testbed,
        &["search", "--quick", "--duration", "0.02", "--width", "50"],
        std::slice::from_ref(&link),
    )?)?;
    assert!(rows.len() == 1 && rows[0]["mrr_mpps"].as_f64() > Some(0.0), "{rows:?}");
    assert!(rows[0]["driver"].as_str().is_some_and(|driver| driver.starts_with("net_memif:role=client,")), "{rows:?}");
    Ok(())
}

#[test]
fn who_swallows_packets_cannot_be_measured_and_is_told_so() -> Result<()> {
    let testbed = Testbed::new()?;
    let link = Memif::new(Role::Server, &testbed.abstract_socket("link"));
    let _forwarder = testbed.run("forwarder", &LportFile::new("drop").memif("link", &link, 1))?;
    let finished = attach(&testbed, &LATENCY, std::slice::from_ref(&link))?.wait()?;
    assert_eq!(finished.code(), Some(5), "{}", finished.stderr);
    assert!(finished.stderr.contains("does the other end send them back?"), "{}", finished.stderr);
    Ok(())
}
