//! The two reference drivers: what an author of a driver reads first, and what tests use when no device is meant.

mod null;
mod ring;

pub use null::NullDriver;
pub use ring::RingDriver;
