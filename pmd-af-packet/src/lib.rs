//! The driver `net_af_packet`: any network interface of the kernel, through packet sockets (DPDK's net_af_packet).
//!
//! ```text
//!   interface --> kernel --> ring of blocks, one per queue --> rx_burst    no system call
//!             <-- kernel <-- sendmmsg                      <-- tx_burst    one per burst
//!       ^
//!       '-- watch: up, down, gone, back
//! ```
//!
//! Life of a device:
//! 1. [`AfPacketDriver`] checks options and finds the interface; `device` builds sockets for all queues on it.
//! 2. Packets that come are copied by the kernel into the ring of the queue that `fanout_mode` chooses, and from there into
//!    mbufs by `rx`. What is sent by this machine through the interface is not among them.
//! 3. What the local stack left to hardware (checksums, cutting into segments) is done in software (`offload`), and VLAN
//!    tags that the kernel took out are put back: what a burst holds is what goes over a wire.
//! 4. `tx` sends a burst with one call.
//! 5. The interface going down, away and coming back changes the link, and the queues go on by themselves.
//!
//! Frames begin with their Ethernet header. Interfaces without one (tun, WireGuard) carry packets that begin with their IP
//! header, as those of net_tun and of a memif in IP mode do; such lports have no MAC address.
//!
//! The kernel's own stack goes on receiving the same packets; give the interface no addresses if it is not to answer.
//!
//! Needs Linux 5.10 or later.
//!
//! `unsafe` is in `socket` (options and messages of packet sockets) and `ring` (the mapped ring).

mod counters;
mod device;
mod driver;
mod frame;
mod offload;
mod options;
mod ring;
mod rx;
mod socket;
mod tx;

pub use driver::AfPacketDriver;
