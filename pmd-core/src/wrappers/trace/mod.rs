//! The tracer: a line in the log for each packet that passes.
//!
//! 1. [`Trace`] says which packets, at which level, and how many lines there may be, in all and per second.
//! 2. A received packet is shown when it has been received; of packets that are sent, those that the device took.
//! 3. What the limits leave out is counted, and the next line tells how many there were.
//!
//! Lines cost what logging costs. With the level turned off, or the count used up, a burst passes at the price of a look.

mod summary;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_utils::CachePadded;
use tracing::Level;

use super::rate::Rate;
use crate::burst::Burst;
use crate::deployment::LportId;
use crate::driver::OpenError;
use crate::lport::{Lport, RxQueue, TxQueue};
use crate::mbuf::Mbuf;
use crate::options::{OptionSpec, Options};
use crate::stats::{Counter, LportStats};
use crate::wrapper::{WithStats, Wrapper};
use summary::Summary;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Level of the lines.
    pub level: Level,
    /// Whether received packets are shown.
    pub rx: bool,
    /// Whether sent packets are.
    pub tx: bool,
    /// Most lines in all, for each direction; `None`: no limit.
    pub count: Option<u64>,
    /// Most lines per second, for each direction, 1 to 1000000.
    pub rate: u64,
    /// How many bytes of each packet are shown in hexadecimal.
    pub bytes: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Self { level: Level::INFO, rx: true, tx: true, count: None, rate: 100, bytes: 0 }
    }
}

impl Trace {
    /// Shows the packets of an lport.
    pub fn wrap(&self, lport: Lport) -> Lport {
        let tallies = Arc::new(Tallies::default());
        let lines = |direction| Lines {
            trace: *self,
            lport: lport.name.clone(),
            direction,
            number: 0,
            left: self.count.unwrap_or(u64::MAX),
            rate: Rate::of_lines(self.rate.clamp(1, RATE_MAX)),
            unshown: 0,
        };
        let (rx_lines, tx_lines) = (self.rx.then(|| lines("rx")), self.tx.then(|| lines("tx")));
        Lport {
            rx: Box::new(TraceRx { inner: lport.rx, lines: rx_lines, tallies: Arc::clone(&tallies) }),
            tx: Box::new(TraceTx { inner: lport.tx, lines: tx_lines, tallies: Arc::clone(&tallies) }),
            control: Arc::new(WithStats::new(lport.control, move |stats| tallies.report_in(stats))),
            ..lport
        }
    }
}

const RATE_MAX: u64 = 1_000_000;

/// Written by the queue of their direction.
#[derive(Debug, Default)]
struct Tallies {
    rx: CachePadded<Tally>,
    tx: CachePadded<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    shown: Counter,
    unshown: Counter,
}

impl Tallies {
    fn report_in(&self, stats: &mut LportStats) {
        stats.add_xstat("trace_rx_shown", self.rx.shown.get());
        stats.add_xstat("trace_rx_not_shown", self.rx.unshown.get());
        stats.add_xstat("trace_tx_shown", self.tx.shown.get());
        stats.add_xstat("trace_tx_not_shown", self.tx.unshown.get());
    }
}

/// The lines of one direction.
struct Lines {
    trace: Trace,
    lport: String,
    direction: &'static str,
    /// Packets so far.
    number: u64,
    /// Lines that may still come.
    left: u64,
    rate: Rate,
    /// Packets left out since the last line.
    unshown: u64,
}

impl Lines {
    /// How many of `n` packets may be shown now.
    fn allowed(&mut self, n: usize) -> usize {
        if self.left == 0 || n == 0 || !is_enabled(self.trace.level) {
            return 0;
        }
        n.min(self.left as usize).min(self.rate.tokens(Instant::now()))
    }

    /// The line of the packet behind `ahead` others that are not counted yet.
    fn line(&self, packet: &Mbuf, ahead: usize) -> String {
        let Self { lport, direction, number, trace, .. } = self;
        let number = number + ahead as u64 + 1;
        let mut line = format!("{lport} {direction} #{number}: {} bytes", packet.packet_len());
        if packet.segment_count() > 1 {
            let _ = write!(line, " in {} segments", packet.segment_count());
        }
        let _ = write!(line, ", {}", Summary(packet.data()));
        if trace.bytes > 0 {
            line.push(':');
            let bytes = packet.segments().flatten().take(trace.bytes);
            for byte in bytes {
                let _ = write!(line, " {byte:02x}");
            }
        }
        line
    }

