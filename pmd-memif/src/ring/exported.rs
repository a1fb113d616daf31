//! Pools whose memory the peer has mapped: what the zero-copy rings of a client post buffers from.

use pmd_core::Pool;
use pmd_core::pool::Span;

use super::Place;

/// A shareable pool and the region it is.
#[derive(Debug, Clone)]
pub(crate) struct ExportedPool {
    pub(crate) pool: Pool,
    memory: ExportedMemory,
}

impl ExportedPool {
    /// A pool below 4 GiB as the region of this index.
    pub(crate) fn new(pool: Pool, region: u16) -> Self {
        let memory = ExportedMemory { span: pool.segment().span(), region };
        Self { pool, memory }
    }

    /// A pool that lies in the region of this index, which is mapped at `span`.
    pub(crate) fn in_region(pool: Pool, region: u16, span: Span) -> Self {
        Self { pool, memory: ExportedMemory { span, region } }
    }

    /// Where its memory lies.
    #[inline(always)]
    pub(crate) fn memory(&self) -> ExportedMemory {
        self.memory
    }

    /// The place of `data`, if it lies in this pool.
    #[inline(always)]
    pub(crate) fn place_of(&self, data: &[u8]) -> Option<Place> {
        self.memory.place_of(data)
    }
}

/// The memory of an exported pool: by value, so that a loop over packets keeps it in registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExportedMemory {
    span: Span,
    region: u16,
}

impl ExportedMemory {
    /// The place of `data`, if it lies in it. The device made sure that the pool is below 4 GiB.
    #[inline(always)]
    pub(crate) fn place_of(self, data: &[u8]) -> Option<Place> {
        let offset = self.span.offset_of(data)?;
        Some(Place { region: self.region, offset: offset as u32 })
    }
}
