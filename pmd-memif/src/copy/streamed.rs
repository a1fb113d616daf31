//! Copies past the caches, for a reader whose CPU shares none with ours (`ring/ways.rs` tells when).
//!
//! This file owns `unsafe`; what its callers promise, the head of [`super`] says.

#![allow(unsafe_code)]

use super::Copier;
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use super::narrow::copy_by_words;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::x86;

/// Copies past the caches what begins and goes on in whole lines of the target, and the rest with another copier. Who published
/// what it wrote calls [`Self::fence`] first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streamed<C>(pub(crate) C);

impl Streamed<()> {
    /// Makes what was copied past the caches visible to whoever sees a later store.
    #[inline(always)]
    pub(crate) fn fence() {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: every x86-64 has the instruction.
        unsafe {
            std::arch::x86_64::_mm_sfence();
        }
    }
}

impl<C: Copier> Copier for Streamed<C> {
    #[inline(always)]
    unsafe fn copy(self, dst: *mut u8, src: *const u8, len: usize) {
        let lines = if dst.addr().is_multiple_of(64) { len & !63 } else { 0 };
        // SAFETY: passed on from the caller: the lines, and what is behind them.
        unsafe {
            if lines > 0 {
                stream_lines(dst, src, lines);
            }
            self.0.copy(dst.add(lines), src.add(lines), len - lines);
        }
    }

    #[inline(always)]
    unsafe fn copy_blocks(self, dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: passed on from the caller.
        unsafe { self.copy(dst, src, len) };
    }
}

/// Copies whole cache lines past the caches, where that can be done.
///
/// # Safety
/// As the head of [`super`] says; `dst` is a multiple of 64, `len` as well, and not 0.
#[inline(always)]
unsafe fn stream_lines(dst: *mut u8, src: *const u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: passed on from the caller.
    unsafe {
        x86::stream_lines(dst, src, len);
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: passed on from the caller.
    unsafe {
        copy_by_words(dst, src, len);
    }
}
