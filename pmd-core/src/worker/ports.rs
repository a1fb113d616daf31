//! The lports as a worker's task sees them: its own to receive from, all of them to send to.
//!
//! 1. The runtime builds one [`Ports`] per thread, with the queues of the thread's lports in it.
//! 2. The task receives from its own lports, whose turn it is (`turns`) or by position, and sends to any lport by [`LportId`]:
//!    its own through their TX queue, another thread's through a lane that the owner drains (`handover`).
//! 3. [`Ports::transmit`] is the policy: what cannot be sent is dropped in bulk and counted by reason, at the lport it
//!    was meant for. [`Ports::tx_burst`] leaves it to the caller.
//! 4. After the threads have stopped the runtime drains the lanes once more, then drops the queues, or gives those that
//!    survive a reload to their next owner.

use std::sync::Arc;

use super::handover::{Inbox, Inlet, Outlet};
use super::turns::Turns;
use crate::burst::Burst;
use crate::deployment::LportId;
use crate::lport::{RxQueue, TxQueue};
use crate::stats::Counter;

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
    turns: Turns,
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
    /// Positions that were sent through since they were flushed, each once, and by position whether it is one of them.
    unflushed: Vec<usize>,
    is_unflushed: Box<[bool]>,
}

impl Ports {
    pub(crate) fn new(own: Vec<OwnLport>, routes: Vec<Route>, inbox: Arc<Inbox>, drops: Arc<[Drops]>) -> Self {
        let count = own.len();
        Self {
            own,
            turns: Turns::new(count),
            egress: vec![None; count],
            routes,
            inlets: Vec::new(),
            inbox,
            drops,
            scratch: Burst::new(),
            unflushed: Vec::with_capacity(count),
            is_unflushed: vec![false; count].into(),
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

    /// Appends packets received on the next of the own lports that has some to `burst`, up to its limit, and says at which
    /// position that is; `None` when the round is over, and the next call begins another.
    ///
    /// In a round every lport has its turn once, but those that have had nothing for a while have it less often while others
    /// have packets, so that they do not slow them. A burst without room receives nothing.
    ///
    /// ```
    /// # use pmd_core::{Burst, Ports};
    /// /// A round of a task that sends everything back where it came from.
    /// fn poll(ports: &mut Ports, burst: &mut Burst) -> usize {
    ///     let mut moved = 0;
    ///     while let Some(position) = ports.rx_next(burst) {
    ///         moved += burst.len();
    ///         ports.transmit(ports.id(position), burst);
    ///     }
    ///     moved
    /// }
    /// ```
    #[inline(always)]
    pub fn rx_next(&mut self, burst: &mut Burst) -> Option<usize> {
        while let Some(position) = self.turns.next() {
            let received = self.own[position].rx.rx_burst(burst);
            self.turns.polled(received);
            if received > 0 {
                return Some(position);
            }
        }
        None
    }

    /// Appends packets received on the own lport at `position` to `burst`, up to its limit, and says how many: for a task that
    /// knows better than [`Self::rx_next`] whose turn it is.
    ///
    /// # Panics
    /// When there is no such position.
    #[inline]
    pub fn rx_burst(&mut self, position: usize, burst: &mut Burst) -> usize {
        self.own[position].rx.rx_burst(burst)
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

    /// Sends packets from the front of `burst` to lport `to` and says how many. What was not accepted stays in `burst`.
    ///
    /// # Panics
    /// When the deployment has no lport `to`.
    #[inline(always)]
    pub fn tx_burst(&mut self, to: LportId, burst: &mut Burst) -> usize {
        match &mut self.routes[usize::from(to.0)] {
            Route::Own(position) => {
                let position = *position;
                self.will_flush(position);
                self.own[position].tx.tx_burst(burst)
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
        for at in 0..self.inlets.len() {
            let Inlet { lane, port } = &mut self.inlets[at];
            let (n, port) = (lane.receive(&mut self.scratch), *port);
            if n > 0 {
                self.will_flush(port);
                let lport = &mut self.own[port];
                lport.tx.tx_burst(&mut self.scratch);
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

    #[inline(always)]
    fn will_flush(&mut self, position: usize) {
        if !std::mem::replace(&mut self.is_unflushed[position], true) {
            self.unflushed.push(position);
        }
    }

    /// Pushes out what the TX queues hold back that something was sent through since the last time.
    #[inline]
    pub(crate) fn flush(&mut self) {
        self.unflushed.retain(|position| {
            let tx = &mut self.own[*position].tx;
            tx.flush();
            self.is_unflushed[*position] = tx.holds();
            self.is_unflushed[*position]
        });
    }

    /// The same of all TX queues: those that nothing is sent through any more reclaim what their devices are done with.
    pub(crate) fn flush_all(&mut self) {
        (0..self.own.len()).for_each(|position| self.will_flush(position));
        self.flush();
    }

    /// Whether there is something to flush, or will be when its time comes.
    pub(crate) fn holds_back(&self) -> bool {
        !self.unflushed.is_empty()
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
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{Pool, PoolConfig};

    /// Whether it copies what it sends, the pool that it has, and what it was told.
    #[derive(Clone)]
    struct Queue {
        copies: bool,
        pool: Option<Pool>,
        told: Arc<Mutex<Vec<String>>>,
        holds: Arc<AtomicBool>,
    }

    impl Queue {
        fn new(copies: bool, pool: Option<Pool>) -> Self {
            Self { copies, pool, told: Arc::default(), holds: Arc::default() }
        }

        /// What it was told since the last time.
        fn take_told(&self) -> Vec<String> {
            std::mem::take(&mut self.told.lock().unwrap())
        }

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

        fn flush(&mut self) {
            self.tell("flushed");
        }

        fn holds(&self) -> bool {
            self.holds.load(Ordering::Relaxed)
        }

        fn copies(&self) -> bool {
            self.copies
        }

        fn share_pool(&mut self, wanted: bool) -> Option<Pool> {
            self.pool.clone().filter(|_| wanted)
        }
    }

    /// Two own lports with the ids 0 and 2, over these queues; nobody owns the one with the id 1.
    fn ports(queues: [&Queue; 2]) -> Ports {
        let own = [(0, queues[0]), (2, queues[1])].map(|(id, queue)| OwnLport {
            id: LportId(id),
            rx: Box::new(queue.clone()),
            tx: Box::new(queue.clone()),
        });
        let routes = vec![Route::Own(0), Route::Nowhere, Route::Own(1)];
        let inbox = Arc::new(Inbox::new(false).unwrap());
        Ports::new(own.into(), routes, inbox, (0..3).map(|_| Drops::default()).collect())
    }

    #[test]
    fn what_an_own_queue_copies_counts_as_passed_on_and_is_received_into_the_pool_that_it_shares() {
        let pool = || Pool::new(&PoolConfig { name: "shared".into(), size: 1, ..PoolConfig::default() }).ok();
        let [copying, other] = [true, false].map(|copies| Queue::new(copies, pool()));
        let mut ports = ports([&copying, &other]);
        for (to, expected) in [
            (Some(0), ["passed on: true", "into: shared"]),
            (Some(1), ["passed on: false", "into: its own"]),
            (Some(2), ["passed on: false", "into: its own"]),
            (Some(3), ["passed on: false", "into: its own"]),
            (None, ["passed on: false", "into: its own"]),
        ] {
            ports.pass_on(|position| to.filter(|_| position == 1).map(LportId));
            assert_eq!(other.take_told(), expected, "{to:?}");
            ports.share_pools();
            let again: &[&str] = if to == Some(0) { &expected[1..] } else { &[] };
            assert_eq!(other.take_told(), again, "{to:?}: asked again, as links come and go");
        }
    }

    #[test]
    fn a_flush_is_for_queues_that_were_sent_through_until_they_hold_nothing_and_now_and_then_for_all() {
        let [used, unused] = [Queue::new(false, None), Queue::new(false, None)];
        let mut ports = ports([&used, &unused]);
        let flushes = |ports: &mut Ports, all: bool| {
            if all {
                ports.flush_all();
            } else {
                ports.flush();
            }
            ([&used, &unused].map(|queue| queue.take_told().len()), ports.holds_back())
        };
        assert_eq!(flushes(&mut ports, false), ([0, 0], false));
        for _ in 0..2 {
            ports.transmit(LportId(0), &mut Burst::new());
            ports.transmit(LportId(0), &mut Burst::new());
            assert!(ports.holds_back());
            assert_eq!(flushes(&mut ports, false), ([1, 0], false));
            assert_eq!(flushes(&mut ports, false), ([0, 0], false));
        }
        assert_eq!(flushes(&mut ports, true), ([1, 1], false));
        used.holds.store(true, Ordering::Relaxed);
        ports.transmit(LportId(0), &mut Burst::new());
        assert_eq!(flushes(&mut ports, false), ([1, 0], true));
        assert_eq!(flushes(&mut ports, true), ([1, 1], true));
        used.holds.store(false, Ordering::Relaxed);
        assert_eq!(flushes(&mut ports, false), ([1, 0], false));
        assert_eq!(flushes(&mut ports, false), ([0, 0], false));
    }
}
