//! Threads: queues that move, halves on two threads at once, several queues on as many threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::bursts::send_unreceived;
use super::link::wait_until_dead;
use super::not_applicable;
use crate::burst::Burst;
use crate::conformance::checked::{bytes, require_monotonic};
use crate::conformance::fixture::{Capabilities, Fixture};
use crate::conformance::frame::Frame;
use crate::conformance::halves::Halves;
use crate::conformance::promise;
use crate::conformance::testbed::{Testbed, Way};
use crate::lport::{RxQueue, TxQueue};
use crate::pool::Pool;

/// Queues may be used on one thread and then on another; packets keep their order.
pub(in crate::conformance) fn queues_move_between_threads(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    bed.about = promise::MOVES;
    for _ in 0..4 {
        bed = on_a_thread(move || {
            for way in bed.ways() {
                let packets = bed.packets(&[bed.caps.min_packet.max(64); 100]);
                bed.carry(way, 0, 32, &packets);
            }
            bed
        });
    }
    bed.close();
}

fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// One thread sends, another receives, a third watches the counters, all at once.
pub(in crate::conformance) fn both_halves_run_on_two_threads(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let packets = bed.packets(&[bed.caps.min_packet.max(64); 8]);
        bed.carry(way, 0, 8, &packets);
        let Some(halves) = bed.halves(way, 0) else {
            not_applicable("the device has one direction only");
            continue;
        };
        let from = way.from.expect("a way with both halves");
        let stream = Stream::new(bed.caps.clone(), way, bed.side_pool(from), 4000);
        let (tx, rx) = run_on_two_threads(halves, &stream);
        bed.put_back(way, 0, tx, rx);
    }
    bed.close();
}

/// Each of several queues carries packets of its own, counts them by itself, and works on a thread of its own.
pub(in crate::conformance) fn several_queues_work_side_by_side(fixture: &dyn Fixture) {
    let queues = fixture.capabilities().queues;
    if queues < 2 {
        return not_applicable("the device has one queue");
    }
    let mut bed = Testbed::open(fixture, queues);
    for way in bed.ways() {
        for queue in 0..usize::from(queues) {
            let before: Vec<_> = bed.near.lports.iter().map(|lport| lport.control.stats()).collect();
            let packets = bed.packets(&[bed.caps.min_packet.max(64); 20]);
            bed.carry(way, queue, 8, &packets);
            for (other, (lport, before)) in bed.near.lports.iter().zip(before).enumerate() {
                let after = lport.control.stats();
                promise::STATS_TX.require(other == queue || after.opackets == before.opackets, || {
                    format!("queue {queue} sent, but queue {other} counts it")
                });
            }
        }
        if bed.caps.spreads || !way.tied {
            continue;
        }
        let from = way.from.expect("a tied way has both ends");
        let mut working = Vec::new();
        for queue in 0..usize::from(queues) {
            let Some(halves) = bed.halves(way, queue) else { continue };
            let stream = Stream::new(bed.caps.clone(), way, bed.side_pool(from), 1000);
            working.push((queue, thread::spawn(move || run_on_two_threads(halves, &stream))));
        }
        for (queue, thread) in working {
            let (tx, rx) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            bed.put_back(way, queue, tx, rx);
        }
    }
    bed.close();
}

/// The device may be set down and up at any moment, while both halves are at work: no mbuf is lost, and packets flow
/// afterwards.
pub(in crate::conformance) fn admin_changes_under_load_lose_no_mbuf(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        // Once for certain with packets on their way, then at whatever moment.
        send_unreceived(&mut bed, way, 8);
        bed.near.lports[0].control.set_admin_up(false);
        wait_until_dead(&mut bed, &promise::ADMIN);
        bed.near.lports[0].control.set_admin_up(true);
        bed.wait_for_links();
        let (Some(from), Some(mut halves)) = (way.from, bed.halves(way, 0)) else { continue };
        let (pool, frame, stop) = (bed.side_pool(from), bed.caps.frame, AtomicBool::new(false));
        let control = Arc::clone(&bed.near.lports[0].control);
        thread::scope(|scope| {
            scope.spawn(|| keep_sending(&mut *halves.tx, &pool, frame, &stop));
            scope.spawn(|| keep_receiving(&mut *halves.rx, &stop));
            for round in 0..40_u64 {
                control.set_admin_up(round % 2 == 1);
                thread::sleep(Duration::from_micros(100 + round * 77 % 1000));
            }
            stop.store(true, Ordering::Relaxed);
        });
        bed.put_back(way, 0, halves.tx, halves.rx);
        bed.wait_for_links();
        bed.settle(way);
        bed.about = promise::ADMIN_UP;
        let packets = bed.packets(&[bed.caps.min_packet.max(64); 40]);
        bed.carry(way, 0, 8, &packets);
    }
    bed.close();
}

