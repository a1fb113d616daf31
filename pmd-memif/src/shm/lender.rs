//! Lends packets and buffers of a link's regions where they lie, as mbufs.
//!
//! The places are those of a peer, checked against the regions each time; the headers are ours, one for each slot of the ring.
//! The lender of the headers keeps the regions until the last mbuf is back.

#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use pmd_core::pool::{Lender, LentSegment};
use pmd_core::{Burst, Mbuf, Pool};

use super::{Regions, ShmRing};
use crate::ring::rx_borrow::LendSlots;
use crate::ring::tx_lend::LendBuffers;
use crate::ring::{BadPlace, Descriptor, RingSize};

/// Lends the packets of a peer's ring where they lie, and keeps the regions mapped until the last is back.
#[derive(Debug)]
pub(crate) struct ShmLender {
    regions: Arc<Regions>,
    lender: Lender,
}

impl ShmLender {
    /// For a ring of `size` slots.
    ///
    /// # Errors
    /// When there is no memory for the mbufs' headers.
    pub(crate) fn new(ring: &ShmRing, size: RingSize) -> std::io::Result<Self> {
        let regions = Arc::clone(&ring.regions);
        let lender = Lender::new(size.get().into(), regions.files(), Box::new(Arc::clone(&regions)))?;
        Ok(Self { regions, lender })
    }
}

impl LendSlots for ShmLender {
    fn lend(&mut self, number: u16, descriptor: Descriptor, port: u16) -> Result<Mbuf, BadPlace> {
        let len = descriptor.length as usize;
        let data = self.regions.address(descriptor.place(), len)?;
        // SAFETY: the bytes lie in a region, as just checked, and the regions are what the lender keeps. A ring lends a
        // slot again only when it is back, so no two mbufs come from one slot; a peer that lets two slots overlap, or
        // writes while we read, spoils bytes of its own packets: the trust that `zero-copy=yes` is documented to give.
        Ok(unsafe { self.lender.lend(number.into(), data, len, port) })
    }

    #[inline(always)]
    fn lend_run(
        &mut self,
        numbers: Range<u16>,
        port: u16,
        burst: &mut Burst,
        mut next: impl FnMut(u16) -> Option<Descriptor>,
    ) -> (u16, u64) {
        let Self { regions, lender } = self;
        // Most packets lie in the region of the one before: by value, so that it stays in registers.
        let (mut known, Some(mut extent)) = (0, regions.extent(0)) else { return (0, 0) };
        let next = |i: usize| {
            let Descriptor { region, length, offset, .. } = next(i as u16)?;
            if region != known {
                (known, extent) = (region, regions.extent(region)?);
            }
            Some((extent.address(offset, length as usize).ok()?, length))
        };
        // SAFETY: as in `lend`.
        let (run, bytes) = unsafe { lender.lend_run(numbers.start.into(), numbers.len(), port, burst, next) };
        (run as u16, bytes)
    }

    #[inline(always)]
    fn is_back(&self, number: u16) -> bool {
        self.lender.is_back(number.into())
    }

    #[inline(always)]
    fn all_back(&self) -> bool {
        self.lender.all_back()
    }

    fn copied_into(&self, pool: &Pool) -> u64 {
        self.lender.copied_into(pool)
    }
}

impl LendBuffers for ShmLender {
    fn lend_empty(&mut self, slot: u16, buffer: Descriptor) -> Result<Mbuf, BadPlace> {
        let room = buffer.length as usize;
        let data = self.regions.address(buffer.place(), room)?;
        // SAFETY: as in `lend`; the client has posted the buffer for us to write into.
        Ok(unsafe { self.lender.lend_empty(slot.into(), data, room) })
    }

    #[inline(always)]
    fn segments<'a>(&'a self, packet: &'a Mbuf) -> impl Iterator<Item = Option<LentSegment>> + 'a {
        self.lender.segments(packet)
    }
}
