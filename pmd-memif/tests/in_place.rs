//! Packets that the application writes where they are sent from: taken with `TxQueue::alloc_burst`, sent in every order,
//! dropped, kept back, and outliving their link. Whatever happens, the peer receives what was sent, as it was written.

mod common;
#[path = "common/pair.rs"]
mod pair;

use std::collections::VecDeque;

use pmd_core::{Burst, Mbuf};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use common::{Port, until};
use pair::pair;

/// Writes a packet of `len` bytes that all depend on its number.
fn write(mbuf: &mut Mbuf, number: usize, len: usize) {
    let data = mbuf.append(len).expect("a buffer has 2048 bytes");
    data.iter_mut().zip(contents(number, len)).for_each(|(byte, value)| *byte = value);
}

fn contents(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (number * 37 + i) as u8).collect()
}

fn count(port: &Port, name: &str) -> u64 {
    port.lports[0].control.stats().xstats.iter().find(|(known, _)| *known == name).expect("a counter").1
}

/// Takes exactly `n` mbufs of the queue.
fn take(port: &mut Port, n: usize) -> Burst {
    let mut burst = Burst::new();
    until("mbufs of the queue", || {
        let wanted = n - burst.len();
        port.lports[0].tx.alloc_burst(&mut burst, wanted);
        burst.len() == n
    });
    burst
}

fn received(port: &mut Port) -> Vec<Vec<u8>> {
    let mut burst = Burst::new();
    port.lports[0].rx.rx_burst(&mut burst);
    let whole = |mbuf: &Mbuf| {
        let mut data = vec![0; mbuf.packet_len()];
        mbuf.copy_to(&mut data);
        data
    };
    burst.iter().map(whole).collect()
}

/// A server that lends, and a copying client that has been polled: its buffers are posted.
fn lending(rsize: &str) -> (Port, Port, tempfile::TempDir) {
    let (server, mut client, directory) = pair([1, 1], &[("zero-copy", "yes")], &[("rsize", rsize)]);
    assert!(received(&mut client).is_empty());
    (server, client, directory)
}

