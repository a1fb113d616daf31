//! Numbers agree: what testpmd says it sent and received is exactly what our program counts, in both roles, with one
//! queue and several, small and large rings, small and large packets, copied or shared, path and abstract sockets, with
//! a secret.

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::summary::{LportSummary, Summary};
use lport_tests::testpmd::Forward;
use lport_tests::{LportFile, Testbed};
use serde_json::json;

/// Packet sizes in bytes and how many of them a burst may hold, so that a burst's segments of 2048 bytes fit into a
/// ring of 2^6.
const SIZES: [(usize, u16); 3] = [(64, 32), (1500, 32), (9000, 8)];

/// Chains of 1 to 5 segments of 2048 bytes, exact fits and one byte more; several fill a ring of 2^6 to its last slot.
const CHAINS: [(usize, u16); 9] =
    [(2047, 32), (2048, 64), (2049, 32), (4096, 32), (4097, 21), (6144, 21), (8192, 16), (8193, 12), (9216, 12)];

fn copying(ours: Memif) -> Memif {
    ours
}

/// Our client shares its pool, our server borrows what it receives.
fn we_share(ours: Memif) -> Memif {
    ours.here("zero-copy", "yes")
}

/// Testpmd's client shares its mbufs, in memory that DPDK cannot seal. It posts buffers only when 32 are missing, so its
/// rings have to be larger than a burst.
fn they_share(ours: Memif) -> Memif {
    ours.there("zero-copy", "yes").here("seals", "warn")
}

fn both_share(ours: Memif) -> Memif {
    we_share(they_share(ours))
}

/// Sends bursts of every size, in turns and so often that the rings go round, to our program, which sends them all back.
fn everything_comes_back(
    our_role: Role,
    queues: u16,
    log2_ring_size: u32,
    sharing: impl Fn(Memif) -> Memif,
) -> Result<()> {
    all_come_back(our_role, queues, log2_ring_size, &SIZES, sharing)
}

fn all_come_back(
    our_role: Role,
    queues: u16,
    log2_ring_size: u32,
    sizes: &[(usize, u16)],
    sharing: impl Fn(Memif) -> Memif,
) -> Result<()> {
    let testbed = Testbed::new()?;
    let socket = if log2_ring_size == 6 { testbed.path_socket("sock") } else { testbed.abstract_socket("sock") };
    let ours = sharing(Memif::new(our_role, &socket).log2_ring_size(log2_ring_size).secret("psst"));
    let file = LportFile::new("lb").memif("echo", &ours, queues);
    let peer = testbed.testpmd("peer").forward(Forward::RxOnly).queues(queues);
    let (lport, mut peer) = testbed.run_with_peer(&file, &ours, peer)?;
    peer.poll_once()?;

    let mut sent = (0, 0);
    for round in 0..30 {
        let (size, burst) = sizes[round % sizes.len()];
        peer.set_packet_size(size)?;
        peer.set_burst(burst)?;
        peer.send_bursts(1)?;
        let packets = u64::from(burst) * u64::from(queues);
        sent = (sent.0 + packets, sent.1 + packets * u64::try_from(size)?);
        peer.wait_for_stats(0, |stats| stats.tx_packets == sent.0 && stats.rx_packets == sent.0)?;
        peer.stop_forwarding()?;
    }
    let theirs = peer.port_stats(0)?;
    let summary = lport.stop()?.summary()?;
    assert_eq!((theirs.rx_packets, theirs.rx_bytes), sent);
    let total = |count: fn(&LportSummary) -> u64| summary.lports.iter().map(count).sum::<u64>();
    assert_eq!((total(|lport| lport.ipackets), total(|lport| lport.ibytes)), sent);
    assert_eq!((total(|lport| lport.opackets), total(|lport| lport.obytes)), sent);
    assert_eq!(total(|lport| lport.imissed + lport.ierrors + lport.oerrors), 0);
    assert!(summary.lports.iter().all(|lport| lport.ipackets == sent.0 / u64::from(queues)), "{:?}", summary.lports);
    Ok(())
}

#[test]
fn a_server_returns_everything_on_a_ring_of_64() -> Result<()> {
    everything_comes_back(Role::Server, 1, 6, copying)
}

#[test]
fn a_server_returns_everything_on_a_ring_of_1024() -> Result<()> {
    everything_comes_back(Role::Server, 1, 10, copying)
}

