//! Where a memif socket is: a path of the file system, or a name in the abstract namespace of the network namespace.
//!
//! An abstract name has two forms which are different names to the kernel: the exact one (every current peer) and the
//! one padded with NULs to the whole `sockaddr_un` (CNDP, DPDK up to 21.05).

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pmd_core::netns::Netns;

/// Longest path or abstract name in bytes: `sun_path` has 108, one of them is the NUL.
pub const MAX_LEN: usize = 107;

/// Address of a memif socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A socket file.
    Path(SocketPath),
    /// A name that is no file; it lives as long as its listener.
    Abstract(AbstractName),
}

/// A checked path: 1 to [`MAX_LEN`] bytes, no NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SocketPath(PathBuf);

/// A checked abstract name: 1 to [`MAX_LEN`] bytes without the leading NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AbstractName {
    name: Vec<u8>,
    padded: bool,
    /// The network namespace the name is in; `None`: our own.
    netns: Option<Netns>,
}

/// Why something cannot be an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("the socket address is empty: give a path, or a name for an abstract socket")]
    Empty,
    /// The kernel's limit.
    #[error("socket address \"{address}\" has {len} bytes, at most {MAX_LEN} are possible: choose a shorter one")]
    TooLong {
        /// The address as it was given.
        address: String,
        /// Its length in bytes.
        len: usize,
    },
    /// The kernel would end it there.
    #[error("socket address \"{address}\" contains a NUL at byte {at}: remove it")]
    Nul {
        /// The address as it was given, escaped.
        address: String,
        /// Where.
        at: usize,
    },
    /// Socket files are in no network namespace.
    #[error("network namespace {0} is given with a socket file, which is the same in all of them: leave it out")]
    NetnsOfFile(Netns),
}

impl Address {
    /// A socket file at `path`.
    ///
    /// # Errors
    /// Empty, longer than [`MAX_LEN`] bytes, or with a NUL.
    pub fn path(path: impl AsRef<Path>) -> Result<Self, AddressError> {
        let path = path.as_ref();
        check(path.as_os_str().as_bytes())?;
        Ok(Self::Path(SocketPath(path.to_owned())))
    }

    /// An abstract socket of exact length (statement 33), as all current peers use it.
    ///
    /// # Errors
    /// As [`Self::path`].
    pub fn abstract_name(name: impl AsRef<[u8]>) -> Result<Self, AddressError> {
        Self::new_abstract(name.as_ref(), false)
    }

    /// An abstract socket whose name is padded with NULs to 108 bytes: CNDP, and DPDK up to 21.05.
    ///
    /// # Errors
    /// As [`Self::path`].
    pub fn abstract_padded(name: impl AsRef<[u8]>) -> Result<Self, AddressError> {
        Self::new_abstract(name.as_ref(), true)
    }

    fn new_abstract(name: &[u8], padded: bool) -> Result<Self, AddressError> {
        check(name)?;
        Ok(Self::Abstract(AbstractName { name: name.to_owned(), padded, netns: None }))
    }

    /// The same abstract name in another network namespace.
    ///
    /// # Errors
    /// When it is a socket file.
    pub fn in_netns(self, netns: Netns) -> Result<Self, AddressError> {
        match self {
            Self::Path(_) => Err(AddressError::NetnsOfFile(netns)),
            Self::Abstract(name) => Ok(Self::Abstract(AbstractName { netns: Some(netns), ..name })),
        }
    }

    /// The network namespace that its sockets must be made in; `None`: the caller's.
    pub(crate) fn netns(&self) -> Option<&Netns> {
        match self {
            Self::Path(_) => None,
            Self::Abstract(name) => name.netns.as_ref(),
        }
    }
}

/// The common spellings: `@NAME` and `abstract:NAME` are abstract names, everything else is a path.
impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('@').or_else(|| text.strip_prefix("abstract:")) {
            Some(name) => Self::abstract_name(name),
            None => Self::path(text),
        }
    }
}

