//! What a runtime reports, while it runs and at its end: plain data, in DPDK's words where it has them.

use std::time::Duration;

use crate::deployment::{LportId, PageSize};
use crate::lport::Link;
use crate::stats::LportStats;

/// The state of everything at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Time since the threads started; in the final report, until the last one stopped.
    pub duration: Duration,
    /// All lports, by id; also those that could not be opened.
    pub lports: Vec<LportReport>,
    /// All polling threads, in the deployment's order.
    pub threads: Vec<ThreadReport>,
    /// All pools, in the deployment's order.
    pub pools: Vec<PoolReport>,
}

/// An lport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LportReport {
    /// Its number.
    pub id: LportId,
    /// Its logical name.
    pub name: String,
    /// Its driver's name.
    pub driver: String,
    /// State of its link; in the final report, before it was closed.
    pub link: Link,
    /// The driver's counters. What threads dropped on the way to the lport is added to `oerrors` and stands in `xstats`
    /// as `tx_full_dropped` (the device did not accept it), `handover_dropped` (the lane to its owner was full) and
    /// `unowned_dropped` (no thread polls it, or it could not be opened).
    pub stats: LportStats,
}

/// A polling thread.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadReport {
    /// Its name.
    pub name: String,
    /// The CPUs it is pinned to; empty: unpinned.
    pub lcores: Vec<usize>,
    /// Rounds of polling.
    pub polls: u64,
    /// Share of time spent in rounds that moved packets, 0 to 100.
    pub busy_percent: f64,
    /// Times it slept.
    pub sleeps: u64,
    /// Sleeps that ended because something came.
    pub wakeups: u64,
    /// What its task panicked with; its lports are down since.
    pub failure: Option<String>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolReport {
    /// Its name.
    pub name: String,
    /// Number of mbufs.
    pub size: usize,
    /// Mbufs that nobody holds. Equals `size` after a clean stop.
    pub available: usize,
    /// Those of `available` that lie in threads' caches.
    pub cached: usize,
    /// Mbufs a thread's cache keeps at rest.
    pub cache_size: usize,
    /// Bytes of data one mbuf holds behind its headroom.
    pub data_room: usize,
    /// Bytes of memory that the mbufs' data lies in.
    pub memory: usize,
    /// Pages of that memory.
    pub page: PageSize,
}
