//! What lport-config asks about drivers, answered from the registry.

use lport_config::DriverCheck;
use pmd_core::deployment::DeviceSpec;
use pmd_core::{OptionError, OptionSpec, Options, QueueCount, Registry};

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

    fn claim(&self, device: &DeviceSpec) -> Option<String> {
        let driver = self.0.get(&device.driver)?;
        driver.claim(&Options::check(driver.options(), &device.options).ok()?)
    }

    fn queue_count(&self, device: &DeviceSpec) -> QueueCount {
        let asked = self.0.get(&device.driver).and_then(|driver| {
            let options = Options::check(driver.options(), &device.options).ok()?;
            Some(driver.queue_count(&device.name, &options))
        });
        asked.unwrap_or_else(|| QueueCount::Unknown("its driver's options are wrong".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lport_config::{Config, Settings};
    use pmd_core::{DeviceRequest, Driver, Lport, OpenError};

    use super::*;

    /// A driver whose devices called `nicN` have three queues.
    struct Nic;

    impl Driver for Nic {
        fn name(&self) -> &str {
            "net_nic"
        }

        fn summary(&self) -> &str {
            "for tests"
        }

        fn options(&self) -> &[OptionSpec] {
            &[]
        }

        fn queue_count(&self, device: &str, _options: &Options) -> QueueCount {
            if device.starts_with("nic") { QueueCount::Has(3) } else { QueueCount::Unknown("it is not here".into()) }
        }

        fn open(&self, _device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
            Err(OpenError("never opened".into()))
        }
    }

    /// The lports that a group of all queues of `netdev` makes, or the codes of what is wrong with it.
    fn all_queues(driver: &str, netdev: &str) -> Result<Vec<String>, Vec<&'static str>> {
        let mut registry = Registry::with_reference_drivers();
        registry.add(Arc::new(Nic));
        let text = format!(
            r#"{{ "lport-groups": {{ "g": {{ "netdevs": ["{netdev}"], "queues": "all", "threads": ["fwd"], "pmd": "{driver}" }} }},
                 "lcore-groups": {{ "default": [] }}, "threads": {{ "fwd": {{}} }} }}"#
        );
        let outcome = Config::parse("t", &text, &Settings::default().drivers(&Drivers(&registry)));
        let codes = outcome.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        let lports = |config: &Config| {
            config.deployment.lports().iter().map(|(_, queue)| queue.name.clone()).collect::<Vec<_>>()
        };
        outcome.config.as_ref().map(lports).ok_or(codes)
    }

    #[test]
    fn all_queues_are_as_many_as_the_driver_says() {
        let three = ["nic0:0", "nic0:1", "nic0:2"].map(str::to_owned);
        assert_eq!(all_queues("net_nic", "nic0"), Ok(three.to_vec()));
        assert_eq!(all_queues("net_nic", "absent"), Ok(vec!["absent:0".to_owned()]), "with a warning");
        assert_eq!(all_queues("net_ring", "r"), Err(vec!["E0214"]), "as many as it is told");
    }
}
