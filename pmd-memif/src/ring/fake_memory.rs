//! Ring memory on the heap: what tests and miri run the rings on, and what they corrupt.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{BadPlace, Descriptor, OwnSlots, PacketMemory, Place, RingMemory, RingSize, Slots};
use crate::copy::Copier;

/// A ring with its regions; both ends hold an `Rc` of it.
#[derive(Debug)]
pub(crate) struct FakeRing {
    pub(crate) head: Cell<u16>,
    pub(crate) tail: Cell<u16>,
    pub(crate) flags: Cell<u16>,
    pub(crate) descriptors: Vec<Cell<Descriptor>>,
    pub(crate) regions: Vec<RefCell<Vec<u8>>>,
    pub(crate) interrupts: Cell<u32>,
    /// What the other end does to every descriptor right after it was read; nothing, unless a test says so.
    pub(crate) rewrite: Cell<fn(&mut Descriptor)>,
    /// Reads of descriptors that the other end lets pass before it begins to rewrite.
    pub(crate) let_pass: Cell<u32>,
    /// Whether the ends are two processes.
    apart: bool,
}

impl FakeRing {
    /// A ring of 2^log2 slots with as many buffers, `capacity` bytes each, in region 1, `stride` apart, from offset 8.
    pub(crate) fn new(log2: u8, capacity: u32, stride: u32) -> (Rc<Self>, RingSize, OwnSlots) {
        Self::with_buffers(log2, log2, capacity, stride)
    }

    /// The same with 2^`log2_buffers` buffers; with more of them than slots, the ends are two processes.
    pub(crate) fn with_buffers(
        log2: u8,
        log2_buffers: u8,
        capacity: u32,
        stride: u32,
    ) -> (Rc<Self>, RingSize, OwnSlots) {
        let (size, buffers) = (RingSize::from_log2(log2), 1 << log2_buffers);
        let own = OwnSlots { region: 1, first: 8, stride, capacity, mask: (buffers - 1) as u16, mbufs: 0 };
        let bytes = 8 + buffers * stride as usize + capacity as usize;
        let ring = Self {
            head: Cell::new(0),
            tail: Cell::new(0),
            flags: Cell::new(0),
            descriptors: vec![Cell::new(Descriptor::default()); size.get().into()],
            regions: vec![RefCell::new(Vec::new()), RefCell::new(vec![0; bytes])],
            interrupts: Cell::new(0),
            rewrite: Cell::new(|_| ()),
            let_pass: Cell::new(0),
            apart: log2_buffers > log2,
        };
        (Rc::new(ring), size, own)
    }

    /// The descriptor at a free-running index.
    fn at(&self, index: u16) -> &Cell<Descriptor> {
        &self.descriptors[usize::from(index) & (self.descriptors.len() - 1)]
    }
}

/// A region of any ring memory by its index, by way of the memory itself.
#[derive(Debug)]
pub(crate) struct Through<'a, M>(pub(crate) &'a M, pub(crate) u16);

impl<M> Clone for Through<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Through<'_, M> {}

impl<M: RingMemory> PacketMemory for Through<'_, M> {
    fn read_blocks(self, _copier: impl Copier, offset: u32, room: &mut [u8]) -> Result<(), BadPlace> {
        assert!(!room.is_empty() && room.len().is_multiple_of(64), "{} bytes are no blocks", room.len());
        self.0.read(Place { region: self.1, offset }, room.len(), room)
    }

    fn write(self, _copier: impl Copier, offset: u32, data: &[u8]) -> Result<(), BadPlace> {
        self.0.write(Place { region: self.1, offset }, data)
    }
}

/// The slots of any ring memory from that of an index on, by way of the memory itself.
#[derive(Debug)]
pub(crate) struct SlotsThrough<'a, M> {
    memory: &'a M,
    index: u16,
    count: usize,
}

impl<'a, M> SlotsThrough<'a, M> {
    /// Those of a ring of `size`.
    pub(crate) fn new(memory: &'a M, size: usize, index: u16, most: usize) -> Self {
        Self { memory, index, count: most.min(size - usize::from(index) % size) }
    }

