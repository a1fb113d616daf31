//! A driver of a shared object, as a [`Driver`].
//!
//! This file owns `unsafe`: it calls the driver's functions.

#![allow(unsafe_code)]

use pmd_core::deployment::DeviceSpec;
use pmd_core::{DeviceRequest, Driver, Lport, MachineProblem, OpenError, OptionError, OptionSpec, Options, QueueCount};
use pmd_plugin::abi;

use crate::device;
use crate::library::Library;
use crate::options::{Problems, Values};
use crate::table::Table;
use crate::text::{Space, c_string};

/// The driver.
pub(crate) struct Plugged {
    table: Table,
    library: &'static Library,
}

impl Plugged {
    pub(crate) fn new(table: Table, library: &'static Library) -> Self {
        Self { table, library }
    }

    fn values(&self, options: &Options) -> Values {
        Values::new(&self.table.options, options)
    }
}

impl Driver for Plugged {
    fn name(&self) -> &str {
        &self.table.name
    }

    fn summary(&self) -> &str {
        &self.table.summary
    }

    fn options(&self) -> &[OptionSpec] {
        &self.table.options
    }

    fn needs_pool(&self) -> bool {
        self.table.needs_pool
    }

    fn check(&self, options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
        let Some(check) = self.table.functions.more.check else { return Ok(()) };
        let values = self.values(options);
        // SAFETY: the driver's function, with arguments that are valid during the call.
        let found = Problems::of(|problems| unsafe { check(&values.as_c(), queues as u32, problems) });
        let errors: Vec<_> = found.into_iter().map(|found| OptionError::value(found.option, found.message)).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn shares_pools(&self, options: &Options) -> bool {
        let values = self.values(options);
        // SAFETY: as above.
        self.table.functions.more.shares_pools.is_some_and(|shares| unsafe { shares(&values.as_c()) } != 0)
    }

    fn claim(&self, options: &Options) -> Option<String> {
        let values = self.values(options);
        let mut claim = Space::new();
        // SAFETY: as above.
        (unsafe { self.table.functions.more.claim?(&values.as_c(), claim.as_mut_ptr()) } != 0).then(|| claim.text())
    }

    fn queue_count(&self, device: &str, options: &Options) -> QueueCount {
        let Some(count) = self.table.functions.more.queue_count else { return QueueCount::AsTold };
        let (name, values, mut why) = (c_string(device), self.values(options), Space::new());
        // SAFETY: as above.
        match unsafe { count(name.as_ptr(), &values.as_c(), why.as_mut_ptr()) } {
            abi::QUEUES_AS_TOLD => QueueCount::AsTold,
            abi::QUEUES_UNKNOWN => QueueCount::Unknown(why.text()),
            count => u16::try_from(count).map_or_else(
                |_| QueueCount::Unknown(format!("its driver says {count}, which is no number of queues")),
                QueueCount::Has,
            ),
        }
    }

    fn check_machine(&self, device: &DeviceSpec, options: &Options) -> Vec<MachineProblem> {
        let Some(check) = self.table.functions.more.check_machine else { return Vec::new() };
        let (name, values) = (c_string(&device.name), self.values(options));
        // SAFETY: as above.
        let found = Problems::of(|problems| unsafe { check(name.as_ptr(), &values.as_c(), problems) });
        let known = |name: &str| self.table.options.iter().find(|option| option.name == name).map(|option| option.name);
        let problem = |found: crate::options::Problem| MachineProblem {
            // About no option that there is: about the device.
            option: known(&found.option).unwrap_or_default(),
            message: found.message,
            fatal: found.fatal,
        };
        found.into_iter().map(problem).collect()
    }

    fn open(&self, request: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let values = self.values(&request.options);
        device::open(&self.table, self.library, request, &values)
    }
}
