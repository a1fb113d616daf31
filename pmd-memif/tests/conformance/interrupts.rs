//! What `rx-mode` does on a live link, and what a peer can do to us through the eventfds that we share with it.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use pmd_core::{Burst, Lport};
use pmd_memif::fake::{FakeClient, FakeListener, FakeMemory, FakeServer, RingPlan, Step};
use pmd_memif::message::Direction;

use crate::common::{Port, until};
use crate::meeting::{FLAGS, HEAD, MASK_INT, Meeting, RawRing, TAIL, is_up, rings};

/// A server of ours in this mode, and its client, whose rings it has taken.
fn serve(meeting: &Meeting, mode: &str) -> (Port, FakeClient) {
    let mut port = meeting.open_with(&[("role", "server"), ("rx-mode", mode)]);
    let client = meeting.connect(&port, FakeMemory::plain(RingPlan::default()).unwrap());
    port.lports[0].rx.rx_burst(&mut Burst::new());
    (port, client)
}

/// What a client does to send its packet number `index`, which wants an interrupt when the ring's flags say so.
fn send_packet(client: &FakeClient, index: u16) {
    let [s2m, _] = rings(client);
    let buffer = client.memory.regions[0].size as u32 - 100;
    s2m.set_slot(index.into(), (0, 0, 100, buffer));
    s2m.set_word(HEAD, index + 1);
    if s2m.word(FLAGS) & MASK_INT == 0 {
        client.memory.rings[0].eventfd.write(1).unwrap();
    }
}

fn is_readable(fd: BorrowedFd<'_>, wait: PollTimeout) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], wait) == Ok(1)
}

fn receive(lport: &mut Lport) -> usize {
    lport.rx.rx_burst(&mut Burst::new())
}

fn rx_interrupts(port: &Port) -> u64 {
    port.lports[0].control.stats().xstats.iter().find(|(name, _)| *name == "rx_interrupts").unwrap().1
}

#[test]
fn s64_in_polling_mode_the_peer_is_never_asked_and_nobody_sleeps_on_a_descriptor() {
    let meeting = Meeting::new();
    let (mut port, client) = serve(&meeting, "polling");
    let [s2m, _] = rings(&client);
    assert!(port.lports[0].rx.arm() && port.lports[0].rx.wake_fd().is_none());
    assert_eq!(s2m.word(FLAGS), MASK_INT);
    send_packet(&client, 0);
    assert!(!port.lports[0].rx.arm(), "there is a packet: no time to sleep");
    port.lports[0].rx.disarm();
    assert_eq!((receive(&mut port.lports[0]), rx_interrupts(&port), s2m.word(FLAGS)), (1, 0, MASK_INT));
    port.assert_whole();
}

