//! Strings across the boundary, and names that live for ever.
//!
//! This file owns `unsafe`: it reads strings of C, up to the zero that ends them.

#![allow(unsafe_code)]

use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char};
use std::sync::{Mutex, PoisonError};

use pmd_plugin::abi::TEXT_MAX;

/// Longest name of a driver, an option or an xstat.
pub(crate) const NAME_MAX: usize = 63;

/// Most names of xstats that are kept.
const KEPT_MAX: usize = 16384;

/// `text` for C; a zero byte in it ends it.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// One line of text of a shared object.
///
/// # Errors
/// When it is null, not UTF-8, or has control characters, in the words of `what`.
///
/// # Safety
/// It is null, or ends with a zero byte.
pub(crate) unsafe fn line(text: *const c_char, what: &str) -> Result<String, String> {
    if text.is_null() {
        return Err(format!("{what} is a null pointer"));
    }
    // SAFETY: passed on from the caller.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().any(char::is_control) => Err(format!("{what} is {text:?}, with control characters")),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(format!("{what} is \"{}\", which is not UTF-8", bytes.escape_ascii())),
    }
}

/// A [`line()`] that names something: 1 to [`NAME_MAX`] visible ASCII characters.
///
/// # Errors
/// When it is none.
///
/// # Safety
/// As [`line()`].
pub(crate) unsafe fn name(text: *const c_char, what: &str) -> Result<String, String> {
    // SAFETY: passed on from the caller.
    let name = unsafe { line(text, what)? };
    let good = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_graphic() && c != b'"');
    if good {
        Ok(name)
    } else {
        Err(format!("{what} is {name:?}, but must be 1 to {NAME_MAX} visible ASCII characters"))
    }
}

/// A message of a shared object, as well as it can be read.
///
/// # Safety
/// As [`line()`].
pub(crate) unsafe fn message(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: passed on from the caller.
    printable(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Space for an error or a reason that a shared object writes.
pub(crate) struct Space([u8; TEXT_MAX]);

impl Space {
    pub(crate) fn new() -> Self {
        Self([0; TEXT_MAX])
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr().cast()
    }

    /// What it wrote; it may have forgotten the zero at the end.
    pub(crate) fn text(&self) -> String {
        printable(self.0.split(|byte| *byte == 0).next().unwrap_or_default())
    }
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same text for ever: the same one for equal texts, so that names that are asked for again and again do not pile up.
/// `None` when a driver invents more names than anyone could want.
pub(crate) fn for_ever(text: &str) -> Option<&'static str> {
    static KEPT: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    if let Some(known) = kept.get(text) {
        return Some(known);
    }
    if kept.len() == KEPT_MAX {
        return None;
    }
    let new: &'static str = text.to_owned().leak();
    kept.insert(new);
    Some(new)
}
