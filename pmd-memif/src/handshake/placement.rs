//! Where rings lie in their regions, and the rules for it.
//!
//! ```text
//!   offset: | cookie flags head .. | tail .. | descriptor 0 | descriptor 1 | ..
//!           |<---- cache line ---->|<------->|<--------- 16 << log2 --------->|
//! ```
//!
//! Headers are aligned to 4 bytes, not to a cache line: peers pack rings of 2 slots without rounding. Two rings never
//! share a byte, with one exception: CNDP announces the one ring it has twice, with the same place.

use super::{MAX_LOG2_RING_SIZE, MAX_RINGS, Refusal};
use crate::message::{AddRing, Direction};
use crate::ring::RingSize;
use crate::shm::CacheLine;

/// Place and size of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Region that holds it.
    pub(crate) region: u16,
    /// Offset of its header in the region, in bytes.
    pub(crate) offset: u32,
    /// log2 of its slots.
    pub(crate) log2_size: u8,
}

impl Placement {
    /// First byte after the ring, counted from the start of its region. Its size has been checked.
    fn end(&self, cache_line: CacheLine) -> u64 {
        u64::from(self.offset) + cache_line.ring_bytes(RingSize::from_log2(self.log2_size)) as u64
    }

    fn overlaps(&self, other: &Self, cache_line: CacheLine) -> bool {
        self.region == other.region
            && u64::from(self.offset) < other.end(cache_line)
            && u64::from(other.offset) < self.end(cache_line)
    }
}

/// The rings accepted so far.
#[derive(Debug, Default)]
pub(super) struct Rings {
    s2m: Vec<Placement>,
    m2s: Vec<Placement>,
}

