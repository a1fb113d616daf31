//! A peer that writes the worst into every field of the messages and into every word of the rings, through real sockets and
//! shared memory. Whatever it does costs its packets or its link; the next peer is served, and every mbuf is home.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pmd_core::{Burst, Mbuf};
use pmd_memif::Secret;
use pmd_memif::fake::{FakeClient, FakeListener, FakeMemory, FakeServer, RingPlan, Step};
use pmd_memif::message::{AddRegion, AddRing, Direction, Hello, Init, Message, Name, VERSION};

use crate::common::{Port, until};
use crate::meeting::{HEAD, Meeting, NEXT, RawRing, Slot, TAIL, is_up, rings};
use crate::receive;

const SIZE: u16 = 1024;

fn plain() -> FakeMemory {
    FakeMemory::plain(RingPlan::default()).unwrap()
}

fn counted(port: &Port, names: &[&str]) -> u64 {
    let stats = port.lports[0].control.stats();
    stats.xstats.iter().filter(|(name, _)| names.contains(name)).map(|(_, count)| count).sum()
}

const BROKEN: [&str; 4] =
    ["rx_bad_region_dropped", "rx_bad_range_dropped", "rx_bad_length_dropped", "rx_too_long_dropped"];

fn poll(port: &mut Port) -> usize {
    port.lports[0].rx.rx_burst(&mut Burst::new())
}

#[test]
fn a_client_sends_every_field_at_its_limits() {
    let meeting = Meeting::new();
    let port = meeting.open("server", "no");
    let init = |version, id, mode| {
        Message::Init(Init {
            version,
            id,
            mode,
            secret: Secret::new(&"x".repeat(23)).unwrap(),
            name: Name::new(&"n".repeat(40)),
        })
    };
    let region = |index, size| Message::AddRegion(AddRegion { index, size });
    let good =
        AddRing { direction: Direction::S2m, index: 0, region: 0, offset: 0, log2_ring_size: 10, private_hdr_size: 0 };
    let ring = |change: fn(&mut AddRing)| {
        let mut ring = good;
        change(&mut ring);
        Message::AddRing(ring)
    };
    let hostile = [
        (Step::Hello, init(0, 0, 0)),
        (Step::Hello, init(u16::MAX, 0, 0)),
        (Step::Hello, init(VERSION, u32::MAX, 0)),
        (Step::Hello, init(VERSION, 0, u8::MAX)),
        (Step::Init, region(u16::MAX, 4096)),
        (Step::Init, region(0, 0)),
        (Step::Init, region(0, u64::MAX)),
        (Step::Init, region(0, 1 << 63)),
        (Step::Regions, ring(|ring| ring.index = u16::MAX)),
        (Step::Regions, ring(|ring| ring.region = u16::MAX)),
        (Step::Regions, ring(|ring| ring.offset = u32::MAX)),
        (Step::Regions, ring(|ring| ring.offset = u32::MAX - 3)),
        (Step::Regions, ring(|ring| ring.log2_ring_size = 0)),
        (Step::Regions, ring(|ring| ring.log2_ring_size = 15)),
        (Step::Regions, ring(|ring| ring.log2_ring_size = 31)),
        (Step::Regions, ring(|ring| ring.log2_ring_size = u8::MAX)),
        (Step::Regions, ring(|ring| ring.private_hdr_size = u16::MAX)),
        (Step::Rings, ring(|ring| (ring.index, ring.offset) = (1, 16))),
    ];
    for (step, message) in hostile {
        let mut client = FakeClient::connect(&meeting.address).unwrap().with_memory(plain());
        client.run(step).unwrap();
        let fd = match &message {
            Message::AddRing(_) => client.memory.rings[0].eventfd.as_fd(),
            _ => client.memory.regions[0].as_fd(),
        };
        client.peer.send(&message, &[fd]).unwrap();
        let told = client.peer.expect_disconnect().unwrap_or_else(|error| panic!("{message:?}: {error}"));
        assert!(!told.is_empty(), "{message:?}");
    }
    // The longest names and the highest code are only text and number.
    let client = meeting.connect(&port, plain());
    client
        .peer
        .send(&Message::Disconnect { code: u32::MAX, reason: pmd_memif::message::Reason::new(&"r".repeat(200)) }, &[])
        .unwrap();
    until("the link gone", || !is_up(&port));
    meeting.connect(&port, plain());
    port.assert_whole();
}

