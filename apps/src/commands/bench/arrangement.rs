//! Who sends to whom: plain data that says which lports our own process has, and what the other process runs.
//!
//! ```text
//!   loopback           a ══ b                      one process, one core
//!   server-to-client   [a] ══> [b]                 two processes, the memif server sends
//!   client-to-server   [a] ══> [b]                 two processes, the memif client sends
//!   round-trip         [a] <══> [b]                two processes, the other one sends everything back
//!   chain              [a] ══> [in fwd out] ══> [b]  generator and sink in one process, the forwarder is another
//! ```
//!
//! Our process always holds the generator, on lports of the file [`Arrangement::own`]; the other one is an `lport run`, or a
//! process that somebody else has started ([`super::attached`]).

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use pmd_core::lcore::allowed_cpus;
use pmd_core::topology::{Machine, choose_cpus};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::args::Setup;
use super::driver::{DriverWords, LinkWords, Side, USUAL_ROOM};
use super::frames::FrameSize;
use crate::failure::Failure;

/// Longest wait for links whose ends are both ours.
const LINK_PATIENCE: Duration = Duration::from_secs(10);

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// one process, one core: two of its own lports, joined to each other
    Loopback,
    /// two processes, one core each: the memif server sends, the client receives
    ServerToClient,
    /// two processes, one core each: the memif client sends, the server receives
    ClientToServer,
    /// two processes, one core each: the other one sends everything back
    RoundTrip,
    /// two processes, one core each: generator and sink in one, a forwarder between two memifs in the other
    Chain,
}

impl Work {
    /// Its word on the command line.
    pub(super) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether our own process receives what it has sent.
    pub(super) fn returns(self) -> bool {
        matches!(self, Self::Loopback | Self::RoundTrip | Self::Chain)
    }

    fn cores_needed(self) -> usize {
        if self == Self::Loopback { 1 } else { 2 }
    }
}

/// The processes of a measurement.
#[derive(Debug, Clone)]
pub(super) struct Arrangement {
    pub(super) work: Work,
    pub(super) size: FrameSize,
    /// The lport file of our own process.
    pub(super) own: Value,
    /// The lports of it that packets are sent to.
    pub(super) to: Vec<String>,
    /// The lport file of the other process, and whether it has to be started first.
    pub(super) other: Option<(Value, bool)>,
    /// How long the links may take to come up.
    pub(super) patience: Duration,
    /// The CPU of our process, and of the other one.
    pub(super) cores: Vec<usize>,
}

/// The works that a setup allows, in the order they are measured when none is chosen; false: only on request.
fn works_of(setup: &Setup) -> &'static [(Work, bool)] {
    use Work::{Chain, ClientToServer, Loopback, RoundTrip, ServerToClient};
    if setup.driver.is_memif() {
        &[(Loopback, true), (ServerToClient, true), (ClientToServer, true), (RoundTrip, false), (Chain, false)]
    } else if setup.peer.is_some() {
        &[(Loopback, true), (ServerToClient, false), (RoundTrip, false)]
    } else {
        &[(Loopback, true)]
    }
}

/// The works that were asked for, or else all usual ones that there are CPUs for, each with its CPUs.
///
/// # Errors
/// When the driver cannot do what is asked, or there are too few CPUs for it.
pub(super) fn works(setup: &Setup, asked: &[Work]) -> Result<Vec<(Work, Vec<usize>)>, Failure> {
    let possible = works_of(setup);
    if let Some(work) = asked.iter().find(|work| !possible.iter().any(|(possible, _)| possible == *work)) {
        let message = format!(
            "{} cannot be arranged with {}: two processes are joined by net_memif only; other drivers end inside the \
             process, or need `--peer` for the other end",
            work.word(),
            setup.driver
        );
        return Err(Failure::Configuration(message));
    }
    if !asked.is_empty() {
        return asked.iter().map(|work| Ok((*work, cores(setup, *work)?))).collect();
    }
    let usual = possible.iter().filter(|(_, usual)| *usual).map(|(work, _)| *work);
    // Nobody asked for it: a machine with one CPU still gets the rest.
    let with_cores = usual.filter_map(|work| match cores(setup, work) {
        Ok(cores) => Some((work, cores)),
        Err(failure) => {
            tracing::warn!("left out: {failure}");
            None
        }
    });
    Ok(with_cores.collect())
}

/// A CPU for each process: our own, the other one. `--cores` names that of the memif server first.
fn cores(setup: &Setup, work: Work) -> Result<Vec<usize>, Failure> {
    let mut cores = choose_cores(setup, &work.word(), work.cores_needed())?;
    if work == Work::ClientToServer {
        cores.reverse();
    }
    Ok(cores)
}