impl Rings {
    fn of(&self, direction: Direction) -> &[Placement] {
        match direction {
            Direction::S2m => &self.s2m,
            Direction::M2s => &self.m2s,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.s2m.is_empty() && self.m2s.is_empty()
    }

    /// Takes the ring if it obeys statements 22, 23, 25 and 26; answers with the earlier ring that it repeats, if any.
    pub(super) fn add(
        &mut self,
        ring: &AddRing,
        regions: &[u64],
        cache_line: CacheLine,
    ) -> Result<Option<u16>, Refusal> {
        self.check_order(ring)?;
        check_size(ring)?;
        let placement = Placement { region: ring.region, offset: ring.offset, log2_size: ring.log2_ring_size };
        check_inside(ring, &placement, regions, cache_line)?;
        let repeated = self.repeated(ring.direction, &placement);
        if repeated.is_none() {
            self.check_overlap(ring, &placement, cache_line)?;
        }
        match ring.direction {
            Direction::S2m => self.s2m.push(placement),
            Direction::M2s => self.m2s.push(placement),
        }
        Ok(repeated)
    }

    fn check_order(&self, ring: &AddRing) -> Result<(), Refusal> {
        let AddRing { direction, index, .. } = *ring;
        let next = self.of(direction).len();
        if usize::from(index) != next {
            return Err(Refusal::RingIndex { direction, got: index, next });
        }
        if index >= MAX_RINGS {
            return Err(Refusal::TooManyRings { direction, index });
        }
        Ok(())
    }

    fn repeated(&self, direction: Direction, placement: &Placement) -> Option<u16> {
        let first = self.of(direction).iter().position(|other| other == placement)?;
        u16::try_from(first).ok()
    }

    fn check_overlap(&self, ring: &AddRing, placement: &Placement, cache_line: CacheLine) -> Result<(), Refusal> {
        for other_direction in [Direction::S2m, Direction::M2s] {
            for (other, taken) in (0..).zip(self.of(other_direction)) {
                if placement.overlaps(taken, cache_line) {
                    let AddRing { direction, index, .. } = *ring;
                    return Err(Refusal::RingOverlap { direction, index, other_direction, other });
                }
            }
        }
        Ok(())
    }
}

fn check_size(ring: &AddRing) -> Result<(), Refusal> {
    if ring.private_hdr_size != 0 {
        return Err(Refusal::PrivateHeader(ring.private_hdr_size));
    }
    let AddRing { direction, index, log2_ring_size: log2, .. } = *ring;
    if !(1..=MAX_LOG2_RING_SIZE).contains(&log2) {
        return Err(Refusal::RingSize { direction, index, log2 });
    }
    Ok(())
}

fn check_inside(ring: &AddRing, placement: &Placement, regions: &[u64], cache_line: CacheLine) -> Result<(), Refusal> {
    let AddRing { direction, index, region, offset, .. } = *ring;
    let Some(&region_size) = regions.get(usize::from(region)) else {
        return Err(Refusal::RingRegion { direction, index, region, regions: regions.len() });
    };
    if offset % 4 != 0 {
        return Err(Refusal::RingAlignment { direction, index, offset });
    }
    let end = placement.end(cache_line);
    if end > region_size {
        return Err(Refusal::RingBeyondRegion { direction, index, end, region_size });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S2M: Direction = Direction::S2m;
    const M2S: Direction = Direction::M2s;

    fn ring(direction: Direction, index: u16, offset: u32, log2_ring_size: u8) -> AddRing {
        AddRing { direction, index, region: 0, offset, log2_ring_size, private_hdr_size: 0 }
    }

    /// Adds all; the result of the last.
    fn add(rings: &[AddRing], regions: &[u64]) -> Result<Option<u16>, Refusal> {
        let mut taken = Rings::default();
        let (last, first) = rings.split_last().unwrap();
        for ring in first {
            taken.add(ring, regions, CacheLine::B64).unwrap();
        }
        taken.add(last, regions, CacheLine::B64)
    }

    #[test]
    fn s22_ring_indices_ascend_per_direction() {
        assert_eq!(add(&[ring(S2M, 0, 0, 1), ring(M2S, 0, 160, 1)], &[320]), Ok(None));
        assert_eq!(
            add(&[ring(S2M, 0, 0, 1), ring(S2M, 2, 160, 1)], &[320]),
            Err(Refusal::RingIndex { direction: S2M, got: 2, next: 1 })
        );
        assert_eq!(
            add(&[ring(S2M, 0, 0, 1), ring(S2M, 0, 160, 1)], &[320]),
            Err(Refusal::RingIndex { direction: S2M, got: 0, next: 1 })
        );
    }

    #[test]
    fn s22_only_255_rings_per_direction() {
        let all: Vec<_> = (0..256).map(|i| ring(M2S, i, u32::from(i) * 160, 1)).collect();
        assert_eq!(add(&all[..255], &[1 << 20]), Ok(None));
        assert_eq!(add(&all, &[1 << 20]), Err(Refusal::TooManyRings { direction: M2S, index: 255 }));
    }

    #[test]
    fn s22_exact_repetition_in_one_direction_is_a_duplicate() {
        assert_eq!(add(&[ring(S2M, 0, 160, 1), ring(S2M, 1, 160, 1)], &[320]), Ok(Some(0)));
        assert!(matches!(add(&[ring(S2M, 0, 0, 1), ring(M2S, 0, 0, 1)], &[320]), Err(Refusal::RingOverlap { .. })));
        assert!(matches!(add(&[ring(S2M, 0, 0, 2), ring(S2M, 1, 0, 1)], &[320]), Err(Refusal::RingOverlap { .. })));
    }

    #[test]
    fn s23_private_headers_are_refused() {
        let private = AddRing { private_hdr_size: 8, ..ring(S2M, 0, 0, 1) };
        assert_eq!(add(&[private], &[320]), Err(Refusal::PrivateHeader(8)));
    }

    #[test]
    fn s25_ring_lies_inside_its_region() {
        assert_eq!(add(&[ring(S2M, 0, 0, 10)], &[128 + 16384]), Ok(None));
        assert_eq!(
            add(&[ring(S2M, 0, 0, 10)], &[128 + 16383]),
            Err(Refusal::RingBeyondRegion { direction: S2M, index: 0, end: 16512, region_size: 16511 })
        );
        assert!(matches!(
            add(&[ring(S2M, 0, u32::MAX - 3, 14)], &[u64::from(u32::MAX)]),
            Err(Refusal::RingBeyondRegion { .. })
        ));
        assert_eq!(
            add(&[AddRing { region: 65535, ..ring(S2M, 0, 0, 1) }], &[320]),
            Err(Refusal::RingRegion { direction: S2M, index: 0, region: 65535, regions: 1 })
        );
        assert!(matches!(add(&[ring(S2M, 0, 0, 1)], &[]), Err(Refusal::RingRegion { regions: 0, .. })));
    }

    #[test]
    fn s25_ring_is_aligned_to_four_bytes() {
        assert_eq!(add(&[ring(S2M, 0, 4, 1)], &[320]), Ok(None));
        for offset in [1, 2, 3, 6] {
            assert_eq!(
                add(&[ring(S2M, 0, offset, 1)], &[320]),
                Err(Refusal::RingAlignment { direction: S2M, index: 0, offset })
            );
        }
    }

    #[test]
    fn s25_rings_do_not_overlap() {
        let first = ring(S2M, 0, 160, 1);
        for (offset, fits) in [(0, true), (4, false), (160 + 4, false), (316, false), (320, true)] {
            assert_eq!(add(&[first, ring(M2S, 0, offset, 1)], &[480]).is_ok(), fits, "offset {offset}");
        }
        let elsewhere = AddRing { region: 1, ..ring(M2S, 0, 160, 1) };
        assert_eq!(add(&[first, elsewhere], &[480, 480]), Ok(None));
    }

    #[test]
    fn s26_sizes_are_checked_before_any_shift() {
        for log2 in [0, 15, 16, 31, 32, 64, 255] {
            assert_eq!(
                add(&[ring(S2M, 0, 0, log2)], &[u64::MAX]),
                Err(Refusal::RingSize { direction: S2M, index: 0, log2 })
            );
        }
        for log2 in 1..=14 {
            assert_eq!(add(&[ring(S2M, 0, 0, log2)], &[u64::MAX]), Ok(None));
        }
    }

    #[test]
    fn s39_cache_line_of_128_bytes_makes_the_header_larger() {
        let mut taken = Rings::default();
        assert!(matches!(
            taken.add(&ring(S2M, 0, 0, 1), &[287], CacheLine::B128),
            Err(Refusal::RingBeyondRegion { end: 288, .. })
        ));
        assert_eq!(taken.add(&ring(S2M, 0, 0, 1), &[288], CacheLine::B128), Ok(None));
    }
}
