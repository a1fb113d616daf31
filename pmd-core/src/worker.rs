//! A worker: one thread that polls its lports and runs its task.
//!
//! 1. The runtime starts one OS thread per [`crate::deployment::ThreadSpec`], pinned before anything else.
//! 2. A round: send what other threads handed over, then let the task poll.
//! 3. Every [`HOUSEKEEPING_ROUNDS`] rounds: publish counters, look for new lanes and for pools to receive into, flush, ask whether to stop or to sleep.
//! 4. The loop ends when the thread's stop flag is up; the lports go back to the runtime, which closes them, or gives them to
//!    their next owner when it reloads. A task that panics ends its own loop only.
//!
//! The rounds themselves contain no clock, lock, allocation, system call or atomic read-modify-write.

mod activity;
mod bell;
mod handover;
mod idle;
mod ports;
mod turns;
mod waker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_utils::CachePadded;

pub(crate) use activity::Activity;
use activity::Meter;
pub(crate) use handover::{Inbox, Outlet};
use idle::IdlePolicy;
pub use idle::NAP_WITHOUT_FD;
pub use ports::Ports;
pub(crate) use ports::{Drops, OwnLport, Route};

use crate::deployment::{LportId, ThreadSpec};

/// Rounds between two looks at everything that is not packets.
pub const HOUSEKEEPING_ROUNDS: u32 = 256;

/// Empty rounds after which a worker that has no CPU to itself lets others run.
const ROUNDS_BEFORE_YIELD: u32 = 64;

/// What a worker does with packets.
pub trait Task: Send {
    /// One round: receives from the thread's lports, sends or drops, and says how many packets moved. Never blocks.
    fn poll(&mut self, ports: &mut Ports) -> usize;

    /// Called every [`HOUSEKEEPING_ROUNDS`] rounds: for what has nothing to do with single packets.
    fn housekeep(&mut self, _ports: &mut Ports) {}

    /// Where every packet of the own lport at `position` goes, unread, unchanged and in the same round, however many of them are
    /// dropped there; `None` where the task does anything else with them. Asked once, before the first round: what is passed on
    /// like that may be handed out without a copy ([`crate::RxQueue::set_passed_on`]).
    fn passes_on(&self, _position: usize) -> Option<LportId> {
        None
    }

    /// Whether the task only reacts to packets, so that its thread may sleep until one comes. A generator does not.
    fn may_sleep(&self) -> bool {
        true
    }
}

/// Whether a thread sleeps at times.
pub(crate) fn may_sleep(spec: &ThreadSpec) -> bool {
    IdlePolicy::new(spec).ever_sleeps()
}

/// A worker before and while it runs.
pub(crate) struct Worker {
    pub(crate) ports: Ports,
    task: Box<dyn Task>,
    inbox: Arc<Inbox>,
    stop: Arc<AtomicBool>,
    activity: Arc<CachePadded<Activity>>,
    meter: Meter,
    idle: IdlePolicy,
    /// Whether others may need the CPU. Written by the runtime, when threads come and go.
    yields: Arc<AtomicBool>,
    empty_rounds: u32,
}

/// What a worker shares with the runtime.
pub(crate) struct WorkerLinks {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) activity: Arc<CachePadded<Activity>>,
    /// Whether it lets others run when it has nothing to do.
    pub(crate) yields: Arc<AtomicBool>,
}

impl Worker {
    /// A worker as `spec` says.
    pub(crate) fn new(spec: &ThreadSpec, ports: Ports, task: Box<dyn Task>, links: WorkerLinks) -> Self {
        let WorkerLinks { inbox, stop, activity, yields } = links;
        let (meter, idle) = (Meter::new(Instant::now()), IdlePolicy::new(spec));
        Self { ports, task, inbox, stop, activity, meter, idle, yields, empty_rounds: 0 }
    }

    /// Polls until the stop flag is up.
    pub(crate) fn run(&mut self) {
        let Self { ports, task, .. } = self;
        ports.pass_on(|position| task.passes_on(position));
        self.meter = Meter::new(Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            let busy_rounds = self.window();
            let now = self.housekeep(HOUSEKEEPING_ROUNDS, busy_rounds);
            if self.idle.is_due(now, busy_rounds > 0) && self.task.may_sleep() {
                self.sleep_until_packets();
            }
        }
    }

    /// The rounds between two housekeepings; says how many moved packets.
    fn window(&mut self) -> u32 {
        let mut busy_rounds = 0;
        for _ in 0..HOUSEKEEPING_ROUNDS {
            if self.round() > 0 {
                busy_rounds += 1;
                self.empty_rounds = 0;
            } else {
                self.ports.flush();
                self.empty_rounds += 1;
                if self.empty_rounds == ROUNDS_BEFORE_YIELD {
                    self.empty_rounds = 0;
                    self.let_others_run();
                }
            }
        }
        busy_rounds
    }

    #[cold]
    fn let_others_run(&mut self) {
        if self.yields.load(Ordering::Relaxed) {
            self.meter.away(std::thread::yield_now);
        }
    }

    #[inline]
    fn round(&mut self) -> usize {
        self.ports.drain_lanes() + self.task.poll(&mut self.ports)
    }

    fn housekeep(&mut self, rounds: u32, busy_rounds: u32) -> Instant {
        let now = Instant::now();
        self.activity.polls.add(u64::from(rounds));
        self.activity.busy_ns.add(self.meter.end_window(now, rounds, busy_rounds));
        self.ports.take_new_lanes();
        self.ports.share_pools();
        self.ports.flush_all();
        self.task.housekeep(&mut self.ports);
        now
    }

    /// Sleeps, again and again, until a round moves packets or the runtime stops.
    fn sleep_until_packets(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let (ports, waker) = (&mut self.ports, &self.inbox.waker);
            self.meter.away(|| self.idle.sleep(ports, waker, &self.stop, &self.activity));
            self.ports.take_new_lanes();
            let moved = self.round();
            self.idle.get_up(&mut self.ports);
            self.housekeep(1, u32::from(moved > 0));
            if moved > 0 || !self.task.may_sleep() {
                self.idle.reset();
                return;
            }
        }
    }
}
