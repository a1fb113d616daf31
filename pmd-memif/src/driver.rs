//! The drivers `net_memif` (DPDK's options) and `net_memif_socket` (CNDP's form).
//!
//! Opening a device checks its options, opens the interface with the control thread and returns one lport per queue. A
//! peer that is not there yet is no error: the link is down until it comes.

use std::sync::Arc;

use pmd_core::deployment::DeviceSpec;
use pmd_core::{
    Details, DeviceRequest, Driver, Link, Lport, LportControl, LportInfo, LportStats, MachineProblem, OpenError,
    OptionError, OptionSpec, Options, Pool, RxQueue,
};

use crate::counters;
use crate::details;
use crate::device::{Device, OpenDevice};
use crate::link::Exports;
use crate::options::{self, Configured};
use crate::queue::{InterruptRx, MemifRx, MemifTx, RxMode};
use crate::ring::PACKET_MAX;
use crate::ring::exported::ExportedPool;

/// `net_memif`, with DPDK's option names and defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemifDriver;

/// `net_memif_socket`, as CNDP's files name it: `net_memif_socket:client` or `:server`, the rest is fixed.
#[derive(Debug, Clone, Copy, Default)]
pub struct CndpMemifDriver;

impl Driver for MemifDriver {
    fn name(&self) -> &str {
        "net_memif"
    }

    fn summary(&self) -> &str {
        "shared-memory interface to DPDK, VPP, libmemif and CNDP processes"
    }

    fn options(&self) -> &[OptionSpec] {
        options::OPTIONS
    }

    fn check(&self, options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
        options::check(options, queues)
    }

    fn claim(&self, options: &Options) -> Option<String> {
        options::claim(options)
    }

    fn check_machine(&self, _device: &DeviceSpec, options: &Options) -> Vec<MachineProblem> {
        options::check_machine(options)
    }

    fn shares_pools(&self, options: &Options) -> bool {
        options::shares_pools(options)
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let configured = options::configure(&device.name, &device.options, device.queues.len());
        let mut configured = configured.map_err(OpenError)?;
        if options::shares_pools(&device.options) {
            configured.settings.exports = exports(&device)?;
        }
        open(&device, configured)
    }
}

impl Driver for CndpMemifDriver {
    fn name(&self) -> &str {
        "net_memif_socket"
    }

    fn summary(&self) -> &str {
        "memif as CNDP's files configure it: abstract socket /var/run/memif.sock, id 0"
    }

    fn options(&self) -> &[OptionSpec] {
        options::CNDP_OPTIONS
    }

    fn check(&self, options: &Options, _queues: usize) -> Result<(), Vec<OptionError>> {
        options::check_cndp(options)
    }

    fn claim(&self, options: &Options) -> Option<String> {
        options::claim_cndp(options)
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let configured = options::configure_cndp(&device.name, &device.options, device.queues.len());
        open(&device, configured.map_err(OpenError)?)
    }
}

fn open(request: &DeviceRequest, configured: Configured) -> Result<Vec<Lport>, OpenError> {
    request.check_queue_numbers()?;
    let system = |error: &dyn std::fmt::Display| OpenError(format!("memif `{}`: {error}", request.name));
    // Pools first: nothing has been opened when one is missing.
    let pools = request.queues.iter().map(pmd_core::QueueRequest::need_pool).collect::<Result<Vec<_>, _>>()?;
    let device = Device::new(configured.settings).map_err(|error| system(&error))?;
    let open = OpenDevice::open(device, configured.interface).map_err(|error| system(&error))?;
    let lports = request.queues.iter().zip(pools).map(|(queue, pool)| {
        let number = usize::from(queue.qid);
        let tx = Box::new(MemifTx::new(Arc::clone(&open), number, pool.clone()));
        let rx = MemifRx::new(Arc::clone(&open), number, queue.lport.0, pool).map_err(|error| system(&error))?;
        let rx: Box<dyn RxQueue> = match open.device().settings.rx_mode {
            RxMode::Interrupt => Box::new(InterruptRx(rx)),
            RxMode::Polling | RxMode::Adaptive => Box::new(rx),
        };
        Ok(Lport {
            id: queue.lport,
            name: queue.name.clone(),
            rx,
            tx,
            control: Arc::new(MemifControl { open: Arc::clone(&open), queue: number }),
        })
    });
    lports.collect()
}

/// The pools of a zero-copy client, each once, in the order of its queues' numbers.
fn exports(request: &DeviceRequest) -> Result<Exports, OpenError> {
    request.check_queue_numbers()?;
    let mut queues: Vec<_> = request.queues.iter().collect();
    queues.sort_by_key(|queue| queue.qid);
    let mut exports = Exports::default();
    for queue in queues {
        let pool = queue.need_pool()?;
        let same = |export: &ExportedPool| export.pool.is_same(&pool);
        let index = exports.pools.iter().position(same).unwrap_or(exports.pools.len());
        if index == exports.pools.len() {
            check_exportable(&pool)?;
            exports.pools.push(ExportedPool::new(pool, index as u16 + 1));
        }
        exports.of_queue.push(index);
    }
    warn_of_small_pools(request, &exports);
    Ok(exports)
}

/// The receive rings of a zero-copy client hold mbufs all the time; a pool that has little more can receive, but nothing that
/// came can wait anywhere.
fn warn_of_small_pools(request: &DeviceRequest, exports: &Exports) {
    let ring = 1_usize << request.options.int("rsize").unwrap_or_default();
    for (index, ExportedPool { pool, .. }) in exports.pools.iter().enumerate() {
        let held = ring * exports.of_queue.iter().filter(|of| **of == index).count();
        if pool.size() < 2 * held {
            tracing::warn!(
                "{}: pool `{}` has {} mbufs, and the receive rings of this zero-copy client hold {held} of them; give it twice \
                 as many (`bufcnt`), or make the rings smaller (`rsize`)",
                request.name,
                pool.name(),
                pool.size(),
            );
        }
    }
}

fn check_exportable(pool: &Pool) -> Result<(), OpenError> {
    let (name, bytes) = (pool.name(), pool.segment().len());
    if pool.segment().file().is_none() {
        return Err(OpenError(format!("zero-copy: pool `{name}` lies in private memory; make it shareable")));
    }
    if bytes as u64 > u64::from(u32::MAX) {
        let limit = "a memif region reaches 4 GiB: use a smaller `bufcnt`";
        return Err(OpenError(format!("zero-copy: pool `{name}` has {bytes} bytes, but {limit}")));
    }
    Ok(())
}

struct MemifControl {
    open: Arc<OpenDevice>,
    queue: usize,
}

impl LportControl for MemifControl {
    fn link(&self) -> Link {
        self.open.device().link_state()
    }

    fn info(&self) -> LportInfo {
        let settings = &self.open.device().settings;
        LportInfo {
            driver: "net_memif".into(),
            mac: Some(settings.mac),
            max_packet: PACKET_MAX as u32,
            speed_mbps: 100_000,
        }
    }

    fn stats(&self) -> LportStats {
        let device = self.open.device();
        counters::stats(&device.counters[self.queue], &device.link_counters)
    }

    fn details(&self) -> Details {
        details::of(&self.open)
    }

    fn set_admin_up(&self, up: bool) {
        self.open.set_admin_up(up);
    }
}
