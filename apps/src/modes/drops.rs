//! What a mode drops itself, counted by reason at the lport that received it.
//!
//! A thread that receives from an lport is the only one that counts there; anyone may read. What could not be sent is not
//! counted here: [`pmd_core::Ports::transmit`] counts that, at the lport it was meant for.

use std::sync::OnceLock;

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
    /// What had been counted before a reload, by lport id.
    before: OnceLock<Vec<[u64; REASONS]>>,
    counted: &'static [Reason],
}

impl ModeDrops {
    /// Counters for `lports` lports in `mode`.
    pub(crate) fn new(mode: Mode, lports: usize) -> Self {
        let lports = (0..lports).map(|_| OfLport::default()).collect();
        Self { lports, before: OnceLock::new(), counted: reasons(mode) }
    }

    /// Goes on from the counts of `old`, in which nobody counts any more. `was` says, for each lport, which one it was
    /// there.
    pub(crate) fn begin_from(&self, old: &Self, was: &[Option<LportId>]) {
        let counts = was.iter().map(|was| was.map_or([0; REASONS], |id| old.counts(id)));
        // A second time cannot be: every reload makes new counters.
        let _ = self.before.set(counts.collect());
    }

    fn counts(&self, lport: LportId) -> [u64; REASONS] {
        let at = usize::from(lport.0);
        let before = self.before.get().and_then(|before| before.get(at)).copied().unwrap_or_default();
        let Some(lport) = self.lports.get(at) else { return before };
        std::array::from_fn(|reason| before[reason] + lport.0[reason].get())
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
            if usize::from(id.0) < self.lports.len() {
                let counts = self.counts(*id);
                let count = |reason: &Reason| (NAMES[*reason as usize], counts[*reason as usize]);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn count(drops: &ModeDrops, lport: u16, reason: Reason, n: u64) {
        let mut tally = Tally::default();
        (0..n).for_each(|_| tally.add(reason));
        drops.add(LportId(lport), &tally);
    }

    #[test]
    fn counters_run_on_over_reloads_under_their_new_numbers() {
        let first = ModeDrops::new(Mode::L3Forward, 2);
        count(&first, 0, Reason::NoRoute, 3);
        count(&first, 1, Reason::NoRoute, 5);
        let second = ModeDrops::new(Mode::L3Forward, 3);
        count(&second, 2, Reason::NoRoute, 10);
        second.begin_from(&first, &[None, None, Some(LportId(1))]);
        let third = ModeDrops::new(Mode::L3Forward, 1);
        third.begin_from(&second, &[Some(LportId(2))]);
        count(&third, 0, Reason::Malformed, 1);
        let of = |drops: &ModeDrops, lport, reason: Reason| drops.counts(LportId(lport))[reason as usize];
        assert_eq!([0, 1, 2].map(|lport| of(&second, lport, Reason::NoRoute)), [0, 0, 15]);
        assert_eq!((of(&third, 0, Reason::NoRoute), of(&third, 0, Reason::Malformed)), (15, 1));
    }
}
