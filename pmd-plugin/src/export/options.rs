//! Options across the boundary, and the questions that are about nothing but them.

use std::ffi::{c_char, c_int};

use pmd_core::deployment::DeviceSpec;
use pmd_core::{OptionError, Options, QueueCount, RawOption, RawValue};

use super::exported;
use super::guard::caught;
use super::text::{c_string, read, write};
use crate::abi::{self, kind};

/// The options of a device, by our own table again.
///
/// # Safety
/// `values` is what the program sends.
pub(super) unsafe fn options(values: &abi::Values) -> Result<Options, Vec<OptionError>> {
    let mut given = Vec::new();
    for position in 0..values.count as usize {
        // SAFETY: the program sends an array of `count` values.
        let value = unsafe { &*values.values.add(position) };
        if value.given == 0 {
            continue;
        }
        let raw = match value.kind {
            kind::BOOL => RawValue::Bool(value.number != 0),
            kind::INT => RawValue::Int(value.number),
            // SAFETY: a string of the program.
            _ => RawValue::Text(unsafe { read(value.text) }),
        };
        // SAFETY: as above.
        given.push(RawOption { key: unsafe { read(value.name) }, value: raw });
    }
    Options::check(exported().driver.options(), &given)
}

/// Calls `ask` with the options; `otherwise` when they are not ours, or it panics.
///
/// # Safety
/// As [`options`].
unsafe fn ask<T>(values: *const abi::Values, otherwise: T, ask: impl FnOnce(&Options) -> T) -> T {
    // SAFETY: passed on from the caller.
    match unsafe { options(&*values) } {
        Ok(options) => caught(|| ask(&options)).unwrap_or_else(|panic| {
            tracing::error!("the driver panicked when it was asked about options: {panic}");
            otherwise
        }),
        Err(_) => otherwise,
    }
}

/// # Safety
/// `problems` is what the program sends.
unsafe fn report(problems: *const abi::Problems, option: &str, message: &str, fatal: bool) {
    // SAFETY: passed on from the caller; the strings live until it returns.
    unsafe {
        ((*problems).report)(problems, c_string(option).as_ptr(), c_string(message).as_ptr(), u32::from(fatal));
    }
}

pub(super) unsafe extern "C" fn check(values: *const abi::Values, queues: u32, problems: *const abi::Problems) {
    // SAFETY: the program keeps the header's promises.
    let found = unsafe { ask(values, Ok(()), |options| exported().driver.check(options, queues as usize)) };
    for error in found.err().unwrap_or_default() {
        // SAFETY: as above.
        unsafe { report(problems, &error.key, &error.message, true) };
    }
}

pub(super) unsafe extern "C" fn check_machine(
    name: *const c_char,
    values: *const abi::Values,
    problems: *const abi::Problems,
) {
    let driver = &exported().driver;
    // SAFETY: the program keeps the header's promises.
    let found = unsafe {
        let (name, driver_name) = (read(name), driver.name().to_owned());
        // The queues and the options as written stay on the other side.
        let device = DeviceSpec { name, driver: driver_name, options: Vec::new(), queues: Vec::new() };
        ask(values, Vec::new(), |options| driver.check_machine(&device, options))
    };
    for problem in found {
        // SAFETY: as above.
        unsafe { report(problems, problem.option, &problem.message, problem.fatal) };
    }
}

pub(super) unsafe extern "C" fn shares_pools(values: *const abi::Values) -> c_int {
    // SAFETY: the program keeps the header's promises.
    c_int::from(unsafe { ask(values, false, |options| exported().driver.shares_pools(options)) })
}

pub(super) unsafe extern "C" fn claim(values: *const abi::Values, text: *mut c_char) -> c_int {
    // SAFETY: the program keeps the header's promises.
    match unsafe { ask(values, None, |options| exported().driver.claim(options)) } {
        None => 0,
        Some(claim) => {
            // SAFETY: as above.
            unsafe { write(text, &claim) };
            1
        }
    }
}

pub(super) unsafe extern "C" fn queue_count(name: *const c_char, values: *const abi::Values, text: *mut c_char) -> i32 {
    let failed = QueueCount::Unknown("the driver failed when it was asked".into());
    // SAFETY: the program keeps the header's promises.
    let count = unsafe {
        let name = read(name);
        ask(values, failed, |options| exported().driver.queue_count(&name, options))
    };
    match count {
        QueueCount::Has(count) => count.into(),
        QueueCount::AsTold => abi::QUEUES_AS_TOLD,
        QueueCount::Unknown(why) => {
            // SAFETY: as above.
            unsafe { write(text, &why) };
            abi::QUEUES_UNKNOWN
        }
    }
}
