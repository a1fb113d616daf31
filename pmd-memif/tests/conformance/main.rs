//! What the conformance statements promise about a live link, seen from the other end of it: a fake peer reads and
//! writes the shared memory as files. The numbers in the tests' names are those of the statements.

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod interrupts;
mod meeting;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use pmd_core::{Burst, Mbuf};
use pmd_memif::fake::{FakeClient, FakeListener, FakeMemory, FakeRegion, FakeServer, RingPlan, Step};
use pmd_memif::message::Direction;

use common::{Port, until};
use meeting::{FLAGS, HEAD, MASK_INT, Meeting, NEXT, RawRing, TAIL, is_up, rings};

/// The next packets, at least one.
fn receive(port: &mut Port) -> Vec<Vec<u8>> {
    let mut burst = Burst::new();
    until("a packet", || port.lports[0].rx.rx_burst(&mut burst) > 0);
    burst.iter().map(contents).collect()
}

fn contents(mbuf: &Mbuf) -> Vec<u8> {
    let mut data = vec![0; mbuf.packet_len()];
    mbuf.copy_to(&mut data);
    data
}

fn send(port: &mut Port, data: &[u8]) {
    let mut burst = Burst::new();
    burst.push(port.packet(data)).unwrap();
    until("the packet sent", || port.lports[0].tx.tx_burst(&mut burst) == 1);
}

#[test]
fn s35_s36_s37_a_client_starts_at_0_whatever_the_server_stored_before_connected() {
    let meeting = Meeting::new();
    let listener = FakeListener::bind(&meeting.address).unwrap();
    let mut port = meeting.open("client", "no");
    let mut server = FakeServer::accept(&listener).unwrap();
    server.run(Step::Rings).unwrap();
    let file = server.regions[0].1.try_clone().unwrap();
    let by_direction = |direction| {
        let (message, _) = server.rings.iter().find(|(ring, _)| ring.direction == direction).unwrap();
        RawRing::new(&file, message)
    };
    let (s2m, m2s) = (by_direction(Direction::S2m), by_direction(Direction::M2s));
    for ring in [s2m, m2s] {
        assert_eq!((ring.bytes::<4>(0), ring.word(FLAGS)), (0x03E3_1F20_u32.to_le_bytes(), 0));
        assert_eq!((ring.word(HEAD), ring.word(TAIL)), (0, 0), "nothing is posted before CONNECTED");
        // Servers of libmemif's line zero both indices; one that stores something else must not matter either.
        ring.set_word(HEAD, 77);
        ring.set_word(TAIL, 0);
    }
    server.run(Step::Connected).unwrap();
    until("link up", || is_up(&port));
    until("posted", || port.lports[0].rx.rx_burst(&mut Burst::new()) == 0 && m2s.word(HEAD) == 1024);

    let (flags, region, capacity, offset) = m2s.slot(0);
    assert_eq!((flags, region, capacity), (0, 0, 2048));
    file.write_all_at(b"ping", offset.into()).unwrap();
    m2s.set_slot(0, (0, 0, 4, offset));
    m2s.set_word(TAIL, 1);
    assert_eq!(receive(&mut port), [b"ping"]);
    assert_eq!(s2m.word(HEAD), 0);
    send(&mut port, b"pong");
    assert_eq!((s2m.word(HEAD), s2m.slot(0).2), (1, 4), "the first packet is in the first slot");
    port.assert_whole();
}

#[test]
fn s37_s38_a_server_starts_at_0_with_every_client_and_bears_zeroing_after_connected() {
    let meeting = Meeting::new();
    let mut port = meeting.open("server", "no");
    for round in 0..3_u8 {
        let client = meeting.connect(&port, FakeMemory::plain(RingPlan::default()).unwrap());
        let (file, [s2m, m2s]) = (&client.memory.regions[0].file, rings(&client));
        for ring in [s2m, m2s] {
            ring.set_word(HEAD, 0);
            ring.set_word(TAIL, 0);
        }
        let buffer = client.memory.regions[0].size as u32 - 2048;
        file.write_all_at(&[round; 9], buffer.into()).unwrap();
        (0..3).for_each(|slot| s2m.set_slot(slot, (0, 0, 9, buffer)));
        s2m.set_word(HEAD, 3);
        assert_eq!(receive(&mut port), [[round; 9]; 3]);
        assert_eq!(s2m.word(TAIL), 3);
        m2s.set_slot(0, (0, 0, 2048, buffer));
        m2s.set_word(HEAD, 1);
        send(&mut port, b"answer");
        assert_eq!((m2s.word(TAIL), m2s.slot(0)), (1, (0, 0, 6, buffer)));
    }
    port.assert_whole();
}

#[test]
fn s40_memory_of_a_client_is_sealed_and_closed_on_exec() {
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let listener = FakeListener::bind(&meeting.address).unwrap();
        let port = meeting.open("client", zero_copy);
        let mut server = FakeServer::accept(&listener).unwrap();
        server.run(Step::Connected).unwrap();
        assert_eq!(server.regions.len(), if zero_copy == "yes" { 2 } else { 1 });
        for (_, file) in &server.regions {
            let seals = SealFlag::from_bits_retain(fcntl(file, FcntlArg::F_GET_SEALS).unwrap());
            assert!(seals.contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW), "{seals:?}");
            assert!(file.set_len(0).is_err());
        }
        let ours = memory_files();
        assert!(!ours.is_empty());
        assert!(ours.iter().all(|flags| flags.contains(OFlag::O_CLOEXEC)), "{ours:?}");
        port.assert_whole();
    }
}

