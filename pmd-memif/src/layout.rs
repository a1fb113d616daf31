//! Where everything lies in the region that a client makes.
//!
//! ```text
//!   region 0:  S2M ring 0 .. | M2S ring 0 .. | pad | buffers of S2M ring 0 | .. | buffers of M2S ring 0 | ..
//! ```
//!
//! Rings are packed without rounding, as every peer does it. Buffers are an odd number of cache lines apart: a stride of
//! 2048 bytes would put the first lines of all packets into a few sets of the CPU's caches, on both sides. Peers go by
//! the descriptors' offsets and do not notice.

use crate::message::Direction;
use crate::ring::{OwnSlots, Place, RingSize};
use crate::shm::CacheLine;

/// Numbers of rings and sizes, from which all places follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) s2m_rings: u16,
    pub(crate) m2s_rings: u16,
    pub(crate) size: RingSize,
    pub(crate) line: CacheLine,
    /// Bytes a buffer holds; `None` when the buffers are mbufs of exported pools, in regions of their own.
    pub(crate) capacity: Option<u32>,
}

impl Layout {
    /// Bytes of the region.
    ///
    /// # Errors
    /// When a buffer would lie beyond the 4 GiB that a descriptor's offset reaches.
    pub(crate) fn region_bytes(&self) -> Result<u64, String> {
        let bytes = self.buffers_at() + self.slots() * u64::from(self.stride());
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
        let before = u64::from(self.number(direction, index)) * u64::from(self.size.get());
        let first = self.buffers_at() + before * u64::from(self.stride());
        Some(OwnSlots { region: 0, first: first as u32, stride: self.stride(), capacity })
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

    fn slots(&self) -> u64 {
        (u64::from(self.s2m_rings) + u64::from(self.m2s_rings)) * u64::from(self.size.get())
    }

    fn stride(&self) -> u32 {
        self.capacity.map_or(0, |capacity| (capacity.div_ceil(64) | 1) * 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(rings: u16, log2: u8, capacity: u32) -> Layout {
        let size = RingSize::from_log2(log2);
        Layout { s2m_rings: rings, m2s_rings: rings, size, line: CacheLine::B64, capacity: Some(capacity) }
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
        let many = layout(3, 14, 100);
        let total = many.region_bytes().unwrap();
        let mut end_of_last = u64::from(many.ring(Direction::M2s, 2).offset) + 128 + 16 * 16384;
        for direction in [Direction::S2m, Direction::M2s] {
            for index in 0..3 {
                let own = many.buffers(direction, index).unwrap();
                for slot in 0..16384 {
                    let at = u64::from(own.place(slot).offset);
                    assert!(at >= end_of_last, "slot {slot} of ring {index} overlaps the one before");
                    end_of_last = at + 100;
                }
            }
        }
        assert!(end_of_last <= total);
    }

    #[test]
    fn more_than_4_gib_is_refused_with_the_way_out() {
        let error = layout(255, 14, 2048).region_bytes().unwrap_err();
        assert!(error.contains("510 rings of 16384 buffers of 2048 bytes") && error.contains("smaller `rsize`"));
        assert!(layout(32, 14, 2048).region_bytes().is_ok());
    }
}
