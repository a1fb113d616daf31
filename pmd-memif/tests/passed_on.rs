//! Packets that who receives them passes on unread (`RxQueue::set_passed_on`): a server without `zero-copy=yes` hands large ones
//! out where the client has put them. They are what was sent, whoever else is told what, and no mbuf is lost.

mod common;
#[path = "common/pair.rs"]
mod pair;

use pmd_core::Burst;

use common::Port;
use pair::{pair, wait_for_links};

/// Many more packets than it takes to see that they are large.
const MANY: usize = 4000;

fn xstat(port: &Port, name: &str) -> u64 {
    let stats = port.lports[0].control.stats();
    stats.xstats.iter().find(|(named, _)| *named == name).expect("a counter").1
}

/// Sends packets of `len` bytes from one to the other, which drops them; says how many of them were lent.
fn lent(from: &mut Port, to: &mut Port, len: usize) -> u64 {
    let before = xstat(to, "rx_lent");
    let mut burst = Burst::new();
    for first in (0..MANY).step_by(8) {
        let contents = |i: usize| (0..len).map(|at| ((first + i) * 7 + at) as u8).collect::<Vec<_>>();
        (0..8).for_each(|i| burst.push(from.packet(&contents(i))).unwrap());
        assert_eq!((from.lports[0].tx.tx_burst(&mut burst), to.lports[0].rx.rx_burst(&mut burst)), (8, 8));
        assert!(burst.iter().enumerate().all(|(i, mbuf)| mbuf.data() == contents(i)));
        burst.clear();
    }
    xstat(to, "rx_lent") - before
}

fn set_passed_on(port: &mut Port, passed_on: bool) {
    port.lports[0].rx.set_passed_on(passed_on);
}

#[test]
fn a_server_lends_large_packets_to_who_passes_them_on_and_to_nobody_else() {
    for rx_mode in ["adaptive", "interrupt"] {
        let (mut server, mut client, _directory) = pair([1, 1], &[("rx-mode", rx_mode)], &[]);
        assert_eq!(lent(&mut client, &mut server, 1000), 0, "not told");
        set_passed_on(&mut server, true);
        let passed_on = lent(&mut client, &mut server, 1000);
        assert!((MANY as u64 / 2..MANY as u64).contains(&passed_on), "{passed_on} of {MANY}");
        set_passed_on(&mut server, false);
        assert_eq!(lent(&mut client, &mut server, 1000), 0, "told that it is over");
        set_passed_on(&mut server, true);
        assert_eq!(lent(&mut client, &mut server, 100), 0, "small");
        // A client's buffers are its own.
        set_passed_on(&mut client, true);
        assert_eq!(lent(&mut server, &mut client, 1000), 0, "the other way");
        client.assert_whole();
        server.assert_whole();
    }
}

#[test]
fn the_next_link_is_told_as_well() {
    let (mut server, client, directory) = pair([1, 1], &[], &[]);
    set_passed_on(&mut server, true);
    client.assert_whole();
    let socket = directory.path().join("memif.sock");
    let options = [("socket", socket.to_str().unwrap()), ("socket-abstract", "no")];
    let mut client = Port::open("next", 1, &options).unwrap();
    // Until the old link is gone, what the server says is about that.
    common::until("two links", || xstat(&server, "connects") == 2);
    wait_for_links([&server, &client]);
    assert!(lent(&mut client, &mut server, 1000) > 0);
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn what_a_server_lends_and_a_sharing_client_sends_is_not_copied() {
    let (mut server, mut client, _directory) = pair([1, 1], &[], &[("zero-copy", "yes")]);
    set_passed_on(&mut server, true);
    assert!(lent(&mut client, &mut server, 1000) > 0);
    let mut burst = Burst::new();
    burst.push(client.packet(&[1; 1000])).unwrap();
    for _ in 0..10 {
        client.lports[0].tx.tx_burst(&mut burst);
        assert_eq!(server.lports[0].rx.rx_burst(&mut burst), 1);
    }
    assert_eq!((xstat(&client, "tx_returned"), burst[0].data()), (9, &[1; 1000][..]));
    drop(burst);
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn a_sharing_client_names_the_pool_that_it_sends_from_and_one_that_copies_within_its_process_none() {
    for (zero_copy, shares) in [("yes", true), ("no", false)] {
        let (mut server, mut client, _directory) = pair([1, 1], &[], &[("zero-copy", zero_copy)]);
        let shared = client.lports[0].tx.share_pool(true);
        assert_eq!(shared.map(|pool| pool.is_same(&client.pool)), shares.then_some(true), "zero-copy={zero_copy}");
        assert!(server.lports[0].tx.share_pool(true).is_none(), "its buffers are the client's");
        client.assert_whole();
        server.assert_whole();
    }
}
