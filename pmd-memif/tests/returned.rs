//! Packets that a server lends out of the mbufs of a client in its own process, and that this client sends again: they go round
//! without a copy. Whatever is done with them meanwhile, the server receives what was sent, and no mbuf is lost.

mod common;
#[path = "common/pair.rs"]
mod pair;

use std::collections::VecDeque;

use pmd_core::{Burst, Mbuf};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use common::Port;
use pair::pair;

/// Bytes from which a packet is sent again where it lies: copying less is cheaper.
const FROM: usize = 256;

/// Both ends without copies.
fn sharing(rsize: &str) -> (Port, Port, tempfile::TempDir) {
    pair([1, 1], &[("zero-copy", "yes")], &[("zero-copy", "yes"), ("rsize", rsize)])
}

fn contents(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (number * 37 + i) as u8).collect()
}

fn whole(mbuf: &Mbuf) -> Vec<u8> {
    mbuf.segments().flatten().copied().collect()
}

fn receive(server: &mut Port) -> Burst {
    let mut burst = Burst::new();
    server.lports[0].rx.rx_burst(&mut burst);
    burst
}

fn returned(client: &Port) -> u64 {
    let stats = client.lports[0].control.stats();
    stats.xstats.iter().find(|(name, _)| *name == "tx_returned").expect("a counter").1
}

/// Sends 8 packets of `len` bytes, and whatever arrives of them again, `rounds` times; each time it is what was sent.
fn go_round(server: &mut Port, client: &mut Port, len: usize, rounds: usize) {
    let mut burst = Burst::new();
    (0..8).for_each(|i| burst.push(client.packet(&contents(i, len))).unwrap());
    for round in 0..rounds {
        assert_eq!((client.lports[0].tx.tx_burst(&mut burst), burst.len()), (8, 0));
        burst = receive(server);
        let seen: Vec<_> = burst.iter().map(whole).collect();
        assert_eq!(seen, (0..8).map(|i| contents(i, len)).collect::<Vec<_>>(), "round {round}");
    }
}

#[test]
fn packets_that_go_round_between_both_ends_are_never_copied() {
    let (mut server, mut client, _directory) = sharing("6");
    let before = client.pool.in_use();
    for len in [FROM, 1518, 2048] {
        let already = returned(&client);
        // More packets than the ring's index has numbers.
        go_round(&mut server, &mut client, len, 10_000);
        assert_eq!((returned(&client) - already, server.pool.in_use()), (8 * 9_999, 0), "{len}");
        let (sent, got) = (client.lports[0].control.stats(), server.lports[0].control.stats());
        assert_eq!((sent.opackets, sent.obytes), (got.ipackets, got.ibytes));
    }
    receive(&mut server);
    client.lports[0].tx.tx_burst(&mut Burst::new());
    assert_eq!(client.pool.in_use(), before, "the mbufs are free when the last round is over");
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn small_ones_are_copied() {
    let (mut server, mut client, _directory) = sharing("6");
    go_round(&mut server, &mut client, FROM - 1, 1000);
    assert_eq!(returned(&client), 0);
    client.assert_whole();
    server.assert_whole();
}

#[test]
fn a_packet_that_lost_its_head_and_its_tail_is_sent_without_them() {
    let (mut server, mut client, _directory) = sharing("6");
    let mut burst = Burst::new();
    burst.push(client.packet(&contents(1, 1000))).unwrap();
    for round in 1..10 {
        assert_eq!(client.lports[0].tx.tx_burst(&mut burst), 1);
        burst = receive(&mut server);
        assert!(burst[0].adj(14) && burst[0].trim(20));
        burst[0].data_mut()[0] ^= 0xff;
        let mut expected = contents(1, 1000 - 20 * round).split_off(14 * round);
        expected[0] ^= 0xff;
        assert_eq!(whole(&burst[0]), expected);
    }
    assert_eq!(returned(&client), 8);
    drop(burst);
    client.assert_whole();
    server.assert_whole();
}

/// What an application does next, with numbers to choose by.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Sends a new packet, of one segment or more.
    SendNew(usize),
    /// Sends packets that it has received, from one on.
    Send(usize, usize),
    Receive,
    Drop(usize),
    Cut(usize),
    /// Chains a packet to the one before it.
    Join(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => prop_oneof![9 => 1..2000_usize, 1 => 2000..5000_usize].prop_map(Act::SendNew),
        6 => (prop_oneof![9 => Just(0_usize), 1 => 1..4_usize], 1..12_usize).prop_map(|(from, n)| Act::Send(from, n)),
        6 => Just(Act::Receive),
        1 => (0..16_usize).prop_map(Act::Drop),
        1 => (0..16_usize).prop_map(Act::Cut),
        1 => (0..4_usize).prop_map(Act::Join),
    ]
}

