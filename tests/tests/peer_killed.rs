//! A peer that is killed or frozen under load costs us its link, nothing else: our program lives, says why the link is
//! down, takes the peer back, and every mbuf is accounted for.

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::process::Process;
use lport_tests::testpmd::Forward;
use lport_tests::{Lport, LportFile, Testbed, flood};
use nix::sys::signal::Signal;

/// Packets each way that count as load.
const LOAD: u64 = 50_000;

/// A peer that sends as fast as it can to our program, which sends everything back, into a ring that runs over.
fn start_flood(testbed: &Testbed, theirs: &Memif) -> Result<Process> {
    flood::start_testpmd(testbed, theirs, Forward::TxOnly)
}

fn start_echo(testbed: &Testbed, ours: &Memif) -> Result<Lport> {
    testbed.run("echo", &LportFile::new("lb").memif("port", ours, 1))
}

fn survives_kills(our_role: Role) -> Result<()> {
    let testbed = Testbed::new()?;
    let socket = testbed.path_socket("sock");
    let ours = Memif::new(our_role, &socket);
    let mut lport = start_echo(&testbed, &ours)?;
    let mut received = 0;
    for _ in 0..3 {
        let peer = start_flood(&testbed, &ours.peer())?;
        received = lport.wait_for_counters("port:0", |port| port.ipackets > received + LOAD && port.is_up())?.ipackets;
        peer.kill()?;
        lport.wait_for_counters("port:0", |port| port.why_down().is_some())?;
        assert!(lport.is_running()?);
    }
    lport.stop()?.summary()?;
    Ok(())
}

#[test]
fn our_server_survives_killed_clients_and_takes_the_next() -> Result<()> {
    survives_kills(Role::Server)
}

#[test]
fn our_client_survives_killed_servers_and_reconnects() -> Result<()> {
    survives_kills(Role::Client)
}

fn survives_a_freeze(our_role: Role) -> Result<()> {
    let testbed = Testbed::new()?;
    let ours = Memif::new(our_role, &testbed.path_socket("sock"));
    let lport = start_echo(&testbed, &ours)?;
    let peer = start_flood(&testbed, &ours.peer())?;
    let before = lport.wait_for_counters("port:0", |port| port.ipackets > LOAD)?.ipackets;
    peer.freeze()?;
    peer.thaw()?;
    lport.wait_for_counters("port:0", |port| port.ipackets > before + LOAD)?;
    // Frozen for good: stopping must not wait for it.
    peer.freeze()?;
    lport.stop()?.summary()?;
    Ok(())
}

#[test]
fn our_server_goes_on_after_its_client_was_frozen_and_stops_while_it_is() -> Result<()> {
    survives_a_freeze(Role::Server)
}

#[test]
fn our_client_goes_on_after_its_server_was_frozen_and_stops_while_it_is() -> Result<()> {
    survives_a_freeze(Role::Client)
}

#[test]
fn a_killed_lport_leaves_a_socket_file_that_the_next_one_takes_over() -> Result<()> {
    let testbed = Testbed::new()?;
    let ours = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let first = start_echo(&testbed, &ours)?;
    first.signal(Signal::SIGKILL)?;
    assert_eq!(first.wait()?.code(), None);
    assert!(testbed.path("sock").exists());
    let second = start_echo(&testbed, &ours)?;
    let _peer = start_flood(&testbed, &ours.peer())?;
    second.wait_for_counters("port:0", |port| port.ipackets > LOAD)?;
    second.stop()?.summary()?;
    assert!(!testbed.path("sock").exists());
    Ok(())
}
