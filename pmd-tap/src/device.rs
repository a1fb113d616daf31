//! A device: an interface with its queues and the watch on it, shared by the lports.
//!
//! 1. The watch tells of the interface: its flags become the link, its MTU the largest packet.
//! 2. Removed, it leaves our descriptors attached to nothing: the link is down. When an interface of the same name is made
//!    again (`ip tuntap add`), they are attached to that. The kernel makes an interface for who attaches to a name that is
//!    gone: one that has been removed must not come back by us, so we let go of any but the one that we have seen.
//! 3. Moved to another network namespace, or renamed, it is out of the watch's sight, but our descriptors work on: the
//!    link counts as up.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::netdev::{Netdev, NetdevState, Watch};
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
    pub(crate) netdev: Arc<Netdev>,
    pub(crate) state: Arc<DeviceState>,
    pub(crate) files: Vec<TunFile>,
    mode: Queues,
    max_packet: AtomicU32,
    /// What the watch saw last.
    seen: Mutex<Option<NetdevState>>,
    /// Whether the watch has found that our interface was removed. Written by the watch only.
    is_lost: AtomicBool,
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
        let state = interface.state.clone();
        let device = Arc::new(Device::new(interface, kind));
        device.saw(Some(&state));
        let watched = Arc::clone(&device);
        let watch = Watch::start(Arc::clone(&device.netdev), Some(state), move |state| watched.saw(state))?;
        Ok(Arc::new(Self { device, _watch: watch }))
    }
}

impl Device {
    fn new(interface: Interface, kind: Kind) -> Self {
        Self {
            kind,
            netdev: Arc::new(interface.netdev),
            state: DeviceState::up(),
            files: interface.files,
            mode: interface.mode,
            max_packet: AtomicU32::new(0),
            seen: Mutex::default(),
            is_lost: AtomicBool::new(false),
        }
    }

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
        let is_attached = self.is_attached();
        let was_lost = self.is_lost.swap(!is_attached, Ordering::Relaxed);
        match now {
            // Out of sight, but ours: it has been moved, or is just being removed, which the kernel announces no more. Another
            // look tells.
            None if is_attached => {
                self.state.set_link(Link::Up);
                Some(RETRY)
            }
            None => {
                self.state.set_link(Link::Down(format!("interface {} was removed", self.netdev.name())));
                None
            }
            Some(now) if is_attached => {
                self.max_packet.store(now.max_packet(), Ordering::Relaxed);
                self.state.set_link(now.link(self.netdev.name()));
                None
            }
            // Asked for before ours was lost, `now` may be the one that was removed. Another look tells.
            Some(_) if !was_lost => Some(Duration::ZERO),
            Some(now) => Some(self.attach_again(now.index)),
        }
    }

    /// Whether all queues belong to an interface.
    fn is_attached(&self) -> bool {
        self.files.iter().all(|file| {
            let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
            let polled = poll(&mut fds, PollTimeout::ZERO);
            polled.is_err() || !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
        })
    }

    /// Attaches the queues to the interface of our name that was seen with this index; answers when to look again.
    fn attach_again(&self, index: u32) -> Duration {
        let name = self.netdev.name();
        let attached = self.files.iter().try_for_each(|file| {
            match file.attach(name, self.kind, self.mode) {
                // Attached by the last attempt, which failed at another queue.
                Ok(()) | Err(Errno::EEXIST) => file.refuse_offloads(),
                Err(errno) => Err(errno),
            }
        });
        if let Err(errno) = attached {
            let why = format!("interface {name} was made again, but not for us: {}", errno.desc());
            self.state.set_link(Link::Down(why));
            return RETRY;
        }
        let is_the_one = self.netdev.state().is_ok_and(|now| now.is_some_and(|now| now.index == index));
        if !is_the_one {
            self.let_go();
        }
        // Its carrier has just come, or it has just gone; that is announced, too.
        Duration::ZERO
    }

    /// Leaves the interface: one that we have made by attaching goes with that, another stays.
    fn let_go(&self) {
        for file in &self.files {
            if let Err(error) = self.netdev.within(|| file.detach()) {
                tracing::warn!("leaving the interface {}: {error}", self.netdev.name());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lport_tests::Namespace;
    use lport_tests::namespace::may_make_namespaces;
    use pmd_core::netns::Netns;

    use super::*;
    use crate::interface;
    use crate::options::Wanted;

    #[test]
    #[cfg_attr(miri, ignore = "miri has no interfaces")]
    fn an_interface_that_is_removed_while_we_look_at_it_is_not_made_by_us() -> anyhow::Result<()> {
        if !may_make_namespaces()? {
            return Ok(());
        }
        let namespace = Namespace::new()?;
        let wanted = Wanted {
            name: "tun0".parse()?,
            netns: Some(Netns::Name(namespace.name().to_owned())),
            mac: None,
            mtu: None,
            address: None,
            persist: Some(true),
            up: true,
            owner: None,
            group: None,
        };
        let made = interface::make(&wanted, Kind::Tun, 2).map_err(anyhow::Error::msg)?;
        let before = made.state.clone();
        // Without a watch: what it sees, and when, is up to us.
        let device = Device::new(made, Kind::Tun);
        let is_there = || namespace.ip("link show tun0").is_ok();
        namespace.ip("link del tun0")?;
        // A state of before the removal, and again, as if it had been made anew and removed again.
        for _ in 0..3 {
            assert_eq!(device.saw(Some(&before)), Some(Duration::ZERO));
            assert!(!is_there());
        }
        assert_eq!(device.saw(None), None);
        assert_eq!(device.state.link(), Link::Down("interface tun0 was removed".into()));
        // One that stays is not removed by our leaving it, and is taken when it is seen.
        namespace.ip("tuntap add tun0 mode tun multi_queue")?;
        assert_eq!(device.saw(Some(&before)), Some(Duration::ZERO));
        assert!(is_there() && !device.is_attached());
        let now = device.netdev.state()?.expect("it is there");
        assert_eq!(now.index, before.index + 3, "two were made for a moment, none by the first look");
        assert_eq!(device.saw(Some(&now)), Some(Duration::ZERO));
        assert!(device.is_attached());
        Ok(())
    }
}