#[test]
fn a_server_returns_everything_on_four_queues_of_64() -> Result<()> {
    everything_comes_back(Role::Server, 4, 6, copying)
}

#[test]
fn a_server_returns_everything_on_four_queues_of_1024() -> Result<()> {
    everything_comes_back(Role::Server, 4, 10, copying)
}

#[test]
fn a_client_returns_everything_on_a_ring_of_64() -> Result<()> {
    everything_comes_back(Role::Client, 1, 6, copying)
}

#[test]
fn a_client_returns_everything_on_a_ring_of_1024() -> Result<()> {
    everything_comes_back(Role::Client, 1, 10, copying)
}

#[test]
fn a_client_returns_everything_on_four_queues_of_64() -> Result<()> {
    everything_comes_back(Role::Client, 4, 6, copying)
}

#[test]
fn a_client_returns_everything_on_four_queues_of_1024() -> Result<()> {
    everything_comes_back(Role::Client, 4, 10, copying)
}

#[test]
fn a_borrowing_server_returns_everything_on_a_ring_of_64() -> Result<()> {
    everything_comes_back(Role::Server, 1, 6, we_share)
}

#[test]
fn a_borrowing_server_returns_everything_on_four_queues_of_1024() -> Result<()> {
    everything_comes_back(Role::Server, 4, 10, we_share)
}

#[test]
fn a_sharing_client_returns_everything_on_a_ring_of_64() -> Result<()> {
    everything_comes_back(Role::Client, 1, 6, we_share)
}

#[test]
fn a_sharing_client_returns_everything_on_four_queues_of_1024() -> Result<()> {
    everything_comes_back(Role::Client, 4, 10, we_share)
}

#[test]
fn a_copying_server_of_a_sharing_client_returns_everything_on_a_ring_of_1024() -> Result<()> {
    everything_comes_back(Role::Server, 1, 10, they_share)
}

#[test]
fn a_copying_server_of_a_sharing_client_returns_everything_on_four_queues_of_1024() -> Result<()> {
    everything_comes_back(Role::Server, 4, 10, they_share)
}

#[test]
fn a_borrowing_server_of_a_sharing_client_returns_everything_on_a_ring_of_1024() -> Result<()> {
    everything_comes_back(Role::Server, 1, 10, both_share)
}

#[test]
fn a_borrowing_server_of_a_sharing_client_returns_everything_on_four_queues_of_1024() -> Result<()> {
    everything_comes_back(Role::Server, 4, 10, both_share)
}

#[test]
fn a_server_returns_chains_of_1_to_5_segments_on_a_ring_that_they_fill_exactly() -> Result<()> {
    all_come_back(Role::Server, 1, 6, &CHAINS, copying)
}

#[test]
fn a_client_returns_chains_of_1_to_5_segments_on_a_ring_that_they_fill_exactly() -> Result<()> {
    all_come_back(Role::Client, 1, 6, &CHAINS, copying)
}

#[test]
fn a_borrowing_server_returns_chains_of_1_to_5_segments_on_a_ring_that_they_fill_exactly() -> Result<()> {
    all_come_back(Role::Server, 1, 6, &CHAINS, we_share)
}

/// Lets testpmd send as fast as it can for a while, far more than the rings hold, and compares after a quiet stop.
fn a_flood_is_counted_wholly(our_role: Role, queues: u16, size: usize) -> Result<()> {
    const ENOUGH: u64 = 300_000;
    let testbed = Testbed::new()?;
    // Testpmd overruns a ring that is full of chains, so a buffer holds a whole packet here.
    let ours = Memif::new(our_role, &testbed.path_socket("sock")).buffer_size(9216);
    let file = LportFile::new("rx-only").memif("sink", &ours, queues);
    let peer = testbed.testpmd("peer").forward(Forward::TxOnly).queues(queues);
    let (lport, mut peer) = testbed.run_with_peer(&file, &ours, peer)?;
    peer.set_packet_size(size)?;
    peer.start_forwarding()?;
    peer.wait_for_stats(0, |stats| stats.tx_packets > ENOUGH)?;
    peer.stop_forwarding()?;
    let sent = peer.port_stats(0)?.tx_packets;
    let per_queue = peer.port_xstats(0)?;
    for queue in 0..queues {
        let name = format!("tx_q{queue}_packets");
        let sent = per_queue.iter().find(|(known, _)| *known == name).map(|(_, sent)| *sent);
        let all_accounted = |lport: &LportSummary| Some(lport.ipackets + lport.imissed + lport.ierrors) == sent;
        lport.wait_for_counters(&format!("sink:{queue}"), all_accounted)?;
    }
    let summary = lport.stop()?.summary()?;
    let counted: u64 = summary.lports.iter().map(|lport| lport.ipackets + lport.imissed + lport.ierrors).sum();
    assert_eq!(counted, sent);
    let received: u64 = summary.lports.iter().map(|lport| lport.ipackets).sum();
    let bytes: u64 = summary.lports.iter().map(|lport| lport.ibytes).sum();
    assert_eq!(bytes, received * u64::try_from(size)?);
    Ok(())
}

