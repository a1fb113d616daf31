//! The queues of an lport: pmd-core's traits over the ends of whatever socket there is.
//!
//! Each burst begins with two loads, of the device's epoch and state. When the epoch has changed, the half lets go of its
//! end and takes the new one, if there is one.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use pmd_core::{Burst, LportId, RxQueue, TxQueue};

use crate::counters::Counters;
use crate::device::InUse;
use crate::rx::{RxEnd, RxTally};
use crate::tx::{TxEnd, TxTally};

/// The receiving half.
pub(crate) struct XdpRx {
    /// Before the device: an end that goes closes its socket.
    end: Option<RxEnd>,
    open: Arc<InUse>,
    position: usize,
    port: u16,
    epoch: u32,
    /// Readable when packets wait in the socket, or when the link has changed.
    epoll: Epoll,
    link_changed: Arc<EventFd>,
}

impl XdpRx {
    /// The receiving half of the queue at `position`.
    ///
    /// # Errors
    /// When the system has no more file descriptors.
    pub(crate) fn new(open: Arc<InUse>, position: usize, port: u16) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let link_changed = open.device.wake(position);
        epoll.add(&link_changed, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let mut half = Self { end: None, open, position, port, epoch: 0, epoll, link_changed };
        half.adopt();
        Ok(half)
    }

    #[inline(always)]
    fn has_changed(&self) -> bool {
        self.open.device.epoch() != self.epoch
    }

    #[cold]
    fn adopt(&mut self) {
        // Closing the socket takes it out of the epoll.
        self.end = None;
        (self.epoch, self.end) = self.open.device.take_rx(self.position);
        if let Some(end) = &self.end {
            // Without it the owner's bounded sleep still finds the packets, later.
            let _ = self.epoll.add(end.socket().xsk(), EpollEvent::new(EpollFlags::EPOLLIN, 1));
        }
    }
}

impl RxQueue for XdpRx {
    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.has_changed() {
            self.adopt();
        }
        let device = &self.open.device;
        let Some(end) = self.end.as_mut().filter(|_| device.state.is_up()) else { return 0 };
        let mut tally = RxTally::default();
        end.receive(self.port, burst, &mut tally);
        device.counters[self.position].add_rx(&tally);
        tally.packets
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn arm(&mut self) -> bool {
        if self.has_changed() {
            return false;
        }
        let device = &self.open.device;
        let Some(end) = self.end.as_mut().filter(|_| device.state.is_up()) else { return true };
        let mut tally = RxTally::default();
        let is_idle = end.is_idle(&mut tally);
        device.counters[self.position].add_rx(&tally);
        is_idle
    }

    fn disarm(&mut self) {
        // Empty is the usual case.
        let _ = self.link_changed.read();
    }

    /// A link that is down has none: packets that nobody takes would wake for ever.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.open.device.state.is_up().then(|| self.epoll.0.as_fd())
    }
}

/// The sending half.
pub(crate) struct XdpTx {
    /// Before the device: an end that goes closes its socket.
    end: Option<TxEnd>,
    open: Arc<InUse>,
    position: usize,
    epoch: u32,
}

impl XdpTx {
    pub(crate) fn new(open: Arc<InUse>, position: usize) -> Self {
        let (epoch, end) = open.device.take_tx(position);
        Self { end, open, position, epoch }
    }

    #[cold]
    fn adopt(&mut self) {
        self.end = None;
        (self.epoch, self.end) = self.open.device.take_tx(self.position);
    }
}

impl TxQueue for XdpTx {
    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.open.device.epoch() != self.epoch {
            self.adopt();
        }
        let device = &self.open.device;
        let Some(end) = self.end.as_mut().filter(|_| device.state.is_up()) else { return 0 };
        let mut tally = TxTally::default();
        end.send(burst, device.max_packet(), &mut tally);
        device.counters[self.position].add_tx(&tally);
        tally.packets
    }

    fn alloc_burst(&mut self, burst: &mut Burst, n: usize) -> Option<usize> {
        Some(self.end.as_ref()?.alloc_burst(burst, n))
    }

    fn flush(&mut self) {
        if self.open.device.epoch() != self.epoch {
            self.adopt();
        }
        let Some(end) = &mut self.end else { return };
        let mut tally = TxTally::default();
        end.flush(&mut tally);
        self.open.device.counters[self.position].add_tx(&tally);
    }
}

impl Counters {
    #[inline(always)]
    fn add_rx(&self, tally: &RxTally) {
        self.common.rx.add(tally.packets, tally.bytes);
        if tally.errors > 0 || tally.nombuf || tally.wakeups > 0 {
            self.common.rx.errors.add(tally.errors as u64);
            self.common.rx.nombuf.add(tally.nombuf.into());
            self.rx.wakeups.add(tally.wakeups);
        }
    }

    #[inline(always)]
    fn add_tx(&self, tally: &TxTally) {
        self.common.tx.add(tally.packets, tally.bytes);
        self.common.tx.errors.add(tally.errors as u64);
        self.tx.copied.add(tally.copied as u64);
        self.tx.nombuf.add(tally.nombuf.into());
        self.tx.full.add(tally.full.into());
        self.tx.wakeups.add(tally.wakeups);
        self.tx.refused.add(tally.refused);
    }
}
