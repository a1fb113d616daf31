//! The generic port: what a driver gives, and what everything above polls.
//!
//! Life of an lport:
//! 1. A [`crate::Driver`] opens a device and returns one [`Lport`] per queue.
//! 2. Its owner, one thread, calls [`RxQueue::rx_burst`] and [`TxQueue::tx_burst`]; the two halves may also go to two
//!    threads ([`Lport::split`]). They may move to another thread between two bursts.
//! 3. Any thread may hold the [`LportControl`] and ask for link state and statistics, or set the lport down and up.
//! 4. Dropping both queues and every control handle closes the device; every mbuf goes back to its pool.
//!
//! Bursts never return errors. A dead link receives and sends nothing; why it is dead is in [`LportControl::link`] and
//! in the counters.
//!
//! What stands here is a contract: `conformance` (the feature of that name) checks a driver against it, sentence by
//! sentence.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::burst::Burst;
use crate::deployment::LportId;
use crate::details::Details;
use crate::pool::Pool;
use crate::stats::LportStats;

/// One queue pair of a device, with its control handle.
pub struct Lport {
    /// Number in the deployment.
    pub id: LportId,
    /// Logical name, `netdev[:tag]`.
    pub name: String,
    /// Receive side.
    pub rx: Box<dyn RxQueue>,
    /// Transmit side.
    pub tx: Box<dyn TxQueue>,
    /// State and statistics, from any thread.
    pub control: Arc<dyn LportControl>,
}

impl Lport {
    /// Takes the lport apart, so that one thread may receive while another sends.
    pub fn split(self) -> (Box<dyn RxQueue>, Box<dyn TxQueue>, Arc<dyn LportControl>) {
        (self.rx, self.tx, self.control)
    }
}

impl std::fmt::Debug for Lport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lport").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The receive side of an lport.
pub trait RxQueue: Send {
    /// Appends received packets to `burst`, up to its limit, and says how many. Never blocks. What is in `burst` already
    /// stays as it is.
    ///
    /// Packets arrive whole, unchanged, once, and in the order in which they came. Each carries the number of its lport
    /// ([`crate::Mbuf::port`]). A received packet belongs to whoever holds it, for as long as they like.
    ///
    /// Without mbufs nothing is received and `rx_nombuf` counts; it goes on when there are mbufs again. Whether the packets
    /// of the meantime wait or are lost is the device's nature; what is lost is counted.
    fn rx_burst(&mut self, burst: &mut Burst) -> usize;

    /// The lport has another number from now on, which received packets carry ([`crate::Mbuf::port`]). Called between two
    /// owners.
    fn renumber(&mut self, lport: LportId);

    /// Asks the device to make [`Self::wake_fd`] readable when a packet comes.
    ///
    /// Returns `true` when sleeping is safe, `false` when packets may be waiting already (poll again, do not sleep). A packet
    /// that comes after that makes [`Self::wake_fd`] readable: no wake-up is lost. So a driver first asks its device for
    /// interrupts and then looks whether a packet has come meanwhile. A loss of the link makes the fd readable, too, where
    /// the driver hears of it.
    ///
    /// A queue without interrupts has no fd: its owner sleeps for a bounded time only. Packets may be received
    /// while the queue is armed: after a sleep the owner looks for them first, and disarms then.
    fn arm(&mut self) -> bool {
        true
    }

    /// Ends what [`Self::arm`] began: polling mode again.
    fn disarm(&mut self) {}

    /// Whether the owner passes every packet on, unread and unchanged, to a queue that [copies](TxQueue::copies) it, or drops it,
    /// before its next burst. Nobody sees then what becomes of its bytes on the way, so the queue may hand it out where the
    /// device has put it, if that is cheaper than a copy: even memory that another process can still write.
    ///
    /// A hint, which a queue need not heed. Until it is given, and after it is taken back, the owner may do with packets what they
    /// like. Called between two bursts, when the packets of the last one are gone.
    fn set_passed_on(&mut self, _passed_on: bool) {}

    /// The pool that packets are best received into: the one that the queue they are passed on to sends from without a copy
    /// ([`TxQueue::share_pool`]). `None` for the queue's own. A hint as well, for drivers that copy what they receive
    /// ([`crate::pool::RxPool`]).
    ///
    /// Another process may be able to read all of such an mbuf. So what is received into it is the packet, and no other bytes.
    fn receive_into(&mut self, _pool: Option<Pool>) {}

