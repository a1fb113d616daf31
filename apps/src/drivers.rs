//! The drivers this program has: the one place that names them all.

use std::sync::Arc;

use pmd_core::Registry;
use pmd_memif::{CndpMemifDriver, MemifDriver};
use pmd_pcap::{PcapDriver, Recordings};

/// All of them.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::with_reference_drivers();
    registry.add(Arc::new(MemifDriver));
    registry.add(Arc::new(CndpMemifDriver));
    registry.add(Arc::new(PcapDriver::new(Recordings::default())));
    registry
}
