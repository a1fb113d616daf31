//! The two ends of a ring that are ours: indices kept privately, what the kernel writes clamped.
//!
//! | ring | we are | entries |
//! |---|---|---|
//! | fill | producer | buffers for received packets |
//! | rx | consumer | received packets |
//! | tx | producer | packets to be sent |
//! | completion | consumer | buffers that were sent |
//!
//! No producing end asks whether there is room: there never are more buffers with the kernel than its rings have entries,
//! and the halves of a queue see to that ([`crate::rx`], [`crate::tx`]).

use crate::sys::ring::{Entry, Ring, asks_for_wakeup};

/// The end that writes.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    ring: Ring<T>,
    /// Entries written, free-running.
    next: u32,
}

impl<T: Entry> Producer<T> {
    /// Goes on where the ring is.
    pub(crate) fn new(ring: Ring<T>) -> Self {
        let next = ring.producer();
        Self { ring, next }
    }

    /// Number of entries of the ring.
    #[inline(always)]
    pub(crate) fn size(&self) -> usize {
        self.ring.size() as usize
    }

    /// Writes the next entry.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: T) {
        self.ring.write(self.next, entry);
        self.next = self.next.wrapping_add(1);
    }

    /// Lets the kernel see what was written.
    #[inline(always)]
    pub(crate) fn publish(&self) {
        self.ring.set_producer(self.next);
    }

    /// Entries that the kernel has not taken yet.
    #[inline]
    pub(crate) fn pending(&self) -> u32 {
        self.next.wrapping_sub(self.ring.consumer())
    }

    /// Whether the kernel goes on only after a system call.
    #[inline(always)]
    pub(crate) fn needs_wakeup(&self) -> bool {
        asks_for_wakeup(self.ring.flags())
    }
}

/// The end that reads.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    ring: Ring<T>,
    /// Entries read, free-running.
    next: u32,
    /// The kernel's index as last loaded.
    seen: u32,
}

impl<T: Entry> Consumer<T> {
    /// Goes on where the ring is.
    pub(crate) fn new(ring: Ring<T>) -> Self {
        let next = ring.consumer();
        Self { ring, next, seen: next }
    }

    /// How many entries may be read, `wanted` at most. A kernel that claims more than the ring holds is not believed.
    #[inline(always)]
    pub(crate) fn available(&mut self, wanted: usize) -> usize {
        let mut available = self.seen.wrapping_sub(self.next);
        if (available as usize) < wanted {
            self.seen = self.ring.producer();
            available = self.seen.wrapping_sub(self.next);
            if available > self.ring.size() {
                available = 0;
                self.seen = self.next;
            }
        }
        wanted.min(available as usize)
    }

    /// Whether there is nothing to read.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.available(1) == 0
    }

    /// The next entry; [`Self::available`] has said that there is one.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> T {
        let entry = self.ring.read(self.next);
        self.next = self.next.wrapping_add(1);
        entry
    }

    /// Gives the kernel the places of what was read.
    #[inline(always)]
    pub(crate) fn release(&self) {
        self.ring.set_consumer(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_arrive_in_order_also_where_the_indices_wrap() {
        let (ours, theirs) = Ring::<u64>::pair(8);
        for ring in [&ours, &theirs] {
            ring.set_producer(u32::MAX - 2);
            ring.set_consumer(u32::MAX - 2);
        }
        let (mut producer, mut consumer) = (Producer::new(ours), Consumer::new(theirs));
        for round in 0..4_u64 {
            assert!(consumer.is_empty());
            (0..5).for_each(|i| producer.push(round * 10 + i));
            assert!(consumer.is_empty(), "not published yet");
            producer.publish();
            assert_eq!((producer.pending(), consumer.available(3), consumer.available(100)), (5, 3, 5));
            assert_eq!([(); 5].map(|()| consumer.pop()), [0, 1, 2, 3, 4].map(|i| round * 10 + i));
            assert_eq!(producer.pending(), 5, "not released yet");
            consumer.release();
            assert_eq!(producer.pending(), 0);
        }
    }

    #[test]
    fn an_impossible_index_gives_nothing_until_it_is_possible_again() {
        let (kernel, ours) = Ring::<u64>::pair(8);
        let mut consumer = Consumer::new(ours);
        for impossible in [9, 1 << 31, u32::MAX] {
            kernel.set_producer(impossible);
            assert_eq!(consumer.available(256), 0, "{impossible}");
        }
        kernel.set_producer(8);
        assert_eq!(consumer.available(256), 8);
    }

    #[test]
    fn a_producer_sees_whether_the_kernel_wants_to_be_woken() {
        let (ours, kernel) = Ring::<u64>::pair(8);
        let producer = Producer::new(ours);
        assert!(!producer.needs_wakeup());
        kernel.set_flags(1);
        assert!(producer.needs_wakeup());
    }
}
