//! Panics end here: unwinding into the program's code would end the process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// Calls `call`; what it panicked with, if it did.
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    // What the call left half done is not looked at again: its device is dead.
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| words(&*payload))
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

/// Whether a device still lives, and if not, why. Shared by the device and its queues.
#[derive(Debug, Default)]
pub(super) struct Life(OnceLock<String>);

impl Life {
    /// Why it is dead.
    pub(super) fn death(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// It is dead from now on; the first reason stays.
    pub(super) fn end(&self, why: String) {
        if self.0.set(why).is_ok() {
            tracing::error!("device is dead: {}", self.death().unwrap_or_default());
        }
    }

    /// Calls `call` of a living device; `otherwise` when it is dead, or dies of a panic now.
    #[inline]
    pub(super) fn call<T>(&self, otherwise: T, call: impl FnOnce() -> T) -> T {
        if self.death().is_some() {
            return otherwise;
        }
        caught(call).unwrap_or_else(|panic| {
            self.end(format!("the driver panicked: {panic}"));
            otherwise
        })
    }
}
