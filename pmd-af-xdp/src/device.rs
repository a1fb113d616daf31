//! One interface with the queues that are ours: where its watch and the queues meet.
//!
//! 1. The driver makes a [`Device`] and [`Device::connect`]s it: map of sockets, a socket for each queue, XDP program, in
//!    that order; then the sockets are entered into the map.
//! 2. The two ends of each socket wait in `slots`; the epoch changes, and each half of a queue takes its end at its next
//!    burst. It owns it from then on.
//! 3. A watch tells what becomes of the interface. When it goes away the device is withdrawn: the epoch changes again, and
//!    each half lets go of its end. When it comes back, the device is connected anew.
//! 4. When the halves of all queues are gone, the device is withdrawn for good. Control handles may stay.
//!
//! Who writes what: the opening thread, then the watch, `slots` and `session`; applications the admin state; each half its
//! own counters.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType};
use pmd_core::Link;
use pmd_core::device::DeviceState;
use pmd_core::netdev::{Netdev, NetdevState, Watch};
use pmd_core::privileges::missing;

use crate::counters::Counters;
use crate::options::{DeviceConfig, QueueConfig};
use crate::plugin::Plugins;
use crate::rx::RxEnd;
use crate::socket::{self, Ends, Place, Socket};
use crate::steering::{self, Source, Steering};
use crate::sys::bpf::Attach;
use crate::sys::channels;
use crate::sys::xsk::Transfer;
use crate::tx::TxEnd;
use crate::umem::{SharedUmems, Umem};

/// Bytes around the MTU of an Ethernet packet: its header and a VLAN tag.
const AROUND_MTU: usize = 14 + 4;

/// When an interface that came back is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What the devices of a driver share.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) umems: SharedUmems,
    pub(crate) plugins: Plugins,
}

/// The shared state of a device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) config: DeviceConfig,
    pub(crate) netdev: Arc<Netdev>,
    pub(crate) state: Arc<DeviceState>,
    /// By position in `config.queues`.
    pub(crate) counters: Vec<Counters>,
    common: Arc<Common>,
    /// Longest packet, in bytes.
    max_packet: AtomicUsize,
    /// Changes whenever the ends do.
    epoch: AtomicU32,
    /// Wakes each receiving half's owner when the link changes.
    wakes: Vec<Arc<EventFd>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Ends that wait for their halves, by position.
    slots: Vec<Slot>,
    session: Option<Session>,
}

#[derive(Debug, Default)]
struct Slot {
    rx: Option<RxEnd>,
    tx: Option<TxEnd>,
}

/// What holds for as long as the interface is there.
#[derive(Debug)]
struct Session {
    steering: Steering,
    sockets: Vec<Weak<Socket>>,
    view: View,
}

/// How the device is connected, for people.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) index: u32,
    /// `None`: the program is somebody else's.
    pub(crate) attach: Option<Attach>,
    /// By position.
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) umems: Vec<Weak<Umem>>,
}

impl Device {
    /// A device that is not connected yet.
    pub(crate) fn new(config: DeviceConfig, common: Arc<Common>) -> Result<Self, String> {
        let netdev = Netdev::new(config.interface.clone(), config.netns.clone()).map_err(|error| error.to_string())?;
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map(Arc::new);
        let wakes = config.queues.iter().map(|_| event()).collect::<Result<_, _>>();
        Ok(Self {
            wakes: wakes.map_err(|error| format!("cannot make an eventfd: {error}"))?,
            counters: config.queues.iter().map(|_| Counters::default()).collect(),
            config,
            netdev: Arc::new(netdev),
            state: DeviceState::down("not connected yet"),
            common,
            max_packet: AtomicUsize::new(0),
            epoch: AtomicU32::new(0),
            inner: Mutex::default(),
        })
    }

    /// Changes whenever the ends do.
    #[inline(always)]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The receiving end that waits at a position, with the epoch it is of.
    pub(crate) fn take_rx(&self, position: usize) -> (u32, Option<RxEnd>) {
        let mut inner = self.lock();
        (self.epoch(), inner.slots.get_mut(position).and_then(|slot| slot.rx.take()))
    }

    /// The sending end that waits at a position, with the epoch it is of.
    pub(crate) fn take_tx(&self, position: usize) -> (u32, Option<TxEnd>) {
        let mut inner = self.lock();
        (self.epoch(), inner.slots.get_mut(position).and_then(|slot| slot.tx.take()))
    }

    /// What wakes the owner of a receiving half when the link changes.
    pub(crate) fn wake(&self, position: usize) -> Arc<EventFd> {
        Arc::clone(&self.wakes[position])
    }

