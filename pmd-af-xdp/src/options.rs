//! The driver's options, and what a device is configured to be.

use std::path::PathBuf;

use pmd_core::deployment::XdpHints;
use pmd_core::netdev::InterfaceName;
use pmd_core::netns::{NETNS_OPTION, Netns};
use pmd_core::{DeviceRequest, OptionError, OptionSpec, Options, Pool, QueueRequest};

use crate::steering::Source;
use crate::sys::xsk::Transfer;
use crate::umem::Shape;

/// The driver's table.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::text("iface", 15, "", "network interface (default: the name of the device)"),
    NETNS_OPTION,
    OptionSpec::choice(
        "mode",
        &["auto", "copy", "zero-copy"],
        "auto takes zero copy where the interface has it, and says so where it has not; zero-copy insists on it",
    ),
];

/// Busy polling where the file says 0, as in CNDP.
const BUSY_TIMEOUT: u16 = 20;
const BUSY_BUDGET: u16 = 64;

/// Descriptors of a ring: 2048 when the request says 0.
const DESCRIPTORS: u32 = 2048;
const DESCRIPTORS_MAX: u32 = 32768;

/// Which manner of transfer is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Zero copy, or else copy.
    Auto,
    Copy,
    ZeroCopy,
}

/// A device, as it is wished.
#[derive(Debug)]
pub(crate) struct DeviceConfig {
    pub(crate) interface: InterfaceName,
    pub(crate) netns: Option<Netns>,
    pub(crate) mode: Mode,
    /// The generic path (`skb_mode`).
    pub(crate) generic: bool,
    pub(crate) source: Source,
    pub(crate) queues: Vec<QueueConfig>,
}

/// A queue, as it is wished.
#[derive(Debug)]
pub(crate) struct QueueConfig {
    pub(crate) queue: u16,
    pub(crate) pool: Pool,
    pub(crate) shape: Shape,
    pub(crate) shared_umem: bool,
    pub(crate) rx_desc: u32,
    pub(crate) tx_desc: u32,
    pub(crate) force_wakeup: bool,
    pub(crate) busy_poll: Option<BusyPoll>,
    /// How many mbufs of the pool the kernel may have for receiving.
    share: usize,
}

/// How the device is polled by our system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BusyPoll {
    pub(crate) microseconds: u32,
    /// Packets per call.
    pub(crate) budget: u32,
}

impl QueueConfig {
    /// Mbufs that are to be with the kernel: enough to fill the rx ring and, with zero copy, the device's own ring besides;
    /// never more than the queue's share of half the pool, because someone has to be able to send.
    pub(crate) fn rx_buffers(&self, transfer: Transfer) -> usize {
        let rings = match transfer {
            Transfer::Copy => 1,
            Transfer::ZeroCopy => 2,
        };
        (rings * self.rx_desc as usize).min(self.share)
    }
}

