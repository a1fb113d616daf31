//! Copies without wide registers: on any machine, and of a few bytes.
//!
//! This file owns `unsafe`; what its callers promise, the head of [`super`] says.

#![allow(unsafe_code)]

use super::Copier;
use super::access::{load, store};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::x86;

/// For machines without wide registers: out of line, one copy at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Narrow {
    /// Every x86-64.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Sse2,
    /// 8 bytes at a time.
    Portable,
}

impl Copier for Narrow {
    #[inline(never)]
    unsafe fn copy(self, dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: in all: passed on from the caller, with the lengths they want; every x86-64 has SSE2.
        unsafe {
            match self {
                _ if len < 16 => copy_below_16(dst, src, len),
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                Self::Sse2 => x86::copy_sse2(dst, src, len),
                Self::Portable => copy_by_words(dst, src, len),
            }
        }
    }

    #[inline(always)]
    unsafe fn copy_blocks(self, dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: passed on from the caller.
        unsafe { self.copy(dst, src, len) };
    }
}

/// # Safety
/// As the head of [`super`] says; `len` is below 16.
#[inline(always)]
pub(super) unsafe fn copy_below_16(dst: *mut u8, src: *const u8, len: usize) {
    // Two overlapping moves of the largest size that fits.
    // SAFETY: the offsets 0 and len - size lie within len; accesses are unaligned.
    unsafe {
        if len >= 8 {
            move_two::<u64>(dst, src, len - 8);
        } else if len >= 4 {
            move_two::<u32>(dst, src, len - 4);
        } else if len >= 2 {
            move_two::<u16>(dst, src, len - 2);
        } else if len == 1 {
            dst.write_volatile(src.read_volatile());
        }
    }
}

/// Moves a `T` at the front and one at offset `last`.
///
/// # Safety
/// As the head of [`super`] says, for `last + size_of::<T>()` bytes.
#[inline(always)]
unsafe fn move_two<T: Copy>(dst: *mut u8, src: *const u8, last: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        let (front, back) = (load::<T>(src), load::<T>(src.add(last)));
        store(dst, front);
        store(dst.add(last), back);
    }
}

/// # Safety
/// As the head of [`super`] says; `len` is at least 8.
pub(super) unsafe fn copy_by_words(dst: *mut u8, src: *const u8, len: usize) {
    let last = len - 8;
    let mut at = 0;
    // SAFETY: every word lies within `len`: at < last in the loop, and the final one begins at `last`.
    unsafe {
        while at < last {
            store::<u64>(dst.add(at), load(src.add(at)));
            at += 8;
        }
        store::<u64>(dst.add(last), load(src.add(last)));
    }
}
