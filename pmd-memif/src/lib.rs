//! The memif driver.

mod copy;
mod ring;
mod shm;
