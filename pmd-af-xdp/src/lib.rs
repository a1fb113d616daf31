//! The AF_XDP driver: queues of the kernel's network interfaces, past its stack.
//!
//! ```text
//!   interface ---XDP program, map of sockets---> socket            steering, program
//!    queue 0..n                                    | 4 rings        socket, sys::xsk, sys::ring
//!                                                  v
//!                     fill, rx  <----> rx ---\
//!                     tx, completion <> tx ---+--> queue: RxQueue, TxQueue
//!                                                  |
//!                     umem = the pool's memory: its mbufs are what the kernel fills and sends
//! ```
//!
//! Life of a device:
//! 1. [`AfXdpDriver`] opens it: a socket for each queue, bound with zero copy where the interface has it; a map of sockets
//!    and a program that hands each queue's packets to its socket.
//! 2. The halves of each queue own the ends of its socket. Mbufs go to the kernel by address and come back by address.
//! 3. An interface that goes away takes the link down; when it is back, the device connects anew.
//! 4. When the last half is gone, sockets and program go, and every mbuf is back in its pool.
//!
//! Linux 5.9 or newer; 5.11 for busy polling. Nothing is compiled: the program is six instructions, written out in
//! `program`.
//!
//! Trust: the kernel writes rings and packets. What it says is checked all the same before it is used as a place.

mod counters;
mod device;
mod driver;
mod options;
mod plugin;
mod program;
mod provide;
mod queue;
mod rings;
mod rx;
mod socket;
mod steering;
mod sys;
#[cfg(test)]
mod tests;
mod tx;
mod umem;

pub use driver::AfXdpDriver;
pub use provide::provide;
