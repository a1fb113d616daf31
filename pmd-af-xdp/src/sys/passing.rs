//! Datagrams with file descriptors, on a `SOCK_SEQPACKET` Unix socket.
//!
//! This file owns `unsafe`: a received descriptor is a number until it becomes an [`OwnedFd`], at once, so that none leaks.

#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg,
    sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Passing(OwnedFd);

impl Passing {
    /// Connects to the socket at `path`; nothing waits longer than `patience` from then on.
    pub(crate) fn connect(path: &Path, patience: Duration) -> io::Result<Self> {
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        let timeout = TimeVal::new(patience.as_secs() as i64, patience.subsec_micros().into());
        setsockopt(&fd, sockopt::ReceiveTimeout, &timeout)?;
        setsockopt(&fd, sockopt::SendTimeout, &timeout)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self(fd))
    }

    /// Takes over a connected socket.
    #[cfg(test)]
    pub(crate) fn from_connected(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends one datagram, perhaps with a descriptor.
    pub(crate) fn send(&self, text: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let raw: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[] } else { &rights[..] };
        let parts = [IoSlice::new(text.as_bytes())];
        sendmsg::<UnixAddr>(self.0.as_fd().as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// The next datagram, as text without NULs behind it, with its first descriptor. An empty one: the peer is gone.
    pub(crate) fn receive(&self) -> io::Result<(String, Option<OwnedFd>)> {
        let mut bytes = [0; 256];
        let mut control = nix::cmsg_space!([RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let mut fds = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = part {
                // SAFETY: the kernel has just made these descriptors for us, and each is taken once.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let size = message.bytes;
        let text = String::from_utf8_lossy(&bytes[..size]).trim_end_matches('\0').to_owned();
        Ok((text, fds.into_iter().next()))
    }
}