#[test]
fn a_server_greets_with_every_field_at_its_limits() {
    let meeting = Meeting::new();
    let listener = FakeListener::bind(&meeting.address).unwrap();
    let port = meeting.open("client", "no");
    let refused: [fn(&mut Hello); 3] = [
        |hello| hello.min_version = u16::MAX,
        |hello| hello.max_version = 0,
        |hello| (hello.min_version, hello.max_version) = (u16::MAX, 0),
    ];
    for change in refused {
        let mut server = FakeServer::accept(&listener).unwrap().with_hello(change);
        server.run(Step::Hello).unwrap();
        server.peer.expect_disconnect().unwrap();
    }
    let taken: [(fn(&mut Hello), u8); 5] = [
        (|hello| hello.min_version = 0, 10),
        (|hello| hello.max_version = u16::MAX, 10),
        (|hello| (hello.max_s2m_ring, hello.max_m2s_ring) = (0, 0), 10),
        (|hello| (hello.max_s2m_ring, hello.max_m2s_ring, hello.max_region) = (u16::MAX, u16::MAX, 0), 10),
        (|hello| hello.max_log2_ring_size = u8::MAX, 10),
    ];
    for (change, log2) in taken {
        let mut server = FakeServer::accept(&listener).unwrap().with_hello(change);
        server.run(Step::Connected).unwrap();
        assert!(server.rings.iter().all(|(ring, _)| ring.log2_ring_size == log2));
        assert_eq!(server.rings.len(), 2);
        until("link up", || is_up(&port));
        drop(server);
        until("link down", || !is_up(&port));
    }
    port.assert_whole();
}

/// Distances of an index from where it should be.
const JUMPS: [u16; 6] = [1, SIZE, SIZE + 1, 2 * SIZE, 32768, 65535];

#[test]
fn a_clients_head_jumps() {
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let (mut port, client) = meeting.serve(zero_copy, plain());
        let [s2m, _] = rings(&client);
        poll(&mut port);
        let buffer = client.memory.regions[0].size as u32 - 2048;
        for jump in JUMPS {
            // Gives borrowed slots back.
            poll(&mut port);
            let (before, overruns) = (s2m.word(TAIL), counted(&port, &["rx_overruns"]));
            (0..SIZE.into()).for_each(|slot| s2m.set_slot(slot, (0, 0, 0, 0)));
            s2m.set_word(HEAD, before.wrapping_add(jump));
            (0..20).for_each(|_| assert_eq!(poll(&mut port), 0, "descriptors of length 0"));
            assert_eq!(counted(&port, &["rx_overruns"]) > overruns, jump > SIZE, "a jump by {jump}");
            let index = s2m.word(TAIL);
            s2m.set_slot((index % SIZE).into(), (0, 0, 5, buffer));
            s2m.set_word(HEAD, index.wrapping_add(1));
            assert_eq!(receive(&mut port).len(), 1, "and it goes on, after a jump by {jump}");
        }
        port.assert_whole();
    }
}

#[test]
fn a_clients_head_jumps_on_the_ring_it_receives_from() {
    for jump in JUMPS {
        for zero_copy in ["no", "yes"] {
            let meeting = Meeting::new();
            let (mut port, client) = meeting.serve(zero_copy, plain());
            let [_, m2s] = rings(&client);
            // Nothing is posted there: buffers of length 0.
            m2s.set_word(HEAD, jump);
            let mut burst = Burst::new();
            burst.push(port.packet(b"for nobody")).unwrap();
            until("the fault found", || {
                port.lports[0].tx.tx_burst(&mut burst) == 0 && counted(&port, &["tx_faults"]) > 0
            });
            let told = client.peer.expect_disconnect().unwrap();
            assert!(told.contains("posted a buffer of length 0"), "{told}");
            drop(burst);
            meeting.connect(&port, plain());
            port.assert_whole();
        }
    }
}

/// A client of ours and its fake server, with its rings: what we send, and what we receive.
fn serve_us(meeting: &Meeting, zero_copy: &str) -> (Port, FakeServer) {
    let listener = FakeListener::bind(&meeting.address).unwrap();
    let mut port = meeting.open("client", zero_copy);
    let mut server = FakeServer::accept(&listener).unwrap();
    server.run(Step::Connected).unwrap();
    until("link up", || is_up(&port));
    poll(&mut port);
    (port, server)
}

