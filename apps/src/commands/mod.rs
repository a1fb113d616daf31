//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod drivers;
pub(crate) mod explain;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod show;
pub(crate) mod topology;
