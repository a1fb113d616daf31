//! Strings across the boundary.

use std::ffi::{CStr, CString, c_char};

use crate::abi::TEXT_MAX;

/// `text` for C, without its zero bytes.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// The same, for ever: for tables, which are made once.
pub(super) fn for_ever(text: &str) -> *const c_char {
    c_string(text).into_raw().cast_const()
}

/// A string of the program, which sends UTF-8.
///
/// # Safety
/// It is one, or null.
pub(super) unsafe fn read(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: passed on from the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Writes as much of `text` as fits.
///
/// # Safety
/// `to` has space for [`TEXT_MAX`] bytes.
pub(super) unsafe fn write(to: *mut c_char, text: &str) {
    let text = c_string(text);
    let mut len = text.as_bytes().len().min(TEXT_MAX - 1);
    while len > 0 && text.to_str().is_ok_and(|text| !text.is_char_boundary(len)) {
        len -= 1;
    }
    // SAFETY: `len` bytes and the zero fit into the caller's space.
    unsafe {
        to.copy_from_nonoverlapping(text.as_ptr(), len);
        to.add(len).write(0);
    }
}
