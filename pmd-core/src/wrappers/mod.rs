//! The wrappers that need nothing but this crate: a fault injector and a tracer.

pub mod fault;
mod rate;
pub mod trace;

pub use fault::{FaultInjector, Faults, Impairments};
pub use trace::{Trace, Tracer};
