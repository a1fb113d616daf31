//! The memif driver.

pub mod address;
mod handshake;
pub mod message;
mod secret;

pub use secret::{Secret, SecretError};
