//! AF_XDP sockets: socket options, bind and the mappings of their rings (linux/if_xdp.h).
//!
//! This file owns `unsafe`: the kernel reads and writes structures through pointers, and is told of memory that it will write
//! packets into. That memory is a pool's segment, of which the kernel keeps the pages for as long as the socket lives,
//! and it writes only into buffers that it was given.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, send};
use pmd_core::pool::Segment;

use super::ring::{Descriptor, Entry, Layout, Ring};

/// `XDP_MAX_TX_SKB_BUDGET`, Linux 6.17: packets that one system call sends in copy mode.
const MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// `SO_BUSY_POLL`, and since Linux 5.11 `SO_PREFER_BUSY_POLL` and `SO_BUSY_POLL_BUDGET`.
const BUSY_POLL: libc::c_int = 46;
const PREFER_BUSY_POLL: libc::c_int = 69;
const BUSY_POLL_BUDGET: libc::c_int = 70;

/// A socket of the family AF_XDP.
#[derive(Debug)]
pub(crate) struct Xsk(OwnedFd);

/// The four rings of a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RingKind {
    Rx,
    Tx,
    Fill,
    Completion,
}

/// Where the kernel has laid out a socket's rings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layouts {
    rx: Layout,
    tx: Layout,
    fill: Layout,
    completion: Layout,
}

/// How packets go between the interface and the umem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// The kernel copies.
    Copy,
    /// The device reads and writes the umem.
    ZeroCopy,
}

/// What the kernel counts for a socket (`struct xdp_statistics`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Packets for which there was no buffer, or that were too long for one.
    pub(crate) rx_dropped: u64,
    pub(crate) rx_invalid: u64,
    pub(crate) tx_invalid: u64,
    /// Packets for which the rx ring had no room.
    pub(crate) rx_ring_full: u64,
    pub(crate) fill_ring_empty: u64,
    pub(crate) tx_ring_empty: u64,
}

