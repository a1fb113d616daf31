//! Network interfaces of the kernel: for drivers whose devices are some.
//!
//! 1. An [`InterfaceName`] is a name that the kernel accepts; a [`Netdev`] is the interface of that name in a network
//!    namespace, whether it is there at the moment or not.
//! 2. [`Netdev::state`] asks for its state, the setters change it. Each is a system call on a socket of that namespace.
//! 3. A [`Watch`] tells a driver of every change, from a thread of its own that sleeps in between.
//!
//! The ioctls are in `ioctl`, the only file here with `unsafe`.

mod ioctl;
mod watch;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::net::if_::if_nameindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

pub use watch::Watch;

use crate::lport::Link;
use crate::netns::Netns;

/// Longest name of an interface in bytes: IFNAMSIZ, with its NUL.
const NAME_MAX: usize = 15;

/// A name that an interface can have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InterfaceName(String);

/// Why a text cannot be the name of an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceNameError {
    /// Longer than the kernel's limit.
    #[error("`{0}` has {len} bytes, but the name of an interface has {NAME_MAX} at most", len = .0.len())]
    TooLong(String),
    /// Empty, `.`, `..`, or with a character that the kernel refuses.
    #[error("`{0}` cannot be the name of an interface: neither `/`, `:`, spaces, `.`, `..` nor nothing can")]
    Forbidden(String),
}

impl std::str::FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(text: &str) -> Result<Self, InterfaceNameError> {
        let is_forbidden = |byte: u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace();
        if text.len() > NAME_MAX {
            Err(InterfaceNameError::TooLong(text.to_owned()))
        } else if matches!(text, "" | "." | "..") || text.bytes().any(is_forbidden) {
            Err(InterfaceNameError::Forbidden(text.to_owned()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The interface of a name in a network namespace.
#[derive(Debug)]
pub struct Netdev {
    name: InterfaceName,
    netns: Option<Netns>,
    /// Any socket of the namespace; ioctls need one.
    socket: OwnedFd,
}

/// What is known of an interface that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetdevState {
    /// The kernel's number of it. One that went and came back has another.
    pub index: u32,
    /// Whether it is set up (`ip link set NAME up`).
    pub is_up: bool,
    /// Whether it can carry packets: up, and its cable or peer is there.
    pub is_running: bool,
    /// Largest packet behind the link-layer header, in bytes.
    pub mtu: u32,
    /// What its packets begin with.
    pub link_layer: LinkLayer,
    /// Ethernet address, if it has Ethernet headers.
    pub mac: Option<[u8; 6]>,
}

/// What the packets of an interface begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkLayer {
    /// An Ethernet header.
    Ethernet,
    /// The IP header: tun, WireGuard.
    Ip,
    /// Something else, by the kernel's number (`ARPHRD_*`).
    Other(u16),
}

impl NetdevState {
    /// Largest packet with its link-layer header, without a VLAN tag, in bytes: what
    /// [`crate::LportInfo::max_packet`] wants.
    pub fn max_packet(&self) -> u32 {
        self.mtu + if self.link_layer == LinkLayer::Ethernet { 14 } else { 0 }
    }

    /// The link, for people: the reason names the command that ends it, if there is one.
    pub fn link(&self, name: &InterfaceName) -> Link {
        match (self.is_up, self.is_running) {
            (true, true) => Link::Up,
            (true, false) => Link::Down(format!("interface {name} has no carrier")),
            (false, _) => Link::Down(format!("interface {name} is down: `ip link set {name} up`")),
        }
    }
}

impl Netdev {
    /// The interface `name` in `netns`; `None` is the calling thread's namespace. It need not be there.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn new(name: InterfaceName, netns: Option<Netns>) -> io::Result<Self> {
        let make = || Ok(socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?);
        let socket = within(netns.as_ref(), make)?;
        Ok(Self { name, netns, socket })
    }

    /// Its name.
    pub fn name(&self) -> &InterfaceName {
        &self.name
    }

    /// Its namespace, if it is not the process' own.
    pub fn netns(&self) -> Option<&Netns> {
        self.netns.as_ref()
    }

    /// Makes something, a socket, in the interface's namespace.
    ///
    /// # Errors
    /// Those of `make`, and when the namespace cannot be entered.
    pub fn within<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        within(self.netns.as_ref(), make)
    }

