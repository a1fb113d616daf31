//! What the queues and control handles of one device share, ready to use: for authors of drivers.
//!
//! ```text
//!   RxQueue --is_up, rx.add--\                     /-- one per queue: QueueCounters
//!                             DeviceState, counters
//!   TxQueue --is_up, tx.add--/                     \-- DeviceControl: the queue's LportControl
//! ```
//!
//! 1. [`crate::Driver::open`] makes one [`DeviceState`] for the device, one [`QueueCounters`] for each queue, and gives
//!    clones of both to the two halves of the queue and to its [`DeviceControl`].
//! 2. A burst begins with [`DeviceState::is_up`], one load, and ends with one [`RxCounters::add`] or [`TxCounters::add`].
//! 3. Whoever watches the device says what has become of its link ([`DeviceState::set_link`]); applications set it down
//!    and up through the control handle.
//!
//! A driver that knows more (counters of its own, a peer, a kernel that keeps the link's state) implements
//! [`LportControl`] itself and begins with what [`DeviceControl`] answers.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;

use crate::lport::{Link, LportControl, LportInfo};
use crate::mbuf::Mbuf;
use crate::stats::{Counter, LportStats};

/// Bit of [`DeviceState::down`]: an application has set the device down.
const ADMIN_DOWN: u8 = 1;

/// Bit of [`DeviceState::down`]: the device has no link.
const LINK_DOWN: u8 = 2;

/// Admin and link state of a device, one for all its queues.
#[derive(Debug, Default)]
pub struct DeviceState {
    /// Why packets do not flow, a bit each; 0 when they do.
    down: AtomicU8,
    /// Why there is no link. Valid with [`LINK_DOWN`].
    reason: Mutex<String>,
}

impl DeviceState {
    /// A device whose link is up from the beginning.
    pub fn up() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A device that has no link yet, for this reason: [`Self::set_link`] ends that.
    pub fn down(reason: &str) -> Arc<Self> {
        let state = Self::up();
        state.set_link(Link::Down(reason.to_owned()));
        state
    }

    /// Whether packets flow: what a burst asks first. One load.
    #[inline(always)]
    pub fn is_up(&self) -> bool {
        self.down.load(Ordering::Relaxed) == 0
    }

    /// Whether no application has set the device down.
    pub fn is_admin_up(&self) -> bool {
        self.down.load(Ordering::Relaxed) & ADMIN_DOWN == 0
    }

    /// Sets the device administratively up or down ([`LportControl::set_admin_up`]).
    pub fn set_admin_up(&self, up: bool) {
        self.set(ADMIN_DOWN, !up);
    }

