//! The blocks of pcapng that we write, little-endian, with times in nanoseconds.

use crate::capture::{Direction, ETHERNET, PACKET_MAX};

/// Bytes of a packet's block around the packet and its padding.
const PACKET_FRAME: usize = 12 + 20 + 12;

/// Most bytes that a packet's block can have.
pub(super) const PACKET_BLOCK_MAX: usize = PACKET_FRAME + PACKET_MAX as usize;

/// A Section Header Block of unknown length.
pub(super) fn section(out: &mut Vec<u8>) {
    block(out, 0x0A0D_0D0A, |out| {
        word(out, 0x1A2B_3C4D);
        half(out, 1);
        half(out, 0);
        out.extend(u64::MAX.to_le_bytes());
        option(out, 4, concat!("lport ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_of_options(out);
    });
}

/// An Interface Description Block of an Ethernet interface.
pub(super) fn interface(out: &mut Vec<u8>, name: &str, description: &str, snap_length: u32) {
    block(out, 1, |out| {
        half(out, ETHERNET);
        half(out, 0);
        word(out, snap_length);
        option(out, 2, name.as_bytes());
        option(out, 3, description.as_bytes());
        option(out, 9, &[9]);
        end_of_options(out);
    });
}

/// What is said of a packet in front of its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketHead {
    pub(super) interface: u32,
    pub(super) direction: Direction,
    pub(super) time_ns: u64,
    /// Bytes that follow, at most [`PACKET_MAX`].
    pub(super) captured: u32,
    pub(super) original: u32,
}

/// An Enhanced Packet Block; `bytes` adds the packet's `captured` bytes.
pub(super) fn packet(out: &mut Vec<u8>, head: &PacketHead, bytes: impl FnOnce(&mut Vec<u8>)) {
    block(out, 6, |out| {
        word(out, head.interface);
        word(out, (head.time_ns >> 32) as u32);
        word(out, head.time_ns as u32);
        word(out, head.captured);
        word(out, head.original);
        bytes(out);
        pad(out);
        let flags: u32 = match head.direction {
            Direction::Unknown => 0,
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        option(out, 2, &flags.to_le_bytes());
        end_of_options(out);
    });
}

/// A block with its lengths. Blocks begin at multiples of 4 of `out`.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    word(out, kind);
    word(out, 0);
    body(out);
    let length = (out.len() + 4 - start) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    word(out, length);
}

/// An option; what does not fit its 16 bits of length is left out.
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    half(out, code);
    half(out, value.len() as u16);
    out.extend_from_slice(value);
    pad(out);
}

fn end_of_options(out: &mut Vec<u8>) {
    word(out, 0);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn word(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn half(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}
