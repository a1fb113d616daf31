//! The interface itself: how it is made, kept, taken over, lost and found again.

use anyhow::Result;
use lport_tests::lports::{poll_until, receive_one, udp_payload, wait_for_link_down, wait_for_link_up};
use nix::unistd::getuid;
use pmd_core::Burst;
use pmd_tap::TapDriver;

use crate::support::Place;

fn refusal(place: &Place, name: &str, queues: u16, given: &[(&str, &str)]) -> String {
    place.open(TapDriver::TAP, name, queues, given).expect_err("an error").to_string()
}

#[test]
fn an_interface_is_made_as_its_options_say_and_goes_with_its_lports() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let uid = getuid().as_raw().to_string();
    let given = [
        ("mac", "02:00:00:00:00:42"),
        ("mtu", "1400"),
        ("ip", "192.0.2.1/25"),
        ("owner-uid", &uid),
        ("owner-gid", "7"),
    ];
    let lport = place.open_one(TapDriver::TAP, "tap0", &given)?;
    let link = place.namespace.ip("-details link show tap0")?;
    for words in
        ["UP", "mtu 1400", "02:00:00:00:00:42", "tun type tap pi off vnet_hdr off persist off", "user root group lp"]
    {
        assert!(link.contains(words), "{words}: {link}");
    }
    assert!(place.namespace.ip("addr show tap0")?.contains("inet 192.0.2.1/25 brd"));
    let info = lport.control.info();
    assert_eq!((info.mac, info.max_packet), (Some([2, 0, 0, 0, 0, 0x42]), 1414));
    drop(lport);
    assert!(place.namespace.ip("link show tap0").is_err(), "it goes with its last queue");
    let down = place.open_one(TapDriver::TAP, "tap0", &[("up", "no")])?;
    wait_for_link_down(&down, "interface tap0 is down: `ip link set tap0 up`")
}

#[test]
fn ipv6_addresses_can_be_given_too() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let on = "echo 0 > /proc/sys/net/ipv6/conf/default/disable_ipv6; echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    anyhow::ensure!(place.namespace.command("sh").args(["-c", on]).status()?.success());
    let _lport = place.open_one(TapDriver::TUN, "tun0", &[("ip", "2001:db8::1/64")])?;
    assert!(place.namespace.ip("addr show tun0")?.contains("inet6 2001:db8::1/64"));
    Ok(())
}

#[test]
fn a_persistent_interface_stays_and_is_taken_over() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let given = [("persist", "yes"), ("ip", "192.0.2.1/24"), ("mac", "02:00:00:00:00:42")];
    for queues in [2, 1] {
        // Of one queue, too, though it was made for many.
        drop(place.open(TapDriver::TAP, "tap0", queues, &given)?);
        assert!(place.namespace.ip("-details link show tap0")?.contains("persist on"));
    }
    // Without the option it is left as it is.
    drop(place.open_one(TapDriver::TAP, "tap0", &[])?);
    assert!(place.namespace.ip("link show tap0")?.contains("02:00:00:00:00:42"));
    drop(place.open_one(TapDriver::TAP, "tap0", &[("persist", "no")])?);
    assert!(place.namespace.ip("link show tap0").is_err());
    Ok(())
}

#[test]
fn what_stands_in_the_way_of_an_interface_is_said_with_the_way_out() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let error = refusal(&place, "lo", 1, &[]);
    assert!(error.contains("interface lo exists, and is no tap interface") && error.contains("`iface`"), "{error}");
    place.namespace.ip("tuntap add tap1 mode tap")?;
    let error = refusal(&place, "tap1", 2, &[]);
    assert!(error.contains("for 2 queue(s)") && error.contains("mode tap multi_queue"), "{error}");
    let _first = place.open_one(TapDriver::TAP, "tap1", &[])?;
    let error = refusal(&place, "tap1", 1, &[]);
    assert!(error.contains("interface tap1 is in use by another program"), "{error}");
    let error = refusal(&place, "a-name-of-16-byt", 1, &[]);
    assert!(error.contains("has 16 bytes, but the name of an interface has 15 at most"), "{error}");
    Ok(())
}

#[test]
fn an_interface_that_is_removed_and_made_again_is_taken_again() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut queues = place.open(TapDriver::TUN, "tun0", 2, &[("persist", "yes")])?;
    place.namespace.ip("link del tun0")?;
    wait_for_link_down(&queues[0], "interface tun0 was removed")?;
    let mut burst = Burst::new();
    burst.push(place.pool.alloc_packet(&[0x45; 40]).unwrap()).unwrap();
    assert_eq!((queues[0].tx.tx_burst(&mut burst), burst.len(), queues[1].rx.rx_burst(&mut burst)), (0, 1, 0));
    drop(burst);
    // For one queue only: ours do not fit.
    place.namespace.ip("tuntap add tun0 mode tun")?;
    wait_for_link_down(&queues[0], "interface tun0 was made again, but not for us")?;
    place.namespace.ip("link del tun0")?;
    wait_for_link_down(&queues[0], "interface tun0 was removed")?;
    place.namespace.ip("tuntap add tun0 mode tun multi_queue")?;
    place.namespace.ip("addr add 192.0.2.1/24 dev tun0")?;
    wait_for_link_down(&queues[0], "interface tun0 is down")?;
    place.namespace.ip("link set tun0 up")?;
    wait_for_link_up(&queues[0])?;
    place.socket()?.send(b"back")?;
    let mut burst = Burst::with_limit(1);
    poll_until("the packet", || queues.iter_mut().any(|queue| queue.rx.rx_burst(&mut burst) > 0).then_some(()))?;
    assert_eq!(udp_payload(burst[0].data()), b"back");
    Ok(())
}

#[test]
fn a_link_that_is_set_down_comes_up_again_and_a_new_mtu_is_heeded() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut lport = place.open_one(TapDriver::TUN, "tun0", &[("ip", "192.0.2.1/24")])?;
    place.namespace.ip("link set tun0 down")?;
    wait_for_link_down(&lport, "interface tun0 is down")?;
    assert!(lport.rx.wake_fd().is_none());
    place.namespace.ip("link set tun0 up mtu 600")?;
    wait_for_link_up(&lport)?;
    assert_eq!(lport.control.info().max_packet, 600);
    lport.control.set_admin_up(false);
    wait_for_link_down(&lport, "administratively down")?;
    let mut burst = Burst::with_limit(1);
    assert_eq!(lport.rx.rx_burst(&mut burst), 0);
    lport.control.set_admin_up(true);
    place.socket()?.send(b"up")?;
    assert_eq!(udp_payload(&receive_one(&mut lport)?), b"up");
    Ok(())
}

#[test]
fn an_interface_that_is_moved_to_another_namespace_works_on() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let elsewhere = lport_tests::Namespace::new()?;
    let mut lport = place.open_one(TapDriver::TUN, "tun0", &[])?;
    place.namespace.ip(&format!("link set tun0 netns {}", elsewhere.name()))?;
    elsewhere.ip("addr add 192.0.2.1/24 dev tun0")?;
    elsewhere.ip("link set tun0 up")?;
    wait_for_link_up(&lport)?;
    let _ = elsewhere.run("ping -c 1 -W 1 192.0.2.2");
    let echo = receive_one(&mut lport)?;
    assert_eq!((echo[0], echo[9], &echo[16..20]), (0x45, 1, &[192, 0, 2, 2][..]));
    Ok(())
}
