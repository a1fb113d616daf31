//! Packets through sockets: every manner of memory and program, several queues, shared umems, wake-ups.

use std::os::fd::BorrowedFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::deployment::XdpHints;
use pmd_core::{Burst, RawOption};

use super::world::{Wish, World, all_home, detail, generic, packet, pool, pool_of, receive, send, wait_for, xstat};
use crate::AfXdpDriver;

/// Both ways between `left` and `right`, lengths from the smallest packet to the longest; then everything is home.
fn both_ways(left: &Wish, right: &Wish, chunked: bool) {
    let Some(_) = World::with_pair() else { return };
    let (left_pool, right_pool) = (pool_of(2048, chunked), pool_of(2048, chunked));
    let (mut a, mut b) = (left.one("left", &left_pool), right.one("right", &right_pool));
    let max = a.control.info().max_packet as usize;
    assert_eq!(max, 1518, "an MTU of 1500, an Ethernet header and a VLAN tag");
    let packets: Vec<_> = (0..200).map(|i| packet(i as u8, [60, 64, 1000, max, 61][i % 5])).collect();
    let bytes: usize = packets.iter().map(Vec::len).sum();
    send(&mut a, &left_pool, &packets);
    assert_eq!(receive(&mut b, 200), packets);
    send(&mut b, &right_pool, &packets);
    assert_eq!(receive(&mut a, 200), packets);
    for lport in [&a, &b] {
        let stats = lport.control.stats();
        assert_eq!((stats.ipackets, stats.opackets, stats.imissed, stats.oerrors), (200, 200, 0, 0));
        assert_eq!((stats.ibytes, stats.obytes), (bytes as u64, bytes as u64));
    }
    drop((a, b));
    assert_eq!((left_pool.in_use(), right_pool.in_use()), (0, 0), "everything is home after close");
}

#[test]
fn packets_pass_natively_and_say_so() {
    both_ways(&Wish::default(), &Wish::default(), true);
    let Some(_) = World::with_pair() else { return };
    let lport = Wish::default().one("left", &pool());
    assert_eq!((detail(&lport, "program"), detail(&lport, "queues.0.transfer")), ("native".into(), "copy".into()));
}

#[test]
fn packets_pass_generically() {
    let wish = Wish::hints(generic());
    both_ways(&wish, &wish, true);
    let Some(_) = World::with_pair() else { return };
    assert_eq!(detail(&wish.one("left", &pool()), "program"), "generic");
}

#[test]
fn packets_pass_through_unaligned_buffers_and_odd_pools() {
    let unaligned = XdpHints { unaligned_buffers: true, ..XdpHints::default() };
    both_ways(&Wish::hints(unaligned.clone()), &Wish::hints(XdpHints { skb_mode: true, ..unaligned }), true);
    // A pool that nobody made in chunks is taken as it is.
    both_ways(&Wish::default(), &Wish::default(), false);
}

#[test]
fn packets_longer_than_the_mtu_are_dropped_by_the_driver_and_counted() {
    let Some(_) = World::with_pair() else { return };
    let pool = pool();
    let (mut a, mut b) = (Wish::default().one("left", &pool), Wish::default().one("right", &pool));
    send(&mut a, &pool, &[packet(1, 1519), packet(2, 1518)]);
    assert_eq!(receive(&mut b, 1), [packet(2, 1518)]);
    assert_eq!((a.control.stats().opackets, a.control.stats().oerrors), (1, 1));
    World::ip("link set left mtu 1000");
    wait_for("the new MTU", || a.control.info().max_packet == 1018);
    send(&mut a, &pool, &[packet(1, 1019), packet(2, 1018)]);
    assert_eq!(receive(&mut b, 1), [packet(2, 1018)]);
}

