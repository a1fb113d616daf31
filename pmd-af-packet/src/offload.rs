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
        let first = *frame.packet.get(network)?;
        let header = transport.checked_sub(network)?;
        let (is_v6, fits) = match first >> 4 {
            4 => (false, header >= 20 && header == usize::from(first & 15) * 4),
            6 => (true, header >= 40),
            _ => return None,
        };
        let transport_header =
            if segments.is_tcp { usize::from(frame.packet.get(transport + 12)? >> 4) * 4 } else { 8 };
        let checksum = if segments.is_tcp { 16 } else { 6 };
        let (payload, end) = (transport + transport_header, frame.packet.len());
        let makes_sense = fits && transport_header >= checksum + 2 && payload < end;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Segments;

    const ETHERNET: usize = 14;

    /// A large packet with `payload` behind headers of IPv4 or IPv6, and TCP with FIN, PSH, ACK and CWR, or UDP.
    fn large(is_v6: bool, is_tcp: bool, payload: &[u8]) -> (Vec<u8>, Unfinished) {
        let protocol = if is_tcp { TCP } else { UDP };
        let mut packet = vec![2; ETHERNET];
        if is_v6 {
            packet.extend_from_slice(&[0x60, 0, 0, 0, 0, 0, protocol, 64]);
            packet.extend(1..33);
        } else {
            packet.extend_from_slice(&[
                0x45, 0, 0, 0, 0xff, 0xff, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
            ]);
        }
        let transport = packet.len();
        packet.extend_from_slice(&[0x10, 0, 0x20, 0]);
        if is_tcp {
            // Sequence number just below its end, acknowledgement, length and flags, window, checksum, urgent; 4 of options.
            packet.extend_from_slice(&[
                0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 1, 0x60, 0x99, 1, 0, 0xaa, 0xaa, 0, 0, 1, 1, 1, 1,
            ]);
        } else {
            packet.extend_from_slice(&[0, 0, 0xaa, 0xaa]);
        }
        packet.extend_from_slice(payload);
        let checksum = if is_tcp { 16 } else { 6 };
        let segments = Some(Segments { size: 100, is_tcp });
        (packet, Unfinished { transport, checksum, segments })
    }

    fn frame(packet: &[u8], unfinished: Unfinished) -> Frame<'_> {
        let full_len = packet.len();
        Frame { packet, full_len, vlan: None, network: ETHERNET, unfinished: Some(unfinished), next: 0 }
    }

    #[test]
    fn segments_are_packets_with_lengths_checksums_and_numbers_of_their_own() {
        let payload: Vec<_> = (0..250).collect();
        for (is_v6, is_tcp) in [(false, false), (false, true), (true, false), (true, true)] {
            let (packet, unfinished) = large(is_v6, is_tcp, &payload);
            let frame = frame(&packet, unfinished);
            let cut = Cut::of(&frame, &unfinished).unwrap();
            assert_eq!(cut.count(), 3);
            let mut rest = payload.as_slice();
            for (index, len) in [100, 100, 50].into_iter().enumerate() {
                let mut out = Vec::new();
                cut.write(&packet, index, &mut out);
                let (head, body) = out.split_at(packet.len() - payload.len());
                assert_eq!(body, &rest[..len]);
                rest = &rest[len..];
                let (ip, transport) = out[ETHERNET..].split_at(unfinished.transport - ETHERNET);
                if is_v6 {
                    assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), transport.len());
                } else {
                    assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), out.len() - ETHERNET);
                    assert_eq!(u16::from_be_bytes([ip[4], ip[5]]), 0xffff_u16.wrapping_add(index as u16));
                    assert_eq!(fold(sum(ip)), 0xffff, "the header's checksum");
                }
                let addresses = if is_v6 { &ip[8..40] } else { &ip[12..20] };
                let protocol = u32::from(if is_tcp { TCP } else { UDP });
                let pseudo = sum(addresses) + protocol + transport.len() as u32;
                assert_eq!(fold(pseudo + sum(transport)), 0xffff, "the transport's checksum");
                if is_tcp {
                    let sequence = u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
                    assert_eq!(sequence, 0xffff_fffe_u32.wrapping_add(100 * index as u32));
                    assert_eq!(transport[13], [0x90, 0x10, 0x19][index], "CWR first, FIN and PSH last");
                } else {
                    assert_eq!(usize::from(u16::from_be_bytes([transport[4], transport[5]])), transport.len());
                }
                assert_eq!(head[..12], packet[..12]);
            }
        }
    }

    #[test]
    fn a_checksum_is_completed_from_the_pseudo_headers_sum_behind_a_tag_too() {
        for moved in [0, 4] {
            let (mut packet, unfinished) = large(false, false, b"odd");
            let (from, at) = (unfinished.transport + moved, unfinished.transport + moved + 6);
            packet.splice(12..12, vec![0x81; moved]);
            let pseudo = sum(&packet[from - 8..from]) + 17 + 11;
            put(&mut packet, at, fold(pseudo));
            assert!(complete_checksum(&mut packet, &unfinished, moved));
            assert_eq!(fold(pseudo + sum(&packet[from..])), 0xffff);
        }
        let (mut packet, unfinished) = large(false, false, b"");
        packet.truncate(unfinished.transport + 7);
        assert!(!complete_checksum(&mut packet, &unfinished, 0), "its place is not in the packet");
    }

    #[test]
    fn sctp_is_known_by_its_number() {
        for (is_v6, at) in [(false, 9), (true, 6)] {
            let (mut packet, unfinished) = large(is_v6, false, b"");
            assert!(has_internet_checksum(&frame(&packet, unfinished)));
            packet[ETHERNET + at] = SCTP;
            assert!(!has_internet_checksum(&frame(&packet, unfinished)));
        }
    }

    proptest! {
        #[test]
        fn whatever_the_headers_say_nothing_is_read_or_written_beside_the_packet(
            (is_v6, is_tcp) in any::<(bool, bool)>(),
            changes in prop::collection::vec((0_usize..90, any::<u8>()), 0..8),
            (network, transport, checksum, size) in (0_usize..100, 0_usize..100, 0_usize..100, 1_usize..300),
            shift in any::<bool>(),
            len in 0_usize..150,
        ) {
            let (mut packet, mut unfinished) = large(is_v6, is_tcp, &[7; 60]);
            for (at, byte) in changes {
                if let Some(place) = packet.get_mut(at) { *place = byte; }
            }
            packet.truncate(len);
            if shift {
                unfinished = Unfinished { transport, checksum, segments: Some(Segments { size, is_tcp }) };
            }
            let frame = Frame { network: if shift { network } else { ETHERNET }, ..frame(&packet, unfinished) };
            has_internet_checksum(&frame);
            if let Some(cut) = Cut::of(&frame, &unfinished) {
                let mut out = Vec::new();
                (0..cut.count()).for_each(|index| cut.write(&packet, index, &mut out));
            }
            let _ = complete_checksum(&mut packet.clone(), &unfinished, 0);
        }
    }
}
