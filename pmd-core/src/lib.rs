//! A poll mode driver framework.

pub mod deployment;
pub mod options;
