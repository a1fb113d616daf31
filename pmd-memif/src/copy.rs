//! Copies between private memory and memory that another process may write meanwhile.
//!
//! The compiler must not look into these copies: it could read a byte twice, or reason from what it saw. Volatile
//! accesses and inline assembly are opaque to it, and the latter may use the widest registers of the machine. A peer
//! that writes while we read gives us some mixture of old and new bytes, in our private copy, and nothing worse.
//!
//! Which registers are used is settled once per link ([`Kernel::detect`]), and looked at once per burst ([`with_copier`]).
//!
//! This file owns `unsafe`. Callers promise: `len` bytes may be read at `src` and written at `dst`, the two do not
//! overlap, and one of them is private to the caller.

#![allow(unsafe_code)]

/// The widest registers that copies may use, with the leave to use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// 64 bytes at a time (x86-64 with AVX-512).
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Avx512(x86::Avx512),
    /// 32 bytes at a time (x86-64 with AVX2).
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Avx2(x86::Avx2),
    /// 16 bytes at a time or fewer, on any machine.
    Narrow(Narrow),
}

/// Copies with the registers of one [`Kernel`]. Who has a value of such a type is on a machine that has the registers.
pub(crate) trait Copier: Copy {
    /// Copies exactly `len` bytes.
    ///
    /// # Safety
    /// As the head of this file says.
    unsafe fn copy(self, dst: *mut u8, src: *const u8, len: usize);

    /// Copies `len` bytes: a multiple of 64, not 0. There is no tail to branch on.
    ///
    /// # Safety
    /// As the head of this file says.
    unsafe fn copy_blocks(self, dst: *mut u8, src: *const u8, len: usize);
}

/// Runs an expression with the [`Copier`] of a [`Kernel`]: once for a burst, so that the loop over its packets has no choice
/// to make.
macro_rules! with_copier {
    ($kernel:expr, $copier:ident => $run:expr) => {
        match $kernel {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            $crate::copy::Kernel::Avx512($copier) => $run,
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            $crate::copy::Kernel::Avx2($copier) => $run,
            $crate::copy::Kernel::Narrow($copier) => $run,
        }
    };
}
pub(crate) use with_copier;

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
            kernels.extend(x86::Avx512::detect().map(Self::Avx512));
            kernels.extend(x86::Avx2::detect().map(Self::Avx2));
            kernels.push(Self::Narrow(Narrow::Sse2));
        }
        kernels.push(Self::Narrow(Narrow::Portable));
        kernels
    }
}

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
/// As the head of this file says; `dst` is a multiple of 64, `len` as well, and not 0.
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

/// Copies `from` to the front of `to`.
///
/// # Panics
/// When `to` is shorter.
#[inline(always)]
pub(crate) fn copy_slice(copier: impl Copier, to: &mut [u8], from: &[u8]) {
    let to = &mut to[..from.len()];
    // SAFETY: both have `from.len()` bytes, and `to` is ours alone.
    unsafe { copier.copy(to.as_mut_ptr(), from.as_ptr(), from.len()) };
}

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

/// Stores two words behind each other, each at once, to any address.
///
/// # Safety
/// 16 bytes may be written at `dst`.
#[inline(always)]
pub(crate) unsafe fn store_words(dst: *mut u8, words: [u64; 2]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: passed on from the caller.
    unsafe {
        std::arch::asm!(
            "mov [{dst}], {first}",
            "mov [{dst} + 8], {second}",
            dst = in(reg) dst,
            first = in(reg) words[0],
            second = in(reg) words[1],
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: passed on from the caller.
    unsafe {
        store(dst, words[0]);
        store(dst.add(8), words[1]);
    }
}

/// Asks for the cache line at any address, mapped or not, to be written.
#[inline(always)]
pub(crate) fn prefetch_to_write(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: prefetching changes nothing but caches, and never faults.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

/// Asks for the cache lines of `len` bytes at any address, mapped or not, to be read.
#[inline(always)]
pub(crate) fn prefetch(at: *const u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for line in (0..len).step_by(64) {
        // SAFETY: prefetching changes nothing but caches, and never faults.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.wrapping_add(line).cast());
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (at, len);
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

    use super::{Copier, copy_below_16};

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

    /// A line at a time, so that each is written to memory whole.
    ///
    /// # Safety
    /// As the head of the file says; `dst` is a multiple of 64, `len` as well, and not 0.
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
    /// As the head of the file says; `len` is below 64.
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
                    unsafe {
                        let (dst, src) = (target.as_mut_ptr().add(to), source.as_ptr().add(from));
                        with_copier!(kernel, copier => copier.copy(dst, src, len));
                    }
                    assert_eq!(target[to..to + len], source[from..from + len], "{kernel:?} {len}");
                    assert!(target[..to].iter().chain(&target[to + len..]).all(|b| *b == 0xEE), "{kernel:?} {len}");
                }
            }
        }
    }

    #[test]
    fn whole_lines_past_the_caches_and_the_rest_by_way_of_them_make_the_whole() {
        /// A target that begins a line.
        #[repr(align(64))]
        struct Lines([u8; 640]);
        let source: Vec<u8> = (0..512).map(|i| (i * 7 + 1) as u8).collect();
        for kernel in Kernel::usable() {
            for (len, to) in [63, 64, 65, 300, 448].into_iter().flat_map(|len| [(len, 0), (len, 64), (len, 71)]) {
                let mut target = Lines([0xEE; 640]);
                // SAFETY: 3 + 448 < 512 and 71 + 448 < 640.
                unsafe {
                    let (dst, src) = (target.0.as_mut_ptr().add(to), source.as_ptr().add(3));
                    with_copier!(kernel, copier => Streamed(copier).copy(dst, src, len));
                }
                Streamed::fence();
                assert_eq!(target.0[to..to + len], source[3..3 + len], "{kernel:?} {len} to {to}");
                let around = target.0[..to].iter().chain(&target.0[to + len..]);
                assert!(around.into_iter().all(|byte| *byte == 0xEE), "{kernel:?} {len} to {to}");
            }
        }
    }

    #[test]
    fn whole_blocks_stop_where_they_end() {
        let source: Vec<u8> = (0..512).map(|i| (i * 7 + 1) as u8).collect();
        for kernel in Kernel::usable() {
            for len in [64, 128, 320] {
                let mut target = vec![0xEE; 600];
                // SAFETY: 3 + 320 < 512 and 5 + 320 < 600.
                unsafe {
                    let (to, from) = (target.as_mut_ptr().add(5), source.as_ptr().add(3));
                    with_copier!(kernel, copier => copier.copy_blocks(to, from, len));
                }
                let end = 5 + len;
                assert_eq!(target[5..end], source[3..3 + len], "{kernel:?} {len}");
                assert!(target[..5].iter().chain(&target[end..]).all(|b| *b == 0xEE), "{kernel:?} {len}");
            }
        }
    }
}
