//! The kernels of x86-64, in assembly. They name vector registers in their text and list them as clobbered, since naming them as
//! operands would need the target feature enabled for all of the program.
//!
//! This file owns `unsafe`; what its callers promise, the head of [`super`] says.

#![allow(unsafe_code)]

use std::arch::asm;

use super::Copier;
use super::narrow::copy_below_16;

/// Assembly over a source, a target, an end and a running offset from 0, that uses ymm0 and ymm1 and ends with
/// vzeroupper, which empties the upper halves of all vector registers: so all are listed.
macro_rules! avx2 {
    ($src:expr, $dst:expr, $end:expr, $($line:literal),+ $(,)?) => {
        asm!(
            $($line,)+
            "vzeroupper",
            src = in(reg) $src,
            dst = in(reg) $dst,
            end = in(reg) $end,
            at = inout(reg) 0_usize => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack),
        )
    };
}

/// # Safety
/// As the head of [`super`] says; `len` is at least 16.
#[inline(always)]
pub(super) unsafe fn copy_sse2(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: loads and stores stay within `len`: 16-byte steps while more than 16 bytes are left, then the last 16.
    unsafe {
        asm!(
            "cmp {at}, {last}",
            "jae 3f",
            "2:",
            "movdqu xmm0, [{src} + {at}]",
            "movdqu [{dst} + {at}], xmm0",
            "add {at}, 16",
            "cmp {at}, {last}",
            "jb 2b",
            "3:",
            "movdqu xmm0, [{src} + {last}]",
            "movdqu [{dst} + {last}], xmm0",
            src = in(reg) src,
            dst = in(reg) dst,
            last = in(reg) len - 16,
            at = inout(reg) 0_usize => _,
            out("xmm0") _,
            options(nostack),
        );
    }
}

/// A line at a time, so that each is written to memory whole.
///
/// # Safety
/// As the head of [`super`] says; `dst` is a multiple of 64, `len` as well, and not 0.
#[inline(always)]
pub(super) unsafe fn stream_lines(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: loads and stores stay within `len`, a multiple of 64; every x86-64 has SSE2, and the stores are aligned.
    unsafe {
        asm!(
            "2:",
            "movdqu xmm0, [{src} + {at}]",
            "movdqu xmm1, [{src} + {at} + 16]",
            "movdqu xmm2, [{src} + {at} + 32]",
            "movdqu xmm3, [{src} + {at} + 48]",
            "movntdq [{dst} + {at}], xmm0",
            "movntdq [{dst} + {at} + 16], xmm1",
            "movntdq [{dst} + {at} + 32], xmm2",
            "movntdq [{dst} + {at} + 48], xmm3",
            "add {at}, 64",
            "cmp {at}, {len}",
            "jb 2b",
            src = in(reg) src,
            dst = in(reg) dst,
            len = in(reg) len,
            at = inout(reg) 0_usize => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            options(nostack),
        );
    }
}

/// The leave to use AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

impl Copier for Avx2 {
    #[inline(always)]
    unsafe fn copy(self, dst: *mut u8, src: *const u8, len: usize) {
        if len < 64 {
            // SAFETY: passed on.
            return unsafe { copy_below_64(dst, src, len) };
        }
        // SAFETY: loads and stores stay within `len`: the last 64 bytes, then 64-byte steps while they begin before those.
        unsafe {
            avx2!(
                src,
                dst,
                len - 64,
                "vmovdqu ymm0, [{src} + {end}]",
                "vmovdqu ymm1, [{src} + {end} + 32]",
                "vmovdqu [{dst} + {end}], ymm0",
                "vmovdqu [{dst} + {end} + 32], ymm1",
                "test {end}, {end}",
                "je 3f",
                "2:",
                "vmovdqu ymm0, [{src} + {at}]",
                "vmovdqu ymm1, [{src} + {at} + 32]",
                "vmovdqu [{dst} + {at}], ymm0",
                "vmovdqu [{dst} + {at} + 32], ymm1",
                "add {at}, 64",
                "cmp {at}, {end}",
                "jb 2b",
                "3:",
            );
        }
    }

