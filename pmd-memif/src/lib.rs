//! The memif driver.

pub mod address;
mod control;
pub mod fake;
mod handshake;
mod listener;
pub mod message;
mod secret;
mod socket;

pub use secret::{Secret, SecretError};
pub use socket::Credentials;