/// Whether both are one packet that can be sent.
fn joins(head: &Mbuf, tail: &Mbuf) -> bool {
    head.packet_len() + tail.packet_len() <= 8192
}

/// Plays the acts. `mine` are the packets that were received, each with what it was then.
fn play(server: &mut Port, client: &mut Port, acts: &[Act]) {
    let mut mine: VecDeque<(Mbuf, Vec<u8>)> = VecDeque::new();
    let mut under_way: VecDeque<Vec<u8>> = VecDeque::new();
    let mut next = 0;
    for act in acts {
        match *act {
            Act::SendNew(len) => {
                let (mut burst, data) = (Burst::new(), contents(next, len));
                burst.push(client.packet(&data)).unwrap();
                next += 1;
                under_way.extend((client.lports[0].tx.tx_burst(&mut burst) == 1).then_some(data));
            }
            Act::Send(from, n) if from < mine.len() => {
                let mut burst = Burst::new();
                let mut kept = Vec::new();
                for (mbuf, data) in mine.drain(from..mine.len().min(from + n)) {
                    burst.push(mbuf).unwrap();
                    kept.push(data);
                }
                let sent = client.lports[0].tx.tx_burst(&mut burst);
                let unsent = kept.split_off(sent);
                under_way.extend(kept);
                let left = burst.drain_front(burst.len()).zip(unsent).collect::<Vec<_>>();
                left.into_iter().rev().for_each(|packet| mine.push_front(packet));
            }
            Act::Receive => {
                let mut received = receive(server);
                for mbuf in received.drain_front(received.len()) {
                    let data = whole(&mbuf);
                    assert_eq!(Some(&data), under_way.pop_front().as_ref());
                    mine.push_back((mbuf, data));
                }
            }
            Act::Drop(which) => drop(mine.remove(which)),
            Act::Cut(which) => {
                if let Some((mbuf, data)) = mine.get_mut(which).filter(|(mbuf, _)| mbuf.len() > 4) {
                    assert!(mbuf.adj(4));
                    data.drain(..4);
                }
            }
            Act::Join(which) if which + 1 < mine.len() && joins(&mine[which].0, &mine[which + 1].0) => {
                let (mbuf, data) = mine.remove(which + 1).expect("it is there");
                mine[which].0.chain(mbuf).unwrap();
                mine[which].1.extend(data);
            }
            Act::Send(..) | Act::Join(_) => {}
        }
        for (mbuf, data) in &mine {
            assert_eq!(&whole(mbuf), data, "it changed while it was held");
        }
    }
}

#[test]
fn whatever_an_application_does_with_them_the_server_receives_what_was_sent() {
    let (mut server, mut client, _directory) = sharing("4");
    let posted = client.pool.in_use();
    let ports = std::cell::RefCell::new((&mut server, &mut client));
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 512, ..Config::default() });
    let result = runner.run(&prop::collection::vec(act(), 1..120), |acts| {
        let (server, client) = &mut *ports.borrow_mut();
        play(server, client, &acts);
        // The rest is received, given back, and its slots are free: the next case begins as this one did.
        while !receive(server).is_empty() {}
        client.lports[0].tx.tx_burst(&mut Burst::new());
        prop_assert_eq!((client.pool.in_use(), server.pool.in_use()), (posted, 0));
        Ok(())
    });
    result.unwrap();
    assert!(returned(&client) > 1000, "{} packets went round", returned(&client));
    client.assert_whole();
    server.assert_whole();
}
