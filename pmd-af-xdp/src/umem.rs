//! A umem: a pool's memory as the kernel knows it.
//!
//! ```text
//!   pool's segment   | buffer 0        | buffer 1        | ...
//!                    | 256 | packet    |                          received: the kernel leaves 256 bytes in front
//!                    ^ chunk           ^ chunk
//! ```
//!
//! 1. A pool in chunks of a power of two is registered as that: `aligned`. Any other pool, and any pool of an lport with
//!    `unaligned_buffers`, is registered with chunks that may begin anywhere.
//! 2. Without `shared_umem` each socket registers the pool for itself. With it, sockets share one umem: the first registers
//!    it, later ones join it through a socket that is bound already. Each queue has its own fill and completion rings
//!    either way.
//! 3. The kernel keeps the pages of a umem until the last of its sockets is closed.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use pmd_core::{Mbuf, Pool};

use crate::socket::Socket;

/// Bytes that the kernel leaves free before a received packet (XDP_PACKET_HEADROOM).
pub(crate) const KERNEL_HEADROOM: usize = 256;

/// Smallest and largest chunk that the kernel takes.
const CHUNK_MIN: usize = 2048;
const CHUNK_MAX: usize = 4096;

/// In unaligned mode the offset inside a chunk is in the upper 16 bits of an address.
const OFFSET_SHIFT: u32 = 48;

/// A pool as a umem.
#[derive(Debug)]
pub(crate) struct Umem {
    shape: Shape,
    pool: Pool,
    /// The sockets that are bound with it.
    members: Mutex<Vec<Weak<Socket>>>,
}

/// How a pool's memory is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of a buffer that the kernel uses.
    pub(crate) chunk: usize,
    /// Whether chunks may begin anywhere.
    pub(crate) unaligned: bool,
}

impl Shape {
    /// How `pool` can be a umem.
    ///
    /// # Errors
    /// When its buffers are too small.
    pub(crate) fn of(pool: &Pool, unaligned: bool) -> Result<Self, String> {
        let stride = pool.stride();
        let unaligned = unaligned || !stride.is_power_of_two();
        let room = if unaligned { pmd_core::pool::HEADROOM + pool.data_room() } else { stride };
        if room < CHUNK_MIN {
            return Err(format!(
                "the buffers of pool `{}` have {room} bytes, but AF_XDP needs {CHUNK_MIN}: use a `bufsz` of 2 or more",
                pool.name()
            ));
        }
        Ok(Self { chunk: room.min(CHUNK_MAX), unaligned })
    }

    /// Longest packet that can be received into a chunk.
    pub(crate) fn rx_max(self) -> usize {
        self.chunk - KERNEL_HEADROOM
    }

    /// Whether a packet in one segment can be sent from where it lies in its buffer.
    #[inline(always)]
    pub(crate) fn can_send(self, mbuf: &Mbuf) -> bool {
        // A packet must not reach into the next chunk, where a buffer has several.
        let start = if self.unaligned { 0 } else { mbuf.headroom() & (self.chunk - 1) };
        start + mbuf.len() <= self.chunk
    }
}

/// The place in the segment of an address that the kernel tells; the upper bits are 0 in aligned mode.
#[inline(always)]
pub(crate) fn offset_of(address: u64) -> usize {
    let base = address & ((1 << OFFSET_SHIFT) - 1);
    (base + (address >> OFFSET_SHIFT)) as usize
}

impl Umem {
    pub(crate) fn new(pool: Pool, shape: Shape) -> Arc<Self> {
        Arc::new(Self { shape, pool, members: Mutex::default() })
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// A socket that is bound with it, if there is one.
    pub(crate) fn member(&self) -> Option<Arc<Socket>> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.strong_count() > 0);
        members.iter().find_map(Weak::upgrade)
    }

    /// How many sockets are bound with it.
    pub(crate) fn sockets(&self) -> usize {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.iter().filter(|member| member.strong_count() > 0).count()
    }

    /// Adds a socket that has been bound with it.
    pub(crate) fn add_member(&self, socket: &Arc<Socket>) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(socket));
    }
}

/// The umems that sockets share, of all devices of a driver.
#[derive(Debug, Default)]
pub(crate) struct SharedUmems(Mutex<Vec<Weak<Umem>>>);

impl SharedUmems {
    /// The umem of `pool` in this shape.
    pub(crate) fn of(&self, pool: &Pool, shape: Shape) -> Arc<Umem> {
        let mut umems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        umems.retain(|umem| umem.strong_count() > 0);
        let known = umems.iter().filter_map(Weak::upgrade);
        let found = { known }.find(|umem| umem.pool.is_same(pool) && umem.shape == shape);
        found.unwrap_or_else(|| {
            let umem = Umem::new(pool.clone(), shape);
            umems.push(Arc::downgrade(&umem));
            umem
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmd_core::PoolConfig;

    fn pool(data_room: usize, chunked: bool) -> Pool {
        Pool::new(&PoolConfig { size: 4, data_room, chunked, ..PoolConfig::default() }).unwrap()
    }

    #[test]
    fn the_shape_follows_from_the_pool_and_the_wish() {
        let shape = |data_room, chunked, unaligned| {
            Shape::of(&pool(data_room, chunked), unaligned).map(|shape| (shape.chunk, shape.unaligned))
        };
        assert_eq!(shape(2048, true, false), Ok((4096, false)));
        assert_eq!(shape(1920, true, false), Ok((2048, false)));
        assert_eq!(shape(1024, true, true), Ok((2048, true)));
        assert_eq!(shape(2048, false, false), Ok((2176, true)));
        assert_eq!(shape(8192, true, false), Ok((4096, false)), "the kernel takes no larger chunks");
        let error = shape(1024, false, false).unwrap_err();
        assert!(error.contains("1152 bytes") && error.contains("`bufsz` of 2"), "{error}");
    }

    #[test]
    fn a_packet_may_not_reach_into_the_next_chunk_of_its_buffer() {
        let pool = pool(8000, true);
        let shape = Shape::of(&pool, false).unwrap();
        let mut mbuf = pool.alloc().unwrap();
        mbuf.append(3968).unwrap();
        assert!(shape.can_send(&mbuf), "up to the end of the first chunk");
        mbuf.append(1).unwrap();
        assert!(!shape.can_send(&mbuf));
        mbuf.set_received_at(4096, 4096, 0).unwrap();
        assert!(shape.can_send(&mbuf), "the whole second chunk");
        mbuf.set_received_at(4095, 2, 0).unwrap();
        assert!(!shape.can_send(&mbuf));
    }

    #[test]
    fn one_umem_is_shared_by_pool_and_shape() {
        let shared = SharedUmems::default();
        let (a, b) = (pool(2048, true), pool(2048, true));
        let shape = Shape::of(&a, false).unwrap();
        let first = shared.of(&a, shape);
        assert!(Arc::ptr_eq(&first, &shared.of(&a.clone(), shape)));
        assert!(!Arc::ptr_eq(&first, &shared.of(&b, shape)));
        assert!(!Arc::ptr_eq(&first, &shared.of(&a, Shape::of(&a, true).unwrap())));
    }

    #[test]
    fn an_address_has_its_offset_in_the_upper_bits() {
        assert_eq!((offset_of(0x1_1100), offset_of(0x0100_0000_0000_08c0)), (0x1_1100, 0x9c0));
    }
}
