//! One end of a memif control connection: a `SOCK_SEQPACKET` socket that carries messages and file descriptors.
//!
//! 1. [`Connection::connect`] makes one, or a [`crate::listener::Listener`] accepts one.
//! 2. [`Connection::send`] sends one message; [`Connection::receive`] takes one. Neither blocks.
//! 3. Dropping it closes the socket.
//!
//! Every descriptor that a peer attaches becomes an [`OwnedFd`] at once, so that none can be leaked: what nobody keeps
//! is closed with its message.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, recvmsg, sendmsg,
    socket, socketpair, sockopt,
};
use nix::sys::stat::{SFlag, fstat};

use crate::address::Address;
use crate::handshake::{Attached, FileKind};
use crate::message::{Bytes, SIZE};

/// Most descriptors that Linux carries with one message (SCM_MAX_FD).
const MAX_FDS: usize = 253;

/// A connected socket, non-blocking and close-on-exec.
#[derive(Debug)]
pub(crate) struct Connection(OwnedFd);

/// Who is at the other end, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Process; 0 when it lives in a PID namespace that we cannot see.
    pub pid: i32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// What one look at the socket gave.
#[derive(Debug)]
pub(crate) enum Received {
    /// A datagram; its size need not be [`SIZE`].
    Datagram(Datagram),
    /// Nothing is there now.
    Nothing,
    /// The peer is gone (or sent a datagram of 0 bytes, which looks the same).
    Eof,
}

/// A datagram as it came.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// Its size; bytes beyond [`SIZE`] were discarded.
    pub(crate) size: usize,
    /// Its first bytes, zeros after its end.
    pub(crate) bytes: Bytes,
    /// The descriptors that came with it, close-on-exec.
    pub(crate) fds: Vec<OwnedFd>,
    /// Descriptors were lost: this process has too many open (MSG_CTRUNC, statement 19).
    pub(crate) fds_lost: bool,
}

impl Connection {
    /// Connects to a listener.
    ///
    /// # Errors
    /// Those of connect(2); on a Unix socket they come at once, `EAGAIN` means a full backlog.
    pub(crate) fn connect(address: &Address) -> io::Result<Self> {
        let fd = new_socket(address)?;
        connect(fd.as_raw_fd(), &socket_address(address)?)?;
        Ok(Self(fd))
    }

    /// Takes over an accepted socket.
    pub(crate) fn from_accepted(fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(fd.as_fd())?;
        Ok(Self(fd))
    }

    /// Sends one datagram with descriptors.
    ///
    /// # Errors
    /// Those of sendmsg(2); `WouldBlock` when the peer does not read.
    pub(crate) fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<UnixAddr>(self.0.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?;
        Ok(())
    }

    /// Takes the next datagram, if there is one.
    ///
    /// # Errors
    /// Those of recvmsg(2). A peer that is gone is [`Received::Eof`], also when it left unread messages behind.
    pub(crate) fn receive(&self) -> io::Result<Received> {
        match self.receive_once() {
            // It closed with messages of ours unread. What it sent before comes after this error.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.receive_once(),
            outcome => outcome,
        }
    }

    fn receive_once(&self) -> io::Result<Received> {
        let mut bytes = [0; SIZE];
        let mut control = nix::cmsg_space!(libc::ucred, [RawFd; MAX_FDS]);
        // MSG_TRUNC asks for the true size of a datagram that is too large.
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let outcome = recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut parts, Some(&mut control), flags);
        let (size, fds_lost) = match outcome {
            Ok(message) => (message.bytes, message.flags.contains(MsgFlags::MSG_CTRUNC)),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Received::Nothing),
            Err(Errno::EPIPE) => return Ok(Received::Eof),
            Err(errno) => return Err(errno.into()),
        };
        let fds = own_descriptors(&control);
        if size == 0 {
            return Ok(Received::Eof);
        }
        Ok(Received::Datagram(Datagram { size, bytes, fds, fds_lost }))
    }

    /// Who connected to us, or whom we connected to (SO_PEERCRED).
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub(crate) fn peer_credentials(&self) -> io::Result<Credentials> {
        let peer = getsockopt(&self.0, sockopt::PeerCredentials)?;
        Ok(Credentials { pid: peer.pid(), uid: peer.uid(), gid: peer.gid() })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An unbound socket of the one kind that memif uses, in the network namespace of `address`.
///
/// # Errors
/// Those of socket(2), and when the namespace cannot be entered.
pub(crate) fn new_socket(address: &Address) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let make = || Ok(socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?);
    address.netns().map_or_else(make, |netns| netns.make(make))
}

