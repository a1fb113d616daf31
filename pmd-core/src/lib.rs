//! A poll mode driver framework.

pub mod burst;
pub mod deployment;
pub mod driver;
pub mod drivers;
mod lane;
pub mod lport;
pub mod mbuf;
pub mod options;
pub mod pool;
pub mod stats;

pub use burst::{BURST_MAX, Burst};
pub use deployment::{Deployment, LportId};
pub use driver::{DeviceRequest, Driver, OpenError, QueueRequest, Registry};
pub use lport::{Link, Lport, LportControl, LportInfo, RxQueue, TxQueue};
pub use mbuf::Mbuf;
pub use options::{OptionError, OptionKind, OptionSpec, Options, RawOption, RawValue};
pub use pool::{Pool, PoolConfig, PoolError};
pub use stats::{Counter, LportStats};
