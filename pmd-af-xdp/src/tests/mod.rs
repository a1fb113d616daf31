//! The driver on veth pairs, each test in a network namespace of its own: needs root.

mod conformance;
mod errors;
mod link;
mod traffic;
mod unprivileged;
mod world;
