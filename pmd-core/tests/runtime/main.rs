//! The runtime, seen by an application: starting, threads at work, stopping.

mod start_stop;
mod support;
mod threads;
