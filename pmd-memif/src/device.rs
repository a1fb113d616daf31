//! One memif device: where the control thread and the queues meet.
//!
//! 1. `driver` makes a [`Device`] and opens it with the control thread, whose [`Endpoint`] it is.
//! 2. `prepare` (client) makes the memory of a connection; `up` builds a [`Link`] and publishes it: the epoch changes.
//! 3. Each queue sees the new epoch at its next burst and takes its rings. It owns them from then on.
//! 4. `down` withdraws the link: the epoch changes again, and each queue lets go of its rings by itself. The last one
//!    unmaps the memory. No thread ever waits for another.
//!
//! Who writes what: the control thread `state`; each queue its own counters. Readers: anyone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use nix::sys::eventfd::{EfdFlags, EventFd};
use pmd_core::deployment::PageSize;
use pmd_core::lport;
use pmd_core::pool::sealed_memfd;

use crate::control::{self, DownReason, EndedBy, Endpoint, InterfaceConfig, LinkId, Memory, Peer, Region, Ring};
use crate::counters::{LinkCounters, QueueCounters};
use crate::epoch::{Epoch, Seen};
use crate::handshake::{Agreed, Placement};
use crate::layout::Layout;
use crate::link::{Exports, Link, Shape, Side};
use crate::message::Direction;
use crate::queue::RxMode;
use crate::ring::exported::ExportedPool;
use crate::shm::{CacheLine, Regions};

/// What the data path needs to know of a device.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) is_client: bool,
    pub(crate) queues: usize,
    /// Bytes of a buffer, in memory that we make.
    pub(crate) buffer_size: u32,
    /// Bytes put into one slot at most.
    pub(crate) segment_max: u32,
    pub(crate) line: CacheLine,
    pub(crate) mac: [u8; 6],
    /// A server that lends received packets where they lie, instead of copying them.
    pub(crate) borrows: bool,
    /// When receiving queues want to be interrupted.
    pub(crate) rx_mode: RxMode,
    /// A client's pools that the peer maps; none when packets are copied.
    pub(crate) exports: Exports,
}

/// The shared state of a device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) settings: Settings,
    pub(crate) counters: Vec<QueueCounters>,
    pub(crate) link_counters: LinkCounters,
    /// Changes whenever the link does; the queues follow it.
    state: Epoch<State>,
    /// Wakes each receiving queue's owner when the link changes.
    wakes: Vec<Arc<EventFd>>,
}

#[derive(Debug)]
struct State {
    link: Option<Arc<Link>>,
    peer: Option<Peer>,
    /// When the link last came or went; not before the first one came.
    changed: Option<SystemTime>,
    ends: Ends,
    /// The layout of the memory that the handshake under way was given.
    prepared: Option<Layout>,
    down: String,
}

/// The latest connections that ended, or were refused, by who ended them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    pub(crate) by_us: Option<End>,
    pub(crate) by_peer: Option<End>,
}

/// The end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) reason: String,
    pub(crate) at: SystemTime,
}

impl Ends {
    fn add(&mut self, reason: &DownReason) {
        let end = || Some(End { reason: reason.to_string(), at: SystemTime::now() });
        match reason.ended_by() {
            Some(EndedBy::Us) => self.by_us = end(),
            Some(EndedBy::Peer) => self.by_peer = end(),
            None => {}
        }
    }
}

impl State {
    fn set_link(&mut self, link: Option<Arc<Link>>) {
        self.link = link;
        self.changed = Some(SystemTime::now());
    }
}

/// A device as it is at one moment, for those who watch it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) link: Option<Arc<Link>>,
    /// Why there is no link.
    pub(crate) down: String,
    pub(crate) peer: Option<Peer>,
    pub(crate) changed: Option<SystemTime>,
    pub(crate) ends: Ends,
}

impl Device {
    /// A device without a link.
    ///
    /// # Errors
    /// When the system has no more eventfds.
    pub(crate) fn new(settings: Settings) -> std::io::Result<Self> {
        let queues = settings.queues;
        let wakes = (0..queues).map(|_| event().map(Arc::new)).collect::<Result<_, _>>()?;
        let down = if settings.is_client { "connecting" } else { "waiting for a client" }.to_owned();
        Ok(Self {
            settings,
            counters: (0..queues).map(|_| QueueCounters::default()).collect(),
            link_counters: LinkCounters::default(),
            state: Epoch::new(State {
                link: None,
                peer: None,
                changed: None,
                ends: Ends::default(),
                prepared: None,
                down,
            }),
            wakes,
        })
    }

    /// Whether the link has changed since a queue has seen it.
    #[inline(always)]
    pub(crate) fn has_changed(&self, seen: Seen) -> bool {
        self.state.is_news(seen)
    }

    /// The link of now.
    pub(crate) fn link(&self, seen: &mut Seen) -> Option<Arc<Link>> {
        self.state.look(seen, |state| state.link.clone())
    }

    /// What wakes the owner of receiving queue `queue` when the link changes.
    pub(crate) fn wake(&self, queue: usize) -> Arc<EventFd> {
        Arc::clone(&self.wakes[queue])
    }

    /// Whether packets can flow, and if not, why.
    pub(crate) fn link_state(&self) -> lport::Link {
        let state = self.state.lock();
        if state.link.is_some() { lport::Link::Up } else { lport::Link::Down(state.down.clone()) }
    }

    /// Everything about the link of now, by one look. It keeps the link's memory mapped: not for keeping.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        let State { link, peer, changed, ends, down, .. } = &*state;
        Snapshot { link: link.clone(), down: down.clone(), peer: peer.clone(), changed: *changed, ends: ends.clone() }
    }

    /// Wakes the queues' owners: the link has changed.
    fn wake_all(&self) {
        for wake in &self.wakes {
            // It fails only when it is signalled already.
            let _ = wake.write(1);
        }
    }
}

