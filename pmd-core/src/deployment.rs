//! What is to be run, as plain data: pools, devices with their queues, threads.
//!
//! Anything can build a [`Deployment`]: the `lport-config` crate from a file, a test or an application from code.
//! [`crate::Runtime::start`] makes it live. Everything refers to everything else by position or by [`LportId`].

use std::fmt;
use std::time::Duration;

use crate::options::RawOption;

/// Number of an lport: its position in the file (or in the order it was added), from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LportId(pub u16);

impl fmt::Display for LportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Position of a pool in [`Deployment::pools`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolIndex(pub usize);

/// The whole of what is to be run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deployment {
    /// Pools of mbufs.
    pub pools: Vec<PoolSpec>,
    /// Devices; each holds one lport per queue.
    pub devices: Vec<DeviceSpec>,
    /// Polling threads.
    pub threads: Vec<ThreadSpec>,
}

impl Deployment {
    /// Adds a pool.
    pub fn add_pool(&mut self, pool: PoolSpec) -> PoolIndex {
        self.pools.push(pool);
        PoolIndex(self.pools.len() - 1)
    }

    /// Adds a device with one queue, as the next lport; the device is named after the lport.
    pub fn add_lport(&mut self, name: &str, driver: &str, options: Vec<RawOption>, pool: Option<PoolIndex>) -> LportId {
        let lport = LportId(self.devices.iter().map(|device| device.queues.len() as u16).sum());
        let (rx_desc, tx_desc, xdp) = (2048, 2048, XdpHints::default());
        let queue = QueueSpec { lport, name: name.to_owned(), qid: 0, pool, rx_desc, tx_desc, xdp };
        let (name, driver) = (name.to_owned(), driver.to_owned());
        self.devices.push(DeviceSpec { name, driver, options, queues: vec![queue] });
        lport
    }

    /// Adds a thread that polls `lports`, runs anywhere and never sleeps; the answer is for changing that.
    pub fn add_thread(&mut self, name: &str, lports: &[LportId]) -> &mut ThreadSpec {
        let kind = name.split(':').next().unwrap_or(name).to_owned();
        let (lcores, idle_timeout, intr_timeout) = (Placement::Anywhere, None, Duration::ZERO);
        let (name, lports) = (name.to_owned(), lports.to_vec());
        self.threads.push(ThreadSpec { name, kind, lcores, lports, idle_timeout, intr_timeout });
        let last = self.threads.len() - 1;
        &mut self.threads[last]
    }

    /// Every queue with its device, in the order of lport ids.
    pub fn lports(&self) -> Vec<(&DeviceSpec, &QueueSpec)> {
        let mut all: Vec<_> =
            self.devices.iter().flat_map(|device| device.queues.iter().map(move |q| (device, q))).collect();
        all.sort_by_key(|(_, queue)| queue.lport);
        all
    }

    /// The lport called `name`.
    pub fn lport_named(&self, name: &str) -> Option<LportId> {
        self.devices.iter().flat_map(|device| &device.queues).find(|queue| queue.name == name).map(|queue| queue.lport)
    }

    /// The lports that no thread polls.
    pub fn unpolled(&self) -> Vec<LportId> {
        let polled: Vec<_> = self.threads.iter().flat_map(|thread| &thread.lports).collect();
        self.lports().iter().map(|(_, queue)| queue.lport).filter(|id| !polled.contains(&id)).collect()
    }
}

/// A pool of equal mbufs: one region of a umem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// Unique name, for statistics and messages.
    pub name: String,
    /// Number of mbufs, 1 to 2^26.
    pub size: usize,
    /// Bytes of packet data one mbuf can hold behind its headroom, 64 to 65536.
    pub data_room: usize,
    /// Mbufs a thread may keep in its cache.
    pub cache: usize,
    /// The page size wanted.
    pub page: PageSize,
}

impl PoolSpec {
    /// A pool of `size` mbufs of `data_room` bytes, on ordinary pages, with the usual caches.
    pub fn new(name: &str, size: usize, data_room: usize) -> Self {
        Self { name: name.to_owned(), size, data_room, cache: 256, page: PageSize::Small }
    }
}

/// Size of the pages behind a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageSize {
    /// The system's ordinary pages (4 KiB on x86-64), which the kernel may merge into larger ones by itself.
    #[default]
    Small,
    /// Reserved huge pages of 2 MiB.
    Huge2M,
    /// Reserved huge pages of 1 GiB.
    Huge1G,
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "4KB",
            Self::Huge2M => "2MB",
            Self::Huge1G => "1GB",
        })
    }
}

/// A device (CNDP's netdev) with all its queues: opened once, as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSpec {
    /// Name of the device.
    pub name: String,
    /// Name of its driver.
    pub driver: String,
    /// Options for the driver, as given.
    pub options: Vec<RawOption>,
    /// Its queues: one lport each.
    pub queues: Vec<QueueSpec>,
}

/// One queue pair of a device: one lport.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSpec {
    /// Number of the lport.
    pub lport: LportId,
    /// Its logical name, `netdev[:tag]`.
    pub name: String,
    /// Which queue of the device it is.
    pub qid: u16,
    /// Where its received packets are put.
    pub pool: Option<PoolIndex>,
    /// Receive descriptors wanted; a driver whose ring size is an option of its own ignores it.
    pub rx_desc: u32,
    /// Transmit descriptors wanted; likewise.
    pub tx_desc: u32,
    /// What only AF_XDP heeds.
    pub xdp: XdpHints,
}

/// The AF_XDP keys of an lport, in CNDP's words; other drivers ignore them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XdpHints {
    /// `busy_poll`: let the kernel poll the device from our system calls.
    pub busy_poll: bool,
    /// `busy_timeout`, in microseconds; 0 is the driver's default.
    pub busy_timeout: u16,
    /// `busy_budget`, in packets; 0 is the driver's default.
    pub busy_budget: u16,
    /// `force_wakeup`: wake the kernel even when it says it needs none.
    pub force_wakeup: bool,
    /// `skb_mode`: the generic XDP path.
    pub skb_mode: bool,
    /// `unaligned_buffers`: buffers anywhere in the umem, instead of in chunks of a power of two.
    pub unaligned_buffers: bool,
    /// `shared_umem` of the lport's umem: sockets on one pool share one umem.
    pub shared_umem: bool,
    /// `xsk_pin_path`: where the xsk map is pinned, for unprivileged use.
    pub xsk_pin_path: Option<String>,
    /// `uds_path`: a socket that hands out the xsk map.
    pub uds_path: Option<String>,
}

/// A polling thread.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadSpec {
    /// Its full name, `type[:tag]`.
    pub name: String,
    /// The text before the first `:`; the application decides what it means.
    pub kind: String,
    /// Where it runs.
    pub lcores: Placement,
    /// The lports it polls, in order.
    pub lports: Vec<LportId>,
    /// How long it spins without traffic before it sleeps; `None` never sleeps.
    pub idle_timeout: Option<Duration>,
    /// How long one sleep lasts at most.
    pub intr_timeout: Duration,
}

/// Where a thread runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Placement {
    /// Wherever the kernel puts it.
    #[default]
    Anywhere,
    /// On these CPUs, by the kernel's numbers.
    Cpus(Vec<usize>),
    /// On a core chosen by the machine's topology.
    Auto,
}
