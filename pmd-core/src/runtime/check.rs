//! What can be said of a deployment before anything is opened: that it is consistent, its drivers and wrappers are there,
//! and they accept their options.

use std::collections::HashSet;

use super::error::StartFailure;
use crate::deployment::{Deployment, DeviceSpec, QueueSpec, WrapSpec};
use crate::driver::Registry;
use crate::options::Options;

/// The checked options of each device, in the deployment's order.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn check(deployment: &Deployment, registry: &Registry) -> Result<Vec<Options>, Vec<StartFailure>> {
    let mut failures: Vec<_> = contradictions(deployment).into_iter().map(StartFailure::Deployment).collect();
    let mut options = Vec::new();
    for device in &deployment.devices {
        match check_device(device, registry) {
            Ok(checked) => options.push(checked),
            Err(problems) => failures.extend(problems),
        }
        failures.extend(device.queues.iter().flat_map(|queue| check_wrappers(queue, registry)));
    }
    if failures.is_empty() { Ok(options) } else { Err(failures) }
}

fn check_device(device: &DeviceSpec, registry: &Registry) -> Result<Options, Vec<StartFailure>> {
    let Some(driver) = registry.get(&device.driver) else {
        let known = registry.names().join(", ");
        let (device, driver) = (device.name.clone(), device.driver.clone());
        return Err(vec![StartFailure::UnknownDriver { device, driver, known }]);
    };
    let checked = Options::check(driver.options(), &device.options)
        .and_then(|options| driver.check(&options, device.queues.len()).map(|()| options));
    checked.map_err(|errors| {
        let failure = |source| {
            let (device, driver) = (device.name.clone(), device.driver.clone());
            StartFailure::DriverOption { device, driver, source }
        };
        errors.into_iter().map(failure).collect()
    })
}

/// What is wrong with the wrappers of an lport.
fn check_wrappers(queue: &QueueSpec, registry: &Registry) -> Vec<StartFailure> {
    let mut failures = Vec::new();
    for WrapSpec { wrapper: name, options } in &queue.wrap {
        let (lport, wrapper) = (queue.name.clone(), name.clone());
        let Some(known) = registry.wrapper(name) else {
            let known = registry.wrappers().map(|wrapper| wrapper.name()).collect::<Vec<_>>().join(", ");
            failures.push(StartFailure::UnknownWrapper { lport, wrapper, known });
            continue;
        };
        let checked = Options::check(known.options(), options).and_then(|options| known.check(&options));
        let failure = |source| StartFailure::WrapperOption { lport: lport.clone(), wrapper: wrapper.clone(), source };
        failures.extend(checked.err().unwrap_or_default().into_iter().map(failure));
    }
    failures
}

/// Everything in a deployment that contradicts itself. A file cannot express most of it, code can.
fn contradictions(deployment: &Deployment) -> Vec<String> {
    let mut found = Vec::new();
    let lports = deployment.lports();
    for (position, (_, queue)) in lports.iter().enumerate() {
        if usize::from(queue.lport.0) != position {
            found
                .push(format!("lport `{}` has id {}, but ids must be 0, 1, 2, ... each once", queue.name, queue.lport));
        }
        if let Some(pool) = queue.pool.filter(|pool| pool.0 >= deployment.pools.len()) {
            let pools = deployment.pools.len();
            found.push(format!("lport `{}` wants pool {}, but there are only {pools}", queue.name, pool.0));
        }
    }
    let mut polled = HashSet::new();
    for thread in &deployment.threads {
        for id in &thread.lports {
            let Some((_, queue)) = lports.get(usize::from(id.0)) else {
                found.push(format!("thread `{}` polls lport {id}, but there are only {}", thread.name, lports.len()));
                continue;
            };
            if !polled.insert(id) {
                found
                    .push(format!("thread `{}` polls lport `{}` as well; give it one thread", thread.name, queue.name));
            }
        }
    }
    for device in deployment.devices.iter().filter(|device| device.queues.is_empty()) {
        found.push(format!("device `{}` has no queue", device.name));
    }
    found
}