/// A descriptor of our own for the open file behind a number that we were told. It is sent to ourselves as to a peer: the
/// kernel looks the number up, so that nobody need vouch for it.
///
/// # Errors
/// `EBADF` when nothing is open there.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (near, far) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let rights = [ControlMessage::ScmRights(&[fd])];
    sendmsg::<UnixAddr>(near.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    let received = match Connection(far).receive()? {
        Received::Datagram(datagram) => datagram.fds.into_iter().next(),
        Received::Nothing | Received::Eof => None,
    };
    received.ok_or_else(|| io::Error::other("no file descriptor is left"))
}

/// The kernel's form of an address.
pub(crate) fn socket_address(address: &Address) -> io::Result<UnixAddr> {
    Ok(match address {
        Address::Path(path) => UnixAddr::new(path.as_path())?,
        Address::Abstract(name) => UnixAddr::new_abstract(&name.sun_path())?,
    })
}

/// Makes an open file non-blocking; for an eventfd of a peer, so that no reader of ours can hang on it.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Whether an object of the kernel without a file is an eventfd. The kernel tells only by its name in /proc; where that is
/// not mounted, anything is believed: whoever rings it (`crate::doorbell`) is told no.
fn is_eventfd(fd: BorrowedFd<'_>) -> bool {
    let name = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    name.map_or(true, |name| name.to_string_lossy().contains("[eventfd]"))
}

/// What kind of file a descriptor is, and how large.
pub(crate) fn inspect(fd: BorrowedFd<'_>) -> Attached {
    let Ok(status) = fstat(fd) else { return Attached { kind: FileKind::Other, size: 0 } };
    let kind = match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => match fcntl(fd, FcntlArg::F_GET_SEALS) {
            Ok(seals) => {
                let seals = SealFlag::from_bits_retain(seals);
                FileKind::Memory { shrink_sealed: seals.contains(SealFlag::F_SEAL_SHRINK) }
            }
            Err(_) => FileKind::Other,
        },
        none if none.is_empty() && is_eventfd(fd) => FileKind::Event,
        _ => FileKind::Other,
    };
    Attached { kind, size: u64::try_from(status.st_size).unwrap_or(0) }
}

/// Takes every SCM_RIGHTS descriptor out of a control buffer that was zeroed before recvmsg filled it.
///
/// nix hands out no control messages when MSG_CTRUNC is set, but the kernel has opened descriptors even then; so the
/// headers are walked here. Any other control message (SCM_CREDENTIALS comes first, statement 20) is skipped.
fn own_descriptors(control: &[u8]) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    let mut rest = control;
    while let Some((message, next)) = ControlHeader::split(rest) {
        if (message.level, message.kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            fds.extend(message.data.chunks_exact(size_of::<RawFd>()).map(|raw| own(i32_at(raw, 0))));
        }
        rest = next;
    }
    fds
}

/// A control message as the kernel writes it: `struct cmsghdr`, data, padding to a word.
struct ControlHeader<'a> {
    level: i32,
    kind: i32,
    data: &'a [u8],
}

