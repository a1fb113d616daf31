//! The harness itself: two testpmd with each other, so that a failure elsewhere is not the peers' or the harness'.

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::testpmd::Forward;
use lport_tests::{Testbed, packets, pcap};

/// Two testpmd joined by memif; one plays a capture file into the link, the other records what arrives.
fn contents_pass_unchanged(sender: Role) -> Result<()> {
    let testbed = Testbed::new()?;
    let sent = packets::frames(1, 2000, &[60, 64, 1500, 2048]);
    let (source, sink) = (testbed.path("in.pcap"), testbed.path("out.pcap"));
    pcap::write(&source, &sent)?;
    let socket = testbed.abstract_socket("memif");
    let start = |role: Role| {
        let peer = testbed.testpmd(&role.to_string()).memif(&Memif::new(role, &socket));
        if role == sender { peer.pcap_source(&source).start() } else { peer.pcap_sink(&sink).start() }
    };
    let (server, client) = (start(Role::Server)?, start(Role::Client)?);
    let (mut sending, mut receiving) = if sender == Role::Server { (server, client) } else { (client, server) };
    receiving.wait_for_link(0, true)?;
    sending.retry_until_sent()?;
    receiving.start_forwarding()?;
    sending.start_forwarding()?;
    receiving.wait_for_stats(1, |stats| stats.tx_packets >= 2000)?;
    sending.stop_forwarding()?;
    receiving.stop_forwarding()?;
    assert_eq!(sending.port_stats(0)?.tx_packets, 2000);
    receiving.quit()?;
    assert!(pcap::read(&sink)? == sent, "contents differ");
    Ok(())
}

#[test]
fn contents_pass_unchanged_from_client_to_server() -> Result<()> {
    contents_pass_unchanged(Role::Client)
}

#[test]
fn contents_pass_unchanged_from_server_to_client() -> Result<()> {
    contents_pass_unchanged(Role::Server)
}

#[test]
fn a_killed_client_takes_the_servers_link_down_and_a_new_one_brings_it_up() -> Result<()> {
    let testbed = Testbed::new()?;
    let memif = Memif::new(Role::Server, &testbed.path_socket("memif.sock"));
    let mut server = testbed.testpmd("server").forward(Forward::RxOnly).memif(&memif).start()?;
    let client = testbed.testpmd("client").memif(&memif.peer()).start()?;
    server.wait_for_link(0, true)?;
    client.into_process().kill()?;
    server.wait_for_link(0, false)?;
    let mut client = testbed.testpmd("client").memif(&memif.peer()).start()?;
    server.wait_for_link(0, true)?;
    server.start_forwarding()?;
    client.send_bursts(2)?;
    let stats = server.wait_for_stats(0, |stats| stats.rx_packets >= 64)?;
    assert_eq!((stats.rx_packets, stats.rx_bytes), (64, 64 * 64));
    Ok(())
}