    fn at(self, i: usize) -> u16 {
        assert!(i < self.count, "slot {i} of {}", self.count);
        self.index.wrapping_add(i as u16)
    }
}

impl<M> Clone for SlotsThrough<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for SlotsThrough<'_, M> {}

impl<M: RingMemory> Slots for SlotsThrough<'_, M> {
    fn len(self) -> usize {
        self.count
    }

    fn first(self, count: usize) -> Self {
        assert!(count <= self.count, "{count} slots of {}", self.count);
        Self { count, ..self }
    }

    fn outline(self, i: usize) -> Descriptor {
        Descriptor { offset: 0, ..self.descriptor(i) }
    }

    fn descriptor(self, i: usize) -> Descriptor {
        self.memory.descriptor(self.at(i))
    }

    fn set_descriptor(self, i: usize, descriptor: Descriptor) {
        self.memory.set_descriptor(self.at(i), descriptor);
    }

    fn set_filled(self, i: usize, descriptor: Descriptor) {
        self.memory.set_filled(self.at(i), descriptor);
    }
}

impl RingMemory for Rc<FakeRing> {
    type Packets<'a> = Through<'a, Self>;
    type Slots<'a> = SlotsThrough<'a, Self>;

    fn packets(&self, region: u16) -> Option<Through<'_, Self>> {
        (usize::from(region) < self.regions.len()).then_some(Through(self, region))
    }

    fn slots(&self, index: u16, most: usize) -> SlotsThrough<'_, Self> {
        SlotsThrough::new(self, self.descriptors.len(), index, most)
    }

    fn is_peer_apart(&self) -> bool {
        self.apart
    }

    fn head(&self) -> u16 {
        self.head.get()
    }

    fn tail(&self) -> u16 {
        self.tail.get()
    }

    fn set_head(&self, index: u16) {
        self.head.set(index);
    }

    fn set_tail(&self, index: u16) {
        self.tail.set(index);
    }

    fn flags(&self) -> u16 {
        self.flags.get()
    }

    fn set_flags(&self, flags: u16) {
        self.flags.set(flags);
    }

    fn descriptor(&self, index: u16) -> Descriptor {
        let cell = self.at(index);
        let seen = cell.get();
        if let Some(left) = self.let_pass.get().checked_sub(1) {
            self.let_pass.set(left);
            return seen;
        }
        let mut next = seen;
        self.rewrite.get()(&mut next);
        cell.set(next);
        seen
    }

    fn set_descriptor(&self, index: u16, descriptor: Descriptor) {
        self.at(index).set(descriptor);
    }

    fn set_filled(&self, index: u16, descriptor: Descriptor) {
        let offset = self.at(index).get().offset;
        self.set_descriptor(index, Descriptor { offset, ..descriptor });
    }

    fn clear_flags(&self, index: u16) {
        self.set_descriptor(index, Descriptor { flags: 0, ..self.at(index).get() });
    }

    fn check(&self, place: Place, len: usize) -> Result<(), BadPlace> {
        let region = self.regions.get(usize::from(place.region)).ok_or(BadPlace::Region)?;
        if place.offset as usize + len > region.borrow().len() { Err(BadPlace::Range) } else { Ok(()) }
    }

    fn read(&self, place: Place, len: usize, room: &mut [u8]) -> Result<(), BadPlace> {
        self.check(place, len)?;
        let at = place.offset as usize;
        room[..len].copy_from_slice(&self.regions[usize::from(place.region)].borrow()[at..at + len]);
        Ok(())
    }

    fn write(&self, place: Place, data: &[u8]) -> Result<(), BadPlace> {
        self.check(place, data.len())?;
        let at = place.offset as usize;
        self.regions[usize::from(place.region)].borrow_mut()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn interrupt(&self) -> bool {
        self.interrupts.set(self.interrupts.get() + 1);
        true
    }
}
