//! The drivers on real interfaces, in a network namespace that each test makes for itself.

mod interface;
mod packets;
mod support;
