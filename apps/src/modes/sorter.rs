//! Packets of a burst, sorted by the lport they go to, so that each lport is called once.

use pmd_core::{Burst, LportId, Mbuf, Ports};

/// One burst per lport. All are empty between bursts of the receiver, and as large as any of those: nothing is refused.
pub(super) struct Sorter {
    bursts: Vec<Burst>,
    /// Lports whose burst is not empty.
    touched: Vec<LportId>,
}

impl Sorter {
    /// For lports with the ids below `lports`.
    pub(super) fn new(lports: usize) -> Self {
        Self { bursts: (0..lports).map(|_| Burst::new()).collect(), touched: Vec::with_capacity(lports) }
    }

    /// Whether it has a burst for `lport`.
    #[inline]
    pub(super) fn has(&self, lport: LportId) -> bool {
        usize::from(lport.0) < self.bursts.len()
    }

    /// Puts `packet` behind those that go to `lport` already.
    ///
    /// # Panics
    /// When there is no burst for `lport`.
    #[inline]
    pub(super) fn add(&mut self, lport: LportId, packet: Mbuf) {
        let burst = &mut self.bursts[usize::from(lport.0)];
        if burst.is_empty() {
            self.touched.push(lport);
        }
        // No more packets come between two sends than a burst can hold.
        let _ = burst.push(packet);
    }

    /// Sends everything.
    #[inline]
    pub(super) fn send(&mut self, ports: &mut Ports) {
        for lport in self.touched.drain(..) {
            ports.transmit(lport, &mut self.bursts[usize::from(lport.0)]);
        }
    }
}
