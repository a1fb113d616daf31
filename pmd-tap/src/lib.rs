//! The drivers `net_tap` and `net_tun`: interfaces of the kernel's own network stack, whose other end is an lport.
//!
//! ```text
//!   the kernel's stack                                            us
//!   ip, ping, sockets --> interface tap0 --> queue of /dev/net/tun --read--> rx_burst
//!                                        <--                       <-write-- tx_burst
//! ```
//!
//! Life of a device:
//! 1. [`TapDriver`] makes the interface, or takes over a persistent one, and sets what its options say (`interface`).
//! 2. Each lport is a queue of it, a descriptor of `/dev/net/tun` (`tun`, the only file with `unsafe`). The kernel deals
//!    flows out over the queues.
//! 3. A burst reads or writes packet by packet, one system call each, because that is what the device gives (`queue`).
//! 4. A watch on the interface tells when it is set down or up, gets another MTU, is removed, or made again: then the
//!    queues are attached again (`device`).
//! 5. When queues and control handles are gone, so is the interface, unless it is persistent.
//!
//! A frame of net_tap begins with its Ethernet header. A packet of net_tun has none and begins with its IP header, as
//! those of a memif in IP mode do; such lports have no MAC address, and fit each other.
//!
//! No offloads: the kernel completes checksums and segments packets before we see them.

mod device;
mod driver;
mod interface;
mod options;
mod queue;
mod tun;

pub use driver::TapDriver;
