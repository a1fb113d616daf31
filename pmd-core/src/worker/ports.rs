//! The lports as a worker's task sees them: its own to receive from, all of them to send to.
//!
//! 1. The runtime builds one [`Ports`] per thread, with the queues of the thread's lports in it.
//! 2. The task receives from its own lports by position and sends to any lport by [`LportId`]: its own through their TX
//!    queue, another thread's through a lane that the owner drains (`handover`).
//! 3. [`Ports::transmit`] is the policy: what cannot be sent is dropped in bulk and counted by reason, at the lport it
//!    was meant for. [`Ports::tx_burst`] leaves it to the caller.
//! 4. After the threads have stopped the runtime drains the lanes once more, then drops the queues, or gives those that
//!    survive a reload to their next owner.

use std::sync::Arc;

use super::handover::{Inbox, Inlet, Outlet};
use crate::burst::Burst;
use crate::deployment::LportId;
use crate::lport::{RxQueue, TxQueue};
use crate::stats::Counter;

/// Empty polls in a row after which an lport is quiet.
const QUIET_AFTER: u8 = 64;

/// A quiet lport of a busy thread is polled once in so many rounds; a power of two.
const QUIET_EVERY: usize = 8;

/// Rounds that a thread is busy after packets came.
const BUSY_ROUNDS: u8 = 8;

/// The queues of an lport, at its owner.
pub(crate) struct OwnLport {
    pub(crate) id: LportId,
    pub(crate) rx: Box<dyn RxQueue>,
    pub(crate) tx: Box<dyn TxQueue>,
}

/// How packets get to an lport.
pub(crate) enum Route {
    /// Through our own queue, at this position.
    Own(usize),
    /// By way of its owner.
    Foreign(Outlet),
    /// Not at all: no thread owns it, or it could not be opened.
    Nowhere,
}

/// What one thread dropped that was meant for an lport. Written by that thread, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    /// The device did not accept it.
    pub(crate) tx_full: Counter,
    /// The lane to its owner was full.
    pub(crate) handover: Counter,
    /// No thread owns the lport.
    pub(crate) unowned: Counter,
}

impl Drops {
    /// The names of the counters, in their order.
    pub(crate) const NAMES: [&str; 3] = ["tx_full_dropped", "handover_dropped", "unowned_dropped"];

    /// The counters, now.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [self.tx_full.get(), self.handover.get(), self.unowned.get()]
    }
}

/// The lports of a worker.
pub struct Ports {
    own: Vec<OwnLport>,
    /// By position: polls in a row that found nothing, counted up to [`QUIET_AFTER`].
    empty_polls: Vec<u8>,
    /// The rounds' number, and how many of those to come are busy ones.
    round: usize,
    busy_rounds: u8,
    /// By position: the own lport, by its position, that everything is passed on to, and copied by, if there is one.
    egress: Vec<Option<usize>>,
    /// By lport id.
    routes: Vec<Route>,
    /// Lanes that lead to us.
    inlets: Vec<Inlet>,
    inbox: Arc<Inbox>,
    /// By lport id.
    drops: Arc<[Drops]>,
    scratch: Burst,
    unflushed: bool,
}

impl Ports {
    pub(crate) fn new(own: Vec<OwnLport>, routes: Vec<Route>, inbox: Arc<Inbox>, drops: Arc<[Drops]>) -> Self {
        let (empty_polls, egress) = (vec![0; own.len()], vec![None; own.len()]);
        Self {
            own,
            empty_polls,
            round: 0,
            busy_rounds: 0,
            egress,
            routes,
            inlets: Vec::new(),
            inbox,
            drops,
            scratch: Burst::new(),
            unflushed: false,
        }
    }

