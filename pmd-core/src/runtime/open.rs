//! Making pools and opening devices: everything is tried, and every failure kept.

use std::sync::Arc;

use super::error::StartFailure;
use crate::deployment::{Deployment, DeviceSpec, PoolSpec, QueueSpec};
use crate::driver::{DeviceRequest, OpenError, QueueRequest, Registry};
use crate::lcore::pin_current;
use crate::lport::{Lport, LportControl};
use crate::options::Options;
use crate::pool::{Pool, PoolConfig, PoolError};
use crate::worker::OwnLport;

/// The pools at their positions, those that could be made beside those that are there already, and what failed. `options`
/// are those of the devices.
pub(super) fn make_pools(
    deployment: &Deployment,
    options: &[Options],
    registry: &Registry,
    cpus: &[Vec<usize>],
    mut pools: Vec<Option<Pool>>,
) -> (Vec<Option<Pool>>, Vec<StartFailure>) {
    let wishes = pool_wishes(deployment, options, registry);
    let mut failures = Vec::new();
    for (i, (pool, spec)) in pools.iter_mut().zip(&deployment.pools).enumerate().filter(|(_, (pool, _))| pool.is_none())
    {
        match make_pool_on(spec, wishes[i], pool_cpus(deployment, cpus, i)) {
            Ok(made) => *pool = Some(made),
            Err(error) => failures.push(error.into()),
        }
    }
    (pools, failures)
}

/// What the devices of a pool want of its memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PoolWishes {
    /// To share it with a peer.
    pub(super) shareable: bool,
    /// Chunks of a power of two.
    chunked: bool,
}

/// What is wanted of each pool, by any of its devices.
pub(super) fn pool_wishes(deployment: &Deployment, options: &[Options], registry: &Registry) -> Vec<PoolWishes> {
    let mut wishes = vec![PoolWishes::default(); deployment.pools.len()];
    for (device, options) in deployment.devices.iter().zip(options) {
        let Some(driver) = registry.get(&device.driver) else { continue };
        for queue in &device.queues {
            let Some(pool) = queue.pool else { continue };
            wishes[pool.0].shareable |= driver.shares_pools(options);
            wishes[pool.0].chunked |= driver.chunks_pools(options, &queue.xdp);
        }
    }
    wishes
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
fn make_pool_on(spec: &PoolSpec, wishes: PoolWishes, cpus: &[usize]) -> Result<Pool, PoolError> {
    let PoolSpec { name, size, data_room, cache, page } = spec.clone();
    let PoolWishes { shareable, chunked } = wishes;
    let config = PoolConfig { name, size, data_room, cache, page, shareable, chunked };
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
    /// What threads that have ended had dropped on the way to it, in the order of [`crate::worker::Drops::NAMES`].
    pub(super) dropped_before: [u64; 3],
}

/// The devices of a deployment, lport by lport, in the order of lport ids.
pub(super) struct Devices {
    pub(super) lports: Vec<Opened>,
    /// The queues; `None` for an absent lport, and for one whose thread has them.
    pub(super) queues: Vec<Option<OwnLport>>,
    pub(super) failures: Vec<StartFailure>,
}

impl Devices {
    /// All lports of `deployment`, none of them open.
    pub(super) fn closed(deployment: &Deployment, pools: &[Option<Pool>]) -> Self {
        let lports: Vec<_> = deployment.lports().iter().map(|(device, queue)| absent(device, queue, pools)).collect();
        let queues = lports.iter().map(|_| None).collect();
        Self { lports, queues, failures: Vec::new() }
    }

    /// Opens each device that is not open yet and whose pools are there.
    pub(super) fn open(
        &mut self,
        deployment: &Deployment,
        options: Vec<Options>,
        registry: &Registry,
        pools: &[Option<Pool>],
    ) {
        for (device, options) in deployment.devices.iter().zip(options) {
            if self.is_open(device) {
                continue;
            }
            if let Some(pool) = missing_pool(deployment, device, pools) {
                self.set_absent(device, &format!("its pool `{pool}` could not be made"));
                continue;
            }
            match open_device(device, options, registry, pools) {
                Ok(opened) => self.add(opened),
                Err(source) => self.fail(device, source),
            }
        }
    }

    fn is_open(&self, device: &DeviceSpec) -> bool {
        device.queues.iter().all(|queue| self.lports[usize::from(queue.lport.0)].control.is_ok())
    }
}

fn absent(device: &DeviceSpec, queue: &QueueSpec, pools: &[Option<Pool>]) -> Opened {
    let pool = queue.pool.and_then(|index| pools[index.0].clone());
    let (name, driver) = (queue.name.clone(), device.driver.clone());
    Opened { name, driver, pool, control: Err(String::new()), dropped_before: [0; 3] }
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
        for Lport { id, rx, tx, control, .. } in opened {
            let at = usize::from(id.0);
            self.lports[at].control = Ok(control);
            self.queues[at] = Some(OwnLport { id, rx, tx });
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
