//! The examples of pmd-memif do what their heads say, with testpmd at the other end.

use std::process::Command;

use anyhow::{Result, ensure};
use lport_tests::memif::{Memif, Role};
use lport_tests::process::{Process, wait_until};
use lport_tests::testpmd::{Forward, Testpmd};
use lport_tests::{Testbed, cargo};

/// Starts an example at the socket `sock`.
fn start(testbed: &Testbed, name: &str, arguments: &[&str]) -> Result<Process> {
    let program = cargo::build(&["--package", "pmd-memif", "--example", name])?.join("examples").join(name);
    Process::spawn(name, Command::new(program).arg(testbed.path("sock")).args(arguments))
}

/// Starts an example that is a server, and a client of it. Waits for the link.
fn serve(testbed: &Testbed, name: &str, arguments: &[&str], queues: u16) -> Result<(Process, Testpmd)> {
    let example = start(testbed, name, arguments)?;
    wait_until("the socket of the example", || Ok(testbed.path("sock").exists().then_some(())))?;
    let client = Memif::new(Role::Client, &testbed.path_socket("sock"));
    let mut peer = testbed.testpmd("peer").forward(Forward::RxOnly).queues(queues).memif(&client).start()?;
    peer.wait_for_link(0, true)?;
    Ok((example, peer))
}

/// Lets the peer send 64 packets a hundred times from each of its queues, and receive as many before it goes on.
fn send_and_receive(peer: &mut Testpmd, queues: u64) -> Result<()> {
    peer.start_forwarding()?;
    for round in 1..=100 {
        peer.stop_forwarding()?;
        peer.send_bursts(2)?;
        let packets = round * 64 * queues;
        peer.wait_for_stats(0, |stats| stats.tx_packets == packets && stats.rx_packets == packets)?;
    }
    Ok(())
}

/// Waits for the end of the example, and looks for what it has to say.
fn check_output(mut example: Process, expected: &[&str]) -> Result<String> {
    let (status, stdout, stderr) = example.wait_with_output()?;
    ensure!(status.success(), "it ended with {status}\n{stderr}");
    for text in expected.iter().chain(&["4096 of 4096 mbufs are home"]) {
        ensure!(stdout.contains(text), "no {text:?} in {stdout}");
    }
    Ok(stdout)
}

#[test]
fn echo_sends_everything_back_and_ends_when_its_peer_has_gone() -> Result<()> {
    let testbed = Testbed::new()?;
    let (echo, mut peer) = serve(&testbed, "echo", &[], 1)?;
    send_and_receive(&mut peer, 1)?;
    peer.quit()?;
    check_output(echo, &["6400 packets echoed"]).map(drop)
}

#[test]
fn swap_sends_everything_back_with_a_tag_in_front() -> Result<()> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let mut peer = testbed.testpmd("peer").forward(Forward::RxOnly).memif(&server).start()?;
    let swap = start(&testbed, "swap", &[])?;
    peer.wait_for_link(0, true)?;
    send_and_receive(&mut peer, 1)?;
    let stats = peer.port_stats(0)?;
    assert_eq!((stats.tx_bytes, stats.rx_bytes), (6400 * 64, 6400 * 68));
    // A server of testpmd crashes when it quits while our client is connected.
    peer.into_process().kill()?;
    check_output(swap, &["6400 packets sent back"]).map(drop)
}

#[test]
fn queues_sends_everything_back_on_the_queue_it_came_from() -> Result<()> {
    let testbed = Testbed::new()?;
    let (queues, mut peer) = serve(&testbed, "queues", &["3"], 3)?;
    send_and_receive(&mut peer, 3)?;
    peer.quit()?;
    let each = [0, 1, 2].map(|queue| format!("queue {queue}: 6400 packets echoed, 6400 received"));
    check_output(queues, &each.each_ref().map(String::as_str)).map(drop)
}

#[test]
fn epoll_sleeps_between_packets_and_misses_none() -> Result<()> {
    let testbed = Testbed::new()?;
    let (epoll, mut peer) = serve(&testbed, "epoll", &[], 1)?;
    send_and_receive(&mut peer, 1)?;
    peer.quit()?;
    let stdout = check_output(epoll, &["6400 packets echoed, woken "])?;
    ensure!(!stdout.contains("woken 0 times"), "{stdout}");
    Ok(())
}