    #[inline(always)]
    unsafe fn copy_blocks(self, dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: loads and stores stay within `len`, a multiple of 64.
        unsafe {
            avx2!(
                src,
                dst,
                len,
                "2:",
                "vmovdqu ymm0, [{src} + {at}]",
                "vmovdqu ymm1, [{src} + {at} + 32]",
                "vmovdqu [{dst} + {at}], ymm0",
                "vmovdqu [{dst} + {at} + 32], ymm1",
                "add {at}, 64",
                "cmp {at}, {end}",
                "jb 2b",
            );
        }
    }
}

/// The leave to use AVX-512 F and VL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let usable = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        usable.then_some(Self(()))
    }
}

/// Registers 16 to 31 need no vzeroupper. A single block moves in one register of 64 bytes. More than one move in two of 32:
/// as fast where both ends are aligned, and a third faster where they are not, since half as many moves cross a line.
impl Copier for Avx512 {
    #[inline(always)]
    unsafe fn copy(self, dst: *mut u8, src: *const u8, len: usize) {
        if len < 64 {
            // SAFETY: passed on.
            return unsafe { copy_below_64(dst, src, len) };
        }
        // SAFETY: loads and stores stay within `len`: the last 64 bytes, then 64-byte steps while they begin before those.
        unsafe {
            asm!(
                "vmovdqu64 zmm16, [{src} + {last}]",
                "vmovdqu64 [{dst} + {last}], zmm16",
                "test {last}, {last}",
                "je 3f",
                "2:",
                "vmovdqu64 ymm16, [{src} + {at}]",
                "vmovdqu64 ymm17, [{src} + {at} + 32]",
                "vmovdqu64 [{dst} + {at}], ymm16",
                "vmovdqu64 [{dst} + {at} + 32], ymm17",
                "add {at}, 64",
                "cmp {at}, {last}",
                "jb 2b",
                "3:",
                src = in(reg) src,
                dst = in(reg) dst,
                last = in(reg) len - 64,
                at = inout(reg) 0_usize => _,
                out("xmm16") _, out("xmm17") _,
                options(nostack),
            );
        }
    }

    #[inline(always)]
    unsafe fn copy_blocks(self, dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: loads and stores stay within `len`, a multiple of 64.
        unsafe {
            asm!(
                "vmovdqu64 zmm16, [{src}]",
                "vmovdqu64 [{dst}], zmm16",
                "cmp {len}, 64",
                "je 3f",
                "2:",
                "vmovdqu64 ymm16, [{src} + {at}]",
                "vmovdqu64 ymm17, [{src} + {at} + 32]",
                "vmovdqu64 [{dst} + {at}], ymm16",
                "vmovdqu64 [{dst} + {at} + 32], ymm17",
                "add {at}, 64",
                "cmp {at}, {len}",
                "jb 2b",
                "3:",
                src = in(reg) src,
                dst = in(reg) dst,
                len = in(reg) len,
                at = inout(reg) 64_usize => _,
                out("xmm16") _, out("xmm17") _,
                options(nostack),
            );
        }
    }
}

/// # Safety
/// As the head of [`super`] says; `len` is below 64.
#[inline(always)]
unsafe fn copy_below_64(dst: *mut u8, src: *const u8, len: usize) {
    if len < 32 {
        // SAFETY: passed on.
        return unsafe { if len < 16 { copy_below_16(dst, src, len) } else { copy_sse2(dst, src, len) } };
    }
    // SAFETY: the first 32 and the last 32 bytes, which overlap.
    unsafe {
        asm!(
            "movdqu xmm0, [{src}]",
            "movdqu xmm1, [{src} + 16]",
            "movdqu xmm2, [{src} + {last}]",
            "movdqu xmm3, [{src} + {last} + 16]",
            "movdqu [{dst}], xmm0",
            "movdqu [{dst} + 16], xmm1",
            "movdqu [{dst} + {last}], xmm2",
            "movdqu [{dst} + {last} + 16], xmm3",
            src = in(reg) src,
            dst = in(reg) dst,
            last = in(reg) len - 32,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            options(nostack, preserves_flags),
        );
    }
}
