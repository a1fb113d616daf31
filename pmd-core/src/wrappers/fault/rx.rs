//! The receiving half of the fault injector.
//!
//! A burst: what was delayed and is due now, then packets from the device, each with its fate. Duplicates that find no room
//! in the burst wait in `ready`, which the next burst takes first; so it never holds more than one burst's.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::{DELAYED_MAX, Side};
use crate::burst::{BURST_MAX, Burst};
use crate::deployment::LportId;
use crate::device::bytes_of;
use crate::lport::RxQueue;
use crate::mbuf::Mbuf;
use crate::wrappers::rate::Rate;

pub(super) struct FaultRx {
    inner: Box<dyn RxQueue>,
    side: Side,
    rate: Option<Rate>,
    /// Packets with the time at which they arrive, in its order.
    delayed: VecDeque<(Instant, Mbuf)>,
    ready: VecDeque<Mbuf>,
}

impl FaultRx {
    pub(super) fn new(inner: Box<dyn RxQueue>, side: Side) -> Self {
        let rate = side.impairments.rate.map(Rate::of_packets);
        let (delayed, ready) = (VecDeque::with_capacity(DELAYED_MAX), VecDeque::with_capacity(2 * BURST_MAX));
        Self { inner, side, rate, delayed, ready }
    }

    fn holds_nothing(&self) -> bool {
        self.delayed.is_empty() && self.ready.is_empty()
    }

    /// The clock, if anything goes by it.
    fn now(&self) -> Option<Instant> {
        (self.rate.is_some() || self.side.impairments.delay > 0).then(Instant::now)
    }

    /// Delivers what has waited, as far as there is room and it is due.
    fn release(&mut self, burst: &mut Burst, now: Option<Instant>) {
        while burst.room() > 0
            && let Some(packet) = self.ready.pop_front()
        {
            push(burst, packet);
        }
        let is_due = |(due, _): &(Instant, Mbuf)| now.is_some_and(|now| *due <= now);
        while burst.room() > 0
            && self.delayed.front().is_some_and(is_due)
            && let Some((_, packet)) = self.delayed.pop_front()
        {
            push(burst, packet);
        }
    }

    /// Decides what becomes of a packet that the device has received.
    fn receive(&mut self, packet: Mbuf, burst: &mut Burst, now: Option<Instant>) {
        let number = self.side.number;
        self.side.number += 1;
        let fate = self.side.dice.fate(number, &self.side.impairments);
        if fate.is_plain() {
            return self.deliver(packet, burst);
        }
        if fate.drop {
            return self.side.tally.rx.dropped.add(1);
        }
        let packet = if fate.corrupt { self.corrupt(packet, number) } else { packet };
        let duplicate = if fate.duplicate { self.copy(&packet) } else { None };
        match now {
            Some(now) if fate.delay => {
                self.side.tally.rx.delayed.add(1);
                self.delayed.push_back((now + self.side.impairments.delay_by, packet));
            }
            _ => self.deliver(packet, burst),
        }
        if let Some(duplicate) = duplicate {
            self.side.tally.rx.duplicated.add(1);
            self.deliver(duplicate, burst);
        }
    }

    /// A packet goes into the burst, or waits for the next one.
    fn deliver(&mut self, packet: Mbuf, burst: &mut Burst) {
        if burst.room() > 0 {
            push(burst, packet);
        } else {
            self.ready.push_back(packet);
        }
    }

    fn corrupt(&self, packet: Mbuf, number: u64) -> Mbuf {
        let copy = self.side.corrupted(&packet, number);
        self.side.tally.rx.count_damage(copy.is_some());
        copy.unwrap_or(packet)
    }

    fn copy(&self, packet: &Mbuf) -> Option<Mbuf> {
        let copy = self.side.copies.alloc_copy(packet);
        if copy.is_none() {
            self.side.tally.rx.no_copy.add(1);
        }
        copy
    }
}

/// Callers see to it that there is room.
fn push(burst: &mut Burst, packet: Mbuf) {
    let pushed = burst.push(packet);
    debug_assert!(pushed.is_ok(), "the burst is full");
}

impl RxQueue for FaultRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let (first, now) = (burst.len(), self.now());
        if !self.holds_nothing() {
            if !self.side.is_up() {
                return 0;
            }
            self.release(burst, now);
        }
        let mut wanted = burst.room().min(DELAYED_MAX - self.delayed.len());
        if let (Some(rate), Some(now)) = (&mut self.rate, now) {
            wanted = wanted.min(rate.tokens(now));
        }
        if wanted > 0 {
            let mut fresh = Burst::with_limit(wanted);
            let received = self.inner.rx_burst(&mut fresh);
            for packet in fresh.drain_front(received) {
                self.receive(packet, burst, now);
            }
            if let Some(rate) = &mut self.rate {
                rate.take(received);
            }
        }
        let received = burst.len() - first;
        self.side.tally.rx.add(received, bytes_of(&burst[first..]));
        received
    }

    fn renumber(&mut self, lport: LportId) {
        self.inner.renumber(lport);
        let held = self.delayed.iter_mut().map(|(_, packet)| packet).chain(&mut self.ready);
        held.for_each(|packet| packet.set_port(lport.0));
    }

    /// While packets wait here, nobody sleeps: the device would not wake them.
    fn arm(&mut self) -> bool {
        self.inner.arm() && self.holds_nothing()
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wake_fd()
    }
}
