//! `tx-first`: sends a number of packets from every lport of the thread before, and while, the mode does its work.
//!
//! Two lports joined to each other then keep these packets going round for ever, which is the usual way to measure
//! forwarding without a generator (testpmd's `--tx-first`).

use pmd_core::{LportId, Ports, Task};

use super::generate::Generate;

/// The task, around that of a mode.
pub(super) struct TxFirst {
    /// Until it has sent them all: a generator costs a call per lport and round, even when it is done.
    first: Option<Generate>,
    then: Box<dyn Task>,
}

impl TxFirst {
    pub(super) fn new(first: Generate, then: Box<dyn Task>) -> Self {
        Self { first: Some(first), then }
    }
}

impl Task for TxFirst {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        self.send_first(ports) + self.then.poll(ports)
    }

    fn passes_on(&self, position: usize) -> Option<LportId> {
        self.then.passes_on(position)
    }

    fn may_sleep(&self) -> bool {
        self.first.is_none() && self.then.may_sleep()
    }
}

impl TxFirst {
    #[inline]
    fn send_first(&mut self, ports: &mut Ports) -> usize {
        let Some(first) = &mut self.first else { return 0 };
        let sent = first.poll(ports);
        if first.may_sleep() {
            self.first = None;
        }
        sent
    }
}
