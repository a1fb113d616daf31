//! The driver `net_af_xdp`.
//!
//! Opening a device checks what is asked, connects it to its interface, and returns one lport per queue. An interface that
//! is down is no error: the link is down until it is up. One that is not there is.

use std::sync::Arc;

use pmd_core::deployment::{DeviceSpec, XdpHints};
use pmd_core::netdev::Netdev;
use pmd_core::{
    Details, DeviceRequest, Driver, Link, Lport, LportControl, LportInfo, LportStats, MachineProblem, OpenError,
    OptionError, OptionSpec, Options, QueueCount,
};

use crate::device::{Common, Device, InUse, check_privileges, check_queues, queues_of};
use crate::options;
use crate::queue::{XdpRx, XdpTx};
use crate::steering::Source;
use crate::sys::bpf::Attach;
use crate::sys::xsk::Transfer;

/// The driver, with what its devices share.
#[derive(Debug, Default)]
pub struct AfXdpDriver {
    common: Arc<Common>,
}

impl Driver for AfXdpDriver {
    fn name(&self) -> &str {
        "net_af_xdp"
    }

    fn summary(&self) -> &str {
        "queues of a network interface through AF_XDP sockets, past the kernel's stack"
    }

    fn options(&self) -> &[OptionSpec] {
        options::OPTIONS
    }

    fn check(&self, options: &Options, _queues: usize) -> Result<(), Vec<OptionError>> {
        options::check(options)
    }

    fn chunks_pools(&self, _options: &Options, hints: &XdpHints) -> bool {
        !hints.unaligned_buffers
    }

    fn queue_count(&self, device: &str, options: &Options) -> QueueCount {
        count_queues(device, options).map_or_else(QueueCount::Unknown, QueueCount::Has)
    }

    fn check_machine(&self, device: &DeviceSpec, options: &Options) -> Vec<MachineProblem> {
        let problem = |message| MachineProblem { option: "iface", message, fatal: true };
        machine_problems(device, options).unwrap_or_else(|error| vec![error]).into_iter().map(problem).collect()
    }

    fn open(&self, request: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let config = options::configure(&request).map_err(OpenError)?;
        let device = Device::new(config, Arc::clone(&self.common)).map_err(OpenError)?;
        let open = InUse::open(Arc::new(device)).map_err(OpenError)?;
        let lport = |(position, queue): (usize, pmd_core::QueueRequest)| {
            let rx = XdpRx::new(Arc::clone(&open), position, queue.lport.0);
            Ok(Lport {
                id: queue.lport,
                name: queue.name,
                rx: Box::new(rx.map_err(|error| OpenError(format!("cannot make an epoll: {error}")))?),
                tx: Box::new(XdpTx::new(Arc::clone(&open), position)),
                control: Arc::new(XdpControl { device: Arc::clone(&open.device), position }),
            })
        };
        request.queues.into_iter().enumerate().map(lport).collect()
    }
}

/// How many receive queues the interface of a device has.
fn count_queues(device: &str, options: &Options) -> Result<u16, String> {
    let (name, netns) = options::interface(device, options)?;
    let netdev = Netdev::new(name.clone(), netns).map_err(|error| error.to_string())?;
    if netdev.state().map_err(|error| error.to_string())?.is_none() {
        return Err(netdev.absence());
    }
    let queues = netdev.within(|| Ok(queues_of(name.as_str()))).map_err(|error| error.to_string())??;
    let queues = queues.ok_or_else(|| format!("interface {name} does not tell"))?;
    u16::try_from(queues).map_err(|_| format!("interface {name} says {queues}"))
}

/// All that is in the way of a device; an error is the one that hides the others.
fn machine_problems(device: &DeviceSpec, options: &Options) -> Result<Vec<String>, String> {
    let (name, netns) = options::interface(&device.name, options)?;
    let source = options::source(device.queues.iter().map(|queue| &queue.xdp))?;
    let mut problems: Vec<_> = check_privileges(name.as_str(), &source).err().into_iter().collect();
    problems.extend(absent_map(&source));
    let netdev = Netdev::new(name.clone(), netns).map_err(|error| error.to_string())?;
    if netdev.state().map_err(|error| error.to_string())?.is_none() {
        problems.push(netdev.absence());
        return Ok(problems);
    }
    let there = netdev.within(|| Ok(queues_of(name.as_str()))).map_err(|error| error.to_string())??;
    let queues = device.queues.iter().map(|queue| queue.qid);
    problems.extend(check_queues(name.as_str(), queues, there).err());
    Ok(problems)
}

/// Whether nobody has prepared what the map of sockets is to come from.
fn absent_map(source: &Source) -> Option<String> {
    let (key, path, way_out) = match source {
        Source::Own => return None,
        Source::Pinned(path) => ("xsk_pin_path", path, "who loads the XDP program pins its map"),
        Source::Plugin(path) => {
            ("uds_path", path, "the device plugin makes it, and whoever runs the container mounts it")
        }
    };
    (!path.exists()).then(|| format!("`{key}` {} is not there; {way_out}", path.display()))
}

struct XdpControl {
    device: Arc<Device>,
    position: usize,
}

impl LportControl for XdpControl {
    fn link(&self) -> Link {
        self.device.state.link()
    }

    fn info(&self) -> LportInfo {
        let mac = self.device.netdev.state().ok().flatten().and_then(|state| state.mac);
        let max_packet = self.device.max_packet() as u32;
        LportInfo { driver: "net_af_xdp".into(), mac, max_packet, speed_mbps: 10_000 }
    }

    fn stats(&self) -> LportStats {
        self.device.counters[self.position].stats()
    }

    fn details(&self) -> Details {
        let config = &self.device.config;
        let view = self.device.view();
        let program = view.as_ref().map(|view| match view.attach {
            Some(Attach::Native) => "native",
            Some(Attach::Generic) => "generic",
            None => "not ours",
        });
        let queues = config.queues.iter().enumerate().map(|(position, queue)| {
            let transfer = view.as_ref().map(|view| match view.transfers[position] {
                Transfer::Copy => "copy",
                Transfer::ZeroCopy => "zero-copy",
            });
            let umem = view.as_ref().and_then(|view| view.umems[position].upgrade());
            Details::new()
                .with("qid", queue.queue)
                .with("transfer", transfer)
                .with("pool", queue.pool.name())
                .with("chunk", queue.shape.chunk as u64)
                .with("unaligned", queue.shape.unaligned)
                .with("shared_umem", queue.shared_umem)
                .with("umem_sockets", umem.map(|umem| umem.sockets() as u64))
                .with("rx_desc", queue.rx_desc)
                .with("tx_desc", queue.tx_desc)
                .with("busy_poll", queue.busy_poll.is_some())
        });
        Details::new()
            .with("interface", config.interface.as_str())
            .with("netns", config.netns.as_ref().map(ToString::to_string))
            .with("ifindex", view.as_ref().map(|view| view.index))
            .with("program", program)
            .with("queues", queues.collect::<Vec<_>>())
    }

    fn set_admin_up(&self, up: bool) {
        self.device.set_admin_up(up);
    }
}
