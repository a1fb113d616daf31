//! testpmd -> `lport run` -> testpmd, both directions at once: every byte arrives unchanged and in order, in packets of
//! one to five segments.

use std::path::Path;

use anyhow::{Result, bail};
use lport_tests::memif::{Memif, Role};
use lport_tests::testpmd::Forward;
use lport_tests::{LportFile, Testbed, Testpmd, packets, pcap};

/// Bytes of a buffer of the link, and of an mbuf's room in testpmd.
const SEGMENT: usize = 2048;

/// A testpmd that plays one capture file into its memif port and records what comes out of it in another.
fn start_end(testbed: &Testbed, name: &str, memif: &Memif) -> Result<Testpmd> {
    let files = format!("rx_pcap={},tx_pcap={}", source(testbed, name).display(), sink(testbed, name).display());
    // More mbufs than a client that shares them puts into its receive ring.
    let mut end = testbed.testpmd(name).mbufs(32768).memif(memif).vdev("net_pcap", &files).start()?;
    end.wait_for_link(0, true)?;
    // Room for what the other end sends, before anything is played.
    end.set_ports(&[0])?;
    end.set_forward(Forward::RxOnly)?;
    end.poll_once()?;
    end.set_ports(&[0, 1])?;
    end.retry_until_sent()?;
    Ok(end)
}

fn source(testbed: &Testbed, name: &str) -> std::path::PathBuf {
    testbed.path(&format!("{name}-in.pcap"))
}

fn sink(testbed: &Testbed, name: &str) -> std::path::PathBuf {
    testbed.path(&format!("{name}-out.pcap"))
}

/// Sizes in bytes of what `receiver` is to get: some of one segment, and chains of 1 to 5 that fit exactly, or miss by a
/// byte. Testpmd's zero-copy client gets packets of one segment, because it forgets the length of the others.
fn sizes(receiver: &Memif) -> Vec<usize> {
    let around = |segments| [segments * SEGMENT - 1, segments * SEGMENT, segments * SEGMENT + 1];
    let sizes = (60..SEGMENT).step_by(97).chain([64, 1500, 9000]).chain((1..5).flat_map(around)).chain([5 * SEGMENT]);
    let longest = if receiver.is_zero_copy_client() { SEGMENT } else { usize::MAX };
    sizes.filter(|&size| size <= longest).collect()
}

/// How often an exchange is repeated because a testpmd crashed while it quit: its capture is not complete then.
const ATTEMPTS: usize = 5;

fn contents_pass_both_ways(
    our_roles: [Role; 2],
    packets: u64,
    threads: &[(&str, &[&str])],
    sharing: impl Fn(Memif) -> Memif,
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if exchange(our_roles, packets, threads, &sharing)? {
            return Ok(());
        }
    }
    bail!("testpmd crashed {ATTEMPTS} times while it quit")
}

/// Says whether the captures were complete, so that contents could be compared.
fn exchange(
    our_roles: [Role; 2],
    packets: u64,
    threads: &[(&str, &[&str])],
    sharing: impl Fn(Memif) -> Memif,
) -> Result<bool> {
    let testbed = Testbed::new()?;
    // Rings that hold everything at once: nobody has a reason to drop, and testpmd's chains are exact.
    let ends = ["left", "right"];
    let ours: Vec<_> = (0..2)
        .map(|end| Memif::new(our_roles[end], &testbed.path_socket(&format!("{}.sock", ends[end]))).log2_ring_size(13))
        .map(sharing)
        .collect();
    for (seed, (end, receiver)) in (1..).zip(ends.into_iter().zip(ours.iter().rev())) {
        pcap::write(&source(&testbed, end), &packets::frames(seed, packets, &sizes(&receiver.peer())))?;
    }
    let file = LportFile::new("fwd").memif("left", &ours[0], 1).memif("right", &ours[1], 1);
    let file =
        threads.iter().fold(file.port_map(&[("left:0", "right:0")]), |file, (name, lports)| file.thread(name, lports));
    let lport = testbed.run("forwarder", &file)?;
    let mut left = start_end(&testbed, "left", &ours[0].peer())?;
    let mut right = start_end(&testbed, "right", &ours[1].peer())?;
    for end in [&mut left, &mut right] {
        end.start_forwarding()?;
    }
    for end in [&mut left, &mut right] {
        end.wait_for_stats(1, |stats| stats.tx_packets == packets)?;
    }
    for end in [&mut left, &mut right] {
        end.stop_forwarding()?;
    }
    // We go first: a testpmd server that quits while our client connects again may crash.
    let summary = lport.stop()?.summary()?;
    let (left, right) = (left.quit_in_order()?, right.quit_in_order()?);
    for name in ["left:0", "right:0"] {
        let port = summary.lport(name)?;
        assert_eq!((port.ipackets, port.opackets), (packets, packets), "{name}");
    }
    if !(left && right) {
        return Ok(false);
    }
    assert_same(&source(&testbed, "left"), &sink(&testbed, "right"))?;
    assert_same(&source(&testbed, "right"), &sink(&testbed, "left"))?;
    Ok(true)
}

