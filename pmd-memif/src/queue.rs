//! The queues of a memif lport: pmd-core's traits over the rings of whatever link there is.
//!
//! Each burst begins with one look at the device's epoch, a load. When it has changed, the queue lets go of the rings it
//! has and takes those of the new link, if there is one; then it works on its own rings without asking anyone.
//!
//! What a receiving queue has to do with interrupts, `rx-mode` says:
//!
//! | mode | the peer interrupts | the queue's descriptor is readable |
//! |---|---|---|
//! | polling | never | there is none: who sleeps does so for a bounded time |
//! | adaptive | from `arm` to `disarm` | when a packet came in between, or the link changed |
//! | interrupt | always | when packets may wait, until a burst has found none |
//!
//! The descriptor is an epoll set over the rings' eventfds and one of our own. It takes edges, so nobody has to read an
//! eventfd that a peer shares: such a read could be made to block, as a write could (`crate::doorbell`).

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use pmd_core::pool::RxPool;
use pmd_core::{Burst, LportId, Mbuf, Pool, RxQueue, TxQueue};

use crate::control::LinkId;
use crate::counters::RxCounters;
use crate::device::{Device, OpenDevice};
use crate::epoch::Seen;
use crate::link::{RxEnd, TxEnd, TxOwner};
use crate::ring::interrupt;
use crate::ring::rx::{CountRx, RxTally};
use crate::ring::tx::{Sent, TxTally};

/// When a receiving queue wants to be interrupted, see this file's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RxMode {
    Polling,
    Interrupt,
    Adaptive,
}

/// What an event of the epoll set is about.
const OWN: u64 = 0;
const RING: u64 = 1;

/// The receiving half of an lport.
pub(crate) struct MemifRx {
    open: Arc<OpenDevice>,
    counting: Counting,
    port: u16,
    pool: RxPool,
    seen: Seen,
    rings: Vec<RxEnd>,
    /// Which ring a burst begins with; moves on, so that no ring starves.
    turn: usize,
    mode: RxMode,
    /// What [`RxQueue::set_passed_on`] said last.
    passed_on: bool,
    /// Readable when a ring's eventfd has been rung, or our own.
    epoll: Epoll,
    /// Rung by the control thread when the link has changed, and by us when packets have to wait.
    own: Arc<EventFd>,
}

/// Where a receiving queue counts.
struct Counting {
    device: Arc<Device>,
    queue: usize,
}

impl Counting {
    fn counters(&self) -> &RxCounters {
        &self.device.counters[self.queue].rx
    }
}

impl CountRx for &Counting {
    #[inline(always)]
    fn add(self, tally: &RxTally) {
        self.counters().add(tally);
    }
}

impl MemifRx {
    /// The receiving half of queue `queue`.
    ///
    /// # Errors
    /// When the system has no more file descriptors.
    pub(crate) fn new(open: Arc<OpenDevice>, queue: usize, port: u16, pool: Pool) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (own, mode) = (open.device().wake(queue), open.device().settings.rx_mode);
        epoll.add(&own, edges(OWN))?;
        let (pool, seen, rings) = (RxPool::new(pool), Seen::default(), Vec::new());
        let counting = Counting { device: open.shared_device(), queue };
        Ok(Self { open, counting, port, pool, seen, rings, turn: 0, mode, passed_on: false, epoll, own })
    }

    /// By way of a handle of its own: one step less to the epoch.
    #[inline(always)]
    fn device(&self) -> &Device {
        &self.counting.device
    }

    #[inline(always)]
    fn link_has_changed(&self) -> bool {
        self.device().has_changed(self.seen)
    }

    /// Lets the old rings go and takes the new ones.
    #[cold]
    fn adopt(&mut self) {
        self.release();
        let link = self.open.device().link(&mut self.seen);
        self.rings = link.map(|link| link.take_rx(self.counting.queue)).unwrap_or_default();
        if self.passed_on {
            self.rings = tell(std::mem::take(&mut self.rings), true);
        }
        for ring in &self.rings {
            // Without it the owner's bounded sleep still finds the packets, later.
            let _ = self.epoll.add(ring.memory().event(), edges(RING));
            if self.mode == RxMode::Interrupt {
                interrupt::unmask(ring.memory());
            }
        }
    }

    fn release(&mut self) {
        for ring in self.rings.drain(..) {
            // The peer may hold the eventfd open, so closing our descriptor would not take it out.
            let _ = self.epoll.delete(ring.memory().event());
        }
    }

    #[inline(never)]
    fn receive_in_turn(&mut self, burst: &mut Burst) -> usize {
        let Self { rings, pool, port, counting, .. } = self;
        let count = rings.len();
        self.turn = (self.turn + 1) % count;
        (0..count).map(|i| rings[(self.turn + i) % count].receive(pool, *port, burst, &*counting)).sum()
    }

    fn has_packets(&self) -> bool {
        self.rings.iter().any(RxEnd::has_packets)
    }

    /// Takes what the epoll set has seen, and counts interrupts.
    fn take_edges(&self) {
        const AT_ONCE: usize = 16;
        let mut events = [EpollEvent::empty(); AT_ONCE];
        let mut woken = 0;
        loop {
            let taken = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
            woken += events[..taken].iter().filter(|event| event.data() == RING).count();
            if taken < AT_ONCE {
                break;
            }
        }
        self.counting.counters().interrupts.add(woken as u64);
    }
}

