//! The memif driver.

pub mod address;
pub mod message;
mod secret;

pub use secret::{Secret, SecretError};
