//! One end of a memif link as options: the same words configure testpmd's `--vdev` and our lport file.

use std::fmt;
use std::path::{Path, PathBuf};

/// Who owns the memory (client) and who listens (server).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Connects, owns the memory.
    Client,
    /// Listens.
    Server,
}

impl Role {
    /// Both, for tests that hold in either.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// The role of the peer.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Where the two ends meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// A socket file.
    Path(PathBuf),
    /// A name in the network namespace's abstract space.
    Abstract(String),
}

impl Socket {
    /// The socket file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Abstract(_) => None,
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "socket={},socket-abstract=no", path.display()),
            Self::Abstract(name) => write!(f, "socket={name},socket-abstract=yes"),
        }
    }
}

/// One end of a link. What is not set is left to the default of whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memif {
    role: Role,
    socket: Socket,
    more: Vec<(&'static str, String)>,
}

impl Memif {
    /// An end with every default.
    pub fn new(role: Role, socket: &Socket) -> Self {
        Self { role, socket: socket.clone(), more: Vec::new() }
    }

    /// The other end: same socket, other role, same further options.
    pub fn peer(&self) -> Self {
        Self { role: self.role.other(), ..self.clone() }
    }

    /// Its role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Number of the interface on its socket (`id`).
    pub fn id(self, id: u32) -> Self {
        self.with("id", id)
    }

    /// Size of a packet buffer in bytes (`bsize`).
    pub fn buffer_size(self, bytes: u32) -> Self {
        self.with("bsize", bytes)
    }

    /// Base-2 logarithm of the ring size (`rsize`).
    pub fn log2_ring_size(self, log2: u32) -> Self {
        self.with("rsize", log2)
    }

    /// The shared secret (`secret`).
    pub fn secret(self, secret: &str) -> Self {
        self.with("secret", secret)
    }

    /// Sets any option; a later value replaces an earlier one.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.more.retain(|(known, _)| *known != key);
        self.more.push((key, value.to_string()));
        self
    }
}

impl fmt::Display for Memif {
    /// `key=value,...`, as DPDK's device arguments and our lport files take it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role={},{}", self.role, self.socket)?;
        self.more.iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}
