//! Copies between private memory and memory that another process may write meanwhile.
//!
//! The compiler must not look into these copies: it could read a byte twice, or reason from what it saw. Volatile
//! accesses and inline assembly are opaque to it, and the latter may use the widest registers of the machine. A peer
//! that writes while we read gives us some mixture of old and new bytes, in our private copy, and nothing worse.
//!
//! Which registers are used is settled once per link ([`Kernel::detect`]); the branch on it is the same for every packet.
//!
//! This file owns `unsafe`. Callers promise: `len` bytes may be read at `src` and written at `dst`, the two do not
//! overlap, and one of them is private to the caller.

#![allow(unsafe_code)]

/// The widest registers that copies may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// 64 bytes at a time (x86-64 with AVX-512).
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Avx512,
    /// 32 bytes at a time (x86-64 with AVX2).
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Avx2,
    /// 16 bytes at a time (every x86-64).
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Sse2,
    /// 8 bytes at a time, on any machine.
    Portable,
}

impl Kernel {
    /// The best kernel of this machine.
    pub(crate) fn detect() -> Self {
        Self::usable()[0]
    }

    /// Every kernel this machine can run, the best first.
    pub(crate) fn usable() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                kernels.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") {
                kernels.push(Self::Avx2);
            }
            kernels.push(Self::Sse2);
        }
        kernels.push(Self::Portable);
        kernels
    }

    /// Copies exactly `len` bytes.
    ///
    /// # Safety
    /// As the head of this file says.
    #[inline(always)]
    pub(crate) unsafe fn copy(self, dst: *mut u8, src: *const u8, len: usize) {
        if len < 16 {
            // SAFETY: passed on from the caller.
            return unsafe { copy_below_16(dst, src, len) };
        }
        // SAFETY: in all: at least 16 bytes, the caller's promise, and a machine that has the registers.
        unsafe {
            match self {
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                Self::Avx512 => x86::copy_avx512(dst, src, len),
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                Self::Avx2 => x86::copy_avx2(dst, src, len),
                narrow => narrow.copy_narrow(dst, src, len),
            }
        }
    }

    /// Copies `len` bytes, at least one, and up to 63 more: whole 64-byte blocks, without a tail to branch on.
    ///
    /// # Safety
    /// As the head of this file says, for `len` rounded up to a multiple of 64.
    #[inline(always)]
    pub(crate) unsafe fn copy_blocks(self, dst: *mut u8, src: *const u8, len: usize) {
        let whole = (len + 63) & !63;
        // SAFETY: in all: passed on from the caller, and a machine that has the registers.
        unsafe {
            match self {
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                Self::Avx512 => x86::blocks_avx512(dst, src, len),
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                Self::Avx2 => x86::blocks_avx2(dst, src, len),
                narrow => narrow.copy_narrow(dst, src, whole),
            }
        }
    }

    /// The kernels for machines without wide registers: out of line, so that the choice stays two compares.
    ///
    /// # Safety
    /// As the head of this file says; `len` is at least 16.
    #[inline(never)]
    unsafe fn copy_narrow(self, dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: passed on from the caller; every x86-64 has SSE2.
        unsafe {
            match self {
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                Self::Sse2 => x86::copy_sse2(dst, src, len),
                _ => copy_by_words(dst, src, len),
            }
        }
    }
}

/// # Safety
/// As the head of this file says; `len` is below 16.
#[inline(always)]
unsafe fn copy_below_16(dst: *mut u8, src: *const u8, len: usize) {
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
/// As the head of this file says, for `last + size_of::<T>()` bytes.
#[inline(always)]
unsafe fn move_two<T: Copy>(dst: *mut u8, src: *const u8, last: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        let (front, back) = (load::<T>(src), load::<T>(src.add(last)));
        store(dst, front);
        store(dst.add(last), back);
    }
}

/// A value at any address. Volatile access wants alignment, and a packed struct's is 1; the access stays one instruction.
#[repr(C, packed)]
struct Packed<T>(T);

/// Loads a value once, from any address.
///
/// # Safety
/// `size_of::<T>()` bytes may be read at `src`.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(src: *const u8) -> T {
    // SAFETY: passed on from the caller; the alignment of a packed struct is 1.
    unsafe { src.cast::<Packed<T>>().read_volatile().0 }
}

/// Stores a value once, to any address.
///
/// # Safety
/// `size_of::<T>()` bytes may be written at `dst`.
#[inline(always)]
pub(crate) unsafe fn store<T: Copy>(dst: *mut u8, value: T) {
    // SAFETY: passed on from the caller; the alignment of a packed struct is 1.
    unsafe { dst.cast::<Packed<T>>().write_volatile(Packed(value)) };
}

