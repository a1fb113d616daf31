//! What an lport of `net_pcap` tells from any thread, beyond what every lport does.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use pmd_core::{Counter, Details, DeviceState, Link, LportControl, LportInfo, LportStats, QueueCounters};

use crate::capture::PACKET_MAX;
use crate::record::Recording;

/// What the queues of an lport and its control handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Of the whole device.
    pub(crate) state: Arc<DeviceState>,
    pub(crate) counters: QueueCounters,
    pub(crate) played: CachePadded<PlayCounters>,
    pub(crate) recorded: CachePadded<RecordCounters>,
}

/// Written by the receiving queue.
#[derive(Debug, Default)]
pub(crate) struct PlayCounters {
    /// Passes that are over.
    pub(crate) passes: Counter,
    /// Packets of which the file has only the beginning.
    pub(crate) short: Counter,
    /// 1 when everything has been played.
    pub(crate) over: Counter,
}

/// Written by the sending queue; all of it is also among its errors.
#[derive(Debug, Default)]
pub(crate) struct RecordCounters {
    /// Packets that were sent, and then could not be written.
    pub(crate) lost: Counter,
    /// Packets longer than a capture file may hold.
    pub(crate) too_long: Counter,
}

impl Shared {
    pub(crate) fn new(state: &Arc<DeviceState>) -> Self {
        let (counters, played, recorded) = Default::default();
        Self { state: Arc::clone(state), counters, played, recorded }
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
    /// Likewise.
    pub(crate) recordings: Arc<[Arc<Recording>]>,
}

impl LportControl for Control {
    fn link(&self) -> Link {
        self.shared.state.link()
    }

    fn info(&self) -> LportInfo {
        LportInfo { driver: "net_pcap".into(), mac: self.mac, max_packet: PACKET_MAX, speed_mbps: 10_000 }
    }

    fn stats(&self) -> LportStats {
        let Shared { counters, played, recorded, .. } = &*self.shared;
        let xstats = vec![
            ("rx_passes", played.passes.get()),
            ("rx_end_of_file", played.over.get()),
            ("rx_short_packets", played.short.get()),
            ("tx_not_written", recorded.lost.get()),
            ("tx_too_long", recorded.too_long.get()),
        ];
        LportStats { xstats, ..counters.stats() }
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
        self.shared.state.set_admin_up(up);
        if up {
            // Room may have been made on the disk: writing is tried again.
            self.shared.state.set_link(Link::Up);
        }
    }
}
