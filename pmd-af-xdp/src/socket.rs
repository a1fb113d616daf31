//! One AF_XDP socket, bound to a queue of an interface.
//!
//! 1. [`open`] makes the socket, its umem or a share of one, and its four rings; binds it, with zero copy if that is wished
//!    and can be; and gives the two ends that the halves of a queue work with.
//! 2. The ends hold the socket. Each owns its two rings and knows the mbufs that it has given to the kernel.
//! 3. An end that goes leaves those mbufs here, because the kernel may still write into them.
//! 4. With the last end the socket is closed. Only when the kernel is done with the memory do the mbufs return to their pool:
//!    in copy mode that is at once; in zero-copy mode the device lets go a little later, which is waited for.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use pmd_core::deployment::PageSize;
use pmd_core::pool::{Posted, Segment};
use pmd_core::privileges::{Capability, refusal};

use crate::counters::KernelCounts;
use crate::options::{BusyPoll, Mode, QueueConfig};
use crate::plugin::Plugin;
use crate::rings::{Consumer, Producer};
use crate::rx::RxEnd;
use crate::sys::xsk::{RingKind, Statistics, Transfer, Xsk};
use crate::tx::TxEnd;
use crate::umem::Umem;

/// What opening a socket needs.
pub(crate) const CAPABILITIES: &[Capability] = &[Capability::NetRaw];

/// How long a queue may stay with a socket that was closed before, and a device with memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often we look whether it is free.
const LOOK: Duration = Duration::from_millis(2);

/// Packets that one system call sends in copy mode, where the kernel lets us say so.
const SEND_BUDGET: u32 = 256;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Socket {
    /// `None` only while it is dropped.
    xsk: Option<Xsk>,
    interface: u32,
    queue: u16,
    transfer: Transfer,
    busy_poll: bool,
    /// Where the last counts go.
    counts: Arc<KernelCounts>,
    /// Mbufs of ends that are gone.
    left: Mutex<Vec<Posted>>,
    /// Keeps the memory mapped.
    umem: Arc<Umem>,
}

/// A socket with what the halves of its queue work with.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) socket: Arc<Socket>,
    pub(crate) rx: RxEnd,
    pub(crate) tx: TxEnd,
}

/// The mbufs that one end of a socket has given to the kernel. When the end goes they stay with the socket, because the
/// kernel may still write into them.
#[derive(Debug)]
pub(crate) struct WithKernel {
    /// `None` only while it is dropped.
    posted: Option<Posted>,
    socket: Arc<Socket>,
}

impl WithKernel {
    /// None yet.
    pub(crate) fn new(socket: Arc<Socket>, umem: &Umem) -> Self {
        Self { posted: Some(Posted::new(umem.pool())), socket }
    }

    /// The socket.
    #[inline(always)]
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl std::ops::Deref for WithKernel {
    type Target = Posted;

    #[inline(always)]
    fn deref(&self) -> &Posted {
        self.posted.as_ref().expect("it is there until the drop")
    }
}

impl std::ops::DerefMut for WithKernel {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Posted {
        self.posted.as_mut().expect("it is there until the drop")
    }
}

impl Drop for WithKernel {
    fn drop(&mut self) {
        self.socket.left.lock().unwrap_or_else(PoisonError::into_inner).extend(self.posted.take());
    }
}

/// Where a socket is to be bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) interface: u32,
    pub(crate) name: &'a str,
    pub(crate) queue: u16,
}

/// Opens a socket.
///
/// # Errors
/// What stands in the way, with the way out.
pub(crate) fn open(
    place: Place<'_>,
    config: &QueueConfig,
    mode: Mode,
    umem: Arc<Umem>,
    counts: &Arc<KernelCounts>,
) -> Result<Ends, String> {
    let xsk = Xsk::new().map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => refusal("an AF_XDP socket", CAPABILITIES),
        Some(libc::EAFNOSUPPORT) => "this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)".to_owned(),
        _ => format!("cannot make an AF_XDP socket: {error}"),
    })?;
    let sizes = Sizes::of(config);
    sizes.make_rings(&xsk)?;
    // Kernels that cannot send 32 packets at a time, and need more calls.
    let _ = xsk.set_send_budget(SEND_BUDGET.min(sizes.tx));
    let layouts = xsk.layouts().map_err(|error| format!("cannot learn where the rings lie: {error}"))?;
    let unmapped = |error: io::Error| format!("cannot map a ring: {error}");
    let rx = xsk.rx_ring(&layouts, sizes.rx).map_err(unmapped)?;
    let fill = xsk.fill_ring(&layouts, sizes.fill).map_err(unmapped)?;
    let tx = xsk.tx_ring(&layouts, sizes.tx).map_err(unmapped)?;
    let completion = xsk.completion_ring(&layouts, sizes.tx).map_err(unmapped)?;
    let umem = bind(&xsk, place, mode, umem)?;
    let transfer = xsk.transfer().map_err(|error| format!("cannot learn how packets are transferred: {error}"))?;
    let socket = Arc::new(Socket {
        xsk: Some(xsk),
        interface: place.interface,
        queue: place.queue,
        transfer,
        busy_poll: config.busy_poll.is_some(),
        counts: Arc::clone(counts),
        left: Mutex::default(),
        umem: Arc::clone(&umem),
    });
    umem.add_member(&socket);
    counts.set_live(&socket);
    let buffers = config.rx_buffers(transfer);
    let with_kernel = || WithKernel::new(Arc::clone(&socket), &umem);
    let rx = RxEnd::new(with_kernel(), Consumer::new(rx), Producer::new(fill), buffers);
    let (tx, completion) = (Producer::new(tx), Consumer::new(completion));
    let tx = TxEnd::new(with_kernel(), umem.shape(), tx, completion, config.force_wakeup);
    Ok(Ends { socket, rx, tx })
}

