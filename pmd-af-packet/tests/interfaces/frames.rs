//! Frames through a cable: contents, lengths, tags.

use anyhow::Result;
use lport_tests::lports::{contents, poll_until, receive_one};
use pmd_core::{Burst, LportId};

use crate::support::{Cable, counter, frame, only, receive, send};

#[test]
fn frames_cross_the_cable_both_ways_as_they_are() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let (mut left, mut right) = cable.open_both()?;
    let frames: Vec<_> = (0..300).map(|id| frame(60 + usize::from(id) % 1455, id)).collect();
    send(&mut left, &cable.pool, &frames)?;
    assert_eq!(receive(&mut right, frames.len())?, frames);
    send(&mut right, &cable.pool, &frames)?;
    assert_eq!(receive(&mut left, frames.len())?, frames);
    let (sent, received) = (left.control.stats(), right.control.stats());
    let bytes = frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
    assert_eq!((sent.opackets, sent.obytes, received.ipackets, received.ibytes), (300, bytes, 300, bytes));
    // Neither end has seen what it sent itself.
    assert_eq!((sent.ipackets, received.opackets, sent.oerrors, received.imissed), (300, 300, 0, 0));
    Ok(())
}

#[test]
fn a_frame_of_several_mbufs_is_sent_whole_and_one_that_is_longer_than_an_mbuf_comes_in_several() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    cable.left.ip("link set left mtu 9000")?;
    cable.right.ip("link set right mtu 9000")?;
    let (mut left, mut right) = cable.open_both()?;
    let jumbo = frame(9014, 5);
    send(&mut left, &cable.pool, std::slice::from_ref(&jumbo))?;
    let mut burst = Burst::with_limit(1);
    poll_until("the frame", || (right.rx.rx_burst(&mut burst) > 0).then_some(()))?;
    assert_eq!(burst[0].segment_count(), 5, "mbufs hold 2048 bytes");
    assert_eq!(burst[0].segments().flatten().copied().collect::<Vec<_>>(), jumbo);
    Ok(())
}

#[test]
fn vlan_tags_stay_where_they_are() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let (mut left, mut right) = cable.open_both()?;
    let tagged = |tags: &[u8], len| {
        let mut tagged = frame(len, 9);
        tagged.splice(12..12, tags.iter().copied());
        tagged
    };
    let frames = [
        tagged(&[0x81, 0x00, 0x20, 0x64], 100),
        tagged(&[0x88, 0xa8, 0x0f, 0xff], 100),
        tagged(&[0x88, 0xa8, 0x00, 0x02, 0x81, 0x00, 0x00, 0x03], 100),
        // A tag does not count against the MTU.
        tagged(&[0x81, 0x00, 0x00, 0x00], 1514),
    ];
    send(&mut left, &cable.pool, &frames)?;
    assert_eq!(receive(&mut right, frames.len())?, frames);
    assert_eq!(counter(&right, "rx_vlan_tags_restored"), 4);
    Ok(())
}

#[test]
fn what_cannot_be_sent_is_dropped_and_counted_and_holds_nothing_up() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let (mut left, mut right) = cable.open_both()?;
    assert_eq!(left.control.info().max_packet, 1514);
    let frames = [frame(1515, 1), frame(60, 2), frame(60, 3)[..13].to_vec(), frame(1514, 4), Vec::new(), frame(60, 5)];
    let mut burst = Burst::new();
    for frame in &frames {
        burst.push(cable.pool.alloc_packet(frame).unwrap()).unwrap();
    }
    assert_eq!((left.tx.tx_burst(&mut burst), burst.len()), (3, 0));
    assert_eq!(receive(&mut right, 3)?, [&frames[1][..], &frames[3], &frames[5]]);
    let stats = left.control.stats();
    assert_eq!((stats.opackets, stats.oerrors), (3, 3));
    assert_eq!([counter(&left, "tx_too_long_dropped"), counter(&left, "tx_refused_dropped")], [1, 2]);
    Ok(())
}

#[test]
fn outgoing_packets_of_the_own_interface_are_not_received() -> Result<()> {
    // One socket has a setting for it, and a group of them another one.
    for queues in [1, 2] {
        let Some(cable) = Cable::new()? else { return Ok(()) };
        cable.left.ip("addr add 192.0.2.1/24 dev left")?;
        cable.left.ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev left")?;
        let (mut left, mut right) = (cable.open_left(queues, &[])?, only(cable.open_right(1, &[])?));
        // Our own stack sends out of the interface: the other end receives it, we do not.
        let _ = cable.left.run("ping -c 1 -W 1 192.0.2.2");
        let echo = receive_one(&mut right)?;
        assert_eq!(&echo[..6], [2, 0, 0, 0, 0, 2]);
        send(&mut left[0], &cable.pool, &[frame(60, 6)])?;
        send(&mut right, &cable.pool, &[frame(60, 7)])?;
        let mut burst = Burst::with_limit(8);
        poll_until("the packet from the other end", || {
            for queue in &mut left {
                queue.rx.rx_burst(&mut burst);
            }
            (!burst.is_empty()).then_some(())
        })?;
        assert_eq!(contents(&burst), [frame(60, 7)]);
        assert_eq!(left.iter().map(|queue| queue.control.stats().ipackets).sum::<u64>(), 1);
    }
    Ok(())
}

#[test]
fn received_packets_carry_their_lports_number() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let mut left = only(cable.open_left(1, &[])?);
    let mut right = only(cable.open_right(1, &[])?);
    right.rx.renumber(LportId(7));
    send(&mut left, &cable.pool, &[frame(60, 1)])?;
    let mut burst = Burst::with_limit(1);
    poll_until("the frame", || (right.rx.rx_burst(&mut burst) > 0).then_some(()))?;
    assert_eq!(burst[0].port(), 7);
    Ok(())
}