impl SocketPath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The directory that holds the socket file.
    pub fn directory(&self) -> &Path {
        match self.0.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) => Path::new("."),
            None => Path::new("/"),
        }
    }
}

impl AbstractName {
    /// The bytes after the leading NUL as the kernel gets them.
    pub(crate) fn sun_path(&self) -> Vec<u8> {
        let mut bytes = self.name.clone();
        if self.padded {
            bytes.resize(MAX_LEN, 0);
        }
        bytes
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(&printable(path.0.as_os_str().as_bytes())),
            Self::Abstract(AbstractName { name, padded, netns }) => {
                let padded = if *padded { " (NUL-padded)" } else { "" };
                write!(f, "@{}{padded}", printable(name))?;
                netns.iter().try_for_each(|netns| write!(f, " in network namespace {netns}"))
            }
        }
    }
}

fn check(bytes: &[u8]) -> Result<(), AddressError> {
    if bytes.is_empty() {
        return Err(AddressError::Empty);
    }
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        return Err(AddressError::Nul { address: printable(bytes), at });
    }
    if bytes.len() > MAX_LEN {
        return Err(AddressError::TooLong { address: printable(bytes), len: bytes.len() });
    }
    Ok(())
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_name_the_value_and_the_limit() {
        assert!(Address::path("x".repeat(107)).is_ok());
        let long = "x".repeat(108);
        assert_eq!(
            Address::path(&long).unwrap_err().to_string(),
            format!("socket address \"{long}\" has 108 bytes, at most 107 are possible: choose a shorter one")
        );
        assert!(Address::abstract_name("x".repeat(107)).is_ok());
        assert!(matches!(Address::abstract_padded(&long), Err(AddressError::TooLong { len: 108, .. })));
        assert_eq!(Address::path(""), Err(AddressError::Empty));
        assert_eq!(Address::abstract_name(""), Err(AddressError::Empty));
        assert_eq!(Address::path("a\0b"), Err(AddressError::Nul { address: "a\\u{0}b".into(), at: 1 }));
    }

    #[test]
    fn s33_exact_and_padded_are_two_names() {
        let exact = Address::abstract_name("memif").unwrap();
        let padded = Address::abstract_padded("memif").unwrap();
        assert_ne!(exact, padded);
        let (Address::Abstract(exact), Address::Abstract(padded)) = (exact, padded) else { panic!("abstract") };
        assert_eq!(exact.sun_path(), b"memif");
        assert_eq!(padded.sun_path().len(), 107);
        assert!(padded.sun_path().starts_with(b"memif\0\0"));
    }

    #[test]
    fn text_and_display() {
        for text in ["/run/memif.sock", "relative.sock", "@memif"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("abstract:memif".parse::<Address>().unwrap(), Address::abstract_name("memif").unwrap());
        assert_eq!(
            Address::abstract_padded("/var/run/memif.sock").unwrap().to_string(),
            "@/var/run/memif.sock (NUL-padded)"
        );
        let blue = Address::abstract_name("memif").unwrap().in_netns("blue".parse().unwrap()).unwrap();
        assert_eq!(blue.to_string(), "@memif in network namespace blue");
        assert_ne!(blue, Address::abstract_name("memif").unwrap());
        let file = Address::path("/tmp/sock").unwrap().in_netns(Netns::Process(7)).unwrap_err().to_string();
        assert!(file.contains("process 7") && file.contains("leave it out"), "{file}");
        assert_eq!("@".parse::<Address>(), Err(AddressError::Empty));
        assert_eq!(Address::path("/tmp/a\nb").unwrap().to_string(), "/tmp/a\\nb");
    }

    #[test]
    fn directory_of_a_socket() {
        for (path, directory) in [("/run/vpp/memif.sock", "/run/vpp"), ("memif.sock", "."), ("/memif.sock", "/")] {
            let Address::Path(path) = Address::path(path).unwrap() else { panic!("a path") };
            assert_eq!(path.directory(), Path::new(directory));
        }
    }
}
