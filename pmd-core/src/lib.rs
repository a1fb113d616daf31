//! A poll mode driver framework.

pub mod burst;
pub mod deployment;
pub mod driver;
pub mod drivers;
mod lane;
pub mod lcore;
pub mod lport;
pub mod mbuf;
pub mod options;
pub mod pool;
pub mod runtime;
pub mod stats;
pub mod topology;
pub mod worker;

pub use burst::{BURST_MAX, Burst};
pub use deployment::{Deployment, LportId};
pub use driver::{DeviceRequest, Driver, OpenError, QueueRequest, Registry};
pub use lport::{Link, Lport, LportControl, LportInfo, RxQueue, TxQueue};
pub use mbuf::Mbuf;
pub use options::{OptionError, OptionKind, OptionSpec, Options, RawOption, RawValue};
pub use pool::{Pool, PoolConfig, PoolError};
pub use runtime::{Report, Runtime, RuntimeError, Settings, TaskContext, TaskError};
pub use stats::{Counter, LportStats};
pub use worker::{Ports, Task};
