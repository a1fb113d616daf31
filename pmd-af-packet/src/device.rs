//! A device: an interface, the sockets of all its queues, and the watch on it.
//!
//! 1. Opening builds the sockets ([`build`]): for each queue one with a ring that receives, and one that only sends.
//!    Several that receive form a fanout group, and none lets a packet in before all have joined it.
//! 2. They are published, and the device's epoch changes. Each half of a queue compares epochs at every burst, takes its
//!    own, and owns it from then on.
//! 3. The interface goes down and up: the sockets stay, the link changes.
//! 4. The interface goes away: so do the sockets, since a fanout group cannot be bound anew. When an interface of the same
//!    name comes, new ones are built and published by the watch.
//! 5. Set administratively down, the device has no sockets, so nothing that comes meanwhile is kept; set up, it gets new
//!    ones.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use pmd_core::netdev::{LinkLayer, Netdev, NetdevState, Watch};
use pmd_core::privileges::{self, Capability};
use pmd_core::{DeviceState, Link};

use crate::options::Config;
use crate::ring::RxRing;
use crate::socket::{KernelCounts, PacketSocket};

/// Time between two attempts to build sockets on an interface that has come.
const RETRY: Duration = Duration::from_secs(1);

/// What the queues, the control handles and the watch share.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) state: Arc<DeviceState>,
    netdev: Arc<Netdev>,
    config: Config,
    epoch: AtomicU32,
    slots: Vec<Mutex<Slot>>,
    /// The interface as the watch saw it last. Who changes the sockets holds the lock.
    seen: Mutex<Option<NetdevState>>,
}

/// What waits for a queue, and what its socket has counted.
#[derive(Debug, Default)]
struct Slot {
    /// That of these sockets. The device's changes a moment later, when all slots are filled.
    epoch: u32,
    ring: Option<RxRing>,
    sender: Option<PacketSocket>,
    /// The socket that receives now.
    receiver: Option<Arc<PacketSocket>>,
    counted: KernelCounts,
}

/// The sockets of a queue.
struct Sockets {
    ring: RxRing,
    receiver: Arc<PacketSocket>,
    sender: PacketSocket,
}

/// A device and the watch on it: what queues and control handles hold.
#[derive(Debug)]
pub(crate) struct OpenDevice {
    device: Arc<Device>,
    _watch: Watch,
}

impl OpenDevice {
    /// Builds the sockets of `queues` queues and begins to watch.
    ///
    /// # Errors
    /// Names what is missing, or what the kernel refused, and the way out.
    pub(crate) fn new(netdev: Netdev, config: Config, queues: usize) -> Result<Arc<Self>, String> {
        let now = netdev.state().map_err(|error| error.to_string())?.ok_or_else(|| netdev.absence())?;
        let netdev = Arc::new(netdev);
        let device = Arc::new(Device {
            state: DeviceState::down("not open yet"),
            netdev: Arc::clone(&netdev),
            config,
            epoch: AtomicU32::new(0),
            slots: (0..queues).map(|_| Mutex::default()).collect(),
            seen: Mutex::default(),
        });
        device.build_on(&now)?;
        device.state.set_link(now.link(netdev.name()));
        *lock(&device.seen) = Some(now.clone());
        let watched = Arc::clone(&device);
        let watch = Watch::start(netdev, Some(now), move |now| watched.saw(now)).map_err(|error| error.to_string())?;
        Ok(Arc::new(Self { device, _watch: watch }))
    }

    #[inline(always)]
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

impl Device {
    /// Changes with the sockets.
    #[inline(always)]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The ring of queue `queue` and its epoch, if it is another than `epoch`. No ring: there is no interface.
    pub(crate) fn take_ring(&self, queue: usize, epoch: u32) -> Option<(u32, Option<RxRing>)> {
        let mut slot = lock(&self.slots[queue]);
        (slot.epoch != epoch).then(|| (slot.epoch, slot.ring.take()))
    }

    /// As [`Self::take_ring`]: the socket that queue `queue` sends on.
    pub(crate) fn take_sender(&self, queue: usize, epoch: u32) -> Option<(u32, Option<PacketSocket>)> {
        let mut slot = lock(&self.slots[queue]);
        (slot.epoch != epoch).then(|| (slot.epoch, slot.sender.take()))
    }

    /// What the kernel has counted for queue `queue`, on all sockets it has had.
    pub(crate) fn kernel_counts(&self, queue: usize) -> KernelCounts {
        let mut slot = lock(&self.slots[queue]);
        slot.count();
        slot.counted
    }