    /// Says what has become of the link, and wakes whoever sleeps on it.
    fn set_link(&self, link: Link) {
        self.state.set_link(link);
        self.wake_all();
    }

    fn wake_all(&self) {
        for wake in &self.wakes {
            // It fails only when it is signalled already.
            let _ = wake.write(1);
        }
    }

    /// Longest packet that can be received and sent, in bytes.
    #[inline(always)]
    pub(crate) fn max_packet(&self) -> usize {
        self.max_packet.load(Ordering::Relaxed)
    }

    /// How it is connected now.
    pub(crate) fn view(&self) -> Option<View> {
        self.lock().session.as_ref().map(|session| session.view.clone())
    }

    /// Connects it to the interface as that is now; the link is up if the interface's is.
    ///
    /// # Errors
    /// What stands in the way, with the way out.
    pub(crate) fn connect(&self) -> Result<NetdevState, String> {
        let state = self.netdev.state().map_err(|error| error.to_string())?.ok_or_else(|| self.netdev.absence())?;
        self.follow(&state);
        let made = self.netdev.within(|| Ok(self.make_session(&state)));
        let (session, slots) = made.map_err(|error| error.to_string())??;
        let mut inner = self.lock();
        if self.state.is_admin_up() {
            session.enter_sockets()?;
        }
        *inner = Inner { slots, session: Some(session) };
        self.epoch.fetch_add(1, Ordering::Release);
        drop(inner);
        self.set_link(state.link(&self.config.interface));
        Ok(state)
    }

    /// Lets go of the interface; the halves follow at their next bursts.
    fn withdraw(&self, why: &str) {
        self.set_link(Link::Down(why.to_owned()));
        let mut inner = self.lock();
        self.epoch.fetch_add(1, Ordering::Release);
        let old = std::mem::take(&mut *inner);
        // Closing sockets takes its time; nobody has to wait for the lock meanwhile.
        drop(inner);
        drop(old);
    }

    /// Sets it administratively up or down. While it is down, the kernel gets the packets.
    pub(crate) fn set_admin_up(&self, up: bool) {
        let inner = self.lock();
        self.state.set_admin_up(up);
        self.wake_all();
        let Some(session) = &inner.session else { return };
        if !up {
            session.sockets.iter().filter_map(Weak::upgrade).for_each(|socket| session.steering.clear(socket.queue()));
        } else if let Err(error) = session.enter_sockets() {
            tracing::error!("{}: {error}", self.config.interface);
        }
    }

    /// The interface has changed: another state, another interface, or none. Says when to look again.
    fn changed(&self, state: Option<&NetdevState>) -> Option<Duration> {
        let interface = &self.config.interface;
        let Some(state) = state else {
            self.withdraw(&format!("interface {interface} is gone"));
            return None;
        };
        if self.view().is_some_and(|view| view.index == state.index) {
            self.follow(state);
            self.set_link(state.link(interface));
            return None;
        }
        self.withdraw(&format!("interface {interface} has come back"));
        self.connect().map_or_else(
            |error| {
                self.set_link(Link::Down(error));
                Some(AGAIN)
            },
            |_| None,
        )
    }

    /// Goes by the interface's MTU.
    fn follow(&self, state: &NetdevState) {
        let buffers = self.config.queues.iter().map(|queue| queue.shape.rx_max()).min().unwrap_or(0);
        self.max_packet.store(buffers.min(state.mtu as usize + AROUND_MTU), Ordering::Relaxed);
    }

    /// Makes everything, without letting packets in.
    fn make_session(&self, state: &NetdevState) -> Result<(Session, Vec<Slot>), String> {
        let DeviceConfig { interface, source, queues, generic, .. } = &self.config;
        let name = interface.as_str();
        check_privileges(name, source)?;
        let there = queues_of(name)?;
        check_queues(name, queues.iter().map(|queue| queue.queue), there)?;
        let room = there.unwrap_or(1).max(queues.iter().map(|queue| u32::from(queue.queue) + 1).max().unwrap_or(1));
        let mut steering = Steering::new(source, name, room, &self.common.plugins)?;
        let mut ends = Vec::new();
        for (queue, counters) in queues.iter().zip(&self.counters) {
            ends.push(self.open_socket(queue, counters, state.index, &steering)?);
        }
        let attach = match source {
            Source::Own => Some(steering.attach(name, state.index, *generic)?),
            Source::Pinned(_) | Source::Plugin(_) => None,
        };
        let transfers: Vec<_> = ends.iter().map(|ends| ends.socket.transfer()).collect();
        if attach == Some(Attach::Generic) && transfers.contains(&Transfer::ZeroCopy) {
            return Err(format!(
                "interface {name} has zero copy but takes no native XDP program now; use `mode` `copy`, or lower its MTU"
            ));
        }
        let sockets = ends.iter().map(|ends| Arc::downgrade(&ends.socket)).collect();
        let umems = ends.iter().map(|ends| Arc::downgrade(ends.socket.umem())).collect();
        let view = View { index: state.index, attach, transfers, umems };
        let slots = ends.into_iter().map(|Ends { rx, tx, .. }| Slot { rx: Some(rx), tx: Some(tx) }).collect();
        Ok((Session { steering, sockets, view }, slots))
    }