#[test]
fn each_queue_has_its_own_packets() {
    let Some(world) = World::new() else { return };
    world.pair(4);
    let (pool, wish) = (pool_of(8192, true), Wish { queues: 4, ..Wish::default() });
    let (mut left, mut right) = (wish.open("left", &pool).unwrap(), wish.open("right", &pool).unwrap());
    for (i, lport) in left.iter_mut().enumerate() {
        send(lport, &pool, &vec![packet(i as u8, 100 + i); 50]);
    }
    for (i, lport) in right.iter_mut().enumerate() {
        // A veth hands on to the queue of the same number.
        assert_eq!(receive(lport, 50), vec![packet(i as u8, 100 + i); 50]);
        assert_eq!(lport.rx.rx_burst(&mut Burst::new()), 0);
    }
    drop((left, right));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn with_a_shared_umem_packets_are_forwarded_without_a_copy() {
    let Some(world) = World::new() else { return };
    world.pair(2);
    World::ip("link add far type veth peer name near");
    World::ip("link set far up");
    World::ip("link set near up");
    let driver = AfXdpDriver::default();
    let (shared, other) = (pool_of(8192, true), pool());
    let wish = Wish { queues: 2, ..Wish::hints(XdpHints { shared_umem: true, ..XdpHints::default() }) };
    let mut right = wish.open_with(&driver, "right", &shared).unwrap();
    let mut near = Wish { queues: 1, ..wish.clone() }.open_with(&driver, "near", &shared).unwrap().remove(0);
    let mut left = Wish { queues: 2, ..Wish::default() }.open("left", &other).unwrap();
    let mut far = Wish::default().one("far", &other);
    assert_eq!(detail(&near, "queues.0.umem_sockets"), "Some(Number(3))", "one umem for both devices");
    assert_eq!(detail(&left[1], "queues.1.umem_sockets"), "Some(Number(1))", "one for each, where it is not shared");
    for (i, lport) in left.iter_mut().enumerate() {
        send(lport, &other, &vec![packet(i as u8, 200); 40]);
    }
    let mut burst = Burst::new();
    wait_for("packets of both queues", || {
        let received: usize = right.iter_mut().map(|lport| lport.rx.rx_burst(&mut burst)).sum();
        assert!(received <= burst.len());
        burst.len() == 80
    });
    wait_for("them to be sent on", || {
        near.tx.tx_burst(&mut burst);
        burst.is_empty()
    });
    assert_eq!(receive(&mut far, 80).len(), 80);
    assert_eq!(xstat(&near, "tx_copied"), 0);
    // The first socket of the umem may go before the others, and a new one may join those.
    drop(right);
    let _again = wish.open_with(&driver, "right", &shared).unwrap();
    send(&mut near, &shared, &[packet(9, 60)]);
    assert_eq!(receive(&mut far, 1), [packet(9, 60)]);
    drop((near, _again, left, far));
    assert_eq!((shared.in_use(), other.in_use()), (0, 0));
}

#[test]
fn packets_of_another_pool_are_copied_and_go_home_at_once() {
    let Some(_) = World::with_pair() else { return };
    let (ours, theirs, stranger) = (pool(), pool(), pool_of(64, false));
    let (mut a, mut b) = (Wish::default().one("left", &ours), Wish::default().one("right", &theirs));
    send(&mut a, &stranger, &vec![packet(1, 300); 20]);
    assert_eq!(stranger.in_use(), 0);
    assert_eq!(receive(&mut b, 20), vec![packet(1, 300); 20]);
    assert_eq!(xstat(&a, "tx_copied"), 20);
    all_home(&mut [&mut a], &[&ours]);
}

#[test]
fn a_packet_in_segments_arrives_in_one_piece() {
    let Some(_) = World::with_pair() else { return };
    let (pool, small) = (pool(), pool_of(64, false));
    let (mut a, mut b) = (Wish::default().one("left", &pool), Wish::default().one("right", &pool));
    let bytes = packet(7, 900);
    let mut head = small.alloc_packet(&bytes[..500]).unwrap();
    head.chain(pool.alloc_packet(&bytes[500..]).unwrap()).unwrap();
    let mut burst = Burst::new();
    burst.push(head).unwrap();
    assert_eq!(a.tx.tx_burst(&mut burst), 1);
    assert_eq!(receive(&mut b, 1), [bytes]);
}

#[test]
fn the_kernel_is_called_once_per_burst_sent_and_never_to_receive() {
    let Some(_) = World::with_pair() else { return };
    let pool = pool();
    let (mut a, mut b) = (Wish::default().one("left", &pool), Wish::default().one("right", &pool));
    for burst in 1..=3 {
        send(&mut a, &pool, &vec![packet(1, 60); 32]);
        receive(&mut b, 32);
        assert_eq!(xstat(&a, "tx_wakeups"), burst);
    }
    assert_eq!((xstat(&b, "rx_wakeups"), xstat(&b, "tx_wakeups")), (0, 0));
}

#[test]
fn busy_polling_calls_the_kernel_to_receive() {
    let Some(_) = World::with_pair() else { return };
    let pool = pool();
    let hints = XdpHints { busy_poll: true, busy_timeout: 50, busy_budget: 16, ..XdpHints::default() };
    let (mut a, mut b) = (Wish::default().one("left", &pool), Wish::hints(hints).one("right", &pool));
    assert_eq!(b.rx.rx_burst(&mut Burst::new()), 0);
    assert_eq!(xstat(&b, "rx_wakeups"), 1);
    send(&mut a, &pool, &vec![packet(3, 60); 64]);
    assert_eq!(receive(&mut b, 64).len(), 64);
}

fn is_readable(fd: BorrowedFd<'_>, milliseconds: u16) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(milliseconds)).unwrap() == 1
}

#[test]
fn a_packet_wakes_who_sleeps_on_the_socket() {
    let Some(_) = World::with_pair() else { return };
    let pool = pool();
    let (mut a, mut b) = (Wish::default().one("left", &pool), Wish::default().one("right", &pool));
    // That the link has come up is news, too, and may come a little later than the link.
    wait_for("silence", || {
        b.rx.disarm();
        b.rx.arm() && b.rx.wake_fd().is_some_and(|fd| !is_readable(fd, 0))
    });
    let fd = b.rx.wake_fd().expect("the link is up");
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| is_readable(fd, 20_000));
        send(&mut a, &pool, &[packet(1, 60)]);
        assert!(sleeper.join().unwrap(), "woken");
    });
    assert!(!b.rx.arm(), "a packet waits already");
    b.rx.disarm();
    assert_eq!(receive(&mut b, 1), [packet(1, 60)]);
    assert!(b.rx.arm());
}