/// Stores 8 bytes at once, to any address.
///
/// # Safety
/// 8 bytes may be written at `dst`.
#[inline(always)]
pub(crate) unsafe fn store_word(dst: *mut u8, value: u64) {
    // As an instruction of its own where we can: the compiler takes a volatile store to an unaligned address through the
    // stack.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: passed on from the caller.
    unsafe {
        std::arch::asm!("mov [{}], {}", in(reg) dst, in(reg) value, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: passed on from the caller.
    unsafe {
        store(dst, value);
    }
}

/// # Safety
/// As the head of this file says; `len` is at least 8.
unsafe fn copy_by_words(dst: *mut u8, src: *const u8, len: usize) {
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

/// The kernels in assembly. They name vector registers in their text and list them as clobbered, since naming them as
/// operands would need the target feature enabled for all of the program.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use std::arch::asm;

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
    /// As the head of the file says; `len` is at least 16.
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

    /// # Safety
    /// As the head of the file says; `len` is at least 16.
    #[inline(always)]
    pub(super) unsafe fn copy_avx2(dst: *mut u8, src: *const u8, len: usize) {
        if len < 64 {
            // SAFETY: passed on.
            return unsafe { copy_sse2(dst, src, len) };
        }
        // SAFETY: loads and stores stay within `len`: 64-byte steps while more than 64 bytes are left, then the last 64.
        unsafe {
            avx2!(
                src,
                dst,
                len - 64,
                "cmp {at}, {end}",
                "jae 3f",
                "2:",
                "vmovdqu ymm0, [{src} + {at}]",
                "vmovdqu ymm1, [{src} + {at} + 32]",
                "vmovdqu [{dst} + {at}], ymm0",
                "vmovdqu [{dst} + {at} + 32], ymm1",
                "add {at}, 64",
                "cmp {at}, {end}",
                "jb 2b",
                "3:",
                "vmovdqu ymm0, [{src} + {end}]",
                "vmovdqu ymm1, [{src} + {end} + 32]",
                "vmovdqu [{dst} + {end}], ymm0",
                "vmovdqu [{dst} + {end} + 32], ymm1",
            );
        }
    }

    /// # Safety
    /// As [`super::Kernel::copy_blocks`]. The machine has AVX2.
    #[inline(always)]
    pub(super) unsafe fn blocks_avx2(dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: loads and stores stay within `len` rounded up to 64.
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

    /// # Safety
    /// As the head of the file says; `len` is at least 16. The machine has AVX-512 F and VL.
    #[inline(always)]
    pub(super) unsafe fn copy_avx512(dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: passed on; both stay within `len`. Registers 16 to 31 need no vzeroupper.
        unsafe {
            if len >= 64 {
                blocks_then_tail_avx512(dst, src, len);
            } else if len >= 32 {
                asm!(
                    "vmovdqu64 ymm16, [{src}]",
                    "vmovdqu64 ymm17, [{src} + {last}]",
                    "vmovdqu64 [{dst}], ymm16",
                    "vmovdqu64 [{dst} + {last}], ymm17",
                    src = in(reg) src,
                    dst = in(reg) dst,
                    last = in(reg) len - 32,
                    out("xmm16") _, out("xmm17") _,
                    options(nostack, preserves_flags),
                );
            } else {
                copy_sse2(dst, src, len);
            }
        }
    }

    /// # Safety
    /// As the head of the file says; `len` is at least 64. The machine has AVX-512 F.
    #[inline(always)]
    unsafe fn blocks_then_tail_avx512(dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: loads and stores stay within `len`: 64-byte steps while more than 64 bytes are left, then the last 64.
        unsafe {
            asm!(
                "cmp {at}, {last}",
                "jae 3f",
                "2:",
                "vmovdqu64 zmm16, [{src} + {at}]",
                "vmovdqu64 [{dst} + {at}], zmm16",
                "add {at}, 64",
                "cmp {at}, {last}",
                "jb 2b",
                "3:",
                "vmovdqu64 zmm16, [{src} + {last}]",
                "vmovdqu64 [{dst} + {last}], zmm16",
                src = in(reg) src,
                dst = in(reg) dst,
                last = in(reg) len - 64,
                at = inout(reg) 0_usize => _,
                out("xmm16") _,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As [`super::Kernel::copy_blocks`]. The machine has AVX-512 F.
    #[inline(always)]
    pub(super) unsafe fn blocks_avx512(dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: loads and stores stay within `len` rounded up to 64.
        unsafe {
            asm!(
                "2:",
                "vmovdqu64 zmm16, [{src} + {at}]",
                "vmovdqu64 [{dst} + {at}], zmm16",
                "add {at}, 64",
                "cmp {at}, {len}",
                "jb 2b",
                src = in(reg) src,
                dst = in(reg) dst,
                len = in(reg) len,
                at = inout(reg) 0_usize => _,
                out("xmm16") _,
                options(nostack),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_copies_every_length_and_nothing_else() {
        let lengths = if cfg!(miri) { 40 } else { 400 };
        let source: Vec<u8> = (0..512).map(|i| (i * 7 + 1) as u8).collect();
        for kernel in Kernel::usable() {
            for len in 0..lengths {
                for (from, to) in [(0, 0), (1, 3), (13, 64)] {
                    let mut target = vec![0xEE; 600];
                    // SAFETY: from + len < 512 and to + len < 600.
                    unsafe { kernel.copy(target.as_mut_ptr().add(to), source.as_ptr().add(from), len) };
                    assert_eq!(target[to..to + len], source[from..from + len], "{kernel:?} {len}");
                    assert!(target[..to].iter().chain(&target[to + len..]).all(|b| *b == 0xEE), "{kernel:?} {len}");
                }
            }
        }
    }

    #[test]
    fn whole_blocks_stop_at_the_next_multiple_of_64() {
        let source: Vec<u8> = (0..512).map(|i| (i * 7 + 1) as u8).collect();
        for kernel in Kernel::usable() {
            for len in [1, 14, 60, 64, 65, 127, 128, 300] {
                let mut target = vec![0xEE; 600];
                // SAFETY: 3 + 320 < 512 and 5 + 320 < 600.
                unsafe { kernel.copy_blocks(target.as_mut_ptr().add(5), source.as_ptr().add(3), len) };
                let end = 5 + len.next_multiple_of(64);
                assert_eq!(target[5..end], source[3..3 + len.next_multiple_of(64)], "{kernel:?} {len}");
                assert!(target[..5].iter().chain(&target[end..]).all(|b| *b == 0xEE), "{kernel:?} {len}");
            }
        }
    }
}
