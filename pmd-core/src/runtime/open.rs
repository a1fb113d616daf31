//! Making pools and opening devices: everything is tried, and every failure kept.

use std::sync::Arc;

use super::error::StartFailure;
use crate::deployment::{Deployment, DeviceSpec, PoolSpec, QueueSpec};
use crate::driver::{DeviceRequest, OpenError, QueueRequest, Registry};
use crate::lcore::pin_current;
use crate::lport::{Lport, LportControl};
use crate::options::Options;
use crate::pool::{Pool, PoolConfig, PoolError};

/// The pools that could be made, at their positions, and what failed. `options` are those of the devices.
pub(super) fn make_pools(
    deployment: &Deployment,
    options: &[Options],
    registry: &Registry,
    cpus: &[Vec<usize>],
) -> (Vec<Option<Pool>>, Vec<StartFailure>) {
    let shareable = shareable_pools(deployment, options, registry);
    let mut failures = Vec::new();
    let mut keep = |made: Result<Pool, PoolError>| made.map_err(|error| failures.push(error.into())).ok();
    let specs = deployment.pools.iter().enumerate();
    let make = |(i, spec)| keep(make_pool_on(spec, shareable[i], pool_cpus(deployment, cpus, i)));
    (specs.map(make).collect(), failures)
}

/// For each pool, whether a device of its wants to share it with a peer.
fn shareable_pools(deployment: &Deployment, options: &[Options], registry: &Registry) -> Vec<bool> {
    let mut shareable = vec![false; deployment.pools.len()];
    for (device, options) in deployment.devices.iter().zip(options) {
        if registry.get(&device.driver).is_some_and(|driver| driver.shares_pools(options)) {
            for pool in device.queues.iter().filter_map(|queue| queue.pool) {
                shareable[pool.0] = true;
            }
        }
    }
    shareable
}

/// The CPUs of the first thread that receives into pool number `pool`.
fn pool_cpus<'a>(deployment: &Deployment, cpus: &'a [Vec<usize>], pool: usize) -> &'a [usize] {
    let lports = deployment.lports();
    let uses_pool = |(_, queue): &(&DeviceSpec, &QueueSpec)| queue.pool.is_some_and(|index| index.0 == pool);
    let user = deployment
        .threads
        .iter()
        .position(|thread| thread.lports.iter().any(|id| lports.get(usize::from(id.0)).is_some_and(uses_pool)));
    user.map_or(&[], |thread| &cpus[thread])
}

/// Makes a pool where it will be used: memory lies on the node of the thread that touches it first.
fn make_pool_on(spec: &PoolSpec, shareable: bool, cpus: &[usize]) -> Result<Pool, PoolError> {
    let PoolSpec { name, size, data_room, cache, page } = spec.clone();
    let config = PoolConfig { name, size, data_room, cache, page, shareable };
    if cpus.is_empty() {
        return Pool::new(&config);
    }
    let make = || {
        // Not being pinned costs distance to memory at most; the polling thread reports it.
        let _ = pin_current(cpus);
        Pool::new(&config)
    };
    std::thread::scope(|scope| match scope.spawn(make).join() {
        Ok(made) => made,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// An lport of the deployment: as it was configured, and what became of it.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) pool: Option<Pool>,
    /// The control handle, or why the lport is absent.
    pub(super) control: Result<Arc<dyn LportControl>, String>,
}

/// What came of opening all devices, in the order of lport ids.
pub(super) struct Devices {
    pub(super) lports: Vec<Opened>,
    /// The queues; `None` for an absent lport.
    pub(super) queues: Vec<Option<Lport>>,
    pub(super) failures: Vec<StartFailure>,
}

/// Opens all devices whose pools are there.
pub(super) fn open_devices(
    deployment: &Deployment,
    options: Vec<Options>,
    registry: &Registry,
    pools: &[Option<Pool>],
) -> Devices {
    let lports: Vec<_> = deployment.lports().iter().map(|(device, queue)| absent(device, queue, pools)).collect();
    let queues = lports.iter().map(|_| None).collect();
    let mut devices = Devices { lports, queues, failures: Vec::new() };
    for (device, options) in deployment.devices.iter().zip(options) {
        if let Some(pool) = missing_pool(deployment, device, pools) {
            devices.set_absent(device, &format!("its pool `{pool}` could not be made"));
            continue;
        }
        match open_device(device, options, registry, pools) {
            Ok(opened) => devices.add(opened),
            Err(source) => devices.fail(device, source),
        }
    }
    devices
}

fn absent(device: &DeviceSpec, queue: &QueueSpec, pools: &[Option<Pool>]) -> Opened {
    let pool = queue.pool.and_then(|index| pools[index.0].clone());
    Opened { name: queue.name.clone(), driver: device.driver.clone(), pool, control: Err(String::new()) }
}

fn missing_pool<'a>(deployment: &'a Deployment, device: &DeviceSpec, pools: &[Option<Pool>]) -> Option<&'a str> {
    let mut indices = device.queues.iter().filter_map(|queue| queue.pool);
    indices.find(|index| pools[index.0].is_none()).map(|index| deployment.pools[index.0].name.as_str())
}

fn open_device(
    device: &DeviceSpec,
    options: Options,
    registry: &Registry,
    pools: &[Option<Pool>],
) -> Result<Vec<Lport>, OpenError> {
    let driver = registry.get(&device.driver).ok_or_else(|| OpenError("its driver is gone".into()))?;
    let request = |queue: &QueueSpec| QueueRequest {
        lport: queue.lport,
        name: queue.name.clone(),
        qid: queue.qid,
        pool: queue.pool.and_then(|index| pools[index.0].clone()),
        rx_desc: queue.rx_desc,
        tx_desc: queue.tx_desc,
        xdp: queue.xdp.clone(),
    };
    let queues = device.queues.iter().map(request).collect();
    let lports = driver.open(DeviceRequest { name: device.name.clone(), options, queues })?;
    let asked = device.queues.iter().map(|queue| queue.lport);
    if lports.iter().map(|lport| lport.id).eq(asked) {
        return Ok(lports);
    }
    let (given, wanted) = (lports.len(), device.queues.len());
    Err(OpenError(format!("a fault of the driver: it gave {given} lports, other than the {wanted} asked for")))
}

impl Devices {
    fn add(&mut self, opened: Vec<Lport>) {
        for lport in opened {
            let at = usize::from(lport.id.0);
            self.lports[at].control = Ok(Arc::clone(&lport.control));
            self.queues[at] = Some(lport);
        }
    }

    fn fail(&mut self, device: &DeviceSpec, source: OpenError) {
        self.set_absent(device, &source.0);
        let lports = device.queues.iter().map(|queue| queue.name.clone()).collect();
        self.failures.push(StartFailure::Device { lports, driver: device.driver.clone(), source });
    }

    fn set_absent(&mut self, device: &DeviceSpec, why: &str) {
        for queue in &device.queues {
            self.lports[usize::from(queue.lport.0)].control = Err(why.to_owned());
        }
    }
}
