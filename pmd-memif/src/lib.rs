//! The memif driver: shared-memory packet interfaces to DPDK, VPP, libmemif and CNDP processes, both roles.
//!
//! ```text
//!   control thread                                      polling threads
//!   socket, listener --> handshake --> control --up-->  device (epoch) --> queue --> ring::{rx, tx}
//!        message             (pure)      |                                             |
//!                                        +-- link, layout: what the rings are          shm, copy: the only way
//!                                                                                      into shared memory
//! ```
//!
//! Life of a link:
//! 1. [`MemifDriver`] opens a device: one interface with the control thread, one lport per queue.
//! 2. The control thread listens or connects, and runs the handshake, a pure state machine.
//! 3. It builds a complete link (regions mapped, rings checked) and publishes it: the device's epoch changes.
//! 4. Each queue takes its rings at its next burst and owns them; they keep the memory alive.
//! 5. When the peer goes, the epoch changes again; each queue lets its rings go by itself, and the last unmaps. No thread
//!    waits for another, and no memory goes away under a burst.
//! 6. A client reconnects with backoff; a server takes the next client.
//!
//! Trust: nothing read from shared memory or from a socket is believed. A violation costs the peer its packet or its link
//! and is counted by kind.

pub mod address;
mod control;
mod copy;
mod counters;
mod details;
mod device;
mod doorbell;
mod driver;
mod epoch;
pub mod fake;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod inherited;
mod layout;
mod link;
mod listener;
pub mod message;
mod options;
mod queue;
mod ring;
mod secret;
mod shm;
mod sigbus;
mod socket;
mod sync;
mod view;

pub use driver::{CndpMemifDriver, MemifDriver};
pub use secret::{Secret, SecretError};
pub use socket::Credentials;
