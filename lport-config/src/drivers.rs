//! What a program tells this crate about its drivers.

use pmd_core::QueueCount;
use pmd_core::deployment::DeviceSpec;
use pmd_core::options::{OptionError, OptionSpec};

/// The drivers that CNDP's files name.
pub(crate) const CNDP: &[&str] =
    &["net_null", "net_ring", "net_af_packet", "net_tap", "net_tun", "net_af_xdp", "net_memif_socket"];

/// Who has a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The program.
    Program,
    /// CNDP, but not this program: its files are good, and not for this program to run.
    Cndp,
    /// Nobody: the name is a mistake.
    Nobody,
}

impl Owner {
    /// Who has the driver `name`, in a program with the drivers `known`.
    pub(crate) fn of(name: &str, known: &[String]) -> Self {
        if known.iter().any(|known| known == name) {
            Self::Program
        } else if CNDP.contains(&name) {
            Self::Cndp
        } else {
            Self::Nobody
        }
    }
}

/// The drivers of a program. This crate knows none by itself; it asks here and puts the answers at their place in the
/// text.
pub trait DriverCheck {
    /// Names of all drivers.
    fn driver_names(&self) -> Vec<String>;

    /// The options of a driver, empty for one that does not exist.
    fn options(&self, driver: &str) -> Vec<OptionSpec>;

    /// Whether lports of the driver must have a umem.
    fn needs_umem(&self, driver: &str) -> bool;

    /// Everything that is wrong with the options and queues of a device, whose driver exists. Option keys are unique.
    fn check(&self, device: &DeviceSpec) -> Vec<OptionError>;

    /// What the device takes for itself alone, in a few words; its options and queues are right.
    fn claim(&self, _device: &DeviceSpec) -> Option<String> {
        None
    }

    /// How many queues the device has, for `"queues": "all"` of an lport-group. `device` has no queues yet.
    fn queue_count(&self, _device: &DeviceSpec) -> QueueCount {
        QueueCount::AsTold
    }
}