    /// Number of lports this thread owns.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.own.len()
    }

    /// Id of the own lport at `position`, 0 to [`Self::count`] - 1.
    ///
    /// # Panics
    /// When there is no such position.
    #[inline(always)]
    pub fn id(&self, position: usize) -> LportId {
        self.own[position].id
    }

    /// Whether packets for `to` can go anywhere: it exists, is open, and a thread owns it.
    #[inline]
    pub fn reaches(&self, to: LportId) -> bool {
        self.routes.get(usize::from(to.0)).is_some_and(|route| !matches!(route, Route::Nowhere))
    }

    /// Appends packets received on the own lport at `position` to `burst`, up to its limit, and says how many.
    ///
    /// An lport that has had nothing for a while is not looked at in every round, while others on the thread have packets.
    ///
    /// # Panics
    /// When there is no such position.
    #[inline]
    pub fn rx_burst(&mut self, position: usize, burst: &mut Burst) -> usize {
        let empty_polls = &mut self.empty_polls[position];
        if *empty_polls >= QUIET_AFTER && self.busy_rounds > 0 && !(self.round + position).is_multiple_of(QUIET_EVERY) {
            return 0;
        }
        let received = self.own[position].rx.rx_burst(burst);
        if received > 0 {
            *empty_polls = 0;
            self.busy_rounds = BUSY_ROUNDS;
        } else if *empty_polls < QUIET_AFTER {
            *empty_polls += 1;
        }
        received
    }

    /// Everything from the own lport at each position is passed on, unread, to the lport that `to` names for it, if to any.
    pub(crate) fn pass_on(&mut self, to: impl Fn(usize) -> Option<LportId>) {
        for position in 0..self.own.len() {
            // Another thread's queue has it later than in the same round.
            let egress = to(position).and_then(|to| match self.routes.get(usize::from(to.0)) {
                Some(Route::Own(egress)) => self.own[*egress].tx.copies().then_some(*egress),
                Some(Route::Foreign(_) | Route::Nowhere) | None => None,
            });
            self.egress[position] = egress;
            self.own[position].rx.set_passed_on(egress.is_some());
        }
        for position in 0..self.own.len() {
            if self.egress[position].is_none() {
                self.own[position].rx.receive_into(None);
            }
            if !self.egress.contains(&Some(position)) {
                self.own[position].tx.share_pool(false);
            }
        }
        self.share_pools();
    }

    /// What is passed on is received into the pool that it is sent from, as far as there are such pools now.
    pub(crate) fn share_pools(&mut self) {
        for (position, egress) in self.egress.iter().enumerate() {
            if let Some(egress) = egress {
                let pool = self.own[*egress].tx.share_pool(true);
                self.own[position].rx.receive_into(pool);
            }
        }
    }

    /// A round begins.
    #[inline]
    pub(crate) fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.busy_rounds = self.busy_rounds.saturating_sub(1);
    }

    /// Sends packets from the front of `burst` to lport `to` and says how many. What was not accepted stays in `burst`.
    ///
    /// # Panics
    /// When the deployment has no lport `to`.
    #[inline]
    pub fn tx_burst(&mut self, to: LportId, burst: &mut Burst) -> usize {
        match &mut self.routes[usize::from(to.0)] {
            Route::Own(position) => {
                self.unflushed = true;
                self.own[*position].tx.tx_burst(burst)
            }
            Route::Foreign(outlet) => outlet.send(burst),
            Route::Nowhere => 0,
        }
    }

    /// Adds up to `n` empty mbufs to `burst` that lport `to` sends from where they lie ([`TxQueue::alloc_burst`]), and says
    /// how many; `None` when it has no such memory, or another thread owns it.
    ///
    /// # Panics
    /// When the deployment has no lport `to`.
    #[inline]
    pub fn alloc_burst(&mut self, to: LportId, burst: &mut Burst, n: usize) -> Option<usize> {
        match &self.routes[usize::from(to.0)] {
            Route::Own(position) => self.own[*position].tx.alloc_burst(burst, n),
            Route::Foreign(_) | Route::Nowhere => None,
        }
    }

    /// Sends `burst` to lport `to`, drops and counts what is not accepted, and says how many packets were. `burst` is
    /// empty afterwards.
    ///
    /// Dropped packets appear in the lport's statistics: in `oerrors` and, by reason, as `tx_full_dropped`,
    /// `handover_dropped` or `unowned_dropped`.
    ///
    /// # Panics
    /// When the deployment has no lport `to`.
    #[inline]
    pub fn transmit(&mut self, to: LportId, burst: &mut Burst) -> usize {
        let sent = self.tx_burst(to, burst);
        if !burst.is_empty() {
            self.drop_all(to, burst);
        }
        sent
    }

    #[cold]
    fn drop_all(&mut self, to: LportId, burst: &mut Burst) {
        let lport = usize::from(to.0);
        let drops = &self.drops[lport];
        let counter = match self.routes[lport] {
            Route::Own(_) => &drops.tx_full,
            Route::Foreign(_) => &drops.handover,
            Route::Nowhere => &drops.unowned,
        };
        counter.add(burst.len() as u64);
        burst.clear();
    }

    /// Sends what other threads handed over, and says how many packets it was.
    #[inline]
    pub(crate) fn drain_lanes(&mut self) -> usize {
        if self.inlets.is_empty() { 0 } else { self.drain_each_lane() }
    }

    fn drain_each_lane(&mut self) -> usize {
        let mut moved = 0;
        for inlet in &mut self.inlets {
            let n = inlet.lane.receive(&mut self.scratch);
            if n > 0 {
                let lport = &mut self.own[inlet.port];
                lport.tx.tx_burst(&mut self.scratch);
                self.unflushed = true;
                self.drops[usize::from(lport.id.0)].tx_full.add(self.scratch.len() as u64);
                self.scratch.clear();
                moved += n;
            }
        }
        moved
    }

    /// Begins to drain the lanes that other threads have made since the last call, and forgets those that are drained and
    /// whose senders have gone.
    pub(crate) fn take_new_lanes(&mut self) {
        self.inbox.take_into(&mut self.inlets);
        self.inlets.retain(|inlet| !inlet.lane.is_finished());
    }

    /// Drains the lanes to their ends, new ones included: when their senders have stopped.
    pub(crate) fn finish_lanes(&mut self) {
        self.take_new_lanes();
        while self.drain_lanes() > 0 {}
        self.flush();
    }

    /// The lports, when their thread has stopped: as if it had passed nothing on.
    pub(crate) fn into_own(mut self) -> Vec<OwnLport> {
        self.pass_on(|_| None);
        self.own
    }

    /// Pushes out what the TX queues hold back, if anything was sent since the last time.
    #[inline]
    pub(crate) fn flush(&mut self) {
        if self.unflushed {
            self.unflushed = false;
            for lport in &mut self.own {
                lport.tx.flush();
                self.unflushed |= lport.tx.holds();
            }
        }
    }

    /// Whether there is something to flush, or will be when its time comes.
    pub(crate) fn holds_back(&self) -> bool {
        self.unflushed
    }

    /// Whether a lane holds packets or waits to be taken.
    pub(crate) fn has_handed_over(&self) -> bool {
        self.inbox.has_new() || self.inlets.iter().any(|inlet| !inlet.lane.is_empty())
    }

    /// The receive sides of the own lports.
    pub(crate) fn receivers(&mut self) -> impl Iterator<Item = &mut dyn RxQueue> {
        self.own.iter_mut().map(|lport| &mut *lport.rx as &mut dyn RxQueue)
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own: Vec<_> = self.own.iter().map(|lport| lport.id).collect();
        f.debug_struct("Ports").field("own", &own).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{Pool, PoolConfig};

    /// Whether it copies what it sends, the pool that it has, and what it was told.
    #[derive(Clone)]
    struct Queue {
        copies: bool,
        pool: Option<Pool>,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl Queue {
        fn tell(&self, what: impl Into<String>) {
            self.told.lock().unwrap().push(what.into());
        }
    }

    impl RxQueue for Queue {
        fn rx_burst(&mut self, _: &mut Burst) -> usize {
            0
        }

        fn renumber(&mut self, _: LportId) {}

        fn set_passed_on(&mut self, passed_on: bool) {
            self.tell(format!("passed on: {passed_on}"));
        }

        fn receive_into(&mut self, pool: Option<Pool>) {
            self.tell(format!("into: {}", pool.as_ref().map_or("its own", Pool::name)));
        }
    }

    impl TxQueue for Queue {
        fn tx_burst(&mut self, _: &mut Burst) -> usize {
            0
        }

        fn copies(&self) -> bool {
            self.copies
        }

        fn share_pool(&mut self, wanted: bool) -> Option<Pool> {
            self.pool.clone().filter(|_| wanted)
        }
    }

    #[test]
    fn what_an_own_queue_copies_counts_as_passed_on_and_is_received_into_the_pool_that_it_shares() {
        let (told, quiet) = (Arc::default(), Arc::default());
        let pool = |name: &str| Pool::new(&PoolConfig { name: name.into(), size: 1, ..PoolConfig::default() }).unwrap();
        let own = |(id, copies, told): (u16, bool, &Arc<Mutex<Vec<String>>>)| {
            let queue = Queue { copies, pool: Some(pool("shared")), told: Arc::clone(told) };
            OwnLport { id: LportId(id), rx: Box::new(queue.clone()), tx: Box::new(queue) }
        };
        let own = [(0, true, &quiet), (2, false, &told)].map(own).into();
        let routes = vec![Route::Own(0), Route::Nowhere, Route::Own(1)];
        let inbox = Arc::new(Inbox::new(false).unwrap());
        let mut ports = Ports::new(own, routes, inbox, (0..3).map(|_| Drops::default()).collect());
        for (to, expected) in [
            (Some(0), ["passed on: true", "into: shared"]),
            (Some(1), ["passed on: false", "into: its own"]),
            (Some(2), ["passed on: false", "into: its own"]),
            (Some(3), ["passed on: false", "into: its own"]),
            (None, ["passed on: false", "into: its own"]),
        ] {
            ports.pass_on(|position| to.filter(|_| position == 1).map(LportId));
            assert_eq!(std::mem::take(&mut *told.lock().unwrap()), expected, "{to:?}");
            ports.share_pools();
            let again: &[&str] = if to == Some(0) { &expected[1..] } else { &[] };
            assert_eq!(std::mem::take(&mut *told.lock().unwrap()), again, "{to:?}: asked again, as links come and go");
        }
    }
}
