//! The receive ring that the kernel writes into and we read: memory of a packet socket, in blocks (TPACKET_V3).
//!
//! This file owns `unsafe`: it maps the ring and turns it into slices. Who may touch a block says its status word, an
//! atomic in its header: the kernel until it has stored `TP_STATUS_USER`, then we, until we store `TP_STATUS_KERNEL`
//! ([`RxRing::give_back`]). In between the kernel does not write to the block, status word included.

#![allow(unsafe_code)]

use std::mem::offset_of;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::socket::{PacketSocket, RingSize};

/// Where the status word is in a block.
const STATUS: usize = offset_of!(libc::tpacket_block_desc, hdr) + offset_of!(libc::tpacket_hdr_v1, block_status);

/// The ring of a socket, mapped; its one owner reads it.
#[derive(Debug)]
pub(crate) struct RxRing {
    base: NonNull<u8>,
    block_size: usize,
    blocks: usize,
    socket: Arc<PacketSocket>,
}

// SAFETY: the mapping belongs to this value alone, and nothing about it is bound to a thread.
unsafe impl Send for RxRing {}

impl RxRing {
    /// Maps the ring that was made on `socket` with this size ([`PacketSocket::make_rx_ring`]).
    pub(crate) fn map(socket: Arc<PacketSocket>, size: &RingSize) -> nix::Result<Self> {
        let (block_size, blocks) = (size.block_size as usize, size.blocks as usize);
        let bytes = NonZeroUsize::new(block_size * blocks).ok_or(nix::errno::Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, socket.as_fd(), 0)? };
        Ok(Self { base: base.cast(), block_size, blocks, socket })
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Block number `index`, if it is ours.
    ///
    /// # Panics
    /// When there is no such block.
    #[inline]
    pub(crate) fn block(&self, index: usize) -> Option<&[u8]> {
        if self.status(index).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the block lies inside the mapping, which lives as long as `self`; its bytes are initialised, since the
        // kernel zeroes a ring. It is ours, so the kernel does not write to it, and we do not either: giving it back takes
        // `&mut self`, which ends this borrow. (`status` makes a shared reference to an atomic in it, and loads only.)
        Some(unsafe { std::slice::from_raw_parts(self.start_of(index).as_ptr(), self.block_size) })
    }

    /// Gives block number `index`, which is ours, to the kernel.
    ///
    /// # Panics
    /// When there is no such block.
    #[inline]
    pub(crate) fn give_back(&mut self, index: usize) {
        self.status(index).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }

    /// The socket it belongs to; readable when a block becomes ours.
    pub(crate) fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    #[inline(always)]
    fn status(&self, index: usize) -> &AtomicU32 {
        // SAFETY: a block is longer than its header and begins at a page, so the word lies inside it, aligned. All accesses
        // to it, the kernel's too, are atomic.
        unsafe { self.start_of(index).add(STATUS).cast().as_ref() }
    }

    #[inline(always)]
    fn start_of(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.blocks, "there is no block {index} in a ring of {}", self.blocks);
        // SAFETY: the mapping has `blocks` blocks of `block_size` bytes.
        unsafe { self.base.add(index * self.block_size) }
    }
}

impl AsFd for RxRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for RxRing {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped; no slice of it is left, since they borrow `self`.
        let unmapped = unsafe { munmap(self.base.cast(), self.block_size * self.blocks) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}
