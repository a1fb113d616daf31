//! A listening memif socket, and the file it leaves in the file system.
//!
//! 1. [`Listener::bind`] makes the socket. A file left behind by a dead process is replaced, but only after nobody
//!    answered a connect (statement 34); a listener that lives, or a file that is no socket, is never touched.
//! 2. [`Listener::accept`] takes clients.
//! 3. Dropping it removes the file, if it is still the one that was made here, and closes the socket.
//!
//! Two processes that find the same stale file take turns by a lock on its directory, else the slower one would remove
//! the socket of the faster.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{Backlog, bind, listen, setsockopt, sockopt};

use crate::address::{Address, SocketPath};
use crate::inherited::{self, InheritError};
use crate::socket::{Connection, new_socket, socket_address};

/// What a socket file is to be; what is `None` stays as the process has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FileOptions {
    /// User that owns the file.
    pub(crate) owner_uid: Option<u32>,
    /// Group that owns the file.
    pub(crate) owner_gid: Option<u32>,
    /// Permission bits; a client needs the write bit.
    pub(crate) mode: Option<u32>,
    /// Whether to make the directory, and those above it, when they are not there.
    pub(crate) make_directory: bool,
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Removed while the socket still listens (fields are dropped in this order): once it is closed, another process may
    /// put its own file there, even with the same inode number.
    _file: Option<SocketFile>,
    socket: UnixListener,
}

/// Why there is no listener at an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("{0}: another process listens there already; stop it or choose another socket")]
    InUse(String),
    #[error("{0} exists and is no socket; remove it or choose another path")]
    NotASocket(String),
    #[error("{0}: its directory does not exist; create it, set `mkdir=yes`, or choose another path")]
    NoDirectory(String),
    #[error("{0}: no permission to make a socket there; check owner and mode of the directory or choose another path")]
    NoPermission(String),
    #[error("{address}: cannot {action}: {error}")]
    Other { address: String, action: &'static str, error: io::Error },
    #[error(transparent)]
    Inherit(#[from] InheritError),
}

impl Listener {
    /// Listens at `address`.
    ///
    /// # Errors
    /// The address is taken, or the file cannot be made or given its owner and mode. Nothing is left behind then.
    pub(crate) fn bind(address: &Address, options: FileOptions) -> Result<Self, ListenError> {
        let failed = |action| move |error: io::Error| ListenError::new(address, action, error);
        let socket = new_socket(address).map_err(failed("make a socket"))?;
        setsockopt(&socket, sockopt::PassCred, &true).map_err(|errno| failed("set SO_PASSCRED")(errno.into()))?;
        let file = match address {
            Address::Path(path) => Some(bind_path(&socket, address, path, options)?),
            Address::Abstract(_) => {
                bind_socket(&socket, address).map_err(failed("bind"))?;
                listen(&socket, Backlog::MAXCONN).map_err(|errno| failed("listen")(errno.into()))?;
                None
            }
        };
        Ok(Self { _file: file, socket: UnixListener::from(socket) })
    }

    /// Takes over a listening socket that somebody else made; its file stays theirs.
    ///
    /// # Errors
    /// It does not listen at `address`, or is of another kind.
    pub(crate) fn inherit(fd: RawFd, address: &Address) -> Result<Self, ListenError> {
        let socket = inherited::take(fd, address)?;
        let failed = |errno: Errno| ListenError::new(address, "set SO_PASSCRED", errno.into());
        setsockopt(&socket, sockopt::PassCred, &true).map_err(failed)?;
        Ok(Self { _file: None, socket: UnixListener::from(socket) })
    }

    /// Takes the next client, if one waits.
    ///
    /// # Errors
    /// Those of accept(2), `WouldBlock` when nobody waits.
    pub(crate) fn accept(&self) -> io::Result<Connection> {
        let (accepted, _) = self.socket.accept()?;
        Connection::from_accepted(accepted.into())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ListenError {
    fn new(address: &Address, action: &'static str, error: io::Error) -> Self {
        let address = address.to_string();
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NoDirectory(address),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem if action == "bind" => {
                Self::NoPermission(address)
            }
            _ => Self::Other { address, action, error },
        }
    }
}

/// A socket file that was made here, known by its inode.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn made_at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    fn is_still_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|now| now.dev() == self.device && now.ino() == self.inode)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_still_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("{}: cannot remove the socket file: {error}", self.path.display());
        }
    }
}

/// From the first look at the path to the listening socket, under the directory's lock: nobody can take a socket that
/// does not listen yet for a stale one.
fn bind_path(
    socket: &OwnedFd,
    address: &Address,
    path: &SocketPath,
    options: FileOptions,
) -> Result<SocketFile, ListenError> {
    let failed = |action| move |error: io::Error| ListenError::new(address, action, error);
    if options.make_directory {
        fs::create_dir_all(path.directory()).map_err(failed("make the directory of the socket file"))?;
    }
    let _lock = lock(path.directory());
    if let Err(error) = bind_socket(socket, address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(failed("bind")(error));
        }
        remove_stale(address, path.as_path())?;
        bind_socket(socket, address).map_err(failed("bind"))?;
    }
    let file = SocketFile::made_at(path.as_path()).map_err(failed("find the socket file"))?;
    chown(path.as_path(), options.owner_uid, options.owner_gid)
        .map_err(failed("change the owner of the socket file"))?;
    if let Some(mode) = options.mode {
        let permissions = Permissions::from_mode(mode);
        fs::set_permissions(path.as_path(), permissions).map_err(failed("change the mode of the socket file"))?;
    }
    listen(socket, Backlog::MAXCONN).map_err(|errno| failed("listen")(errno.into()))?;
    Ok(file)
}