fn ring_of(server: &FakeServer, direction: Direction) -> RawRing<'_> {
    let (message, _) = server.rings.iter().find(|(ring, _)| ring.direction == direction).unwrap();
    RawRing::new(&server.regions[0].1, message)
}

#[test]
fn a_servers_tail_jumps_on_both_rings() {
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let (mut port, server) = serve_us(&meeting, zero_copy);
        let [s2m, m2s] = [Direction::S2m, Direction::M2s].map(|direction| ring_of(&server, direction));
        let mut consumed = 0_u16;
        for jump in JUMPS {
            let overruns = counted(&port, &["rx_overruns"]);
            m2s.set_word(TAIL, consumed.wrapping_add(jump));
            // What is posted there has its capacity as length: whole buffers of whatever they hold.
            assert!(poll(&mut port) > 0);
            (0..8).for_each(|_| assert!(poll(&mut port) <= 256));
            assert_eq!(counted(&port, &["rx_overruns"]) > overruns, jump > SIZE, "a jump by {jump}");
            consumed = m2s.word(HEAD).wrapping_sub(SIZE);
            m2s.set_word(TAIL, consumed);

            s2m.set_word(TAIL, s2m.word(HEAD).wrapping_add(jump));
            let mut burst = Burst::new();
            burst.push(port.packet(b"sent")).unwrap();
            port.lports[0].tx.tx_burst(&mut burst);
            s2m.set_word(TAIL, s2m.word(HEAD));
            until("sent, once the index is possible again", || {
                port.lports[0].tx.tx_burst(&mut burst);
                s2m.set_word(TAIL, s2m.word(HEAD));
                burst.is_empty()
            });
        }
        // Who copies looks at the index only when it needs slots.
        assert!(zero_copy == "no" || counted(&port, &["tx_overruns"]) > 0);
        drop(server);
        port.assert_whole();
    }
}

/// What a descriptor may say that it should not, by flags, region, length and offset.
fn worst_descriptors(offset: u32) -> [Slot; 12] {
    [
        (0, u16::MAX, 64, offset),
        (0, 1, 64, offset),
        (0, 0, 64, u32::MAX),
        (0, 0, 0, offset),
        (0, 0, 65536, offset),
        (0, 0, 65536 + 64, offset),
        (0, 0, u32::MAX, offset),
        (0, 0, u32::MAX, u32::MAX),
        (NEXT, u16::MAX, 64, offset),
        (NEXT, 0, u32::MAX, offset),
        (u16::MAX, 0, 0, u32::MAX),
        (u16::MAX, u16::MAX, u32::MAX, u32::MAX),
    ]
}

#[test]
fn a_client_describes_the_worst_and_its_next_packet_arrives() {
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let (mut port, client) = meeting.serve(zero_copy, plain());
        let [s2m, _] = rings(&client);
        let buffer = client.memory.regions[0].size as u32 - 2048;
        let good = (0, 0, 64, buffer);
        let mut index = 0_u16;
        for worst in worst_descriptors(buffer) {
            let dropped = counted(&port, &BROKEN);
            for slot in [worst, good, good] {
                s2m.set_slot((index % SIZE).into(), slot);
                index += 1;
            }
            s2m.set_word(HEAD, index);
            let mut burst = Burst::new();
            until("all slots taken", || {
                port.lports[0].rx.rx_burst(&mut burst);
                // Borrowed packets give their slots back when they are dropped.
                s2m.word(TAIL) == index || !burst.is_empty()
            });
            let received = burst.iter().map(Mbuf::packet_len).collect::<Vec<_>>();
            drop(burst);
            until("all slots back", || poll(&mut port) == 0 && s2m.word(TAIL) == index);
            // One with NEXT takes the first of the good ones with it.
            let survivors = if worst.0 & NEXT == 0 { 2 } else { 1 };
            assert_eq!((received, counted(&port, &BROKEN) - dropped), (vec![64; survivors], 1), "{worst:?}");
        }
        // A chain without an end: dropped as soon as it fills the ring, and then it goes on.
        let too_long = counted(&port, &["rx_too_long_dropped"]);
        (0..SIZE.into()).for_each(|slot| s2m.set_slot(slot, (NEXT, 0, 64, buffer)));
        s2m.set_word(HEAD, index.wrapping_add(SIZE));
        until("the endless chain dropped", || poll(&mut port) == 0 && s2m.word(TAIL) == index.wrapping_add(SIZE));
        assert_eq!(counted(&port, &["rx_too_long_dropped"]), too_long + 1);
        port.assert_whole();
    }
}

