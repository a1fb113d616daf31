//! `drop`: receives from every lport of the thread and frees what comes.

use pmd_core::{Burst, Ports, Task};

/// The task.
pub(super) struct Discard {
    burst: Burst,
}

impl Discard {
    pub(super) fn new(burst: usize) -> Self {
        Self { burst: Burst::with_limit(burst) }
    }
}

impl Task for Discard {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        let mut moved = 0;
        while ports.rx_next(&mut self.burst).is_some() {
            moved += self.burst.len();
            self.burst.clear();
        }
        moved
    }
}
