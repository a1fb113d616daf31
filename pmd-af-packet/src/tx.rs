//! The sending half of a queue: a burst is one system call, sendmmsg, that has the kernel copy the packets out of the
//! mbufs.
//!
//! Why no transmit ring: with one, we would copy each packet into the ring, and the same one call per burst would follow.
//! Where the packet then goes to another namespace or a bridge, the kernel copies it once more, because the ring's frame
//! is to be free again. Frames come free in the order and at the time that the device likes, and a burst does not know
//! what became of it. sendmmsg copies once and says exactly which packets the kernel has taken.

use std::sync::Arc;

use nix::errno::Errno;
use pmd_core::device::bytes_of;
use pmd_core::{Burst, TxQueue};

use crate::counters::Counters;
use crate::device::OpenDevice;
use crate::socket::PacketSocket;

/// The sending half of an lport.
pub(crate) struct PacketTx {
    open: Arc<OpenDevice>,
    queue: usize,
    epoch: u32,
    socket: Option<PacketSocket>,
    counters: Arc<Counters>,
}

/// What is to be done about a packet that the kernel did not take.
enum Verdict {
    /// Try again at once.
    Retry,
    /// It stays with the caller, and so do those behind it.
    Later,
    /// It can never be sent: it is dropped, and counted.
    Drop,
}

impl PacketTx {
    pub(crate) fn new(open: Arc<OpenDevice>, queue: usize, counters: Arc<Counters>) -> Self {
        Self { open, queue, epoch: 0, socket: None, counters }
    }

    /// Lets the old socket go and takes the new one, if there is one.
    #[cold]
    fn adopt(&mut self) {
        if let Some(taken) = self.open.device().take_sender(self.queue, self.epoch) {
            (self.epoch, self.socket) = taken;
        }
    }
}

impl TxQueue for PacketTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.open.device().epoch() != self.epoch {
            self.adopt();
        }
        let Some(socket) = self.socket.as_ref().filter(|_| self.open.device().state.is_up()) else { return 0 };
        let (mut packets, mut bytes) = (0, 0);
        while !burst.is_empty() {
            match socket.send(burst) {
                Ok(sent) => {
                    packets += sent;
                    bytes += bytes_of(&burst[..sent]);
                    burst.free_front(sent);
                }
                Err(errno) => match self.judge(errno) {
                    Verdict::Retry => {}
                    Verdict::Later => break,
                    Verdict::Drop => burst.free_front(1),
                },
            }
        }
        self.counters.common.tx.add(packets, bytes);
        packets
    }
}

impl PacketTx {
    /// What the kernel's answer to the first packet of a burst means.
    #[cold]
    fn judge(&self, errno: Errno) -> Verdict {
        let tx = &self.counters.tx;
        let reason = match errno {
            Errno::EINTR => return Verdict::Retry,
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => {
                tx.full.add(1);
                return Verdict::Later;
            }
            // The watch on the interface finds out.
            Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV => return Verdict::Later,
            Errno::EMSGSIZE => &tx.too_long,
            _ => &tx.refused,
        };
        reason.add(1);
        self.counters.common.tx.errors.add(1);
        Verdict::Drop
    }
}
