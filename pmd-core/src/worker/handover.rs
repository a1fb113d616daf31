//! Hand-over: packets for an lport that another thread owns.
//!
//! ```text
//!   sending thread                       owner
//!   Outlet ── lane (bounded SPSC) ──▶ Inlet ──▶ the lport's TX queue
//!      └──── first packet: Inbox ────────┘
//! ```
//!
//! 1. A thread's first packet for a foreign lport makes the lane: one per sending thread and lport. Its receiving end
//!    goes to the owner's [`Inbox`]; lanes nobody uses do not exist, and are not polled.
//! 2. The owner looks into its inbox during housekeeping and from then on drains the lane in every round.
//! 3. What does not fit into the lane is the sender's to drop and to count.
//! 4. An owner that sleeps is woken through its [`Waker`].

use std::sync::{Arc, PoisonError};

use super::waker::Waker;
use crate::burst::Burst;
use crate::lane::{LaneRx, LaneTx, lane};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Where a worker is given new lanes, and how it is woken: one per worker, shared with all others.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Filled by senders, emptied by the owner.
    new_lanes: Mutex<Vec<Inlet>>,
    /// Whether `new_lanes` is worth locking: set by senders, cleared by the owner.
    has_new: AtomicBool,
    /// Wakes the owner.
    pub(crate) waker: Waker,
}

/// The owner's end of a lane.
#[derive(Debug)]
pub(crate) struct Inlet {
    /// The lport it leads to, as a position among the owner's.
    pub(crate) port: usize,
    pub(crate) lane: LaneRx,
}

/// The sender's end of a lane, made when it is first used.
#[derive(Debug)]
pub(crate) struct Outlet {
    inbox: Arc<Inbox>,
    port: usize,
    capacity: usize,
    lane: Option<LaneTx>,
}

impl Inbox {
    /// An empty one; `may_sleep` says whether its owner ever sleeps.
    pub(crate) fn new(may_sleep: bool) -> std::io::Result<Self> {
        let waker = Waker::new(may_sleep)?;
        Ok(Self { new_lanes: Mutex::new(Vec::new()), has_new: AtomicBool::new(false), waker })
    }

    /// Whether lanes wait to be taken.
    pub(crate) fn has_new(&self) -> bool {
        self.has_new.load(Ordering::Acquire)
    }

    /// Moves new lanes to the end of `inlets`.
    pub(crate) fn take_into(&self, inlets: &mut Vec<Inlet>) {
        if self.has_new() {
            let mut new = self.new_lanes.lock().unwrap_or_else(PoisonError::into_inner);
            self.has_new.store(false, Ordering::Relaxed);
            inlets.append(&mut new);
        }
    }

    fn add(&self, inlet: Inlet) {
        let mut new = self.new_lanes.lock().unwrap_or_else(PoisonError::into_inner);
        new.push(inlet);
        self.has_new.store(true, Ordering::Release);
    }
}

impl Outlet {
    /// Leads to the owner's lport number `port`, through a lane for `capacity` packets.
    pub(crate) fn new(inbox: Arc<Inbox>, port: usize, capacity: usize) -> Self {
        Self { inbox, port, capacity, lane: None }
    }

    /// Hands over packets from the front of `burst`, as many as fit, and says how many.
    #[inline]
    pub(crate) fn send(&mut self, burst: &mut Burst) -> usize {
        let lane = match &mut self.lane {
            Some(lane) => lane,
            none => Self::connect(&self.inbox, self.port, self.capacity, none),
        };
        let sent = lane.send(burst);
        if sent > 0 {
            self.inbox.waker.wake();
        }
        sent
    }

    #[cold]
    fn connect<'a>(inbox: &Inbox, port: usize, capacity: usize, end: &'a mut Option<LaneTx>) -> &'a mut LaneTx {
        let (tx, rx) = lane(capacity);
        inbox.add(Inlet { port, lane: rx });
        end.insert(tx)
    }
}

/// Packets handed to an owner that goes to sleep. `make loom` runs it. The lanes' own indices are rtrb's, which loom does not
/// see into: here they are in step with the program.
#[cfg(all(test, loom))]
mod models {
    use loom::thread;

    use super::*;
    use crate::{Pool, PoolConfig};

    #[test]
    fn an_owner_that_goes_to_sleep_misses_no_lane_and_no_packet() {
        let config = PoolConfig { name: "model".into(), size: 16, data_room: 64, cache: 0, ..PoolConfig::default() };
        let pool = Pool::new(&config).unwrap();
        loom::model(move || {
            const PACKETS: usize = 2;
            let inbox = Arc::new(Inbox::new(true).unwrap());
            let (to, packets) = (Arc::clone(&inbox), pool.clone());
            let sender = thread::spawn(move || {
                let mut outlet = Outlet::new(to, 0, 4);
                for _ in 0..PACKETS {
                    let mut burst = Burst::with_limit(1);
                    packets.alloc_bulk(&mut burst, 1);
                    assert_eq!(outlet.send(&mut burst), 1);
                }
            });
            let (mut inlets, mut burst) = (Vec::new(), Burst::new());
            while burst.len() < PACKETS {
                let has_work = || inbox.has_new() || inlets.iter().any(|inlet: &Inlet| !inlet.lane.is_empty());
                // With a lost wake-up this never ends, and loom says so.
                inbox.waker.sleep_unless(has_work, Waker::wait);
                inbox.take_into(&mut inlets);
                for inlet in &mut inlets {
                    inlet.lane.receive(&mut burst);
                }
            }
            sender.join().unwrap();
        });
    }
}
