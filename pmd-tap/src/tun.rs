//! A descriptor of `/dev/net/tun`: one queue of an interface.
//!
//! This file owns `unsafe`: the ioctls of the device, which take a number, or a pointer to one `ifreq`, and `dup3`, which puts
//! a fresh queue in the place of one that other threads use.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;
use pmd_core::netdev::InterfaceName;

/// Where queues come from.
pub(crate) const DEVICE: &str = "/dev/net/tun";

/// What kind of interface it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ethernet frames.
    Tap,
    /// IP packets without a header before them.
    Tun,
}

/// Whether an interface may have several queues; decided when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queues {
    One,
    Many,
}

/// A queue; belongs to the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct TunFile(File);

impl TunFile {
    /// Opens a queue that belongs to no interface yet. Reads and writes never block.
    pub(crate) fn open() -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE).map(Self)
    }

    /// Makes it a queue of the interface `name`, which is made if it is not there: bare packets, no header before them.
    pub(crate) fn attach(&self, name: &InterfaceName, kind: Kind, queues: Queues) -> nix::Result<()> {
        let kind = if kind == Kind::Tap { libc::IFF_TAP } else { libc::IFF_TUN };
        let many = if queues == Queues::Many { libc::IFF_MULTI_QUEUE } else { 0 };
        // SAFETY: an ifreq is plain numbers and bytes, for which all zeros are values.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The name is shorter than the field, so a NUL stays behind it.
        for (to, byte) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
            *to = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (kind | many | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: TUNSETIFF reads and writes one ifreq, which lives through the call.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }).map(drop)
    }

    /// Leaves its interface, and may be attached again: by the same number, which other threads use meanwhile, a queue is
    /// opened that belongs to no interface yet. It belongs to the network namespace of this thread.
    pub(crate) fn detach(&self) -> io::Result<()> {
        let fresh = Self::open()?;
        // SAFETY: the number is that of our own open file, and goes on being that: nobody else can own it.
        Errno::result(unsafe { libc::dup3(fresh.0.as_raw_fd(), self.0.as_raw_fd(), libc::O_CLOEXEC) })?;
        Ok(())
    }

    /// Has the kernel complete checksums and segment packets, whatever an earlier user of the interface wanted.
    pub(crate) fn refuse_offloads(&self) -> nix::Result<()> {
        self.set(libc::TUNSETOFFLOAD, 0)
    }

    /// Whether the interface stays when its last queue is closed.
    pub(crate) fn set_persistent(&self, persistent: bool) -> nix::Result<()> {
        self.set(libc::TUNSETPERSIST, persistent.into())
    }

    /// The user that may attach queues without privileges.
    pub(crate) fn set_owner(&self, uid: u32) -> nix::Result<()> {
        self.set(libc::TUNSETOWNER, uid.into())
    }

    /// The group that may.
    pub(crate) fn set_group(&self, gid: u32) -> nix::Result<()> {
        self.set(libc::TUNSETGROUP, gid.into())
    }

    fn set(&self, code: libc::Ioctl, value: libc::c_ulong) -> nix::Result<()> {
        // SAFETY: the requests above take their argument by value; no memory is involved.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), code, value) }).map(drop)
    }
}

impl AsFd for TunFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
