//! What a file asks of this machine: `lport check --machine`.
//!
//! 1. [`Facts`] are what is known of a machine. [`Facts::gather`] asks this one; tests make them up.
//! 2. [`check`] compares a checked file with them: CPUs (`cpus`), memory (`memory`), and what each driver says about its
//!    devices. Nothing is opened, made or changed.

mod cpus;
mod memory;
#[cfg(test)]
mod tests;

use lport_config::{Places, Problem, Span};
use pmd_core::deployment::{Deployment, DeviceSpec};
use pmd_core::lcore::allowed_cpus;
use pmd_core::runtime::cpus_of_threads;
use pmd_core::topology::Machine;
use pmd_core::{Options, Registry};

pub(crate) use memory::HugePages;

use crate::rules;

/// A machine, as far as files depend on it.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) topology: Machine,
    /// Why the topology is not known beyond the CPUs that are allowed.
    pub(crate) topology_error: Option<String>,
    pub(crate) huge_pages: HugePages,
    /// Bytes of memory that can be had; `None` if that is not known.
    pub(crate) memory: Option<usize>,
}

impl Facts {
    /// Those of this machine.
    pub(crate) fn gather() -> Self {
        let (topology, topology_error) = match Machine::detect() {
            Ok(topology) => (topology, None),
            Err(error) => (Machine::flat(&allowed_cpus()), Some(error.to_string())),
        };
        Self { topology, topology_error, huge_pages: HugePages::read(), memory: memory::available() }
    }
}

/// Everything in the way of `deployment` on the machine of `facts`.
pub(crate) fn check(deployment: &Deployment, places: &Places, registry: &Registry, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(error) = &facts.topology_error {
        let message = format!("cores and NUMA nodes are not known: {error}");
        let problem = Problem::new(rules::TOPOLOGY_UNKNOWN, Span::default(), message);
        problems.push(problem.help("`lport topology` shows what is known"));
    }
    let cpus = cpus_of_threads(&deployment.threads, || facts.topology.clone());
    problems.extend(cpus::missing(&deployment.threads, places, &facts.topology));
    problems.extend(cpus::crowded(&deployment.threads, &cpus, places, &facts.topology));
    problems.extend(memory::remote(deployment, &cpus, places, &facts.topology));
    problems.extend(memory::huge_pages(&deployment.pools, places, &facts.huge_pages));
    problems.extend(facts.memory.and_then(|available| memory::exhausted(&deployment.pools, places, available)));
    problems.extend(deployment.devices.iter().flat_map(|device| check_device(device, places, registry)));
    problems
}

/// What the driver says about a device, at the option that it is about.
fn check_device(device: &DeviceSpec, places: &Places, registry: &Registry) -> Vec<Problem> {
    let Some(driver) = registry.get(&device.driver) else {
        let message =
            format!("device `{}` cannot be opened: this program has no driver `{}`", device.name, device.driver);
        let place = places.driver(&device.name).unwrap_or_default();
        let problem = Problem::new(rules::DEVICE_IMPOSSIBLE, place, message).label("not in this program");
        return vec![problem.help("`lport drivers` lists those there are")];
    };
    let Ok(options) = Options::check(driver.options(), &device.options) else { return Vec::new() };
    let found = driver.check_machine(device, &options).into_iter().map(|found| {
        let rule = if found.fatal { rules::DEVICE_IMPOSSIBLE } else { rules::DEVICE_INCOMPLETE };
        let place = places.option_value(&device.name, found.option).or_else(|| places.driver(&device.name));
        let help = match found.fatal {
            true => "`lport run` needs it; with --allow-partial it runs without the device",
            false => "the link comes up by itself as soon as that is there",
        };
        Problem::new(rule, place.unwrap_or_default(), format!("device `{}`: {}", device.name, found.message))
            .label("not to be had")
            .help(help)
    });
    found.collect()
}

/// Where it is said on which CPUs a thread runs: its group, or else its name.
fn place_of(thread: &str, places: &Places) -> Span {
    places.thread_group(thread).or_else(|| places.thread(thread)).unwrap_or_default()
}
