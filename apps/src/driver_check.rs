//! What lport-config asks about drivers, answered from the registry.

use lport_config::DriverCheck;
use pmd_core::deployment::DeviceSpec;
use pmd_core::{OptionError, OptionSpec, Options, Registry};

/// The registry, as lport-config wants to see it.
pub(crate) struct Drivers<'a>(pub(crate) &'a Registry);

impl DriverCheck for Drivers<'_> {
    fn driver_names(&self) -> Vec<String> {
        self.0.names().into_iter().map(str::to_owned).collect()
    }

    fn options(&self, driver: &str) -> Vec<OptionSpec> {
        self.0.get(driver).map(|driver| driver.options().to_vec()).unwrap_or_default()
    }

    fn needs_umem(&self, driver: &str) -> bool {
        self.0.get(driver).is_some_and(|driver| driver.needs_pool())
    }

    fn check(&self, device: &DeviceSpec) -> Vec<OptionError> {
        let Some(driver) = self.0.get(&device.driver) else { return Vec::new() };
        let checked = Options::check(driver.options(), &device.options)
            .and_then(|options| driver.check(&options, device.queues.len()));
        checked.err().unwrap_or_default()
    }

    fn queue_count(&self, device: &DeviceSpec) -> Option<u16> {
        let driver = self.0.get(&device.driver)?;
        driver.queue_count(&device.name, &Options::check(driver.options(), &device.options).ok()?)
    }
}
