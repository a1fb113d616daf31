//! The drivers `net_tap` and `net_tun`: one, in two kinds.

use std::sync::Arc;

use nix::unistd::{AccessFlags, access};
use pmd_core::deployment::DeviceSpec;
use pmd_core::netdev::Netdev;
use pmd_core::privileges::{self, Capability};
use pmd_core::{
    Details, DeviceRequest, Driver, Link, Lport, LportControl, LportInfo, LportStats, MachineProblem, OpenError,
    OptionError, OptionSpec, Options,
};

use crate::device::OpenDevice;
use crate::interface;
use crate::options::{self, Wanted};
use crate::queue::{Counters, TapRx, TapTx};
use crate::tun::{DEVICE, Kind};

/// `net_tap`, Ethernet frames, or `net_tun`, IP packets.
#[derive(Debug, Clone, Copy)]
pub struct TapDriver(Kind);

impl TapDriver {
    /// `net_tap`.
    pub const TAP: Self = Self(Kind::Tap);
    /// `net_tun`.
    pub const TUN: Self = Self(Kind::Tun);
}

impl Driver for TapDriver {
    fn name(&self) -> &str {
        match self.0 {
            Kind::Tap => "net_tap",
            Kind::Tun => "net_tun",
        }
    }

    fn summary(&self) -> &str {
        match self.0 {
            Kind::Tap => "an Ethernet interface of the kernel's own stack, whose other end we are",
            Kind::Tun => "an IP interface of the kernel's own stack: packets without an Ethernet header",
        }
    }

    fn options(&self) -> &[OptionSpec] {
        options::table(self.0)
    }

    fn check(&self, options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
        options::check(options, queues)
    }

    fn check_machine(&self, device: &DeviceSpec, options: &Options) -> Vec<MachineProblem> {
        let lports = device.queues.iter().map(|queue| queue.name.as_str());
        let found = match options::wanted(&device.name, lports, options) {
            Ok(wanted) => obstacle(&wanted),
            Err(error) => Some(error.message),
        };
        found.map(|message| MachineProblem { option: "iface", message, fatal: true }).into_iter().collect()
    }

    fn open(&self, request: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        request.check_queue_numbers()?;
        let fail = |error: &dyn std::fmt::Display| OpenError(error.to_string());
        // Pools first: nothing has been made when one is missing.
        let pools = request.queues.iter().map(pmd_core::QueueRequest::need_pool).collect::<Result<Vec<_>, _>>()?;
        let lports = request.queues.iter().map(|queue| queue.name.as_str());
        let wanted = options::wanted(&request.name, lports, &request.options).map_err(|error| fail(&error))?;
        let interface = interface::make(&wanted, self.0, request.queues.len()).map_err(OpenError)?;
        tracing::info!("{}: interface {} is there", request.name, wanted.name);
        let open = OpenDevice::new(interface, self.0).map_err(|error| fail(&error))?;
        let driver = self.name();
        let lports = request.queues.into_iter().zip(pools).map(|(queue, pool)| {
            let counters = Arc::new(Counters::default());
            let number = usize::from(queue.qid);
            Lport {
                id: queue.lport,
                name: queue.name,
                rx: Box::new(TapRx::new(Arc::clone(&open), number, queue.lport.0, pool, Arc::clone(&counters))),
                tx: Box::new(TapTx::new(Arc::clone(&open), number, Arc::clone(&counters))),
                control: Arc::new(TapControl { driver: driver.to_owned(), open: Arc::clone(&open), counters }),
            }
        });
        Ok(lports.collect())
    }
}

/// What keeps the interface from being made, as far as can be told without making it.
fn obstacle(wanted: &Wanted) -> Option<String> {
    if let Err(errno) = access(DEVICE, AccessFlags::R_OK | AccessFlags::W_OK) {
        return Some(format!("{DEVICE} cannot be used: {}", errno.desc()));
    }
    let netdev = match Netdev::new(wanted.name.clone(), wanted.netns.clone()) {
        Ok(netdev) => netdev,
        Err(error) => return Some(error.to_string()),
    };
    // Of one that is there already its owner may have queues; only the attempt would tell.
    let is_there = netdev.state().is_ok_and(|state| state.is_some());
    if is_there {
        None
    } else {
        privileges::missing(&format!("making the interface {}", wanted.name), &[Capability::NetAdmin])
    }
}

struct TapControl {
    driver: String,
    open: Arc<OpenDevice>,
    counters: Arc<Counters>,
}

impl LportControl for TapControl {
    fn link(&self) -> Link {
        self.open.device.state.link()
    }

    fn info(&self) -> LportInfo {
        let device = &self.open.device;
        LportInfo {
            driver: self.driver.clone(),
            mac: device.seen().and_then(|state| state.mac),
            max_packet: device.max_packet() as u32,
            // There is no wire; DPDK says the same of its taps.
            speed_mbps: 10_000,
        }
    }

    fn stats(&self) -> LportStats {
        let Counters { common, tx_too_long, tx_too_short, tx_refused } = &*self.counters;
        let xstats = vec![
            ("tx_too_long_dropped", tx_too_long.get()),
            ("tx_too_short_dropped", tx_too_short.get()),
            ("tx_refused_dropped", tx_refused.get()),
        ];
        LportStats { xstats, ..common.stats() }
    }

    fn details(&self) -> Details {
        let device = &self.open.device;
        let seen = device.seen();
        Details::new()
            .with("interface", device.netdev.name().as_str())
            .with("index", seen.as_ref().map(|state| state.index))
            .with("mtu", seen.as_ref().map(|state| state.mtu))
            .with("queues", device.files.len() as u64)
    }

    fn set_admin_up(&self, up: bool) {
        self.open.device.state.set_admin_up(up);
    }
}