/// The sizes of the rings, powers of two.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    rx: u32,
    /// As many as can wait in the device and in the rx ring.
    fill: u32,
    /// Of the tx and the completion ring.
    tx: u32,
}

impl Sizes {
    fn of(config: &QueueConfig) -> Self {
        Self { rx: config.rx_desc, fill: 2 * config.rx_desc, tx: config.tx_desc }
    }

    fn make_rings(self, xsk: &Xsk) -> Result<(), String> {
        let rings = [
            (RingKind::Rx, self.rx),
            (RingKind::Fill, self.fill),
            (RingKind::Tx, self.tx),
            (RingKind::Completion, self.tx),
        ];
        for (kind, size) in rings {
            xsk.make_ring(kind, size)
                .map_err(|error| format!("cannot make the {kind:?} ring of {size} descriptors: {error}"))?;
        }
        Ok(())
    }
}

/// Binds the socket: with the umem of others, if it is shared and they have it, or else with the pool registered anew. Says
/// which umem it was.
fn bind(xsk: &Xsk, place: Place<'_>, mode: Mode, umem: Arc<Umem>) -> Result<Arc<Umem>, String> {
    let Place { interface, name, queue } = place;
    let Some(other) = umem.member() else {
        bind_first(xsk, place, mode, &umem)?;
        return Ok(umem);
    };
    match when_free(|| xsk.bind_sharing(interface, queue, other.xsk())) {
        Ok(()) => Ok(umem),
        Err(error) if is_busy(&error) => Err(busy(place)),
        Err(error) => {
            tracing::warn!(
                "queue {queue} of {name} cannot share the umem of pool `{}` ({error}): it registers the pool for itself",
                umem.pool().name()
            );
            let own = Umem::new(umem.pool().clone(), umem.shape());
            bind_first(xsk, place, mode, &own)?;
            Ok(own)
        }
    }
}

/// Registers the pool, and binds in the best manner that is wished and can be.
fn bind_first(xsk: &Xsk, place: Place<'_>, mode: Mode, umem: &Umem) -> Result<(), String> {
    let Place { interface, name, queue } = place;
    let (segment, shape) = (umem.pool().segment(), umem.shape());
    let registered = xsk.register_umem(segment, shape.chunk as u32, shape.unaligned);
    registered.map_err(|error| umem_error(&error, segment.len(), umem.pool().name()))?;
    let bind = |transfer| when_free(|| xsk.bind(interface, queue, transfer));
    let outcome = match mode {
        Mode::Copy => bind(Transfer::Copy),
        Mode::ZeroCopy => bind(Transfer::ZeroCopy),
        Mode::Auto => match bind(Transfer::ZeroCopy) {
            Err(error) if !is_busy(&error) => {
                tracing::info!("queue {queue} of {name} has no zero copy ({error}): the kernel copies packets");
                bind(Transfer::Copy)
            }
            outcome => outcome,
        },
    };
    outcome.map_err(|error| match error.raw_os_error() {
        _ if is_busy(&error) => busy(place),
        Some(libc::EOPNOTSUPP) if mode == Mode::ZeroCopy => {
            format!("queue {queue} of {name} has no zero copy, but `mode` is `zero-copy`; `auto` would copy instead")
        }
        Some(libc::EINVAL) => format!("cannot bind to queue {queue} of {name}: it has no such queue, or {error}"),
        Some(libc::ENETDOWN) => format!("interface {name} is down: `ip link set {name} up`"),
        _ => format!("cannot bind to queue {queue} of {name}: {error}"),
    })
}

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBUSY)
}

