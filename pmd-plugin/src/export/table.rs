//! The C table of a Rust driver: made once, kept for ever.

use std::ffi::c_char;

use pmd_core::{Driver, OptionKind, OptionSpec};

use super::text::for_ever;
use super::{device, options, queues};
use crate::abi::{self, kind};

/// The table of `driver`.
pub(super) fn of(driver: &dyn Driver) -> abi::Driver {
    let rows: Vec<_> = driver.options().iter().map(row).collect();
    let rows: &'static [abi::Opt] = rows.leak();
    abi::Driver {
        name: for_ever(driver.name()),
        summary: for_ever(driver.summary()),
        options: rows.as_ptr(),
        option_count: rows.len() as u32,
        flags: if driver.needs_pool() { abi::NEEDS_POOL } else { 0 },
        open: Some(device::open),
        close: Some(device::close),
        rx_burst: Some(queues::rx_burst),
        tx_burst: Some(queues::tx_burst),
        link: Some(device::link),
        info: Some(device::info),
        stats: Some(device::stats),
        xstats: Some(device::xstats),
        set_admin: Some(device::set_admin),
        rx_close: Some(queues::rx_close),
        tx_close: Some(queues::tx_close),
        tx_flush: Some(queues::tx_flush),
        rx_renumber: Some(queues::rx_renumber),
        rx_arm: Some(queues::rx_arm),
        rx_disarm: Some(queues::rx_disarm),
        rx_wake_fd: Some(queues::rx_wake_fd),
        check: Some(options::check),
        check_machine: Some(options::check_machine),
        shares_pools: Some(options::shares_pools),
        claim: Some(options::claim),
        queue_count: Some(options::queue_count),
    }
}

fn row(option: &OptionSpec) -> abi::Opt {
    let (kind, min, max, words) = match option.kind {
        OptionKind::Bool => (kind::BOOL, 0, 0, std::ptr::null()),
        OptionKind::Int { min, max } => (kind::INT, min, max, std::ptr::null()),
        OptionKind::Text { max_len } => (kind::TEXT, 0, max_len as u64, std::ptr::null()),
        OptionKind::Choice(words) => (kind::CHOICE, 0, 0, list(words)),
        OptionKind::Mac => (kind::MAC, 0, 0, std::ptr::null()),
    };
    abi::Opt {
        name: for_ever(option.name),
        kind,
        reserved: 0,
        min,
        max,
        words,
        default_text: for_ever(option.default),
        help: for_ever(option.help),
    }
}

/// Strings, ended by a null pointer.
fn list(words: &[&str]) -> *const *const c_char {
    let words: Vec<_> = words.iter().map(|word| for_ever(word)).chain([std::ptr::null()]).collect();
    words.leak().as_ptr()
}
