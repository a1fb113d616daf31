//! A poll mode driver framework: packets in user space, without a kernel in between, on threads that own their cores.
//!
//! ```text
//!   Driver --open--> Lport { rx, tx, control }        one per queue of a device
//!                      |  ^
//!             rx_burst |  | tx_burst                  a Burst of Mbufs, owned by whoever holds it
//!                      v  |
//!                    a thread, pinned                 alloc and free: Pool, through the thread's cache
//! ```
//!
//! The rooms of the house:
//!
//! | module | what lives there |
//! |---|---|
//! | [`mbuf`], [`burst`], [`pool`] | packets, lists of packets, and where they come from |
//! | [`lport`], [`driver`], [`options`] | what a driver is, gives and accepts |
//! | [`device`] | what the queues and control handles of most devices share |
//! | [`details`] | what a driver tells of its device, for people and telemetry |
//! | [`raw`] | mbufs as pointers, for drivers in shared objects |
//! | [`drivers`] | the two reference drivers, `net_null` and `net_ring` |
//! | `conformance` | the suite that every driver has to pass; feature `conformance`, for tests |
//! | [`deployment`] | what is to be run, as plain data |
//! | [`runtime`] | a deployment made live, changed while it runs, and stopped |
//! | [`stats`] | counters with one writer |
//! | [`wrapper`], [`wrappers`] | what goes around an lport of any driver: `fault`, `trace` |
//! | [`alarm`] | waking a thread at a moment |
//! | [`checksum`] | the Internet checksum |
//! | [`netdev`], [`netns`], [`privileges`] | the kernel's interfaces, namespaces and capabilities: for drivers of it |
//!
//! The hot path takes no lock, makes no system call, allocates nothing and uses no atomic read-modify-write
//! (but one per burst where a driver lends memory, see [`pool::Lender`]): an mbuf comes
//! from a per-thread cache, a burst costs one virtual call, and counters are stored once per burst.
//!
//! Driver authors begin with [`Driver`] and read `drivers/null.rs`.

pub mod alarm;
pub mod burst;
pub mod checksum;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod deployment;
pub mod details;
pub mod device;
pub mod driver;
pub mod drivers;
pub mod fifo;
mod lane;
pub mod lcore;
pub mod lport;
pub mod mbuf;
pub mod netdev;
pub mod netns;
pub mod options;
pub mod pool;
pub mod privileges;
pub mod raw;
pub mod runtime;
pub mod stats;
mod sync;
pub mod topology;
pub mod worker;
pub mod wrapper;
pub mod wrappers;

pub use alarm::Alarm;
pub use burst::{BURST_MAX, Burst};
pub use deployment::{Deployment, LportId};
pub use details::Details;
pub use device::{DeviceControl, DeviceState, QueueCounters};
pub use driver::{DeviceRequest, Driver, MachineProblem, OpenError, QueueCount, QueueRequest, Registry};
pub use fifo::MbufFifo;
pub use lport::{Link, Lport, LportControl, LportInfo, RxQueue, TxQueue};
pub use mbuf::Mbuf;
pub use options::{OptionError, OptionKind, OptionSpec, Options, RawOption, RawValue};
pub use pool::{Pool, PoolConfig, PoolError};
pub use runtime::{Plan, Report, Runtime, RuntimeError, Settings, TaskChange, TaskContext, TaskError};
pub use stats::{Counter, LportStats};
pub use worker::{Ports, Task};
pub use wrapper::Wrapper;
