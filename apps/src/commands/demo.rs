//! `lport demo`: everything at work in ten seconds, without arguments, root or huge pages.
//!
//! ```text
//!   generator (tx-only-rx) ──▶ memif ──▶ forwarder (lb) ──▶ memif ──▶ generator
//! ```
//!
//! 1. Two processes of this program are started with lport files written here: each has one memif lport and one thread,
//!    on CPUs of their own where there are two.
//! 2. Their counters come every second and are printed as rates.
//! 3. Both are stopped, and what moved is summed up.

use std::path::Path;
use std::time::{Duration, Instant};

use pmd_core::topology::{Machine, choose_cpus};
use serde_json::{Value, json};

use crate::child::{Child, ChildSettings};
use crate::cli::{DemoArgs, DriverFiles};
use crate::failure::Failure;
use crate::output::{Align, Table, grouped, print};
use crate::signals::Signals;
use crate::summary::{Counters, Observed};

/// Time between two lines.
const PERIOD: Duration = Duration::from_secs(1);

/// How much longer than the demo its processes live when they lose us.
const GRACE: Duration = Duration::from_secs(30);

/// Runs the command.
///
/// # Errors
/// When the processes cannot be started or end early.
pub(crate) fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("demo.sock");
    let [generator_cpus, forwarder_cpus] = two_cpus();
    let settings = ChildSettings { period: PERIOD.min(args.duration), burst: 64, longest: args.duration + GRACE };
    let none = DriverFiles::default();
    let mut forwarder = Child::start("forwarder", &file(&socket, "server", "lb", &forwarder_cpus), &none, settings)?;
    let mut generator =
        Child::start("generator", &file(&socket, "client", "tx-only-rx", &generator_cpus), &none, settings)?;
    print(&format!(
        "Two processes, joined by memif (shared memory, socket {}):\n\
         the generator (pid {}) sends 64-byte packets, the forwarder (pid {}) sends all of them back.\n",
        socket.display(),
        generator.id(),
        forwarder.id()
    ))?;

    let watched = watch(&mut generator, &mut forwarder, &signals, args.duration);
    // The generator first: what it has sent still comes back, or is counted by the forwarder.
    let stopped = generator.stop().and_then(|sent| Ok((sent, forwarder.stop()?)));
    match (watched, stopped) {
        (Ok(()), Ok((sent, returned))) => {
            print(&summary(&sent, &returned))?;
            print(&format!("\n{NEXT}"))
        }
        // A signal so early that the processes had not even begun: there is nothing to sum up.
        _ if signals.came() => Ok(()),
        (watched, stopped) => watched.and(stopped.map(drop)),
    }
}

const NEXT: &str = "What to try next:
  lport run configs/memif-forward.jsonc   forward between two dpdk-testpmd, or any other memif peers
  lport check configs/*.jsonc             find everything that is wrong with an lport file
  lport drivers                           all drivers, with every option, its range and default
  lport topology                          the machine's cores, NUMA nodes and caches
  lport bench                             measure packet rates on this machine";

/// A CPU for each process where there are two; otherwise they go anywhere.
fn two_cpus() -> [Vec<usize>; 2] {
    let machine = Machine::detect().unwrap_or_else(|_| Machine::flat(&pmd_core::lcore::allowed_cpus()));
    match choose_cpus(&machine, &[], 2)[..] {
        [one, other] if one != other => [vec![one], vec![other]],
        _ => [vec![], vec![]],
    }
}

/// The lport file of one of the two processes.
fn file(socket: &Path, role: &str, mode: &str, cpus: &[usize]) -> Value {
    json!({
        "umems": { "packets": { "bufcnt": 4, "bufsz": 2 } },
        "lports": { "memif0": {
            "pmd": "net_memif",
            "pmd_opts": { "role": role, "socket": socket, "socket-abstract": false },
            "umem": "packets",
        } },
        "lcore-groups": { "default": cpus },
        "threads": { "fwd:0": { "lports": ["memif0"] } },
        "options": { "mode": mode },
    })
}

/// Prints what moves until time is up or a signal comes.
fn watch(generator: &mut Child, forwarder: &mut Child, signals: &Signals, duration: Duration) -> Result<(), Failure> {
    let end = Instant::now() + duration;
    let mut last = Observed::default();
    while Instant::now() < end && !signals.came() {
        let now = generator.next()?;
        print(&rates(&last, &now, now.lost() + forwarder.latest()?.lost()))?;
        last = now;
    }
    Ok(())
}

fn rates(before: &Observed, now: &Observed, lost: u64) -> String {
    let seconds = (now.duration_s - before.duration_s).max(1e-9);
    let rate =
        |counter: fn(&Counters) -> u64| now.total(counter).saturating_sub(before.total(counter)) as f64 / seconds;
    let direction = |packets: f64, bytes: f64| format!("{:8.3} Mpps {:7.2} Gbit/s", packets / 1e6, bytes * 8.0 / 1e9);
    format!(
        "{:5.1} s   out {}   back {}   dropped {}",
        now.duration_s,
        direction(rate(|c| c.opackets), rate(|c| c.obytes)),
        direction(rate(|c| c.ipackets), rate(|c| c.ibytes)),
        grouped(lost)
    )
}

fn summary(generator: &Observed, forwarder: &Observed) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[("", Left), ("packets", Right), ("bytes", Right), ("Mpps", Right)]);
    let mut row = |what: &str, observed: &Observed, packets: fn(&Counters) -> u64, bytes: fn(&Counters) -> u64| {
        let packets = observed.total(packets);
        let mpps = format!("{:.3}", packets as f64 / generator.duration_s.max(1e-9) / 1e6);
        table.row([what.to_owned(), grouped(packets), grouped(observed.total(bytes)), mpps]);
    };
    row("sent by the generator", generator, |c| c.opackets, |c| c.obytes);
    row("received by the forwarder", forwarder, |c| c.ipackets, |c| c.ibytes);
    row("sent back by the forwarder", forwarder, |c| c.opackets, |c| c.obytes);
    row("received by the generator", generator, |c| c.ipackets, |c| c.ibytes);
    let lost = generator.lost() + forwarder.lost();
    let in_flight = generator.total(|c| c.opackets).saturating_sub(generator.total(|c| c.ipackets) + lost);
    format!(
        "\n{table}\n\ndropped: {} packets; on their way when the generator stopped: {}; {:.1} seconds",
        grouped(lost),
        grouped(in_flight),
        generator.duration_s
    )
}
