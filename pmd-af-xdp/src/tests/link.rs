//! What becomes of an lport when its interface changes, and when an application sets it down.

use pmd_core::{Burst, Link};

use super::world::{Wish, World, packet, pool, receive, send, wait_for};

fn reason(lport: &pmd_core::Lport) -> String {
    match lport.control.link() {
        Link::Up => "up".into(),
        Link::Down(why) => why,
    }
}

#[test]
fn the_link_follows_the_interface_and_says_why() {
    let Some(_) = World::with_pair() else { return };
    let pool = pool();
    let mut lport = Wish::default().one("left", &pool);
    wait_for("the link", || lport.control.link().is_up());
    assert_eq!(lport.control.info().driver, "net_af_xdp");
    assert!(lport.control.info().mac.is_some());
    World::ip("link set right down");
    wait_for("the carrier to go", || reason(&lport) == "interface left has no carrier");
    let mut burst = Burst::new();
    burst.push(pool.alloc_packet(&packet(1, 60)).unwrap()).unwrap();
    assert_eq!((lport.tx.tx_burst(&mut burst), burst.len()), (0, 1), "a dead link takes nothing");
    World::ip("link set left down");
    wait_for("the interface to go down", || reason(&lport) == "interface left is down: `ip link set left up`");
    assert!(lport.rx.arm() && lport.rx.wake_fd().is_none(), "nothing to sleep on");
    World::ip("link set left up");
    World::ip("link set right up");
    wait_for("the link", || lport.control.link().is_up());
    assert_eq!(lport.tx.tx_burst(&mut burst), 1);
}

#[test]
fn an_interface_that_is_down_opens_and_waits() {
    let Some(_) = World::with_pair() else { return };
    World::ip("link set left down");
    let pool = pool();
    let mut a = Wish::default().one("left", &pool);
    assert_eq!(reason(&a), "interface left is down: `ip link set left up`");
    World::ip("link set left up");
    let mut b = Wish::default().one("right", &pool);
    wait_for("both links", || a.control.link().is_up() && b.control.link().is_up());
    send(&mut a, &pool, &[packet(1, 60)]);
    assert_eq!(receive(&mut b, 1), [packet(1, 60)]);
}

#[test]
fn an_interface_that_goes_away_and_comes_back_is_used_again() {
    let Some(world) = World::with_pair() else { return };
    let pool = pool();
    let (mut a, mut b) = (Wish::default().one("left", &pool), Wish::default().one("right", &pool));
    send(&mut a, &pool, &[packet(1, 60)]);
    receive(&mut b, 1);
    World::ip("link del left");
    wait_for("it to be gone", || reason(&a) == "interface left is gone");
    let mut burst = Burst::new();
    assert_eq!((a.rx.rx_burst(&mut burst), a.tx.tx_burst(&mut burst)), (0, 0));
    b.rx.rx_burst(&mut burst);
    b.tx.tx_burst(&mut burst);
    wait_for("its mbufs to be home", || pool.in_use() == 0);
    world.pair(1);
    wait_for("both to be back", || a.control.link().is_up() && b.control.link().is_up());
    send(&mut a, &pool, &[packet(2, 60)]);
    assert_eq!(receive(&mut b, 1), [packet(2, 60)]);
    assert_eq!((a.control.stats().opackets, b.control.stats().ipackets), (2, 2), "counters go on");
    drop((a, b));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn while_set_down_it_is_silent_and_the_kernel_has_the_packets() {
    let Some(_) = World::with_pair() else { return };
    let pool = pool();
    let (mut a, mut b) = (Wish::default().one("left", &pool), Wish::default().one("right", &pool));
    b.control.set_admin_up(false);
    assert_eq!(reason(&b), "administratively down");
    send(&mut a, &pool, &vec![packet(1, 60); 10]);
    let mut burst = Burst::new();
    burst.push(pool.alloc_packet(&packet(1, 60)).unwrap()).unwrap();
    assert_eq!((b.tx.tx_burst(&mut burst), b.rx.rx_burst(&mut burst)), (0, 0));
    b.control.set_admin_up(true);
    wait_for("the link", || b.control.link().is_up());
    send(&mut a, &pool, &[packet(2, 60)]);
    assert_eq!(receive(&mut b, 1), [packet(2, 60)], "what came meanwhile is not ours");
}
