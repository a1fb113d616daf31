//! `tx-only` and `tx-only-rx`: a packet generator.
//!
//! 1. Each lport of a thread gets a stream of its own: frames of one size, numbered from 0, at full speed or at a rate, for
//!    ever or a given number of them.
//! 2. A burst is built when the one before has left, in the memory that the lport sends from if it has such; what the lport
//!    does not accept stays and is sent first next time, so a generator loses nothing, and a number of packets is exact.
//! 3. The rate is kept by a budget that grows with time. It is capped, so that a link that was down or busy is not
//!    flooded when it comes back.

use std::time::{Duration, Instant};

use pmd_core::{BURST_MAX, Burst, LportId, Pool, Ports, Task, TaskContext, TaskError};

use super::discard::Discard;
use super::template::Template;

/// The traffic of each lport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// `tx-size`: bytes of a frame without FCS.
    pub(crate) size: usize,
    /// `tx-rate`: packets per second; `None`: as fast as possible.
    pub(crate) rate: Option<u64>,
    /// `tx-count`: packets to send; `None`: for ever.
    pub(crate) count: Option<u64>,
    /// `tx-burst`: packets sent at a time; `None`: as many as are received at a time.
    pub(crate) burst: Option<usize>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { size: 64, rate: None, count: None, burst: None }
    }
}

/// The task of `tx-only`.
pub(super) struct Generate {
    streams: Vec<Stream>,
}

impl Generate {
    pub(super) fn new(context: &TaskContext<'_>, traffic: &Traffic) -> Result<Self, TaskError> {
        let open = context.thread.lports.iter().filter(|id| context.control(**id).is_some());
        let streams = open.map(|id| Stream::new(context, *id, traffic)).collect::<Result<_, _>>()?;
        Ok(Self { streams })
    }
}

impl Task for Generate {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        self.streams.iter_mut().map(|stream| stream.send(ports)).sum()
    }

    fn may_sleep(&self) -> bool {
        self.streams.iter().all(Stream::is_done)
    }
}

/// The task of `tx-only-rx`.
pub(super) struct GenerateAndReceive {
    generate: Generate,
    receive: Discard,
}

impl GenerateAndReceive {
    pub(super) fn new(context: &TaskContext<'_>, traffic: &Traffic) -> Result<Self, TaskError> {
        Ok(Self { generate: Generate::new(context, traffic)?, receive: Discard::new(context.burst) })
    }
}

impl Task for GenerateAndReceive {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        self.generate.poll(ports) + self.receive.poll(ports)
    }

    fn may_sleep(&self) -> bool {
        self.generate.may_sleep()
    }
}

/// The packets of one lport.
struct Stream {
    to: LportId,
    pool: Pool,
    template: Template,
    burst: Burst,
    burst_size: usize,
    /// Number of the next frame: how many have been built.
    next: u64,
    count: u64,
    budget: Option<Budget>,
}

impl Stream {
    fn new(context: &TaskContext<'_>, to: LportId, traffic: &Traffic) -> Result<Self, TaskError> {
        let name = || context.deployment.lports()[usize::from(to.0)].1.name.clone();
        let pool = context.pool(to).cloned().ok_or_else(|| {
            TaskError(format!("lport `{}` has no `umem`, but a generator needs one to build packets in", name()))
        })?;
        let segments = traffic.size.div_ceil(pool.data_room());
        if segments > pool.size() {
            let (size, mbufs, room) = (traffic.size, pool.size(), pool.data_room());
            let text = format!("`tx-size` is {size}, but pool `{}` has {mbufs} mbufs of {room} bytes", pool.name());
            return Err(TaskError(text));
        }
        let source = context.control(to).and_then(|control| control.info().mac).unwrap_or([2, 0, 0, 0, 0, to.0 as u8]);
        let template = Template::new(traffic.size, [2, 0, 0, 0, 0, 0], source);
        let burst_size = traffic.burst.unwrap_or(context.burst).min(BURST_MAX);
        let (burst, count) = (Burst::with_limit(burst_size), traffic.count.unwrap_or(u64::MAX));
        let budget = traffic.rate.map(|rate| Budget::new(rate, burst_size, Instant::now()));
        Ok(Self { to, pool, template, burst, burst_size, next: 0, count, budget })
    }

    fn is_done(&self) -> bool {
        self.next == self.count && self.burst.is_empty()
    }

