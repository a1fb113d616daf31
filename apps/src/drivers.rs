//! The drivers and wrappers this program has: the one place that names them all, and adds drivers that its user names.

use std::sync::Arc;

use pmd_af_packet::AfPacketDriver;
use pmd_af_xdp::AfXdpDriver;
use pmd_core::{Driver, Registry};
use pmd_dso::Checking;
use pmd_memif::{CndpMemifDriver, MemifDriver};
use pmd_pcap::{PcapDriver, PcapTap, Recordings};
use pmd_tap::TapDriver;

use crate::cli::DriverFiles;
use crate::failure::Failure;

/// All of them, with those of the shared objects that the command line names.
///
/// # Errors
/// [`Failure::Configuration`] when one cannot be loaded.
pub(crate) fn registry_with(files: &DriverFiles) -> Result<Registry, Failure> {
    let mut registry = registry();
    let checking = if files.check_drivers { Checking::On } else { Checking::Off };
    for path in &files.paths {
        pmd_dso::load(path, checking, &mut registry).map_err(|error| Failure::Configuration(error.to_string()))?;
    }
    Ok(registry)
}

/// The driver called `name`.
///
/// # Errors
/// [`Failure::Configuration`] when there is none.
pub(crate) fn find<'a>(registry: &'a Registry, name: &str) -> Result<&'a Arc<dyn Driver>, Failure> {
    registry.get(name).ok_or_else(|| {
        let known = registry.names();
        let nearest = lport_config::nearest(name, known.iter().copied());
        let help = nearest.map(|nearest| format!(" (did you mean `{nearest}`?)")).unwrap_or_default();
        Failure::Configuration(format!("there is no driver `{name}`{help}; known are: {}", known.join(", ")))
    })
}

/// All that are compiled in.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::with_reference_drivers();
    registry.add(Arc::new(MemifDriver));
    registry.add(Arc::new(CndpMemifDriver));
    let recordings = Recordings::default();
    registry.add(Arc::new(PcapDriver::new(recordings.clone())));
    registry.add_wrapper(Arc::new(PcapTap::new(recordings)));
    registry.add(Arc::new(AfPacketDriver));
    registry.add(Arc::new(TapDriver::TAP));
    registry.add(Arc::new(TapDriver::TUN));
    registry.add(Arc::new(AfXdpDriver::default()));
    registry
}
