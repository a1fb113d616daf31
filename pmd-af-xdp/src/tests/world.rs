//! A network namespace for one test, with veth pairs, and lports on them.

use std::process::Command;
use std::time::{Duration, Instant};

use lport_tests::namespace::may_make_namespaces;
use nix::sched::{CloneFlags, unshare};
use pmd_core::deployment::XdpHints;
use pmd_core::netdev::Netdev;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, OpenError, Options, Pool, PoolConfig, RawOption};

use crate::AfXdpDriver;

/// How long a test waits for something that should come at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A namespace that the calling thread has entered, and what it starts from then on. It goes with them.
pub(super) struct World;

impl World {
    /// An empty one; `None` where tests without privileges are allowed to say so and do nothing.
    pub(super) fn new() -> Option<Self> {
        if !may_make_namespaces().unwrap_or_else(|error| panic!("{error}")) {
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make namespaces");
        // Nobody but the tests is to send anything. A kernel without IPv6 sends nothing by itself either.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        Some(Self)
    }

    /// One with the pair `left`, `right`, of one queue each, up.
    pub(super) fn with_pair() -> Option<Self> {
        Self::new().inspect(|world| world.pair(1))
    }

    /// Adds the pair `left`, `right`, of so many queues each, up.
    pub(super) fn pair(&self, queues: u16) {
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        Self::ip(&format!("link add left {queues} type veth peer name right {queues}"));
        for end in ["left", "right"] {
            Self::ip(&format!("link set {end} up"));
        }
        for end in ["left", "right"] {
            let netdev = Netdev::new(end.parse().unwrap(), None).unwrap();
            wait_for("the carrier", || netdev.state().unwrap().is_some_and(|state| state.is_running));
        }
    }

    /// Runs `ip` in it.
    pub(super) fn ip(arguments: &str) {
        let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("iproute2 is installed");
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What a test asks for.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) queues: u16,
    pub(super) options: Vec<RawOption>,
    pub(super) hints: XdpHints,
}

impl Default for Wish {
    fn default() -> Self {
        Self { queues: 1, options: Vec::new(), hints: XdpHints::default() }
    }
}

impl Wish {
    pub(super) fn hints(hints: XdpHints) -> Self {
        Self { hints, ..Self::default() }
    }

    /// Opens it with a driver of its own.
    pub(super) fn open(&self, interface: &str, pool: &Pool) -> Result<Vec<Lport>, OpenError> {
        self.open_with(&AfXdpDriver::default(), interface, pool)
    }

    pub(super) fn open_with(
        &self,
        driver: &AfXdpDriver,
        interface: &str,
        pool: &Pool,
    ) -> Result<Vec<Lport>, OpenError> {
        let options = Options::check(driver.options(), &self.options).expect("options of the table");
        let mut request = DeviceRequest::new(interface, options, self.queues, Some(pool));
        for queue in &mut request.queues {
            queue.xdp = self.hints.clone();
            (queue.rx_desc, queue.tx_desc) = (256, 256);
        }
        driver.open(request)
    }

    /// Opens one queue.
    pub(super) fn one(&self, interface: &str, pool: &Pool) -> Lport {
        self.open(interface, pool).unwrap().remove(0)
    }
}

pub(super) fn generic() -> XdpHints {
    XdpHints { skb_mode: true, ..XdpHints::default() }
}

pub(super) fn pool() -> Pool {
    pool_of(2048, true)
}

pub(super) fn pool_of(size: usize, chunked: bool) -> Pool {
    Pool::new(&PoolConfig { size, chunked, cache: 32, ..PoolConfig::default() }).unwrap()
}

/// A packet to everyone, with a number and so many bytes.
pub(super) fn packet(number: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![number; len];
    bytes[..6].fill(0xff);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    bytes
}

/// Sends packets made in `pool`, waiting for room.
pub(super) fn send(lport: &mut Lport, pool: &Pool, packets: &[Vec<u8>]) {
    let mut burst = Burst::new();
    for bytes in packets {
        burst.push(pool.alloc_packet(bytes).expect("an mbuf")).expect("room in the burst");
    }
    wait_for("all packets to be sent", || {
        lport.tx.tx_burst(&mut burst);
        burst.is_empty()
    });
}

/// Receives until there are `n` packets.
pub(super) fn receive(lport: &mut Lport, n: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    wait_for("packets", || {
        let mut burst = Burst::with_limit(32);
        lport.rx.rx_burst(&mut burst);
        packets.extend(burst.iter().map(|mbuf| mbuf.segments().flatten().copied().collect::<Vec<_>>()));
        packets.len() >= n
    });
    assert_eq!(packets.len(), n);
    packets
}

/// Sends what came back to the sender's pool home: the kernel tells of it later than of the packet.
pub(super) fn all_home(lports: &mut [&mut Lport], pools: &[&Pool]) {
    wait_for("mbufs to be sent", || {
        lports.iter_mut().for_each(|lport| lport.tx.flush());
        pools.iter().all(|pool| pool.in_use() <= 256 * lports.len())
    });
}

pub(super) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

pub(super) fn xstat(lport: &Lport, name: &str) -> u64 {
    let stats = lport.control.stats();
    stats.xstats.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no xstat {name}")).1
}

pub(super) fn detail(lport: &Lport, path: &str) -> String {
    let details = pmd_core::details::Value::from(lport.control.details());
    match details.at(path) {
        Some(pmd_core::details::Value::Text(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}
