//! The drivers and wrappers this program has: the one place that names them all.

use std::sync::Arc;

use pmd_af_packet::AfPacketDriver;
use pmd_af_xdp::AfXdpDriver;
use pmd_core::Registry;
use pmd_memif::{CndpMemifDriver, MemifDriver};
use pmd_pcap::{PcapDriver, PcapTap, Recordings};
use pmd_tap::TapDriver;

/// All of them.
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
