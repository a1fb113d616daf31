//! Counters: one writer each, stored once per burst, read by anyone.
//!
//! A [`Counter`] belongs to the queue that counts. The owner adds with a plain load and store, never with an atomic
//! read-modify-write; readers on other threads see some recent value. Groups of counters of one writer are padded to a
//! cache line by whoever embeds them. Resetting is the reader's business: remember a baseline and subtract.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owner may call it: two writers at once would lose counts (never more than that).
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// A recent value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl LportStats {
    /// Adds `n` to the xstat called `name`, which may be there already: wrappers can be around one another.
    pub fn add_xstat(&mut self, name: &'static str, n: u64) {
        match self.xstats.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += n,
            None => self.xstats.push((name, n)),
        }
    }
}

/// The counters of an lport, in the words of DPDK's `rte_eth_stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LportStats {
    /// Packets received and given to the application.
    pub ipackets: u64,
    /// Packets sent: accepted by the device.
    pub opackets: u64,
    /// Bytes of `ipackets`.
    pub ibytes: u64,
    /// Bytes of `opackets`.
    pub obytes: u64,
    /// Packets that came but were lost because we were too slow.
    pub imissed: u64,
    /// Packets that came and were refused as malformed.
    pub ierrors: u64,
    /// Packets that could not be sent and were dropped by the driver.
    pub oerrors: u64,
    /// Times no mbuf could be had for a received packet.
    pub rx_nombuf: u64,
    /// Everything else the driver counts, by name.
    pub xstats: Vec<(&'static str, u64)>,
}
