//! Which packets come to our sockets: a map of sockets by queue, and the XDP program that goes by it.
//!
//! 1. By default the map and the program are ours: the program is attached to the interface as a link, which the kernel
//!    takes away with the process, whatever becomes of it.
//! 2. With `xsk_pin_path` or `uds_path` somebody privileged has loaded a program; its map is all we need.
//! 3. A bound socket is entered into the map. It leaves it when the lport is set down, or with the socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;
use pmd_core::privileges::{Capability, refusal};

use crate::plugin::{Plugin, Plugins};
use crate::program;
use crate::sys::bpf::{Attach, Link, Program, XskMap, pin};

/// What making a map, loading a program and attaching it need.
pub(crate) const CAPABILITIES: &[Capability] = &[Capability::NetAdmin, Capability::Bpf];

/// Where the map of sockets comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// We make it, and the program.
    Own,
    /// It is pinned in a BPF file system (`xsk_pin_path`).
    Pinned(PathBuf),
    /// A device plugin hands it out (`uds_path`).
    Plugin(PathBuf),
}

/// The map of an interface, and what keeps it in use.
#[derive(Debug)]
pub(crate) struct Steering {
    map: XskMap,
    link: Option<Link>,
    plugin: Option<Arc<Plugin>>,
}

impl Steering {
    /// Gets the map; `queues` is how many the interface has.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) fn new(source: &Source, interface: &str, queues: u32, plugins: &Plugins) -> Result<Self, String> {
        match source {
            Source::Own => {
                let map = XskMap::new(queues).map_err(|error| bpf_error("making a map of AF_XDP sockets", &error))?;
                Ok(Self { map, link: None, plugin: None })
            }
            Source::Pinned(path) => Ok(Self { map: pinned(path)?, link: None, plugin: None }),
            Source::Plugin(path) => {
                let plugin = plugins.connect(path)?;
                let map = XskMap::received(plugin.map_of(interface)?);
                check_kind(&map, &format!("what the device plugin at `uds_path` {} sent", path.display()))?;
                Ok(Self { map, link: None, plugin: Some(plugin) })
            }
        }
    }

    /// Attaches our program to the interface, natively if that is wished and can be; says which it was.
    ///
    /// # Errors
    /// When it cannot be attached at all.
    pub(crate) fn attach(&mut self, interface: &str, index: u32, generic: bool) -> Result<Attach, String> {
        let code = program::redirect(self.map.as_fd().as_raw_fd());
        let program =
            Program::load(&code, program::LICENSE).map_err(|error| bpf_error("loading the XDP program", &error))?;
        let attach = |how| program.attach(index, how);
        let (link, how) = match attach(if generic { Attach::Generic } else { Attach::Native }) {
            Ok(link) => (link, if generic { Attach::Generic } else { Attach::Native }),
            Err(error) if generic || is_final(&error) => return Err(attach_error(interface, &error)),
            Err(error) => {
                tracing::info!(
                    "interface {interface} takes no native XDP program ({error}): using the generic path, which copies, as \
                     `skb_mode` does"
                );
                let link = attach(Attach::Generic).map_err(|error| attach_error(interface, &error))?;
                (link, Attach::Generic)
            }
        };
        self.link = Some(link);
        Ok(how)
    }

    /// The device plugin, if the map came from one.
    pub(crate) fn plugin(&self) -> Option<&Plugin> {
        self.plugin.as_deref()
    }

    /// Pins the map, and our program's place on the interface, so that both outlive us.
    ///
    /// # Errors
    /// When a path is not of a BPF file system, or taken.
    pub(crate) fn pin(&self, map: &Path, link: &Path) -> Result<(), String> {
        let error = |path: &Path, error: io::Error| match error.raw_os_error() {
            Some(libc::EEXIST) => {
                format!("{} is there already: remove it, which ends what it stands for", path.display())
            }
            _ => format!(
                "cannot pin {}: {error}; the directory must be of a BPF file system (`mount -t bpf bpf DIR`)",
                path.display()
            ),
        };
        pin(self.map.as_fd(), map).map_err(|source| error(map, source))?;
        self.link.as_ref().map_or(Ok(()), |own| pin(own.as_fd(), link)).map_err(|source| {
            // Half of it is of no use to anyone.
            drop(std::fs::remove_file(map));
            error(link, source)
        })
    }

    /// Sends the packets of a queue to `socket`.
    ///
    /// # Errors
    /// When the map does not take it.
    pub(crate) fn set(&self, queue: u16, socket: BorrowedFd<'_>) -> Result<(), String> {
        self.map.set(queue.into(), socket).map_err(|error| match error.raw_os_error() {
            Some(libc::E2BIG) => {
                let room = self.map.room().ok().flatten().unwrap_or_default();
                format!("the map of AF_XDP sockets has room for {room} queues, so queue {queue} cannot be entered")
            }
            Some(libc::EPERM | libc::EACCES) => refusal("entering a socket into the map", &[Capability::Bpf]),
            _ => format!("cannot enter the socket of queue {queue} into the map of AF_XDP sockets: {error}"),
        })
    }

    /// Sends the packets of a queue to the kernel's stack.
    pub(crate) fn clear(&self, queue: u16) {
        if let Err(error) = self.map.clear(queue.into()) {
            tracing::warn!("cannot take the socket of queue {queue} out of the map of AF_XDP sockets: {error}");
        }
    }
}

fn pinned(path: &Path) -> Result<XskMap, String> {
    let place = path.display();
    let map = XskMap::pinned(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => {
            format!("`xsk_pin_path` {place}: nothing is pinned there; who loads the program pins its map")
        }
        Some(libc::EPERM | libc::EACCES) => {
            format!(
                "`xsk_pin_path` {place}: {error}; it must be pinned in a BPF file system, readable and writable for us"
            )
        }
        _ => format!("`xsk_pin_path` {place}: cannot open the pinned map: {error}"),
    })?;
    check_kind(&map, &format!("`xsk_pin_path` {place}"))?;
    Ok(map)
}

fn check_kind(map: &XskMap, what: &str) -> Result<(), String> {
    match map.room() {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(format!("{what} is a BPF map, but none of AF_XDP sockets (BPF_MAP_TYPE_XSKMAP)")),
        Err(error) => Err(format!("{what} is no BPF map: {error}")),
    }
}

/// Whether the other way of attaching would fail alike.
fn is_final(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::EACCES | libc::ENODEV))
}

fn attach_error(interface: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => format!(
            "another XDP program is attached to interface {interface} (`ip link show dev {interface}` names it): end whoever \
             attached it, or `ip link set dev {interface} xdp off`; to share its map of sockets, use `xsk_pin_path`"
        ),
        _ => bpf_error(&format!("attaching an XDP program to interface {interface}"), error),
    }
}

fn bpf_error(what: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            format!("{}; without it, use `xsk_pin_path` or `uds_path`", refusal(what, CAPABILITIES))
        }
        _ => format!("{what}: {error}"),
    }
}
