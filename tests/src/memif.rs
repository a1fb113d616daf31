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
    shared: Settings,
    here: Settings,
    there: Settings,
}

/// Options as `key` and `value`.
type Settings = Vec<(&'static str, String)>;

impl Memif {
    /// An end with every default.
    pub fn new(role: Role, socket: &Socket) -> Self {
        Self { role, socket: socket.clone(), shared: Vec::new(), here: Vec::new(), there: Vec::new() }
    }

    /// The other end: same socket, other role, same further options but those of one end only.
    pub fn peer(&self) -> Self {
        Self { role: self.role.other(), here: self.there.clone(), there: self.here.clone(), ..self.clone() }
    }

    /// Its role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it meets its peer.
    pub fn socket(&self) -> &Socket {
        &self.socket
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

    /// Sets any option, of both ends; a later value replaces an earlier one.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        set(&mut self.shared, key, value);
        self
    }

    /// Sets an option of this end only.
    pub fn here(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        set(&mut self.here, key, value);
        self
    }

    /// Sets an option of the other end only.
    pub fn there(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        set(&mut self.there, key, value);
        self
    }

    /// Whether this is a client that shares its own packet memory (`zero-copy=yes`).
    pub fn is_zero_copy_client(&self) -> bool {
        let says_so = |settings: &Settings| settings.iter().any(|(key, value)| *key == "zero-copy" && value == "yes");
        self.role == Role::Client && (says_so(&self.shared) || says_so(&self.here))
    }
}

fn set(settings: &mut Settings, key: &'static str, value: impl fmt::Display) {
    settings.retain(|(known, _)| *known != key);
    settings.push((key, value.to_string()));
}

impl fmt::Display for Memif {
    /// `key=value,...`, as DPDK's device arguments and our lport files take it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role={},{}", self.role, self.socket)?;
        self.shared.iter().chain(&self.here).try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_has_the_shared_options_and_its_own() {
        let socket = Socket::Abstract("meet".to_owned());
        let server = Memif::new(Role::Server, &socket).id(7).here("seals", "warn").there("zero-copy", "yes");
        let common = "socket=meet,socket-abstract=yes,id=7";
        assert_eq!(server.to_string(), format!("role=server,{common},seals=warn"));
        assert_eq!(server.peer().to_string(), format!("role=client,{common},zero-copy=yes"));
        assert_eq!(server.peer().peer(), server);
        assert!(server.peer().is_zero_copy_client() && !server.is_zero_copy_client());
    }
}