fn assert_same(sent: &Path, received: &Path) -> Result<()> {
    let (sent, received) = (pcap::read(sent)?, pcap::read(received)?);
    assert_eq!(sent.len(), received.len());
    let first_difference = sent.iter().zip(&received).position(|(a, b)| a != b);
    assert_eq!(first_difference.map(|at| (at, sent[at].len(), received[at].len())), None, "(packet, sizes)");
    Ok(())
}

const ONE_THREAD: &[(&str, &[&str])] = &[("fwd:0", &["left:0", "right:0"])];
const TWO_THREADS: &[(&str, &[&str])] = &[("fwd:0", &["left:0"]), ("fwd:1", &["right:0"])];

fn copying(ours: Memif) -> Memif {
    ours
}

/// Our client shares its pool, our server borrows what it receives.
fn we_share(ours: Memif) -> Memif {
    ours.here("zero-copy", "yes")
}

/// Testpmd's client shares its mbufs, in memory that DPDK cannot seal; its server copies.
fn they_share(ours: Memif) -> Memif {
    match ours.role() {
        Role::Server => ours.there("zero-copy", "yes").here("seals", "warn"),
        Role::Client => ours,
    }
}

fn both_share(ours: Memif) -> Memif {
    we_share(they_share(ours))
}

#[test]
fn contents_pass_between_a_client_and_a_server_peer() -> Result<()> {
    contents_pass_both_ways([Role::Server, Role::Client], 3000, ONE_THREAD, copying)
}

#[test]
fn contents_pass_between_two_client_peers() -> Result<()> {
    contents_pass_both_ways([Role::Server, Role::Server], 3000, ONE_THREAD, copying)
}

#[test]
fn contents_pass_between_two_server_peers() -> Result<()> {
    contents_pass_both_ways([Role::Client, Role::Client], 3000, ONE_THREAD, copying)
}

/// A thread's hand-over to another holds 1024 packets; no more are sent, so that none has to be dropped.
#[test]
fn contents_pass_from_thread_to_thread() -> Result<()> {
    contents_pass_both_ways([Role::Server, Role::Client], 1000, TWO_THREADS, copying)
}

#[test]
fn contents_pass_unharmed_when_we_share() -> Result<()> {
    contents_pass_both_ways([Role::Server, Role::Client], 3000, ONE_THREAD, we_share)
}

#[test]
fn contents_pass_between_two_sharing_clients() -> Result<()> {
    contents_pass_both_ways([Role::Server, Role::Server], 3000, ONE_THREAD, they_share)
}

#[test]
fn contents_pass_between_a_sharing_client_and_a_server_peer() -> Result<()> {
    contents_pass_both_ways([Role::Server, Role::Client], 3000, ONE_THREAD, they_share)
}

#[test]
fn contents_pass_between_two_sharing_clients_from_whom_we_borrow() -> Result<()> {
    contents_pass_both_ways([Role::Server, Role::Server], 3000, ONE_THREAD, both_share)
}

#[test]
fn contents_pass_from_thread_to_thread_when_everyone_shares() -> Result<()> {
    contents_pass_both_ways([Role::Server, Role::Client], 1000, TWO_THREADS, both_share)
}

#[test]
fn every_packet_of_a_flood_is_forwarded_or_counted_as_dropped() -> Result<()> {
    const ENOUGH: u64 = 300_000;
    const MEMORY_MAX: u64 = 100 << 20;
    let testbed = Testbed::new()?;
    let ours = ["left", "right"].map(|end| Memif::new(Role::Server, &testbed.path_socket(end)));
    let file = LportFile::new("fwd").memif("left", &ours[0], 1).memif("right", &ours[1], 1);
    let lport = testbed.run("forwarder", &file.port_map(&[("left:0", "right:0")]))?;
    let mut left = testbed.testpmd("left").forward(Forward::TxOnly).memif(&ours[0].peer()).start()?;
    let mut right = testbed.testpmd("right").forward(Forward::RxOnly).memif(&ours[1].peer()).start()?;
    left.wait_for_link(0, true)?;
    right.wait_for_link(0, true)?;
    right.start_forwarding()?;
    left.start_forwarding()?;
    right.wait_for_stats(0, |stats| stats.rx_packets > ENOUGH)?;
    left.stop_forwarding()?;

    let sent = left.port_stats(0)?.tx_packets;
    lport.wait_for_counters("left:0", |port| port.ipackets == sent)?;
    let forwarded = lport.wait_for_counters("right:0", |port| port.opackets + port.oerrors == sent)?.opackets;
    right.wait_for_stats(0, |stats| stats.rx_packets == forwarded)?;
    let memory = lport.peak_memory()?;
    assert!(memory < MEMORY_MAX, "{memory} bytes resident");
    let summary = lport.stop()?.summary()?;
    let (left, right) = (summary.lport("left:0")?, summary.lport("right:0")?);
    assert_eq!((left.ipackets, left.imissed, left.ierrors), (sent, 0, 0));
    assert_eq!(right.oerrors, sent - forwarded);
    Ok(())
}
