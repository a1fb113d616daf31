//! Why a deployment could not be started: everything that failed, each by name.

use std::fmt;

use crate::driver::OpenError;
use crate::lcore::LcoreError;
use crate::options::OptionError;
use crate::pool::PoolError;

/// All failures of a start.
#[derive(Debug)]
pub struct RuntimeError {
    /// At least one.
    pub failures: Vec<StartFailure>,
}

/// One thing that was configured and failed.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// The deployment contradicts itself.
    #[error("{0}")]
    Deployment(String),
    /// A device names a driver the program does not have.
    #[error("device `{device}`: there is no driver `{driver}`; known are: {known}")]
    UnknownDriver {
        /// Name of the device.
        device: String,
        /// The driver it names.
        driver: String,
        /// All there are.
        known: String,
    },
    /// A driver option is wrong.
    #[error("device `{device}`, driver `{driver}`: {source}")]
    DriverOption {
        /// Name of the device.
        device: String,
        /// Its driver.
        driver: String,
        /// What is wrong.
        source: OptionError,
    },
    /// An lport names a wrapper the program does not have.
    #[error("lport `{lport}`: there is no wrapper `{wrapper}`; known are: {known}")]
    UnknownWrapper {
        /// Name of the lport.
        lport: String,
        /// The wrapper it names.
        wrapper: String,
        /// All there are.
        known: String,
    },
    /// An option of a wrapper is wrong.
    #[error("lport `{lport}`, wrapper `{wrapper}`: {source}")]
    WrapperOption {
        /// Name of the lport.
        lport: String,
        /// Its wrapper.
        wrapper: String,
        /// What is wrong.
        source: OptionError,
    },
    /// A thread cannot run where it should.
    #[error("thread `{thread}`: {source}")]
    Lcore {
        /// Name of the thread.
        thread: String,
        /// Why.
        source: LcoreError,
    },
    /// No task for a thread.
    #[error("thread `{thread}`: {source}")]
    Task {
        /// Name of the thread.
        thread: String,
        /// Why.
        source: TaskError,
    },
    /// A pool could not be made.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A device could not be opened.
    #[error("{} of {driver} cannot be opened: {source}", lport_list(.lports))]
    Device {
        /// Names of its lports.
        lports: Vec<String>,
        /// Its driver.
        driver: String,
        /// Why.
        source: OpenError,
    },
    /// The system gave no thread.
    #[error("thread `{thread}` cannot be started: {source}")]
    Thread {
        /// Name of the thread.
        thread: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why an application has no task for a thread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TaskError(pub String);

/// `lport x`, or `lports x, y`.
fn lport_list(lports: &[String]) -> String {
    let names: Vec<_> = lports.iter().map(|name| format!("`{name}`")).collect();
    format!("lport{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

impl StartFailure {
    /// Whether the configuration is at fault, rather than the machine or a device.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Pool(PoolError::Memory { .. }) | Self::Device { .. } | Self::Thread { .. } => false,
            Self::Lcore { source, .. } => matches!(source, LcoreError::NotAllowed { .. }),
            _ => true,
        }
    }
}

impl RuntimeError {
    /// Whether the configuration is at fault in at least one of the failures.
    pub fn is_configuration(&self) -> bool {
        self.failures.iter().any(StartFailure::is_configuration)
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.failures.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for RuntimeError {}
