//! Several queues, sleeping, and rings that are full.

use std::collections::HashSet;

use anyhow::Result;
use lport_tests::lports::{contents, is_readable, poll_until};
use nix::poll::PollTimeout;
use pmd_core::Burst;

use crate::support::{Cable, counter, frame, only, receive, send};

/// A frame of a flow of UDP, with a number in its payload.
fn flow_frame(port: u16, id: u16) -> Vec<u8> {
    let mut packet = frame(14, 0);
    packet.truncate(12);
    packet.extend_from_slice(&[0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend_from_slice(&port.to_be_bytes());
    packet.extend_from_slice(&[0x13, 0x88, 0, 26, 0, 0]);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.resize(60, 0);
    packet
}

#[test]
fn queues_share_the_packets_and_a_flow_keeps_to_its_queue() -> Result<()> {
    const FLOWS: u16 = 64;
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let mut left = only(cable.open_left(1, &[])?);
    let mut queues = cable.open_right(3, &[("qpairs", "3")])?;
    let frames: Vec<_> = (0..FLOWS * 8).map(|id| flow_frame(1000 + id % FLOWS, id)).collect();
    send(&mut left, &cable.pool, &frames)?;
    let mut received: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
    let mut burst = Burst::with_limit(32);
    poll_until("all packets", || {
        for (queue, received) in queues.iter_mut().zip(&mut received) {
            queue.rx.rx_burst(&mut burst);
            received.extend(contents(&burst));
            burst.clear();
        }
        (received.iter().map(Vec::len).sum::<usize>() >= frames.len()).then_some(())
    })?;
    let mut all: Vec<_> = received.concat();
    all.sort_unstable();
    let mut expected = frames.clone();
    expected.sort_unstable();
    assert!(all == expected, "each packet once");
    let flows = |packets: &[Vec<u8>]| packets.iter().map(|packet| packet[34..36].to_vec()).collect::<HashSet<_>>();
    let by_queue: Vec<_> = received.iter().map(|packets| flows(packets)).collect();
    assert!(by_queue.iter().all(|flows| flows.len() > 5), "64 flows are spread: {by_queue:?}");
    assert_eq!(by_queue.iter().map(HashSet::len).sum::<usize>(), usize::from(FLOWS), "a flow has one queue");
    // Within a flow the order holds.
    for packets in &received {
        for flow in flows(packets) {
            let ids = packets.iter().filter(|packet| packet[34..36] == flow).map(|packet| packet[42..44].to_vec());
            assert!(ids.is_sorted());
        }
    }
    Ok(())
}

#[test]
fn queues_take_turns_when_asked_to() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let mut left = only(cable.open_left(1, &[])?);
    let mut queues = cable.open_right(2, &[("fanout_mode", "lb")])?;
    send(&mut left, &cable.pool, &vec![frame(60, 1); 100])?;
    for queue in &mut queues {
        assert_eq!(receive(queue, 50)?.len(), 50);
    }
    Ok(())
}

#[test]
fn an_armed_queue_is_woken_by_a_packet() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let (mut left, mut right) = cable.open_both()?;
    let mut burst = Burst::with_limit(1);
    for id in 0..50 {
        assert_eq!(right.rx.rx_burst(&mut burst), 0);
        assert!(right.rx.arm() && !is_readable(&right, PollTimeout::ZERO), "nothing has come");
        send(&mut left, &cable.pool, &[frame(60, id), frame(60, id)])?;
        assert!(is_readable(&right, PollTimeout::from(10_000_u16)));
        right.rx.disarm();
        // One of two is taken: when the other has come, sleeping is not safe.
        poll_until("the packet", || (right.rx.rx_burst(&mut burst) > 0).then_some(()))?;
        poll_until("a queue that is not safe to sleep on", || {
            let waits = !right.rx.arm();
            right.rx.disarm();
            waits.then_some(())
        })?;
        burst.clear();
        receive(&mut right, 1)?;
    }
    Ok(())
}

#[test]
fn what_finds_no_room_in_the_ring_is_counted_as_missed() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let mut left = only(cable.open_left(1, &[])?);
    let mut right = only(cable.open_right(1, &[("blocksz", "4096"), ("framecnt", "4")])?);
    send(&mut left, &cable.pool, &(0..100).map(|id| frame(1000, id)).collect::<Vec<_>>())?;
    let stats = poll_until("packets to be missed", || {
        let stats = right.control.stats();
        (stats.imissed > 0).then_some(stats)
    })?;
    let received = receive(&mut right, 100 - stats.imissed as usize)?;
    assert_eq!(received[0], frame(1000, 0));
    let stats = right.control.stats();
    assert_eq!(stats.ipackets + stats.imissed, 100);
    assert_eq!(counter(&right, "rx_kernel_dropped"), stats.imissed);
    // There is room again.
    send(&mut left, &cable.pool, &[frame(60, 7)])?;
    assert_eq!(receive(&mut right, 1)?, [frame(60, 7)]);
    Ok(())
}

#[test]
fn an_empty_pool_loses_nothing_that_lies_in_the_ring() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let (mut left, mut right) = cable.open_both()?;
    let frames: Vec<_> = (0..50).map(|id| frame(60, id)).collect();
    send(&mut left, &cable.pool, &frames)?;
    let hoard: Vec<_> = std::iter::from_fn(|| cable.pool.alloc()).collect();
    let mut burst = Burst::with_limit(32);
    poll_until("the lack to be counted", || {
        assert_eq!(right.rx.rx_burst(&mut burst), 0);
        (right.control.stats().rx_nombuf > 0).then_some(())
    })?;
    drop(hoard);
    assert_eq!(receive(&mut right, 50)?, frames);
    Ok(())
}
