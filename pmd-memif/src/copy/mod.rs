//! Copies between private memory and memory that another process may write meanwhile.
//!
//! The compiler must not look into these copies: it could read a byte twice, or reason from what it saw. Volatile
//! accesses and inline assembly are opaque to it, and the latter may use the widest registers of the machine. A peer
//! that writes while we read gives us some mixture of old and new bytes, in our private copy, and nothing worse.
//!
//! Which registers are used is settled once per link ([`Kernel::detect`]), and looked at once per burst ([`with_copier`]):
//!
//! - `x86` has the kernels of wide registers, [`narrow`] those of any machine, and what is left of a few bytes;
//! - [`streamed`] goes past the caches with the lines, and takes a kernel for the rest;
//! - [`access`] reads or writes a single value, and asks for lines.
//!
//! This file owns `unsafe`. Callers promise: `len` bytes may be read at `src` and written at `dst`, the two do not
//! overlap, and one of them is private to the caller.

#![allow(unsafe_code)]

pub(crate) mod access;
mod narrow;
mod streamed;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86;

use narrow::Narrow;
pub(crate) use streamed::Streamed;

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
