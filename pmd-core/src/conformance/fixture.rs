//! What the author of a driver tells the suite: how to open a device, what is at its other end, and in what honest ways
//! it differs from others.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::frame::Frame;
use crate::driver::Driver;
use crate::lport::Lport;
use crate::options::RawOption;
use crate::pool::{Pool, PoolConfig};

/// A driver to be checked. Each check opens a rig of its own, and checks run side by side: names of sockets, interfaces
/// and files must differ between rigs and between processes.
pub trait Fixture {
    /// What is true of its devices.
    fn capabilities(&self) -> Capabilities;

    /// A device with `queues` queues and what is at its other end, to be opened. `queues` is 1, or
    /// [`Capabilities::queues`].
    fn rig(&self, queues: u16) -> Rig;

    /// Why the checks cannot be made here and need not be, if that is so: each prints it instead. A machine that ought to be
    /// able to is a failure; say so by a panic.
    fn skipped(&self) -> Option<String> {
        None
    }

    /// Devices that cannot be had: absent, of the wrong kind, with options that exclude one another.
    fn refusals(&self) -> Vec<Refusal> {
        Vec::new()
    }
}

/// How a device is opened.
#[derive(Clone)]
pub struct Device {
    /// Its driver.
    pub driver: Arc<dyn Driver>,
    /// Its name.
    pub name: String,
    /// Its options, as a file would give them.
    pub options: Vec<RawOption>,
    /// The pool its queues receive into, and packets to be sent come from. The suite makes it, shareable if the driver
    /// wants that.
    pub pool: PoolConfig,
}

impl Device {
    /// A device with a pool of 4096 mbufs of 2048 bytes.
    pub fn new(driver: impl Driver + 'static, name: &str, options: &[(&str, &str)]) -> Self {
        Self::of(Arc::new(driver), name, options)
    }

    /// The same, of a driver that others use, too.
    pub fn of(driver: Arc<dyn Driver>, name: &str, options: &[(&str, &str)]) -> Self {
        let options = options.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
        let pool = PoolConfig { name: name.to_owned(), cache: 64, ..PoolConfig::default() };
        Self { driver, name: name.to_owned(), options, pool }
    }
}

/// What is at the other end of a device under test.
pub enum Far {
    /// Nothing: what it sends it receives itself, or it has no other end.
    Nothing,
    /// Another device, with as many queues, opened after the one under test. It need not be of the same driver.
    Device(Device),
    /// Lports that the fixture makes when the device under test is open, one for each of its queues:
    /// [`super::far_end()`] makes one out of two closures. They receive into the pool given.
    Made(Box<dyn FnOnce(&Pool) -> Vec<Lport> + Send>),
}

/// A device under test, with what it needs around it.
pub struct Rig {
    /// The device under test.
    pub near: Device,
    /// The other end.
    pub far: Far,
    /// Cuts the link (`true`) and joins it again (`false`), from outside of the driver: the peer goes, the cable is pulled.
    /// `None` when that cannot be.
    pub cut: Option<Box<dyn FnMut(bool) + Send>>,
    /// What must live as long as the devices, and goes after them: directories, namespaces.
    pub keep: Box<dyn Any + Send>,
}

impl Rig {
    /// A device with nothing at its other end.
    pub fn alone(near: Device) -> Self {
        Self { near, far: Far::Nothing, cut: None, keep: Box::new(()) }
    }

    /// Two devices that are connected with each other.
    pub fn pair(near: Device, far: Device) -> Self {
        Self { near, far: Far::Device(far), cut: None, keep: Box::new(()) }
    }

