//! `fwd`: from lport to lport.
//!
//! An lport that `port-map` names sends everything to its partner: whole bursts, whose packets are not even looked at.
//! For the others CNDP's rule holds: the last octet of the destination MAC is the number of the lport to go to; without
//! such an lport the packet leaves where it came from; the MACs are swapped.

use std::collections::HashMap;

use pmd_core::{Burst, LportId, Ports, Task, TaskContext};

use super::macs::{last_octet_of_destination, swap_macs};
use super::sorter::Sorter;

/// The task.
pub(super) struct Forward {
    burst: Burst,
    forwarder: Forwarder,
}

/// Where packets go, and the way there.
pub(super) struct Forwarder {
    /// By position of the ingress: where everything goes; `None`: by MAC.
    egress: Vec<Option<LportId>>,
    /// With a burst for each lport that a MAC can name.
    by_mac: Sorter,
}

impl Forward {
    pub(super) fn new(context: &TaskContext<'_>, port_map: &HashMap<LportId, LportId>) -> Self {
        Self { burst: Burst::with_limit(context.burst), forwarder: Forwarder::new(context, port_map) }
    }
}

impl Task for Forward {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        let mut moved = 0;
        while let Some(position) = ports.rx_next(&mut self.burst) {
            moved += self.burst.len();
            self.forwarder.send(ports, position, &mut self.burst);
        }
        moved
    }

    fn passes_on(&self, position: usize) -> Option<LportId> {
        self.forwarder.egress[position]
    }
}

impl Forwarder {
    pub(super) fn new(context: &TaskContext<'_>, port_map: &HashMap<LportId, LportId>) -> Self {
        let open = context.thread.lports.iter().filter(|id| context.control(**id).is_some());
        let egress: Vec<_> = open.map(|id| port_map.get(id).copied()).collect();
        // Only as many bursts as can be needed: none where the map says it all.
        let lports = if egress.iter().all(Option::is_some) { 0 } else { context.deployment.lports().len() };
        Self { egress, by_mac: Sorter::new(lports) }
    }

    /// Sends a burst of the own lport at `position`.
    #[inline]
    pub(super) fn send(&mut self, ports: &mut Ports, position: usize, burst: &mut Burst) {
        match self.egress[position] {
            Some(egress) => {
                ports.transmit(egress, burst);
            }
            None => self.send_by_mac(ports, ports.id(position), burst),
        }
    }

    fn send_by_mac(&mut self, ports: &mut Ports, ingress: LportId, burst: &mut Burst) {
        for mut frame in burst.drain_front(burst.len()) {
            let named = last_octet_of_destination(&frame).map(|id| LportId(id.into()));
            swap_macs(&mut frame);
            self.by_mac.add(named.filter(|id| self.by_mac.has(*id)).unwrap_or(ingress), frame);
        }
        self.by_mac.send(ports);
    }
}
