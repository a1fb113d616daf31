//! Why a peer is refused: one variant per broken rule.
//!
//! The text is what the peer gets as DISCONNECT, what our log says and what the link's state shows; it fits the 95
//! bytes of the message.

use std::time::Duration;

use super::{MAX_LOG2_RING_SIZE, MAX_REGIONS, MAX_RINGS, Mode};
use crate::message::{Direction, SIZE, UnknownType, VERSION};

/// A broken rule of the handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("message of {0} bytes, every message has {SIZE}")]
    MessageSize(usize),
    #[error("file descriptors were lost on the way: too many open files")]
    DescriptorsLost,
    #[error(transparent)]
    UnknownType(#[from] UnknownType),
    #[error("unexpected {got}, awaiting {awaited}")]
    OutOfState { got: &'static str, awaited: &'static str },
    #[error("handshake not finished within {} ms, awaiting {awaited}", limit.as_millis())]
    Deadline { limit: Duration, awaited: &'static str },
    #[error("too many unfinished handshakes on this socket")]
    Crowded,

    #[error("version {} is not ours, {}", version(*.0), version(VERSION))]
    Version(u16),
    #[error("versions {} to {} do not include ours, {}", version(*min), version(*max), version(VERSION))]
    VersionWindow { min: u16, max: u16 },
    #[error("server allows rings of 1 slot only, at least 2 are needed")]
    RingLimit,

    #[error("no server interface with id {0} on this socket")]
    UnknownId(u32),
    #[error("interface with id {0} is a client here, it cannot be connected to")]
    ClientRole(u32),
    #[error("interface with id {0} is already connected")]
    Busy(u32),
    #[error("interface with id {0} is administratively down")]
    AdminDown(u32),
    #[error("mode {} does not match ours, {ours}", mode_name(*theirs))]
    ModeMismatch { theirs: u8, ours: Mode },
    #[error("secret required")]
    SecretMissing,
    #[error("incorrect secret")]
    SecretWrong,
    #[error("user {0} is not allowed to connect")]
    UserNotAllowed(u32),

    #[error("region {0} came without a file descriptor")]
    RegionWithoutFd(u16),
    #[error("region index {got} out of order, next is {next}")]
    RegionIndex { got: u16, next: usize },
    #[error("region {0} is too much, at most {MAX_REGIONS} are possible")]
    TooManyRegions(u16),
    #[error("region {0} is no memory file (memfd, shm or hugetlbfs)")]
    NotMemory(u16),
    #[error("region {0} is not sealed against shrinking (F_SEAL_SHRINK)")]
    NotSealed(u16),
    #[error("region {0} has size 0")]
    EmptyRegion(u16),
    #[error("region {index}: {size} bytes declared, its file has {file}")]
    RegionBeyondFile { index: u16, size: u64, file: u64 },
    #[error("region {index}: {size} bytes exceed what is left of the limit, {left}")]
    RegionTooLarge { index: u16, size: u64, left: u64 },

    #[error("{direction} ring {index} came without a file descriptor")]
    RingWithoutFd { direction: Direction, index: u16 },
    #[error("{direction} ring {index}: its file descriptor is no eventfd")]
    NotEventFd { direction: Direction, index: u16 },
    #[error("{direction} ring index {got} out of order, next is {next}")]
    RingIndex { direction: Direction, got: u16, next: usize },
    #[error("{direction} ring {index} is too much, at most {MAX_RINGS} are possible")]
    TooManyRings { direction: Direction, index: u16 },
    #[error("private header of {0} bytes, only 0 is supported")]
    PrivateHeader(u16),
    #[error("{direction} ring {index}: log2 size {log2} is not in 1 to {MAX_LOG2_RING_SIZE}")]
    RingSize { direction: Direction, index: u16, log2: u8 },
    #[error("{direction} ring {index} names region {region}, there are {regions}")]
    RingRegion { direction: Direction, index: u16, region: u16, regions: usize },
    #[error("{direction} ring {index}: offset {offset} is no multiple of 4")]
    RingAlignment { direction: Direction, index: u16, offset: u32 },
    #[error("{direction} ring {index}: ends at {end}, its region at {region_size}")]
    RingBeyondRegion { direction: Direction, index: u16, end: u64, region_size: u64 },
    #[error("{direction} ring {index} overlaps {other_direction} ring {other}")]
    RingOverlap { direction: Direction, index: u16, other_direction: Direction, other: u16 },
    #[error("no ring was added before CONNECT")]
    NoRings,

    /// The endpoint refused: memory that cannot be mapped, a wrong cookie, and the like.
    #[error("{0}")]
    Endpoint(String),
}

fn version(version: u16) -> String {
    format!("{}.{}", version >> 8, version & 0xff)
}

pub(super) fn mode_name(mode: u8) -> &'static str {
    match mode {
        0 => "ethernet",
        1 => "ip",
        2 => "punt/inject (not supported)",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    #[test]
    fn longest_texts_fit_into_disconnect() {
        let (direction, index) = (Direction::M2s, u16::MAX);
        let longest = [
            Refusal::Deadline { limit: Duration::from_millis(3_600_000), awaited: "ADD_REGION, ADD_RING or CONNECT" },
            Refusal::OutOfState { got: "DISCONNECT", awaited: "ADD_REGION, ADD_RING or CONNECT" },
            Refusal::VersionWindow { min: u16::MAX, max: u16::MAX },
            Refusal::ClientRole(u32::MAX),
            Refusal::ModeMismatch { theirs: 2, ours: Mode::Ethernet },
            Refusal::RegionBeyondFile { index, size: u64::MAX, file: u64::MAX },
            Refusal::RegionTooLarge { index, size: u64::MAX, left: 1 << 36 },
            Refusal::RingBeyondRegion { direction, index, end: 1 << 33, region_size: u64::MAX },
            Refusal::RingOverlap { direction, index, other_direction: direction, other: index },
            Refusal::RingRegion { direction, index, region: index, regions: 256 },
        ];
        for refusal in longest {
            let text = refusal.to_string();
            let Message::Disconnect { reason, .. } = Message::disconnect(&text) else { panic!("a DISCONNECT") };
            assert_eq!(reason.to_string(), text);
        }
    }
}
