//! Drivers from shared objects: compiled, loaded, used and misused.

mod checked;
mod refusals;
mod rust;
mod support;
