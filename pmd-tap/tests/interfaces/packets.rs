//! Packets from the kernel's stack and to it.

use std::collections::HashSet;

use anyhow::Result;
use lport_tests::lports::{is_readable, poll_until, receive_one, udp_payload};
use nix::poll::PollTimeout;
use pmd_core::checksum::{fold, sum};
use pmd_core::{Burst, LportId};
use pmd_tap::TapDriver;

use crate::support::{Place, reply};

const IP: (&str, &str) = ("ip", "192.0.2.1/24");

#[test]
fn a_tap_carries_frames_to_the_stack_and_from_it() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut lport = place.open_one(TapDriver::TAP, "tap0", &[IP, ("mac", "02:00:00:00:00:01")])?;
    place.add_neighbour("tap0")?;
    let socket = place.socket()?;
    for payload in [&b"ping"[..], &[7; 1472]] {
        socket.send(payload)?;
        let frame = receive_one(&mut lport)?;
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(udp_payload(&frame[14..]), payload, "no checksum is left to hardware");
        let mut answer = [&frame[6..12], &frame[..6], &frame[12..14]].concat();
        answer.extend(reply(&frame[14..]));
        place.send(&mut lport, &[answer])?;
        let mut received = [0; 2000];
        let len = socket.recv(&mut received)?;
        assert_eq!(&received[..len], payload);
    }
    let stats = lport.control.stats();
    assert_eq!((stats.ipackets, stats.opackets, stats.ibytes, stats.obytes), (2, 2, 46 + 1514, 46 + 1514));
    Ok(())
}

#[test]
fn a_tun_carries_ip_packets_without_a_header_before_them() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut lport = place.open_one(TapDriver::TUN, "tun0", &[IP])?;
    let socket = place.socket()?;
    socket.send(b"ping")?;
    let packet = receive_one(&mut lport)?;
    assert_eq!(udp_payload(&packet), b"ping");
    // Neither IPv4 nor IPv6: the kernel refuses it, and what comes behind it goes on.
    place.send(&mut lport, &[vec![0x10; 40], reply(&packet)])?;
    let mut received = [0; 100];
    assert_eq!(socket.recv(&mut received)?, 4);
    let (stats, info) = (lport.control.stats(), lport.control.info());
    assert_eq!((stats.opackets, stats.oerrors), (1, 1));
    assert!(stats.xstats.contains(&("tx_refused_dropped", 1)), "{stats:?}");
    assert_eq!((info.driver.as_str(), info.mac, info.max_packet), ("net_tun", None, 1500));
    Ok(())
}

#[test]
fn a_packet_longer_than_an_mbuf_comes_and_goes_as_a_chain() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut lport = place.open_one(TapDriver::TUN, "tun0", &[IP, ("mtu", "65535")])?;
    let socket = place.socket()?;
    let payload: Vec<_> = (0..60_000_u32).map(|i| (i % 251) as u8).collect();
    socket.send(&payload)?;
    let mut burst = Burst::with_limit(1);
    poll_until("the packet", || (lport.rx.rx_burst(&mut burst) > 0).then_some(()))?;
    assert_eq!(burst[0].segment_count(), 60_028_usize.div_ceil(2048));
    let packet: Vec<_> = burst[0].segments().flatten().copied().collect();
    assert_eq!(udp_payload(&packet), payload);
    burst.clear();
    place.send(&mut lport, &[reply(&packet)])?;
    let mut received = vec![0; 65_535];
    let len = socket.recv(&mut received)?;
    assert_eq!(received[..len], payload);
    // Of more segments than are written where they lie.
    let mut many = place.pool.alloc_packet(&reply(&packet)[..100]).unwrap();
    for part in reply(&packet)[100..].chunks(600) {
        many.chain(place.pool.alloc_packet(part).unwrap()).unwrap();
    }
    assert_eq!(many.segment_count(), 101);
    burst.push(many).unwrap();
    assert_eq!(lport.tx.tx_burst(&mut burst), 1);
    assert_eq!(socket.recv(&mut received)?, payload.len());
    assert_eq!(received[..len], payload);
    Ok(())
}

