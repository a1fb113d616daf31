//! Packet sockets (packet(7)): made, configured, bound, and a burst of packets sent on one.
//!
//! This file owns `unsafe`: socket options, addresses and messages of packet sockets, for which nix has no types. Each
//! call is given the structure that the option or the call is defined with, alive for as long as the call takes.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use arrayvec::ArrayVec;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket, sockopt};
use pmd_core::{BURST_MAX, Mbuf};

/// Segments of one call; a burst with more of them goes out in several calls.
const SEGMENTS_MAX: usize = 2 * BURST_MAX;

/// A socket that sees or sends whole frames of one interface. Bound to nothing until [`Self::bind`].
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

/// What the kernel has counted since it was asked last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KernelCounts {
    /// Packets that found no room in the ring.
    pub(crate) drops: u64,
    /// Times the ring was full.
    pub(crate) freezes: u64,
}

/// A receive ring, in the kernel's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingSize {
    /// Bytes of a block, a multiple of the page size.
    pub(crate) block_size: u32,
    /// Number of blocks.
    pub(crate) blocks: u32,
    /// Bytes of a frame; only their number per block matters.
    pub(crate) frame_size: u32,
    /// Milliseconds after which the kernel hands over a block that is not full.
    pub(crate) block_timeout: u32,
}

impl PacketSocket {
    /// A socket in the namespace of the calling thread, which receives nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        Ok(Self(socket(AddressFamily::Packet, SockType::Raw, flags, None)?))
    }

    /// Has the kernel write received packets into a ring of version 3: without the copies of what the interface sends, and
    /// with a virtio header before each packet that tells of offloads.
    pub(crate) fn make_rx_ring(&self, size: &RingSize) -> nix::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V3 as libc::c_int))?;
        self.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1)?;
        self.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
        let request = libc::tpacket_req3 {
            tp_block_size: size.block_size,
            tp_block_nr: size.blocks,
            tp_frame_size: size.frame_size,
            tp_frame_nr: size.block_size / size.frame_size * size.blocks,
            tp_retire_blk_tov: size.block_timeout,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        self.set(libc::SOL_PACKET, libc::PACKET_RX_RING, &request)
    }

    /// Sends past the interface's queueing discipline, straight to its driver.
    pub(crate) fn bypass_qdisc(&self) -> nix::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1)
    }

    /// Receives nothing until [`Self::open_gate`]: packets that come while sockets join each other would be seen twice.
    pub(crate) fn close_gate(&self) -> nix::Result<()> {
        let mut nothing = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
        let program = libc::sock_fprog { len: nothing.len() as u16, filter: nothing.as_mut_ptr() };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// Ends [`Self::close_gate`].
    pub(crate) fn open_gate(&self) -> nix::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0)
    }

    /// Binds to the interface with this index; `receives` all its packets, or sends only.
    pub(crate) fn bind(&self, index: u32, receives: bool) -> nix::Result<()> {
        let protocol = if receives { libc::ETH_P_ALL as u16 } else { 0 };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::c_ushort,
            sll_protocol: protocol.to_be(),
            sll_ifindex: index.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the kernel reads one sockaddr_ll of that length.
        Errno::result(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), len) }).map(drop)
    }

    /// Has the interface receive packets for other addresses than its own, for as long as this socket lives.
    pub(crate) fn be_promiscuous(&self, index: u32) -> nix::Result<()> {
        let member = libc::packet_mreq {
            mr_ifindex: index.cast_signed(),
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        self.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &member)
    }

    /// Begins a group of sockets that share an interface's packets by `mode`, and gives its number.
    pub(crate) fn begin_fanout(&self, mode: u32) -> nix::Result<u16> {
        let unique = mode | libc::PACKET_FANOUT_FLAG_UNIQUEID;
        self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &(unique << 16))?;
        Ok(self.get::<u32>(libc::PACKET_FANOUT)? as u16)
    }

    /// Joins the group with this number and mode.
    pub(crate) fn join_fanout(&self, group: u16, mode: u32) -> nix::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &(mode << 16 | u32::from(group)))
    }

    /// What has been counted since the last call.
    pub(crate) fn take_counts(&self) -> nix::Result<KernelCounts> {
        let counts: libc::tpacket_stats_v3 = self.get(libc::PACKET_STATISTICS)?;
        Ok(KernelCounts { drops: counts.tp_drops.into(), freezes: counts.tp_freeze_q_cnt.into() })
    }

    /// Forgets an error that the kernel has noted; until then the socket counts as readable.
    pub(crate) fn clear_error(&self) {
        // The answer is the error, of which the watch on the interface knows more.
        let _ = getsockopt(&self.0, sockopt::SocketError);
    }

    /// Sends the first of `packets`, as many as the kernel takes and one call can name, and says how many.
    ///
    /// # Errors
    /// Why not even the first was sent.
    pub(crate) fn send(&self, packets: &[Mbuf]) -> nix::Result<usize> {
        let mut parts: ArrayVec<libc::iovec, SEGMENTS_MAX> = ArrayVec::new();
        let mut messages: ArrayVec<libc::mmsghdr, BURST_MAX> = ArrayVec::new();
        for packet in packets.iter().take(BURST_MAX) {
            if packet.segment_count() > parts.remaining_capacity() {
                break;
            }
            for segment in packet.segments() {
                parts.push(libc::iovec { iov_base: segment.as_ptr().cast_mut().cast(), iov_len: segment.len() });
            }
            // SAFETY: an mmsghdr is pointers, for which null is a value, and numbers.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iovlen = packet.segment_count();
            messages.push(message);
        }
        let mut rest = parts.as_mut_slice();
        for message in &mut messages {
            let (own, others) = rest.split_at_mut(message.msg_hdr.msg_iovlen);
            message.msg_hdr.msg_iov = own.as_mut_ptr();
            rest = others;
        }
        if messages.is_empty() {
            // A packet of so many segments goes nowhere.
            return if packets.is_empty() { Ok(0) } else { Err(Errno::EMSGSIZE) };
        }
        // SAFETY: the messages and their parts live through the call, and `parts` does not move: an ArrayVec holds its
        // elements in place. The parts are the segments of `packets`, borrowed here, of which sending only reads.
        let sent = unsafe {
            let count = messages.len() as libc::c_uint;
            libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT)
        };
        Errno::result(sent).map(libc::c_int::unsigned_abs).map(|sent| sent as usize)
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> nix::Result<()> {
        let len = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel reads at most `len` bytes from the value, and each caller gives the option's own type.
        let outcome = unsafe { libc::setsockopt(self.0.as_raw_fd(), level, option, (&raw const *value).cast(), len) };
        Errno::result(outcome).map(drop)
    }

    /// For types of numbers only.
    fn get<T: Copy>(&self, option: libc::c_int) -> nix::Result<T> {
        let mut value = MaybeUninit::<T>::zeroed();
        let mut len = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes to the value.
        let outcome = unsafe {
            libc::getsockopt(self.0.as_raw_fd(), libc::SOL_PACKET, option, value.as_mut_ptr().cast(), &raw mut len)
        };
        // SAFETY: numbers, of which any bytes are values; what the kernel has not written is zero.
        Errno::result(outcome).map(|_| unsafe { value.assume_init() })
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