#[test]
fn a_server_counts_a_flood_of_small_packets_wholly() -> Result<()> {
    a_flood_is_counted_wholly(Role::Server, 1, 64)
}

#[test]
fn a_client_counts_a_flood_of_small_packets_wholly() -> Result<()> {
    a_flood_is_counted_wholly(Role::Client, 1, 64)
}

#[test]
fn a_server_counts_a_flood_of_9000_byte_packets_on_four_queues_wholly() -> Result<()> {
    a_flood_is_counted_wholly(Role::Server, 4, 9000)
}

#[test]
fn a_client_counts_a_flood_of_9000_byte_packets_on_four_queues_wholly() -> Result<()> {
    a_flood_is_counted_wholly(Role::Client, 4, 9000)
}

/// Our program sends a number of packets, so many that the rings' indices pass 65535 several times; after that it is quiet,
/// and all have arrived. Gives the summary.
fn testpmd_receives_what_we_send(
    our_role: Role,
    queues: u16,
    size: u64,
    sharing: impl Fn(Memif) -> Memif,
) -> Result<Summary> {
    let per_queue = 500_000 / size.div_ceil(2048);
    let testbed = Testbed::new()?;
    let ours = sharing(Memif::new(our_role, &testbed.path_socket("sock")));
    let file = LportFile::new("tx-only").option("tx-size", json!(size)).option("tx-count", json!(per_queue));
    let file = file.memif("source", &ours, queues);
    let peer = testbed.testpmd("peer").forward(Forward::RxOnly).queues(queues);
    let (lport, mut peer) = testbed.run_with_peer(&file, &ours, peer)?;
    peer.start_forwarding()?;
    for queue in 0..queues {
        lport.wait_for_counters(&format!("source:{queue}"), |port| port.opackets == per_queue)?;
    }
    let packets = per_queue * u64::from(queues);
    let theirs = peer.wait_for_stats(0, |stats| stats.rx_packets == packets)?;
    assert_eq!(theirs.rx_bytes, packets * size);
    let summary = lport.stop()?.summary()?;
    assert!(summary.lports.iter().all(|port| port.obytes == per_queue * size), "{:?}", summary.lports);
    Ok(summary)
}

#[test]
fn testpmd_receives_what_our_server_sends() -> Result<()> {
    testpmd_receives_what_we_send(Role::Server, 1, 64, copying).map(drop)
}

#[test]
fn testpmd_receives_what_our_server_builds_in_the_ring() -> Result<()> {
    for queues in [1, 2] {
        let summary = testpmd_receives_what_we_send(Role::Server, queues, 1500, we_share)?;
        // All but those that were built before there was a link.
        let copied = |port: &LportSummary| port.opackets - port.xstats["tx_in_place"];
        assert!(summary.lports.iter().all(|port| copied(port) <= 256), "{:?}", summary.lports);
    }
    Ok(())
}

#[test]
fn testpmd_receives_what_our_client_sends() -> Result<()> {
    let summary = testpmd_receives_what_we_send(Role::Client, 1, 1500, copying)?;
    let streamed = summary.lports[0].xstats["tx_streamed"];
    assert!(streamed > 0, "other ways to write to another process are tried");
    Ok(())
}

#[test]
fn testpmd_receives_what_our_client_shares() -> Result<()> {
    testpmd_receives_what_we_send(Role::Client, 1, 1500, we_share).map(drop)
}

#[test]
fn testpmd_receives_what_our_server_sends_in_chains_on_four_queues() -> Result<()> {
    testpmd_receives_what_we_send(Role::Server, 4, 9000, copying).map(drop)
}

#[test]
fn testpmd_receives_what_our_client_sends_in_chains_on_four_queues() -> Result<()> {
    testpmd_receives_what_we_send(Role::Client, 4, 9000, copying).map(drop)
}
