//! The XDP program that hands packets to sockets, as bytecode.
//!
//! In C it would be
//!
//! ```c
//! int redirect(struct xdp_md *packet)
//! {
//!         return bpf_redirect_map(&sockets, packet->rx_queue_index, XDP_PASS);
//! }
//! ```
//!
//! A packet goes to the socket that the map has for its queue; where it has none, to the kernel's stack. Six instructions
//! need no compiler: they are written out below, and the kernel's verifier checks them at every load.

use std::ffi::CStr;

use crate::sys::bpf::Instruction;

/// The kernel offers the helper to programs of any license; this is the repository's.
pub(crate) const LICENSE: &CStr = c"BSD-3-Clause OR Apache-2.0";

/// `XDP_PASS` of linux/bpf.h: to the kernel's stack.
const PASS: i32 = 2;

/// Number of the helper `bpf_redirect_map`.
const REDIRECT_MAP: i32 = 51;

/// Offset of `rx_queue_index` in `struct xdp_md`.
const RX_QUEUE_INDEX: i16 = 16;

/// `BPF_PSEUDO_MAP_FD`: the 64-bit value is the descriptor of a map, which the kernel replaces by the map.
const MAP_FD: u8 = 1;

/// Kinds of instructions, from linux/bpf.h: class, size or operation, and source in one byte each.
mod code {
    /// `BPF_LDX | BPF_MEM | BPF_W`: load 32 bits from memory.
    pub(super) const LOAD_WORD: u8 = 0x61;
    /// `BPF_LD | BPF_IMM | BPF_DW`: load a 64-bit value, which takes two instructions.
    pub(super) const LOAD_VALUE: u8 = 0x18;
    /// `BPF_ALU64 | BPF_MOV | BPF_K`: move a constant.
    pub(super) const MOVE: u8 = 0xb7;
    /// `BPF_JMP | BPF_CALL`: call a helper with r1 to r5; the answer is in r0.
    pub(super) const CALL: u8 = 0x85;
    /// `BPF_JMP | BPF_EXIT`: return r0.
    pub(super) const EXIT: u8 = 0x95;
}

const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;

/// The program for the map of sockets with the descriptor `map`.
pub(crate) fn redirect(map: i32) -> [Instruction; 6] {
    let nothing = Instruction::default();
    [
        // On entry r1 is the packet. r2 = packet->rx_queue_index
        Instruction { code: code::LOAD_WORD, registers: from_to(R1, R2), offset: RX_QUEUE_INDEX, ..nothing },
        // r1 = &sockets, in two halves
        Instruction { code: code::LOAD_VALUE, registers: from_to(MAP_FD, R1), immediate: map, ..nothing },
        nothing,
        // r3 = XDP_PASS, what becomes of the packet when the map has no socket for the queue
        Instruction { code: code::MOVE, registers: from_to(0, R3), immediate: PASS, ..nothing },
        // r0 = bpf_redirect_map(r1, r2, r3)
        Instruction { code: code::CALL, immediate: REDIRECT_MAP, ..nothing },
        // return r0
        Instruction { code: code::EXIT, ..nothing },
    ]
}

/// Source and destination in one byte.
const fn from_to(source: u8, destination: u8) -> u8 {
    source << 4 | destination
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_that_a_compiler_makes() {
        let bytes = redirect(0x0102_0304).map(|instruction| {
            let Instruction { code, registers, offset, immediate } = instruction;
            let mut bytes = [code, registers, 0, 0, 0, 0, 0, 0];
            bytes[2..4].copy_from_slice(&offset.to_le_bytes());
            bytes[4..].copy_from_slice(&immediate.to_le_bytes());
            u64::from_be_bytes(bytes)
        });
        assert_eq!(
            bytes,
            [
                0x6112_1000_0000_0000, // r2 = *(u32 *)(r1 + 16)
                0x1811_0000_0403_0201, // r1 = map[fd 0x01020304]
                0x0000_0000_0000_0000,
                0xb703_0000_0200_0000, // r3 = 2
                0x8500_0000_3300_0000, // call 51
                0x9500_0000_0000_0000, // exit
            ]
        );
    }
}
