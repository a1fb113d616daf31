//! A running arrangement, and trials on it.
//!
//! 1. [`Rig::start`] starts both processes: our own lports in a runtime whose thread runs a [`Tester`], and an `lport run` at
//!    the other end, unless somebody else is there. It waits for the links and warms up. The rig then stands for all trials.
//! 2. [`Rig::trial`] gives the tester an order and waits for its tally. What the other process received is asked through its
//!    telemetry before and after: nobody works beside the polling threads while a trial is on.
//! 3. [`Rig::undisturbed`] repeats a trial that the machine spoilt.
//! 4. [`Rig::stop`] stops both and finds all mbufs in their pools.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use pmd_core::{LportId, Runtime, Settings, TaskError};

use super::args::Setup;
use super::arrangement::{Arrangement, THREAD};
use super::disturbance::{Lost, Watched};
use super::frames::Frames;
use super::own::{deployment, whole};
use super::peer::Peer;
use super::search;
use super::tester::{Order, Tally, Tester};
use crate::failure::Failure;
use crate::signals::Signals;

/// How much longer than asked a trial may take before it is given up.
const TALLY_PATIENCE: Duration = Duration::from_secs(10);

/// The trial that warms up caches, rings and pools.
const WARM_UP: Duration = Duration::from_millis(200);

/// How often a disturbed trial is made again.
const REPEATS: u32 = 2;

/// How often counters that still change are asked for.
const COUNTER_PERIOD: Duration = Duration::from_millis(5);

/// How long counters stand still until no more packets are expected: the other process may have been kept from running.
const SETTLED: Duration = Duration::from_millis(100);

/// A running arrangement.
pub(super) struct Rig<'a> {
    runtime: Runtime,
    peer: Option<Peer>,
    returns: bool,
    orders: Sender<Order>,
    tallies: Receiver<Tally>,
    watched: Watched,
    signals: &'a Signals,
}

/// What a trial came to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// Bytes that were received, at the end that counts.
    pub(super) bytes: u64,
    /// Time that threads were kept from their CPUs.
    pub(super) lost_time: Duration,
    /// Whether the machine spoilt it.
    pub(super) disturbed: bool,
}

impl Outcome {
    /// Packets that were intended and did not arrive, for whatever reason.
    pub(super) fn lost(&self) -> u64 {
        self.tally.intended.saturating_sub(self.tally.received)
    }

    /// Their share.
    pub(super) fn loss_ratio(&self) -> f64 {
        self.lost() as f64 / self.tally.intended.max(1) as f64
    }

    /// Packets received per second.
    pub(super) fn rate(&self) -> f64 {
        self.tally.received as f64 / self.tally.sending.as_secs_f64().max(1e-9)
    }
}

impl<'a> Rig<'a> {
    /// Starts `arrangement`; `directory` is for the other process's files. `None` when a signal came.
    ///
    /// # Errors
    /// When a process cannot be started, or the links do not come up.
    pub(super) fn start(
        setup: &Setup,
        arrangement: &Arrangement,
        directory: &Path,
        signals: &'a Signals,
    ) -> Result<Option<Self>, Failure> {
        let start_peer = |first| {
            let file = arrangement.other.as_ref().filter(|(_, goes_first)| *goes_first == first);
            file.map(|(file, _)| Peer::start(file, setup, directory)).transpose()
        };
        let before = start_peer(true)?;
        let (orders, tallies, runtime) = start_own(setup, arrangement)?;
        let peer = match before {
            Some(peer) => Some(peer),
            None => start_peer(false)?,
        };
        let (returns, watched) = (arrangement.work.returns(), Watched::default());
        let mut rig = Self { runtime, peer, returns, orders, tallies, watched, signals };
        if !rig.wait_for_links(arrangement.patience)? {
            return Ok(None);
        }
        let pids: Vec<_> = std::iter::once(std::process::id()).chain(rig.peer.as_ref().map(Peer::id)).collect();
        rig.watched = Watched::find(&pids, THREAD, &arrangement.cores);
        let warm_up = Order { rate: None, duration: WARM_UP, record_every: 0 };
        let warm = rig.trial(warm_up)?;
        if warm.tally.received == 0 {
            let message = format!(
                "no packet came through in {} ms, although all links are up: does the other end send them back?",
                WARM_UP.as_millis()
            );
            return Err(Failure::Running(message));
        }
        Ok((!signals.came()).then_some(rig))
    }

    fn wait_for_links(&self, patience: Duration) -> Result<bool, Failure> {
        let end = Instant::now() + patience;
        loop {
            let lports = self.runtime.lports();
            let Some(down) = lports.iter().find(|lport| !lport.link.is_up()) else { return Ok(true) };
            if Instant::now() > end {
                let (name, seconds) = (&down.name, patience.as_secs());
                let message = format!("the link of {name} did not come up within {seconds} s: {:?}", down.link);
                return Err(Failure::Running(message));
            }
            if self.signals.wait(Duration::from_millis(5)) {
                return Ok(false);
            }
        }
    }

