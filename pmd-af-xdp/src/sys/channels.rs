//! How many queues an interface has: ethtool's channels.
//!
//! This file owns `unsafe`: SIOCETHTOOL takes a structure that points to another one.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// `ETHTOOL_GCHANNELS`.
const GET_CHANNELS: u32 = 0x3c;

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// The receive queues of the interface `name` in the namespace of `socket`; `None` when its driver does not say.
pub(crate) fn rx_queues(socket: BorrowedFd<'_>, name: &str) -> io::Result<Option<u32>> {
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    // SAFETY: an ifreq is plain numbers and bytes, for which all zeros are values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let last = request.ifr_name.len() - 1;
    for (to, byte) in request.ifr_name[..last].iter_mut().zip(name.bytes()) {
        *to = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut channels).cast();
    // SAFETY: the kernel reads the request, and reads and writes one `ethtool_channels`; both live through the call.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as libc::Ioctl, &raw mut request) };
    match Errno::result(outcome) {
        Ok(_) => Ok(Some(channels.rx + channels.combined)),
        Err(Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
