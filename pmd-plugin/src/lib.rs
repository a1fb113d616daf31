//! What an author of a driver in a shared object needs: the C header `include/pmd.h`, the same in Rust ([`abi`]), and
//! [`export_driver!`], which makes a shared object of an ordinary [`pmd_core::Driver`].
//!
//! ```ignore
//! // Cargo.toml: [lib] crate-type = ["cdylib"]
//! struct MyDriver;
//! impl pmd_core::Driver for MyDriver { /* as in any other crate */ }
//! pmd_plugin::export_driver!(MyDriver);
//! ```
//!
//! Program and shared object share no Rust type: each has its own copy of pmd-core, perhaps of another version, and they
//! speak the C of `pmd.h` only. Both know an mbuf's header, whose layout that C promises; so packets are moved, not copied.
//!
//! | module | what lives there |
//! |---|---|
//! | [`abi`] | the C structures |
//! | [`export`] | a Rust driver behind them |
//!
//! The program's side is the crate pmd-dso.

pub mod abi;
pub mod export;

/// Exports a driver: makes the crate, a `cdylib`, one that `lport run -d` loads.
///
/// It takes an expression that makes a [`pmd_core::Driver`], which is evaluated once, when the shared object is loaded. One
/// shared object has one driver.
///
/// A panic of the driver does not reach the program: its device is dead from then on, and its link says why. (Unless the
/// shared object is compiled with `panic = "abort"`.) Events of `tracing` go to the program's log.
///
/// ```
/// # use pmd_core::drivers::RingDriver;
/// pmd_plugin::export_driver!(RingDriver::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_driver {
    ($driver:expr) => {
        #[allow(unsafe_code, non_upper_case_globals)]
        const _: () = {
            unsafe extern "C" fn init(host: *const $crate::abi::Host) -> *const $crate::abi::Driver {
                // SAFETY: the program calls it, and keeps the promises of `pmd.h`.
                unsafe { $crate::export::init(host, || ::std::sync::Arc::new($driver)) }
            }

            // SAFETY: the one symbol of this name in the shared object; nobody else links it.
            #[unsafe(no_mangle)]
            static pmd_plugin: $crate::abi::Plugin = $crate::abi::Plugin::new(init);
        };
    };
}