    /// Says what has become of the link. The admin state is another thing and stays as it is.
    pub fn set_link(&self, link: Link) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let is_down = match link {
            Link::Up => false,
            Link::Down(why) => {
                *reason = why;
                true
            }
        };
        self.set(LINK_DOWN, is_down);
    }

    /// Both in one ([`LportControl::link`]).
    pub fn link(&self) -> Link {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        match self.down.load(Ordering::Relaxed) {
            0 => Link::Up,
            down if down & ADMIN_DOWN != 0 => Link::Down("administratively down".into()),
            _ => Link::Down(reason.clone()),
        }
    }

    fn set(&self, bit: u8, on: bool) {
        if on {
            self.down.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.down.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

/// Counters of one queue pair. Each half has a cache line, since each half may be on a thread of its own.
#[derive(Debug, Default)]
pub struct QueueCounters {
    /// Written by the receiving half alone.
    pub rx: CachePadded<RxCounters>,
    /// Written by the sending half alone.
    pub tx: CachePadded<TxCounters>,
}

/// What a receiving half counts; the words are those of [`LportStats`].
#[derive(Debug, Default)]
pub struct RxCounters {
    /// `ipackets`.
    pub packets: Counter,
    /// `ibytes`.
    pub bytes: Counter,
    /// `imissed`.
    pub missed: Counter,
    /// `ierrors`.
    pub errors: Counter,
    /// `rx_nombuf`.
    pub nombuf: Counter,
}

/// What a sending half counts; the words are those of [`LportStats`].
#[derive(Debug, Default)]
pub struct TxCounters {
    /// `opackets`.
    pub packets: Counter,
    /// `obytes`.
    pub bytes: Counter,
    /// `oerrors`.
    pub errors: Counter,
}

impl QueueCounters {
    /// The counters, now; a driver puts its own into [`LportStats::xstats`].
    pub fn stats(&self) -> LportStats {
        LportStats {
            ipackets: self.rx.packets.get(),
            ibytes: self.rx.bytes.get(),
            imissed: self.rx.missed.get(),
            ierrors: self.rx.errors.get(),
            rx_nombuf: self.rx.nombuf.get(),
            opackets: self.tx.packets.get(),
            obytes: self.tx.bytes.get(),
            oerrors: self.tx.errors.get(),
            xstats: Vec::new(),
        }
    }
}

impl RxCounters {
    /// A burst of so many packets and bytes was received.
    #[inline(always)]
    pub fn add(&self, packets: usize, bytes: usize) {
        self.packets.add(packets as u64);
        self.bytes.add(bytes as u64);
    }
}

impl TxCounters {
    /// A burst of so many packets and bytes was accepted by the device.
    #[inline(always)]
    pub fn add(&self, packets: usize, bytes: usize) {
        self.packets.add(packets as u64);
        self.bytes.add(bytes as u64);
    }
}

/// Bytes of all these packets, all their segments.
#[inline]
pub fn bytes_of(packets: &[Mbuf]) -> usize {
    packets.iter().map(Mbuf::packet_len).sum()
}

/// The control handle of a queue whose device has nothing to add to its state and counters.
#[derive(Debug)]
pub struct DeviceControl {
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
    info: LportInfo,
}

impl DeviceControl {
    /// The handle of the queue that counts with `counters`.
    pub fn new(state: Arc<DeviceState>, counters: Arc<QueueCounters>, info: LportInfo) -> Self {
        Self { state, counters, info }
    }
}

impl LportControl for DeviceControl {
    fn link(&self) -> Link {
        self.state.link()
    }

    fn info(&self) -> LportInfo {
        self.info.clone()
    }

    fn stats(&self) -> LportStats {
        self.counters.stats()
    }

    fn set_admin_up(&self, up: bool) {
        self.state.set_admin_up(up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_flow_when_neither_the_link_nor_an_application_is_in_the_way() {
        let state = DeviceState::down("no peer yet");
        assert_eq!((state.is_up(), state.link()), (false, Link::Down("no peer yet".into())));
        state.set_admin_up(false);
        assert_eq!(state.link(), Link::Down("administratively down".into()));
        state.set_link(Link::Up);
        assert!(!state.is_up() && !state.is_admin_up(), "a link does not end what an application wants");
        state.set_link(Link::Down("cable pulled".into()));
        state.set_admin_up(true);
        assert_eq!((state.is_up(), state.link()), (false, Link::Down("cable pulled".into())));
        state.set_link(Link::Up);
        assert_eq!((state.is_up(), state.link()), (true, Link::Up));
    }

    #[test]
    fn every_counter_appears_under_its_own_name() {
        let counters = QueueCounters::default();
        counters.rx.add(1, 2);
        counters.rx.missed.add(3);
        counters.rx.errors.add(4);
        counters.rx.nombuf.add(5);
        counters.tx.add(6, 7);
        counters.tx.errors.add(8);
        let expected = LportStats {
            ipackets: 1,
            ibytes: 2,
            imissed: 3,
            ierrors: 4,
            rx_nombuf: 5,
            opackets: 6,
            obytes: 7,
            oerrors: 8,
            xstats: Vec::new(),
        };
        assert_eq!(counters.stats(), expected);
    }
}
