//! What the runtime's tests share: a driver with a bell, tasks from closures, and waiting for a condition.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use pmd_core::{
    Burst, Counter, DeviceRequest, Driver, Link, Lport, LportControl, LportId, LportInfo, LportStats, Mbuf, OpenError,
    OptionKind, OptionSpec, Options, Ports, Report, RxQueue, Task, TxQueue,
};

/// Much longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Asserts that every mbuf has come home.
pub(crate) fn assert_pools_whole(report: &Report) {
    for pool in &report.pools {
        assert_eq!(pool.available, pool.size, "pool `{}` has lost mbufs", pool.name);
    }
}

/// A task from a closure.
struct TaskFn<F>(F);

impl<F: FnMut(&mut Ports) -> usize + Send> Task for TaskFn<F> {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        self.0(ports)
    }
}

/// A boxed task from a closure.
pub(crate) fn task(poll: impl FnMut(&mut Ports) -> usize + Send + 'static) -> Box<dyn Task> {
    Box::new(TaskFn(poll))
}

/// A task that receives from all its lports and drops.
pub(crate) fn sink() -> Box<dyn Task> {
    let mut burst = Burst::with_limit(32);
    task(move |ports| {
        let mut moved = 0;
        while ports.rx_next(&mut burst).is_some() {
            moved += burst.len();
            burst.clear();
        }
        moved
    })
}

/// What happened, in order.
pub(crate) type Journal = Arc<Mutex<Vec<String>>>;

/// `net_bell`: the test puts packets in, a bell rings when the queue is armed; what is sent is counted and freed.
#[derive(Default)]
pub(crate) struct BellDriver {
    pub(crate) wire: Arc<Wire>,
    pub(crate) journal: Journal,
}

/// The test's end of all lports of a [`BellDriver`].
#[derive(Default)]
pub(crate) struct Wire {
    waiting: Mutex<VecDeque<Mbuf>>,
    bell: Mutex<Option<Arc<EventFd>>>,
    armed: AtomicBool,
    pub(crate) sent: Counter,
    /// Whether no device can be opened for the time being.
    pub(crate) cut: AtomicBool,
}

impl Wire {
    /// Lets a packet arrive.
    pub(crate) fn put(&self, mbuf: Mbuf) {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.push_back(mbuf);
        if self.armed.load(Ordering::SeqCst) {
            self.bell.lock().unwrap().as_ref().expect("armed only when open").write(1).unwrap();
        }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec { name: "fail", kind: OptionKind::Bool, default: "no", help: "refuse to open" },
    OptionSpec { name: "share", kind: OptionKind::Bool, default: "no", help: "want the pool in shareable memory" },
    OptionSpec { name: "forget", kind: OptionKind::Bool, default: "no", help: "open no queue at all" },
];

impl Driver for BellDriver {
    fn name(&self) -> &str {
        "net_bell"
    }

    fn summary(&self) -> &str {
        "packets from a test"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn shares_pools(&self, options: &Options) -> bool {
        options.bool("share")
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        if self.wire.cut.load(Ordering::Relaxed) {
            return Err(OpenError("the wire is cut".into()));
        }
        if device.options.bool("fail") {
            return Err(OpenError("told to fail".into()));
        }
        if device.options.bool("forget") {
            return Ok(Vec::new());
        }
        let open = |queue: pmd_core::QueueRequest| {
            let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap());
            *self.wire.bell.lock().unwrap() = Some(Arc::clone(&bell));
            let wire = Arc::clone(&self.wire);
            let end = Note { text: format!("{} queue closed", queue.name), journal: Arc::clone(&self.journal) };
            let control = Arc::new(BellControl {
                wire: Arc::clone(&wire),
                down: AtomicBool::new(false),
                _note: Note { text: format!("{} control closed", queue.name), journal: Arc::clone(&self.journal) },
            });
            Lport {
                id: queue.lport,
                name: queue.name,
                rx: Box::new(BellRx { wire: Arc::clone(&wire), bell }),
                tx: Box::new(BellTx { wire, control: Arc::clone(&control), _note: end }),
                control,
            }
        };
        Ok(device.queues.into_iter().map(open).collect())
    }
}

struct BellRx {
    wire: Arc<Wire>,
    bell: Arc<EventFd>,
}

impl RxQueue for BellRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let mut waiting = self.wire.waiting.lock().unwrap();
        let n = waiting.len().min(burst.room());
        waiting.drain(..n).for_each(|mbuf| burst.push(mbuf).unwrap());
        n
    }

    fn renumber(&mut self, _lport: LportId) {}

    fn arm(&mut self) -> bool {
        let waiting = self.wire.waiting.lock().unwrap();
        self.wire.armed.store(true, Ordering::SeqCst);
        waiting.is_empty()
    }

    fn disarm(&mut self) {
        self.wire.armed.store(false, Ordering::SeqCst);
        let _ = self.bell.read();
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.bell.as_fd())
    }
}

struct BellTx {
    wire: Arc<Wire>,
    control: Arc<BellControl>,
    _note: Note,
}

impl TxQueue for BellTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.control.down.load(Ordering::Relaxed) {
            return 0;
        }
        let n = burst.len();
        burst.clear();
        self.wire.sent.add(n as u64);
        n
    }
}

struct BellControl {
    wire: Arc<Wire>,
    down: AtomicBool,
    _note: Note,
}

impl LportControl for BellControl {
    fn link(&self) -> Link {
        if self.down.load(Ordering::Relaxed) { Link::Down("administratively down".into()) } else { Link::Up }
    }

    fn info(&self) -> LportInfo {
        LportInfo { driver: "net_bell".into(), mac: None, max_packet: 1500, speed_mbps: 0 }
    }

    fn stats(&self) -> LportStats {
        LportStats { opackets: self.wire.sent.get(), ..LportStats::default() }
    }

    fn set_admin_up(&self, up: bool) {
        self.down.store(!up, Ordering::Relaxed);
    }
}

/// Writes a line into the journal when it is dropped.
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) journal: Journal,
}

impl Drop for Note {
    fn drop(&mut self) {
        self.journal.lock().unwrap().push(std::mem::take(&mut self.text));
    }
}
