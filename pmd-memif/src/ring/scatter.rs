//! Packets of several segments, or larger than a buffer: which slots of a ring they take, and copying them there.

use pmd_core::Mbuf;

use super::tx::TxFault;
use super::{DESC_NEXT, Descriptor, RingMemory, RingSize};

/// The slots of one packet: each read once (statement 50), with the length and flags that it gets. Made once per ring, for the
/// longest packet it can hold.
#[derive(Debug, Default)]
pub(super) struct Plan(Vec<Descriptor>);

impl Plan {
    /// For a ring of `size` slots.
    pub(super) fn new(size: RingSize) -> Self {
        Self(Vec::with_capacity(size.get().into()))
    }

    /// Takes as many of the free `buffers` as `len` bytes need: how many, or `None` when they do not suffice. `segment_max`: bytes
    /// put into one of them at most.
    ///
    /// # Errors
    /// When the client has posted one that is unusable.
    pub(super) fn choose(
        &mut self,
        memory: &impl RingMemory,
        segment_max: u32,
        len: usize,
        buffers: impl Iterator<Item = Descriptor>,
    ) -> Result<Option<u16>, TxFault> {
        self.0.clear();
        let mut left = len as u32;
        for mut buffer in buffers {
            if buffer.length == 0 {
                return Err(TxFault::NoCapacity);
            }
            buffer.length = buffer.length.min(segment_max).min(left);
            if memory.check(buffer.place(), buffer.length as usize).is_err() {
                return Err(TxFault::BadPlace);
            }
            left -= buffer.length;
            buffer.flags = if left > 0 { DESC_NEXT } else { 0 };
            self.0.push(buffer);
            if left == 0 {
                return Ok(Some(self.0.len() as u16));
            }
        }
        Ok(None)
    }

    /// The region of the first slot.
    pub(super) fn region(&self) -> Option<u16> {
        self.0.first().map(|buffer| buffer.region)
    }

    /// Copies a packet into the slots that were chosen for its length. `describe` gets each of them, with its place among them.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(super) fn write(
        &self,
        memory: &impl RingMemory,
        mbuf: &Mbuf,
        mut describe: impl FnMut(u16, Descriptor),
    ) -> Result<(), TxFault> {
        let mut segments = mbuf.segments();
        let mut data: &[u8] = &[];
        for (i, planned) in self.0.iter().enumerate() {
            let (mut place, mut left) = (planned.place(), planned.length as usize);
            while left > 0 {
                if data.is_empty() {
                    let Some(segment) = segments.next() else { break };
                    data = segment;
                    continue;
                }
                let (part, rest) = data.split_at(left.min(data.len()));
                memory.write(place, part).map_err(|_| TxFault::BadPlace)?;
                place.offset += part.len() as u32;
                left -= part.len();
                data = rest;
            }
            describe(i as u16, *planned);
        }
        Ok(())
    }
}
