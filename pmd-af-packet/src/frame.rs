//! A frame in a block of the ring: what the kernel says about it, read with care.
//!
//! ```text
//!   block:  header | frame header, address, virtio header, packet | frame header, ... |
//!                    ^at                    tp_mac^                  ^at + tp_next_offset
//! ```
//!
//! The kernel wrote all of it, and is trusted with what it says. Places and lengths are checked against the block all the
//! same: a mistake here is a packet lost, not memory read that is not ours.

use std::mem::offset_of;

use nix::libc;

/// Bytes of the virtio header before a packet: flags, kind of segmentation, length of headers, size of segments, where to
/// begin with the checksum, and where to put it from there.
const VIRTIO_HEADER: usize = 10;

/// The virtio header's flag for a checksum that is yet to be computed.
const NEEDS_CHECKSUM: u8 = 1;

/// The virtio header's kinds of segmentation, without the bit for ECN.
const SEGMENTS_ECN: u8 = 0x80;

/// What a block's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// Frames in the block.
    pub(crate) frames: u32,
    /// Where the first one is.
    pub(crate) first: usize,
}

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The packet, without the VLAN tag that the kernel has taken out of it.
    pub(crate) packet: &'a [u8],
    /// Length of the packet when it came; more than there is of it here, if it was too long for a block.
    pub(crate) full_len: usize,
    /// The tag that was taken out: its protocol and its contents.
    pub(crate) vlan: Option<[u8; 4]>,
    /// Where the network header begins.
    pub(crate) network: usize,
    /// What is still to be done, because the local stack left it to hardware.
    pub(crate) unfinished: Option<Unfinished>,
    /// Where the next frame is, from this one.
    pub(crate) next: usize,
}

/// What the local stack has left to hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// Where the transport header begins, from which on the checksum is computed.
    pub(crate) transport: usize,
    /// Where the checksum is put, from there. The pseudo header's sum stands there.
    pub(crate) checksum: usize,
    /// Into what it is to be cut, if it is more than one packet.
    pub(crate) segments: Option<Segments>,
}

/// A packet that stands for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segments {
    /// Bytes of payload of each but the last; not 0.
    pub(crate) size: usize,
    /// TCP, or else UDP.
    pub(crate) is_tcp: bool,
}

/// Reads the header of a block; `None` when it makes no sense.
#[inline]
pub(crate) fn block_header(block: &[u8]) -> Option<BlockHeader> {
    const HEADER: usize = offset_of!(libc::tpacket_block_desc, hdr);
    let frames = u32_at(block, HEADER + offset_of!(libc::tpacket_hdr_v1, num_pkts))?;
    let first = u32_at(block, HEADER + offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt))?;
    Some(BlockHeader { frames, first: first as usize })
}

/// Reads the frame at `at` of a block; `None` when it makes no sense.
#[inline]
pub(crate) fn frame(block: &[u8], at: usize) -> Option<Frame<'_>> {
    let bytes = block.get(at..)?;
    let word = |offset| u32_at(bytes, offset);
    let half = |offset| u16_at(bytes, offset);
    let mac = usize::from(half(offset_of!(libc::tpacket3_hdr, tp_mac))?);
    let net = usize::from(half(offset_of!(libc::tpacket3_hdr, tp_net))?);
    let len = word(offset_of!(libc::tpacket3_hdr, tp_snaplen))? as usize;
    let status = word(offset_of!(libc::tpacket3_hdr, tp_status))?;
    let packet = bytes.get(mac..mac + len)?;
    let virtio = bytes.get(mac.checked_sub(VIRTIO_HEADER)?..mac)?;
    Some(Frame {
        packet,
        full_len: word(offset_of!(libc::tpacket3_hdr, tp_len))? as usize,
        vlan: if status & libc::TP_STATUS_VLAN_VALID == 0 { None } else { Some(vlan_tag(bytes, status)?) },
        network: net.checked_sub(mac)?,
        unfinished: unfinished(virtio)?,
        next: word(offset_of!(libc::tpacket3_hdr, tp_next_offset))? as usize,
    })
}

#[cold]
fn vlan_tag(bytes: &[u8], status: u32) -> Option<[u8; 4]> {
    const VARIANT: usize = offset_of!(libc::tpacket3_hdr, hv1);
    let contents = u32_at(bytes, VARIANT + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tci))? as u16;
    let named = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let protocol = u16_at(bytes, VARIANT + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tpid))?;
    let [a, b] = if named { protocol } else { libc::ETH_P_8021Q as u16 }.to_be_bytes();
    let [c, d] = contents.to_be_bytes();
    Some([a, b, c, d])
}

