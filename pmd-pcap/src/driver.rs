//! The driver `net_pcap`, with DPDK's option names where they fit.

use std::path::Path;
use std::sync::Arc;

use pmd_core::deployment::DeviceSpec;
use pmd_core::pool::RxPool;
use pmd_core::{
    Alarm, DeviceRequest, DeviceState, Driver, Lport, MachineProblem, OpenError, OptionError, OptionSpec, Options,
    Pool, PoolConfig, QueueRequest, RxQueue,
};

use crate::capture::{Capture, CaptureError, Direction, ETHERNET, Interface, PACKET_MAX};
use crate::control::{Control, Played, Shared};
use crate::options::{self, Configured, path_of_queue};
use crate::play::Player;
use crate::queue::{NoRx, PlayRx, RecordTx};
use crate::record::{Recording, Recordings, Track};

/// `net_pcap`.
#[derive(Debug, Default)]
pub struct PcapDriver {
    recordings: Recordings,
}

impl PcapDriver {
    /// A driver that records to `recordings`, which others may use, too: lports that name the same file write into one.
    pub fn new(recordings: Recordings) -> Self {
        Self { recordings }
    }
}

impl Driver for PcapDriver {
    fn name(&self) -> &str {
        "net_pcap"
    }

    fn summary(&self) -> &str {
        "plays pcap and pcapng files, records pcapng"
    }

    fn options(&self) -> &[OptionSpec] {
        options::OPTIONS
    }

    /// What plays a file has a pool of its own unless one is named.
    fn needs_pool(&self) -> bool {
        false
    }

    fn check(&self, options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
        options::check(options, queues)
    }

    fn check_machine(&self, _device: &DeviceSpec, options: &Options) -> Vec<MachineProblem> {
        options::check_machine(options)
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let configured = options::configure(&device.options, device.queues.len());
        let configured = configured.map_err(|errors| OpenError(errors[0].message.clone()))?;
        // What is played is loaded before anything is overwritten.
        let mut sources = Vec::new();
        for queue in &device.queues {
            sources.push(self.source(&configured, queue)?);
        }
        let played = sources.iter().flatten().map(|source| source.played.clone()).collect();
        let mut tracks = Vec::new();
        for queue in &device.queues {
            tracks.push(self.track(&configured, &device.name, queue)?);
        }
        let recordings: Vec<Arc<Recording>> =
            tracks.iter().flatten().map(|track| Arc::clone(track.recording())).collect();
        let parts =
            DeviceParts { state: DeviceState::up(), played, recordings: recordings.into(), mac: configured.mac };
        let queues = device.queues.into_iter().zip(sources).zip(tracks);
        queues.map(|((queue, source), track)| lport(&parts, &configured, queue, source, track)).collect()
    }
}

/// What the lports of a device have in common.
struct DeviceParts {
    state: Arc<DeviceState>,
    played: Arc<[Played]>,
    recordings: Arc<[Arc<Recording>]>,
    mac: Option<[u8; 6]>,
}

/// What a queue plays, and into which mbufs.
struct Source {
    capture: Capture,
    pool: Pool,
    played: Played,
}

impl PcapDriver {
    /// Loads what `queue` plays, if anything.
    fn source(&self, configured: &Configured, queue: &QueueRequest) -> Result<Option<Source>, OpenError> {
        let Some(path) = &configured.rx_pcap else { return Ok(None) };
        let path = path_of_queue(path, queue.qid);
        let refused = |why: String| OpenError(format!("cannot play \"{}\": {why}", path.display()));
        if self.recordings.contains(&path) {
            return Err(refused("it is being recorded to; play it when that is over".into()));
        }
        let pool = queue.pool.clone().map_or_else(|| own_pool(&queue.name), Ok)?;
        let mut capture = Capture::load(&path, configured.size_max).map_err(|error| refused(explain(&error)))?;
        let whole = capture.len();
        check_link_types(capture.interfaces()).map_err(refused)?;
        keep_playable(&mut capture, configured.direction);
        check_longest(&capture, &pool).map_err(refused)?;
        let skipped = whole - capture.len();
        let cut = capture.cut().map(str::to_owned);
        report(&path, whole, skipped, cut.as_deref());
        let played = Played { path, packets: capture.len(), skipped, cut };
        Ok(Some(Source { capture, pool, played }))
    }