    fn open_socket(
        &self,
        queue: &QueueConfig,
        counters: &Counters,
        index: u32,
        steering: &Steering,
    ) -> Result<Ends, String> {
        let umem = if queue.shared_umem {
            self.common.umems.of(&queue.pool, queue.shape)
        } else {
            Umem::new(queue.pool.clone(), queue.shape)
        };
        let place = Place { interface: index, name: self.config.interface.as_str(), queue: queue.queue };
        let ends = socket::open(place, queue, self.config.mode, umem, &counters.kernel)?;
        if let Some(wished) = queue.busy_poll {
            ends.socket.set_up_busy_poll(wished, steering.plugin())?;
        }
        Ok(ends)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Lets packets come to all sockets.
    fn enter_sockets(&self) -> Result<(), String> {
        use std::os::fd::AsFd;

        let sockets = self.sockets.iter().filter_map(Weak::upgrade);
        { sockets }.try_for_each(|socket| self.steering.set(socket.queue(), socket.xsk().as_fd()))
    }
}

/// What is missing for a socket and, where we load it, a program.
pub(crate) fn check_privileges(interface: &str, source: &Source) -> Result<(), String> {
    let needed = match source {
        Source::Own => [socket::CAPABILITIES, steering::CAPABILITIES].concat(),
        Source::Pinned(_) | Source::Plugin(_) => socket::CAPABILITIES.to_vec(),
    };
    let purpose = format!("AF_XDP on interface {interface}");
    let unprivileged = match source {
        Source::Own => "; without CAP_NET_ADMIN and CAP_BPF, use `xsk_pin_path` or `uds_path`",
        Source::Pinned(_) | Source::Plugin(_) => "",
    };
    missing(&purpose, &needed).map_or(Ok(()), |text| Err(format!("{text}{unprivileged}")))
}

/// The receive queues of an interface of the calling thread's namespace; `None` when its driver does not say.
pub(crate) fn queues_of(interface: &str) -> Result<Option<u32>, String> {
    use std::os::fd::AsFd;

    let socket = nix::sys::socket::socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.map_err(|error| format!("cannot make a socket: {error}"))?;
    channels::rx_queues(socket.as_fd(), interface)
        .map_err(|error| format!("cannot learn how many queues {interface} has: {error}"))
}

/// Makes sure that the interface has the queues.
pub(crate) fn check_queues(
    interface: &str,
    mut queues: impl Iterator<Item = u16>,
    there: Option<u32>,
) -> Result<(), String> {
    let Some(there) = there else { return Ok(()) };
    match queues.find(|queue| u32::from(*queue) >= there) {
        None => Ok(()),
        Some(queue) => Err(format!(
            "`qid` is {queue}, but interface {interface} has {there} receive queue{}, numbered from 0 (`ethtool -l {interface}` \
             shows them, `ethtool -L` sets them)",
            if there == 1 { "" } else { "s" }
        )),
    }
}

/// A device whose queues are in use, with its watch.
#[derive(Debug)]
pub(crate) struct InUse {
    pub(crate) device: Arc<Device>,
    /// Ends before the device is withdrawn.
    watch: Option<Watch>,
}

impl InUse {
    /// Connects a device, and watches it from then on.
    ///
    /// # Errors
    /// What stands in the way, with the way out.
    pub(crate) fn open(device: Arc<Device>) -> Result<Arc<Self>, String> {
        let first = device.connect()?;
        let watched = Arc::clone(&device);
        let netdev = Arc::clone(&device.netdev);
        let watch = Watch::start(netdev, Some(first), move |state| watched.changed(state));
        let watch = watch.map_err(|error| format!("cannot watch the interface: {error}"));
        let mut open = Self { device, watch: None };
        // If there is no watch, the drop withdraws the device.
        open.watch = Some(watch?);
        Ok(Arc::new(open))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.watch = None;
        self.device.withdraw("closed");
    }
}
