//! A device: an interface with its queues and the watch on it, shared by the lports.
//!
//! 1. The watch tells of the interface: its flags become the link, its MTU the largest packet.
//! 2. Removed, it leaves our descriptors attached to nothing: the link is down. When an interface of the same name is made
//!    again (`ip tuntap add`), they are attached to that.
//! 3. Moved to another network namespace, or renamed, it is out of the watch's sight, but our descriptors work on: the
//!    link counts as up.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::netdev::{InterfaceName, NetdevState, Watch};
use pmd_core::{DeviceState, Link};

use crate::interface::Interface;
use crate::tun::{Kind, Queues, TunFile};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET_HEADER: usize = 14;

/// Bytes that a VLAN tag adds to a frame beyond the MTU.
pub(crate) const VLAN_TAG: usize = 4;

/// Time between two attempts to attach again.
const RETRY: Duration = Duration::from_secs(1);

/// What is shared by the queues, the control handles and the watch.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) kind: Kind,
    pub(crate) name: InterfaceName,
    pub(crate) state: Arc<DeviceState>,
    pub(crate) files: Vec<TunFile>,
    mode: Queues,
    max_packet: AtomicU32,
    /// What the watch saw last.
    seen: Mutex<Option<NetdevState>>,
}

/// A device and the watch on it: what queues and control handles hold.
#[derive(Debug)]
pub(crate) struct OpenDevice {
    pub(crate) device: Arc<Device>,
    _watch: Watch,
}

impl OpenDevice {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the system has no more threads or descriptors.
    pub(crate) fn new(interface: Interface, kind: Kind) -> std::io::Result<Arc<Self>> {
        let Interface { netdev, state, files, mode } = interface;
        let device = Arc::new(Device {
            kind,
            name: netdev.name().clone(),
            state: DeviceState::up(),
            files,
            mode,
            max_packet: AtomicU32::new(0),
            seen: Mutex::default(),
        });
        device.saw(Some(&state));
        let watched = Arc::clone(&device);
        let watch = Watch::start(Arc::new(netdev), Some(state), move |state| watched.saw(state))?;
        Ok(Arc::new(Self { device, _watch: watch }))
    }
}

impl Device {
    /// Largest packet to be sent, without a VLAN tag.
    #[inline(always)]
    pub(crate) fn max_packet(&self) -> usize {
        self.max_packet.load(Ordering::Relaxed) as usize
    }

    /// The interface as the watch saw it last.
    pub(crate) fn seen(&self) -> Option<NetdevState> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes notice of the interface; answers when to be called again.
    fn saw(&self, now: Option<&NetdevState>) -> Option<Duration> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now.cloned();
        let Some(now) = now else {
            // Out of sight, but ours: it has been moved, or is just being removed, which the kernel announces no more. Another
            // look tells.
            let attached = self.is_attached();
            let removed = || Link::Down(format!("interface {} was removed", self.name));
            self.state.set_link(if attached { Link::Up } else { removed() });
            return attached.then_some(RETRY);
        };
        self.max_packet.store(now.max_packet(), Ordering::Relaxed);
        if !self.is_attached() {
            if let Err(errno) = self.attach_again() {
                let why = format!("interface {} was made again, but not for us: {}", self.name, errno.desc());
                self.state.set_link(Link::Down(why));
                return Some(RETRY);
            }
            // Its carrier has just come; that is announced, too.
            return Some(Duration::ZERO);
        }
        self.state.set_link(now.link(&self.name));
        None
    }

    /// Whether the queues belong to an interface.
    fn is_attached(&self) -> bool {
        let mut fds = [PollFd::new(self.files[0].as_fd(), PollFlags::POLLOUT)];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        polled.is_err() || !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
    }

    fn attach_again(&self) -> nix::Result<()> {
        self.files.iter().try_for_each(|file| {
            match file.attach(&self.name, self.kind, self.mode) {
                // Attached by the last attempt, which failed at another queue.
                Ok(()) | Err(Errno::EEXIST) => file.refuse_offloads(),
                Err(errno) => Err(errno),
            }
        })
    }
}
