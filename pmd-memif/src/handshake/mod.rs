//! The handshake as two pure state machines: no sockets, no file descriptors, no clock.
//!
//! 1. Whoever owns the connection receives a message and looks at the attached descriptors ([`Attached`]).
//! 2. It hands both to [`server::Server`] or [`client::Client`], which answers with an effect to carry out and a
//!    message to send, in this order, or with a [`Refusal`]: its text goes out as DISCONNECT, and the connection ends.
//! 3. What was carried out (memory kept, link taken into service) belongs to the connection, not to the machine.
//!
//! ```text
//!   client                                   server
//!             <- HELLO                       on accept
//!   INIT ->                                  finds the interface, secret, mode
//!             <- ACK
//!   ADD_REGION 0.. , one per ACK ->          checks fd, size
//!   ADD_RING S2M 0.. , M2S 0.. ->            checks fd, place, order
//!   CONNECT ->                               maps, checks cookies, link up
//!             <- CONNECTED
//!   link up
//! ```

pub(crate) mod client;
#[cfg(any(test, fuzzing))]
pub(crate) mod driven;
pub(crate) mod placement;
pub(crate) mod refusal;
pub(crate) mod server;
#[cfg(test)]
mod walks;

pub(crate) use placement::Placement;
pub(crate) use refusal::Refusal;

/// Largest ring a peer may bring and we offer, as log2 of its slots: what every HELLO advertises.
pub(crate) const MAX_LOG2_RING_SIZE: u8 = 14;

/// Most rings per direction.
pub(crate) const MAX_RINGS: u16 = 255;

/// Most regions of one link.
pub(crate) const MAX_REGIONS: u16 = 256;

/// What a packet in the rings is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An Ethernet frame without FCS.
    Ethernet,
    /// An IPv4 or IPv6 packet.
    Ip,
}

impl Mode {
    /// The value of INIT.mode.
    pub(crate) fn wire(self) -> u8 {
        match self {
            Self::Ethernet => 0,
            Self::Ip => 1,
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(refusal::mode_name(self.wire()))
    }
}

/// Whether a region must be protected against being truncated under us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealPolicy {
    /// Refuse a region without F_SEAL_SHRINK.
    Require,
    /// Accept it: DPDK and VPP in zero-copy mode cannot seal their memory.
    Waive,
}

/// What is known of the first descriptor that came with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Kind of file.
    pub(crate) kind: FileKind,
    /// Bytes, by fstat.
    pub(crate) size: u64,
}

/// Kinds of files that matter to a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A memory file (memfd, shm, hugetlbfs): it answers F_GET_SEALS.
    Memory {
        /// Whether F_SEAL_SHRINK is set.
        shrink_sealed: bool,
    },
    /// An eventfd.
    Event,
    /// A disk file, pipe, socket, device, any other object of the kernel: never what a peer should attach.
    Other,
}

/// What client and server agreed on after HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// Rings from client to server.
    pub(crate) s2m_rings: u16,
    /// Rings from server to client.
    pub(crate) m2s_rings: u16,
    /// log2 of the slots of every ring.
    pub(crate) log2_ring_size: u8,
}
