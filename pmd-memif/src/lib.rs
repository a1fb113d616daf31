//! The memif driver.

pub mod address;
mod copy;
mod handshake;

pub mod message;
mod ring;
mod secret;
mod shm;

pub use secret::{Secret, SecretError};
