//! Drivers and where they are found.
//!
//! A program registers the drivers it wants, by name and explicitly, in a [`Registry`]. The runtime asks the registry
//! for the driver of each device and opens the device with all its queues at once: a multi-queue memif is one
//! interface, not several.

use std::sync::Arc;

use crate::deployment::{DeviceSpec, LportId, XdpHints};
use crate::lport::Lport;
use crate::options::{OptionError, OptionSpec, Options};
use crate::pool::Pool;

/// A poll mode driver.
pub trait Driver: Send + Sync {
    /// The name files use, `net_memif`.
    fn name(&self) -> &str;

    /// One line for people.
    fn summary(&self) -> &str;

    /// The options it takes.
    fn options(&self) -> &[OptionSpec];

    /// Whether each of its queues must have a pool to receive into.
    fn needs_pool(&self) -> bool {
        true
    }

    /// Checks what the table cannot express: options that exclude or need one another, and the set of queues.
    ///
    /// # Errors
    /// Every problem found, each at the option it is about.
    fn check(&self, _options: &Options, _queues: usize) -> Result<(), Vec<OptionError>> {
        Ok(())
    }

    /// Whether a device with these options wants the pools of its queues in memory that it can share with a peer
    /// ([`crate::PoolConfig::shareable`]).
    fn shares_pools(&self, _options: &Options) -> bool {
        false
    }

    /// Whether a queue with these options and hints wants its pool in chunks ([`crate::PoolConfig::chunked`]).
    fn chunks_pools(&self, _options: &Options, _hints: &XdpHints) -> bool {
        false
    }

    /// How many queues the device called `device` has on this machine.
    fn queue_count(&self, _device: &str, _options: &Options) -> QueueCount {
        QueueCount::AsTold
    }

    /// What a device with these options takes for itself alone, such as `id 0 on /run/memif.sock`: no two devices of a
    /// deployment can have the same. `None` when there is nothing of the kind.
    fn claim(&self, _options: &Options) -> Option<String> {
        None
    }

    /// What on this machine stands in the way of the device, found without changing anything: an interface that is not
    /// there, a capability that the process lacks ([`crate::privileges::missing`]). `options` are those of `device`, checked.
    fn check_machine(&self, _device: &DeviceSpec, _options: &Options) -> Vec<MachineProblem> {
        Vec::new()
    }

    /// Opens a device with all its queues.
    ///
    /// # Errors
    /// When the device cannot be had. A peer that is merely not there yet is no error: the link is down until it comes.
    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError>;
}

/// A device to be opened.
#[derive(Debug)]
pub struct DeviceRequest {
    /// Name of the device.
    pub name: String,
    /// Options, checked against the driver's table.
    pub options: Options,
    /// Its queues, at least one; the lports come back in this order.
    pub queues: Vec<QueueRequest>,
}

impl DeviceRequest {
    /// A device with `queues` queues, numbered from 0, that all receive into `pool`; their lports have the queues'
    /// numbers, and are called `name:qid` (or just `name`, if it is only one). For tests, and for programs without a
    /// [`crate::Deployment`].
    pub fn new(name: &str, options: Options, queues: u16, pool: Option<&Pool>) -> Self {
        let queue = |qid| QueueRequest {
            lport: LportId(qid),
            name: if queues == 1 { name.to_owned() } else { format!("{name}:{qid}") },
            qid,
            pool: pool.cloned(),
            rx_desc: 2048,
            tx_desc: 2048,
            xdp: XdpHints::default(),
        };
        Self { name: name.to_owned(), options, queues: (0..queues).map(queue).collect() }
    }

    /// Checks that the queues are numbered from 0 without gaps: for drivers whose devices have as many queues as they are
    /// told, all of which take part.
    ///
    /// # Errors
    /// Names the number that is missing.
    pub fn check_queue_numbers(&self) -> Result<(), OpenError> {
        let mut numbers: Vec<_> = self.queues.iter().map(|queue| usize::from(queue.qid)).collect();
        numbers.sort_unstable();
        match (0..numbers.len()).find(|number| numbers[*number] != *number) {
            None => Ok(()),
            Some(missing) => Err(OpenError(format!(
                "device `{}` has {} queues but none with `qid` {missing}: number them from 0 without gaps",
                self.name,
                numbers.len()
            ))),
        }
    }
}

/// A queue of a device to be opened.
#[derive(Debug)]
pub struct QueueRequest {
    /// Number of its lport.
    pub lport: LportId,
    /// Name of its lport.
    pub name: String,
    /// Which queue of the device it is.
    pub qid: u16,
    /// Where received packets go.
    pub pool: Option<Pool>,
    /// Receive descriptors wanted.
    pub rx_desc: u32,
    /// Transmit descriptors wanted.
    pub tx_desc: u32,
    /// What only AF_XDP heeds.
    pub xdp: XdpHints,
}

impl QueueRequest {
    /// The pool, or the error that says where one is named.
    ///
    /// # Errors
    /// When the queue has none.
    pub fn need_pool(&self) -> Result<Pool, OpenError> {
        self.pool.clone().ok_or_else(|| {
            OpenError(format!("lport `{}` has no `umem`, but its driver needs one for received packets", self.name))
        })
    }
}

/// How many queues a device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueCount {
    /// So many.
    Has(u16),
    /// As many as it is told: somebody has to choose.
    AsTold,
    /// It cannot be asked, for this reason: it is not on this machine, for example.
    Unknown(String),
}

/// What on this machine stands in the way of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineProblem {
    /// The option it comes from; empty when it comes from none, as with a capability that is missing.
    pub option: &'static str,
    /// Names the value and the way out.
    pub message: String,
    /// Whether the device could not be opened. Otherwise it would open, and its link stay down.
    pub fatal: bool,
}

/// Why a device could not be opened: names the value, the limit and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// The drivers a program has.
#[derive(Clone, Default)]
pub struct Registry {
    drivers: Vec<Arc<dyn Driver>>,
}

impl Registry {
    /// A registry with the reference drivers `net_null` and `net_ring`.
    pub fn with_reference_drivers() -> Self {
        let mut registry = Self::default();
        registry.add(Arc::new(crate::drivers::NullDriver));
        registry.add(Arc::new(crate::drivers::RingDriver::default()));
        registry
    }

    /// Adds a driver; a second one of the same name takes the first one's place.
    pub fn add(&mut self, driver: Arc<dyn Driver>) {
        self.drivers.retain(|known| known.name() != driver.name());
        self.drivers.push(driver);
    }

    /// The driver called `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Driver>> {
        self.drivers.iter().find(|driver| driver.name() == name)
    }

    /// All drivers, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Driver>> {
        self.drivers.iter()
    }

    /// All names, in the order they were added.
    pub fn names(&self) -> Vec<&str> {
        self.drivers.iter().map(|driver| driver.name()).collect()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
