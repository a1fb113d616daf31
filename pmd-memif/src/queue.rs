//! The queues of a memif lport: pmd-core's traits over the rings of whatever link there is.
//!
//! Each burst begins with one look at the device's epoch, a load. When it has changed, the queue lets go of the rings it
//! has and takes those of the new link, if there is one; then it works on its own rings without asking anyone.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use pmd_core::{Burst, LportId, Pool, RxQueue, TxQueue};

use crate::control::LinkId;
use crate::device::{Device, OpenDevice};
use crate::link::{RxEnd, TxEnd, TxOwner};
use crate::ring::tx::{self, Sent, TxTally};
use crate::ring::{RING_MASK_INT, RingMemory, rx::RxTally};

/// The receiving half of an lport.
pub(crate) struct MemifRx {
    open: Arc<OpenDevice>,
    queue: usize,
    port: u16,
    pool: Pool,
    epoch: u32,
    rings: Vec<RxEnd>,
    /// Which ring a burst begins with; moves on, so that no ring starves.
    turn: usize,
    /// Readable when a ring's eventfd is, or when the link has changed.
    epoll: Epoll,
    link_changed: Arc<EventFd>,
}

impl MemifRx {
    /// The receiving half of queue `queue`.
    ///
    /// # Errors
    /// When the system has no more file descriptors.
    pub(crate) fn new(open: Arc<OpenDevice>, queue: usize, port: u16, pool: Pool) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let link_changed = open.device().wake(queue);
        epoll.add(&link_changed, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Self { open, queue, port, pool, epoch: 0, rings: Vec::new(), turn: 0, epoll, link_changed })
    }

    fn device(&self) -> &Device {
        self.open.device()
    }

    #[inline(always)]
    fn link_has_changed(&self) -> bool {
        self.device().epoch() != self.epoch
    }

    /// Lets the old rings go and takes the new ones.
    #[cold]
    fn adopt(&mut self) {
        self.release();
        let (epoch, link) = self.device().current();
        self.epoch = epoch;
        self.rings = link.map(|link| link.take_rx(self.queue)).unwrap_or_default();
        for ring in &self.rings {
            // Without it the owner's bounded sleep still finds the packets, later.
            let _ = self.epoll.add(ring.memory().event(), EpollEvent::new(EpollFlags::EPOLLIN, 1));
        }
    }

    fn release(&mut self) {
        for ring in self.rings.drain(..) {
            // The peer may hold the eventfd open, so closing our descriptor would not take it out.
            let _ = self.epoll.delete(ring.memory().event());
        }
    }

    fn receive_in_turn(&mut self, burst: &mut Burst, tally: &mut RxTally) -> usize {
        let count = self.rings.len();
        self.turn = (self.turn + 1) % count;
        (0..count).map(|i| self.rings[(self.turn + i) % count].receive(&self.pool, self.port, burst, tally)).sum()
    }

    fn set_flags(&self, flags: u16) {
        for ring in &self.rings {
            ring.memory().set_flags(flags);
        }
    }
}

impl RxQueue for MemifRx {
    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.link_has_changed() {
            self.adopt();
        }
        let mut tally = RxTally::default();
        let n = match self.rings.as_mut_slice() {
            [] => return 0,
            [ring] => ring.receive(&self.pool, self.port, burst, &mut tally),
            _ => self.receive_in_turn(burst, &mut tally),
        };
        self.device().counters[self.queue].rx.add(&tally);
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn arm(&mut self) -> bool {
        if self.link_has_changed() {
            return false;
        }
        // Statement 65: unmask, then look once more; a packet that came before the peer saw the mask is seen here.
        self.set_flags(0);
        fence(Ordering::SeqCst);
        !self.rings.iter().any(RxEnd::has_packets)
    }

    fn disarm(&mut self) {
        self.set_flags(RING_MASK_INT);
        let mut woken = 0;
        for ring in &self.rings {
            // Empty (EAGAIN) is the usual case: another queue, or the timeout, woke the owner.
            woken += u64::from(nix::unistd::read(ring.memory().event(), &mut [0; 8]).is_ok());
        }
        let _ = self.link_changed.read();
        self.device().counters[self.queue].rx.interrupts.add(woken);
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.0.as_fd())
    }
}

/// The sending half of an lport.
pub(crate) struct MemifTx {
    open: Arc<OpenDevice>,
    queue: usize,
    epoch: u32,
    /// The link that `end` belongs to.
    link: Option<LinkId>,
    end: Option<TxOwner>,
}

impl MemifTx {
    /// The sending half of queue `queue`.
    pub(crate) fn new(open: Arc<OpenDevice>, queue: usize) -> Self {
        Self { open, queue, epoch: 0, link: None, end: None }
    }

    #[cold]
    fn adopt(&mut self) {
        self.end = None;
        let (epoch, link) = self.open.device().current();
        self.epoch = epoch;
        self.link = link.as_ref().map(|link| link.id());
        self.end = link.and_then(|link| link.take_tx(self.queue));
    }

    /// Tells the control thread that the peer has made the link unusable.
    #[cold]
    fn condemn(&mut self, reason: &str) {
        self.end = None;
        if let Some(link) = self.link {
            self.open.condemn(link, reason);
        }
    }
}

impl TxQueue for MemifTx {
    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.open.device().epoch() != self.epoch {
            self.adopt();
        }
        let counters = &self.open.device().counters[self.queue].tx;
        let mut tally = TxTally::default();
        let mut interrupt = None;
        let sent = match &mut self.end {
            Some(TxOwner::Own(ring)) => send(ring, burst, &mut tally, &mut interrupt),
            // Whoever else sends on the ring just now: these packets wait.
            Some(TxOwner::Shared(ring)) => match ring.try_lock() {
                Ok(mut ring) => send(&mut ring, burst, &mut tally, &mut interrupt),
                Err(_) => {
                    counters.busy.add(1);
                    return 0;
                }
            },
            None => {
                counters.no_link.add(u64::from(!burst.is_empty()));
                return 0;
            }
        };
        counters.add(&tally);
        match interrupt {
            None => {}
            Some(true) => counters.interrupts.add(1),
            Some(false) => counters.interrupt_errors.add(1),
        }
        if let Some(fault) = sent.fault {
            counters.faults.add(1);
            self.condemn(&fault.to_string());
        }
        tally.packets as usize
    }

    fn flush(&mut self) {
        let mut tally = TxTally::default();
        match &mut self.end {
            Some(TxOwner::Own(ring)) => ring.reclaim(&mut tally),
            Some(TxOwner::Shared(ring)) => {
                // Whoever holds it sends, and reclaims with that.
                if let Ok(mut ring) = ring.try_lock() {
                    ring.reclaim(&mut tally);
                }
            }
            None => {}
        }
        self.open.device().counters[self.queue].tx.add(&tally);
    }
}

#[inline(always)]
fn send(ring: &mut TxEnd, burst: &mut Burst, tally: &mut TxTally, interrupt: &mut Option<bool>) -> Sent {
    let sent = ring.send(burst, tally);
    if tally.packets > 0 {
        *interrupt = tx::interrupt(ring.memory());
    }
    sent
}
