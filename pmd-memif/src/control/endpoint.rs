//! What the control plane and the data path tell each other.
//!
//! The control thread owns sockets and handshakes; an [`Endpoint`] owns memory and queues. Everything here is called on
//! the control thread, which serves every memif of the process: a call that blocks delays them all, and one that waits
//! for the control thread (opens, closes or sets an interface) never returns.

use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use crate::address::Address;
use crate::handshake::{Agreed, Mode, Placement, Refusal, SealPolicy};
use crate::listener::FileOptions;
use crate::message::Direction;
use crate::secret::Secret;
use crate::shm::CacheLine;
use crate::socket::Credentials;

/// What one memif interface is.
#[derive(Debug, Clone)]
pub(crate) struct InterfaceConfig {
    /// Name that the peer is told and that our messages use.
    pub(crate) name: String,
    /// Name of the application that the peer is told.
    pub(crate) app_name: String,
    /// Where its socket is.
    pub(crate) address: Address,
    /// Id among the interfaces of that socket.
    pub(crate) id: u32,
    /// Which side it is.
    pub(crate) role: Role,
    /// What its packets are.
    pub(crate) mode: Mode,
    /// Server: what clients must send. Client: what is sent. [`Secret::NONE`] for none.
    pub(crate) secret: Secret,
    /// Time for a whole handshake.
    pub(crate) handshake_timeout: Duration,
}

impl InterfaceConfig {
    /// Usual time for a whole handshake; a live peer on one machine needs less than a hundredth of it.
    pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
}

/// The side of the protocol.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Listens (DPDK's server, VPP's master).
    Server(ServerConfig),
    /// Connects and owns the memory (DPDK's client, VPP's slave).
    Client(ClientConfig),
}

/// What only a server has.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    /// Whether clients must seal their memory.
    pub(crate) seals: SealPolicy,
    /// Bytes that all regions of a client together may have.
    pub(crate) max_memory: u64,
    /// Cache line that shapes the ring headers.
    pub(crate) cache_line: CacheLine,
    /// The socket file; the first interface of a socket decides.
    pub(crate) file: FileOptions,
    /// A listening socket to take over, instead of making one; the first interface of a socket decides.
    pub(crate) inherited: Option<RawFd>,
    /// Users that may connect; `None`: all whom the socket lets.
    pub(crate) allowed_uids: Option<Vec<u32>>,
}

impl ServerConfig {
    /// Usual limit of a client's memory: it costs address space, not memory, until packets fill it.
    pub(crate) const MAX_MEMORY: u64 = 64 << 30;
}

/// What only a client has.
#[derive(Debug, Clone)]
pub(crate) struct ClientConfig {
    /// Rings to the server that are wanted, 1 to 255.
    pub(crate) s2m_rings: u16,
    /// Rings from the server that are wanted, 1 to 255.
    pub(crate) m2s_rings: u16,
    /// log2 of the slots of every ring, 1 to 14.
    pub(crate) log2_ring_size: u8,
}

/// The data path's side of an interface.
pub(crate) trait Endpoint: Send + Sync {
    /// Client, after HELLO: makes the memory for what was agreed with `peer`.
    ///
    /// # Errors
    /// Why it cannot; the server is told.
    fn prepare(&self, agreed: Agreed, peer: &Peer) -> Result<Memory, String>;

    /// The handshake is complete: checks the memory (cookies, statement 27), maps it and takes the link into service.
    /// A client is called at CONNECTED with what [`Self::prepare`] made, a server at CONNECT, before it answers.
    ///
    /// # Errors
    /// Why not; the peer is refused with this text.
    fn up(&self, link: Link) -> Result<(), String>;

    /// The link that [`Self::up`] took into service is gone.
    fn down(&self, reason: &DownReason);

    /// Whether the peer has truncated memory that the link uses.
    fn has_lost_memory(&self) -> bool {
        false
    }

    /// An attempt failed before there was a link. A link that another peer has is not touched by it.
    fn refused(&self, reason: &DownReason);
}

/// Names a link of this process; never used again, so that a late word about one link cannot reach the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkId(pub(crate) u64);

/// A link as the handshake made it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Which one of all that this process ever had.
    pub(crate) id: LinkId,
    /// Who is at the other end.
    pub(crate) peer: Peer,
    /// What is shared.
    pub(crate) memory: Memory,
}

/// The other end of a link. Names are made safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its application.
    pub(crate) app_name: String,
    /// Its interface.
    pub(crate) interface: String,
    /// Its process.
    pub(crate) credentials: Credentials,
}

impl Peer {
    /// Whether it is another process, so most likely on another CPU.
    pub(crate) fn is_apart(&self) -> bool {
        u32::try_from(self.credentials.pid) != Ok(std::process::id())
    }
}

/// Shared memory and rings of a link.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// By index.
    pub(crate) regions: Vec<Region>,
    /// Rings from client to server, by index.
    pub(crate) s2m: Vec<Ring>,
    /// Rings from server to client, by index.
    pub(crate) m2s: Vec<Ring>,
}

impl Memory {
    pub(super) fn rings_mut(&mut self, direction: Direction) -> &mut Vec<Ring> {
        match direction {
            Direction::S2m => &mut self.s2m,
            Direction::M2s => &mut self.m2s,
        }
    }
}

/// A region of shared memory. From a peer: `size` was positive and within the file when it came; only a seal keeps it so.
#[derive(Debug)]
pub(crate) struct Region {
    /// Its file.
    pub(crate) fd: OwnedFd,
    /// Bytes.
    pub(crate) size: u64,
}

/// A ring. From a peer: it lies inside its region, aligned to 4 bytes, and shares no byte with another ring, unless it
/// is a duplicate.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Where it lies.
    pub(crate) placement: Placement,
    /// Its eventfd.
    pub(crate) fd: OwnedFd,
    /// The earlier ring of its direction that it repeats (CNDP); only that one is to be served.
    pub(crate) duplicate_of: Option<u16>,
}

/// Why there is no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DownReason {
    /// The peer sent DISCONNECT with this text.
    #[error("peer disconnected: {}", if .0.is_empty() { "no reason given" } else { .0 })]
    Peer(String),
    /// The peer is gone without a word (statement 31).
    #[error("peer closed the connection")]
    Eof,
    /// The server was gone right after INIT; libmemif does so when it has no such id.
    #[error("peer closed the connection after INIT: it may have no server interface with id {0}")]
    EofAfterInit(u32),
    /// The peer broke a rule.
    #[error("refused the peer: {0}")]
    Refused(#[from] Refusal),
    /// The peer made its rings unusable.
    #[error("refused the peer's rings: it {0}")]
    Fault(String),
    /// The system failed us.
    #[error("control socket failed: {0}")]
    Io(String),
    /// Nobody to connect to yet.
    #[error("cannot connect to {address}: {cause}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        cause: String,
    },
    /// The interface is being closed here.
    #[error("interface closed")]
    Closed,
    /// The interface was set down here.
    #[error("interface is administratively down")]
    AdminDown,
}

/// Which end of a connection ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// We did.
    Us,
    /// The peer did.
    Peer,
}

impl DownReason {
    /// Who ended the connection; nobody where there was none.
    pub(crate) fn ended_by(&self) -> Option<EndedBy> {
        match self {
            Self::Peer(_) | Self::Eof | Self::EofAfterInit(_) => Some(EndedBy::Peer),
            Self::Refused(_) | Self::Fault(_) | Self::Io(_) | Self::Closed | Self::AdminDown => Some(EndedBy::Us),
            Self::Unreachable { .. } => None,
        }
    }
}