    pub(crate) fn netdev(&self) -> &Netdev {
        &self.netdev
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn queues(&self) -> usize {
        self.slots.len()
    }

    /// The interface as the watch saw it last.
    pub(crate) fn seen(&self) -> Option<NetdevState> {
        lock(&self.seen).clone()
    }

    /// Takes notice of the interface; answers when to be called again.
    fn saw(&self, now: Option<&NetdevState>) -> Option<Duration> {
        let mut seen = lock(&self.seen);
        let before = std::mem::replace(&mut *seen, now.cloned());
        let name = self.netdev.name();
        let Some(now) = now else {
            self.publish(Vec::new());
            self.state.set_link(Link::Down(format!("interface {name} is gone")));
            return None;
        };
        let is_other = before.is_none_or(|before| before.index != now.index);
        let has_sockets = lock(&self.slots[0]).receiver.is_some();
        if self.state.is_admin_up() && (is_other || !has_sockets) {
            self.publish(Vec::new());
            if let Err(why) = self.build_on(now) {
                self.state.set_link(Link::Down(why));
                return Some(RETRY);
            }
            tracing::info!("interface {name} has come back");
        }
        self.state.set_link(now.link(name));
        None
    }

    /// Sets the device administratively up or down.
    pub(crate) fn set_admin_up(&self, up: bool) {
        let seen = lock(&self.seen);
        if self.state.is_admin_up() == up {
            return;
        }
        if !up {
            self.state.set_admin_up(false);
            self.publish(Vec::new());
            return;
        }
        // Without an interface the watch will build them.
        if let Some(now) = &*seen {
            let link = self.build_on(now).map_or_else(Link::Down, |()| now.link(self.netdev.name()));
            self.state.set_link(link);
        }
        self.state.set_admin_up(true);
    }

    fn build_on(&self, now: &NetdevState) -> Result<(), String> {
        let name = self.netdev.name();
        if let LinkLayer::Other(kind) = now.link_layer {
            let what = "but only Ethernet frames and bare IP packets are carried";
            return Err(format!("the packets of interface {name} begin with a header of kind {kind}, {what}"));
        }
        let build = || build(now.index, self.slots.len(), &self.config);
        let sockets = self.netdev.within(build).map_err(|error| explain(&error, name.as_str(), &self.config))?;
        self.publish(sockets);
        Ok(())
    }

    /// Puts sockets where the queues find them, in place of those before: none, if there are none. Called by one thread at
    /// a time: the one that opens, then whoever holds `seen`.
    fn publish(&self, sockets: Vec<Sockets>) {
        let mut sockets = sockets.into_iter();
        let epoch = self.epoch().wrapping_add(1);
        for slot in &self.slots {
            let mut slot = lock(slot);
            slot.count();
            slot.epoch = epoch;
            let (ring, receiver, sender) = match sockets.next() {
                Some(Sockets { ring, receiver, sender }) => (Some(ring), Some(receiver), Some(sender)),
                None => (None, None, None),
            };
            (slot.ring, slot.receiver, slot.sender) = (ring, receiver, sender);
        }
        self.epoch.store(epoch, Ordering::Release);
    }
}

impl Slot {
    /// Adds what the socket has counted since the last time: the kernel begins at 0 each time it is asked.
    fn count(&mut self) {
        let new = self.receiver.as_ref().and_then(|socket| socket.take_counts().ok()).unwrap_or_default();
        self.counted.drops += new.drops;
        self.counted.freezes += new.freezes;
    }
}

/// The sockets of all queues on the interface with this index, in the namespace of the calling thread.
fn build(index: u32, queues: usize, config: &Config) -> io::Result<Vec<Sockets>> {
    let sockets = (0..queues).map(|_| build_queue(index, config)).collect::<io::Result<Vec<_>>>()?;
    if let [first, others @ ..] = sockets.as_slice() {
        if config.promiscuous {
            first.receiver.be_promiscuous(index)?;
        }
        if !others.is_empty() {
            let group = first.receiver.begin_fanout(config.fanout_mode)?;
            others.iter().try_for_each(|other| other.receiver.join_fanout(group, config.fanout_mode))?;
        }
    }
    sockets.iter().try_for_each(|queue| queue.receiver.open_gate())?;
    Ok(sockets)
}

fn build_queue(index: u32, config: &Config) -> io::Result<Sockets> {
    let receiver = PacketSocket::new()?;
    receiver.make_rx_ring(&config.ring)?;
    receiver.close_gate()?;
    receiver.bind(index, true)?;
    let receiver = Arc::new(receiver);
    let ring = RxRing::map(Arc::clone(&receiver), &config.ring)?;
    let sender = PacketSocket::new()?;
    if config.qdisc_bypass {
        sender.bypass_qdisc()?;
    }
    sender.bind(index, false)?;
    Ok(Sockets { ring, receiver, sender })
}

fn explain(error: &io::Error, name: &str, config: &Config) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => privileges::refusal("a packet socket", &[Capability::NetRaw]),
        Some(Errno::ENOMEM) => {
            let megabytes = (u64::from(config.ring.block_size) * u64::from(config.ring.blocks)) >> 20;
            format!("interface {name}: no memory for a ring of {megabytes} MiB; make `framecnt` or `framesz` smaller")
        }
        Some(Errno::ENOPROTOOPT) => "the kernel is too old: packet sockets as needed came with Linux 5.10".to_owned(),
        _ => format!("interface {name}: {error}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
