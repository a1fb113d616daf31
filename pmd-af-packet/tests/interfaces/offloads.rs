//! What a local stack leaves to hardware: it must not leave us undone. Senders are sockets of the kernel whose interface
//! promises to complete checksums and cut packets, as veth does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use lport_tests::Namespace;
use lport_tests::lports::{receive_one, udp_payload};
use lport_tests::namespace::may_make_namespaces;
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use pmd_core::netns::Netns;
use pmd_core::{Burst, Lport};

use crate::support::{Cable, counter, frame, only, open, receive, send};

/// The cable with an IP stack at its left end, which believes to know its neighbour.
fn stack_at_the_left() -> Result<Option<Cable>> {
    let Some(cable) = Cable::new()? else { return Ok(None) };
    cable.left.ip("addr add 192.0.2.1/24 dev left")?;
    cable.left.ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev left")?;
    Ok(Some(cable))
}

fn udp_socket(namespace: &Namespace) -> Result<UdpSocket> {
    let netns = Netns::Name(namespace.name().to_owned());
    let socket = netns.make(|| UdpSocket::bind("192.0.2.1:4000"))?;
    socket.connect("192.0.2.2:5000")?;
    Ok(socket)
}

#[test]
fn checksums_that_the_stack_left_to_hardware_are_completed() -> Result<()> {
    let Some(cable) = stack_at_the_left()? else { return Ok(()) };
    let mut right = only(cable.open_right(1, &[])?);
    let socket = udp_socket(&cable.left)?;
    for payload in [&b"odd"[..], b"even", &[0x55; 1472]] {
        socket.send(payload)?;
        assert_eq!(udp_payload(&receive_one(&mut right)?[14..]), payload);
    }
    assert_eq!(counter(&right, "rx_checksums_completed"), 3);
    // Without the offload there is nothing to complete.
    cable.left.run("ethtool -K left tx off")?;
    socket.send(b"whole")?;
    assert_eq!(udp_payload(&receive_one(&mut right)?[14..]), b"whole");
    assert_eq!(counter(&right, "rx_checksums_completed"), 3);
    Ok(())
}

#[test]
fn large_packets_of_the_stack_are_cut_into_those_they_stand_for() -> Result<()> {
    let Some(cable) = stack_at_the_left()? else { return Ok(()) };
    let mut right = only(cable.open_right(1, &[])?);
    let socket = udp_socket(&cable.left)?;
    setsockopt(&socket, UdpGsoSegment, &1000)?;
    let payload: Vec<_> = (0..40_500_u32).map(|i| (i % 251) as u8).collect();
    socket.send(&payload)?;
    // A burst of 32 ends inside of the large packet; the next one goes on there.
    let frames = receive(&mut right, 41)?;
    let parts: Vec<_> = frames.iter().map(|frame| udp_payload(&frame[14..])).collect();
    assert!(parts[..40].iter().all(|part| part.len() == 1000) && parts[40].len() == 500);
    assert_eq!(parts.concat(), payload);
    assert_eq!([counter(&right, "rx_segments_made"), right.control.stats().ipackets], [41, 41]);
    Ok(())
}

/// Moves packets between two lports until told to stop.
fn forward(mut one: Lport, mut other: Lport, stop: &AtomicBool) -> [Lport; 2] {
    let mut burst = Burst::with_limit(32);
    while !stop.load(Ordering::Relaxed) {
        one.rx.rx_burst(&mut burst);
        other.tx.tx_burst(&mut burst);
        burst.clear();
        other.rx.rx_burst(&mut burst);
        one.tx.tx_burst(&mut burst);
        burst.clear();
        std::thread::yield_now();
    }
    [one, other]
}

#[test]
fn tcp_flows_through_us_as_through_a_wire() -> Result<()> {
    const BYTES: usize = 4 << 20;
    if !may_make_namespaces()? {
        return Ok(());
    }
    // left -- (near, we, far) -- right: two cables, and we are between them.
    let (left, middle, right) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
    left.cable("left", &middle, "near")?;
    right.cable("right", &middle, "far")?;
    left.ip("addr add 192.0.2.1/24 dev left")?;
    right.ip("addr add 192.0.2.2/24 dev right")?;
    let config = pmd_core::PoolConfig { size: 4096, ..pmd_core::PoolConfig::default() };
    let pool = pmd_core::Pool::new(&config)?;
    let near = only(open(&middle, "near", 1, &[], &pool)?);
    let far = only(open(&middle, "far", 1, &[], &pool)?);
    let stop = AtomicBool::new(false);
    let data: Vec<_> = (0..BYTES).map(|i| (i * 31 / 7) as u8).collect();
    let lports = std::thread::scope(|scope| -> Result<_> {
        let forwarder = scope.spawn(|| forward(near, far, &stop));
        let transfer = || -> Result<()> {
            let listener = Netns::Name(right.name().to_owned()).make(|| TcpListener::bind("192.0.2.2:5000"))?;
            let mut client = Netns::Name(left.name().to_owned()).make(|| TcpStream::connect("192.0.2.2:5000"))?;
            let (mut server, _) = listener.accept()?;
            let sender = scope.spawn({
                let data = &data;
                move || client.write_all(data)
            });
            let mut received = Vec::new();
            server.read_to_end(&mut received)?;
            ensure!(sender.join().expect("the sender does not panic").is_ok(), "all is sent");
            ensure!(received == data, "what arrives is what was sent");
            Ok(())
        };
        let outcome = transfer();
        stop.store(true, Ordering::Relaxed);
        let lports = forwarder.join().expect("the forwarder does not panic");
        outcome.map(|()| lports)
    })?;
    let [near, far] = lports;
    assert!(counter(&near, "rx_segments_made") > 0, "the stack sends large packets");
    assert_eq!(counter(&far, "tx_too_long_dropped"), 0);
    drop((near, far));
    assert_eq!(pool.available(), pool.size());
    Ok(())
}

#[test]
fn packets_that_are_whole_are_not_touched() -> Result<()> {
    let Some(cable) = stack_at_the_left()? else { return Ok(()) };
    let (mut left, mut right) = (only(cable.open_left(1, &[])?), only(cable.open_right(1, &[])?));
    // An IPv4 packet that is wrong in every way: none of our business.
    let mut broken = frame(60, 1);
    broken.splice(12..14, [0x08, 0x00]);
    send(&mut left, &cable.pool, std::slice::from_ref(&broken))?;
    assert_eq!(receive(&mut right, 1)?, [broken]);
    assert_eq!(counter(&right, "rx_checksums_completed"), 0);
    Ok(())
}
