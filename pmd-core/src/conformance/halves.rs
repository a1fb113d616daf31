//! The two halves of a way, taken out of the testbed to be used on two threads, and put back.

use std::sync::Arc;

use super::testbed::{Testbed, Way};
use crate::burst::Burst;
use crate::deployment::LportId;
use crate::lport::{LportControl, RxQueue, TxQueue};

/// Takes the place of a queue that has moved elsewhere.
pub(super) struct Parked;

impl RxQueue for Parked {
    fn rx_burst(&mut self, _burst: &mut Burst) -> usize {
        0
    }

    fn renumber(&mut self, _lport: LportId) {}
}

impl TxQueue for Parked {
    fn tx_burst(&mut self, _burst: &mut Burst) -> usize {
        0
    }
}

/// The two halves of a way, to be used on two threads, with the control handles of their lports.
pub(super) struct Halves {
    pub(super) tx: Box<dyn TxQueue>,
    pub(super) tx_control: Arc<dyn LportControl>,
    pub(super) rx: Box<dyn RxQueue>,
    pub(super) rx_control: Arc<dyn LportControl>,
}

impl Testbed {
    /// Takes out the halves of a way that has both; the rest of the lports stays in the testbed.
    pub(super) fn halves(&mut self, way: Way, queue: usize) -> Option<Halves> {
        let (from, to) = (way.from?, way.to?);
        let sender = &mut self.side(from).lports[queue];
        let tx = std::mem::replace(&mut sender.tx, Box::new(Parked));
        let tx_control = Arc::clone(&sender.control);
        let receiver = &mut self.side(to).lports[queue];
        let rx = std::mem::replace(&mut receiver.rx, Box::new(Parked));
        Some(Halves { tx, tx_control, rx, rx_control: Arc::clone(&receiver.control) })
    }

    /// Puts the halves back where they came from.
    pub(super) fn put_back(&mut self, way: Way, queue: usize, tx: Box<dyn TxQueue>, rx: Box<dyn RxQueue>) {
        if let (Some(from), Some(to)) = (way.from, way.to) {
            self.side(from).lports[queue].tx = tx;
            self.side(to).lports[queue].rx = rx;
        }
    }
}