/// The open flags of every memory file of this process.
fn memory_files() -> Vec<OFlag> {
    let listed = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let is_memory = |link: PathBuf| link.to_string_lossy().starts_with("/memfd:");
    let memory = listed.filter(|fd| fs::read_link(fd.path()).is_ok_and(is_memory));
    let infos = memory.filter_map(|fd| {
        // Another test may have closed it meanwhile.
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.file_name().display())).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        i32::from_str_radix(flags.trim(), 8).ok()
    });
    infos.map(OFlag::from_bits_retain).collect()
}

#[test]
fn s44_the_bytes_of_a_packet_are_there_when_its_index_is() {
    const PACKETS: u32 = 30_000;
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let mut server = meeting.open("server", zero_copy);
        let mut client = meeting.open("client", zero_copy);
        until("links up", || is_up(&server) && is_up(&client));
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut burst = Burst::with_limit(32);
                let mut next = 0;
                until("all sent", || {
                    while next < PACKETS && burst.len() < 32 {
                        burst.push(client.packet(&next.to_le_bytes().repeat(30))).unwrap();
                        next += 1;
                    }
                    client.lports[0].tx.tx_burst(&mut burst);
                    next == PACKETS && burst.is_empty()
                });
            });
            let mut received = 0_u32;
            while received < PACKETS {
                for packet in receive(&mut server) {
                    assert_eq!(packet, received.to_le_bytes().repeat(30));
                    received += 1;
                }
            }
            sender.join().unwrap();
        });
        client.assert_whole();
        server.assert_whole();
    }
}

#[test]
fn s61_buffers_may_lie_in_any_region_and_a_chain_in_several() {
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let mut memory = FakeMemory::plain(RingPlan::default()).unwrap();
        memory.regions.extend([1 << 16, 4096].map(|size| FakeRegion::sealed(size).unwrap()));
        let (mut port, client) = meeting.serve(zero_copy, memory);
        let [s2m, m2s] = rings(&client);
        let end_of_0 = client.memory.regions[0].size as u32 - 100;
        let places = [(0, end_of_0, 0xA0), (1, 77, 0xA1), (2, 3996, 0xA2)];
        for (region, offset, mark) in places {
            client.memory.regions[usize::from(region)].file.write_all_at(&[mark; 100], offset.into()).unwrap();
        }
        for (slot, (region, offset, _)) in (0..).zip(places) {
            s2m.set_slot(slot, (0, region, 100, offset));
            s2m.set_slot(3 + slot, (if slot < 2 { NEXT } else { 0 }, region, 100, offset));
        }
        s2m.set_word(HEAD, 6);
        let chain = places.map(|(_, _, mark)| [mark; 100]).concat();
        let expected = places.iter().map(|(_, _, mark)| vec![*mark; 100]).chain([chain]).collect::<Vec<_>>();
        let mut received = Vec::new();
        while received.len() < expected.len() {
            received.extend(receive(&mut port));
        }
        assert_eq!(received, expected);

        let mut got = [0; 5];
        for (slot, (region, offset, _)) in (0..).zip(places) {
            m2s.set_slot(slot, (0, region, 100, offset));
            m2s.set_word(HEAD, slot as u16 + 1);
            send(&mut port, b"reply");
            client.memory.regions[usize::from(region)].file.read_exact_at(&mut got, offset.into()).unwrap();
            assert_eq!((&got, m2s.word(TAIL)), (b"reply", slot as u16 + 1));
        }
        port.assert_whole();
    }
}

#[test]
fn s64_a_receiver_masks_when_it_polls_unmasks_when_it_sleeps_and_leaves_the_other_ring_alone() {
    for zero_copy in ["no", "yes"] {
        let meeting = Meeting::new();
        let (mut port, client) = meeting.serve(zero_copy, FakeMemory::plain(RingPlan::default()).unwrap());
        let [s2m, m2s] = rings(&client);
        m2s.set_word(FLAGS, 0x10);
        until("adopted", || port.lports[0].rx.rx_burst(&mut Burst::new()) == 0 && s2m.word(FLAGS) == MASK_INT);
        until("armed", || port.lports[0].rx.arm());
        assert_eq!(s2m.word(FLAGS), 0);
        port.lports[0].rx.disarm();
        assert_eq!((s2m.word(FLAGS), m2s.word(FLAGS)), (MASK_INT, 0x10));
        port.assert_whole();
    }
}

#[test]
fn s67_memory_that_its_owner_could_truncate_never_becomes_a_link() {
    let meeting = Meeting::new();
    let port = meeting.open("server", "no");
    let mut memory = FakeMemory::plain(RingPlan::default()).unwrap();
    memory.regions[0] = FakeRegion::unsealed(memory.regions[0].size).unwrap();
    let mut client = FakeClient::connect(&meeting.address).unwrap().with_memory(memory);
    assert!(client.run(Step::Connected).is_err());
    client.memory.regions[0].file.set_len(0).unwrap();
    until("the refusal named", || format!("{:?}", port.lports[0].control.link()).contains("seal"));
    let sealed = meeting.connect(&port, FakeMemory::plain(RingPlan::default()).unwrap());
    assert!(sealed.memory.regions[0].file.set_len(0).is_err());
    port.assert_whole();
}