    #[inline]
    fn send(&mut self, ports: &mut Ports) -> usize {
        if self.burst.is_empty() {
            self.build(ports);
            if self.burst.is_empty() {
                return 0;
            }
        }
        ports.tx_burst(self.to, &mut self.burst)
    }

    /// Fills the burst with as many new frames as count, rate and memory allow.
    fn build(&mut self, ports: &mut Ports) {
        let mut wanted = self.burst_size.min(usize::try_from(self.count - self.next).unwrap_or(usize::MAX));
        if let Some(budget) = &mut self.budget {
            wanted = wanted.min(budget.packets(Instant::now()));
        }
        let built = if let Some(built) = self.build_in_place(ports, wanted) {
            built
        } else if self.template.size() <= self.pool.data_room() {
            let built = self.pool.alloc_bulk(&mut self.burst, wanted);
            self.fill();
            built
        } else {
            self.build_chained(wanted)
        };
        if let Some(budget) = &mut self.budget {
            budget.spend(built);
        }
    }

    /// Where the lport sends from, if it has such memory and a frame fits.
    fn build_in_place(&mut self, ports: &mut Ports, wanted: usize) -> Option<usize> {
        let built = ports.alloc_burst(self.to, &mut self.burst, wanted)?;
        if self.burst.iter().any(|frame| frame.tailroom() < self.template.size()) {
            self.burst.clear();
            return None;
        }
        self.fill();
        Some(built)
    }

    /// Makes frames of the empty mbufs in the burst.
    fn fill(&mut self) {
        let size = self.template.size();
        for frame in self.burst.iter_mut() {
            let room = &mut frame.room_mut()[..size];
            self.template.write(room, self.next);
            room[Template::head_len()..].fill(0);
            frame.set_received(size, 0);
            self.next += 1;
        }
    }

    /// Frames longer than one mbuf.
    #[cold]
    fn build_chained(&mut self, wanted: usize) -> usize {
        for built in 0..wanted {
            let Some(frame) = self.chained_frame() else { return built };
            // The burst was empty, and `wanted` is within its limit.
            let _ = self.burst.push(frame);
            self.next += 1;
        }
        wanted
    }

    /// The next frame as a chain; `None` when the pool has not enough mbufs.
    fn chained_frame(&self) -> Option<pmd_core::Mbuf> {
        let room = self.pool.data_room();
        let mut frame = self.pool.alloc()?;
        self.template.write(frame.append(room)?, self.next);
        frame.data_mut()[Template::head_len()..].fill(0);
        while frame.packet_len() < self.template.size() {
            let mut segment = self.pool.alloc()?;
            segment.append(room.min(self.template.size() - frame.packet_len()))?.fill(0);
            frame.chain(segment).ok()?;
        }
        Some(frame)
    }
}

/// How many packets a rate allows.
#[derive(Debug)]
struct Budget {
    /// Packets per second.
    rate: u64,
    /// Most packets saved up.
    cap: f64,
    saved: f64,
    updated: Instant,
}

impl Budget {
    /// Ten milliseconds' worth may be saved up, and always two bursts: a thread that was away catches up with what it
    /// missed, no more.
    fn new(rate: u64, burst: usize, now: Instant) -> Self {
        let cap = (rate as f64 / 100.0).max(2.0 * burst as f64);
        Self { rate, cap, saved: 0.0, updated: now }
    }

    /// Whole packets that may be sent at `now`.
    fn packets(&mut self, now: Instant) -> usize {
        let passed: Duration = now.saturating_duration_since(self.updated);
        self.updated = now;
        self.saved = (self.saved + passed.as_secs_f64() * self.rate as f64).min(self.cap);
        self.saved as usize
    }

    fn spend(&mut self, packets: usize) {
        self.saved -= packets as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_grows_with_time_and_is_capped() {
        let start = Instant::now();
        let mut budget = Budget::new(1000, 32, start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(budget.packets(start), 0);
        assert_eq!(budget.packets(at(10)), 10);
        budget.spend(4);
        assert_eq!(budget.packets(at(11)), 7);
        assert_eq!(budget.packets(at(60_000)), 64, "two bursts at most, after a minute away");
    }

    #[test]
    fn a_slow_rate_is_kept_exactly() {
        let start = Instant::now();
        let mut budget = Budget::new(3, 32, start);
        let mut sent = 0;
        for ms in (0..=10_000).step_by(7) {
            let n = budget.packets(start + Duration::from_millis(ms));
            budget.spend(n);
            sent += n;
        }
        assert!((29..=30).contains(&sent), "{sent} packets in ten seconds");
    }
}
