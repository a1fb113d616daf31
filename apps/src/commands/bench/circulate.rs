//! Packets that go round between the lports of a thread: what a packet, and what a poll, costs in our own process.
//!
//! 1. [`Circulate`] sends a number of packets first from some of its lports, then sends whatever an lport receives to its
//!    partner, for ever; the other lports are polled and have nothing.
//! 2. [`measure`] runs a file with it, lets it warm up, and takes the difference of two reports of the runtime.

use std::time::{Duration, Instant};

use pmd_core::{Burst, LportId, Ports, Registry, Report, Runtime, Settings, Task, TaskError};
use serde::Serialize;
use serde_json::Value;

use super::arrangement::THREAD;
use super::disturbance::Watched;
use super::frames::{FrameSize, Frames};
use super::own::{deployment, whole};
use crate::failure::Failure;
use crate::signals::Signals;

/// Time before the first report, at least.
const WARM_UP: Duration = Duration::from_millis(100);

/// Longest time until every buffer has been used once.
const WARM_UP_MAX: Duration = Duration::from_secs(5);

/// Longest wait for links, and for the first packet.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a disturbed measurement is made again.
const REPEATS: u32 = 2;

/// What is to go round.
#[derive(Debug, Clone)]
pub(super) struct Round<'a> {
    /// The lport file; every lport has its partner in it.
    pub(super) file: &'a Value,
    pub(super) registry: &'a Registry,
    /// From, to.
    pub(super) partners: Vec<(String, String)>,
    /// The lports that send packets first, and how many each.
    pub(super) first: (Vec<String>, u64),
    /// Packets after which every buffer has been used: the memory is there, and not new to the kernel.
    pub(super) warm_packets: u64,
    pub(super) size: FrameSize,
    pub(super) seed: u64,
    pub(super) burst: usize,
    /// The CPU of the thread.
    pub(super) cores: &'a [usize],
    pub(super) duration: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    /// Packets that lports accepted.
    pub(super) sent: u64,
    /// Rounds of polling, of all threads.
    pub(super) rounds: u64,
    pub(super) disturbed: bool,
}

/// The task.
struct Circulate {
    /// By position: where packets of an lport go.
    to: Vec<LportId>,
    /// Lports that still have to send, and how many packets.
    first: Vec<(LportId, u64)>,
    frames: Option<Frames>,
    burst: Burst,
    out: Burst,
}

impl Circulate {
    /// Sends what is to be sent first; what an lport does not accept waits.
    #[cold]
    fn send_first(&mut self, ports: &mut Ports) {
        let (Some(frames), Some((lport, left))) = (&mut self.frames, self.first.last_mut()) else { return };
        if self.out.is_empty() {
            let wanted = self.out.room().min(usize::try_from(*left).unwrap_or(usize::MAX));
            frames.build(&mut self.out, wanted, *left);
        }
        *left -= ports.tx_burst(*lport, &mut self.out) as u64;
        if *left == 0 {
            self.out.clear();
            self.first.pop();
        }
    }
}

impl Task for Circulate {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        if !self.first.is_empty() {
            self.send_first(ports);
        }
        let mut moved = 0;
        while let Some(position) = ports.rx_next(&mut self.burst) {
            moved += self.burst.len();
            ports.transmit(self.to[position], &mut self.burst);
        }
        moved
    }
}

/// Runs `round` and measures it; again while the machine disturbs it, a few times at most.
///
/// # Errors
/// When it cannot be started, no packet moves although some were sent first, or an mbuf is lost.
pub(super) fn measure(round: &Round<'_>, signals: &Signals) -> Result<Option<Measured>, Failure> {
    let runtime = start(round)?;
    let mut best: Option<Measured> = None;
    if wait_for_packets(&runtime, round, signals)? && warm_up(&runtime, round, signals) {
        let watched = Watched::find(&[std::process::id()], THREAD, round.cores);
        for _ in 0..=REPEATS {
            let (before, lost_before) = (runtime.snapshot(), watched.read());
            if signals.wait(round.duration) {
                break;
            }
            let (after, lost) = (runtime.snapshot(), watched.read().since(lost_before));
            let mut measured = difference(&before, &after);
            measured.disturbed = lost.disturbs(Duration::ZERO);
            if !measured.disturbed || best.is_none_or(|best| best.speed() < measured.speed()) {
                best = Some(measured);
            }
            if !measured.disturbed {
                break;
            }
        }
    }
    whole(&runtime.stop())?;
    Ok(best)
}

