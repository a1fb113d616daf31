//! Counters of a memif interface (statement 70): per queue and direction, one writer each; and those of the link.
//!
//! A queue tallies a burst in a local (`RxTally`, `TxTally`) and adds it here once, at the burst's end.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use pmd_core::{Counter, LportStats};

use crate::ring::rx::RxTally;
use crate::ring::tx::TxTally;

/// Counters of one queue pair. Each half is written by its queue's owner only.
#[derive(Debug, Default)]
pub(crate) struct QueueCounters {
    pub(crate) rx: CachePadded<RxCounters>,
    pub(crate) tx: CachePadded<TxCounters>,
}

/// What the receiving half counts.
#[derive(Debug, Default)]
pub(crate) struct RxCounters {
    packets: Counter,
    bytes: Counter,
    lent: Counter,
    nombuf: Counter,
    bad_region: Counter,
    bad_range: Counter,
    bad_length: Counter,
    too_long: Counter,
    overrun: Counter,
    /// Times the queue's owner was woken by an eventfd.
    pub(crate) interrupts: Counter,
}

/// What the sending half counts.
#[derive(Debug, Default)]
pub(crate) struct TxCounters {
    packets: Counter,
    bytes: Counter,
    empty: Counter,
    too_long: Counter,
    nombuf: Counter,
    full: Counter,
    held: Counter,
    in_place: Counter,
    streamed: Counter,
    to_few: Counter,
    returned: Counter,
    overrun: Counter,
    /// Bursts turned away because another queue sent on the ring they share.
    pub(crate) busy: Counter,
    /// Links ended because the peer had posted buffers that cannot be sent into (statement 58).
    pub(crate) faults: Counter,
    /// Bursts that met no link.
    pub(crate) no_link: Counter,
    /// Interrupts sent.
    pub(crate) interrupts: Counter,
    /// Interrupts that could not be sent.
    pub(crate) interrupt_errors: Counter,
}

/// What the control thread counts; a few times per connection.
#[derive(Debug, Default)]
pub(crate) struct LinkCounters {
    /// Links taken into service.
    pub(crate) connects: AtomicU64,
    /// Links lost.
    pub(crate) disconnects: AtomicU64,
    /// Attempts, the peer's or ours, that ended before there was a link.
    pub(crate) refusals: AtomicU64,
}

impl RxCounters {
    /// Adds a burst.
    #[inline(always)]
    pub(crate) fn add(&self, tally: &RxTally) {
        if tally.packets > 0 {
            self.packets.add(tally.packets);
            self.bytes.add(tally.bytes);
            self.lent.add(tally.lent);
        }
        let RxTally { nombuf, bad_region, bad_range, bad_length, too_long, overrun, .. } = *tally;
        if nombuf | bad_region | bad_range | bad_length | too_long | overrun != 0 {
            self.add_trouble(tally);
        }
    }

    #[cold]
    fn add_trouble(&self, tally: &RxTally) {
        self.nombuf.add(tally.nombuf);
        self.bad_region.add(tally.bad_region);
        self.bad_range.add(tally.bad_range);
        self.bad_length.add(tally.bad_length);
        self.too_long.add(tally.too_long);
        self.overrun.add(tally.overrun);
    }
}

impl TxCounters {
    /// Adds a burst.
    #[inline(always)]
    pub(crate) fn add(&self, tally: &TxTally) {
        if tally.packets > 0 {
            self.packets.add(tally.packets);
            self.bytes.add(tally.bytes);
        }
        let TxTally { empty, too_long, nombuf, full, held, in_place, streamed, to_few, returned, overrun, .. } = *tally;
        if empty | too_long | nombuf | full | held | in_place | streamed | to_few | returned | overrun != 0 {
            self.add_rest(tally);
        }
    }

    #[cold]
    fn add_rest(&self, tally: &TxTally) {
        self.empty.add(tally.empty);
        self.too_long.add(tally.too_long);
        self.nombuf.add(tally.nombuf);
        self.full.add(tally.full);
        self.held.add(tally.held);
        self.in_place.add(tally.in_place);
        self.streamed.add(tally.streamed);
        self.to_few.add(tally.to_few);
        self.returned.add(tally.returned);
        self.overrun.add(tally.overrun);
    }
}

/// The counters of one lport in DPDK's words, and all of them by name.
pub(crate) fn stats(queue: &QueueCounters, link: &LinkCounters) -> LportStats {
    let (rx, tx) = (&queue.rx, &queue.tx);
    let broken = [&rx.bad_region, &rx.bad_range, &rx.bad_length, &rx.too_long];
    LportStats {
        ipackets: rx.packets.get(),
        ibytes: rx.bytes.get(),
        opackets: tx.packets.get(),
        obytes: tx.bytes.get(),
        imissed: 0,
        ierrors: broken.iter().map(|counter| counter.get()).sum(),
        oerrors: tx.empty.get() + tx.too_long.get() + tx.nombuf.get(),
        rx_nombuf: rx.nombuf.get(),
        xstats: of_queue(queue).into_iter().chain(of_link(link)).collect(),
    }
}

/// Everything but packets and bytes that a queue counts, by name.
pub(crate) fn of_queue(QueueCounters { rx, tx }: &QueueCounters) -> [(&'static str, u64); 22] {
    [
        ("rx_lent", rx.lent.get()),
        ("rx_bad_region_dropped", rx.bad_region.get()),
        ("rx_bad_range_dropped", rx.bad_range.get()),
        ("rx_bad_length_dropped", rx.bad_length.get()),
        ("rx_too_long_dropped", rx.too_long.get()),
        ("rx_overruns", rx.overrun.get()),
        ("rx_interrupts", rx.interrupts.get()),
        ("tx_empty_dropped", tx.empty.get()),
        ("tx_too_long_dropped", tx.too_long.get()),
        ("tx_nombuf_dropped", tx.nombuf.get()),
        ("tx_ring_full", tx.full.get()),
        ("tx_ring_busy", tx.busy.get()),
        ("tx_ring_held", tx.held.get()),
        ("tx_in_place", tx.in_place.get()),
        ("tx_streamed", tx.streamed.get()),
        ("tx_to_few", tx.to_few.get()),
        ("tx_returned", tx.returned.get()),
        ("tx_overruns", tx.overrun.get()),
        ("tx_faults", tx.faults.get()),
        ("tx_no_link", tx.no_link.get()),
        ("tx_interrupts", tx.interrupts.get()),
        ("tx_interrupt_errors", tx.interrupt_errors.get()),
    ]
}

/// What is counted once for all queues.
pub(crate) fn of_link(link: &LinkCounters) -> [(&'static str, u64); 3] {
    [("connects", &link.connects), ("disconnects", &link.disconnects), ("refusals", &link.refusals)]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
}
