//! The wrapper `tap`: records what passes through an lport, in both directions, as pcapng.
//!
//! 1. Each lport is an interface of the file, by its name. Lports that name the same file share it, so that one file can
//!    show a packet coming in here and going out there.
//! 2. A received packet is recorded as inbound when it has been received; of packets that are sent, those that the device
//!    took are recorded as outbound. They are copied before they are offered, since afterwards they are gone, and taken
//!    back if they stayed.
//! 3. Each direction has a buffer, which is written when it is full, when there has been nothing to do for a while, before
//!    a thread sleeps, and at the end.
//!
//! A tap is never in the way: what cannot be written is lost for the file alone, and counted.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use pmd_core::wrapper::{WithStats, send_front};
use pmd_core::{
    BURST_MAX, Burst, Counter, Lport, LportId, LportStats, OpenError, OptionError, OptionSpec, Options, RxQueue,
    TxQueue, Wrapper,
};

use crate::capture::{Direction, PACKET_MAX};
use crate::options::PATH_MAX;
use crate::record::{Recordings, Track};

/// Empty bursts after which what is in the buffer is written.
const IDLE_BURSTS: u32 = 256;

/// What stands for the lport's name in a path.
const LPORT: &str = "{lport}";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::text(
        "file",
        PATH_MAX,
        "",
        "pcapng file to record to, overwritten; `{lport}` in it is the lport's name; lports may share a file",
    ),
    OptionSpec::choice("direction", &["both", "rx", "tx"], "which packets are recorded"),
    OptionSpec::int("snaplen", 1, PACKET_MAX as u64, "262144", "bytes recorded of each packet"),
];

/// The wrapper `tap`.
#[derive(Debug, Default)]
pub struct PcapTap {
    recordings: Recordings,
}

impl PcapTap {
    /// A tap that records to `recordings`, which others may use, too.
    pub fn new(recordings: Recordings) -> Self {
        Self { recordings }
    }
}

impl Wrapper for PcapTap {
    fn name(&self) -> &str {
        "tap"
    }

    fn summary(&self) -> &str {
        "records the packets that pass to a pcapng file, each with its direction"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn check(&self, options: &Options) -> Result<(), Vec<OptionError>> {
        if options.text("file").is_empty() {
            return Err(vec![OptionError::value("file", "`tap` needs option `file`: the pcapng file to record to")]);
        }
        Ok(())
    }

    fn wrap(&self, lport: Lport, options: &Options) -> Result<Lport, OpenError> {
        let path = options.text("file").replace(LPORT, &lport.name.replace('/', "_"));
        let refused = |error| OpenError(format!("cannot record to \"{path}\": {error}"));
        let recording = self.recordings.open(path.as_ref()).map_err(refused)?;
        let description = format!("lport {} of {}", lport.id, lport.control.info().driver);
        let snap_length = options.int("snaplen").map_or(PACKET_MAX, |length| length as u32);
        let interface = recording.interface(&lport.name, &description, snap_length).map_err(refused)?;
        let tallies = Arc::new(Tallies::default());
        let track =
            |not: &str, direction| (options.text("direction") != not).then(|| recording.track(interface, direction));
        let rx = TapRx {
            inner: lport.rx,
            track: track("tx", Direction::Inbound),
            tallies: Arc::clone(&tallies),
            idle_bursts: 0,
        };
        let tx = TapTx {
            inner: lport.tx,
            track: track("rx", Direction::Outbound),
            tallies: Arc::clone(&tallies),
            marks: Vec::with_capacity(BURST_MAX),
            scratch: Burst::new(),
        };
        let control = Arc::new(WithStats::new(lport.control, move |stats| tallies.report_in(stats)));
        Ok(Lport { rx: Box::new(rx), tx: Box::new(tx), control, ..lport })
    }
}

/// What was recorded; each direction is written by its queue.
#[derive(Debug, Default)]
struct Tallies {
    rx: CachePadded<Tally>,
    tx: CachePadded<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    recorded: Counter,
    /// Of those: packets that could not be written.
    lost: Counter,
}

impl Tally {
    fn count(&self, recorded: usize, lost: u64) {
        self.recorded.add(recorded as u64);
        if lost > 0 {
            self.lost.add(lost);
        }
    }
}

impl Tallies {
    fn report_in(&self, stats: &mut LportStats) {
        stats.add_xstat("tap_rx_recorded", self.rx.recorded.get());
        stats.add_xstat("tap_rx_not_written", self.rx.lost.get());
        stats.add_xstat("tap_tx_recorded", self.tx.recorded.get());
        stats.add_xstat("tap_tx_not_written", self.tx.lost.get());
    }
}

struct TapRx {
    inner: Box<dyn RxQueue>,
    track: Option<Track>,
    tallies: Arc<Tallies>,
    /// Empty bursts in a row.
    idle_bursts: u32,
}

impl TapRx {
    fn write(&mut self) {
        if let Some(track) = &mut self.track {
            self.tallies.rx.count(0, track.write());
        }
    }

    #[cold]
    fn write_if_idle(&mut self) {
        self.idle_bursts += 1;
        if self.idle_bursts == IDLE_BURSTS {
            self.write();
        }
    }
}

impl RxQueue for TapRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let first = burst.len();
        let n = self.inner.rx_burst(burst);
        let Some(track) = &mut self.track else { return n };
        if n > 0 {
            self.idle_bursts = 0;
            let lost = track.add(&burst[first..]);
            self.tallies.rx.count(n, lost);
        } else if !track.is_empty() {
            self.write_if_idle();
        }
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.inner.renumber(lport);
    }

    fn arm(&mut self) -> bool {
        self.write();
        self.inner.arm()
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wake_fd()
    }
}

impl Drop for TapRx {
    fn drop(&mut self) {
        self.write();
    }
}

struct TapTx {
    inner: Box<dyn TxQueue>,
    track: Option<Track>,
    tallies: Arc<Tallies>,
    /// Where packets of the burst end in the buffer. Empty between two calls, like `scratch`.
    marks: Vec<usize>,
    scratch: Burst,
}

impl TxQueue for TapTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let Some(track) = &mut self.track else { return self.inner.tx_burst(burst) };
        let mut sent = 0;
        loop {
            let before = track.mark();
            track.stage(burst, &mut self.marks);
            let staged = self.marks.len();
            let taken = send_front(&mut *self.inner, burst, staged, &mut self.scratch);
            let end = if taken.gone == 0 { before } else { self.marks[taken.gone - 1] };
            track.take_back(end, staged - taken.gone);
            self.marks.clear();
            sent += taken.sent;
            self.tallies.tx.count(taken.gone, 0);
            if burst.is_empty() || taken.gone < staged {
                return sent;
            }
            // There was no room in the buffer for the others.
            self.tallies.tx.count(0, track.write());
        }
    }

    fn alloc_burst(&mut self, burst: &mut Burst, n: usize) -> Option<usize> {
        self.inner.alloc_burst(burst, n)
    }

    fn flush(&mut self) {
        if let Some(track) = &mut self.track {
            self.tallies.tx.count(0, track.write());
        }
        self.inner.flush();
    }

    fn holds(&self) -> bool {
        self.inner.holds()
    }
}

impl Drop for TapTx {
    fn drop(&mut self) {
        if let Some(track) = &mut self.track {
            self.tallies.tx.count(0, track.write());
        }
    }
}
