//! The queues of an interface: pmd-core's traits over a descriptor of `/dev/net/tun`.
//!
//! The device gives and takes one packet per system call, so a burst is as many calls as packets, and one more that says
//! that there are no more. None of them blocks. Packet data is copied once, by the kernel, to and from the mbufs.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use arrayvec::ArrayVec;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::{readv, writev};
use pmd_core::pool::RxPool;
use pmd_core::{BURST_MAX, Burst, Counter, LportId, Mbuf, Pool, QueueCounters, RxQueue, TxQueue};

use crate::device::{ETHERNET_HEADER, OpenDevice, VLAN_TAG};
use crate::tun::{Kind, TunFile};

/// Largest packet that the kernel gives or takes.
const PACKET_MAX: usize = 65535;

/// Segments of a packet that are written where they lie; one with more of them is put together first.
const SEGMENTS_IN_PLACE: usize = 64;

/// Counters of a queue; each half is written by its own thread.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) common: QueueCounters,
    /// Written by the sending half.
    pub(crate) tx_too_long: Counter,
    pub(crate) tx_too_short: Counter,
    pub(crate) tx_refused: Counter,
}

/// The receiving half of an lport.
pub(crate) struct TapRx {
    open: Arc<OpenDevice>,
    queue: usize,
    port: u16,
    pool: RxPool,
    counters: Arc<Counters>,
    /// Where the end of a packet goes that is longer than an mbuf.
    overflow: Box<[u8]>,
}

/// What came of asking for a packet.
enum Received {
    Packet(Mbuf),
    /// There is none.
    Nothing,
    /// There was one, and no mbufs for it.
    Lost,
}

impl TapRx {
    pub(crate) fn new(open: Arc<OpenDevice>, queue: usize, port: u16, pool: Pool, counters: Arc<Counters>) -> Self {
        let pool = RxPool::new(pool);
        Self { open, queue, port, pool, counters, overflow: vec![0; PACKET_MAX].into() }
    }

    /// Empties the queue while the lport is down: what comes then is lost, as on any port, and not kept for later.
    #[cold]
    fn discard(&mut self) {
        let file = &self.open.device.files[self.queue];
        for _ in 0..BURST_MAX {
            match readv(file, &mut [IoSliceMut::new(&mut self.overflow)]) {
                Ok(_) => self.counters.common.rx.missed.add(1),
                Err(_) => break,
            }
        }
    }

    fn receive(&mut self) -> Received {
        let file = &self.open.device.files[self.queue];
        let Some(mut mbuf) = self.pool.alloc() else {
            // The packet, if there is one, waits.
            self.counters.common.rx.nombuf.add(u64::from(is_readable(file)));
            return Received::Nothing;
        };
        let room = mbuf.room_mut();
        let space = room.len();
        let read = loop {
            match readv(file, &mut [IoSliceMut::new(room), IoSliceMut::new(&mut self.overflow)]) {
                Err(Errno::EINTR) => {}
                // Without an interface (EBADFD) there are no packets; the watch finds out.
                outcome => break outcome.unwrap_or(0),
            }
        };
        if read == 0 {
            return Received::Nothing;
        }
        mbuf.set_received(read.min(space), self.port);
        if let Some(rest @ 1..) = read.checked_sub(space) {
            let tail = self.pool.alloc_packet(&self.overflow[..rest]);
            if tail.and_then(|tail| mbuf.chain(tail).ok()).is_none() {
                self.counters.common.rx.nombuf.add(1);
                return Received::Lost;
            }
        }
        Received::Packet(mbuf)
    }
}

