//! `lb`: swaps the MAC addresses of every frame and sends it back where it came from.

use pmd_core::{Burst, Ports, Task};

use super::macs::swap_macs;

/// The task.
pub(super) struct Loopback {
    burst: Burst,
}

impl Loopback {
    pub(super) fn new(burst: usize) -> Self {
        Self { burst: Burst::with_limit(burst) }
    }
}

impl Task for Loopback {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        let mut moved = 0;
        while let Some(position) = ports.rx_next(&mut self.burst) {
            moved += self.burst.len();
            self.burst.iter_mut().for_each(swap_macs);
            ports.transmit(ports.id(position), &mut self.burst);
        }
        moved
    }
}