/// So many different CPUs for `what`: the first that `--cores` names, or else what the machine suggests.
pub(super) fn choose_cores(setup: &Setup, what: &str, needed: usize) -> Result<Vec<usize>, Failure> {
    let mut cores = setup.cores.clone();
    if cores.is_empty() {
        let machine = Machine::detect().unwrap_or_else(|_| Machine::flat(&allowed_cpus()));
        cores = choose_cpus(&machine, &[], 2);
    }
    cores.truncate(needed);
    if cores.len() != needed || (needed == 2 && cores[0] == cores[1]) {
        let message = format!("{what} needs {needed} different CPUs, but has {cores:?}; see `--cores`");
        return Err(Failure::Configuration(message));
    }
    Ok(cores)
}

/// The processes of `work`; `directory` is where sockets go.
pub(super) fn arrange(setup: &Setup, work: Work, size: FrameSize, cores: &[usize], directory: &Path) -> Arrangement {
    let builder = Builder { setup, size, directory };
    let (a, b) = (&setup.driver, setup.peer.as_ref().unwrap_or(&setup.driver));
    let single = |side, driver: &DriverWords| builder.netdev("a", driver, side, "link");
    let (own, to, other) = match work {
        Work::Loopback => {
            let mut lports = single(Side::Server, a);
            lports.extend(builder.netdev("b", b, Side::Client, "link"));
            (lports, "a", None)
        }
        Work::ServerToClient => (single(Side::Server, a), "a", Some((single(Side::Client, b), "drop", false))),
        Work::ClientToServer => (single(Side::Client, a), "a", Some((single(Side::Server, b), "drop", true))),
        Work::RoundTrip => (single(Side::Client, a), "a", Some((single(Side::Server, b), "lb", true))),
        Work::Chain => {
            let (mut lports, mut forwarder) = (single(Side::Client, a), builder.netdev("in", b, Side::Server, "link"));
            lports.extend(builder.netdev("b", a, Side::Client, "onward"));
            forwarder.extend(builder.netdev("out", b, Side::Server, "onward"));
            (lports, "a", Some((forwarder, "fwd", true)))
        }
    };
    let file = |lports: &Map<String, Value>, core, mode: &str| builder.file(lports, &[core], mode);
    Arrangement {
        work,
        size,
        own: file(&own, cores[0], "drop"),
        to: (0..setup.queues).map(|queue| format!("{to}:{queue}")).collect(),
        other: other.map(|(lports, mode, first)| (file(&lports, cores[1], mode), first)),
        patience: LINK_PATIENCE,
        cores: cores.to_vec(),
    }
}

/// Writes lport files.
pub(super) struct Builder<'a> {
    pub(super) setup: &'a Setup,
    pub(super) size: FrameSize,
    pub(super) directory: &'a Path,
}

impl Builder<'_> {
    /// The lports of a device called `name`, one per queue; `link` tells links apart.
    pub(super) fn netdev(&self, name: &str, driver: &DriverWords, side: Side, link: &str) -> Map<String, Value> {
        let socket = self.directory.join(format!("{link}.sock"));
        let words = LinkWords { socket: &socket, ring: link, rings: self.setup.rings, size: self.size };
        self.lports(name, driver, &driver.options(side, words))
    }

    /// The lports of a device with these options, one per queue.
    pub(super) fn lports(&self, name: &str, driver: &DriverWords, options: &Value) -> Map<String, Value> {
        let queue = |qid| {
            let lport = json!({ "pmd": driver.name(), "pmd_opts": options, "umem": "packets", "qid": qid });
            (format!("{name}:{qid}"), lport)
        };
        (0..self.setup.queues).map(queue).collect()
    }

    /// A file with one thread that polls all of `lports` on `cores`.
    pub(super) fn file(&self, lports: &Map<String, Value>, cores: &[usize], mode: &str) -> Value {
        let polled: Vec<_> = lports.keys().cloned().collect();
        let partner = |name: &String| match name.split_once(':') {
            Some(("in", queue)) => Some((name.clone(), json!(format!("out:{queue}")))),
            Some(("out", queue)) => Some((name.clone(), json!(format!("in:{queue}")))),
            _ => None,
        };
        let port_map: Map<_, _> = polled.iter().filter_map(partner).collect();
        json!({
            "umems": { "packets": { "bufcnt": self.mbufs(polled.len()).div_ceil(1024), "bufsz": self.data_room() / 1024 } },
            "lports": lports,
            "lcore-groups": { "default": cores },
            "threads": { THREAD: { "lports": polled } },
            "options": { "mode": mode, "port-map": port_map },
        })
    }

    /// Mbufs of a process: twice what the rings of its lports can hold, and what threads hold in their caches.
    fn mbufs(&self, lports: usize) -> usize {
        let ring = 1_usize << self.setup.rings.unwrap_or(10);
        (2 * ring * lports + 2048).max(8192)
    }

    /// Packets after which rings and pool of `lports` lports have been used, each place of them.
    pub(super) fn warm_packets(&self, lports: usize) -> u64 {
        2 * self.mbufs(lports) as u64
    }

    /// Bytes of an mbuf: each frame lies in one.
    fn data_room(&self) -> usize {
        self.size.largest().next_multiple_of(1024).max(USUAL_ROOM)
    }
}

/// The polling thread of every file.
pub(super) const THREAD: &str = "bench:0";
