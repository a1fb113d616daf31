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
use crate::device::bytes_of;
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
    /// Longest packet of the device, when it was wrapped.
    max_packet: usize,
}

impl FaultTx {
    pub(super) fn new(inner: Box<dyn TxQueue>, side: Side) -> Self {
        let rate = side.impairments.rate.map(Rate::of_packets);
        let (delayed, scratch) = (VecDeque::with_capacity(DELAYED_MAX), Burst::new());
        let max_packet = side.device.info().max_packet as usize;
        Self { inner, side, rate, delayed, scratch, max_packet }
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
            if let Err(packet) = self.send_one(packet) {
                return self.delayed.push_front((due, packet));
            }
        }
    }

    /// Sends one packet: how many were sent (none, if the driver dropped it), or the packet.
    fn send_one(&mut self, packet: Mbuf) -> Result<usize, Mbuf> {
        let pushed = self.scratch.push(packet);
        debug_assert!(pushed.is_ok(), "it was empty");
        let sent = self.inner.tx_burst(&mut self.scratch);
        match self.scratch.pop() {
            Some(packet) => Err(packet),
            None => Ok(sent),
        }
    }

    /// How many of these packets are plain, up to the first that is not.
    fn plain_run(&self, packets: &[Mbuf]) -> usize {
        let Side { dice, impairments, .. } = &self.side;
        let numbers = self.side.number..;
        packets.iter().zip(numbers).take_while(|(_, number)| dice.fate(*number, impairments).is_plain()).count()
    }

    /// Sends the first of these packets, those that have the same fate and of which all or none may be dropped by the driver
    /// as unfit: so their bytes are counted rightly. Says how many were offered, what became of them, and their bytes.
    fn send_run(&mut self, burst: &mut Burst, left: usize) -> (usize, Taken, usize) {
        let plain = self.plain_run(&burst[..left]);
        let fit = burst[..plain].iter().take_while(|packet| self.is_fit(packet)).count();
        let offered = fit.max(1);
        let before = bytes_of(&burst[..offered]);
        let taken = match plain {
            0 => self.send_special(burst),
            _ => send_front(&mut *self.inner, burst, offered, &mut self.scratch),
        };
        let bytes = before - bytes_of(&burst[..offered - taken.gone]);
        (offered, taken, if taken.sent > 0 { bytes } else { 0 })
    }

    /// Whether every driver accepts such a packet: it has data, in one segment, and is not too long.
    fn is_fit(&self, packet: &Mbuf) -> bool {
        packet.segment_count() == 1 && (1..=self.max_packet).contains(&packet.packet_len())
    }

    /// Deals with the first packet of `burst`, to which something happens.
    fn send_special(&mut self, burst: &mut Burst) -> Taken {
        let fate = self.side.dice.fate(self.side.number, &self.side.impairments);
        if !self.side.is_up() {
            return Taken::default();
        }
        if fate.drop {
            self.side.tally.tx.dropped.add(1);
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
        let corrupted = if fate.corrupt { self.corrupted(&burst[0]) } else { None };
        let packet = burst.drain_front(1).next();
        let due = Instant::now() + self.side.impairments.delay_by;
        self.delayed.extend(corrupted.or(packet).map(|packet| (due, packet)));
        self.side.tally.tx.delayed.add(1);
        Taken { sent: 1, gone: 1 }
    }

    fn send_corrupted(&mut self, burst: &mut Burst) -> Taken {
        let Some(copy) = self.side.corrupted(&burst[0], self.side.number) else {
            self.side.tally.tx.no_copy.add(1);
            return send_front(&mut *self.inner, burst, 1, &mut self.scratch);
        };
        match self.send_one(copy) {
            Ok(sent) => {
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
        if self.send_one(duplicate).is_ok_and(|sent| sent == 1) {
            self.side.tally.tx.duplicated.add(1);
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
        let mut bytes = 0;
        while left > 0 {
            let (offered, taken, sent_bytes) = self.send_run(burst, left);
            self.side.number += taken.gone as u64;
            total.sent += taken.sent;
            total.gone += taken.gone;
            bytes += sent_bytes;
            left -= taken.gone;
            if taken.gone < offered {
                break;
            }
        }
        if let Some(rate) = &mut self.rate {
            rate.take(total.gone);
        }
        self.side.tally.tx.add(total.sent, bytes);
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
