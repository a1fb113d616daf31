//! A driver with a wrapper around each of its lports: how a wrapper is checked.

use std::sync::Arc;

use crate::deployment::{DeviceSpec, XdpHints};
use crate::driver::{DeviceRequest, Driver, MachineProblem, OpenError, QueueCount};
use crate::lport::Lport;
use crate::options::{OptionError, OptionSpec, Options, RawOption};
use crate::wrapper::Wrapper;

/// A driver whose lports are wrapped. To everybody else it is the driver itself.
///
/// A wrapper that changes no packets passes the suite around any driver that does, with the driver's own
/// [`Capabilities`](super::Capabilities).
pub struct Wrapped {
    driver: Arc<dyn Driver>,
    wrapper: Arc<dyn Wrapper>,
    given: Vec<RawOption>,
}

impl Wrapped {
    /// The lports of `driver` inside of `wrapper` with these options.
    pub fn new(driver: Arc<dyn Driver>, wrapper: impl Wrapper + 'static, options: &[(&str, &str)]) -> Self {
        let given = options.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
        Self { driver, wrapper: Arc::new(wrapper), given }
    }
}

impl Driver for Wrapped {
    fn name(&self) -> &str {
        self.driver.name()
    }

    fn summary(&self) -> &str {
        self.driver.summary()
    }

    fn options(&self) -> &[OptionSpec] {
        self.driver.options()
    }

    fn needs_pool(&self) -> bool {
        self.driver.needs_pool()
    }

    fn check(&self, options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
        self.driver.check(options, queues)
    }

    fn shares_pools(&self, options: &Options) -> bool {
        self.driver.shares_pools(options)
    }

    fn chunks_pools(&self, options: &Options, hints: &XdpHints) -> bool {
        self.driver.chunks_pools(options, hints)
    }

    fn queue_count(&self, device: &str, options: &Options) -> QueueCount {
        self.driver.queue_count(device, options)
    }

    fn claim(&self, options: &Options) -> Option<String> {
        self.driver.claim(options)
    }

    fn check_machine(&self, device: &DeviceSpec, options: &Options) -> Vec<MachineProblem> {
        self.driver.check_machine(device, options)
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let options =
            Options::check(self.wrapper.options(), &self.given).map_err(|errors| OpenError(errors[0].to_string()))?;
        self.wrapper.check(&options).map_err(|errors| OpenError(errors[0].to_string()))?;
        self.driver.open(device)?.into_iter().map(|lport| self.wrapper.wrap(lport, &options)).collect()
    }
}