fn busy(Place { name, queue, .. }: Place<'_>) -> String {
    format!(
        "queue {queue} of {name} belongs to another AF_XDP socket already: give each queue to one lport of one program"
    )
}

/// Tries until nobody has the queue any more: who closed a socket a moment ago may still be in the kernel's books.
fn when_free(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(LOOK),
            outcome => return outcome,
        }
    }
}

fn umem_error(error: &io::Error, bytes: usize, pool: &str) -> String {
    match error.raw_os_error() {
        Some(libc::ENOBUFS) => {
            use nix::sys::resource::{Resource, getrlimit};
            let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
            format!(
                "the umem of pool `{pool}` locks {bytes} bytes of memory, but RLIMIT_MEMLOCK allows {limit}: raise it \
                 (`ulimit -l`, LimitMEMLOCK= of systemd, --ulimit memlock= of docker), or {}",
                refusal("locking more", &[Capability::IpcLock])
            )
        }
        _ => format!("cannot register the {bytes} bytes of pool `{pool}` as a umem: {error}"),
    }
}

impl Socket {
    /// The socket itself.
    #[inline(always)]
    pub(crate) fn xsk(&self) -> &Xsk {
        self.xsk.as_ref().expect("it is there until the drop")
    }

    pub(crate) fn queue(&self) -> u16 {
        self.queue
    }

    pub(crate) fn transfer(&self) -> Transfer {
        self.transfer
    }

    /// What it is bound with.
    pub(crate) fn umem(&self) -> &Arc<Umem> {
        &self.umem
    }

    /// Whether our system calls are what polls the device.
    #[inline(always)]
    pub(crate) fn busy_poll(&self) -> bool {
        self.busy_poll
    }

    /// What the kernel has counted.
    pub(crate) fn statistics(&self) -> Statistics {
        self.xsk().statistics().unwrap_or_default()
    }

    /// Turns busy polling on; a plugin does it for those who may not.
    ///
    /// # Errors
    /// When the kernel, or the plugin, refuses.
    pub(crate) fn set_up_busy_poll(&self, wished: BusyPoll, plugin: Option<&Plugin>) -> Result<(), String> {
        use std::os::fd::AsFd;

        let BusyPoll { microseconds, budget } = wished;
        if let Some(plugin) = plugin {
            return plugin.busy_poll(self.xsk().as_fd(), microseconds, budget);
        }
        self.xsk().prefer_busy_poll(microseconds, budget).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => refusal("`busy_poll`", &[Capability::NetAdmin]),
            Some(libc::ENOPROTOOPT) => "`busy_poll` needs Linux 5.11 or newer".to_owned(),
            _ => format!("cannot set `busy_poll` up: {error}"),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.counts.close(self.statistics());
        // The rings were unmapped with their ends, so this is the last reference to the socket.
        self.xsk = None;
        if self.transfer == Transfer::ZeroCopy && !is_free(self.interface, self.queue) {
            tracing::error!(
                "queue {} of interface number {}: its device has not let go of its buffers after {PATIENCE:?}; they are lost",
                self.queue,
                self.interface
            );
            self.left.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(std::mem::forget);
        }
    }
}

/// Waits until the kernel has taken a closed socket off its device, which it does in the background: from then on another
/// socket can be bound there, and that is how we know.
fn is_free(interface: u32, queue: u16) -> bool {
    let probe = || {
        let xsk = Xsk::new()?;
        let page = Segment::private(4096, PageSize::Small)?;
        xsk.register_umem(&page, 4096, false)?;
        for kind in [RingKind::Rx, RingKind::Fill, RingKind::Completion] {
            xsk.make_ring(kind, 1)?;
        }
        xsk.bind(interface, queue, Transfer::Copy)
    };
    !matches!(when_free(probe), Err(error) if is_busy(&error))
}

#[cfg(test)]
impl Socket {
    /// A socket that is bound to nothing, for tests of the ends; `None` where tests without privileges are allowed to say so
    /// and do nothing.
    pub(crate) fn unbound(umem: &Arc<Umem>) -> Option<Arc<Self>> {
        if !lport_tests::namespace::may_make_namespaces().unwrap_or_else(|error| panic!("{error}")) {
            return None;
        }
        let xsk = Xsk::new().expect("root may make AF_XDP sockets");
        Some(Arc::new(Self {
            xsk: Some(xsk),
            interface: 0,
            queue: 0,
            transfer: Transfer::Copy,
            busy_poll: false,
            counts: Arc::default(),
            left: Mutex::default(),
            umem: Arc::clone(umem),
        }))
    }
}
