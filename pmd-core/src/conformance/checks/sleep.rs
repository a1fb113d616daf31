//! Sleep: an armed queue wakes its owner for every packet, and says when it is not safe to sleep.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::not_applicable;
use crate::burst::Burst;
use crate::conformance::fixture::{Capabilities, Fixture};
use crate::conformance::halves::Halves;
use crate::conformance::promise;
use crate::conformance::testbed::{End, Testbed, Way};
use crate::lport::{RxQueue, TxQueue};
use crate::pool::Pool;

/// Packets in the check for lost wake-ups: each is sent at another moment of the receiver's falling asleep.
const ROUNDS: usize = 400;

/// How long the owner of a queue without interrupts sleeps.
const NAP: Duration = Duration::from_micros(200);

/// A packet that comes when the queue is armed makes its fd readable.
pub(in crate::conformance) fn a_packet_wakes_an_armed_queue(fixture: &dyn Fixture) {
    for_each_way(fixture, |sleeper| {
        for _ in 0..10 {
            sleeper.fall_asleep();
            sleeper.send_one();
            sleeper.wake_up();
            sleeper.receive_one();
        }
    });
}

/// A queue that holds packets says so when it is armed, or its fd is readable at once.
pub(in crate::conformance) fn arming_tells_of_packets_that_wait(fixture: &dyn Fixture) {
    for_each_way(fixture, |sleeper| {
        for _ in 0..10 {
            sleeper.send_one();
            let (end, mut unsafe_to_sleep) = (Instant::now() + sleeper.caps.patience, false);
            // A device may need a moment to bring the packet; once it is there, no sleep may be safe.
            while !unsafe_to_sleep {
                let armed = sleeper.halves.rx.arm();
                unsafe_to_sleep = !armed || sleeper.is_readable(Duration::from_millis(10));
                sleeper.halves.rx.disarm();
                promise::RX_ARM.require(unsafe_to_sleep || Instant::now() < end, || {
                    "a packet waits, but `arm` says that sleeping is safe, and the fd is not readable".into()
                });
            }
            sleeper.receive_one();
        }
    });
}

/// Whatever the moment at which a packet is sent, its receiver does not oversleep.
pub(in crate::conformance) fn no_wake_up_is_lost(fixture: &dyn Fixture) {
    for_each_way(fixture, |sleeper| {
        let received = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let Sleeper { caps, halves: Halves { tx, rx, .. }, pool, next } = sleeper;
        let first = *next;
        *next += ROUNDS as u32;
        thread::scope(|scope| {
            let sender = scope.spawn(|| send_in_turn(&mut **tx, pool, caps, first, &received, &failed));
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                receive_asleep(&mut **rx, caps, &received);
            }));
            failed.store(outcome.is_err(), Ordering::Relaxed);
            let sent = sender.join();
            for outcome in [outcome, sent] {
                outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
    });
}

/// Sends the next packet whenever the one before has been received, a little later each time.
fn send_in_turn(
    tx: &mut dyn TxQueue,
    pool: &Pool,
    caps: &Capabilities,
    first: u32,
    received: &AtomicUsize,
    failed: &AtomicBool,
) {
    let len = caps.min_packet.max(64);
    for round in 0..ROUNDS {
        while received.load(Ordering::Acquire) < round {
            if failed.load(Ordering::Relaxed) {
                return;
            }
            thread::yield_now();
        }
        for _ in 0..(round * 37) % 3000 {
            std::hint::spin_loop();
        }
        let mut burst = Burst::new();
        let packet = caps.frame.packet(first + round as u32, len);
        burst.push(pool.alloc_packet(&packet).expect("the pool holds one packet")).expect("the burst is empty");
        while !burst.is_empty() && !failed.load(Ordering::Relaxed) {
            tx.tx_burst(&mut burst);
        }
        // Once: after it the packet is on its way.
        tx.flush();
    }
}

/// Receives every packet, asleep in between.
fn receive_asleep(rx: &mut dyn RxQueue, caps: &Capabilities, received: &AtomicUsize) {
    let (mut burst, mut count) = (Burst::with_limit(32), 0);
    let mut deadline = Instant::now() + caps.patience;
    while count < ROUNDS {
        rx.rx_burst(&mut burst);
        let ours = burst.iter().filter(|mbuf| !caps.noise || caps.frame.number(mbuf.data()).is_some()).count();
        let came = !burst.is_empty();
        burst.clear();
        if ours > 0 {
            count += ours;
            received.store(count, Ordering::Release);
            deadline = Instant::now() + caps.patience;
        }
        promise::RX_WAKE.require(Instant::now() < deadline, || {
            format!("packet {count} of {ROUNDS} has not come within {:?}", caps.patience)
        });
        if came {
            continue;
        }
        if rx.arm() {
            match rx.wake_fd() {
                Some(fd) => {
                    let woken = is_readable(fd, caps.patience);
                    promise::RX_WAKE.require(woken, || {
                        format!("armed and asleep for {:?}, while packet {count} of {ROUNDS} was sent", caps.patience)
                    });
                }
                None => thread::sleep(NAP),
            }
        }
        rx.disarm();
    }
}

