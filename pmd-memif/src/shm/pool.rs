//! The buffers of a ring of ours as a pool of mbufs: what is received into these is sent from where it lies.
//!
//! 1. A client's queue that is told so ([`pmd_core::TxQueue::share_pool`]) gives its ring up for one that sends from a pool, once
//!    for each link.
//! 2. From then on nobody writes to the buffers but through their mbufs.
//! 3. The pool keeps the regions mapped until its last handle is gone and the last mbuf is back.

#![allow(unsafe_code)]

use std::sync::Arc;

use pmd_core::pool::{HEADROOM, Span};
use pmd_core::{Pool, PoolConfig};

use super::ShmRing;
use crate::ring::exported::ExportedPool;
use crate::ring::tx::TxRing;
use crate::ring::tx_zero_copy::ZeroCopyTxRing;
use crate::ring::{OwnSlots, Place};

/// The ring that sends the mbufs that the buffers of `ring` are.
///
/// # Errors
/// `ring` as it was: its buffers cannot be mbufs, or some of them are under way, or there is no memory for headers.
pub(crate) fn over_pool(ring: TxRing<ShmRing, OwnSlots>) -> Result<ZeroCopyTxRing<ShmRing>, TxRing<ShmRing, OwnSlots>> {
    let own = ring.buffers();
    if own.mbufs == 0 || !ring.is_idle() {
        return Err(ring);
    }
    let (region, stride) = (own.region, own.stride as usize);
    let config = PoolConfig {
        name: "memif".into(),
        size: own.mbufs as usize,
        data_room: own.capacity as usize,
        ..PoolConfig::default()
    };
    let regions = Arc::clone(&ring.memory().regions);
    let first = Place { region, offset: own.first - HEADROOM as u32 };
    let (Ok(first), Some(extent)) = (regions.address(first, config.size * stride), regions.extent(region)) else {
        return Err(ring);
    };
    // SAFETY: as many buffers as mbufs, with their headrooms, lie in the region, as just checked; they were zeroed at first, and
    // `regions` keeps them mapped. Only `ring` has written to them so far, which ends here, and its packets are consumed. The peer
    // may write to them at any time: it spoils what is sent to itself, and nobody here reads it.
    match unsafe { Pool::over(&config, first, stride, Box::new(regions)) } {
        Ok(pool) => {
            let whole = Span::new(extent.base, extent.len as usize);
            Ok(ring.into_zero_copy(ExportedPool::in_region(pool, region, whole)))
        }
        Err(_) => Err(ring),
    }
}
