//! The packets that checks send: numbered, so that any loss, change or wrong order is seen, and marked, so that they are
//! told apart from what a kernel says on its own.

use crate::checksum::{fold, sum};

/// What packets look like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frame {
    /// Ethernet frames of the local experimental type, 0x88B5.
    #[default]
    Ethernet,
    /// IPv4 packets without an Ethernet header, of the experimental protocol 253.
    Ipv4,
}

/// Bytes of a mark and of a number.
const MARK: [u8; 4] = *b"pmdc";

impl Frame {
    /// Bytes of header, mark and number: a packet of that length or more can be told from any other.
    pub const fn marked_len(self) -> usize {
        self.header_len() + 8
    }

    const fn header_len(self) -> usize {
        match self {
            Self::Ethernet => 14,
            Self::Ipv4 => 20,
        }
    }

    /// Packet number `number`, of `len` bytes.
    pub(super) fn packet(self, number: u32, len: usize) -> Vec<u8> {
        let mut bytes = match self {
            Self::Ethernet => ethernet_header(),
            Self::Ipv4 => ipv4_header(len),
        };
        bytes.extend(MARK);
        bytes.extend(number.to_be_bytes());
        let pattern = (bytes.len()..len).map(|at| (number as usize).wrapping_mul(31).wrapping_add(at * 7) as u8);
        bytes.extend(pattern.collect::<Vec<_>>());
        bytes.truncate(len);
        bytes
    }

    /// The number of a packet, if it is one of ours.
    pub(super) fn number(self, packet: &[u8]) -> Option<u32> {
        let marked = packet.get(self.header_len()..self.marked_len())?;
        let (mark, number) = marked.split_at(MARK.len());
        (mark == MARK).then(|| u32::from_be_bytes([number[0], number[1], number[2], number[3]]))
    }
}

fn ethernet_header() -> Vec<u8> {
    let (to, from, kind) = ([0x02, 0x70, 0x6d, 0x64, 0, 2], [0x02, 0x70, 0x6d, 0x64, 0, 1], [0x88, 0xb5]);
    [&to[..], &from, &kind].concat()
}

/// From 192.0.2.1 to 192.0.2.2, addresses for documentation.
fn ipv4_header(len: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, 253, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let checksum = !fold(sum(&header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_their_length_and_their_number() {
        for frame in [Frame::Ethernet, Frame::Ipv4] {
            for len in [1, frame.marked_len(), 60, 1514, 65535] {
                let packet = frame.packet(7, len);
                let number = (len >= frame.marked_len()).then_some(7);
                assert_eq!((packet.len(), frame.number(&packet)), (len, number));
            }
            assert_eq!(frame.number(&[0; 100]), None);
        }
    }

    #[test]
    fn the_ipv4_header_is_one_that_a_kernel_takes() {
        assert_eq!(fold(sum(&ipv4_header(84))), 0xffff);
    }
}
