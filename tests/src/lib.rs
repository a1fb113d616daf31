//! The harness of the whole-program tests: real peers and our own program as child processes.
//!
//! A test
//! 1. takes the machine: [`Testbed::new`] waits until no other test of this build tree runs, and gives a directory;
//! 2. starts peers ([`Testbed::testpmd`]) and our program ([`Testbed::lport`]), each a child process with its output
//!    captured;
//! 3. drives them by commands and signals, and waits for conditions it can see, each with a [`DEADLINE`];
//! 4. stops them and compares numbers and contents.
//!
//! Whatever a test started is killed when its handle is dropped, and the directory goes with the [`Testbed`]. Nothing
//! is skipped when a peer is missing: the test fails and names the command that installs it.

pub mod allocations;
pub mod cargo;
pub mod comparison;
pub mod flood;
pub mod lport;
pub mod lport_file;
pub mod lports;
pub mod measure;
pub mod memif;
pub mod namespace;
pub mod packets;
pub mod pcap;
pub mod process;
pub mod storm;
pub mod summary;
pub mod testbed;
pub mod testpmd;

pub use lport::Lport;
pub use lport_file::LportFile;
pub use namespace::Namespace;
pub use testbed::Testbed;
pub use testpmd::Testpmd;

/// How long a condition may take to come true. Generous, because poll loops of several processes share few cores;
/// a test that passes never waits for it.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);
