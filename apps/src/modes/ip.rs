//! IP headers behind an Ethernet header, read with doubt: what contradicts itself or the packet is malformed (RFC 1812,
//! section 5.2.2).
//!
//! Headers must lie in the packet's first segment. Bytes behind the IP packet are Ethernet's padding. VLAN tags are not
//! looked behind.

use pmd_core::Mbuf;
use pmd_core::checksum::{changed, fold, sum};

use super::drops::Reason;

/// Bytes of the Ethernet header.
const ETHERNET: usize = 14;

/// Bytes of an IPv4 header without options.
const V4_MIN: usize = 20;

/// Bytes of an IPv6 header.
const V6: usize = 40;

/// An IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    V4(V4Header),
    V6(V6Header),
}

/// What we need of an IPv4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct V4Header {
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) protocol: u8,
    pub(super) ttl: u8,
    /// Whether the packet is a fragment that does not begin with the header of its transport protocol.
    pub(super) is_later_fragment: bool,
    /// The transport header in the frame: from here to the end of the IP packet, as far as the first segment goes.
    pub(super) payload: (usize, usize),
}

/// What we need of an IPv6 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct V6Header {
    pub(super) destination: u128,
    pub(super) hop_limit: u8,
}

/// Reads the IP header of a frame.
///
/// # Errors
/// [`Reason::NotIp`] or [`Reason::Malformed`].
#[inline]
pub(super) fn read(packet: &Mbuf) -> Result<Header, Reason> {
    let (frame, length) = (packet.data(), packet.packet_len());
    match frame.get(12..ETHERNET) {
        Some([0x08, 0x00]) => read_v4(frame, length).map(Header::V4),
        Some([0x86, 0xdd]) => read_v6(frame, length).map(Header::V6),
        _ => Err(Reason::NotIp),
    }
}

/// `length`: bytes of the whole frame, of which `frame` is the first segment.
#[inline]
fn read_v4(frame: &[u8], length: usize) -> Result<V4Header, Reason> {
    let ip = &frame[ETHERNET..];
    let fixed = ip.first_chunk::<V4_MIN>().ok_or(Reason::Malformed)?;
    let header_len = usize::from(fixed[0] & 0xf) * 4;
    let total_len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let whole = fixed[0] >> 4 == 4 && header_len >= V4_MIN && total_len >= header_len;
    let header = ip.get(..header_len).filter(|_| whole && total_len <= length - ETHERNET).ok_or(Reason::Malformed)?;
    if fold(sum(header)) != 0xffff {
        return Err(Reason::Malformed);
    }
    let address = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    Ok(V4Header {
        source: address(12),
        destination: address(16),
        protocol: fixed[9],
        ttl: fixed[8],
        is_later_fragment: u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff != 0,
        payload: (ETHERNET + header_len, (ETHERNET + total_len).min(frame.len())),
    })
}

#[inline]
fn read_v6(frame: &[u8], length: usize) -> Result<V6Header, Reason> {
    let header = frame[ETHERNET..].first_chunk::<V6>().ok_or(Reason::Malformed)?;
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || payload_len > length - ETHERNET - V6 {
        return Err(Reason::Malformed);
    }
    let (_, destination) = header.split_at(24);
    let destination = destination.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
    Ok(V6Header { destination, hop_limit: header[7] })
}