/// The same rings, whose packets are passed on, or are not.
fn tell(rings: Vec<RxEnd>, passed_on: bool) -> Vec<RxEnd> {
    rings.into_iter().map(|ring| ring.with_passed_on(passed_on)).collect()
}

/// [`clear_behind`] for the last `n` packets.
#[inline(never)]
fn clear_behind_last(burst: &mut Burst, n: usize) {
    let first = burst.len() - n;
    burst[first..].iter_mut().for_each(clear_behind);
}

/// Zeroes what a copy in whole blocks has brought along behind the end of a packet: bytes of other packets of this peer, which are
/// nobody else's business.
fn clear_behind(mbuf: &mut Mbuf) {
    // A chain was copied exactly, and what was lent has no room.
    let extra = mbuf.len().next_multiple_of(64) - mbuf.len();
    if mbuf.segment_count() == 1
        && let Some(behind) = mbuf.append(extra)
    {
        behind.fill(0);
        let trimmed = mbuf.trim(extra);
        debug_assert!(trimmed, "it has just grown by as many");
    }
}

/// An interest in an eventfd's being rung, once for each time.
fn edges(what: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, what)
}

impl RxQueue for MemifRx {
    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.link_has_changed() {
            self.adopt();
        }
        let n = match self.rings.as_mut_slice() {
            [] => return 0,
            [ring] => ring.receive(&self.pool, self.port, burst, &self.counting),
            _ => self.receive_in_turn(burst),
        };
        if n > 0 && !self.pool.is_own() {
            clear_behind_last(burst, n);
        }
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn arm(&mut self) -> bool {
        if self.link_has_changed() {
            return false;
        }
        if self.mode != RxMode::Polling {
            // In mode `interrupt` as well: some peers write into the flags of rings that are not theirs.
            self.rings.iter().for_each(|ring| interrupt::unmask(ring.memory()));
        }
        // Statement 65: a packet that came before the peer saw the mask gone is seen here.
        !self.has_packets()
    }

    fn disarm(&mut self) {
        if self.mode == RxMode::Adaptive {
            self.rings.iter().for_each(|ring| interrupt::mask(ring.memory()));
        }
        self.take_edges();
    }

    fn set_passed_on(&mut self, passed_on: bool) {
        if self.passed_on != passed_on {
            self.passed_on = passed_on;
            self.rings = tell(std::mem::take(&mut self.rings), passed_on);
        }
    }

    fn receive_into(&mut self, pool: Option<Pool>) {
        // The peer fills mbufs of a pool that it has mapped, and of no other.
        let copies = self.device().settings.exports.pools.is_empty();
        self.pool.set(pool.filter(|_| copies));
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        (self.mode != RxMode::Polling).then(|| self.epoll.0.as_fd())
    }
}

/// The receiving half of an lport in mode `interrupt`: whoever sleeps on its descriptor needs nothing but bursts.
pub(crate) struct InterruptRx(pub(crate) MemifRx);

