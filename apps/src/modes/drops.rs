//! What a mode drops itself, counted by reason at the lport that received it.
//!
//! A thread that receives from an lport is the only one that counts there; anyone may read. What could not be sent is not
//! counted here: [`pmd_core::Ports::transmit`] counts that, at the lport it was meant for.

use pmd_core::runtime::LportReport;
use pmd_core::{Counter, LportId};

use super::Mode;

/// Why a packet goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its EtherType is none that the mode understands.
    NotIp,
    /// Its IP header contradicts itself, the packet, or its checksum.
    Malformed,
    /// Its TTL or hop limit allows no further hop.
    TtlExpired,
    /// No route leads to its destination.
    NoRoute,
    /// The access list does not let it through.
    Denied,
}

/// Number of reasons.
const REASONS: usize = 5;

/// The names of the reasons in statistics, in their order.
const NAMES: [&str; REASONS] =
    ["not_ip_dropped", "malformed_dropped", "ttl_expired_dropped", "no_route_dropped", "acl_denied_dropped"];

/// Packets dropped in one burst.
#[derive(Debug, Default)]
pub(super) struct Tally([u64; REASONS]);

impl Tally {
    /// Counts one packet.
    #[inline]
    pub(super) fn add(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }
}

/// The counters of one lport, apart from those of others.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OfLport([Counter; REASONS]);

/// The counters of all lports.
#[derive(Debug)]
pub(crate) struct ModeDrops {
    /// By lport id.
    lports: Vec<OfLport>,
    counted: &'static [Reason],
}

impl ModeDrops {
    /// Counters for `lports` lports in `mode`.
    pub(crate) fn new(mode: Mode, lports: usize) -> Self {
        Self { lports: (0..lports).map(|_| OfLport::default()).collect(), counted: reasons(mode) }
    }

    /// Adds what was dropped of a burst that `ingress` received. Only the thread that polls it may call this.
    #[inline]
    pub(super) fn add(&self, ingress: LportId, tally: &Tally) {
        for (counter, n) in self.lports[usize::from(ingress.0)].0.iter().zip(tally.0) {
            if n > 0 {
                counter.add(n);
            }
        }
    }

    /// Appends the counters to the statistics of their lports.
    pub(crate) fn report_in(&self, lports: &mut [LportReport]) {
        for LportReport { id, stats, .. } in lports {
            if let Some(lport) = self.lports.get(usize::from(id.0)) {
                let count = |reason: &Reason| (NAMES[*reason as usize], lport.0[*reason as usize].get());
                stats.xstats.extend(self.counted.iter().map(count));
            }
        }
    }
}

/// The reasons that a mode has.
fn reasons(mode: Mode) -> &'static [Reason] {
    match mode {
        Mode::L3Forward => &[Reason::NotIp, Reason::Malformed, Reason::TtlExpired, Reason::NoRoute],
        Mode::AclStrict | Mode::AclPermissive => &[Reason::NotIp, Reason::Malformed, Reason::Denied],
        Mode::Drop | Mode::Loopback | Mode::TxOnly | Mode::TxOnlyRx | Mode::Forward => &[],
    }
}