impl V4Header {
    /// Takes one hop off the frame that this is the header of, which allows one.
    #[inline]
    pub(super) fn take_hop(self, frame: &mut [u8]) {
        let ip = &mut frame[ETHERNET..];
        let before = u16::from_be_bytes([ip[8], ip[9]]);
        let checksum = changed(u16::from_be_bytes([ip[10], ip[11]]), before, before.wrapping_sub(0x0100));
        ip[8] = self.ttl.wrapping_sub(1);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

impl V6Header {
    /// Takes one hop off the frame that this is the header of, which allows one.
    #[inline]
    pub(super) fn take_hop(self, frame: &mut [u8]) {
        frame[ETHERNET + 7] = self.hop_limit.wrapping_sub(1);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use pmd_core::{Pool, PoolConfig};
    use proptest::prelude::*;

    use super::*;

    /// A frame with an IPv4 header of `options` bytes of options and a valid checksum, and a UDP header behind it.
    pub(in super::super) fn v4_frame(destination: u32, ttl: u8, options: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];
        let header_len = V4_MIN + options;
        let total_len = header_len as u16 + 20;
        frame.push(0x40 | (header_len / 4) as u8);
        frame.push(0);
        frame.extend(total_len.to_be_bytes());
        frame.extend([0, 1, 0, 0, ttl, 17, 0, 0]);
        frame.extend([198, 18, 0, 1]);
        frame.extend(destination.to_be_bytes());
        frame.resize(ETHERNET + header_len, 1);
        set_checksum(&mut frame);
        frame.extend([0x03, 0xe8, 0x00, 0x35]);
        frame.resize((ETHERNET + usize::from(total_len)).max(60), 0);
        frame
    }

    /// Makes the header's checksum right again.
    pub(in super::super) fn set_checksum(frame: &mut [u8]) {
        let header_end = ETHERNET + usize::from(frame[ETHERNET] & 0xf) * 4;
        frame[24..26].fill(0);
        let checksum = !fold(sum(&frame[ETHERNET..header_end.min(frame.len())]));
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }

    /// A frame with an IPv6 header and nothing behind it.
    pub(in super::super) fn v6_frame(destination: u128, hop_limit: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 6, 59, hop_limit];
        frame.extend([0x20; 16]);
        frame.extend(destination.to_be_bytes());
        frame.resize(60, 0);
        frame
    }

    fn read_bytes(frame: &[u8]) -> Result<Header, Reason> {
        let pool = Pool::new(&PoolConfig { size: 1, data_room: 2048, ..PoolConfig::default() }).unwrap();
        let mut packet = pool.alloc().unwrap();
        packet.append(frame.len()).unwrap().copy_from_slice(frame);
        read(&packet)
    }

    fn broken(change: impl FnOnce(&mut Vec<u8>)) -> Result<Header, Reason> {
        let mut frame = v4_frame(0x0a00_0001, 64, 0);
        change(&mut frame);
        read_bytes(&frame)
    }

    #[test]
    fn a_header_is_read_with_and_without_options() {
        for options in [0, 4, 40] {
            let Ok(Header::V4(header)) = read_bytes(&v4_frame(0x0a00_0001, 64, options)) else { panic!("IPv4") };
            assert_eq!((header.destination, header.ttl, header.protocol), (0x0a00_0001, 64, 17));
            assert_eq!(header.payload, (34 + options, 54 + options));
        }
        assert_eq!(read_bytes(&v6_frame(7, 3)), Ok(Header::V6(V6Header { destination: 7, hop_limit: 3 })));
    }

    #[test]
    fn what_contradicts_itself_is_malformed() {
        type Change = fn(&mut Vec<u8>);
        let changes: [(&str, Change); 7] = [
            ("version", |frame| frame[14] = 0x65),
            ("header shorter than 20 bytes", |frame| frame[14] = 0x44),
            ("header longer than the packet", |frame| frame[14] = 0x4f),
            ("shorter than its header", |frame| frame[16..18].copy_from_slice(&[0, 19])),
            ("longer than the frame", |frame| frame[16..18].copy_from_slice(&[0, 47])),
            ("cut short", |frame| frame.truncate(33)),
            ("ends behind Ethernet", |frame| frame.truncate(14)),
        ];
        for (what, change) in changes {
            let result = broken(|frame| {
                change(frame);
                if frame.len() > 40 && frame[14] & 0xf >= 5 {
                    // It is not the checksum that gives it away.
                    set_checksum(frame);
                }
            });
            assert_eq!(result, Err(Reason::Malformed), "{what}");
        }
        assert_eq!(broken(|frame| frame[25] ^= 1), Err(Reason::Malformed), "checksum");
        assert_eq!(broken(|frame| frame[12] = 0x81), Err(Reason::NotIp));
        assert_eq!(broken(|frame| frame.truncate(13)), Err(Reason::NotIp));
        let mut long = v6_frame(7, 3);
        long[19] = 7;
        assert_eq!(read_bytes(&long), Err(Reason::Malformed), "an IPv6 payload longer than the frame");
    }

    proptest! {
        #[test]
        fn a_hop_keeps_the_checksum_right(destination: u32, ttl in 2..=255_u8, words in 0..=10_usize, id: u16) {
            let mut frame = v4_frame(destination, ttl, words * 4);
            frame[18..20].copy_from_slice(&id.to_be_bytes());
            set_checksum(&mut frame);
            let Ok(Header::V4(header)) = read_bytes(&frame) else { panic!("IPv4") };
            header.take_hop(&mut frame);
            let mut afresh = frame.clone();
            set_checksum(&mut afresh);
            prop_assert_eq!(&frame, &afresh);
            prop_assert_eq!(read_bytes(&frame), Ok(Header::V4(V4Header { ttl: ttl - 1, ..header })));
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 1..120), v4: bool) {
            if let Some(ethertype) = bytes.get_mut(12..14) {
                ethertype.copy_from_slice(if v4 { &[8, 0] } else { &[0x86, 0xdd] });
            }
            if let Some(version) = bytes.get_mut(14) {
                *version = if v4 { 0x40 | *version & 0xf } else { 0x60 };
            }
            if let Ok(Header::V4(header)) = read_bytes(&bytes) {
                let (start, end) = header.payload;
                prop_assert!(start <= end && end <= bytes.len());
            }
        }
    }
}
