//! The modes at work: frames go in at one end of a ring and are looked at when they come out again.
//!
//! ```text
//!   test thread   in0 ═══ ring 0 ═══ m0   mode under test
//!                 in1 ═══ ring 1 ═══ m1
//! ```

mod filtering;
mod routing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use pmd_core::deployment::PoolSpec;
use pmd_core::{Burst, Deployment, LportId, Ports, RawOption, Registry, Report, Runtime, Settings, Task};

use super::{Acl, Action, Forwarding, Mode, ModeDrops, Routes, Traffic, make_task};

/// Much longer than any of this takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// The test's side of ring 0 or 1, and a frame.
type Frame = (usize, Vec<u8>);

/// Sends what the test gives it, and gives what comes.
struct Prober {
    send: Receiver<Frame>,
    came: Sender<Frame>,
    pool: pmd_core::Pool,
    burst: Burst,
}

impl Task for Prober {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        if let Ok((ring, frame)) = self.send.try_recv() {
            self.pool.alloc_bulk(&mut self.burst, 1);
            self.burst[0].append(frame.len()).unwrap().copy_from_slice(&frame);
            ports.transmit(ports.id(ring), &mut self.burst);
        }
        for ring in 0..2 {
            ports.rx_burst(ring, &mut self.burst);
            for mbuf in self.burst.drain_front(self.burst.len()) {
                let mut frame = vec![0; mbuf.packet_len()];
                mbuf.copy_to(&mut frame);
                // The test may have seen enough.
                let _ = self.came.send((ring, frame));
            }
        }
        0
    }
}

/// The lports of the mode have the ids 0 and 1; `threads` says which thread polls which of them.
fn deployment(threads: &[&[u16]]) -> Deployment {
    let mut deployment = Deployment::default();
    // More mbufs than the rings can hold: nobody ever waits for one.
    let pool = Some(deployment.add_pool(PoolSpec::new("p", 8192, 2048)));
    let lports: Vec<_> = ["m0", "m1", "in0", "in1"]
        .iter()
        .zip([0, 1, 0, 1])
        .map(|(name, ring)| {
            let options = vec![RawOption::text("ring", format!("ring{ring}"))];
            deployment.add_lport(name, "net_ring", options, pool)
        })
        .collect();
    for (i, polled) in threads.iter().enumerate() {
        let polled: Vec<_> = polled.iter().map(|id| LportId(*id)).collect();
        deployment.add_thread(&format!("fwd:{i}"), &polled);
    }
    deployment.add_thread("prober", &lports[2..]);
    deployment
}

/// Runs `forwarding`, sends `frames`, waits for `expected` frames; says what came and how it ended.
fn exchange(forwarding: &Forwarding, threads: &[&[u16]], frames: &[Frame], expected: usize) -> (Vec<Frame>, Report) {
    let deployment = deployment(threads);
    let drops = Arc::new(ModeDrops::new(forwarding.mode, deployment.lports().len()));
    let ((give, send), (came, get)) = (channel(), channel());
    let mut ends = Some((send, came));
    // Before anybody runs, so that they are under way from the first poll on.
    for frame in frames {
        give.send(frame.clone()).unwrap();
    }
    let runtime = Runtime::start(&deployment, &Registry::with_reference_drivers(), Settings::default(), |context| {
        if context.thread.kind != "prober" {
            return make_task(context, forwarding, &drops);
        }
        let (send, came) = ends.take().unwrap();
        let pool = context.pool(LportId(2)).unwrap().clone();
        Ok(Box::new(Prober { send, came, pool, burst: Burst::with_limit(32) }))
    })
    .unwrap();
    let frames = (0..expected).map(|_| get.recv_timeout(DEADLINE).expect("a frame")).collect();
    let mut report = runtime.stop();
    drops.report_in(&mut report.lports);
    assert!(report.pools.iter().all(|pool| pool.available == pool.size), "{:?}", report.pools);
    (frames, report)
}

fn forwarding(mode: Mode) -> Forwarding {
    Forwarding { mode, ..Forwarding::nothing() }
}

/// A frame to the lport that `last_octet` names.
fn frame(last_octet: u8, mark: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, last_octet, 2, 0, 0, 0, 9, 9, 8, 0];
    frame.resize(60, mark);
    frame
}

/// The same with its addresses exchanged.
fn swapped(last_octet: u8, mark: u8) -> Vec<u8> {
    let mut frame = frame(last_octet, mark);
    frame[..12].rotate_left(6);
    frame
}

const ONE_THREAD: &[&[u16]] = &[&[0, 1]];
const TWO_THREADS: &[&[u16]] = &[&[0], &[1]];

#[test]
fn lb_sends_back_with_the_addresses_exchanged() {
    let sent = [(0, frame(7, 1)), (1, frame(8, 2))];
    let (mut came, _) = exchange(&forwarding(Mode::Loopback), ONE_THREAD, &sent, 2);
    came.sort();
    assert_eq!(came, [(0, swapped(7, 1)), (1, swapped(8, 2))]);
}

