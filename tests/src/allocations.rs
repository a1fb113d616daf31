//! An allocator that counts, to show that a hot path allocates nothing.
//!
//! A test program makes it its `#[global_allocator]` and runs what it is about in [`count`]. It is alone in its file then,
//! because the allocator is the whole process's.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting what threads ask of it while they are in [`count`].
#[derive(Debug, Clone, Copy)]
pub struct Counting;

thread_local! {
    static COUNTED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// How often the calling thread allocates in `work`, with what that gives.
pub fn count<T>(work: impl FnOnce() -> T) -> (u64, T) {
    COUNTED.set(Some(0));
    let outcome = work();
    (COUNTED.take().unwrap_or_default(), outcome)
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNTED.try_with(|counted| counted.set(counted.get().map(|n| n + 1)));
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) };
    }
}