fn keep_sending(tx: &mut dyn TxQueue, pool: &Pool, frame: Frame, stop: &AtomicBool) {
    let packet = frame.packet(u32::MAX, 64);
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        while burst.len() < 8
            && let Some(mbuf) = pool.alloc_packet(&packet)
        {
            burst.push(mbuf).expect("there is room");
        }
        tx.tx_burst(&mut burst);
        tx.flush();
        thread::yield_now();
    }
}

fn keep_receiving(rx: &mut dyn RxQueue, stop: &AtomicBool) {
    let mut burst = Burst::with_limit(32);
    while !stop.load(Ordering::Relaxed) {
        rx.rx_burst(&mut burst);
        burst.clear();
        thread::yield_now();
    }
}

/// A stream of packets from one thread to another.
#[derive(Clone)]
struct Stream {
    caps: Capabilities,
    tied: bool,
    pool: Pool,
    count: usize,
    received: Arc<AtomicUsize>,
    end: Instant,
}

impl Stream {
    fn new(caps: Capabilities, way: Way, pool: Pool, count: usize) -> Self {
        let end = Instant::now() + caps.patience;
        Self { caps, tied: way.tied, pool, count, received: Arc::default(), end }
    }

    fn packet(&self, number: usize) -> Vec<u8> {
        self.caps.frame.packet(number as u32, self.caps.min_packet.max(64))
    }

    fn check_time(&self, what: &str, so_far: usize) {
        promise::SPLIT.require(Instant::now() < self.end, || {
            let (of, patience) = (self.count, self.caps.patience);
            format!("{so_far} of {of} packets {what} within {patience:?}")
        });
    }

    fn send(&self, tx: &mut dyn TxQueue) {
        let (mut made, mut burst) = (0, Burst::new());
        while made < self.count || !burst.is_empty() {
            while made < self.count
                && burst.len() < 32
                && (!self.tied || made - self.received.load(Ordering::Acquire) < self.caps.window)
                && let Some(mbuf) = self.pool.alloc_packet(&self.packet(made))
            {
                burst.push(mbuf).expect("there is room");
                made += 1;
            }
            if tx.tx_burst(&mut burst) == 0 {
                thread::yield_now();
            }
            tx.flush();
            self.check_time("were sent", made - burst.len());
        }
    }

    fn receive(&self, rx: &mut dyn RxQueue) {
        let (mut burst, mut received) = (Burst::with_limit(32), 0);
        while received < self.count {
            if rx.rx_burst(&mut burst) == 0 {
                thread::yield_now();
            }
            for mbuf in burst.iter() {
                let data = bytes(mbuf);
                if self.tied && self.caps.noise && self.caps.frame.number(&data).is_none() {
                    continue;
                }
                let mut wanted = self.packet(received);
                wanted.resize(wanted.len().max(self.caps.pads_to), 0);
                promise::SPLIT.require(!self.tied || data == wanted, || {
                    let number = self.caps.frame.number(&data);
                    format!("packet {received} arrived as number {number:?}, {} bytes, or changed", data.len())
                });
                received += 1;
            }
            burst.clear();
            self.received.store(received, Ordering::Release);
            self.check_time("arrived", received);
        }
    }
}

/// Sends the stream on one thread and receives it on another, watching the counters on this one.
fn run_on_two_threads(halves: Halves, stream: &Stream) -> (Box<dyn TxQueue>, Box<dyn RxQueue>) {
    let Halves { mut tx, tx_control, mut rx, rx_control } = halves;
    let (ours, theirs) = (stream.clone(), stream.clone());
    let sender = thread::spawn(move || {
        ours.send(&mut *tx);
        tx
    });
    let receiver = thread::spawn(move || {
        theirs.receive(&mut *rx);
        rx
    });
    let mut seen = [tx_control.stats(), rx_control.stats()];
    while !sender.is_finished() || !receiver.is_finished() {
        let now = [tx_control.stats(), rx_control.stats()];
        seen.iter().zip(&now).for_each(|(before, after)| require_monotonic(before, after));
        seen = now;
        thread::sleep(Duration::from_micros(200));
    }
    let receiver = receiver.join();
    let sender = sender.join();
    match (sender, receiver) {
        (Ok(tx), Ok(rx)) => (tx, rx),
        (Err(panic), _) | (_, Err(panic)) => std::panic::resume_unwind(panic),
    }
}