#[test]
fn packets_that_find_no_buffer_are_missed_and_counted() {
    let Some(_) = World::with_pair() else { return };
    let (ours, theirs) = (pool(), pool_of(64, true));
    let (mut a, mut b) = (Wish::default().one("left", &ours), Wish::default().one("right", &theirs));
    let held: Vec<_> = std::iter::from_fn(|| theirs.alloc()).collect();
    assert_eq!(held.len(), 32, "half of a small pool is left to its users");
    send(&mut a, &ours, &vec![packet(1, 60); 100]);
    let mut burst = Burst::new();
    wait_for("what found a buffer", || {
        b.rx.rx_burst(&mut burst);
        burst.len() == 32
    });
    wait_for("the others to be counted", || b.control.stats().imissed == 68);
    assert!(b.control.stats().rx_nombuf > 0);
    drop((held, burst));
    b.rx.rx_burst(&mut Burst::new());
    send(&mut a, &ours, &[packet(2, 60)]);
    assert_eq!(receive(&mut b, 1), [packet(2, 60)]);
    drop((a, b));
    assert_eq!((ours.in_use(), theirs.in_use()), (0, 0));
}

#[test]
fn the_halves_may_go_one_after_the_other_and_mbufs_come_home_with_the_last() {
    let Some(_) = World::with_pair() else { return };
    let pool = pool();
    let lport = Wish::default().one("left", &pool);
    let (rx, tx, control) = lport.split();
    drop(rx);
    assert_eq!(pool.in_use(), 256, "the kernel may still write into them");
    std::thread::spawn(move || drop(tx)).join().unwrap();
    assert_eq!(pool.in_use(), 0);
    assert!(!control.link().is_up());
    assert_eq!(control.stats().ipackets, 0);
    // Nothing is left of it: the queue can be had again, and so can the interface's place for a program.
    let _again = Wish::default().one("left", &pool);
}

#[test]
fn zero_copy_falls_back_or_is_refused_as_the_mode_says() {
    let Some(_) = World::with_pair() else { return };
    let wish = |mode| Wish { options: vec![RawOption::text("mode", mode)], ..Wish::default() };
    let error = wish("zero-copy").open("left", &pool()).unwrap_err().to_string();
    assert_eq!(error, "queue 0 of left has no zero copy, but `mode` is `zero-copy`; `auto` would copy instead");
    for mode in ["auto", "copy"] {
        assert_eq!(detail(&wish(mode).one("left", &pool()), "queues.0.transfer"), "copy");
    }
}