    /// The file descriptor that becomes readable; it may be another one after each [`Self::arm`].
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// The transmit side of an lport.
pub trait TxQueue: Send {
    /// Sends packets from the front of `burst` and says how many. What was not accepted stays in `burst`, in order. Never
    /// blocks.
    ///
    /// A packet that can never be sent is taken, dropped and counted in `oerrors`, and holds up nothing behind it: one
    /// longer than [`LportInfo::max_packet`], one without data or in several segments where the device carries no such. So
    /// packets offered are those sent, those dropped and those left.
    ///
    /// Packets may come from any pool. A device that reads them where they lie keeps their mbufs until it is done with them.
    fn tx_burst(&mut self, burst: &mut Burst) -> usize;

    /// Adds up to `n` empty mbufs to `burst` that this queue sends from where they lie, as far as the burst has room (what
    /// libmemif calls `memif_buffer_alloc`): a packet that is built in one is written once, and copied by nobody. Says how
    /// many there are now; `None` when the queue has no such memory, and any mbuf of a pool is as good.
    ///
    /// They behave like all mbufs, but may have no headroom, and belong to slots of the device, in the order in which they
    /// were taken. Send them on this queue, in that order, and soon:
    /// - one that is dropped, or sent elsewhere, or changed in front ([`crate::Mbuf::adj`]) is no loss: what it delays is copied;
    /// - one that is kept back holds up every other packet of the queue, which does not accept them meanwhile;
    /// - one that outlives its link is still there, and is sent by a copy.
    fn alloc_burst(&mut self, _burst: &mut Burst, _n: usize) -> Option<usize> {
        None
    }

    /// Whether packets that lie in the memory of another device are copied before [`Self::tx_burst`] returns, and their bytes
    /// looked at by nobody here: then they may come from a queue that was told so ([`RxQueue::set_passed_on`]).
    fn copies(&self) -> bool {
        false
    }

    /// The pool out of which the queue sends packets where they lie, if it has one now, and [copies](Self::copies) those of others:
    /// who passes packets on to it unread receives them there ([`RxQueue::receive_into`]). Asked every now and then, as it may
    /// be the memory of a link that comes and goes; by nobody any more after `wanted` was `false`.
    ///
    /// Its handles belong to the thread that polls the queue, so that its memory goes when they do.
    fn share_pool(&mut self, _wanted: bool) -> Option<Pool> {
        None
    }

    /// Pushes out what the queue holds back to build larger batches, and reclaims what the device is done with. After it
    /// everything accepted is on its way, without further calls. (Of wrappers that delay packets [`Self::holds`] tells.)
    fn flush(&mut self) {}

    /// Whether the queue holds packets that only a later [`Self::flush`] pushes out, because their time has not come. Until
    /// then its owner keeps flushing, and does not sleep.
    fn holds(&self) -> bool {
        false
    }
}

/// State, statistics and admin state of an lport, from any thread, while its queues run.
pub trait LportControl: Send + Sync {
    /// Whether packets can flow, and if not, why.
    fn link(&self) -> Link;

    /// What the lport is.
    fn info(&self) -> LportInfo;

    /// All counters since the lport was opened. Nothing that did not happen is counted.
    fn stats(&self) -> LportStats;

    /// What the driver knows beyond that of the whole device: its peer, its memory, its rings. The same from each lport of
    /// a device; empty when there is nothing to add.
    fn details(&self) -> Details {
        Details::new()
    }

    /// Sets the whole device administratively up or down.
    ///
    /// Down: soon the link is lost, and bursts of every queue return 0 and take nothing. What was on its way may be lost.
    /// Up: soon packets flow as before.
    fn set_admin_up(&self, up: bool);
}

/// State of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Packets flow.
    Up,
    /// They do not, for this reason.
    Down(String),
}

impl Link {
    /// Whether packets flow.
    pub fn is_up(&self) -> bool {
        *self == Self::Up
    }
}

/// What an lport is, for people and for telemetry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LportInfo {
    /// Driver's name.
    pub driver: String,
    /// Ethernet address; `None` for links without one.
    pub mac: Option<[u8; 6]>,
    /// Largest packet the lport carries, in bytes from the first byte of the Ethernet header, without FCS.
    pub max_packet: u32,
    /// Speed in Mbit/s; 0 when it has none, or it is not known.
    pub speed_mbps: u32,
}