fn bind_socket(socket: &OwnedFd, address: &Address) -> io::Result<()> {
    Ok(bind(socket.as_raw_fd(), &socket_address(address)?)?)
}

/// Removes the socket file if nobody listens behind it.
fn remove_stale(address: &Address, path: &Path) -> Result<(), ListenError> {
    let failed = |action| move |error: io::Error| ListenError::new(address, action, error);
    let metadata = fs::symlink_metadata(path).map_err(failed("look at the socket file"))?;
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket(address.to_string()));
    }
    match Connection::connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!("{address}: replacing a socket file that nobody listens behind");
            fs::remove_file(path).map_err(failed("remove the stale socket file"))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(ListenError::NoPermission(address.to_string()))
        }
        _ => Err(ListenError::InUse(address.to_string())),
    }
}

/// Locks a directory against other processes of this kind, for a tenth of a second at most: a lock that somebody holds
/// for long has another purpose, and a directory that cannot be opened cannot be locked.
fn lock(directory: &Path) -> Option<Flock<File>> {
    let mut file = File::open(directory).ok()?;
    for _ in 0..100 {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((unlocked, Errno::EWOULDBLOCK)) => file = unlocked,
            Err(_) => return None,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Received;

    fn path_in(directory: &tempfile::TempDir, name: &str) -> (PathBuf, Address) {
        let path = directory.path().join(name);
        let address = Address::path(&path).unwrap();
        (path, address)
    }

    fn listen_at(address: &Address) -> Result<Listener, ListenError> {
        Listener::bind(address, FileOptions::default())
    }

    /// A socket file whose process is gone.
    fn leave_stale(address: &Address) {
        let socket = new_socket(address).unwrap();
        bind_socket(&socket, address).unwrap();
        listen(&socket, Backlog::MAXCONN).unwrap();
    }

    #[test]
    fn file_is_removed_at_close() {
        let directory = tempfile::tempdir().unwrap();
        let (path, address) = path_in(&directory, "memif.sock");
        let listener = listen_at(&address).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn file_of_somebody_else_is_left_alone_at_close() {
        let directory = tempfile::tempdir().unwrap();
        let (path, address) = path_in(&directory, "memif.sock");
        let listener = listen_at(&address).unwrap();
        fs::rename(&path, directory.path().join("moved")).unwrap();
        fs::write(&path, "not ours").unwrap();
        drop(listener);
        assert_eq!(fs::read_to_string(&path).unwrap(), "not ours");
    }

    #[test]
    fn s34_stale_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (_, address) = path_in(&directory, "memif.sock");
        leave_stale(&address);
        let listener = listen_at(&address).unwrap();
        let client = Connection::connect(&address).unwrap();
        let server = listener.accept().unwrap();
        server.send(&[1; 128], &[]).unwrap();
        assert!(matches!(client.receive().unwrap(), Received::Datagram(_)));
    }

    #[test]
    fn s34_live_listener_is_not_stolen() {
        let directory = tempfile::tempdir().unwrap();
        let (_, address) = path_in(&directory, "memif.sock");
        let listener = listen_at(&address).unwrap();
        let error = listen_at(&address).unwrap_err();
        assert!(matches!(error, ListenError::InUse(_)), "{error}");
        Connection::connect(&address).expect("the first still listens");
        drop(listener);
    }

    #[test]
    fn s34_live_listener_of_another_socket_type_is_not_stolen() {
        let directory = tempfile::tempdir().unwrap();
        let (path, address) = path_in(&directory, "memif.sock");
        let stream = UnixListener::bind(&path).unwrap();
        assert!(matches!(listen_at(&address), Err(ListenError::InUse(_))));
        std::os::unix::net::UnixStream::connect(&path).expect("it still listens");
        drop(stream);
    }

    #[test]
    fn file_that_is_no_socket_is_never_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let (path, address) = path_in(&directory, "precious");
        fs::write(&path, "data").unwrap();
        assert!(matches!(listen_at(&address), Err(ListenError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }

    #[test]
    fn missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (path, address) = path_in(&directory, "no/such/memif.sock");
        let error = listen_at(&address).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "{}: its directory does not exist; create it, set `mkdir=yes`, or choose another path",
                path.display()
            )
        );
    }

    #[test]
    fn mode_and_owner_are_set_before_anybody_can_connect() {
        let directory = tempfile::tempdir().unwrap();
        let (path, address) = path_in(&directory, "memif.sock");
        let options = FileOptions {
            owner_uid: Some(nix::unistd::geteuid().as_raw()),
            owner_gid: Some(nix::unistd::getegid().as_raw()),
            mode: Some(0o640),
            make_directory: false,
        };
        let _listener = Listener::bind(&address, options).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn s33_exact_and_padded_names_do_not_meet() {
        let name = format!("pmd-memif-test-{}-names", std::process::id());
        let (exact, padded) = (Address::abstract_name(&name).unwrap(), Address::abstract_padded(&name).unwrap());
        let listener = listen_at(&exact).unwrap();
        Connection::connect(&exact).unwrap();
        assert_eq!(Connection::connect(&padded).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(matches!(listen_at(&exact), Err(ListenError::InUse(_))));
        let both = listen_at(&padded).expect("another name");
        Connection::connect(&padded).unwrap();
        drop((listener, both));
    }

    #[test]
    fn takeover_race_has_one_winner() {
        let directory = tempfile::tempdir().unwrap();
        let (_, address) = path_in(&directory, "memif.sock");
        for _ in 0..20 {
            leave_stale(&address);
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| listen_at(&address))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
            Connection::connect(&address).expect("the winner can be reached");
        }
    }
}
