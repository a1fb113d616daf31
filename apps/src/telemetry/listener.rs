//! The listening socket, and its file.
//!
//! 1. [`Listener::bind`] makes the prefix's directory, for this user alone, and locks it, so that two processes that start
//!    at once do not take each other's place.
//! 2. It takes the first path that is free, or where nobody answers any more; a live socket, ours or a DPDK
//!    application's, is left alone.
//! 3. Dropping it removes the file, then closes the socket: nobody else can have taken the path meanwhile.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, setsockopt, socket, sockopt,
};

use super::ANSWER_MAX;
use super::place::{self, FilePrefix};

/// Processes with one prefix that can be told apart.
const INSTANCES: u16 = 256;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 16;

/// A listening socket with its file.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Takes the first free socket of the prefix.
    ///
    /// # Errors
    /// The directory or the socket cannot be made; the error names it.
    pub(super) fn bind(prefix: &FilePrefix) -> io::Result<Self> {
        Self::bind_in(&prefix.directory())
    }

    pub(super) fn bind_in(directory: &Path) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(named)?;
        let lock = File::open(directory).map_err(named)?;
        lock.lock().map_err(named)?;
        for instance in 0..INSTANCES {
            if let Some(listener) = Self::bind_at(place::socket(directory, instance)).map_err(named)? {
                return Ok(listener);
            }
        }
        let text = format!("{INSTANCES} processes serve there already: choose another `--file-prefix`");
        Err(named(io::Error::new(io::ErrorKind::AddrInUse, text)))
    }

    /// Takes the socket at `path`; `None` when somebody else has it.
    fn bind_at(path: PathBuf) -> io::Result<Option<Self>> {
        let socket = new_socket(SockFlag::SOCK_NONBLOCK)?;
        let address = UnixAddr::new(&path)?;
        match bind(socket.as_raw_fd(), &address) {
            Err(Errno::EADDRINUSE) if is_stale(&path) => {
                fs::remove_file(&path)?;
                bind(socket.as_raw_fd(), &address)?;
            }
            Err(Errno::EADDRINUSE) => return Ok(None),
            bound => bound?,
        }
        listen(&socket, Backlog::new(BACKLOG)?)?;
        let listener = Self { socket: UnixListener::from(socket), path };
        fs::set_permissions(&listener.path, Permissions::from_mode(0o600))?;
        Ok(Some(listener))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next client; it does not block.
    ///
    /// # Errors
    /// Those of accept(2); `WouldBlock` when none waits.
    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        let (client, _) = self.socket.accept()?;
        client.set_nonblocking(true)?;
        // The largest answer must fit at once; where the system allows less, who asks for it loses the connection.
        let _ = setsockopt(&client, sockopt::SndBuf, &ANSWER_MAX);
        Ok(client)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody may have removed it by hand.
        let _ = fs::remove_file(&self.path);
    }
}

/// A socket of the kind that telemetry uses; `flags` are added to close-on-exec.
///
/// # Errors
/// Those of socket(2).
pub(super) fn new_socket(flags: SockFlag) -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, flags | SockFlag::SOCK_CLOEXEC, None)?)
}

/// Whether the socket file at `path` was left behind by a process that is gone. What is no socket is not ours to judge.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let probe = || {
        let socket = new_socket(SockFlag::SOCK_NONBLOCK).ok()?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path).ok()?).err()
    };
    is_socket && probe() == Some(Errno::ECONNREFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn further_processes_are_numbered_and_every_file_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("dpdk").join("rte");
        let first = Listener::bind_in(&own).unwrap();
        let second = Listener::bind_in(&own).unwrap();
        assert_eq!(names(&own), ["dpdk_telemetry.v2", "dpdk_telemetry.v2:1"]);
        assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
        drop(first);
        let third = Listener::bind_in(&own).unwrap();
        assert_eq!(third.path(), own.join("dpdk_telemetry.v2"), "the lowest free number");
        drop((second, third));
        assert_eq!(names(&own), [""; 0]);
    }

    #[test]
    fn a_stale_socket_is_taken_over_and_anything_else_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = place::socket(directory.path(), 0);
        let stale = new_socket(SockFlag::empty()).unwrap();
        bind(stale.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        drop(stale);
        let listener = Listener::bind_in(directory.path()).unwrap();
        assert_eq!(listener.path(), path);
        drop(listener);
        fs::write(&path, "a file").unwrap();
        let listener = Listener::bind_in(directory.path()).unwrap();
        assert_eq!(listener.path(), place::socket(directory.path(), 1));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Listener::bind_in(&file.join("rte")).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
        let long = directory.path().join("x".repeat(100));
        assert!(Listener::bind_in(&long).unwrap_err().to_string().contains("xxx"));
    }
}
