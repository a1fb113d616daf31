//! How busy a worker is, measured without a clock in its rounds.
//!
//! 1. The worker reads the clock once per window of some hundred rounds and says how many of them moved packets.
//! 2. A window without packets tells what an empty round costs here.
//! 3. In a mixed window the empty rounds are charged at that cost; the rest of its time was busy.
//! 4. Time given away (yields, sleeps) is taken out of its window.
//!
//! So a round that moves 256 large packets weighs more than one that moves a small one, and nobody pays for it.
//! Until the first empty window the share of rounds is all there is to go by.

use std::time::{Duration, Instant};

use crate::stats::Counter;

/// Rounds from which a window is long enough to tell the cost of one: below, reading the clock weighs too much.
const FULL_WINDOW: u32 = 64;

/// What a worker did. Written by the worker, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Rounds of polling.
    pub(crate) polls: Counter,
    /// Time in rounds that moved packets, in nanoseconds.
    pub(crate) busy_ns: Counter,
    /// Times it slept.
    pub(crate) sleeps: Counter,
    /// Sleeps that ended because something came, not because their time was up.
    pub(crate) wakeups: Counter,
}

/// Turns windows into busy time.
#[derive(Debug)]
pub(crate) struct Meter {
    window_start: Instant,
    away: Duration,
    /// Nanoseconds of an empty round, a moving average; `None` before the first empty window.
    empty_round: Option<f64>,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { window_start: now, away: Duration::ZERO, empty_round: None }
    }

    /// Runs `f`, whose time belongs to somebody else.
    pub(crate) fn away(&mut self, f: impl FnOnce()) {
        let start = Instant::now();
        f();
        self.away += start.elapsed();
    }

    /// Ends a window of `rounds` rounds of which `busy` moved packets, and returns its busy time in nanoseconds.
    pub(crate) fn end_window(&mut self, now: Instant, rounds: u32, busy: u32) -> u64 {
        let time = now.saturating_duration_since(self.window_start).saturating_sub(self.away).as_nanos() as f64;
        (self.window_start, self.away) = (now, Duration::ZERO);
        let empty = f64::from(rounds - busy);
        if busy == 0 && rounds < FULL_WINDOW {
            return 0;
        }
        if busy == 0 {
            let cost = time / empty.max(1.0);
            // A sixteenth per window: one preempted window does not spoil the average for long.
            self.empty_round = Some(self.empty_round.map_or(cost, |average| average + (cost - average) / 16.0));
            return 0;
        }
        let empty_time = match self.empty_round {
            Some(cost) => empty * cost,
            None => time * empty / f64::from(rounds),
        };
        (time - empty_time).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Busy nanoseconds of each window, given as (length, rounds, busy rounds).
    fn busy(windows: &[(u64, u32, u32)]) -> Vec<u64> {
        let mut now = Instant::now();
        let mut meter = Meter::new(now);
        let window = |&(ns, rounds, busy): &(u64, u32, u32)| {
            now += Duration::from_nanos(ns);
            meter.end_window(now, rounds, busy)
        };
        windows.iter().map(window).collect()
    }

    #[test]
    fn empty_rounds_are_charged_at_their_own_cost() {
        assert_eq!(busy(&[(2_000, 200, 0), (10_000, 200, 100), (50_000, 200, 200)]), [0, 9_000, 50_000]);
    }

    #[test]
    fn without_an_empty_window_the_share_of_rounds_counts() {
        assert_eq!(busy(&[(1_000, 100, 25)]), [250]);
    }

    #[test]
    fn a_window_is_never_busier_than_long() {
        assert_eq!(busy(&[(100_000, 100, 0), (1_000, 100, 50)]), [0, 0]);
    }
}
