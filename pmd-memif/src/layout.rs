//! Where everything lies in the region that a client makes.
//!
//! ```text
//!   region 0:  S2M ring 0 .. | M2S ring 0 .. | pad | buffers of S2M ring 0 | .. | buffers of M2S ring 0 | ..
//! ```
//!
//! Each slot has a buffer. Towards another process, most likely on another CPU, there are more, which are used in turn: a CPU
//! is slow to write to lines that the other's own cache holds, and fast when that has lost them since. Within a process, where
//! one thread may serve both ends, it is the other way round: of one buffer per slot, few are used ([`crate::ring::tx`],
//! [`crate::ring::posted`]).
//!
//! Towards another process, what a client sends from can also be a pool of mbufs, if somebody wants to receive into it
//! ([`crate::shm`]); memory that is never touched costs nothing.
//!
//! Rings are packed without rounding, as every peer does it. Buffers are an odd number of cache lines apart: a stride of
//! 2048 bytes would put the first lines of all packets into a few sets of the CPU's caches, on both sides. Peers go by
//! the descriptors' offsets and do not notice.

use pmd_core::BURST_MAX;
use pmd_core::pool::HEADROOM;

use crate::handshake::Agreed;
use crate::message::Direction;
use crate::ring::resting::MOST_RESTING;
use crate::ring::{OwnSlots, Place, RingSize};
use crate::shm::CacheLine;

/// Most buffers of a ring that has more of them than slots: with packets of 512 bytes, more than a CPU's own cache holds.
pub(crate) const MOST_BUFFERS: u64 = 4096;

/// Bytes of a region up to which there are as many buffers as are best; beyond, there is one for each slot at last.
const MOST_BYTES: u64 = 128 << 20;

/// Numbers of rings and sizes, from which all places follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) s2m_rings: u16,
    pub(crate) m2s_rings: u16,
    pub(crate) size: RingSize,
    pub(crate) line: CacheLine,
    /// Bytes a buffer holds; `None` when the buffers are mbufs of exported pools, in regions of their own.
    pub(crate) capacity: Option<u32>,
    /// Whether rings have more buffers than slots.
    pub(crate) spare: bool,
    /// Whether what is sent from can be a pool.
    pub(crate) pooled: bool,
}

impl Layout {
    /// The layout for a peer that is another process (`apart`), or this one.
    pub(crate) fn new(agreed: Agreed, line: CacheLine, capacity: Option<u32>, apart: bool) -> Self {
        let Agreed { s2m_rings, m2s_rings, log2_ring_size } = agreed;
        let size = RingSize::from_log2(log2_ring_size);
        let least = Self { s2m_rings, m2s_rings, size, line, capacity, spare: false, pooled: false };
        let (more, most) = (Self { spare: true, ..least }, Self { spare: true, pooled: true, ..least });
        [most, more].into_iter().find(|layout| apart && layout.bytes() <= MOST_BYTES).unwrap_or(least)
    }

    /// Bytes of the region.
    ///
    /// # Errors
    /// When a buffer would lie beyond the 4 GiB that a descriptor's offset reaches.
    pub(crate) fn region_bytes(&self) -> Result<u64, String> {
        let bytes = self.bytes();
        if bytes <= u64::from(u32::MAX) {
            return Ok(bytes);
        }
        let (rings, size, each) = (self.s2m_rings + self.m2s_rings, self.size.get(), self.capacity.unwrap_or(0));
        Err(format!(
            "{rings} rings of {size} buffers of {each} bytes need {bytes} bytes, but a memif region reaches 4 GiB: \
             choose a smaller `rsize`, `bsize` or number of queues"
        ))
    }

    /// Where a ring's header begins.
    pub(crate) fn ring(&self, direction: Direction, index: u16) -> Place {
        let offset = u64::from(self.number(direction, index)) * self.line.ring_bytes(self.size) as u64;
        Place { region: 0, offset: offset as u32 }
    }

    /// The buffers of a ring, where they lie behind the rings. All sums are made in 64 bits: more than 65536 slots stay distinct (statement 41).
    pub(crate) fn buffers(&self, direction: Direction, index: u16) -> Option<OwnSlots> {
        let capacity = self.capacity?;
        let of_others = match direction {
            Direction::S2m => 0,
            Direction::M2s => self.bytes_of_buffers(Direction::S2m),
        };
        let (stride, mbufs) = (self.stride(direction), self.mbufs_of_ring(direction));
        let first = self.buffers_at() + of_others + u64::from(index) * self.bytes_of_ring(direction);
        let first = first as u32 + self.headroom(direction);
        let mask = (self.buffers_of_ring(direction) - 1) as u16;
        Some(OwnSlots { region: 0, first, stride, capacity, mask, mbufs: mbufs as u32 })
    }

    fn number(&self, direction: Direction, index: u16) -> u16 {
        match direction {
            Direction::S2m => index,
            Direction::M2s => self.s2m_rings + index,
        }
    }

    fn buffers_at(&self) -> u64 {
        let rings = u64::from(self.s2m_rings) + u64::from(self.m2s_rings);
        (rings * self.line.ring_bytes(self.size) as u64).next_multiple_of(64)
    }

    /// A power of two, like the number of slots.
    fn buffers_of_ring(&self, direction: Direction) -> u64 {
        let slots = u64::from(self.size.get());
        let wanted = match direction {
            _ if !self.spare => slots,
            // Twice as many gain nearly all, and cost nothing where a server lends packets that nobody reads.
            Direction::S2m => 2 * slots,
            Direction::M2s => 4 * slots,
        };
        wanted.min(MOST_BUFFERS).max(slots)
    }

