//! The driver `net_af_packet`.

use std::sync::Arc;

use pmd_core::deployment::DeviceSpec;
use pmd_core::netdev::Netdev;
use pmd_core::netns::Netns;
use pmd_core::privileges::{self, Capability};
use pmd_core::{
    Details, DeviceRequest, Driver, Link, Lport, LportControl, LportInfo, LportStats, MachineProblem, OpenError,
    OptionError, OptionSpec, Options, QueueCount,
};

use crate::counters::Counters;
use crate::device::OpenDevice;
use crate::options;
use crate::rx::PacketRx;
use crate::tx::PacketTx;

/// The driver.
#[derive(Debug, Clone, Copy, Default)]
pub struct AfPacketDriver;

impl Driver for AfPacketDriver {
    fn name(&self) -> &str {
        "net_af_packet"
    }

    fn summary(&self) -> &str {
        "any network interface of the kernel, through packet sockets"
    }

    fn options(&self) -> &[OptionSpec] {
        options::OPTIONS
    }

    fn check(&self, options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
        options::check(options, queues)
    }

    fn queue_count(&self, _device: &str, options: &Options) -> QueueCount {
        options.int("qpairs").map_or(QueueCount::AsTold, |queues| QueueCount::Has(queues as u16))
    }

    fn check_machine(&self, device: &DeviceSpec, options: &Options) -> Vec<MachineProblem> {
        let problem = |option, message| MachineProblem { option, message, fatal: true };
        let netdev = find(&device.name, options).and_then(|netdev| match netdev.state() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(netdev.absence()),
            Err(error) => Err(error.to_string()),
        });
        let missing = privileges::missing("a packet socket", &[Capability::NetRaw]);
        let absent = netdev.err().map(|message| problem("iface", message));
        missing.map(|message| problem("", message)).into_iter().chain(absent).collect()
    }

    fn open(&self, request: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        request.check_queue_numbers()?;
        // Pools first: nothing has been opened when one is missing.
        let pools = request.queues.iter().map(pmd_core::QueueRequest::need_pool).collect::<Result<Vec<_>, _>>()?;
        let rx_desc = request.queues.iter().map(|queue| queue.rx_desc).max().unwrap_or_default();
        let config = options::configure(&request.options, request.queues.len(), rx_desc);
        let config = config.map_err(|error| OpenError(error.to_string()))?;
        let netdev = find(&request.name, &request.options).map_err(OpenError)?;
        let open = OpenDevice::new(netdev, config, request.queues.len()).map_err(OpenError)?;
        let lports = request.queues.into_iter().zip(pools).map(|(queue, pool)| {
            let counters = Arc::new(Counters::default());
            let number = usize::from(queue.qid);
            let rx = PacketRx::new(Arc::clone(&open), number, queue.lport.0, pool, Arc::clone(&counters));
            let tx = PacketTx::new(Arc::clone(&open), number, Arc::clone(&counters));
            let control = AfPacketControl { open: Arc::clone(&open), queue: number, counters };
            Lport { id: queue.lport, name: queue.name, rx: Box::new(rx), tx: Box::new(tx), control: Arc::new(control) }
        });
        Ok(lports.collect())
    }
}

/// The interface that a device is, whether it is there or not.
fn find(device: &str, options: &Options) -> Result<Netdev, String> {
    let name = options::name(device, options).map_err(|error| error.to_string())?;
    let netns = Netns::of(options).map_err(|error| error.to_string())?;
    Netdev::new(name, netns).map_err(|error| error.to_string())
}

struct AfPacketControl {
    open: Arc<OpenDevice>,
    queue: usize,
    counters: Arc<Counters>,
}

impl LportControl for AfPacketControl {
    fn link(&self) -> Link {
        self.open.device().state.link()
    }

    fn info(&self) -> LportInfo {
        let seen = self.open.device().seen();
        LportInfo {
            driver: "net_af_packet".into(),
            mac: seen.as_ref().and_then(|state| state.mac),
            max_packet: seen.map_or(0, |state| state.max_packet()),
            // As in DPDK; the wire's own is ethtool's to tell.
            speed_mbps: 10_000,
        }
    }

    fn stats(&self) -> LportStats {
        let kernel = self.open.device().kernel_counts(self.queue);
        self.counters.stats(kernel.drops, kernel.freezes)
    }

    fn details(&self) -> Details {
        let device = self.open.device();
        let (seen, ring) = (device.seen(), device.config().ring);
        Details::new()
            .with("interface", device.netdev().name().as_str())
            .with("netns", device.netdev().netns().map(ToString::to_string))
            .with("index", seen.as_ref().map(|state| state.index))
            .with("mtu", seen.as_ref().map(|state| state.mtu))
            .with("queues", device.queues() as u64)
            .with("block_size", ring.block_size)
            .with("blocks", ring.blocks)
    }

    fn set_admin_up(&self, up: bool) {
        self.open.device().set_admin_up(up);
    }
}
