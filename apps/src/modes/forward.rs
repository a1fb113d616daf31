//! `fwd`: from lport to lport.
//!
//! An lport that `port-map` names sends everything to its partner: whole bursts, whose packets are not even looked at.
//! For the others CNDP's rule holds: the last octet of the destination MAC is the number of the lport to go to; without
//! such an lport the packet leaves where it came from; the MACs are swapped.

use std::collections::HashMap;

use pmd_core::{Burst, LportId, Ports, Task, TaskContext};

use super::macs::{last_octet_of_destination, swap_macs};

/// The task.
pub(super) struct Forward {
    burst: Burst,
    /// By position of the ingress: where everything goes; `None`: by MAC.
    egress: Vec<Option<LportId>>,
    by_mac: ByMac,
}

/// Packets sorted by where they go.
struct ByMac {
    /// One burst per lport that a MAC can name. Empty between bursts; as large as any burst, so nothing is refused.
    sorted: Vec<Burst>,
    /// Lports whose burst is not empty.
    touched: Vec<LportId>,
}

impl Forward {
    pub(super) fn new(context: &TaskContext<'_>, port_map: &HashMap<LportId, LportId>) -> Self {
        let open = context.thread.lports.iter().filter(|id| context.control(**id).is_some());
        let egress: Vec<_> = open.map(|id| port_map.get(id).copied()).collect();
        // Only as many bursts as can be needed: none where the map says it all.
        let lports = if egress.iter().all(Option::is_some) { 0 } else { context.deployment.lports().len() };
        let by_mac = ByMac { sorted: (0..lports).map(|_| Burst::new()).collect(), touched: Vec::with_capacity(lports) };
        Self { burst: Burst::with_limit(context.burst), egress, by_mac }
    }
}

impl Task for Forward {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        let mut moved = 0;
        for position in 0..ports.count() {
            let received = ports.rx_burst(position, &mut self.burst);
            if received == 0 {
                continue;
            }
            moved += received;
            match self.egress[position] {
                Some(egress) => {
                    ports.transmit(egress, &mut self.burst);
                }
                None => self.by_mac.send(ports, ports.id(position), &mut self.burst),
            }
        }
        moved
    }
}

impl ByMac {
    fn send(&mut self, ports: &mut Ports, ingress: LportId, burst: &mut Burst) {
        for mut frame in burst.drain_front(burst.len()) {
            let named = last_octet_of_destination(&frame).filter(|id| usize::from(*id) < self.sorted.len());
            let egress = named.map_or(ingress, |id| LportId(id.into()));
            swap_macs(&mut frame);
            let sorted = &mut self.sorted[usize::from(egress.0)];
            if sorted.is_empty() {
                self.touched.push(egress);
            }
            // A burst is never larger than the bursts it is sorted into.
            let _ = sorted.push(frame);
        }
        for egress in self.touched.drain(..) {
            ports.transmit(egress, &mut self.sorted[usize::from(egress.0)]);
        }
    }
}
