//! Packets of several segments, or larger than an mbuf: one snapshot of a chain, and copying it out of a ring.

use pmd_core::{Mbuf, Pool};

use super::rx::RxTally;
use super::{BadPlace, Descriptor, PACKET_MAX, Place, RingMemory, RingSize};

/// The descriptors of one packet, each read once (statement 50): what is judged is what is used, whatever the peer writes
/// meanwhile. Made once per ring, for the longest chain it can hold.
#[derive(Debug)]
pub(super) struct Chain(Vec<Descriptor>);

/// What the next slots of a ring hold.
pub(super) enum Found {
    /// A packet of so many segments.
    Packet(u16),
    /// The beginning of one: its end is not there yet.
    Unfinished,
    /// A chain through all slots of the ring, this many: it can never get its end (statement 53).
    Endless(u16),
}

impl Chain {
    /// For a ring of `size` slots.
    pub(super) fn new(size: RingSize) -> Self {
        Self(Vec::with_capacity(size.get().into()))
    }

    /// One of no ring, in the place of one that is in use.
    pub(super) const EMPTY: Self = Self(Vec::new());

    /// Reads the next packet, of up to `visible` slots; `read` is asked for each of them once, by its distance.
    pub(super) fn read(&mut self, size: RingSize, visible: u16, read: impl Fn(u16) -> Descriptor) -> Found {
        self.0.clear();
        for i in 0..visible {
            let descriptor = read(i);
            self.0.push(descriptor);
            if !descriptor.has_next() {
                return Found::Packet(i + 1);
            }
        }
        if visible == size.get() { Found::Endless(visible) } else { Found::Unfinished }
    }

    /// What [`Self::read`] read.
    pub(super) fn descriptors(&self) -> &[Descriptor] {
        &self.0
    }
}

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

/// Appends the segments to `packet`, over as many mbufs as it takes.
pub(super) fn copy_segments(
    memory: &impl RingMemory,
    pool: &Pool,
    packet: &mut Mbuf,
    segment_max: usize,
    chain: &Chain,
) -> Result<(), Refusal> {
    for descriptor in chain.descriptors() {
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