#[test]
fn a_server_fills_with_the_worst_and_its_next_packet_arrives() {
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let (mut port, server) = serve_us(&meeting, zero_copy);
        let m2s = ring_of(&server, Direction::M2s);
        let mut index = 0_u16;
        for (flags, region, length, offset) in worst_descriptors(77).into_iter().chain([(0, 0, 2049, 0), (0, 0, 1, 0)])
        {
            let dropped = counted(&port, &BROKEN);
            let slot = |index: u16| u64::from(index % SIZE);
            let (_, good_region, _, good_offset) = m2s.slot(slot(index + 1));
            m2s.set_slot(slot(index), (flags, region, length, offset));
            m2s.set_slot(slot(index + 1), (0, good_region, 64, good_offset));
            index += 2;
            m2s.set_word(TAIL, index);
            // A client goes by its own knowledge of places: only flags and lengths can be wrong.
            let broken = length == 0 || length > 2048;
            let expected = match (broken, flags & NEXT == 0) {
                (false, true) => vec![length as usize, 64],
                (false, false) => vec![length as usize + 64],
                (true, true) => vec![64],
                (true, false) => vec![],
            };
            let mut burst = Burst::new();
            until("polled", || port.lports[0].rx.rx_burst(&mut burst) > 0 || expected.is_empty());
            assert_eq!(burst.iter().map(Mbuf::packet_len).collect::<Vec<_>>(), expected, "{flags} {length}");
            assert_eq!(counted(&port, &BROKEN) - dropped, u64::from(broken), "{flags} {length}");
        }
        drop(server);
        port.assert_whole();
    }
}

#[test]
fn a_client_posts_the_worst_and_loses_its_link() {
    for zero_copy in ["no", "yes"] {
        for (flags, region, length, offset) in worst_descriptors(0) {
            let meeting = Meeting::new();
            let (mut port, client) = meeting.serve(zero_copy, plain());
            let [_, m2s] = rings(&client);
            m2s.set_slot(0, (flags, region, length, offset));
            m2s.set_word(HEAD, 1);
            let mut burst = Burst::new();
            port.lports[0].tx.alloc_burst(&mut burst, 1);
            burst.push(port.packet(&[1; 100])).unwrap();
            until("looked at", || {
                port.lports[0].tx.tx_burst(&mut burst);
                counted(&port, &["tx_faults"]) > 0 || counted(&port, &["tx_ring_full"]) > 0 || burst.is_empty()
            });
            drop((burst, client));
            until("the link gone", || !is_up(&port));
            meeting.connect(&port, plain());
            port.assert_whole();
        }
    }
}

#[test]
fn a_peer_flaps_while_it_is_polled() {
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let mut port = meeting.open("server", zero_copy);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let poller = scope.spawn(|| {
                let (mut burst, mut held) = (Burst::new(), Burst::new());
                while !stop.load(Ordering::Relaxed) {
                    port.lports[0].rx.rx_burst(&mut burst);
                    port.lports[0].tx.tx_burst(&mut burst);
                    // Some outlive the link they came by.
                    std::mem::swap(&mut burst, &mut held);
                    burst.clear();
                    port.lports[0].tx.alloc_burst(&mut held, 1);
                }
            });
            for round in 0..60_u16 {
                let mut client = FakeClient::connect(&meeting.address).unwrap().with_memory(plain());
                if client.run(Step::Connected).is_err() {
                    // The last one has not been seen to go yet.
                    thread::yield_now();
                    continue;
                }
                let [s2m, m2s] = rings(&client);
                let buffer = client.memory.regions[0].size as u32 - 2048;
                (0..64).for_each(|slot| s2m.set_slot(slot, (u16::from(slot % 3 == 0), 0, 100, buffer)));
                (0..64).for_each(|slot| m2s.set_slot(slot, (0, 0, 2048, buffer)));
                m2s.set_word(HEAD, 64);
                s2m.set_word(HEAD, 1 + round);
            }
            stop.store(true, Ordering::Relaxed);
            poller.join().unwrap();
        });
        port.assert_whole();
    }
}
