//! `lport bench scale`: curves of cost, in one process.
//!
//! Each point is packets that go round ([`super::circulate`]), or polls that find nothing. A flat curve is what is hoped for:
//! a packet costs the same whatever else the thread polls.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::args::{ScaleArgs, Setup};
use super::arrangement::{Builder, THREAD, Work, works};
use super::circulate::{Measured, Round, measure};
use super::driver::Side;
use super::machine::Fingerprint;
use super::progress::Progress;
use super::report::{DISTURBED, cycles, cycles_text, mark, print_results};
use crate::failure::Failure;
use crate::output::{Align, Table, print};
use crate::signals::Signals;

/// What grows along a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Curve {
    /// lports on one thread, all of them busy or all idle
    Lports,
    /// idle lports beside a busy pair on one thread
    IdleLports,
    /// queues of a pair of devices
    Queues,
    /// packets at a time
    Bursts,
    /// packets that a ring holds, log2
    Rings,
    /// mbufs in use, log2, at 2 KiB each: beyond what caches hold
    Pools,
    /// packets at a time handed to a thread on another core, which sends them
    HandOver,
}

const LPORTS: [u16; 7] = [1, 2, 4, 8, 16, 32, 64];
const BURSTS: [usize; 5] = [1, 4, 8, 32, 256];

/// Packets that go round from each lport, where nothing else is said.
const IN_FLIGHT: u64 = 256;

/// A point of a curve, as printed.
#[derive(Debug, Serialize)]
struct Point {
    curve: Curve,
    driver: String,
    /// How many of what the curve is about.
    x: u64,
    ns_per_packet: Option<f64>,
    cycles_per_packet: Option<f64>,
    mpps: Option<f64>,
    /// Nanoseconds that polling one lport takes which has nothing.
    ns_per_idle_poll: Option<f64>,
    cycles_per_idle_poll: Option<f64>,
    disturbed: bool,
}

/// Measures points.
struct Scale<'a> {
    args: &'a ScaleArgs,
    duration: Duration,
    core: usize,
    directory: &'a Path,
    machine: Fingerprint,
    signals: &'a Signals,
    progress: Progress,
}

/// Lports with their partners, and those that are busy.
#[derive(Default)]
struct Wired {
    lports: Map<String, Value>,
    partners: Vec<(String, String)>,
    busy: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When a point cannot be measured.
pub(super) fn scale(args: &ScaleArgs, signals: &Signals) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let scale = Scale {
        args,
        duration: args.manner.duration(args.duration, 0.3, 0.05),
        core: works(&args.setup, &[Work::Loopback])?[0].1[0],
        directory: directory.path(),
        machine: Fingerprint::take(),
        signals,
        progress: Progress::new(),
    };
    let asked = if args.curves.is_empty() { Curve::value_variants() } else { &args.curves };
    let mut points = Vec::new();
    for curve in asked {
        scale.curve(*curve, &mut points)?;
    }
    scale.progress.show("");
    if args.manner.json {
        return print_results(&scale.machine, &args.setup, &points);
    }
    print(&table(&points).to_string())?;
    if points.iter().any(|point| point.disturbed) { print(DISTURBED) } else { Ok(()) }
}

