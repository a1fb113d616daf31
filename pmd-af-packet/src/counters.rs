//! Counters of a queue: those that every driver has, and what only a packet socket can count. One writer each.

use pmd_core::{Counter, LportStats, QueueCounters};

/// Counters of one queue.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) common: QueueCounters,
    pub(crate) rx: RxExtra,
    pub(crate) tx: TxExtra,
}

/// What only the receiving half counts.
#[derive(Debug, Default)]
pub(crate) struct RxExtra {
    /// Checksums completed in software.
    pub(crate) checksums: Counter,
    /// Packets made by cutting larger ones.
    pub(crate) segments: Counter,
    /// VLAN tags put back.
    pub(crate) vlan_tags: Counter,
    /// Longer than a block of the ring, or than all mbufs of the pool together.
    pub(crate) truncated: Counter,
    /// With a checksum that we cannot complete.
    pub(crate) checksum_unknown: Counter,
    /// Whose description makes no sense.
    pub(crate) bad: Counter,
}

/// What only the sending half counts.
#[derive(Debug, Default)]
pub(crate) struct TxExtra {
    /// Longer than the interface's MTU allows.
    pub(crate) too_long: Counter,
    /// Shorter than an Ethernet header, or refused by the kernel for another reason.
    pub(crate) refused: Counter,
    /// Bursts that the kernel did not take wholly: its queues were full.
    pub(crate) full: Counter,
}

impl Counters {
    /// All of them; `drops` and `freezes` are the kernel's.
    pub(crate) fn stats(&self, drops: u64, freezes: u64) -> LportStats {
        let Self { common, rx, tx } = self;
        let mut stats = common.stats();
        stats.imissed += drops;
        stats.xstats = vec![
            ("rx_kernel_dropped", drops),
            ("rx_ring_full", freezes),
            ("rx_checksums_completed", rx.checksums.get()),
            ("rx_segments_made", rx.segments.get()),
            ("rx_vlan_tags_restored", rx.vlan_tags.get()),
            ("rx_truncated_dropped", rx.truncated.get()),
            ("rx_checksum_unknown_dropped", rx.checksum_unknown.get()),
            ("rx_bad_frame_dropped", rx.bad.get()),
            ("tx_too_long_dropped", tx.too_long.get()),
            ("tx_refused_dropped", tx.refused.get()),
            ("tx_full", tx.full.get()),
        ];
        stats
    }
}
