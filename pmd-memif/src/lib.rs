//! The memif driver.

pub mod address;
mod control;
mod handshake;
mod listener;
pub mod message;
mod secret;
mod socket;

pub use secret::{Secret, SecretError};
