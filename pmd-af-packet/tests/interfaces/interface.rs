//! The interface itself: missing, down, gone and back, of another kind; what lports say about it.

use anyhow::Result;
use lport_tests::Namespace;
use lport_tests::lports::{poll_until, wait_for_link_down, wait_for_link_up};
use pmd_core::{Burst, Lport};

use crate::support::{Cable, frame, only, open, receive, send};

fn refusal(namespace: &Namespace, iface: &str, cable: &Cable) -> String {
    open(namespace, iface, 1, &[], &cable.pool).expect_err("an error").to_string()
}

#[test]
fn an_interface_that_is_missing_is_named_with_those_that_are_there() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let error = refusal(&cable.left, "lft", &cable);
    let place = format!("there is no interface `lft` in network namespace {}; there are: lo, left", cable.left.name());
    assert_eq!(error, place);
    Ok(())
}

#[test]
fn info_follows_the_interface() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    cable.left.ip("link set left address 02:00:00:00:00:42")?;
    let lport = only(cable.open_left(1, &[])?);
    let info = lport.control.info();
    assert_eq!((info.mac, info.max_packet), (Some([2, 0, 0, 0, 0, 0x42]), 1514));
    cable.left.ip("link set left mtu 3000")?;
    poll_until("the MTU", || (lport.control.info().max_packet == 3014).then_some(()))
}

#[test]
fn a_link_that_goes_down_says_why_and_comes_up_by_itself() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let (mut left, mut right) = cable.open_both()?;
    let mut burst = Burst::with_limit(32);
    for _ in 0..2 {
        cable.right.ip("link set right down")?;
        wait_for_link_down(&right, "interface right is down: `ip link set right up`")?;
        wait_for_link_down(&left, "interface left has no carrier")?;
        burst.push(cable.pool.alloc_packet(&frame(60, 1)).unwrap()).unwrap();
        assert_eq!((left.tx.tx_burst(&mut burst), burst.len()), (0, 1), "it stays with the caller");
        burst.clear();
        assert_eq!(right.rx.rx_burst(&mut burst), 0);
        assert!(right.rx.wake_fd().is_none(), "a bounded sleep instead of one that ends at once");
        cable.right.ip("link set right up")?;
        wait_for_link_up(&right)?;
        wait_for_link_up(&left)?;
        flows(&cable, &mut left, &mut right)?;
    }
    Ok(())
}

/// Asserts that frames go both ways.
fn flows(cable: &Cable, left: &mut Lport, right: &mut Lport) -> Result<()> {
    cable.left.wait_until_up("left")?;
    cable.right.wait_until_up("right")?;
    send(left, &cable.pool, &[frame(60, 8)])?;
    assert_eq!(receive(right, 1)?, [frame(60, 8)]);
    send(right, &cable.pool, &[frame(60, 9)])?;
    assert_eq!(receive(left, 1)?, [frame(60, 9)]);
    Ok(())
}

#[test]
fn an_interface_that_goes_away_and_comes_back_is_taken_again() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let mut left = only(cable.open_left(1, &[])?);
    // With a group of sockets, which cannot be bound to another interface.
    let mut right = cable.open_right(2, &[("fanout_mode", "rollover")])?;
    send(&mut left, &cable.pool, &[frame(60, 1)])?;
    assert_eq!(receive(&mut right[0], 1)?, [frame(60, 1)]);
    cable.right.ip("link del right")?;
    wait_for_link_down(&right[1], "interface right is gone")?;
    wait_for_link_down(&left, "interface left is gone")?;
    let mut burst = Burst::with_limit(32);
    assert_eq!((right[0].rx.rx_burst(&mut burst), left.rx.rx_burst(&mut burst)), (0, 0));
    cable.left.cable("left", &cable.right, "right")?;
    wait_for_link_up(&left)?;
    wait_for_link_up(&right[0])?;
    flows(&cable, &mut left, &mut right[0])?;
    assert_eq!(right[0].control.stats().ipackets, 2, "counters go on");
    Ok(())
}

#[test]
fn an_lport_that_is_down_keeps_nothing_that_comes_and_goes_on_when_it_is_up() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let (mut left, mut right) = cable.open_both()?;
    flows(&cable, &mut left, &mut right)?;
    right.control.set_admin_up(false);
    wait_for_link_down(&right, "administratively down")?;
    send(&mut left, &cable.pool, &[frame(60, 1), frame(60, 2)])?;
    // The interface goes and comes meanwhile.
    cable.left.ip("link del left")?;
    wait_for_link_down(&left, "interface left is gone")?;
    cable.left.cable("left", &cable.right, "right")?;
    wait_for_link_up(&left)?;
    assert!(!right.control.link().is_up());
    send(&mut left, &cable.pool, &[frame(60, 3), frame(60, 4)])?;
    right.control.set_admin_up(true);
    wait_for_link_up(&right)?;
    flows(&cable, &mut left, &mut right)
}

#[test]
fn only_a_promiscuous_interface_gives_packets_for_others() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    let is_promiscuous = || Ok::<_, anyhow::Error>(cable.left.ip("-details link show left")?.contains("promiscuity 1"));
    let lport = cable.open_left(1, &[("promiscuous", "no")])?;
    assert!(!is_promiscuous()?);
    drop(lport);
    let lport = cable.open_left(1, &[])?;
    assert!(is_promiscuous()?);
    drop(lport);
    assert!(!is_promiscuous()?, "as it was before");
    Ok(())
}

#[test]
fn sending_past_the_queueing_discipline_is_an_option() -> Result<()> {
    let Some(cable) = Cable::new()? else { return Ok(()) };
    // A discipline that lets next to nothing through.
    cable.left.run("tc qdisc replace dev left root tbf rate 8bit burst 1 latency 1ms")?;
    let (mut left, mut right) =
        (only(cable.open_left(1, &[("qdisc_bypass", "yes")])?), only(cable.open_right(1, &[])?));
    send(&mut left, &cable.pool, &[frame(60, 1), frame(60, 2)])?;
    assert_eq!(receive(&mut right, 2)?.len(), 2);
    Ok(())
}
