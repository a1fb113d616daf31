//! The Ethernet addresses at the front of a frame.

use pmd_core::Mbuf;

/// Bytes of an address.
pub(super) const MAC: usize = 6;

/// Bytes of destination and source address.
const ADDRESSES: usize = 2 * MAC;

/// Exchanges destination and source. A frame too short to hold both stays as it is.
#[inline]
pub(super) fn swap_macs(frame: &mut Mbuf) {
    if let Some(addresses) = frame.data_mut().first_chunk_mut::<ADDRESSES>() {
        let (destination, source) = addresses.split_at_mut(MAC);
        destination.swap_with_slice(source);
    }
}

/// The last byte of the destination address; `None` in a frame too short to have one.
#[inline]
pub(super) fn last_octet_of_destination(frame: &Mbuf) -> Option<u8> {
    frame.data().get(5).copied()
}

/// Writes destination and source into a frame that has room for them.
#[inline]
pub(super) fn set_macs(frame: &mut [u8], destination: [u8; MAC], source: [u8; MAC]) {
    frame[..MAC].copy_from_slice(&destination);
    frame[MAC..ADDRESSES].copy_from_slice(&source);
}
