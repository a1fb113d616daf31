//! Single accesses to memory that another process may use meanwhile: each is made once, whole, where the program says so; and hints
//! which lines are wanted next.
//!
//! This file owns `unsafe`.

#![allow(unsafe_code)]

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
