//! What the local stack leaves to hardware, done in software: checksums, and cutting a large packet into those it stands
//! for.
//!
//! A process on this machine that sends through an interface (the other end of a veth pair, say) has its kernel leave both
//! to the hardware at the end of the way, of which there is none on the way to us. The same holds for packets that the
//! kernel has joined on receipt (GRO). What we give on is always complete, and no larger than what goes over a wire.

use pmd_core::checksum::{fold, sum};

use crate::frame::{Frame, Unfinished};

/// Protocol numbers in IP headers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Flags of TCP that only the last, or only the first, of several segments keeps.
const TCP_FIN_PSH: u8 = 0x09;
const TCP_CWR: u8 = 0x80;

/// Completes the Internet checksum of `packet`, in which `transport` has become another place by `moved` bytes that were
/// put in before it; `false` when it cannot be: its place is not in the packet.
#[must_use]
pub(crate) fn complete_checksum(packet: &mut [u8], unfinished: &Unfinished, moved: usize) -> bool {
    let from = unfinished.transport + moved;
    let at = from + unfinished.checksum;
    if at + 2 > packet.len() {
        return false;
    }
    // The field holds the sum of the pseudo header, which so takes part.
    put_checksum(packet, at, sum(&packet[from..]));
    true
}

/// Whether the checksum that is yet to be computed is an Internet checksum. SCTP has another one.
pub(crate) fn has_internet_checksum(frame: &Frame<'_>) -> bool {
    let ip = &frame.packet[frame.network.min(frame.packet.len())..];
    let protocol = match ip.first().map(|byte| byte >> 4) {
        Some(4) => ip.get(9),
        Some(6) => ip.get(6),
        _ => None,
    };
    protocol != Some(&SCTP)
}

fn put_checksum(packet: &mut [u8], at: usize, sum: u32) {
    // Zero means that there is none, in UDP; the other zero says the same.
    let checksum = Some(!fold(sum)).filter(|checksum| *checksum != 0).unwrap_or(0xffff);
    packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// How a large packet is cut into those it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    network: usize,
    transport: usize,
    checksum: usize,
    is_tcp: bool,
    is_v6: bool,
    /// Where the payload begins.
    payload: usize,
    /// Bytes of payload of each but the last.
    size: usize,
    end: usize,
}

impl Cut {
    /// How `frame` is to be cut; `None` when its headers are not what they are said to be.
    pub(crate) fn of(frame: &Frame<'_>, unfinished: &Unfinished) -> Option<Self> {
        let segments = unfinished.segments?;
        let (network, transport) = (frame.network, unfinished.transport);
        let version = frame.packet.get(network)? >> 4;
        let (is_v6, shortest) = match version {
            4 => (false, 20),
            6 => (true, 40),
            _ => return None,
        };
        let transport_header =
            if segments.is_tcp { usize::from(frame.packet.get(transport + 12)? >> 4) * 4 } else { 8 };
        let checksum = if segments.is_tcp { 16 } else { 6 };
        let (payload, end) = (transport + transport_header, frame.packet.len());
        let makes_sense = transport >= network + shortest && transport_header >= checksum + 2 && payload < end;
        let size = segments.size;
        makes_sense.then_some(Self { network, transport, checksum, is_tcp: segments.is_tcp, is_v6, payload, size, end })
    }

    /// How many packets it makes.
    pub(crate) fn count(&self) -> usize {
        (self.end - self.payload).div_ceil(self.size)
    }

    /// Writes packet number `index`, below [`Self::count`], into `out`, which holds the headers and `size` bytes.
    pub(crate) fn write(&self, packet: &[u8], index: usize, out: &mut Vec<u8>) {
        let from = self.payload + index * self.size;
        let to = self.end.min(from + self.size);
        out.clear();
        out.extend_from_slice(&packet[..self.payload]);
        out.extend_from_slice(&packet[from..to]);
        self.write_network_header(out, index);
        if self.is_tcp {
            self.write_tcp_header(out, from - self.payload, index == 0, to == self.end);
        } else {
            let len = (out.len() - self.transport) as u16;
            put(out, self.transport + 4, len);
        }
        let at = self.transport + self.checksum;
        put(out, at, 0);
        let sum = self.pseudo_header(out) + sum(&out[self.transport..]);
        put_checksum(out, at, sum);
    }

    fn write_network_header(&self, out: &mut [u8], index: usize) {
        let ip = self.network;
        if self.is_v6 {
            put(out, ip + 4, (out.len() - ip - 40) as u16);
            return;
        }
        put(out, ip + 2, (out.len() - ip) as u16);
        let id = u16::from_be_bytes([out[ip + 4], out[ip + 5]]);
        put(out, ip + 4, id.wrapping_add(index as u16));
        put(out, ip + 10, 0);
        let checksum = !fold(sum(&out[ip..self.transport]));
        put(out, ip + 10, checksum);
    }

    fn write_tcp_header(&self, out: &mut [u8], offset: usize, is_first: bool, is_last: bool) {
        let tcp = self.transport;
        let sequence = &mut out[tcp + 4..tcp + 8];
        let first = u32::from_be_bytes([sequence[0], sequence[1], sequence[2], sequence[3]]);
        sequence.copy_from_slice(&first.wrapping_add(offset as u32).to_be_bytes());
        let kept = if is_last { 0xff } else { !TCP_FIN_PSH } & if is_first { 0xff } else { !TCP_CWR };
        out[tcp + 13] &= kept;
    }

    /// The sum of addresses, protocol and length (RFC 9293, RFC 8200).
    fn pseudo_header(&self, out: &[u8]) -> u32 {
        let addresses = if self.is_v6 { 8..40 } else { 12..20 };
        let protocol = if self.is_tcp { TCP } else { UDP };
        sum(&out[self.network..][addresses]) + u32::from(protocol) + (out.len() - self.transport) as u32
    }
}

fn put(out: &mut [u8], at: usize, number: u16) {
    out[at..at + 2].copy_from_slice(&number.to_be_bytes());
}
