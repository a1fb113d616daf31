//! Atomics, as the standard library has them, or as loom does: under `--cfg loom` every order of them that the language
//! allows is tried out (`ring/models.rs`, `epoch.rs`; `make loom`).

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, Ordering, fence},
};
