//! Pools whose memory the peer has mapped: what the zero-copy rings of a client post buffers from.

use pmd_core::{Mbuf, Pool};

use super::Place;

/// A shareable pool and the region it is.
#[derive(Debug, Clone)]
pub(crate) struct ExportedPool {
    pub(crate) pool: Pool,
    pub(crate) region: u16,
}

impl ExportedPool {
    /// The place of `data`, if it lies in this pool. The device made sure that the pool is below 4 GiB.
    #[inline(always)]
    pub(crate) fn place_of(&self, data: &[u8]) -> Option<Place> {
        let offset = self.pool.segment().offset_of(data)?;
        Some(Place { region: self.region, offset: offset as u32 })
    }

    /// A copy of a packet, in mbufs of this pool; `None` when it has too few.
    pub(crate) fn copy_of(&self, packet: &Mbuf) -> Option<Mbuf> {
        copy_into(&self.pool, packet)
    }
}

/// A copy of a packet, in mbufs of a pool; `None` when it has too few.
pub(super) fn copy_into(pool: &Pool, packet: &Mbuf) -> Option<Mbuf> {
    let mut copy = pool.alloc()?;
    for mut data in packet.segments() {
        while !data.is_empty() {
            if copy.tailroom() == 0 {
                copy.chain(pool.alloc()?).ok()?;
            }
            let (part, rest) = data.split_at(data.len().min(copy.tailroom()));
            copy.append(part.len())?.copy_from_slice(part);
            data = rest;
        }
    }
    copy.set_port(packet.port());
    Some(copy)
}
