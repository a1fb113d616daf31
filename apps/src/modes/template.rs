//! The frame that the generating modes send: Ethernet, IPv4 and UDP with correct lengths and checksums, a sequence number
//! in front of the payload.
//!
//! ```text
//!   0 Ethernet 14   14 IPv4 20   34 UDP 8   42 sequence number, big endian 8   50 zeros
//! ```
//!
//! The addresses are those of RFC 2544's benchmarking network, 198.18.0.1 to 198.18.0.2; the port is discard.

use pmd_core::checksum::{fold, sum};

/// Smallest size of a frame: Ethernet's minimum without FCS.
pub(crate) const SIZE_MIN: usize = 60;

/// Largest size of a frame.
pub(crate) const SIZE_MAX: usize = 9216;

const IP: usize = 14;
const UDP: usize = 34;
const SEQUENCE: usize = 42;
/// Bytes of headers and sequence number.
const HEAD: usize = 50;

const DISCARD_PORT: u16 = 9;

/// A frame of one size, but for its sequence number.
#[derive(Debug)]
pub(crate) struct Template {
    size: usize,
    head: [u8; HEAD],
    /// Sum of everything UDP's checksum covers, without the sequence number.
    udp_sum: u32,
}

impl Template {
    /// A frame of `size` bytes, [`SIZE_MIN`] to [`SIZE_MAX`], to `destination`, from `source`.
    pub(crate) fn new(size: usize, destination: [u8; 6], source: [u8; 6]) -> Self {
        let mut head = [0; HEAD];
        head[..6].copy_from_slice(&destination);
        head[6..12].copy_from_slice(&source);
        head[12..14].copy_from_slice(&[0x08, 0x00]);
        let (ip_len, udp_len) = ((size - IP) as u16, (size - UDP) as u16);
        let ip = &mut head[IP..UDP];
        // Version 4, header of 5 words; do not fragment; 64 hops; UDP.
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&ip_len.to_be_bytes());
        ip[6..10].copy_from_slice(&[0x40, 0x00, 64, 17]);
        ip[12..20].copy_from_slice(&[198, 18, 0, 1, 198, 18, 0, 2]);
        let ip_checksum = !fold(sum(ip));
        ip[10..12].copy_from_slice(&ip_checksum.to_be_bytes());
        // The pseudo header: addresses, protocol, length.
        let pseudo = sum(&ip[12..20]) + 17 + u32::from(udp_len);
        let udp = &mut head[UDP..SEQUENCE];
        udp[0..2].copy_from_slice(&DISCARD_PORT.to_be_bytes());
        udp[2..4].copy_from_slice(&DISCARD_PORT.to_be_bytes());
        udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
        let udp_sum = pseudo + sum(udp);
        Self { size, head, udp_sum }
    }

    /// Bytes of the frame.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Writes the headers and `sequence` to the front of `frame`, which holds at least 50 bytes.
    #[inline]
    pub(crate) fn write(&self, frame: &mut [u8], sequence: u64) {
        let head = &mut frame[..HEAD];
        head.copy_from_slice(&self.head);
        let number = sequence.to_be_bytes();
        let checksum = match !fold(self.udp_sum + sum(&number)) {
            // Zero would say "no checksum".
            0 => 0xffff,
            checksum => checksum,
        };
        head[UDP + 6..UDP + 8].copy_from_slice(&checksum.to_be_bytes());
        head[SEQUENCE..HEAD].copy_from_slice(&number);
    }

    /// Bytes in front of the payload, which is all zeros.
    pub(super) const fn head_len() -> usize {
        HEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(size: usize, sequence: u64) -> Vec<u8> {
        let mut frame = vec![0; size];
        Template::new(size, [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).write(&mut frame, sequence);
        frame
    }

    /// What a receiver computes over the pseudo header and everything UDP: all ones when the checksum is right.
    fn udp_verdict(frame: &[u8]) -> u16 {
        let udp = &frame[UDP..];
        fold(sum(&frame[26..34]) + 17 + udp.len() as u32 + sum(udp))
    }

    #[test]
    fn lengths_and_checksums_are_right_for_every_size_and_number() {
        for size in [60, 61, 64, 512, 1518, 9216] {
            for sequence in [0, 1, 0xffff, 0x1234_5678_9abc_def0, u64::MAX] {
                let frame = frame(size, sequence);
                assert_eq!(fold(sum(&frame[IP..UDP])), 0xffff, "IPv4 checksum");
                assert_eq!(udp_verdict(&frame), 0xffff, "UDP checksum of {size} bytes, number {sequence}");
                assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), size - 14);
                assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), size - 34);
                assert_eq!(frame[42..50], sequence.to_be_bytes());
            }
        }
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        // One of any 65536 successive numbers makes the sum all ones.
        let checksum = |sequence| -> u16 {
            let frame = frame(60, sequence);
            u16::from_be_bytes([frame[40], frame[41]])
        };
        assert!((0..65536).map(checksum).all(|checksum| checksum != 0));
    }
}
