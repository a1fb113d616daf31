//! Options of a device, in C, and what a driver finds wrong with them.
//!
//! This file owns `unsafe`: the driver reports through a pointer to the collector.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char};

use pmd_core::{OptionKind, OptionSpec, Options};
use pmd_plugin::abi::{self, kind};

use crate::text::{c_string, message};

/// Checked options of a device, as C wants them.
pub(crate) struct Values {
    values: Vec<abi::Value>,
    _texts: Vec<CString>,
}

impl Values {
    /// The values of `options`, which were checked against `specs`.
    pub(crate) fn new(specs: &[OptionSpec], options: &Options) -> Self {
        let (mut values, mut texts) = (Vec::new(), Vec::new());
        let mut keep = |text: &str| {
            texts.push(c_string(text));
            // The bytes stay where they are when the vector moves its strings.
            texts[texts.len() - 1].as_ptr()
        };
        for spec in specs {
            let (kind, number, text) = match spec.kind {
                OptionKind::Bool => (kind::BOOL, Some(u64::from(options.bool(spec.name))), ""),
                OptionKind::Int { .. } => (kind::INT, options.int(spec.name), ""),
                OptionKind::Text { .. } => (kind::TEXT, Some(0), options.text(spec.name)),
                OptionKind::Choice(_) => (kind::CHOICE, Some(0), options.text(spec.name)),
                OptionKind::Mac => (kind::MAC, Some(0), options.text(spec.name)),
            };
            let given = options.is_given(spec.name);
            if given || !spec.default.is_empty() || kind == kind::TEXT {
                let (name, text) = (keep(spec.name), keep(text));
                values.push(abi::Value { name, kind, given: u32::from(given), number: number.unwrap_or(0), text });
            }
        }
        Self { values, _texts: texts }
    }

    /// For a call; valid while `self` is.
    pub(crate) fn as_c(&self) -> abi::Values {
        abi::Values { values: self.values.as_ptr(), count: self.values.len() as u32, reserved: 0 }
    }
}

/// One thing that a driver reported.
pub(crate) struct Problem {
    pub(crate) option: String,
    pub(crate) message: String,
    pub(crate) fatal: bool,
}

/// A collector of what a driver reports.
#[repr(C)]
pub(crate) struct Problems {
    table: abi::Problems,
    found: Vec<Problem>,
}

impl Problems {
    /// What `ask` reports.
    pub(crate) fn of(ask: impl FnOnce(*const abi::Problems)) -> Vec<Problem> {
        let mut problems = Self { table: abi::Problems { report }, found: Vec::new() };
        ask((&raw mut problems).cast_const().cast());
        problems.found
    }
}

unsafe extern "C" fn report(problems: *const abi::Problems, option: *const c_char, text: *const c_char, fatal: u32) {
    // SAFETY: the driver passes the pointer that `of` gave it, during that call; its strings end.
    unsafe {
        let problems = &mut *problems.cast_mut().cast::<Problems>();
        problems.found.push(Problem { option: message(option), message: message(text), fatal: fatal != 0 });
    }
}