    /// Shows the lines of the first of `n` packets that have passed.
    fn show(&mut self, lines: &[String], n: usize, tally: &Tally) {
        for line in lines {
            if self.unshown > 0 {
                show(self.trace.level, &format!("{line} ({} before it not shown)", self.unshown));
                self.unshown = 0;
            } else {
                show(self.trace.level, line);
            }
        }
        let unshown = (n - lines.len()) as u64;
        self.number += n as u64;
        self.left -= lines.len() as u64;
        self.rate.take(lines.len());
        self.unshown += unshown;
        tally.shown.add(lines.len() as u64);
        tally.unshown.add(unshown);
    }
}

fn is_enabled(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(Level::ERROR),
        Level::WARN => tracing::enabled!(Level::WARN),
        Level::INFO => tracing::enabled!(Level::INFO),
        Level::DEBUG => tracing::enabled!(Level::DEBUG),
        Level::TRACE => tracing::enabled!(Level::TRACE),
    }
}

fn show(level: Level, line: &str) {
    match level {
        Level::ERROR => tracing::error!("{line}"),
        Level::WARN => tracing::warn!("{line}"),
        Level::INFO => tracing::info!("{line}"),
        Level::DEBUG => tracing::debug!("{line}"),
        Level::TRACE => tracing::trace!("{line}"),
    }
}

struct TraceRx {
    inner: Box<dyn RxQueue>,
    lines: Option<Lines>,
    tallies: Arc<Tallies>,
}

impl RxQueue for TraceRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let first = burst.len();
        let n = self.inner.rx_burst(burst);
        if let Some(lines) = self.lines.as_mut().filter(|_| n > 0) {
            let allowed = lines.allowed(n);
            let packets = burst[first..][..allowed].iter().enumerate();
            let texts: Vec<_> = packets.map(|(ahead, packet)| lines.line(packet, ahead)).collect();
            lines.show(&texts, n, &self.tallies.rx);
        }
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.inner.renumber(lport);
    }

    fn arm(&mut self) -> bool {
        self.inner.arm()
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wake_fd()
    }
}

struct TraceTx {
    inner: Box<dyn TxQueue>,
    lines: Option<Lines>,
    tallies: Arc<Tallies>,
}

impl TxQueue for TraceTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let Some(lines) = &mut self.lines else { return self.inner.tx_burst(burst) };
        let offered = burst.len();
        // Afterwards the packets are gone.
        let allowed = lines.allowed(offered);
        let packets = burst[..allowed].iter().enumerate();
        let mut texts: Vec<_> = packets.map(|(ahead, packet)| lines.line(packet, ahead)).collect();
        let sent = self.inner.tx_burst(burst);
        let gone = offered - burst.len();
        texts.truncate(gone);
        lines.show(&texts, gone, &self.tallies.tx);
        sent
    }

    fn alloc_burst(&mut self, burst: &mut Burst, n: usize) -> Option<usize> {
        self.inner.alloc_burst(burst, n)
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn holds(&self) -> bool {
        self.inner.holds()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::choice("level", &["info", "debug", "trace", "warn", "error"], "level of the lines"),
    OptionSpec::choice("direction", &["both", "rx", "tx"], "which packets are shown"),
    OptionSpec::int("count", 1, u64::MAX, "", "lines in all, for each direction (default: no limit)"),
    OptionSpec::int("rate", 1, RATE_MAX, "100", "lines per second at most, for each direction"),
    OptionSpec::int("bytes", 0, 2048, "0", "bytes of each packet that are shown in hexadecimal"),
];

/// The wrapper `trace`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tracer;

impl Wrapper for Tracer {
    fn name(&self) -> &str {
        "trace"
    }

    fn summary(&self) -> &str {
        "logs a line for each packet that passes"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn wrap(&self, lport: Lport, options: &Options) -> Result<Lport, OpenError> {
        let direction = options.text("direction");
        let trace = Trace {
            level: options.text("level").parse().unwrap_or(Level::INFO),
            rx: direction != "tx",
            tx: direction != "rx",
            count: options.int("count"),
            rate: options.int("rate").unwrap_or(100),
            bytes: options.int("bytes").unwrap_or(0) as usize,
        };
        Ok(trace.wrap(lport))
    }
}