impl RxQueue for InterruptRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let n = self.0.rx_burst(burst);
        if n > 0 { n } else { self.receive_last(burst) }
    }

    fn renumber(&mut self, lport: LportId) {
        self.0.renumber(lport);
    }

    fn arm(&mut self) -> bool {
        self.0.arm()
    }

    fn disarm(&mut self) {
        self.0.disarm();
    }

    fn set_passed_on(&mut self, passed_on: bool) {
        self.0.set_passed_on(passed_on);
    }

    fn receive_into(&mut self, pool: Option<Pool>) {
        self.0.receive_into(pool);
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.wake_fd()
    }
}

impl InterruptRx {
    /// A burst has found nothing: from here on the descriptor is not readable, but for what comes after this look.
    fn receive_last(&mut self, burst: &mut Burst) -> usize {
        self.0.take_edges();
        let n = self.0.rx_burst(burst);
        if n == 0 && self.0.has_packets() {
            // They wait for mbufs, or for the end of a chain: nobody will interrupt us for those again.
            let _ = self.0.own.write(1);
        }
        n
    }
}

/// The sending half of an lport.
pub(crate) struct MemifTx {
    open: Arc<OpenDevice>,
    queue: usize,
    /// For packets that cannot be sent from where they lie.
    pool: Pool,
    seen: Seen,
    /// The link that `end` belongs to.
    link: Option<LinkId>,
    end: Option<TxOwner>,
    /// What [`TxQueue::share_pool`] said last.
    shares: bool,
}

impl MemifTx {
    /// The sending half of queue `queue`.
    pub(crate) fn new(open: Arc<OpenDevice>, queue: usize, pool: Pool) -> Self {
        Self { open, queue, pool, seen: Seen::default(), link: None, end: None, shares: false }
    }

    #[cold]
    fn adopt(&mut self) {
        self.end = None;
        let link = self.open.device().link(&mut self.seen);
        self.link = link.as_ref().map(|link| link.id());
        self.end = link.and_then(|link| link.take_tx(self.queue));
        self.share();
    }

    /// Makes the ring one that sends from a pool, if that is wanted and can be.
    fn share(&mut self) {
        if self.shares {
            self.end = self.end.take().map(TxOwner::with_pool);
        }
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
        if self.open.device().has_changed(self.seen) {
            self.adopt();
        }
        let counters = &self.open.device().counters[self.queue].tx;
        let mut tally = TxTally::default();
        let mut interrupted = None;
        let sent = match &mut self.end {
            Some(TxOwner::Own(ring)) => send(ring, &self.pool, burst, &mut tally, &mut interrupted),
            // Whoever else sends on the ring just now: these packets wait.
            Some(TxOwner::Shared(ring)) => match ring.try_lock() {
                Ok(mut ring) => send(&mut ring, &self.pool, burst, &mut tally, &mut interrupted),
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
        match interrupted {
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

    fn alloc_burst(&mut self, burst: &mut Burst, n: usize) -> Option<usize> {
        if self.open.device().has_changed(self.seen) {
            self.adopt();
        }
        // Queues that share a ring would wait for each other's mbufs.
        let Some(TxOwner::Own(ring)) = &mut self.end else { return None };
        let mut tally = TxTally::default();
        let allocated = ring.alloc(burst, n, &mut tally);
        self.open.device().counters[self.queue].tx.add(&tally);
        allocated
    }

    fn copies(&self) -> bool {
        // Even a zero-copy client: it shares its own mbufs only.
        true
    }

    fn share_pool(&mut self, wanted: bool) -> Option<Pool> {
        self.shares = wanted;
        if self.open.device().has_changed(self.seen) {
            self.adopt();
        } else {
            self.share();
        }
        match &self.end {
            Some(TxOwner::Own(ring)) => ring.pool().cloned(),
            Some(TxOwner::Shared(_)) | None => None,
        }
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
fn send(ring: &mut TxEnd, pool: &Pool, burst: &mut Burst, tally: &mut TxTally, interrupted: &mut Option<bool>) -> Sent {
    let sent = ring.send(pool, burst, tally);
    if tally.packets > 0 {
        *interrupted = interrupt::send(ring.memory());
    }
    sent
}