/// Both halves of a way, with a receiver that sleeps.
struct Sleeper {
    caps: Capabilities,
    halves: Halves,
    pool: Pool,
    next: u32,
}

/// Does `check` on each way whose receiver has interrupts, or is under test.
fn for_each_way(fixture: &dyn Fixture, check: impl Fn(&mut Sleeper)) {
    let mut bed = Testbed::open(fixture, 1);
    let ways: Vec<_> = bed.tied_ways().into_iter().filter(|way| way.to == Some(End::Near)).collect();
    if ways.is_empty() {
        not_applicable("nothing is sent that the device could wait for");
    }
    for way in ways {
        let packets = bed.packets(&[bed.caps.min_packet.max(64); 8]);
        bed.carry(way, 0, 8, &packets);
        check_way(&mut bed, way, &check);
    }
    bed.close();
}

fn check_way(bed: &mut Testbed, way: Way, check: impl Fn(&mut Sleeper)) {
    let (Some(from), Some(halves)) = (way.from, bed.halves(way, 0)) else { return };
    let mut sleeper = Sleeper { caps: bed.caps.clone(), halves, pool: bed.side_pool(from), next: 1 << 16 };
    sleeper.check_fd();
    check(&mut sleeper);
    bed.put_back(way, 0, sleeper.halves.tx, sleeper.halves.rx);
}

impl Sleeper {
    /// Whether there is an fd is as the fixture says.
    fn check_fd(&mut self) {
        let armed = self.halves.rx.arm();
        let has_fd = self.halves.rx.wake_fd().is_some();
        self.halves.rx.disarm();
        promise::RX_NO_FD.require(has_fd == self.caps.interrupts || !armed, || {
            let says = self.caps.interrupts;
            format!("`wake_fd` is there: {has_fd}; the fixture's `interrupts` says {says}")
        });
    }

    /// Polls until nothing comes and the queue is armed.
    fn fall_asleep(&mut self) {
        let end = Instant::now() + self.caps.patience;
        let mut burst = Burst::new();
        loop {
            while self.halves.rx.rx_burst(&mut burst) > 0 {
                burst.clear();
            }
            if self.halves.rx.arm() {
                return;
            }
            self.halves.rx.disarm();
            promise::RX_ARM.require(Instant::now() < end, || "an idle queue never says that sleeping is safe".into());
        }
    }

    fn send_one(&mut self) {
        let packet = self.caps.frame.packet(self.next, self.caps.min_packet.max(64));
        self.next += 1;
        let mut burst = Burst::new();
        burst.push(self.pool.alloc_packet(&packet).expect("the pool holds one packet")).expect("the burst is empty");
        let end = Instant::now() + self.caps.patience;
        while !burst.is_empty() {
            self.halves.tx.tx_burst(&mut burst);
            promise::TX_COUNT.require(Instant::now() < end, || "an idle device does not take one packet".into());
        }
        // Once: after it the packet is on its way.
        self.halves.tx.flush();
    }

    /// Sleeps until the fd says that something has come, and disarms.
    fn wake_up(&mut self) {
        let patience = self.caps.patience;
        if self.halves.rx.wake_fd().is_some() {
            let woken = self.is_readable(patience);
            promise::RX_WAKE.require(woken, || format!("armed, then a packet was sent; asleep for {patience:?}"));
        }
        self.halves.rx.disarm();
    }

    fn is_readable(&self, within: Duration) -> bool {
        self.halves.rx.wake_fd().is_some_and(|fd| is_readable(fd, within))
    }

    fn receive_one(&mut self) {
        let end = Instant::now() + self.caps.patience;
        let mut burst = Burst::new();
        loop {
            self.halves.rx.rx_burst(&mut burst);
            if burst.iter().any(|mbuf| self.caps.frame.number(mbuf.data()) == Some(self.next - 1)) {
                return;
            }
            burst.clear();
            promise::TX_FLUSH.require(Instant::now() < end, || "one packet, flushed once, has not arrived".into());
        }
    }
}

/// Whether `fd` becomes readable in time.
fn is_readable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            outcome => return outcome.is_ok_and(|ready| ready > 0),
        }
    }
}