impl RxQueue for TapRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.open.device.state.is_up() {
            self.discard();
            return 0;
        }
        let (mut packets, mut bytes, mut lost) = (0, 0, 0);
        while burst.room() > 0 {
            match self.receive() {
                Received::Packet(mbuf) => {
                    packets += 1;
                    bytes += mbuf.packet_len();
                    let pushed = burst.push(mbuf);
                    debug_assert!(pushed.is_ok(), "there was room");
                }
                Received::Nothing => break,
                Received::Lost => lost += 1,
            }
        }
        let rx = &self.counters.common.rx;
        rx.add(packets, bytes);
        if lost > 0 {
            rx.missed.add(lost);
        }
        packets
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn receive_into(&mut self, pool: Option<Pool>) {
        self.pool.set(pool);
    }

    /// The descriptor is readable as long as packets wait, so nothing has to be armed. While the link is down it may be so
    /// for nothing: then the owner's sleep is bounded.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let device = &self.open.device;
        device.state.is_up().then(|| device.files[self.queue].as_fd())
    }
}

fn is_readable(file: &TunFile) -> bool {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// The sending half of an lport.
pub(crate) struct TapTx {
    open: Arc<OpenDevice>,
    queue: usize,
    counters: Arc<Counters>,
    /// Where a packet of very many segments is put together.
    flat: Box<[u8]>,
}

/// What became of a packet.
enum Sent {
    Whole,
    /// It can never be sent: counted, to be dropped.
    Refused,
    /// Not now.
    Later,
}

impl TapTx {
    pub(crate) fn new(open: Arc<OpenDevice>, queue: usize, counters: Arc<Counters>) -> Self {
        Self { open, queue, counters, flat: vec![0; PACKET_MAX].into() }
    }

    fn send(&mut self, mbuf: &Mbuf, max_packet: usize) -> Sent {
        let device = &self.open.device;
        let shortest = if device.kind == Kind::Tap { ETHERNET_HEADER } else { 1 };
        if mbuf.packet_len() < shortest {
            self.counters.tx_too_short.add(1);
            return Sent::Refused;
        }
        let tag = if device.kind == Kind::Tap && has_vlan_tag(mbuf.data()) { VLAN_TAG } else { 0 };
        if mbuf.packet_len() > max_packet + tag {
            self.counters.tx_too_long.add(1);
            return Sent::Refused;
        }
        let file = &device.files[self.queue];
        loop {
            match write(file, mbuf, &mut self.flat) {
                Ok(_) => return Sent::Whole,
                Err(Errno::EINTR) => {}
                // No room, no memory; or the interface is down (EIO) or gone (EBADFD), which the watch finds out.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EIO | Errno::EBADFD) => return Sent::Later,
                // Not an IP packet, on net_tun.
                Err(_) => {
                    self.counters.tx_refused.add(1);
                    return Sent::Refused;
                }
            }
        }
    }
}

fn write(file: &TunFile, mbuf: &Mbuf, flat: &mut [u8]) -> nix::Result<usize> {
    if mbuf.segment_count() == 1 {
        return writev(file, &[IoSlice::new(mbuf.data())]);
    }
    if mbuf.segment_count() <= SEGMENTS_IN_PLACE {
        let parts: ArrayVec<_, SEGMENTS_IN_PLACE> = mbuf.segments().map(IoSlice::new).collect();
        return writev(file, &parts);
    }
    let len = mbuf.copy_to(flat);
    writev(file, &[IoSlice::new(&flat[..len])])
}

/// Whether the frame has a tag of IEEE 802.1Q or 802.1ad.
fn has_vlan_tag(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]))
}

impl TxQueue for TapTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.open.device.state.is_up() {
            return 0;
        }
        let max_packet = self.open.device.max_packet().min(PACKET_MAX);
        let (mut packets, mut bytes, mut refused) = (0, 0, 0);
        for mbuf in burst.iter() {
            match self.send(mbuf, max_packet) {
                Sent::Whole => {
                    packets += 1;
                    bytes += mbuf.packet_len();
                }
                Sent::Refused => refused += 1,
                Sent::Later => break,
            }
        }
        burst.free_front(packets + refused);
        let tx = &self.counters.common.tx;
        tx.add(packets, bytes);
        if refused > 0 {
            tx.errors.add(refused as u64);
        }
        packets
    }
}