#[test]
fn s64_s65_in_interrupt_mode_a_users_own_epoll_needs_nothing_but_bursts() {
    let meeting = Meeting::new();
    let (mut port, client) = serve(&meeting, "interrupt");
    let [s2m, m2s] = rings(&client);
    m2s.set_word(FLAGS, 0x10);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    epoll.add(port.lports[0].rx.wake_fd().unwrap(), EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
    let wakes = |wait| epoll.wait(&mut [EpollEvent::empty(); 2], wait) == Ok(1);
    let soon = EpollTimeout::from(30_000_u16);
    for index in 0..5 {
        assert_eq!((receive(&mut port.lports[0]), wakes(EpollTimeout::ZERO)), (0, false), "nothing to do, no event");
        assert_eq!((s2m.word(FLAGS), m2s.word(FLAGS)), (0, 0x10), "asked for, and the other ring left alone");
        send_packet(&client, index);
        assert!(wakes(soon) && wakes(EpollTimeout::ZERO), "readable until it has been polled");
        assert_eq!(receive(&mut port.lports[0]), 1);
    }
    assert_eq!(receive(&mut port.lports[0]), 0);
    assert_eq!(rx_interrupts(&port), 5);
    drop(client);
    assert!(wakes(soon), "the link is gone");
    assert_eq!((receive(&mut port.lports[0]), wakes(EpollTimeout::ZERO)), (0, false));
    let client = meeting.connect(&port, FakeMemory::plain(RingPlan::default()).unwrap());
    assert!(wakes(soon), "the next link is there");
    assert_eq!(receive(&mut port.lports[0]), 0);
    send_packet(&client, 0);
    assert!(wakes(soon));
    assert_eq!(receive(&mut port.lports[0]), 1);
    port.assert_whole();
}

#[test]
fn s65_in_interrupt_mode_packets_that_have_to_wait_for_mbufs_keep_the_descriptor_readable() {
    let meeting = Meeting::new();
    let (mut port, client) = serve(&meeting, "interrupt");
    let mut hoard = Burst::new();
    let mut bursts = Vec::new();
    while port.pool.alloc_bulk(&mut hoard, 256) > 0 {
        bursts.push(std::mem::take(&mut hoard));
    }
    send_packet(&client, 0);
    for _ in 0..3 {
        assert!(is_readable(port.lports[0].rx.wake_fd().unwrap(), PollTimeout::from(30_000_u16)));
        assert_eq!(receive(&mut port.lports[0]), 0, "no mbuf");
    }
    drop(bursts);
    assert_eq!((receive(&mut port.lports[0]), receive(&mut port.lports[0])), (1, 0));
    assert!(!is_readable(port.lports[0].rx.wake_fd().unwrap(), PollTimeout::ZERO));
    port.assert_whole();
}

#[test]
fn s64_in_adaptive_mode_only_what_comes_while_armed_wakes() {
    let meeting = Meeting::new();
    let (mut port, client) = serve(&meeting, "adaptive");
    let wakes = |port: &Port, wait| is_readable(port.lports[0].rx.wake_fd().unwrap(), wait);
    send_packet(&client, 0);
    assert_eq!(receive(&mut port.lports[0]), 1);
    port.lports[0].rx.disarm();
    for index in 1..4 {
        assert!(port.lports[0].rx.arm() && !wakes(&port, PollTimeout::ZERO));
        send_packet(&client, index);
        assert!(wakes(&port, PollTimeout::from(30_000_u16)));
        port.lports[0].rx.disarm();
        assert_eq!((receive(&mut port.lports[0]), wakes(&port, PollTimeout::ZERO)), (1, false));
    }
    assert_eq!(rx_interrupts(&port), 3);
    port.assert_whole();
}

#[test]
fn s63_a_peer_is_rung_once_per_burst_and_only_while_it_does_not_mask() {
    let meeting = Meeting::new();
    let (mut port, client) = serve(&meeting, "adaptive");
    let [_, m2s] = rings(&client);
    let buffer = client.memory.regions[0].size as u32 - 2048;
    (0..8).for_each(|slot| m2s.set_slot(slot, (0, 0, 2048, buffer)));
    m2s.set_word(HEAD, 8);
    let bell = &client.memory.rings[1].eventfd;
    for (flags, rung) in [(MASK_INT, None), (0, Some(1)), (MASK_INT, None), (0, Some(1))] {
        m2s.set_word(FLAGS, flags);
        let mut burst = Burst::new();
        burst.push(port.packet(b"one")).unwrap();
        burst.push(port.packet(b"two")).unwrap();
        assert_eq!((port.lports[0].tx.tx_burst(&mut burst), bell.read().ok()), (2, rung));
        assert_eq!((port.lports[0].tx.tx_burst(&mut burst), bell.read().ok()), (0, None), "nothing sent, nobody rung");
    }
    port.assert_whole();
}

/// What a peer may do to an eventfd that it shares: whoever writes to it now waits for a reader that never comes.
fn clog(eventfd: BorrowedFd<'_>) {
    fcntl(eventfd, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let _ = nix::unistd::write(eventfd, &(u64::MAX - 1).to_ne_bytes());
}

/// Sends a packet and goes through a sleep on a thread of its own; the deadline is for failures only.
fn works(mut port: Port) {
    let (done, finished) = channel();
    let worker = std::thread::spawn(move || {
        let mut burst = Burst::new();
        burst.push(port.packet(b"wake up")).unwrap();
        let sent = port.lports[0].tx.tx_burst(&mut burst);
        port.lports[0].rx.arm();
        port.lports[0].rx.disarm();
        done.send(sent).unwrap();
        port
    });
    assert_eq!(finished.recv_timeout(Duration::from_secs(30)), Ok(1), "the worker is blocked");
    worker.join().unwrap().assert_whole();
}

#[test]
fn a_client_that_clogs_its_eventfds_does_not_block_us() {
    let meeting = Meeting::new();
    let (port, client) = serve(&meeting, "adaptive");
    let [_, m2s] = rings(&client);
    m2s.set_slot(0, (0, 0, 2048, client.memory.regions[0].size as u32 - 2048));
    m2s.set_word(HEAD, 1);
    m2s.set_word(FLAGS, 0);
    client.memory.rings.iter().for_each(|ring| clog(ring.eventfd.as_fd()));
    works(port);
    assert_eq!(m2s.word(TAIL), 1);
    let rung: u64 = EventFd::read(&client.memory.rings[1].eventfd).unwrap();
    assert_eq!(rung, u64::MAX, "and it was rung all the same");
}

#[test]
fn a_server_that_clogs_our_eventfds_does_not_block_us() {
    let meeting = Meeting::new();
    let listener = FakeListener::bind(&meeting.address).unwrap();
    let mut port = meeting.open_with(&[("role", "client")]);
    let mut server = FakeServer::accept(&listener).unwrap();
    server.run(Step::Connected).unwrap();
    until("link up", || is_up(&port));
    receive(&mut port.lports[0]);
    let (message, _) = server.rings.iter().find(|(ring, _)| ring.direction == Direction::S2m).unwrap();
    let s2m = RawRing::new(&server.regions[0].1, message);
    s2m.set_word(FLAGS, 0);
    server.rings.iter().for_each(|(_, eventfd)| clog(eventfd.as_fd()));
    works(port);
    assert_eq!(s2m.word(HEAD), 1);
    let mut first = [0; 7];
    server.regions[0].1.read_exact_at(&mut first, s2m.slot(0).3.into()).unwrap();
    assert_eq!(&first, b"wake up");
}