impl Scale<'_> {
    fn curve(&self, curve: Curve, points: &mut Vec<Point>) -> Result<(), Failure> {
        let setup = &self.args.setup;
        let driver = setup.driver.to_string();
        let mut add = |x: u64, driver: &str, busy: Option<Measured>, idle: Option<(Measured, u64)>| {
            points.push(self.point(curve, x, driver, busy, idle));
        };
        let steps: Vec<u64> = match curve {
            Curve::Lports => {
                LPORTS.iter().filter(|n| **n > 1 || !setup.driver.is_memif()).map(|n| u64::from(*n)).collect()
            }
            Curve::IdleLports => LPORTS.iter().map(|n| u64::from(*n) - 1).filter(|n| *n != 1).collect(),
            Curve::Queues => (1..=8).collect(),
            Curve::Bursts | Curve::HandOver => BURSTS.map(|n| n as u64).to_vec(),
            Curve::Rings => {
                if setup.driver.has_ring_size() {
                    (6..=14).collect()
                } else {
                    Vec::new()
                }
            }
            Curve::Pools => (8..=16).collect(),
        };
        for x in steps {
            if self.signals.came() {
                return Ok(());
            }
            self.progress.show(&format!("{}: {x}", word(curve)));
            let n = x as u16;
            match curve {
                Curve::Lports => {
                    let busy = self.run(setup, self.many(setup, n, true), IN_FLIGHT)?;
                    let idle =
                        if setup.driver.is_null() { None } else { self.run(setup, self.many(setup, n, false), 0)? };
                    add(x, &driver, busy, idle.map(|idle| (idle, x)));
                }
                Curve::IdleLports => {
                    let mut wired = self.many(setup, 2, true);
                    wired.extend(self.silent(setup, n));
                    add(x, &driver, self.run(setup, wired, IN_FLIGHT)?, None);
                }
                Curve::Queues => {
                    let setup = Setup { queues: n, ..setup.clone() };
                    let busy = self.run(&setup, self.many(&setup, 2, true), IN_FLIGHT)?;
                    let idle =
                        if setup.driver.is_null() { None } else { self.run(&setup, self.many(&setup, 2, false), 0)? };
                    add(x, &driver, busy, idle.map(|idle| (idle, 2 * x)));
                }
                Curve::Bursts => {
                    let setup = Setup { burst: x as usize, ..setup.clone() };
                    add(x, &driver, self.run(&setup, self.many(&setup, 2, true), IN_FLIGHT)?, None);
                }
                Curve::Rings => {
                    let setup = Setup { rings: Some(x as u8), ..setup.clone() };
                    // Three quarters of each ring are full.
                    add(x, &driver, self.run(&setup, self.many(&setup, 2, true), 3 << (x - 2))?, None);
                }
                Curve::Pools => {
                    let ring = "net_ring".parse().map_err(Failure::Configuration)?;
                    let setup = Setup { driver: ring, peer: None, rings: Some(x as u8), ..setup.clone() };
                    let driver = setup.driver.to_string();
                    add(x, &driver, self.run(&setup, self.many(&setup, 1, true), 1 << x)?, None);
                }
                Curve::HandOver => {
                    let setup = Setup { burst: x as usize, ..setup.clone() };
                    let Some(handed) = self.hand_over(&setup)? else { continue };
                    add(x, "net_null", Some(handed), None);
                }
            }
        }
        Ok(())
    }

    /// `count` lports: of memif, and of any driver with another one for the other end, as pairs; others are joined to
    /// themselves.
    fn many(&self, setup: &Setup, count: u16, busy: bool) -> Wired {
        let builder = Builder { setup, size: self.args.size, directory: self.directory };
        let mut wired = Wired::default();
        let pairs = setup.driver.is_memif() || setup.peer.is_some();
        let other = setup.peer.as_ref().unwrap_or(&setup.driver);
        for number in 0..if pairs { count.div_ceil(2) } else { count } {
            let (a, b, link) = (format!("a{number}"), format!("b{number}"), format!("link{number}"));
            wired.lports.extend(builder.netdev(&a, &setup.driver, Side::Server, &link));
            if pairs {
                wired.lports.extend(builder.netdev(&b, other, Side::Client, &link));
            }
            for queue in 0..setup.queues {
                let (a, b) =
                    (format!("{a}:{queue}"), if pairs { format!("{b}:{queue}") } else { format!("{a}:{queue}") });
                wired.partners.push((a.clone(), b.clone()));
                if pairs {
                    wired.partners.push((b, a));
                }
            }
        }
        if busy {
            wired.busy = wired.partners.iter().map(|(from, _)| from.clone()).collect();
        }
        wired
    }

    /// `count` lports that nothing is ever sent to.
    fn silent(&self, setup: &Setup, count: u16) -> Wired {
        let mut wired = self.many(setup, count, false);
        // Named and joined apart from the busy ones.
        let text = serde_json::to_string(&wired.lports).unwrap_or_default().replace("link", "idle");
        let lports: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        wired.lports = lports.into_iter().map(|(name, lport)| (format!("idle-{name}"), lport)).collect();
        wired.partners = wired.partners.iter().map(|(a, b)| (format!("idle-{a}"), format!("idle-{b}"))).collect();
        wired
    }

    fn run(&self, setup: &Setup, wired: Wired, in_flight: u64) -> Result<Option<Measured>, Failure> {
        let Wired { lports, partners, busy } = wired;
        let builder = Builder { setup, size: self.args.size, directory: self.directory };
        let cores = [self.core];
        let (file, warm_packets) = (builder.file(&lports, &cores, "drop"), builder.warm_packets(lports.len()));
        let in_flight = if setup.driver.is_null() { 0 } else { in_flight };
        self.measure(setup, &file, partners, (busy, in_flight), warm_packets, &cores)
    }

    fn measure(
        &self,
        setup: &Setup,
        file: &Value,
        partners: Vec<(String, String)>,
        first: (Vec<String>, u64),
        warm_packets: u64,
        cores: &[usize],
    ) -> Result<Option<Measured>, Failure> {
        let (size, seed, burst, duration) = (self.args.size, setup.seed, setup.burst, self.duration);
        let registry = &setup.registry;
        let round = Round { file, registry, partners, first, warm_packets, size, seed, burst, cores, duration };
        measure(&round, self.signals)
    }

    /// Packets that one thread makes and another one, on a core of its own, sends. `None` without a second core.
    fn hand_over(&self, setup: &Setup) -> Result<Option<Measured>, Failure> {
        let machine = pmd_core::topology::Machine::detect().unwrap_or_default();
        let mut cores = setup.cores.clone();
        if cores.len() < 2 {
            cores = pmd_core::topology::choose_cpus(&machine, &[], 2);
        }
        let [one, other] = cores[..] else { return Ok(None) };
        if one == other {
            return Ok(None);
        }
        let name = "net_null";
        let lport = |options: Value| json!({ "pmd": name, "pmd_opts": options });
        let size = self.args.size.largest();
        let file = json!({
            "lports": { "source": lport(json!({ "size": size })), "sink": lport(json!({ "no-rx": true })) },
            "lcore-groups": { "one": [one], "other": [other] },
            "threads": {
                THREAD: { "group": "one", "lports": ["source"] },
                "bench:1": { "group": "other", "lports": ["sink"] },
            },
            "options": { "mode": "drop" },
        });
        let partners = vec![("source".into(), "sink".into())];
        let measured = self.measure(setup, &file, partners, (Vec::new(), 0), 0, &[one])?;
        // What counts is what has left on the other side.
        Ok(measured.map(|measured| Measured { packets: measured.sent, ..measured }))
    }

    fn point(
        &self,
        curve: Curve,
        x: u64,
        driver: &str,
        busy: Option<Measured>,
        idle: Option<(Measured, u64)>,
    ) -> Point {
        let ns_per_packet = busy.map(|busy| busy.ns_per_packet());
        let ns_per_idle_poll = idle.map(|(idle, polls)| idle.ns_per_round() / polls as f64);
        let cycles = |ns: Option<f64>| ns.and_then(|ns| cycles(&self.machine, ns));
        Point {
            curve,
            driver: driver.to_owned(),
            x,
            ns_per_packet,
            cycles_per_packet: cycles(ns_per_packet),
            mpps: ns_per_packet.map(|ns| 1e3 / ns),
            ns_per_idle_poll,
            cycles_per_idle_poll: cycles(ns_per_idle_poll),
            disturbed: busy.is_some_and(|busy| busy.disturbed) || idle.is_some_and(|(idle, _)| idle.disturbed),
        }
    }
}

impl Wired {
    fn extend(&mut self, other: Self) {
        self.lports.extend(other.lports);
        self.partners.extend(other.partners);
        self.busy.extend(other.busy);
    }
}

fn word(curve: Curve) -> String {
    curve.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn table(points: &[Point]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("curve", Left),
        ("driver", Left),
        ("number", Right),
        ("ns/packet", Right),
        ("cycles", Right),
        ("Mpps", Right),
        ("ns/idle poll", Right),
        ("cycles", Right),
        ("", Left),
    ]);
    let number = |number: Option<f64>, decimals: usize| number.map_or_else(String::new, |n| format!("{n:.decimals$}"));
    for point in points {
        let cycles = |ns: Option<f64>, cycles| ns.map_or_else(String::new, |_| cycles_text(cycles));
        table.row([
            word(point.curve),
            point.driver.clone(),
            point.x.to_string(),
            number(point.ns_per_packet, 1),
            cycles(point.ns_per_packet, point.cycles_per_packet),
            number(point.mpps, 3),
            number(point.ns_per_idle_poll, 1),
            cycles(point.ns_per_idle_poll, point.cycles_per_idle_poll),
            mark(point.disturbed),
        ]);
    }
    table
}
