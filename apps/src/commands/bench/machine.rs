//! The machine a measurement belongs to.

use pmd_core::lcore::allowed_cpus;
use serde::Serialize;

/// What tells machines apart.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Fingerprint {
    /// Name of the processor.
    pub(super) model: Option<String>,
    /// Its frequency now, in MHz: what turns nanoseconds into cycles.
    pub(super) mhz: Option<f64>,
    /// CPUs this process may use.
    pub(super) cpus: Vec<usize>,
    /// The kernel's release.
    pub(super) kernel: Option<String>,
    /// Whether the program is optimised; the numbers of one that is not mean nothing.
    pub(super) optimised: bool,
}

impl Fingerprint {
    /// That of this machine, as far as /proc tells.
    pub(super) fn take() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Self {
            model: field(&cpuinfo, "model name").map(str::to_owned),
            mhz: field(&cpuinfo, "cpu MHz").and_then(|mhz| mhz.parse().ok()),
            cpus: allowed_cpus(),
            kernel: kernel.map(|release| release.trim().to_owned()),
            optimised: !cfg!(debug_assertions),
        }
    }
}

fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}
