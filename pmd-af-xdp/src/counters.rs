//! What is counted: by the halves of a queue, and by the kernel.
//!
//! The kernel counts for a socket as long as it lives. When an interface goes away and comes back there is another socket,
//! so what earlier ones had counted is added.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pmd_core::device::QueueCounters;
use pmd_core::{Counter, LportStats};

use crate::socket::Socket;
use crate::sys::xsk::Statistics;

/// All counters of one queue.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) common: QueueCounters,
    pub(crate) rx: RxCounters,
    pub(crate) tx: TxCounters,
    pub(crate) kernel: Arc<KernelCounts>,
}

/// Written by the receiving half.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct RxCounters {
    /// System calls to have the kernel receive.
    pub(crate) wakeups: Counter,
}

/// Written by the sending half.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct TxCounters {
    /// Packets of other pools.
    pub(crate) copied: Counter,
    /// Times there was no mbuf for a copy.
    pub(crate) nombuf: Counter,
    /// Bursts that found all descriptors in use.
    pub(crate) full: Counter,
    /// System calls to have the kernel send.
    pub(crate) wakeups: Counter,
    /// Those that the kernel refused.
    pub(crate) refused: Counter,
}

/// What the kernel counts, of the live socket and of those before it.
#[derive(Debug, Default)]
pub(crate) struct KernelCounts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    closed: Statistics,
    live: Weak<Socket>,
}

impl KernelCounts {
    /// Counts `socket` from now on.
    pub(crate) fn set_live(&self, socket: &Arc<Socket>) {
        self.lock().live = Arc::downgrade(socket);
    }

    /// Keeps what a socket had counted that is closed now.
    pub(crate) fn close(&self, counted: Statistics) {
        let mut inner = self.lock();
        inner.closed = sum(inner.closed, counted);
    }

    /// All of it.
    pub(crate) fn get(&self) -> Statistics {
        let inner = self.lock();
        let (closed, live) = (inner.closed, inner.live.upgrade());
        // If it is the last reference, dropping the socket locks again.
        drop(inner);
        live.map_or(closed, |socket| sum(closed, socket.statistics()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sum(a: Statistics, b: Statistics) -> Statistics {
    Statistics {
        rx_dropped: a.rx_dropped + b.rx_dropped,
        rx_invalid: a.rx_invalid + b.rx_invalid,
        tx_invalid: a.tx_invalid + b.tx_invalid,
        rx_ring_full: a.rx_ring_full + b.rx_ring_full,
        fill_ring_empty: a.fill_ring_empty + b.fill_ring_empty,
        tx_ring_empty: a.tx_ring_empty + b.tx_ring_empty,
    }
}

impl Counters {
    /// The counters, in the words of DPDK and, for the kernel's own, of AF_XDP.
    pub(crate) fn stats(&self) -> LportStats {
        let kernel = self.kernel.get();
        let mut stats = self.common.stats();
        stats.imissed += kernel.rx_dropped + kernel.rx_ring_full;
        stats.oerrors += kernel.tx_invalid;
        stats.xstats = vec![
            ("rx_dropped", kernel.rx_dropped),
            ("rx_ring_full", kernel.rx_ring_full),
            ("rx_fill_ring_empty_descs", kernel.fill_ring_empty),
            ("rx_invalid_descs", kernel.rx_invalid),
            ("rx_wakeups", self.rx.wakeups.get()),
            ("tx_invalid_descs", kernel.tx_invalid),
            ("tx_ring_empty_descs", kernel.tx_ring_empty),
            ("tx_full", self.tx.full.get()),
            ("tx_copied", self.tx.copied.get()),
            ("tx_nombuf", self.tx.nombuf.get()),
            ("tx_wakeups", self.tx.wakeups.get()),
            ("tx_wakeups_refused", self.tx.refused.get()),
        ];
        stats
    }
}