#[test]
fn lb_sends_a_frame_without_addresses_back_as_it_is() {
    let (came, _) = exchange(&forwarding(Mode::Loopback), ONE_THREAD, &[(0, vec![1, 2, 3])], 1);
    assert_eq!(came, [(0, vec![1, 2, 3])]);
}

#[test]
fn fwd_goes_by_the_last_octet_and_back_when_there_is_no_such_lport() {
    for threads in [ONE_THREAD, TWO_THREADS] {
        let sent = [(0, frame(1, 1)), (1, frame(0, 2)), (0, frame(200, 3)), (1, vec![9])];
        let (mut came, report) = exchange(&forwarding(Mode::Forward), threads, &sent, 4);
        came.sort();
        let mut expected = [(1, swapped(1, 1)), (0, swapped(0, 2)), (0, swapped(200, 3)), (1, vec![9])];
        expected.sort();
        assert_eq!(came, expected);
        assert_eq!(report.lports.iter().map(|lport| lport.stats.oerrors).sum::<u64>(), 0);
    }
}

#[test]
fn fwd_sorts_a_burst_of_mixed_destinations_in_order() {
    let sent: Vec<_> = (0..200).map(|i| (0, frame(i % 2, i))).collect();
    let (came, _) = exchange(&forwarding(Mode::Forward), ONE_THREAD, &sent, 200);
    for ring in 0..2 {
        let marks: Vec<_> = came.iter().filter(|(r, _)| *r == ring).map(|(_, frame)| frame[59]).collect();
        let expected: Vec<_> = (0..200).filter(|i| usize::from(i % 2) == ring).collect();
        assert_eq!(marks, expected);
    }
}

#[test]
fn port_map_wins_over_the_addresses_and_leaves_packets_alone() {
    let port_map = HashMap::from([(LportId(0), LportId(1)), (LportId(1), LportId(1))]);
    for threads in [ONE_THREAD, TWO_THREADS] {
        let forwarding = Forwarding { port_map: port_map.clone(), ..forwarding(Mode::Forward) };
        let (mut came, _) = exchange(&forwarding, threads, &[(0, frame(0, 1)), (1, frame(0, 2))], 2);
        came.sort();
        assert_eq!(came, [(1, frame(0, 1)), (1, frame(0, 2))]);
    }
}

#[test]
fn a_generator_sends_its_number_of_frames_in_order_and_no_more() {
    for (mode, size) in [(Mode::TxOnly, 64), (Mode::TxOnlyRx, 5000)] {
        let traffic = Traffic { size, count: Some(100), ..Traffic::default() };
        let (came, report) = exchange(&Forwarding { traffic, ..forwarding(mode) }, ONE_THREAD, &[], 200);
        for ring in 0..2 {
            let frames = came.iter().filter(|(r, _)| *r == ring).map(|(_, frame)| frame);
            let numbers: Vec<_> = frames.map(|frame| u64::from_be_bytes(frame[42..50].try_into().unwrap())).collect();
            assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        }
        assert!(came.iter().all(|(_, frame)| frame.len() == size && frame[50..].iter().all(|byte| *byte == 0)));
        assert_eq!((report.lports[0].stats.opackets, report.lports[1].stats.opackets), (100, 100));
    }
}

#[test]
fn tx_only_rx_receives_and_tx_only_does_not() {
    for (mode, received) in [(Mode::TxOnlyRx, 1), (Mode::TxOnly, 0)] {
        let traffic = Traffic { count: Some(1), ..Traffic::default() };
        // More than the ring holds: the frame from the test is in it before the last of them are sent.
        let mut forwarding = Forwarding { traffic, ..forwarding(mode) };
        forwarding.traffic.count = Some(2000);
        let (_, report) = exchange(&forwarding, ONE_THREAD, &[(0, frame(0, 1))], 4000);
        assert_eq!(report.lports[0].stats.ipackets, received);
    }
}

#[test]
fn tx_first_sends_before_the_mode_forwards() {
    let traffic = Traffic { size: 60, ..Traffic::default() };
    let forwarding = Forwarding { tx_first: 3, traffic, ..forwarding(Mode::Loopback) };
    let (came, _) = exchange(&forwarding, &[&[0]], &[(0, frame(7, 1))], 4);
    assert_eq!(came.iter().filter(|(_, frame)| frame[12..14] == [8, 0] && frame[23] == 17).count(), 3);
    assert_eq!(came.iter().filter(|(_, frame)| *frame == swapped(7, 1)).count(), 1);
}

#[test]
fn a_generator_without_a_pool_is_refused() {
    let mut deployment = Deployment::default();
    let lport = deployment.add_lport("out", "net_null", vec![], None);
    deployment.add_thread("tx", &[lport]);
    let forwarding = forwarding(Mode::TxOnly);
    let drops = Arc::new(ModeDrops::new(forwarding.mode, 1));
    let registry = Registry::with_reference_drivers();
    let started =
        Runtime::start(&deployment, &registry, Settings::default(), |context| make_task(context, &forwarding, &drops));
    let expected = "thread `tx`: lport `out` has no `umem`, but a generator needs one to build packets in";
    assert_eq!(started.unwrap_err().to_string(), expected);
}