    /// Its state now; `None` when there is no such interface.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn state(&self) -> io::Result<Option<NetdevState>> {
        match ioctl::state(self.socket.as_fd(), &self.name) {
            Ok(state) => Ok(Some(state)),
            Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What to say when it is not there: names those that are.
    pub fn absence(&self) -> String {
        let names = || {
            let all = if_nameindex()?;
            Ok(all.iter().map(|one| one.name().to_string_lossy().into_owned()).collect::<Vec<_>>().join(", "))
        };
        let place = self.netns.as_ref().map(|netns| format!(" in network namespace {netns}")).unwrap_or_default();
        let there = self.within(names).map(|names| format!("; there are: {names}")).unwrap_or_default();
        format!("there is no interface `{}`{place}{there}", self.name)
    }

    /// Sets it up or down.
    ///
    /// # Errors
    /// The kernel's: CAP_NET_ADMIN is needed.
    pub fn set_up(&self, up: bool) -> io::Result<()> {
        Ok(ioctl::set_up(self.socket.as_fd(), &self.name, up)?)
    }

    /// Sets its MTU.
    ///
    /// # Errors
    /// The kernel's: EINVAL when the interface cannot have it.
    pub fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        Ok(ioctl::set_mtu(self.socket.as_fd(), &self.name, mtu)?)
    }

    /// Sets its Ethernet address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_mac(&self, mac: [u8; 6]) -> io::Result<()> {
        Ok(ioctl::set_mac(self.socket.as_fd(), &self.name, mac)?)
    }

    /// Gives it an IP address with a prefix of `prefix` bits, from which its kernel makes the route, too.
    ///
    /// # Errors
    /// The kernel's.
    ///
    /// # Panics
    /// When `prefix` is longer than the address.
    pub fn set_address(&self, address: IpAddr, prefix: u8) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => {
                assert!(prefix <= 32, "a prefix of {prefix} bits is longer than an IPv4 address");
                Ok(ioctl::set_address_v4(self.socket.as_fd(), &self.name, address, prefix)?)
            }
            IpAddr::V6(address) => {
                assert!(prefix <= 128, "a prefix of {prefix} bits is longer than an IPv6 address");
                let make = || Ok(socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?);
                let socket = self.within(make)?;
                Ok(ioctl::set_address_v6(socket.as_fd(), &self.name, address, prefix)?)
            }
        }
    }
}

fn within<T: Send>(netns: Option<&Netns>, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    match netns {
        Some(netns) => netns.make(make),
        None => make(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for good in ["lo", "eth0.100", "a-b_c", "fifteen-bytes-x"] {
            assert_eq!(good.parse::<InterfaceName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "a/b", "tap0:1", "a b", "tab\t", "nul\0"] {
            assert_eq!(bad.parse::<InterfaceName>(), Err(InterfaceNameError::Forbidden(bad.into())));
        }
        let error = "sixteen-bytes-xx".parse::<InterfaceName>().unwrap_err().to_string();
        assert_eq!(error, "`sixteen-bytes-xx` has 16 bytes, but the name of an interface has 15 at most");
    }

    #[test]
    #[cfg_attr(miri, ignore = "miri has no interfaces")]
    fn an_interface_tells_its_state_and_one_that_is_missing_names_the_others() {
        let open = |name: &str| Netdev::new(name.parse().unwrap(), None).unwrap();
        let loopback = open("lo").state().unwrap().expect("every namespace has it");
        assert_eq!((loopback.index, loopback.link_layer, loopback.mac), (1, LinkLayer::Ethernet, Some([0; 6])));
        let absent = open("no-such-if");
        assert_eq!(absent.state().unwrap(), None);
        let text = absent.absence();
        assert!(text.starts_with("there is no interface `no-such-if`; there are: ") && text.contains("lo"), "{text}");
    }

    #[test]
    fn a_link_that_is_down_says_why() {
        let name: InterfaceName = "eth7".parse().unwrap();
        let link_layer = LinkLayer::Ethernet;
        let state = |is_up, is_running| NetdevState { index: 1, is_up, is_running, mtu: 1500, link_layer, mac: None };
        assert_eq!(state(true, true).link(&name), Link::Up);
        assert_eq!(state(true, false).link(&name), Link::Down("interface eth7 has no carrier".into()));
        assert_eq!(state(false, false).link(&name), Link::Down("interface eth7 is down: `ip link set eth7 up`".into()));
    }
}
