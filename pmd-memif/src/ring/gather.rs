//! Copying a packet of several segments, or one larger than an mbuf, out of a ring.

use pmd_core::{Mbuf, Pool};

use super::rx::RxTally;
use super::{BadPlace, Descriptor, PACKET_MAX, Place, RingMemory};

/// Why a packet was not copied.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    /// It is broken: drop it and count it here.
    Broken(fn(&mut RxTally) -> &mut u64),
    /// The pool is empty.
    NoMbuf,
}

impl From<BadPlace> for Refusal {
    fn from(bad: BadPlace) -> Self {
        Self::Broken(match bad {
            BadPlace::Region => |tally| &mut tally.bad_region,
            BadPlace::Range => |tally| &mut tally.bad_range,
        })
    }
}

impl Refusal {
    /// Counts it.
    pub(super) fn count(self, tally: &mut RxTally) {
        match self {
            Self::Broken(counter) => *counter(tally) += 1,
            Self::NoMbuf => tally.nombuf += 1,
        }
    }
}

/// Appends the segments to `packet`, over as many mbufs as it takes. Each descriptor was read once; that it belongs to
/// this packet was settled before, whatever its flags say.
pub(super) fn copy_segments(
    memory: &impl RingMemory,
    pool: &Pool,
    packet: &mut Mbuf,
    segment_max: usize,
    descriptors: impl Iterator<Item = Descriptor>,
) -> Result<(), Refusal> {
    for descriptor in descriptors {
        let len = descriptor.length as usize;
        if len == 0 || len > segment_max {
            return Err(Refusal::Broken(|tally| &mut tally.bad_length));
        }
        if packet.packet_len() + len > PACKET_MAX {
            return Err(Refusal::Broken(|tally| &mut tally.too_long));
        }
        copy_segment(memory, pool, packet, descriptor.place(), len)?;
    }
    Ok(())
}

fn copy_segment(
    memory: &impl RingMemory,
    pool: &Pool,
    packet: &mut Mbuf,
    mut place: Place,
    mut left: usize,
) -> Result<(), Refusal> {
    // Checked whole before it is copied in parts, so that the sums below stay inside the region.
    memory.check(place, left)?;
    while left > 0 {
        if packet.tailroom() == 0 {
            let next = pool.alloc().ok_or(Refusal::NoMbuf)?;
            packet.chain(next).map_err(|_| Refusal::NoMbuf)?;
        }
        let part = left.min(packet.tailroom());
        let room = packet.append(part).ok_or(Refusal::NoMbuf)?;
        memory.read(place, part, room)?;
        place.offset += part as u32;
        left -= part;
    }
    Ok(())
}
