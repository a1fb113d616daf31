//! The sending half of the fault injector.
//!
//! A burst goes to the device in runs of packets to which nothing happens; a packet to which something does is dealt with
//! by itself, in its turn. What the device does not accept stays in the burst with everything behind it, and meets the same
//! fate when it is offered again.

use std::collections::VecDeque;
use std::time::Instant;

use super::dice::Fate;
use super::{DELAYED_MAX, Side};
use crate::burst::Burst;
use crate::lport::TxQueue;
use crate::mbuf::Mbuf;
use crate::wrapper::{Taken, send_front};
use crate::wrappers::rate::Rate;

pub(super) struct FaultTx {
    inner: Box<dyn TxQueue>,
    side: Side,
    rate: Option<Rate>,
    /// Packets with the time at which they go on, in its order.
    delayed: VecDeque<(Instant, Mbuf)>,
    /// Empty between two calls.
    scratch: Burst,
}

impl FaultTx {
    pub(super) fn new(inner: Box<dyn TxQueue>, side: Side) -> Self {
        let rate = side.impairments.rate.map(Rate::of_packets);
        Self { inner, side, rate, delayed: VecDeque::with_capacity(DELAYED_MAX), scratch: Burst::new() }
    }

    /// Sends what was delayed and is due, as far as the device accepts it.
    fn release(&mut self) {
        if self.delayed.is_empty() {
            return;
        }
        let now = Instant::now();
        while self.delayed.front().is_some_and(|(due, _)| *due <= now)
            && let Some((due, packet)) = self.delayed.pop_front()
        {
            match self.send_one(packet) {
                // It was counted when it was delayed.
                Ok((sent, bytes)) => self.side.tally.tx.fewer(sent, sent * bytes),
                Err(packet) => return self.delayed.push_front((due, packet)),
            }
        }
    }

    /// Sends one packet: how many were sent (none, if the driver dropped it) and its bytes, or the packet.
    fn send_one(&mut self, packet: Mbuf) -> Result<(usize, usize), Mbuf> {
        let bytes = packet.packet_len();
        let pushed = self.scratch.push(packet);
        debug_assert!(pushed.is_ok(), "it was empty");
        let sent = self.inner.tx_burst(&mut self.scratch);
        match self.scratch.pop() {
            Some(packet) => Err(packet),
            None => Ok((sent, bytes)),
        }
    }

    /// How many of the first `n` packets are plain, up to the first that is not.
    fn plain_run(&self, n: usize) -> usize {
        let impairments = &self.side.impairments;
        (0..n as u64)
            .take_while(|i| self.side.dice.fate(self.side.number.wrapping_add(*i), impairments).is_plain())
            .count()
    }

    /// Deals with the first packet of `burst`, to which something happens.
    fn send_special(&mut self, burst: &mut Burst) -> Taken {
        let fate = self.side.dice.fate(self.side.number, &self.side.impairments);
        if !self.side.is_up() {
            return Taken::default();
        }
        if fate.drop {
            self.side.tally.tx.dropped.add(1);
            self.side.tally.tx.more(burst[0].packet_len());
            burst.free_front(1);
            return Taken { sent: 1, gone: 1 };
        }
        let duplicate = if fate.duplicate { self.copy(burst, fate) } else { None };
        let taken = if fate.delay {
            self.hold(burst, fate)
        } else if fate.corrupt {
            self.send_corrupted(burst)
        } else {
            send_front(&mut *self.inner, burst, 1, &mut self.scratch)
        };
        if let (1, Some(duplicate)) = (taken.sent, duplicate) {
            self.send_duplicate(duplicate);
        }
        taken
    }

    /// Lets the first packet wait, damaged if it is to be.
    fn hold(&mut self, burst: &mut Burst, fate: Fate) -> Taken {
        if self.delayed.len() == DELAYED_MAX {
            return Taken::default();
        }
        let bytes = burst[0].packet_len();
        let corrupted = if fate.corrupt { self.corrupted(&burst[0]) } else { None };
        let packet = burst.drain_front(1).next();
        let due = Instant::now() + self.side.impairments.delay_by;
        self.delayed.extend(corrupted.or(packet).map(|packet| (due, packet)));
        self.side.tally.tx.delayed.add(1);
        self.side.tally.tx.more(bytes);
        Taken { sent: 1, gone: 1 }
    }

    fn send_corrupted(&mut self, burst: &mut Burst) -> Taken {
        let Some(copy) = self.side.corrupted(&burst[0], self.side.number) else {
            self.side.tally.tx.no_copy.add(1);
            return send_front(&mut *self.inner, burst, 1, &mut self.scratch);
        };
        match self.send_one(copy) {
            Ok((sent, _)) => {
                self.side.tally.tx.corrupted.add(1);
                burst.free_front(1);
                Taken { sent, gone: 1 }
            }
            Err(_) => Taken::default(),
        }
    }

    fn corrupted(&self, packet: &Mbuf) -> Option<Mbuf> {
        let copy = self.side.corrupted(packet, self.side.number);
        self.side.tally.tx.count_damage(copy.is_some());
        copy
    }

    /// A second one of the first packet, damaged in the same place if it is to be.
    fn copy(&self, burst: &Burst, fate: Fate) -> Option<Mbuf> {
        let copy = if fate.corrupt {
            self.side.corrupted(&burst[0], self.side.number)
        } else {
            self.side.copies.alloc_copy(&burst[0])
        };
        if copy.is_none() {
            self.side.tally.tx.no_copy.add(1);
        }
        copy
    }

    /// A duplicate that the device has no room for is none.
    fn send_duplicate(&mut self, duplicate: Mbuf) {
        if let Ok((1, bytes)) = self.send_one(duplicate) {
            self.side.tally.tx.duplicated.add(1);
            self.side.tally.tx.fewer(1, bytes);
        }
    }
}

impl TxQueue for FaultTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        self.release();
        let mut left = burst.len();
        if let Some(rate) = &mut self.rate {
            left = left.min(rate.tokens(Instant::now()));
        }
        let mut total = Taken::default();
        while left > 0 {
            let plain = self.plain_run(left);
            let (offered, taken) = match plain {
                0 => (1, self.send_special(burst)),
                _ => (plain, send_front(&mut *self.inner, burst, plain, &mut self.scratch)),
            };
            self.side.number += taken.gone as u64;
            total.sent += taken.sent;
            total.gone += taken.gone;
            left -= taken.gone;
            if taken.gone < offered {
                break;
            }
        }
        if let Some(rate) = &mut self.rate {
            rate.take(total.gone);
        }
        total.sent
    }

    /// One of them that is delayed would hold up all the others.
    fn alloc_burst(&mut self, burst: &mut Burst, n: usize) -> Option<usize> {
        if self.side.impairments.delay > 0 { None } else { self.inner.alloc_burst(burst, n) }
    }

    fn flush(&mut self) {
        self.release();
        self.inner.flush();
    }

    fn holds(&self) -> bool {
        !self.delayed.is_empty() || self.inner.holds()
    }
}
