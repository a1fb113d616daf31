//! Drivers from shared objects: compiled, loaded, used and misused.

mod checked;
mod conformance;
mod refusals;
mod rust;
mod support;