impl Xsk {
    /// A socket of the calling thread's network namespace.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved, and the answer is a new descriptor, ours alone.
        let fd = unsafe {
            let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            OwnedFd::from_raw_fd(Errno::result(libc::socket(libc::AF_XDP, flags, 0))?)
        };
        Ok(Self(fd))
    }

    /// Makes the segment the socket's umem, in chunks of `chunk` bytes; `unaligned`: anywhere in it.
    pub(crate) fn register_umem(&self, segment: &Segment, chunk: u32, unaligned: bool) -> io::Result<()> {
        let umem = libc::xdp_umem_reg {
            addr: segment.base().as_ptr().expose_provenance() as u64,
            len: segment.len() as u64,
            chunk_size: chunk,
            headroom: 0,
            flags: if unaligned { libc::XDP_UMEM_UNALIGNED_CHUNK_FLAG } else { 0 },
            tx_metadata_len: 0,
        };
        self.set(libc::SOL_XDP, libc::XDP_UMEM_REG, &umem)
    }

    /// Gives the socket one of its rings.
    pub(crate) fn make_ring(&self, kind: RingKind, size: u32) -> io::Result<()> {
        let option = match kind {
            RingKind::Rx => libc::XDP_RX_RING,
            RingKind::Tx => libc::XDP_TX_RING,
            RingKind::Fill => libc::XDP_UMEM_FILL_RING,
            RingKind::Completion => libc::XDP_UMEM_COMPLETION_RING,
        };
        self.set(libc::SOL_XDP, option, &size)
    }

    /// Where the rings' parts lie.
    pub(crate) fn layouts(&self) -> io::Result<Layouts> {
        let none = || libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
        let mut offsets = libc::xdp_mmap_offsets { rx: none(), tx: none(), fr: none(), cr: none() };
        self.get(libc::XDP_MMAP_OFFSETS, &mut offsets)?;
        let layout = |ring: libc::xdp_ring_offset| Layout {
            producer: ring.producer as usize,
            consumer: ring.consumer as usize,
            flags: ring.flags as usize,
            entries: ring.desc as usize,
        };
        let (rx, tx, fill, completion) =
            (layout(offsets.rx), layout(offsets.tx), layout(offsets.fr), layout(offsets.cr));
        Ok(Layouts { rx, tx, fill, completion })
    }

    /// Maps the rx ring.
    pub(crate) fn rx_ring(&self, layouts: &Layouts, size: u32) -> io::Result<Ring<Descriptor>> {
        self.map(layouts.rx, size, libc::XDP_PGOFF_RX_RING as u64)
    }

    /// Maps the tx ring.
    pub(crate) fn tx_ring(&self, layouts: &Layouts, size: u32) -> io::Result<Ring<Descriptor>> {
        self.map(layouts.tx, size, libc::XDP_PGOFF_TX_RING as u64)
    }

    /// Maps the fill ring.
    pub(crate) fn fill_ring(&self, layouts: &Layouts, size: u32) -> io::Result<Ring<u64>> {
        self.map(layouts.fill, size, libc::XDP_UMEM_PGOFF_FILL_RING)
    }

    /// Maps the completion ring.
    pub(crate) fn completion_ring(&self, layouts: &Layouts, size: u32) -> io::Result<Ring<u64>> {
        self.map(layouts.completion, size, libc::XDP_UMEM_PGOFF_COMPLETION_RING)
    }

    fn map<T: Entry>(&self, layout: Layout, size: u32, offset: u64) -> io::Result<Ring<T>> {
        let mut options = memmap2::MmapOptions::new();
        options.offset(offset).len(layout.bytes::<T>(size)).populate();
        let map = options.map_raw(&self.0)?;
        Ring::new(map, layout, size).ok_or_else(|| io::Error::other("the kernel has laid out a ring outside of itself"))
    }

    /// Binds the socket to a queue of an interface with a umem of its own.
    pub(crate) fn bind(&self, interface: u32, queue: u16, transfer: Transfer) -> io::Result<()> {
        let flags = match transfer {
            Transfer::Copy => libc::XDP_COPY,
            Transfer::ZeroCopy => libc::XDP_ZEROCOPY,
        };
        self.bind_with(interface, queue, flags | libc::XDP_USE_NEED_WAKEUP, None)
    }

    /// Binds the socket with the umem, and in the manner, of another one.
    pub(crate) fn bind_sharing(&self, interface: u32, queue: u16, other: &Xsk) -> io::Result<()> {
        self.bind_with(interface, queue, libc::XDP_SHARED_UMEM, Some(other))
    }

    fn bind_with(&self, interface: u32, queue: u16, flags: u16, other: Option<&Xsk>) -> io::Result<()> {
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: flags,
            sxdp_ifindex: interface,
            sxdp_queue_id: queue.into(),
            sxdp_shared_umem_fd: other.map_or(0, |other| other.0.as_raw_fd().cast_unsigned()),
        };
        // SAFETY: the kernel reads one sockaddr_xdp, which lives through the call.
        let outcome = unsafe {
            libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_xdp>() as u32)
        };
        Errno::result(outcome)?;
        Ok(())
    }

    /// How a bound socket transfers packets.
    pub(crate) fn transfer(&self) -> io::Result<Transfer> {
        let mut options = libc::xdp_options { flags: 0 };
        self.get(libc::XDP_OPTIONS, &mut options)?;
        let zero_copy = options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0;
        Ok(if zero_copy { Transfer::ZeroCopy } else { Transfer::Copy })
    }

    /// What the kernel has counted.
    pub(crate) fn statistics(&self) -> io::Result<Statistics> {
        let mut counted = libc::xdp_statistics {
            rx_dropped: 0,
            rx_invalid_descs: 0,
            tx_invalid_descs: 0,
            rx_ring_full: 0,
            rx_fill_ring_empty_descs: 0,
            tx_ring_empty_descs: 0,
        };
        self.get(libc::XDP_STATISTICS, &mut counted)?;
        Ok(Statistics {
            rx_dropped: counted.rx_dropped,
            rx_invalid: counted.rx_invalid_descs,
            tx_invalid: counted.tx_invalid_descs,
            rx_ring_full: counted.rx_ring_full,
            fill_ring_empty: counted.rx_fill_ring_empty_descs,
            tx_ring_empty: counted.tx_ring_empty_descs,
        })
    }

    /// How many packets one [`Self::send`] may push out in copy mode. Kernels before 6.17 refuse: there it is 32.
    pub(crate) fn set_send_budget(&self, packets: u32) -> io::Result<()> {
        self.set(libc::SOL_XDP, MAX_TX_SKB_BUDGET, &packets)
    }

    /// Lets our system calls poll the device: for `microseconds` at a time, up to `budget` packets.
    pub(crate) fn prefer_busy_poll(&self, microseconds: u32, budget: u32) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, PREFER_BUSY_POLL, &1)?;
        self.set(libc::SOL_SOCKET, BUSY_POLL, &microseconds)?;
        self.set(libc::SOL_SOCKET, BUSY_POLL_BUDGET, &budget)
    }

    /// Has the kernel send what is in the tx ring.
    pub(crate) fn send(&self) -> nix::Result<()> {
        send(self.0.as_raw_fd(), &[], MsgFlags::MSG_DONTWAIT).map(drop)
    }

    /// Has the kernel receive: it goes on after the fill ring was empty, or polls the device.
    pub(crate) fn receive(&self) -> nix::Result<()> {
        recv(self.0.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT).map(drop)
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        let (fd, len) = (self.0.as_raw_fd(), size_of::<T>() as libc::socklen_t);
        // SAFETY: the kernel reads `len` bytes of the value, which lives through the call.
        Errno::result(unsafe { libc::setsockopt(fd, level, option, std::ptr::from_ref(value).cast(), len) })?;
        Ok(())
    }

    fn get<T>(&self, option: libc::c_int, value: &mut T) -> io::Result<()> {
        let (fd, mut len) = (self.0.as_raw_fd(), size_of::<T>() as libc::socklen_t);
        // SAFETY: the kernel writes at most `len` bytes of the value, numbers all of them; what an older kernel does not
        // write stays as it was.
        let outcome =
            unsafe { libc::getsockopt(fd, libc::SOL_XDP, option, std::ptr::from_mut(value).cast(), &raw mut len) };
        Errno::result(outcome)?;
        Ok(())
    }
}

impl AsFd for Xsk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