impl Endpoint for Device {
    fn prepare(&self, agreed: Agreed, peer: &Peer) -> Result<Memory, String> {
        let Settings { line, buffer_size, ref exports, .. } = self.settings;
        let capacity = exports.pools.is_empty().then_some(buffer_size);
        let layout = Layout::new(agreed, line, capacity, peer.is_apart());
        let mut memory = make_memory(&layout, agreed)?;
        for export in &self.settings.exports.pools {
            memory.regions.push(exported_region(export)?);
        }
        self.state.lock().prepared = Some(layout);
        Ok(memory)
    }

    fn up(&self, link: control::Link) -> Result<(), String> {
        let Settings { queues, segment_max, line, borrows, ref exports, .. } = self.settings;
        let prepared = self.state.lock().prepared.take();
        let side = prepared.map_or(Side::Server { borrows }, |layout| Side::Client(layout, exports));
        let shape = Shape { line, queues, segment_max, apart: link.peer.is_apart() };
        let live = Link::new(link.id, link.memory, side, shape).map_err(|error| error.to_string())?;
        self.link_counters.connects.fetch_add(1, Ordering::Relaxed);
        self.state.change(|state| {
            state.peer = Some(link.peer);
            state.set_link(Some(Arc::new(live)));
        });
        self.wake_all();
        Ok(())
    }

    fn down(&self, reason: &DownReason) {
        self.link_counters.disconnects.fetch_add(1, Ordering::Relaxed);
        self.state.change(|state| {
            state.down = reason.to_string();
            state.ends.add(reason);
            state.peer = None;
            state.set_link(None);
        });
        self.wake_all();
    }

    fn has_lost_memory(&self) -> bool {
        self.state.lock().link.as_ref().is_some_and(|link| link.has_lost_memory())
    }

    fn refused(&self, reason: &DownReason) {
        let mut state = self.state.lock();
        // Nobody at the other end yet is how every client begins, not a refusal.
        if !matches!(reason, DownReason::Unreachable { .. }) {
            self.link_counters.refusals.fetch_add(1, Ordering::Relaxed);
        }
        state.ends.add(reason);
        if state.link.is_none() {
            state.down = reason.to_string();
        }
    }
}

/// Fresh memory for a connection: zeroed, so that every index is 0 (statement 35), sealed, each ring with its cookie and
/// an eventfd.
fn make_memory(layout: &Layout, agreed: Agreed) -> Result<Memory, String> {
    let size = layout.region_bytes()?;
    let fd = sealed_memfd(c"memif region", size as usize, PageSize::Small)
        .map_err(|error| format!("cannot make {size} bytes of shared memory: {error}"))?;
    // Written where it is mapped, not into the file: the first touch settles how large the pages are.
    let regions = Regions::map(std::iter::once((&fd, size))).map_err(|error| error.to_string())?;
    let ring = |direction, index| {
        let place = layout.ring(direction, index);
        regions.put_cookie(place).map_err(|error| error.to_string())?;
        let placement = Placement { region: place.region, offset: place.offset, log2_size: agreed.log2_ring_size };
        let fd = event().map_err(|error| format!("cannot make an eventfd: {error}"))?.into();
        Ok(Ring { placement, fd, duplicate_of: None })
    };
    let rings = |direction, count| (0..count).map(|index| ring(direction, index)).collect::<Result<Vec<_>, String>>();
    let (s2m, m2s) = (rings(Direction::S2m, agreed.s2m_rings)?, rings(Direction::M2s, agreed.m2s_rings)?);
    Ok(Memory { regions: vec![Region { fd, size }], s2m, m2s })
}

/// The region that a pool is to the peer.
fn exported_region(export: &ExportedPool) -> Result<Region, String> {
    let segment = export.pool.segment();
    let name = export.pool.name();
    let file = segment.file().ok_or_else(|| format!("pool `{name}` lies in private memory"))?;
    let fd = file.try_clone_to_owned().map_err(|error| format!("cannot share pool `{name}`: {error}"))?;
    Ok(Region { fd, size: segment.len() as u64 })
}

fn event() -> nix::Result<EventFd> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
}

/// A device with its place in the control thread: what queues and control handles hold. When the last of them goes, the
/// interface is closed and its peer told.
pub(crate) struct OpenDevice {
    device: Arc<Device>,
    config: InterfaceConfig,
    interface: control::Interface,
}

impl OpenDevice {
    /// Opens the device's interface with the control thread.
    ///
    /// # Errors
    /// When its socket cannot be had.
    pub(crate) fn open(device: Device, config: InterfaceConfig) -> Result<Arc<Self>, control::OpenError> {
        let device = Arc::new(device);
        let interface = control::open(config.clone(), Arc::clone(&device) as Arc<dyn Endpoint>)?;
        Ok(Arc::new(Self { device, config, interface }))
    }

    /// The device.
    #[inline(always)]
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The same, for who keeps it.
    pub(crate) fn shared_device(&self) -> Arc<Device> {
        Arc::clone(&self.device)
    }

    /// What the device was configured to be.
    pub(crate) fn config(&self) -> &InterfaceConfig {
        &self.config
    }

    /// Ends a link for a fault of its peer; a later one goes on.
    pub(crate) fn condemn(&self, link: LinkId, reason: &str) {
        self.interface.disconnect(link, reason);
    }

    /// Sets the interface administratively up or down.
    pub(crate) fn set_admin_up(&self, up: bool) {
        self.interface.set_admin_up(up);
    }
}
