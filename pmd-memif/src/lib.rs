//! The memif driver.

pub mod address;
#[cfg_attr(not(test), expect(dead_code, reason = "the driver that opens interfaces comes next"))]
mod control;
mod copy;
pub mod fake;
mod handshake;
mod listener;
pub mod message;
mod ring;
mod secret;
mod shm;
mod socket;

pub use secret::{Secret, SecretError};
pub use socket::Credentials;
