//! A Rust driver behind the C table: what [`crate::export_driver!`] puts into a shared object.
//!
//! 1. [`init`] is called by the program, once: it makes the driver, its table (`table`), and tells pmd-core how mbufs of
//!    the program are freed.
//! 2. `device` opens and closes devices and answers questions about them; `queues` passes bursts on, and `pool` mbufs.
//! 3. Every call is caught (`guard`): a panic kills the device, not the program.
//! 4. `log` sends `tracing` events to the program.
//!
//! These files own `unsafe`: they follow pointers that the program passes, which keeps the promises of `pmd.h`.

#![allow(unsafe_code)]

mod device;
mod guard;
mod log;
mod options;
mod pool;
mod queues;
mod table;
mod text;

use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use pmd_core::Driver;
use pmd_core::raw::{Header, free_foreign_with};

use crate::abi;
use guard::caught;

/// What there is one of in a shared object.
struct Exported {
    driver: Arc<dyn Driver>,
    host: &'static abi::Host,
    table: abi::Driver,
}

// SAFETY: the table's pointers lead to memory that is never changed or freed.
unsafe impl Send for Exported {}
// SAFETY: as above.
unsafe impl Sync for Exported {}

static EXPORTED: OnceLock<Exported> = OnceLock::new();

/// What the exported symbol's `init` does. Null when the driver cannot be made, which has been logged.
///
/// # Safety
/// `host` is the program's table, valid for ever.
pub unsafe fn init(host: *const abi::Host, make: impl FnOnce() -> Arc<dyn Driver>) -> *const abi::Driver {
    // SAFETY: passed on from the caller.
    let host: &'static abi::Host = unsafe { &*host };
    log::forward_to(host);
    let made = caught(|| {
        EXPORTED.get_or_init(|| {
            let driver = make();
            let table = table::of(&*driver);
            Exported { driver, host, table }
        })
    });
    match made {
        Ok(exported) => {
            // SAFETY: `free` gives headers that it owns to the program, on any thread.
            unsafe { free_foreign_with(free) };
            &raw const exported.table
        }
        Err(panic) => {
            tracing::error!("the driver cannot be made: it panicked: {panic}");
            std::ptr::null()
        }
    }
}

/// The driver and the program's functions.
fn exported() -> &'static Exported {
    EXPORTED.get().expect("the program calls init first")
}

/// Gives mbufs of the program back to it.
///
/// # Safety
/// The caller owns them and gives them up.
unsafe fn free(heads: &[NonNull<Header>]) {
    let host = exported().host;
    // SAFETY: passed on from the caller.
    unsafe { (host.free_bulk)(host, heads.as_ptr(), heads.len() as u32) };
}
