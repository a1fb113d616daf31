//! The runtime, seen by an application: starting, threads at work, reloading, stopping.

mod reload;
mod start_stop;
mod support;
mod threads;