    /// The same with something that lives as long as the devices.
    pub fn keeping(self, keep: impl Any + Send) -> Self {
        Self { keep: Box::new(keep), ..self }
    }
}

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// What the device sends it receives itself, on the same queue.
    Loop,
    /// What one end sends the other receives, on the same queue.
    Pair,
    /// What the device under test sends the far end receives; nothing comes back.
    Outwards,
    /// What the far end sends the device under test receives; nothing goes back.
    Inwards,
    /// What is received comes out of nothing, what is sent vanishes. A source is endless.
    Ends {
        /// Whether packets come.
        source: bool,
        /// Whether packets can be sent.
        sink: bool,
    },
}

/// What is true of a driver's devices. What differs is checked for being so: a device without chains must drop them and
/// say so.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// How packets travel.
    pub shape: Shape,
    /// What packets have to look like.
    pub frame: Frame,
    /// Shortest packet it carries unchanged, in bytes. At least [`Frame::marked_len`] when `noise`.
    pub min_packet: usize,
    /// Shorter packets arrive with zeros appended up to this length, as Ethernet does it. 0: never.
    pub pads_to: usize,
    /// Whether packets of several segments are sent; else they are dropped and counted.
    pub chains: bool,
    /// How many packets may be on their way without any being lost. Beyond that they are lost, or refused.
    pub window: usize,
    /// Whether a device whose other end does not receive refuses packets sooner or later, before its pool is empty. Else
    /// they are lost, or vanish.
    pub backpressure: bool,
    /// Whether packets arrive that nobody here sent, as kernels send them on every interface.
    pub noise: bool,
    /// How many packets come while a received one is held, before the device waits for it: where packets are lent out of a
    /// ring whose slots go back in order.
    pub after_held: usize,
    /// Whether armed queues have a file descriptor that becomes readable.
    pub interrupts: bool,
    /// Whether the device receives into mbufs of its queues' pools.
    pub uses_pool: bool,
    /// How many queues a device may have in the check of several; 1 when it can only have one.
    pub queues: u16,
    /// Whether packets sent on a queue may arrive on any queue of the other end.
    pub spreads: bool,
    /// Whether the link is lost when the far end is set administratively down.
    pub link_follows: bool,
    /// Whether a device can be opened once more while it is open; `None` when nothing is promised.
    pub opens_twice: Option<bool>,
    /// Options that are left alone when the extreme values of all others are tried: those that would leave something behind
    /// on the machine.
    pub untried: Vec<&'static str>,
    /// How long anything that happens "soon" may take before it counts as never.
    pub patience: Duration,
}

impl Capabilities {
    /// A device in memory: everything is carried, nothing is lost, a full device refuses.
    pub fn in_memory(shape: Shape) -> Self {
        Self {
            shape,
            frame: Frame::Ethernet,
            min_packet: 1,
            pads_to: 0,
            chains: true,
            window: 256,
            backpressure: !matches!(shape, Shape::Ends { .. }),
            noise: false,
            after_held: usize::MAX,
            interrupts: false,
            uses_pool: false,
            queues: 2,
            spreads: false,
            link_follows: false,
            opens_twice: None,
            untried: Vec::new(),
            patience: Duration::from_secs(30),
        }
    }

    /// An interface of a kernel: noise, short packets and long queues excepted, it behaves as one in memory does, but what
    /// its other end does not receive in time is lost.
    pub fn of_kernel(shape: Shape) -> Self {
        let here = Self::in_memory(shape);
        Self {
            min_packet: here.frame.marked_len().max(60),
            window: 64,
            backpressure: false,
            noise: true,
            interrupts: true,
            uses_pool: true,
            queues: 1,
            ..here
        }
    }
}

/// A device that cannot be had.
#[derive(Clone)]
pub struct Refusal {
    /// The device.
    pub device: Device,
    /// With so many queues.
    pub queues: u16,
    /// Words that the message must have, in any case of letters: the value, the way out.
    pub words: Vec<String>,
}

impl Refusal {
    /// A device with one queue that is refused with these words.
    pub fn new(device: Device, words: &[&str]) -> Self {
        Self { device, queues: 1, words: words.iter().map(|word| (*word).to_owned()).collect() }
    }
}