    fn bytes(&self) -> u64 {
        self.buffers_at() + self.bytes_of_buffers(Direction::S2m) + self.bytes_of_buffers(Direction::M2s)
    }

    fn bytes_of_buffers(&self, direction: Direction) -> u64 {
        let rings = match direction {
            Direction::S2m => self.s2m_rings,
            Direction::M2s => self.m2s_rings,
        };
        u64::from(rings) * self.bytes_of_ring(direction)
    }

    fn bytes_of_ring(&self, direction: Direction) -> u64 {
        let buffers = self.buffers_of_ring(direction).max(self.mbufs_of_ring(direction));
        buffers * u64::from(self.stride(direction))
    }

    fn stride(&self, direction: Direction) -> u32 {
        let of_buffer = |capacity: u32| ((self.headroom(direction) + capacity).div_ceil(64) | 1) * 64;
        self.capacity.map_or(0, of_buffer)
    }

    /// Mbufs of the pool that a ring's buffers can be. Beside those that rest, a full ring leaves whole bursts of them, so that
    /// what cannot be sent is dropped, and not left with whom it comes from.
    fn mbufs_of_ring(&self, direction: Direction) -> u64 {
        let enough = u64::from(self.size.get()) + (MOST_RESTING + 2 * BURST_MAX) as u64;
        if direction == Direction::S2m && self.pooled { enough } else { 0 }
    }

    /// Free bytes before a buffer: those that can be mbufs have a headroom.
    fn headroom(&self, direction: Direction) -> u32 {
        if self.mbufs_of_ring(direction) > 0 { HEADROOM as u32 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(rings: u16, log2: u8, capacity: u32) -> Layout {
        towards(false, rings, log2, capacity)
    }

    fn towards(apart: bool, rings: u16, log2: u8, capacity: u32) -> Layout {
        let agreed = Agreed { s2m_rings: rings, m2s_rings: rings, log2_ring_size: log2 };
        Layout::new(agreed, CacheLine::B64, Some(capacity), apart)
    }

    #[test]
    fn rings_are_packed_as_peers_pack_them() {
        let one = layout(1, 10, 2048);
        assert_eq!((one.ring(Direction::S2m, 0).offset, one.ring(Direction::M2s, 0).offset), (0, 16512));
        let small = layout(2, 1, 2048);
        assert_eq!(small.ring(Direction::S2m, 1).offset, 160);
        let wide = Layout { line: CacheLine::B128, ..small };
        assert_eq!(wide.ring(Direction::M2s, 0).offset, 2 * 288);
    }

    #[test]
    fn s41_every_slot_has_a_buffer_of_its_own_beyond_65536_slots() {
        for (many, buffers) in [
            (layout(3, 14, 100), [16384; 2]),
            (towards(true, 3, 14, 100), [16384; 2]),
            (towards(true, 3, 11, 100), [4096; 2]),
            (towards(true, 3, 10, 100), [2048, 4096]),
            (towards(true, 3, 1, 100), [4, 8]),
            (towards(true, 3, 10, 2048), [2048, 4096]),
        ] {
            let total = many.region_bytes().unwrap();
            let mut end_of_last = u64::from(many.ring(Direction::M2s, 3).offset);
            for (direction, buffers) in [Direction::S2m, Direction::M2s].into_iter().zip(buffers) {
                for index in 0..3 {
                    let own = many.buffers(direction, index).unwrap();
                    let mbufs = own.mbufs as usize;
                    let all = OwnSlots { mask: u16::MAX, ..own };
                    for number in 0..mbufs.max(buffers) {
                        let headroom = if mbufs > 0 { HEADROOM as u64 } else { 0 };
                        let at = u64::from(all.place(number).offset);
                        assert!(
                            at >= end_of_last + headroom,
                            "buffer {number} of ring {index} overlaps the one before"
                        );
                        end_of_last = at + u64::from(own.capacity);
                    }
                    assert_eq!(own.place(buffers), own.place(0), "and then it begins again");
                }
            }
            assert!(end_of_last <= total);
        }
    }

    #[test]
    fn there_are_fewer_buffers_where_more_would_take_beyond_128_mib() {
        let bytes = |apart, rings| towards(apart, rings, 10, 2048).region_bytes().unwrap();
        let mbufs = |rings| towards(true, rings, 10, 2048).buffers(Direction::S2m, 0).unwrap().mbufs;
        assert_eq!((mbufs(7), mbufs(8)), (1024 + 2560 + 512, 0));
        assert_eq!(bytes(true, 7) - bytes(false, 7), 7 * (4096 * 2240 + 4096 * 2112 - 2 * 1024 * 2112));
        assert_eq!(bytes(true, 10) - bytes(false, 10), 10 * (1024 + 3 * 1024) * 2112);
        assert_eq!(bytes(true, 11), bytes(false, 11));
        assert_eq!(bytes(true, 255), bytes(false, 255), "what fits without them is not refused for their sake");
    }

    #[test]
    fn more_than_4_gib_is_refused_with_the_way_out() {
        let error = layout(255, 14, 2048).region_bytes().unwrap_err();
        assert!(error.contains("510 rings of 16384 buffers of 2048 bytes") && error.contains("smaller `rsize`"));
        assert!(layout(32, 14, 2048).region_bytes().is_ok());
    }
}
