//! The examples of pmd-memif do what their heads say, with testpmd at the other end.

use std::process::Command;

use anyhow::{Result, ensure};
use lport_tests::memif::{Memif, Role};
use lport_tests::process::{Process, wait_until};
use lport_tests::testpmd::Forward;
use lport_tests::{Testbed, cargo};

#[test]
fn echo_sends_everything_back_and_ends_when_its_peer_has_gone() -> Result<()> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let program = cargo::build(&["--package", "pmd-memif", "--example", "echo"])?.join("examples/echo");
    let mut echo = Process::spawn("echo", Command::new(program).arg(testbed.path("sock")))?;
    wait_until("the socket of the echo", || Ok(testbed.path("sock").exists().then_some(())))?;

    let mut peer = testbed.testpmd("peer").forward(Forward::RxOnly).memif(&server.peer()).start()?;
    peer.wait_for_link(0, true)?;
    peer.start_forwarding()?;
    for round in 1..=100 {
        peer.stop_forwarding()?;
        peer.send_bursts(2)?;
        peer.wait_for_stats(0, |stats| stats.tx_packets == round * 64 && stats.rx_packets == round * 64)?;
    }
    peer.quit()?;

    let (status, stdout, stderr) = echo.wait_with_output()?;
    ensure!(status.success(), "echo ended with {status}\n{stderr}");
    ensure!(stdout.contains("6400 packets echoed") && stdout.contains("4096 of 4096 mbufs are home"), "{stdout}");
    Ok(())
}
