//! Pools whose memory the peer has mapped: what the zero-copy rings of a client post buffers from.

use pmd_core::Pool;

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
}