    /// Where `queue` records to, if anywhere.
    fn track(&self, configured: &Configured, device: &str, queue: &QueueRequest) -> Result<Option<Track>, OpenError> {
        let Some(path) = &configured.tx_pcap else { return Ok(None) };
        let path = path_of_queue(path, queue.qid);
        let refused = |error| OpenError(format!("cannot record to \"{}\": {error}", path.display()));
        let recording = self.recordings.open(&path).map_err(refused)?;
        let description = format!("net_pcap device {device}, queue {}", queue.qid);
        let interface = recording.interface(&queue.name, &description, configured.snap_length).map_err(refused)?;
        Ok(Some(recording.track(interface, Direction::Outbound)))
    }
}

fn own_pool(lport: &str) -> Result<Pool, OpenError> {
    let config = PoolConfig { name: format!("pcap:{lport}"), ..PoolConfig::default() };
    Pool::new(&config).map_err(|error| OpenError(error.to_string()))
}

/// The error, with the way out that is an option of ours.
fn explain(error: &CaptureError) -> String {
    match error {
        CaptureError::TooLarge { .. } => format!("{error}; raise `rx_size_max`, or play a part of it"),
        CaptureError::Damaged { .. } => format!("{error}; tshark or editcap may save what is in front of it"),
        _ => error.to_string(),
    }
}

/// Refuses a file without any Ethernet.
fn check_link_types(interfaces: &[Interface]) -> Result<(), String> {
    let is_ethernet = |interface: &Interface| interface.link_type == ETHERNET;
    match interfaces.first() {
        Some(first) if !interfaces.iter().any(is_ethernet) => {
            let link_type = first.link_type;
            Err(format!("its packets have link type {link_type}, but only Ethernet ({ETHERNET}) can be played"))
        }
        _ => Ok(()),
    }
}

/// Leaves out what is not Ethernet, is empty, or went the other way.
fn keep_playable(capture: &mut Capture, direction: Option<Direction>) {
    let ethernet: Vec<_> = capture.interfaces().iter().map(|interface| interface.link_type == ETHERNET).collect();
    capture.retain(|packet| {
        !packet.data.is_empty()
            && ethernet[packet.interface]
            && direction.is_none_or(|wanted| packet.direction == wanted)
    });
}

/// Refuses a packet that the whole pool could not hold: waiting for mbufs would be for ever.
fn check_longest(capture: &Capture, pool: &Pool) -> Result<(), String> {
    let longest = capture.packets().map(|packet| packet.data.len()).max().unwrap_or(0);
    let mbufs = longest.div_ceil(pool.data_room());
    if mbufs <= pool.size() {
        return Ok(());
    }
    let (name, size, room) = (pool.name(), pool.size(), pool.data_room());
    Err(format!("a packet of {longest} bytes needs {mbufs} mbufs, but `{name}` has {size} of {room} bytes"))
}

fn report(path: &Path, whole: usize, skipped: usize, cut: Option<&str>) {
    let path = path.display();
    if let Some(cut) = cut {
        tracing::warn!("\"{path}\" is played, but {cut}");
    }
    if skipped > 0 {
        tracing::warn!(
            "{skipped} of {whole} packets of \"{path}\" are not played: not Ethernet, empty, or another way"
        );
    }
}

fn lport(
    parts: &DeviceParts,
    configured: &Configured,
    queue: QueueRequest,
    source: Option<Source>,
    track: Option<Track>,
) -> Result<Lport, OpenError> {
    let alarm = Alarm::new().map_err(|error| OpenError(format!("lport `{}` gets no timer: {error}", queue.name)))?;
    let shared = Arc::new(Shared::new(&parts.state));
    let control = Control {
        shared: Arc::clone(&shared),
        mac: parts.mac,
        played: Arc::clone(&parts.played),
        recordings: Arc::clone(&parts.recordings),
    };
    let rx: Box<dyn RxQueue> = match source {
        Some(Source { capture, pool, .. }) => {
            let player = Player::new(capture, configured.passes, configured.speed);
            let shared = Arc::clone(&shared);
            shared.played.over.add(u64::from(player.is_over()));
            Box::new(PlayRx { shared, player, pool: RxPool::new(pool), alarm, port: queue.lport.0 })
        }
        None => Box::new(NoRx { alarm }),
    };
    let tx = Box::new(RecordTx { shared, track });
    Ok(Lport { id: queue.lport, name: queue.name, rx, tx, control: Arc::new(control) })
}

const _: () = assert!(PACKET_MAX as usize <= 64 * 4096, "at most 4096 of the smallest mbufs make the longest packet");