#[test]
fn an_empty_pool_is_counted_and_loses_no_packet_that_fits_an_mbuf() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut lport = place.open_one(TapDriver::TUN, "tun0", &[IP])?;
    let socket = place.socket()?;
    let hoard: Vec<_> = std::iter::from_fn(|| place.pool.alloc()).collect();
    let mut burst = Burst::with_limit(8);
    assert_eq!((lport.rx.rx_burst(&mut burst), lport.control.stats().rx_nombuf), (0, 0), "nothing has come");
    socket.send(b"late")?;
    poll_until("the lack to be counted", || {
        assert_eq!(lport.rx.rx_burst(&mut burst), 0);
        (lport.control.stats().rx_nombuf > 0).then_some(())
    })?;
    drop(hoard);
    assert_eq!(udp_payload(&receive_one(&mut lport)?), b"late");
    Ok(())
}

#[test]
fn what_cannot_be_sent_is_dropped_and_counted() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut lport = place.open_one(TapDriver::TAP, "tap0", &[("mtu", "1000")])?;
    assert_eq!(lport.control.info().max_packet, 1014);
    let mut tagged = vec![0x02; 1018];
    tagged[12..14].copy_from_slice(&[0x81, 0]);
    place.send(&mut lport, &[vec![2; 13], vec![2; 1015], vec![2; 1014], tagged, Vec::new()])?;
    let stats = lport.control.stats();
    assert_eq!((stats.opackets, stats.oerrors), (2, 3));
    assert_eq!(stats.xstats[..2], [("tx_too_long_dropped", 1), ("tx_too_short_dropped", 2)]);
    Ok(())
}

#[test]
fn many_queues_share_the_flows_of_one_interface() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut queues = place.open(TapDriver::TUN, "tun0", 3, &[IP])?;
    let socket = place.socket()?;
    let ports: HashSet<_> = (5000..5064).collect();
    for port in &ports {
        socket.send_to(&[], ("192.0.2.2", *port))?;
    }
    let mut seen: Vec<HashSet<u16>> = vec![HashSet::new(); 3];
    let mut burst = Burst::with_limit(8);
    poll_until("a packet of every flow", || {
        for (queue, seen) in queues.iter_mut().zip(&mut seen) {
            queue.rx.rx_burst(&mut burst);
            seen.extend(burst.iter().map(|packet| u16::from_be_bytes([packet.data()[22], packet.data()[23]])));
            burst.clear();
        }
        (seen.iter().map(HashSet::len).sum::<usize>() >= ports.len()).then_some(())
    })?;
    assert!(seen.iter().all(|flows| flows.len() > 3), "{seen:?}");
    assert_eq!(seen.into_iter().flatten().collect::<HashSet<_>>(), ports);
    // Each queue sends to the same interface.
    let udp = [&[0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1][..], &[0x13, 0x88, 0x0f, 0xa0]];
    let mut packet = [udp.concat(), vec![0, 9, 0, 0, b'x']].concat();
    let checksum = !fold(sum(&packet[..20]));
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    for queue in &mut queues {
        place.send(queue, std::slice::from_ref(&packet))?;
        assert_eq!(socket.recv(&mut [0; 10])?, 1);
    }
    Ok(())
}

#[test]
fn an_idle_queue_is_woken_by_a_packet() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut lport = place.open_one(TapDriver::TUN, "tun0", &[IP])?;
    let socket = place.socket()?;
    let mut burst = Burst::with_limit(1);
    lport.rx.renumber(LportId(9));
    for _ in 0..20 {
        assert_eq!(lport.rx.rx_burst(&mut burst), 0);
        assert!(lport.rx.arm() && !is_readable(&lport, PollTimeout::ZERO));
        socket.send(b"wake")?;
        assert!(is_readable(&lport, PollTimeout::from(10_000_u16)));
        lport.rx.disarm();
        assert_eq!((lport.rx.rx_burst(&mut burst), burst[0].port()), (1, 9));
        burst.clear();
    }
    Ok(())
}
