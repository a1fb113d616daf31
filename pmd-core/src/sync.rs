//! What threads meet on, as the standard library has it, or as loom does: under `--cfg loom` every order of accesses that the
//! language allows is tried out (`worker/handover.rs`; `make loom`).

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering, fence},
};