/// Reads a virtio header; the outer `None`: it makes no sense.
#[inline]
fn unfinished(virtio: &[u8]) -> Option<Option<Unfinished>> {
    let (flags, kind) = (virtio[0], virtio[1] & !SEGMENTS_ECN);
    if flags & NEEDS_CHECKSUM == 0 {
        // What hardware has joined (LRO) cannot be taken apart again: nothing says where its headers end.
        return if kind == 0 { Some(None) } else { None };
    }
    let number = |offset| u16_at(virtio, offset).map(usize::from);
    let segments = match kind {
        0 => None,
        // VIRTIO_NET_HDR_GSO_TCPV4 and _TCPV6, then _UDP_L4.
        1 | 4 => Some(true),
        5 => Some(false),
        _ => return None,
    };
    let size = number(4)?;
    let segments = segments.map(|is_tcp| Segments { size, is_tcp });
    if segments.is_some() && size == 0 {
        return None;
    }
    Some(Some(Unfinished { transport: number(6)?, checksum: number(8)?, segments }))
}

#[inline(always)]
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[inline(always)]
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block with one frame at 48: its packet, 40 bytes, at 48 + 82.
    fn block(status: u32, vlan: (u16, u16), virtio: [u8; VIRTIO_HEADER]) -> Vec<u8> {
        let mut block = vec![0; 256];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(12, &1_u32.to_ne_bytes());
        put(16, &48_u32.to_ne_bytes());
        let word = |at, number: u32| (48 + at, number.to_ne_bytes());
        for (at, bytes) in [
            word(offset_of!(libc::tpacket3_hdr, tp_next_offset), 128),
            word(offset_of!(libc::tpacket3_hdr, tp_snaplen), 40),
            word(offset_of!(libc::tpacket3_hdr, tp_len), 41),
            word(offset_of!(libc::tpacket3_hdr, tp_status), status),
            word(offset_of!(libc::tpacket3_hdr, hv1) + 4, vlan.1.into()),
        ] {
            put(at, &bytes);
        }
        put(48 + offset_of!(libc::tpacket3_hdr, tp_mac), &82_u16.to_ne_bytes());
        put(48 + offset_of!(libc::tpacket3_hdr, tp_net), &96_u16.to_ne_bytes());
        put(48 + offset_of!(libc::tpacket3_hdr, hv1) + 8, &vlan.0.to_ne_bytes());
        put(48 + 82 - VIRTIO_HEADER, &virtio);
        put(48 + 82, &[9; 40]);
        block
    }

    fn virtio(flags: u8, kind: u8, size: u16, places: [u16; 2]) -> [u8; VIRTIO_HEADER] {
        let mut header = [flags, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        header[4..6].copy_from_slice(&size.to_ne_bytes());
        header[6..8].copy_from_slice(&places[0].to_ne_bytes());
        header[8..10].copy_from_slice(&places[1].to_ne_bytes());
        header
    }

    #[test]
    fn a_frame_is_read_where_its_header_says() {
        let block = block(0, (0, 0), [0; VIRTIO_HEADER]);
        assert_eq!(block_header(&block), Some(BlockHeader { frames: 1, first: 48 }));
        let expected = Frame { packet: &[9; 40], full_len: 41, vlan: None, network: 14, unfinished: None, next: 128 };
        assert_eq!(frame(&block, 48), Some(expected));
        assert_eq!(frame(&block, 256 - 82 - 39), None, "it would end behind the block");
        assert_eq!(frame(&block, usize::MAX), None);
    }

    #[test]
    fn a_vlan_tag_has_its_own_protocol_or_the_usual_one() {
        let tag = |status| frame(&block(status, (0x88a8, 0x2064), [0; VIRTIO_HEADER]), 48).unwrap().vlan;
        assert_eq!(tag(0), None);
        assert_eq!(tag(libc::TP_STATUS_VLAN_VALID), Some([0x81, 0, 0x20, 0x64]));
        let both = libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;
        assert_eq!(tag(both), Some([0x88, 0xa8, 0x20, 0x64]));
    }

    #[test]
    fn what_is_unfinished_is_told_by_the_virtio_header() {
        let read = |flags, kind, size| {
            frame(&block(0, (0, 0), virtio(flags, kind, size, [34, 16])), 48).map(|frame| frame.unfinished)
        };
        let unfinished = |segments| Some(Some(Unfinished { transport: 34, checksum: 16, segments }));
        assert_eq!(read(0, 0, 0), Some(None));
        assert_eq!(read(NEEDS_CHECKSUM, 0, 0), unfinished(None));
        for (kind, is_tcp) in [(1, true), (1 | SEGMENTS_ECN, true), (4, true), (5, false)] {
            assert_eq!(read(NEEDS_CHECKSUM, kind, 1448), unfinished(Some(Segments { size: 1448, is_tcp })));
        }
        for (flags, kind, size) in [(NEEDS_CHECKSUM, 3, 1448), (NEEDS_CHECKSUM, 1, 0), (0, 1, 1448)] {
            assert_eq!(read(flags, kind, size), None, "makes no sense");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_read_beside_the_block(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..400) {
            let _ = (block_header(&bytes), frame(&bytes, at));
        }
    }
}
