//! Capture files as lports: the driver `net_pcap` plays pcap and pcapng files and records pcapng, and the wrapper `tap`
//! records what passes through an lport of any driver.
//!
//! ```text
//!   rx_pcap --load--> capture::Capture --play::Player, by the clock or not--> rx_burst
//!   tx_burst --> record::Track (a buffer) --when full or flushed--> record::Recording (the file)
//! ```
//!
//! Life of a device:
//! 1. [`PcapDriver`] checks the options and loads what is to be played, wholly, before anything is overwritten.
//!    Received packets go into the lport's pool, or, when none is named, into one of its own.
//! 2. It opens the files to be recorded: each queue is an interface of its file, and several queues may share one.
//! 3. rx_burst copies packets out of memory into mbufs, those that are due. At the end of the file it gives nothing more,
//!    and the link stays up: what comes in may be over while what goes out is not.
//! 4. tx_burst copies packets into the queue's buffer. Writing is one system call for a whole buffer.
//! 5. Dropping the queues writes what is left.
//!
//! A file is never believed: see [`capture`].

#![forbid(unsafe_code)]

pub mod capture;
mod control;
mod driver;
mod options;
mod play;
mod queue;
pub mod record;
mod tap;

pub use capture::{Capture, CaptureError, Direction};
pub use driver::PcapDriver;
pub use record::Recordings;
pub use tap::PcapTap;