#[test]
fn what_is_built_in_the_ring_is_sent_without_a_copy() {
    let (mut server, mut client, _directory) = lending("6");
    let mut number = 0;
    for _ in 0..20 {
        let mut burst = take(&mut server, 32);
        assert_eq!(server.pool.in_use(), 0, "no mbuf of the pool");
        assert!(burst.iter().all(|mbuf| mbuf.is_empty() && mbuf.tailroom() == 2048));
        for (i, mbuf) in burst.iter_mut().enumerate() {
            write(mbuf, number + i, 60 + i);
        }
        assert_eq!((server.lports[0].tx.tx_burst(&mut burst), burst.len()), (32, 0));
        let expected: Vec<_> = (0..32).map(|i| contents(number + i, 60 + i)).collect();
        assert_eq!(received(&mut client), expected);
        number += 32;
    }
    assert_eq!((count(&server, "tx_in_place"), count(&server, "tx_ring_held")), (640, 0));
    assert_eq!(server.lports[0].control.stats().opackets, 640);
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn a_chain_of_such_mbufs_is_sent_without_a_copy() {
    let (mut server, mut client, _directory) = lending("6");
    let mut parts = take(&mut server, 5);
    parts.iter_mut().enumerate().for_each(|(i, part)| write(part, i, 2048 - i));
    let mut burst = Burst::new();
    let mut packet: Option<Mbuf> = None;
    for part in parts.drain_front(5) {
        match &mut packet {
            None => packet = Some(part),
            Some(head) => head.chain(part).unwrap(),
        }
    }
    burst.push(packet.unwrap()).unwrap();
    assert_eq!(server.lports[0].tx.tx_burst(&mut burst), 1);
    assert_eq!(received(&mut client), [(0..5).flat_map(|i| contents(i, 2048 - i)).collect::<Vec<_>>()]);
    assert_eq!(count(&server, "tx_in_place"), 1);
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn a_ring_lends_what_its_client_has_posted_and_no_more() {
    let (mut server, mut client, _directory) = lending("4");
    let mut burst = Burst::new();
    assert_eq!(server.lports[0].tx.alloc_burst(&mut burst, 100), Some(16));
    assert_eq!(server.lports[0].tx.alloc_burst(&mut burst, 1), Some(0));
    burst.truncate(10);
    assert_eq!(server.lports[0].tx.alloc_burst(&mut burst, 100), Some(6), "dropped ones are lent again");
    burst.iter_mut().for_each(|mbuf| write(mbuf, 1, 9));
    assert_eq!(server.lports[0].tx.tx_burst(&mut burst), 16);
    assert_eq!(server.lports[0].tx.alloc_burst(&mut burst, 100), Some(0), "full");
    assert_eq!(received(&mut client).len(), 16);
    assert_eq!(server.lports[0].tx.alloc_burst(&mut burst, 100), Some(16));
    drop(burst);
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn an_mbuf_that_is_kept_back_holds_up_the_others_until_it_is_sent_or_dropped() {
    let (mut server, mut client, _directory) = lending("6");
    for dropped in [false, true] {
        let mut burst = take(&mut server, 4);
        burst.iter_mut().enumerate().for_each(|(i, mbuf)| write(mbuf, i, 10));
        let kept = burst.drain_front(1).next().unwrap();
        burst.push(server.packet(b"ordinary")).unwrap();
        assert_eq!((server.lports[0].tx.tx_burst(&mut burst), burst.len()), (0, 4), "held up");
        let mut expected: Vec<_> = (1..4).map(|i| contents(i, 10)).chain([b"ordinary".to_vec()]).collect();
        if dropped {
            drop(kept);
        } else {
            let mut first = Burst::new();
            first.push(kept).unwrap();
            assert_eq!(server.lports[0].tx.tx_burst(&mut first), 1);
            expected.insert(0, contents(0, 10));
        }
        assert_eq!(server.lports[0].tx.tx_burst(&mut burst), 4);
        assert_eq!(received(&mut client), expected);
    }
    assert_eq!(count(&server, "tx_ring_held"), 2);
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn any_order_and_any_change_is_sent_as_it_is() {
    let (mut server, mut client, _directory) = lending("6");
    let mut mbufs: Vec<_> = take(&mut server, 6).drain_front(6).collect();
    mbufs.iter_mut().enumerate().for_each(|(i, mbuf)| write(mbuf, i, 100));
    assert!(mbufs[2].adj(10) && mbufs[3].trim(10));
    mbufs[4].chain(server.packet(b"tail")).unwrap();
    let whole = |mbuf: &Mbuf| mbuf.segments().flatten().copied().collect::<Vec<_>>();
    mbufs.reverse();
    let expected: Vec<_> = mbufs.iter().map(whole).collect();
    let mut burst = Burst::new();
    mbufs.into_iter().for_each(|mbuf| burst.push(mbuf).unwrap());
    assert_eq!(server.lports[0].tx.tx_burst(&mut burst), 6);
    assert_eq!(received(&mut client), expected);
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn mbufs_outlive_their_link_and_are_sent_on_the_next_or_elsewhere() {
    let (mut server, client, directory) = lending("6");
    let mut burst = take(&mut server, 3);
    burst.iter_mut().enumerate().for_each(|(i, mbuf)| write(mbuf, i, 100));
    client.assert_whole();
    until("link down", || !server.lports[0].control.link().is_up());
    assert_eq!(server.lports[0].tx.alloc_burst(&mut Burst::new(), 1), None);
    let socket = directory.path().join("memif.sock");
    let options = [("socket", socket.to_str().unwrap()), ("socket-abstract", "no"), ("rsize", "6")];
    let mut client = Port::open("next", 1, &options).unwrap();
    until("the next link", || server.lports[0].control.link().is_up() && received(&mut client).is_empty());
    until("sent", || server.lports[0].tx.tx_burst(&mut burst) > 0 || burst.is_empty());
    let mut got = Vec::new();
    until("received", || {
        received(&mut client).into_iter().for_each(|packet| got.push(packet));
        got.len() == 3
    });
    assert_eq!(got, (0..3).map(|i| contents(i, 100)).collect::<Vec<_>>());
    assert_eq!(count(&server, "tx_in_place"), 0);

    let (mut near, mut far, _there) = pair([1, 1], &[], &[]);
    assert!(received(&mut far).is_empty());
    let mut burst = take(&mut server, 2);
    burst.iter_mut().enumerate().for_each(|(i, mbuf)| write(mbuf, i, 100));
    until("sent elsewhere", || near.lports[0].tx.tx_burst(&mut burst) > 0 || burst.is_empty());
    drop(server.lports);
    assert_eq!(received(&mut far), [contents(0, 100), contents(1, 100)]);
    for port in [client, near, far] {
        port.assert_whole();
    }
}

#[test]
fn a_zero_copy_client_gives_mbufs_of_the_pool_that_its_server_maps() {
    let (mut server, mut client, _directory) = pair([1, 1], &[], &[("zero-copy", "yes")]);
    received(&mut client);
    let posted = client.pool.in_use();
    let mut burst = take(&mut client, 8);
    burst.iter_mut().enumerate().for_each(|(i, mbuf)| write(mbuf, i, 100));
    assert_eq!(client.pool.in_use(), posted + 8);
    assert_eq!(client.lports[0].tx.tx_burst(&mut burst), 8);
    assert_eq!(received(&mut server), (0..8).map(|i| contents(i, 100)).collect::<Vec<_>>());
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn a_link_that_copies_has_no_such_mbufs() {
    let (mut server, mut client, _directory) = pair([1, 1], &[], &[]);
    for port in [&mut server, &mut client] {
        received(port);
        assert_eq!(port.lports[0].tx.alloc_burst(&mut Burst::new(), 8), None);
    }
    client.assert_whole();
    server.assert_whole();
}

/// What an application does next, with numbers to choose by.
#[derive(Debug, Clone, Copy)]
enum Act {
    Take(usize),
    Drop(usize),
    Send(usize, usize),
    SendOrdinary(usize),
    Receive,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1..12_usize).prop_map(Act::Take),
        (0..32_usize).prop_map(Act::Drop),
        (0..4_usize, 1..12_usize).prop_map(|(from, n)| Act::Send(from, n)),
        (1..5000_usize).prop_map(Act::SendOrdinary),
        Just(Act::Receive),
    ]
}

/// Plays the acts; what was sent is received, in that order, and in the end everything is home.
fn play(server: &mut Port, client: &mut Port, acts: &[Act]) {
    let (mut mine, mut under_way) = (VecDeque::new(), VecDeque::new());
    let mut next = 0;
    let sends = |server: &mut Port, burst: &mut Burst, under_way: &mut VecDeque<Vec<u8>>| {
        let before: Vec<Vec<u8>> = burst.iter().map(|mbuf| mbuf.segments().flatten().copied().collect()).collect();
        let sent = server.lports[0].tx.tx_burst(burst);
        assert_eq!(sent + burst.len(), before.len());
        under_way.extend(before.into_iter().take(sent));
    };
    let receives = |client: &mut Port, under_way: &mut VecDeque<Vec<u8>>| {
        for packet in received(client) {
            assert_eq!(Some(packet), under_way.pop_front());
        }
    };
    for act in acts {
        match *act {
            Act::Take(n) => {
                let mut burst = Burst::new();
                server.lports[0].tx.alloc_burst(&mut burst, n);
                for mbuf in burst.iter_mut() {
                    write(mbuf, next, 20 + next % 300);
                    next += 1;
                }
                mine.extend(burst.drain_front(burst.len()));
            }
            Act::Drop(which) if which < mine.len() => drop(mine.remove(which)),
            Act::Send(from, n) if from < mine.len() => {
                let mut burst = Burst::new();
                mine.drain(from..mine.len().min(from + n)).for_each(|mbuf| burst.push(mbuf).unwrap());
                sends(server, &mut burst, &mut under_way);
                for mbuf in burst.drain_front(burst.len()).collect::<Vec<_>>().into_iter().rev() {
                    mine.push_front(mbuf);
                }
            }
            Act::SendOrdinary(len) => {
                let mut burst = Burst::new();
                burst.push(server.packet(&contents(next, len))).unwrap();
                next += 1;
                sends(server, &mut burst, &mut under_way);
            }
            Act::Receive => receives(client, &mut under_way),
            Act::Drop(_) | Act::Send(..) => {}
        }
    }
    mine.clear();
    receives(client, &mut under_way);
    assert!(under_way.is_empty(), "{} packets have not come", under_way.len());
    for port in [server, client] {
        assert_eq!(port.pool.in_use(), 0);
    }
}

#[test]
fn whatever_an_application_does_with_them_the_peer_receives_what_was_sent() {
    let (mut server, mut client, _directory) = lending("4");
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let ports = std::cell::RefCell::new((&mut server, &mut client));
    let result = runner.run(&prop::collection::vec(act(), 1..80), |acts| {
        let (server, client) = &mut *ports.borrow_mut();
        play(server, client, &acts);
        Ok(())
    });
    result.unwrap();
    assert!(count(&server, "tx_in_place") > 0 && count(&server, "tx_ring_held") > 0);
    client.assert_whole();
    server.assert_whole();
}
