//! A listening socket that somebody else made: the service manager (systemd's socket activation), or whoever started us.
//!
//! 1. `listener-fd` names it: a number, or a name among those that the service manager passed ([`find`]).
//! 2. [`take`] makes a descriptor of our own of it, checks that it listens where it should, and is of memif's kind.
//! 3. The socket file stays theirs: it is not removed with us.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{SockType, UnixAddr, getsockname, getsockopt, sockopt};

use crate::address::Address;
use crate::socket::{duplicate, set_nonblocking, socket_address};

/// The first descriptor that a service manager passes.
const FIRST: RawFd = 3;

/// Why there is no such socket to take over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InheritError {
    #[error("{0} was started without sockets: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES are not set for it")]
    NothingPassed(String),
    #[error("no socket named `{name}` was passed; there are: {there}")]
    NoSuchName { name: String, there: String },
    #[error("descriptor {fd} is {what}: pass a listening SOCK_SEQPACKET socket")]
    Wrong { fd: RawFd, what: String },
    #[error("descriptor {fd} listens on {theirs}, not on {ours}: make `socket` the same")]
    Elsewhere { fd: RawFd, theirs: String, ours: String },
}

/// The descriptor that `listener-fd` means, by the variables of the service manager.
///
/// # Errors
/// A name that was not passed, or nothing was.
pub(crate) fn find(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
    own_pid: u32,
) -> Result<RawFd, InheritError> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let number = |name| environment(name).and_then(|value| value.parse::<u32>().ok());
    let count = number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(own_pid));
    let count = count.ok_or_else(|| InheritError::NothingPassed(format!("process {own_pid}")))? as usize;
    let names = environment("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<_> = names.split(':').take(count).collect();
    match names.iter().position(|name| *name == text) {
        Some(at) => Ok(FIRST + at as RawFd),
        None => Err(InheritError::NoSuchName { name: text.to_owned(), there: names.join(", ") }),
    }
}

/// A descriptor of our own for the socket behind `fd`, which must listen at `address`.
///
/// # Errors
/// It is no such socket.
pub(crate) fn take(fd: RawFd, address: &Address) -> Result<OwnedFd, InheritError> {
    let wrong = |what: String| InheritError::Wrong { fd, what };
    let socket = duplicate(fd).map_err(|error| wrong(not_open(&error)))?;
    let name = getsockname::<UnixAddr>(socket.as_raw_fd()).map_err(|_| wrong("no Unix socket".to_owned()))?;
    if getsockopt(&socket, sockopt::SockType) != Ok(SockType::SeqPacket) {
        return Err(wrong("a socket of another type".to_owned()));
    }
    if getsockopt(&socket, sockopt::AcceptConn) != Ok(true) {
        return Err(wrong("a socket that does not listen".to_owned()));
    }
    if socket_address(address).ok().as_ref() != Some(&name) {
        return Err(InheritError::Elsewhere { fd, theirs: shown(&name), ours: address.to_string() });
    }
    set_nonblocking(borrow(&socket)).map_err(|error| wrong(error.to_string()))?;
    Ok(socket)
}

fn borrow(socket: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(socket)
}

fn not_open(error: &io::Error) -> String {
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::EBADF) => "not open".to_owned(),
        _ => format!("not to be had ({error})"),
    }
}

fn shown(name: &UnixAddr) -> String {
    match (name.path(), name.as_abstract()) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(name)) => format!("@{}", String::from_utf8_lossy(name).escape_debug()),
        (None, None) => "no address".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_among_those_that_were_passed() {
        let set = |fds: &'static str, pid: &'static str| {
            move |name: &str| match name {
                "LISTEN_FDS" => Some(fds.to_owned()),
                "LISTEN_PID" => Some(pid.to_owned()),
                "LISTEN_FDNAMES" => Some("left:right:left".to_owned()),
                _ => None,
            }
        };
        let find = |text, fds, pid| find(text, set(fds, pid), 77).map_err(|error| error.to_string());
        assert_eq!(find("12", "0", "1"), Ok(12));
        assert_eq!((find("left", "3", "77"), find("right", "3", "77")), (Ok(3), Ok(4)));
        assert_eq!(find("right", "1", "77").unwrap_err(), "no socket named `right` was passed; there are: left");
        for (fds, pid) in [("3", "76"), ("", "77"), ("3", ""), ("x", "77")] {
            assert!(find("left", fds, pid).unwrap_err().contains("process 77 was started without sockets"));
        }
    }
}
