//! The table of a driver, as a shared object gives it: checked, and copied into safe types.
//!
//! This file owns `unsafe`: it follows the table's pointers. What a pointer leads to cannot be checked; null can.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;

use pmd_core::{OptionKind, OptionSpec};
use pmd_plugin::abi::{self, kind};

use crate::text::{line, name};

/// Most options of a driver, and most words of one of them.
const OPTIONS_MAX: u32 = 256;

/// The functions of a driver.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
    pub(crate) open: unsafe extern "C" fn(*const abi::Request, *mut c_char) -> *mut c_void,
    pub(crate) close: unsafe extern "C" fn(*mut c_void),
    pub(crate) rx_burst: unsafe extern "C" fn(*mut c_void, *mut NonNull<abi::Mbuf>, u16) -> u16,
    pub(crate) tx_burst: unsafe extern "C" fn(*mut c_void, *mut NonNull<abi::Mbuf>, u16, *mut u16) -> u16,
    pub(crate) rx_renumber: unsafe extern "C" fn(*mut c_void, u16),
    pub(crate) link: unsafe extern "C" fn(*mut c_void, u32, *mut c_char) -> c_int,
    pub(crate) info: unsafe extern "C" fn(*mut c_void, u32, *mut abi::Info),
    pub(crate) stats: unsafe extern "C" fn(*mut c_void, u32, *mut abi::Stats),
    /// The others, each of which may be missing.
    pub(crate) more: abi::Driver,
}

// SAFETY: functions, which any thread may call; the pointers of the table to its strings and options are not used again.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

/// A driver's table.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) options: Vec<OptionSpec>,
    pub(crate) needs_pool: bool,
    pub(crate) functions: Functions,
}

impl Table {
    /// Reads and checks a table.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// # Safety
    /// `table` is one of this version, for ever valid, with strings that end.
    pub(crate) unsafe fn read(table: &abi::Driver) -> Result<Self, String> {
        // SAFETY: passed on from the caller, here and below.
        let driver = unsafe { name(table.name, "the driver's `name`")? };
        let of_it = |error: String| format!("driver `{driver}`: {error}");
        let functions = functions(table).map_err(of_it)?;
        if table.flags & !abi::NEEDS_POOL != 0 {
            return Err(of_it(format!("`flags` is {:#x}, but only PMD_NEEDS_POOL (1) is known", table.flags)));
        }
        // SAFETY: as above.
        let summary = unsafe { line(table.summary, "`summary`") }.map_err(of_it)?;
        // SAFETY: as above.
        let options = unsafe { options(table) }.map_err(of_it)?;
        Ok(Self { name: driver, summary, options, needs_pool: table.flags & abi::NEEDS_POOL != 0, functions })
    }
}

fn functions(table: &abi::Driver) -> Result<Functions, String> {
    let missing = |name: &str| format!("function `{name}` is a null pointer, but every driver must have it");
    Ok(Functions {
        open: table.open.ok_or_else(|| missing("open"))?,
        close: table.close.ok_or_else(|| missing("close"))?,
        rx_burst: table.rx_burst.ok_or_else(|| missing("rx_burst"))?,
        tx_burst: table.tx_burst.ok_or_else(|| missing("tx_burst"))?,
        rx_renumber: table.rx_renumber.ok_or_else(|| missing("rx_renumber"))?,
        link: table.link.ok_or_else(|| missing("link"))?,
        info: table.info.ok_or_else(|| missing("info"))?,
        stats: table.stats.ok_or_else(|| missing("stats"))?,
        more: *table,
    })
}

/// # Safety
/// As [`Table::read`].
unsafe fn options(table: &abi::Driver) -> Result<Vec<OptionSpec>, String> {
    let count = table.option_count;
    if count > OPTIONS_MAX {
        return Err(format!("`option_count` is {count}, but a driver has at most {OPTIONS_MAX} options"));
    }
    if table.options.is_null() && count > 0 {
        return Err(format!("`options` is a null pointer, but `option_count` is {count}"));
    }
    let mut options: Vec<OptionSpec> = Vec::new();
    for position in 0..count as usize {
        // SAFETY: passed on from the caller: the table says how many there are.
        let option = unsafe { option(&*table.options.add(position), position)? };
        if options.iter().any(|known| known.name == option.name) {
            return Err(format!("option `{}` stands in the table twice", option.name));
        }
        options.push(option);
    }
    Ok(options)
}

/// # Safety
/// As [`Table::read`].
unsafe fn option(row: &abi::Opt, position: usize) -> Result<OptionSpec, String> {
    // SAFETY: passed on from the caller, here and below.
    let name = unsafe { name(row.name, &format!("the name of option number {position}"))? };
    let of_it = |error: String| format!("option `{name}`: {error}");
    let kind = match row.kind {
        kind::BOOL => OptionKind::Bool,
        kind::INT if row.min > row.max => return Err(of_it(format!("`min` is {}, above `max` {}", row.min, row.max))),
        kind::INT => OptionKind::Int { min: row.min, max: row.max },
        kind::TEXT => OptionKind::Text { max_len: usize::try_from(row.max).unwrap_or(usize::MAX) },
        // SAFETY: as above.
        kind::CHOICE => OptionKind::Choice(unsafe { words(row.words) }.map_err(of_it)?),
        kind::MAC => OptionKind::Mac,
        other => return Err(of_it(format!("`kind` is {other}, but must be {} to {}", kind::BOOL, kind::MAC))),
    };
    let default = match row.default_text.is_null() {
        true => String::new(),
        // SAFETY: as above.
        false => unsafe { line(row.default_text, "`default_text`") }.map_err(of_it)?,
    };
    // SAFETY: as above.
    let help = unsafe { line(row.help, "`help`") }.map_err(of_it)?;
    // The table is read once, and drivers are never unloaded.
    let spec = OptionSpec { name: name.clone().leak(), kind, default: default.leak(), help: help.leak() };
    spec.check_default().map_err(|error| format!("its default is not a value of its own: {error}"))?;
    Ok(spec)
}

/// # Safety
/// As [`Table::read`].
unsafe fn words(words: *const *const c_char) -> Result<&'static [&'static str], String> {
    if words.is_null() {
        return Err("`words` is a null pointer".into());
    }
    let mut found: Vec<&'static str> = Vec::new();
    for position in 0..OPTIONS_MAX as usize {
        // SAFETY: passed on from the caller: the list ends with a null pointer, which we have not seen yet.
        let word = unsafe { *words.add(position) };
        if word.is_null() {
            break;
        }
        // SAFETY: passed on from the caller.
        found.push(unsafe { name(word, &format!("word number {position}"))? }.leak());
    }
    if found.is_empty() {
        return Err("`words` is empty".into());
    }
    Ok(found.leak())
}
