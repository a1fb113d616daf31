//! What `lport run` does with large packets that its mode does not look at: a memif server lends them to it, so that they are
//! copied once on their way, also without `zero-copy=yes`. And what it passes on to a memif client, whose server is another process,
//! is received where it is sent from: it arrives whole, and the memory goes with the link.

use std::process::Command;

use anyhow::{Result, ensure};
use lport_tests::memif::{Memif, Role};
use lport_tests::{LportFile, Testbed, packets, pcap, process};
use serde_json::{Value, json};

const ENOUGH: u64 = 100_000;

/// Sends packets of `size` bytes round between a memif server and a memif client of one `lport run`, in a mode; whether the server
/// has lent any of them.
fn lends(mode: &str, size: u64) -> Result<bool> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let file = LportFile::new(mode).memif("a", &server, 1).memif("b", &server.peer(), 1);
    let file = file.option("tx-first", json!(64)).option("tx-size", json!(size));
    let lport = testbed.run("round", &file.port_map(&[("a:0", "b:0")]))?;
    for name in ["a:0", "b:0"] {
        lport.wait_for_counters(name, |port| port.ipackets > ENOUGH)?;
    }
    let summary = lport.stop()?.summary()?;
    assert!(summary.lports.iter().all(|port| port.ierrors + port.oerrors == 0), "{:?}", summary.lports);
    assert!(summary.pools.iter().all(|pool| pool.available == pool.size), "{:?}", summary.pools);
    Ok(summary.lport("a:0")?.xstats["rx_lent"] > 0)
}

#[test]
fn a_server_lends_large_packets_to_a_mode_that_passes_them_on_unread() -> Result<()> {
    assert!(lends("fwd", 1000)?);
    Ok(())
}

#[test]
fn it_lends_none_to_a_mode_that_reads_or_writes_them_and_no_small_ones() -> Result<()> {
    for (mode, size) in [("lb", 1000), ("acl-permissive", 1000), ("fwd", 64)] {
        assert!(!lends(mode, size)?, "{mode}, {size} bytes");
    }
    Ok(())
}

/// Plays packets of every length again and again from one process to another, which records them; says how many arrived, and how
/// many of them the sender sent from where they had been received.
fn pass_on_between_processes(zero_copy: &str) -> Result<(u64, u64)> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock")).there("zero-copy", zero_copy);
    let (played, recorded) = (testbed.path("played.pcap"), testbed.path("recorded.pcap"));
    let packets = packets::frames(7, 500, &[60, 64, 100, 300, 1000, 1514, 2048, 2049, 5000]);
    pcap::write(&played, &packets)?;
    let pcap = |options: Value| json!({ "pmd": "net_pcap", "pmd_opts": options, "umem": "packets" });
    let recorder = LportFile::new("fwd").memif("a", &server, 1).lport("out", pcap(json!({ "tx_pcap": recorded })));
    let recorder = testbed.run("recorder", &recorder.option("port-map", json!({ "a:0": "out" })))?;
    let player = LportFile::new("fwd").memif("b", &server.peer(), 1);
    let player = player.lport("in", pcap(json!({ "rx_pcap": played, "infinite_rx": true, "rx_speed": "1" })));
    let player = testbed.run("player", &player.option("port-map", json!({ "in": "b:0" })))?;
    recorder.wait_for_counters("out", |port| port.opackets > 10_000)?;
    let (sender, receiver) = (player.stop()?.summary()?, recorder.stop()?.summary()?);
    for pool in sender.pools.iter().chain(&receiver.pools) {
        assert_eq!(pool.available, pool.size, "{}", pool.name);
    }
    let mut expected = packets.iter().cycle();
    let plain = testbed.path("recorded-plain.pcap");
    let output = Command::new("editcap").args(["-F", "pcap"]).args([&recorded, &plain]).output()?;
    ensure!(output.status.success(), "editcap: {}", String::from_utf8_lossy(&output.stderr));
    let arrived = pcap::read(&plain)?;
    for (i, packet) in arrived.iter().enumerate() {
        // What found no link or a full ring is missing.
        assert!(
            expected.by_ref().take(packets.len()).any(|sent| sent == packet),
            "packet {i} was not sent behind the one before"
        );
    }
    Ok((arrived.len() as u64, sender.lport("b:0")?.xstats["tx_in_place"]))
}

#[test]
fn what_a_client_passes_on_to_another_process_is_received_where_it_is_sent_from() -> Result<()> {
    for zero_copy in ["no", "yes"] {
        let (arrived, in_place) = pass_on_between_processes(zero_copy)?;
        // The first ones go before the pool is known.
        assert!(arrived > 10_000 && in_place > arrived / 2, "zero-copy={zero_copy}: {in_place} of {arrived}");
    }
    Ok(())
}

/// How many times a process has memory of memif links mapped.
fn mapped_regions(process: u32) -> Result<usize> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
    Ok(maps.lines().filter(|line| line.contains("memif region")).count())
}

#[test]
fn links_that_come_and_go_take_the_memory_along_that_was_received_into() -> Result<()> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let source = json!({ "pmd": "net_null", "pmd_opts": { "size": 300 }, "umem": "packets" });
    let sender = LportFile::new("fwd").memif("b", &server.peer(), 1).lport("null", source);
    let sender = testbed.run("sender", &sender.option("port-map", json!({ "null": "b:0" })))?;
    let mut sent = 0;
    for round in 1..=4 {
        let sink = testbed.run(&format!("sink{round}"), &LportFile::new("drop").memif("a", &server, 1))?;
        sink.wait_for_counters("a:0", |port| port.ipackets > 100_000)?;
        let port = sender.wait_for_counters("b:0", |port| port.xstats["tx_in_place"] > sent)?;
        sent = port.xstats["tx_in_place"];
        process::wait_until("one link's memory", || Ok((mapped_regions(sender.id())? == 1).then_some(())))?;
        sink.stop()?;
        process::wait_until("no link's memory", || Ok((mapped_regions(sender.id())? == 0).then_some(())))?;
    }
    sender.stop()?;
    Ok(())
}
