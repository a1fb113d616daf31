//! A case: plain data that says which processes run which lport files, and what is counted.

use std::path::Path;
use std::time::Duration;

use pmd_core::lcore::allowed_cpus;
use pmd_core::topology::{Machine, choose_cpus};
use serde_json::{Value, json};

use super::{BenchArgs, Work};
use crate::drivers::{find, registry_with};
use crate::failure::Failure;

/// Packets that go round between the two lports of a loopback pair, from each side.
const IN_FLIGHT: u64 = 512;

/// One measurement.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) work: Work,
    pub(super) driver: String,
    /// Bytes of a packet.
    pub(super) size: u64,
    /// Packets at a time.
    pub(super) burst: usize,
    /// How long it is measured.
    pub(super) seconds: Duration,
    /// The CPUs of its processes.
    pub(super) cores: Vec<usize>,
    /// The lport files of its processes, in the order they start.
    pub(super) files: Vec<Value>,
    /// Which of the processes counts: what it receives is the result.
    pub(super) counted: usize,
}

/// All cases of the arguments; `directory` is where sockets go.
///
/// # Errors
/// When the driver cannot do what is asked, or there are too few CPUs.
pub(super) fn cases(args: &BenchArgs, directory: &Path) -> Result<Vec<Case>, Failure> {
    let driver = &args.driver;
    find(&registry_with(&args.drivers)?, driver)?;
    let works = if args.work.is_empty() { works_of(driver) } else { &args.work };
    let mut cases = Vec::new();
    for work in works {
        if !works_of(driver).contains(work) {
            let message = "two processes are joined by net_memif only; the other drivers end inside the process";
            return Err(Failure::Configuration(message.into()));
        }
        let cores = match cores(args, *work) {
            Ok(cores) => cores,
            // Nobody asked for it: a machine with one CPU still gets the rest.
            Err(failure) if args.work.is_empty() => {
                tracing::warn!("left out: {failure}");
                continue;
            }
            Err(failure) => return Err(failure),
        };
        for size in &args.sizes {
            let (files, counted) = files(*work, driver, *size, &cores, &directory.join("bench.sock"));
            let (work, driver, size, burst) = (*work, driver.clone(), *size, args.burst);
            let (seconds, cores) = (args.seconds, cores.clone());
            cases.push(Case { work, driver, size, burst, seconds, cores, files, counted });
        }
    }
    Ok(cases)
}

fn works_of(driver: &str) -> &'static [Work] {
    match driver {
        "net_memif" => &[Work::Loopback, Work::ServerToClient, Work::ClientToServer],
        _ => &[Work::Loopback],
    }
}

/// A CPU for each process.
fn cores(args: &BenchArgs, work: Work) -> Result<Vec<usize>, Failure> {
    let needed = if work == Work::Loopback { 1 } else { 2 };
    let mut cores = args.cores.clone();
    if cores.is_empty() {
        let machine = Machine::detect().unwrap_or_else(|_| Machine::flat(&allowed_cpus()));
        cores = choose_cpus(&machine, &[], 2);
    }
    cores.truncate(needed);
    if cores.len() == needed && (needed == 1 || cores[0] != cores[1]) {
        return Ok(cores);
    }
    Err(Failure::Configuration(format!("{work:?} needs {needed} different CPUs, but has {cores:?}; see `--cores`")))
}

/// The lport files of a case, and which of them counts. A memif server stands first: its client finds it at once.
fn files(work: Work, driver: &str, size: u64, cores: &[usize], socket: &Path) -> (Vec<Value>, usize) {
    let send = json!({ "mode": "tx-only", "tx-size": size });
    let receive = json!({ "mode": "drop" });
    let pair = |server: &Value, client: &Value| {
        let process = |role, core, options: &Value| file(&json!({ "m": memif(role, socket) }), &["m"], core, options);
        vec![process("server", cores[0], server), process("client", cores[1], client)]
    };
    match work {
        Work::Loopback => (vec![loopback(driver, size, cores[0], socket)], 0),
        Work::ServerToClient => (pair(&send, &receive), 1),
        Work::ClientToServer => (pair(&receive, &send), 0),
    }
}

/// Two lports of one process, joined to each other (or each to itself); packets sent first go round for ever.
fn loopback(driver: &str, size: u64, core: usize, socket: &Path) -> Value {
    let lports = match driver {
        "net_memif" => json!({ "a": memif("server", socket), "b": memif("client", socket) }),
        "net_ring" => json!({
            "a": { "pmd": "net_ring", "pmd_opts": { "ring": "bench" }, "umem": "packets" },
            "b": { "pmd": "net_ring", "pmd_opts": { "ring": "bench" }, "umem": "packets" },
        }),
        "net_null" => json!({
            "a": { "pmd": "net_null", "pmd_opts": { "size": size }, "umem": "packets" },
            "b": { "pmd": "net_null", "pmd_opts": { "size": size }, "umem": "packets" },
        }),
        other => json!({ "a": { "pmd": other, "umem": "packets" }, "b": { "pmd": other, "umem": "packets" } }),
    };
    // net_null needs no first packet: it makes its own.
    let tx_first = if driver == "net_null" { 0 } else { IN_FLIGHT };
    let options = json!({ "mode": "fwd", "port-map": { "a": "b", "b": "a" }, "tx-first": tx_first, "tx-size": size });
    file(&lports, &["a", "b"], core, &options)
}

fn memif(role: &str, socket: &Path) -> Value {
    json!({
        "pmd": "net_memif",
        "pmd_opts": { "role": role, "socket": socket, "socket-abstract": false },
        "umem": "packets",
    })
}

fn file(lports: &Value, polled: &[&str], core: usize, options: &Value) -> Value {
    json!({
        "umems": { "packets": { "bufcnt": 8, "bufsz": 2 } },
        "lports": lports,
        "lcore-groups": { "default": [core] },
        "threads": { "fwd:0": { "lports": polled } },
        "options": options,
    })
}