impl Measured {
    /// What tells two measurements of one thing apart: the faster one was disturbed less.
    fn speed(&self) -> f64 {
        (self.packets.max(self.rounds)) as f64 / self.seconds
    }

    /// Nanoseconds a packet takes.
    pub(super) fn ns_per_packet(&self) -> f64 {
        self.seconds * 1e9 / self.packets.max(1) as f64
    }

    /// Nanoseconds a round takes.
    pub(super) fn ns_per_round(&self) -> f64 {
        self.seconds * 1e9 / self.rounds.max(1) as f64
    }
}

fn start(round: &Round<'_>) -> Result<Runtime, Failure> {
    let deployment = deployment(round.file, round.registry)?;
    let named = |name: &String| {
        let unknown = || Failure::Configuration(format!("no lport `{name}` in the file"));
        deployment.lport_named(name).ok_or_else(unknown)
    };
    let mut to = vec![LportId(0); deployment.lports().len()];
    for (from, partner) in &round.partners {
        to[usize::from(named(from)?.0)] = named(partner)?;
    }
    let first =
        round.first.0.iter().map(|name| Ok((named(name)?, round.first.1))).collect::<Result<Vec<_>, Failure>>()?;
    let settings = Settings { burst: round.burst, ..Settings::default() };
    let runtime = Runtime::start(&deployment, round.registry, settings, |context| {
        let own = &context.thread.lports;
        let pool = own.first().and_then(|lport| context.pool(*lport)).cloned();
        let first: Vec<_> =
            first.iter().filter(|(lport, packets)| own.contains(lport) && *packets > 0).copied().collect();
        if pool.is_none() && !first.is_empty() {
            return Err(TaskError("packets can only be sent first from a pool".into()));
        }
        Ok(Box::new(Circulate {
            to: own.iter().map(|lport| to[usize::from(lport.0)]).collect(),
            first,
            frames: pool.map(|pool| Frames::new(round.size, round.seed, pool)),
            burst: Burst::with_limit(context.burst),
            out: Burst::with_limit(context.burst),
        }))
    })?;
    Ok(runtime)
}

/// Waits for packets to move; without any to wait for, for a moment only. False: a signal came.
fn wait_for_packets(runtime: &Runtime, round: &Round<'_>, signals: &Signals) -> Result<bool, Failure> {
    let waits = round.first.1 > 0 && !round.first.0.is_empty();
    let mut left = PATIENCE;
    let period = Duration::from_millis(5);
    while waits && runtime.lports().iter().all(|lport| lport.stats.ipackets == 0) {
        if signals.wait(period) {
            return Ok(false);
        }
        left = left.saturating_sub(period);
        if left.is_zero() {
            return Err(Failure::Running(format!("no packet came in {} seconds", PATIENCE.as_secs())));
        }
    }
    Ok(!signals.came())
}

/// Lets packets go round until all memory has been used. False: a signal came.
fn warm_up(runtime: &Runtime, round: &Round<'_>, signals: &Signals) -> bool {
    let moves = round.first.1 > 0 && !round.first.0.is_empty();
    let moved = || runtime.lports().iter().map(|lport| lport.stats.ipackets).sum::<u64>();
    let start = Instant::now();
    while !signals.wait(WARM_UP) {
        if !moves || moved() >= round.warm_packets || start.elapsed() > WARM_UP_MAX {
            return true;
        }
    }
    false
}

fn difference(before: &Report, after: &Report) -> Measured {
    let sum = |report: &Report, count: fn(&pmd_core::LportStats) -> u64| -> u64 {
        report.lports.iter().map(|lport| count(&lport.stats)).sum()
    };
    let lports = |count| sum(after, count) - sum(before, count);
    let rounds = |report: &Report| report.threads.iter().map(|thread| thread.polls).sum::<u64>();
    Measured {
        seconds: (after.duration - before.duration).as_secs_f64(),
        packets: lports(|stats| stats.ipackets),
        bytes: lports(|stats| stats.ibytes),
        lost: lports(|stats| stats.imissed + stats.ierrors + stats.oerrors),
        sent: lports(|stats| stats.opackets),
        rounds: rounds(after) - rounds(before),
        disturbed: false,
    }
}