impl<'a> ControlHeader<'a> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    const LEVEL: usize = std::mem::offset_of!(libc::cmsghdr, cmsg_level);
    const KIND: usize = std::mem::offset_of!(libc::cmsghdr, cmsg_type);
    const WORD: usize = size_of::<usize>();

    /// The first control message of `control`, and what follows; `None` at the end.
    fn split(control: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if control.len() < Self::HEADER {
            return None;
        }
        let len = usize::from_ne_bytes(std::array::from_fn(|i| control[i]));
        if len < Self::HEADER || len > control.len() {
            return None;
        }
        let next = len.next_multiple_of(Self::WORD).min(control.len());
        let (level, kind) = (i32_at(control, Self::LEVEL), i32_at(control, Self::KIND));
        Some((Self { level, kind, data: &control[Self::HEADER..len] }, &control[next..]))
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[allow(unsafe_code, reason = "a received descriptor is a bare number until somebody owns it")]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: `fd` is a descriptor that recvmsg has just opened for us: it stands in an SCM_RIGHTS message of a buffer
    // that was zeroed before the call, and the buffer is walked once. Nobody else knows the number yet.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::{EfdFlags, EventFd};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::socket::setsockopt;
    use nix::unistd::{ftruncate, pipe};

    fn pair() -> (Connection, Connection) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        (Connection(a), Connection(b))
    }

    fn datagram(connection: &Connection) -> Datagram {
        match connection.receive().unwrap() {
            Received::Datagram(datagram) => datagram,
            other => panic!("a datagram, not {other:?}"),
        }
    }

    /// Whether every write end of the pipe is closed.
    fn hung_up(reader: &OwnedFd) -> bool {
        nix::unistd::read(reader, &mut [0]) == Ok(0)
    }

    #[test]
    fn s3_true_size_of_any_datagram_is_known() {
        let (a, b) = pair();
        for size in [1, 127, 128, 129, 4096] {
            a.send(&vec![7; size], &[]).unwrap();
            let datagram = datagram(&b);
            assert_eq!(datagram.size, size);
            assert_eq!(datagram.bytes.iter().filter(|&&byte| byte == 7).count(), size.min(SIZE));
        }
        assert!(matches!(b.receive().unwrap(), Received::Nothing));
        drop(a);
        assert!(matches!(b.receive().unwrap(), Received::Eof));
    }

    #[test]
    fn s18_all_descriptors_are_received_and_closed_with_the_datagram() {
        let (a, b) = pair();
        let (reader, writer) = pipe().unwrap();
        let fds = vec![writer.as_fd(); MAX_FDS];
        a.send(&[0; SIZE], &fds).unwrap();
        drop(fds);
        drop(writer);
        let datagram = datagram(&b);
        assert_eq!((datagram.fds.len(), datagram.fds_lost), (MAX_FDS, false));
        drop(datagram);
        assert!(hung_up(&reader));
    }

    #[test]
    fn s19_received_descriptors_are_close_on_exec() {
        let (a, b) = pair();
        let (reader, _writer) = pipe().unwrap();
        a.send(&[0; SIZE], &[reader.as_fd()]).unwrap();
        let flags = fcntl(&datagram(&b).fds[0], FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn s20_credentials_before_rights_are_parsed() {
        let (a, b) = pair();
        setsockopt(&b.0, sockopt::PassCred, &true).unwrap();
        let (reader, writer) = pipe().unwrap();
        a.send(&[1; SIZE], &[reader.as_fd(), writer.as_fd()]).unwrap();
        assert_eq!(datagram(&b).fds.len(), 2);
        a.send(&[1; SIZE], &[]).unwrap();
        assert_eq!(datagram(&b).fds.len(), 0);
    }

    #[test]
    fn descriptors_on_a_lost_connection_are_closed() {
        let (a, b) = pair();
        let (reader, writer) = pipe().unwrap();
        a.send(&[], &[writer.as_fd()]).unwrap();
        drop(writer);
        assert!(matches!(b.receive().unwrap(), Received::Eof));
        assert!(hung_up(&reader));
    }

    #[test]
    fn a_peer_that_left_messages_of_ours_unread_is_heard_out() {
        let (a, b) = pair();
        b.send(&[0; SIZE], &[]).unwrap();
        a.send(&[8; SIZE], &[]).unwrap();
        drop(a);
        assert_eq!(datagram(&b).bytes, [8; SIZE], "its last words are heard");
        assert!(matches!(b.receive().unwrap(), Received::Eof));
    }

    #[test]
    fn files_are_told_apart() {
        let memory = memfd_create("region", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
        ftruncate(&memory, 5000).unwrap();
        let kind = |shrink_sealed| FileKind::Memory { shrink_sealed };
        assert_eq!(inspect(memory.as_fd()), Attached { kind: kind(false), size: 5000 });
        fcntl(&memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
        assert_eq!(inspect(memory.as_fd()), Attached { kind: kind(true), size: 5000 });
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
        assert_eq!(inspect(event.as_fd()).kind, FileKind::Event);
        let (reader, _writer) = pipe().unwrap();
        assert_eq!(inspect(reader.as_fd()).kind, FileKind::Other);
        let epoll = nix::sys::epoll::Epoll::new(nix::sys::epoll::EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        assert_eq!(inspect(epoll.0.as_fd()).kind, FileKind::Other, "without a file, but no eventfd");
        assert_eq!(inspect(pair().0.as_fd()).kind, FileKind::Other);
        assert_eq!(inspect(std::fs::File::open("/dev/null").unwrap().as_fd()).kind, FileKind::Other);
    }

    #[test]
    fn peer_is_known_by_its_credentials() {
        let (a, _b) = pair();
        let peer = a.peer_credentials().unwrap();
        assert_eq!(peer.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
    }
}
