//! One ring of an AF_XDP socket, in memory that the kernel shares with us.
//!
//! ```text
//!   producer | consumer | flags | entries (2^n) ...       at offsets that the kernel tells
//! ```
//!
//! This file owns `unsafe`: the words are shared with the kernel, which runs at the same time. Indices and flags are
//! atomics. An entry is plain numbers, which its owner alone accesses: who that is, the indices say, released by one side
//! and acquired by the other. A kernel that broke that rule could change numbers under us; they are checked before they
//! are used as places, whoever wrote them.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::MmapRaw;
use nix::libc;

/// What a ring's entries are.
///
/// # Safety
/// Plain numbers without padding: every pattern of bits is a value.
pub(crate) unsafe trait Entry: Copy + Default + Send {}

// SAFETY: a number.
unsafe impl Entry for u64 {}

/// A packet, `struct xdp_desc`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Descriptor {
    /// Where it lies in the umem.
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) options: u32,
}

// SAFETY: numbers of 8, 4 and 4 bytes: no padding.
unsafe impl Entry for Descriptor {}

/// Where the parts of a ring lie in its mapping, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layout {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
    pub(crate) flags: usize,
    pub(crate) entries: usize,
}

impl Layout {
    /// Bytes of a ring of `size` entries.
    pub(crate) fn bytes<T: Entry>(&self, size: u32) -> usize {
        self.entries.saturating_add(size as usize * size_of::<T>())
    }
}

/// A mapped ring.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
    /// Owns what the pointers point into.
    _map: MmapRaw,
    life: PhantomData<T>,
}

// SAFETY: the pointers point into the mapping, which moves along; entries are `Send`.
unsafe impl<T: Entry> Send for Ring<T> {}

impl<T: Entry> Ring<T> {
    /// The ring of `size` entries in `map`; `None` when its parts do not lie inside, or not where such words can.
    pub(crate) fn new(map: MmapRaw, layout: Layout, size: u32) -> Option<Self> {
        let base = NonNull::new(map.as_mut_ptr())?;
        let word = |offset: usize| {
            let inside = offset.is_multiple_of(align_of::<AtomicU32>()) && offset.checked_add(4)? <= map.len();
            // SAFETY: inside the mapping, as was just checked.
            inside.then(|| unsafe { base.add(offset) }.cast::<AtomicU32>())
        };
        let fits = layout.bytes::<T>(size) <= map.len() && layout.entries.is_multiple_of(align_of::<T>());
        if !size.is_power_of_two() || !fits {
            return None;
        }
        let (producer, consumer, flags) = (word(layout.producer)?, word(layout.consumer)?, word(layout.flags)?);
        // SAFETY: inside the mapping, as was just checked.
        let entries = unsafe { base.add(layout.entries) }.cast::<T>();
        Some(Self { producer, consumer, flags, entries, mask: size - 1, _map: map, life: PhantomData })
    }

    /// Number of entries.
    #[inline(always)]
    pub(crate) fn size(&self) -> u32 {
        self.mask + 1
    }

    #[inline(always)]
    fn word(word: &NonNull<AtomicU32>) -> &AtomicU32 {
        // SAFETY: it points to four aligned bytes of the mapping, which lives as long as the ring whose field it is; whoever
        // accesses them, the kernel included, does so atomically.
        unsafe { word.as_ref() }
    }

    /// Entries produced since the beginning, Acquire: the entries before it may be read.
    #[inline(always)]
    pub(crate) fn producer(&self) -> u32 {
        Self::word(&self.producer).load(Ordering::Acquire)
    }

    /// Publishes what was written. Only for the producer.
    #[inline(always)]
    pub(crate) fn set_producer(&self, index: u32) {
        Self::word(&self.producer).store(index, Ordering::Release);
    }

    /// Entries consumed since the beginning, Acquire: the places before it may be written again.
    #[inline(always)]
    pub(crate) fn consumer(&self) -> u32 {
        Self::word(&self.consumer).load(Ordering::Acquire)
    }

    /// Gives back what was read. Only for the consumer.
    #[inline(always)]
    pub(crate) fn set_consumer(&self, index: u32) {
        Self::word(&self.consumer).store(index, Ordering::Release);
    }

    /// The ring's flags, `XDP_RING_NEED_WAKEUP`.
    #[inline(always)]
    pub(crate) fn flags(&self) -> u32 {
        Self::word(&self.flags).load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn set_flags(&self, flags: u32) {
        Self::word(&self.flags).store(flags, Ordering::Relaxed);
    }

    /// The entry at a free-running index.
    #[inline(always)]
    pub(crate) fn read(&self, index: u32) -> T {
        // SAFETY: masked, so inside the entries; every pattern of bits is a value of T. Volatile: read once, whatever the
        // other side does meanwhile.
        unsafe { self.entries.add((index & self.mask) as usize).read_volatile() }
    }

    /// Writes the entry at a free-running index.
    #[inline(always)]
    pub(crate) fn write(&self, index: u32, entry: T) {
        // SAFETY: masked, so inside the entries, which only numbers are read from.
        unsafe { self.entries.add((index & self.mask) as usize).write_volatile(entry) };
    }
}

/// Whether the flags of a ring ask for a wake-up.
#[inline(always)]
pub(crate) fn asks_for_wakeup(flags: u32) -> bool {
    flags & libc::XDP_RING_NEED_WAKEUP != 0
}

#[cfg(test)]
impl<T: Entry> Ring<T> {
    /// A ring on memory of nobody else's: two views of it, ours and the kernel's.
    pub(crate) fn pair(size: u32) -> (Self, Self) {
        let layout = Layout { producer: 0, consumer: 64, flags: 128, entries: 192 };
        let file = pmd_core::pool::sealed_memfd(c"ring", 1 << 16, pmd_core::deployment::PageSize::Small).unwrap();
        let map = || memmap2::MmapOptions::new().len(1 << 16).map_raw(&file).unwrap();
        let ring = || Self::new(map(), layout, size).unwrap();
        (ring(), ring())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(len: usize) -> MmapRaw {
        memmap2::MmapOptions::new().len(len).map_anon().unwrap().into()
    }

    #[test]
    fn a_ring_must_lie_inside_its_mapping() {
        let good = Layout { producer: 0, consumer: 64, flags: 128, entries: 192 };
        assert!(Ring::<u64>::new(map(4096), good, 256).is_some());
        let bad = [
            (good, 3),
            (good, 0),
            (good, 1024),
            (Layout { producer: 4094, ..good }, 16),
            (Layout { consumer: 2, ..good }, 16),
            (Layout { flags: usize::MAX - 3, ..good }, 16),
            (Layout { entries: 4100, ..good }, 16),
            (Layout { entries: 196, ..good }, 16),
            (Layout { entries: usize::MAX - 7, ..good }, 16),
        ];
        for (layout, size) in bad {
            assert!(Ring::<u64>::new(map(4096), layout, size).is_none(), "{layout:?}, {size}");
        }
    }
}