    /// Makes one trial.
    ///
    /// # Errors
    /// When a process has failed.
    pub(super) fn trial(&mut self, order: Order) -> Result<Outcome, Failure> {
        let (received, bytes) = self.received()?;
        let before = self.watched.read();
        let gone = || Failure::Running("the generator's thread has failed".into());
        self.orders.send(order).map_err(|_| gone())?;
        let mut tally = self.tallies.recv_timeout(order.duration * 2 + TALLY_PATIENCE).map_err(|_| gone())?;
        let lost: Lost = self.watched.read().since(before);
        let (received_now, bytes_now) = self.settled(received + tally.sent)?;
        // What an earlier trial had given up and came after all is none of this one.
        tally.received = (received_now - received).min(tally.sent);
        let disturbed = lost.disturbs(tally.longest_gap);
        tracing::debug!("{tally:?}, {lost:?}");
        Ok(Outcome { tally, bytes: bytes_now - bytes, lost_time: lost.time(), disturbed })
    }

    /// Makes a trial, and makes it again while the machine disturbs it, a few times at most; the least disturbed one counts.
    ///
    /// # Errors
    /// As [`Self::trial`].
    pub(super) fn undisturbed(&mut self, order: Order) -> Result<Outcome, Failure> {
        let mut best = self.trial(order)?;
        for _ in 0..REPEATS {
            if !best.disturbed || self.signals.came() {
                break;
            }
            let again = self.trial(order)?;
            if again.lost_time < best.lost_time || !again.disturbed {
                best = again;
            }
        }
        Ok(best)
    }

    /// Packets and bytes received where it counts, since the start.
    fn received(&mut self) -> Result<(u64, u64), Failure> {
        match &mut self.peer {
            Some(peer) if !self.returns => peer.received(),
            _ => {
                let lports = self.runtime.lports();
                let sum = |count: fn(&pmd_core::LportStats) -> u64| lports.iter().map(|l| count(&l.stats)).sum();
                Ok((sum(|stats| stats.ipackets), sum(|stats| stats.ibytes)))
            }
        }
    }

    /// The same, when `expected` packets are there or no more come.
    fn settled(&mut self, expected: u64) -> Result<(u64, u64), Failure> {
        let (mut last, mut since) = (self.received()?, Instant::now());
        while last.0 < expected && since.elapsed() < SETTLED {
            std::thread::sleep(COUNTER_PERIOD);
            let now = self.received()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(last)
    }

    /// Whether a stop was asked for.
    pub(super) fn is_interrupted(&self) -> bool {
        self.signals.came()
    }

    /// The share of a CPU that all threads of the other process take while nothing is sent for `length`.
    pub(super) fn cpu_share_at_rest(&self, length: Duration) -> f64 {
        let Some(peer) = &self.peer else { return 0.0 };
        let process = Watched::whole(peer.id());
        let (start, before) = (Instant::now(), process.read());
        self.signals.wait(length);
        process.read().since(before).ran().as_secs_f64() / start.elapsed().as_secs_f64()
    }

    /// Stops both processes.
    ///
    /// # Errors
    /// When one of them does not end well, or an mbuf is missing.
    pub(super) fn stop(self) -> Result<(), Failure> {
        let report = self.runtime.stop();
        if let Some(peer) = self.peer {
            peer.stop()?;
        }
        whole(&report)
    }
}

type OwnEnd = (Sender<Order>, Receiver<Tally>, Runtime);

/// Our own lports, polled by a tester.
fn start_own(setup: &Setup, arrangement: &Arrangement) -> Result<OwnEnd, Failure> {
    let deployment = deployment(&arrangement.own, &setup.registry)?;
    let to: Vec<_> = arrangement.to.iter().filter_map(|name| deployment.lport_named(name)).collect();
    let (orders, for_tester) = channel();
    let (from_tester, tallies) = channel();
    let mut for_tester = Some(for_tester);
    let settings = Settings { burst: setup.burst, ..Settings::default() };
    let runtime = Runtime::start(&deployment, &setup.registry, settings, |context| {
        let pool = to.first().and_then(|lport: &LportId| context.pool(*lport)).cloned();
        let (Some(pool), Some(orders)) = (pool, for_tester.take()) else {
            return Err(TaskError("a generator needs a pool, and there is one generator".into()));
        };
        let frames = Frames::new(arrangement.size, setup.seed, pool);
        let returns = arrangement.work.returns();
        Ok(Box::new(Tester::new(to.clone(), returns, frames, context.burst, orders, from_tester.clone())))
    })?;
    Ok((orders, tallies, runtime))
}

/// A rig makes the trials of a search; what ends it early is an error.
pub(super) struct Measuring<'r, 'a> {
    pub(super) rig: &'r mut Rig<'a>,
    /// One packet in so many microseconds' worth is recorded: as in the trials the search is for.
    pub(super) records: bool,
    /// Called after every trial.
    pub(super) progress: &'r mut dyn FnMut(&search::Trial),
    /// Trials that stayed disturbed.
    pub(super) disturbed: u32,
}

/// Why a search ended early.
pub(super) enum Stopped {
    /// A signal came.
    Signal,
    /// Something failed.
    Failed(Failure),
}

impl search::Measurer for Measuring<'_, '_> {
    type Error = Stopped;

    fn measure(&mut self, load: search::Load, seconds: f64) -> Result<search::Trial, Stopped> {
        if self.rig.is_interrupted() {
            return Err(Stopped::Signal);
        }
        let rate = load as f64;
        let record_every = if self.records { super::latency::record_every(rate) } else { 0 };
        let order = Order { rate: Some(rate), duration: Duration::from_secs_f64(seconds), record_every };
        let outcome = self.rig.undisturbed(order).map_err(Stopped::Failed)?;
        self.disturbed += u32::from(outcome.disturbed);
        let trial = search::Trial { load, seconds, loss_ratio: outcome.loss_ratio() };
        (self.progress)(&trial);
        Ok(trial)
    }
}
