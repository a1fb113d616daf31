//! The privileged side of `xsk_pin_path`: our program on an interface, its map pinned for others.
//!
//! A process with CAP_NET_ADMIN and CAP_BPF provides an interface once; programs that have CAP_NET_RAW only then receive from
//! it. Nothing of ours has to run meanwhile: what is pinned stays.

use std::path::{Path, PathBuf};

use pmd_core::netdev::{InterfaceName, Netdev};

use crate::device::queues_of;
use crate::plugin::Plugins;
use crate::steering::{Source, Steering};

/// Attaches our XDP program to an interface and pins the map of its sockets in `directory`, of a BPF file system, as
/// `xsks_map`; the place on the interface is pinned beside it, as `link`. Says where the map is. Removing both files ends it.
///
/// The program is attached natively where the interface has that, and not if `generic`.
///
/// # Errors
/// What stands in the way, with the way out.
pub fn provide(interface: &str, directory: &Path, generic: bool) -> Result<PathBuf, String> {
    let name: InterfaceName = interface.parse().map_err(|error| format!("{error}"))?;
    let netdev = Netdev::new(name, None).map_err(|error| error.to_string())?;
    let state = netdev.state().map_err(|error| error.to_string())?.ok_or_else(|| netdev.absence())?;
    let queues = queues_of(interface)?.unwrap_or(1);
    let mut steering = Steering::new(&Source::Own, interface, queues, &Plugins::default())?;
    steering.attach(interface, state.index, generic)?;
    let map = directory.join("xsks_map");
    steering.pin(&map, &directory.join("link"))?;
    Ok(map)
}
