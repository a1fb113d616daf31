//! Mbufs that a zero-copy client has back from another process, and that rest before their pool gets them.
//!
//! The peer's CPU has the lines of what it has read in its cache. A pool gives the mbuf that came back last first, so whoever
//! writes the next packet there waits for one line after the other: with packets of 512 bytes, three times as long as otherwise.
//! While mbufs rest, the lines of others drive theirs out.
//!
//! That is wrong where the peer does not read, or nobody has written: then the fewest mbufs are best. And between CPUs that share no
//! cache it does not help. So it is one of the three [`Ways`] that are tried, by the same rules as when packets are copied:
//! - in turn: mbufs rest;
//! - to few: none does;
//! - past the caches: packets are copied into mbufs that have rested.

use pmd_core::{BURST_MAX, Burst, Mbuf, MbufFifo};

use super::RingSize;
use super::ways::Ways;

/// How many rest at most: with packets of 512 bytes, more than a CPU's own cache holds. Packets below [`super::ways::FROM`] never
/// do: of these there is a line or two to wait for, and the headers of so many mbufs, which leave the first-level cache, cost as
/// much.
pub(crate) const MOST_RESTING: usize = 2560;

/// The mbufs that rest, those that have rested longest in front.
#[derive(Debug)]
pub(super) struct Resting {
    /// Which way large packets go.
    pub(super) ways: Ways,
    mbufs: MbufFifo,
    /// Some on their way here, empty between calls.
    moving: Burst,
}

impl Resting {
    /// None yet, of a ring of `size` slots; `most` at a time, 1 at least.
    pub(super) fn new(size: RingSize, most: usize) -> Self {
        Self { ways: Ways::new(size, true), mbufs: MbufFifo::new(most), moving: Burst::new() }
    }

    /// Whether none rests.
    pub(super) fn is_empty(&self) -> bool {
        self.mbufs.is_empty()
    }

    /// Lets the first `n` of `consumed` rest. Those that have rested longest make room.
    #[inline]
    pub(super) fn add(&mut self, consumed: &mut MbufFifo, n: usize) {
        let mut left = n;
        while left > 0 {
            let run = left.min(BURST_MAX).min(self.mbufs.room() + self.mbufs.len());
            self.mbufs.free(run.saturating_sub(self.mbufs.room()));
            consumed.pop_to(&mut self.moving, run);
            self.mbufs.push_from(&mut self.moving, run);
            left -= run;
        }
    }

    /// Adds those that have rested longest to `burst`, `n` at most, as empty as fresh ones.
    pub(super) fn take(&mut self, burst: &mut Burst, n: usize) {
        let first = burst.len();
        self.mbufs.pop_to(burst, n.min(self.mbufs.len()).min(burst.room()));
        burst[first..].iter_mut().for_each(Mbuf::reset);
    }

    /// None rests any more.
    #[inline(always)]
    pub(super) fn free_all(&mut self) {
        if !self.mbufs.is_empty() {
            self.mbufs.free(self.mbufs.len());
        }
    }
}
