//! What an lport of `net_pcap` counts and tells, from any thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_utils::CachePadded;
use pmd_core::{Counter, Details, Link, LportControl, LportInfo, LportStats};

use crate::capture::PACKET_MAX;
use crate::record::Recording;

/// What the queues of an lport and its control handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Of the whole device.
    pub(crate) admin: Arc<Admin>,
    pub(crate) rx: CachePadded<RxCounters>,
    pub(crate) tx: CachePadded<TxCounters>,
}

/// Written by whoever sets the device down or up, read by its queues.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    down: AtomicBool,
}

/// Written by the receiving queue.
#[derive(Debug, Default)]
pub(crate) struct RxCounters {
    pub(crate) packets: Counter,
    pub(crate) bytes: Counter,
    pub(crate) nombuf: Counter,
    /// Passes that are over.
    pub(crate) passes: Counter,
    /// Packets of which the file has only the beginning.
    pub(crate) short: Counter,
    /// 1 when everything has been played.
    pub(crate) over: Counter,
}

/// Written by the sending queue.
#[derive(Debug, Default)]
pub(crate) struct TxCounters {
    pub(crate) packets: Counter,
    pub(crate) bytes: Counter,
    /// Packets that were accepted, and then could not be written.
    pub(crate) lost: Counter,
}

impl Shared {
    #[inline(always)]
    pub(crate) fn is_down(&self) -> bool {
        self.admin.down.load(Ordering::Relaxed)
    }
}

/// What is played, for people.
#[derive(Debug, Clone)]
pub(crate) struct Played {
    pub(crate) path: PathBuf,
    pub(crate) packets: usize,
    pub(crate) skipped: usize,
    pub(crate) cut: Option<String>,
}

/// The control handle of an lport.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mac: Option<[u8; 6]>,
    /// Of all queues of the device.
    pub(crate) played: Arc<[Played]>,
    pub(crate) recordings: Arc<[Arc<Recording>]>,
    /// Our own, of those.
    pub(crate) recording: Option<Arc<Recording>>,
}

impl LportControl for Control {
    fn link(&self) -> Link {
        if self.shared.is_down() {
            return Link::Down("administratively down".into());
        }
        match self.recording.as_ref().and_then(|recording| recording.failure()) {
            Some(why) => Link::Down(why),
            None => Link::Up,
        }
    }

    fn info(&self) -> LportInfo {
        LportInfo { driver: "net_pcap".into(), mac: self.mac, max_packet: PACKET_MAX, speed_mbps: 10_000 }
    }

    fn stats(&self) -> LportStats {
        let (rx, tx) = (&self.shared.rx, &self.shared.tx);
        LportStats {
            ipackets: rx.packets.get(),
            ibytes: rx.bytes.get(),
            rx_nombuf: rx.nombuf.get(),
            opackets: tx.packets.get(),
            obytes: tx.bytes.get(),
            oerrors: tx.lost.get(),
            xstats: vec![
                ("rx_passes", rx.passes.get()),
                ("rx_end_of_file", rx.over.get()),
                ("rx_short_packets", rx.short.get()),
                ("tx_not_written", tx.lost.get()),
            ],
            ..LportStats::default()
        }
    }

    fn details(&self) -> Details {
        let played = |played: &Played| {
            Details::new()
                .with("file", played.path.display().to_string())
                .with("packets", played.packets as u64)
                .with("skipped", played.skipped as u64)
                .with("cut", played.cut.clone())
        };
        let recorded = |recording: &Arc<Recording>| {
            Details::new().with("file", recording.path().display().to_string()).with("failure", recording.failure())
        };
        Details::new()
            .with("plays", self.played.iter().map(played).collect::<Vec<_>>())
            .with("records", self.recordings.iter().map(recorded).collect::<Vec<_>>())
    }

    fn set_admin_up(&self, up: bool) {
        self.shared.admin.down.store(!up, Ordering::Relaxed);
        if up {
            // Room may have been made on the disk.
            self.recordings.iter().for_each(|recording| recording.try_again());
        }
    }
}