/// Checks what the table cannot express.
pub(crate) fn check(options: &Options) -> Result<(), Vec<OptionError>> {
    let mut errors = Vec::new();
    let interface = options.text("iface");
    if let (false, Err(error)) = (interface.is_empty(), interface.parse::<InterfaceName>()) {
        errors.push(OptionError::value("iface", error.to_string()));
    }
    if let Err(error) = Netns::of(options) {
        errors.push(error);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The interface of a device, and its namespace.
pub(crate) fn interface(device: &str, options: &Options) -> Result<(InterfaceName, Option<Netns>), String> {
    let name = match options.text("iface") {
        "" => device,
        name => name,
    };
    let name = name.parse::<InterfaceName>().map_err(|error| format!("{error}; option `iface` names another one"))?;
    let netns = Netns::of(options).map_err(|error| error.message)?;
    Ok((name, netns))
}

/// Where the map of sockets of a device comes from; its queues must agree.
pub(crate) fn source<'a>(hints: impl Iterator<Item = &'a XdpHints> + Clone) -> Result<Source, String> {
    let of = |hints: &XdpHints| match (&hints.xsk_pin_path, &hints.uds_path) {
        (None, None) => Ok(Source::Own),
        (Some(path), None) => Ok(Source::Pinned(PathBuf::from(path))),
        (None, Some(path)) => Ok(Source::Plugin(PathBuf::from(path))),
        (Some(_), Some(_)) => Err("it has both `xsk_pin_path` and `uds_path`: keep one".to_owned()),
    };
    let agreed = "the lports of one netdev share its XDP program, so they must agree on";
    let mut sources = hints.map(of);
    let first = sources.next().unwrap_or(Ok(Source::Own))?;
    for source in sources {
        if source? != first {
            return Err(format!("{agreed} `xsk_pin_path` and `uds_path`"));
        }
    }
    Ok(first)
}

/// What a request asks for.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn configure(request: &DeviceRequest) -> Result<DeviceConfig, String> {
    let (interface, netns) = interface(&request.name, &request.options)?;
    let source = source(request.queues.iter().map(|queue| &queue.xdp))?;
    let generic = request.queues.iter().any(|queue| queue.xdp.skb_mode);
    if generic && !request.queues.iter().all(|queue| queue.xdp.skb_mode) {
        return Err("the lports of one netdev share its XDP program, so they must agree on `skb_mode`".to_owned());
    }
    let mode = match (request.options.text("mode"), generic) {
        ("zero-copy", true) => return Err("`mode` is `zero-copy`, but `skb_mode` always copies: drop one".to_owned()),
        ("zero-copy", false) => Mode::ZeroCopy,
        ("copy", _) | (_, true) => Mode::Copy,
        _ => Mode::Auto,
    };
    let queues = request.queues.iter().map(|queue| configure_queue(request, queue)).collect::<Result<_, _>>()?;
    Ok(DeviceConfig { interface, netns, mode, generic, source, queues })
}

fn configure_queue(request: &DeviceRequest, queue: &QueueRequest) -> Result<QueueConfig, String> {
    let pool = queue.need_pool().map_err(|error| error.to_string())?;
    let hints = &queue.xdp;
    let of_pool = |other: &&QueueRequest| other.pool.as_ref().is_some_and(|other| other.is_same(&pool));
    let share = (pool.size() / 2 / request.queues.iter().filter(of_pool).count().max(1)).max(1);
    let config = QueueConfig {
        queue: queue.qid,
        shape: Shape::of(&pool, hints.unaligned_buffers)?,
        shared_umem: hints.shared_umem,
        rx_desc: descriptors("rxdesc", queue.rx_desc)?,
        tx_desc: descriptors("txdesc", queue.tx_desc)?,
        force_wakeup: hints.force_wakeup,
        busy_poll: hints.busy_poll.then(|| BusyPoll {
            microseconds: if hints.busy_timeout == 0 { BUSY_TIMEOUT } else { hints.busy_timeout }.into(),
            budget: if hints.busy_budget == 0 { BUSY_BUDGET } else { hints.busy_budget }.into(),
        }),
        share,
        pool,
    };
    if config.share < config.rx_desc as usize {
        tracing::warn!(
            "{}: pool `{}` has {} mbufs, so the kernel gets {} of them for this queue's {} receive descriptors; give it four \
             times as many as there are descriptors (`bufcnt`), or use smaller rings (`rxdesc`)",
            queue.name,
            config.pool.name(),
            config.pool.size(),
            config.share,
            config.rx_desc
        );
    }
    Ok(config)
}

fn descriptors(key: &str, wished: u32) -> Result<u32, String> {
    match wished {
        0 => Ok(DESCRIPTORS),
        1..=DESCRIPTORS_MAX => Ok(wished.next_power_of_two()),
        _ => Err(format!("`{key}` is {wished} descriptors, but a ring has {DESCRIPTORS_MAX} at most")),
    }
}
