//! A work as processes: which there are, on which CPUs, and what they have received.
//!
//! 1. `parts` says as data what each process does, and with which ends of memifs.
//! 2. [`Stage::start`] starts them, those with memif servers first, each while the others are frozen, and has testpmd forward.
//! 3. [`Stage::reading`] asks the one that counts, [`Stage::limit_of_ends`] what it could have moved. Between measurements,
//!    [`Stage::freeze`] holds them where they are. Dropping the stage kills them all, frozen or not.
//!
//! Both programs do the same in the same way: they forward between pairs of ports (testpmd's `io`, our mode `fwd` with a
//! port map). Who makes packets takes them from a null port, which costs either less than its generator; who swallows them
//! gives them to one.
//!
//! ```text
//!   loopback, loopback-deep        [a == b]                          a burst, or 512 packets, go round in each direction
//!   server-to-client and back      [null -> a] ==> [b drop]
//!   chain                          [null -> a] ==> [a -> b] ==> [b -> null]     first and last are one thread
//!   chain-of-peers                 [a <-> b]  <==> [a <-> b]                    512 packets go round in each direction
//! ```
//!
//! Both ends of a chain are one thread, so that the forwarder has a core of its own where there are two, and so that no
//! scheduler's time slice decides how much a ring can move. Packets go round where testpmd is at the ends: it would spend half of
//! its time on making and freeing them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use super::cases::{Work, ZeroCopy};
use crate::lport::Lport;
use crate::lport_file::LportFile;
use crate::memif::{Memif, Role};
use crate::process::Process;
use crate::summary::LportSummary;
use crate::testbed::Testbed;
use crate::testpmd::{Builder, Forward, Testpmd};

/// Packets that circulate in each direction where not one burst does: half of a ring of the default size, so that none is
/// ever full.
const DEEP: u16 = 512;

/// How long testpmd counts the cycles that packets cost.
const OF_CYCLES: Duration = Duration::from_millis(40);

/// The name of our null lport.
const NULL: &str = "null";

/// Room for a packet where [`Traffic::large_buffers`] is set, in KiB.
const LARGE_KIB: usize = 9;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// dpdk-testpmd.
    Testpmd,
    /// `lport run`.
    Lport,
}

impl Program {
    /// What progress and messages call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Testpmd => "testpmd",
            Self::Lport => "lport",
        }
    }
}

/// What moves, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// The kind of work.
    pub work: Work,
    /// Which ends have zero-copy.
    pub zero_copy: ZeroCopy,
    /// Bytes per packet: up to 2000, or up to 9216 with large buffers.
    pub size: usize,
    /// Whether buffers hold 9 KiB; ours only.
    pub large_buffers: bool,
}

impl Traffic {
    /// A name that no other traffic of the table has.
    fn name(&self, program: Program) -> String {
        format!("{program:?}-{:?}-{:?}-{}", self.work, self.zero_copy, self.size).to_lowercase()
    }

    /// Bursts that circulate in each direction: one, as after testpmd's `start tx_first`, or as many as are in [`DEEP`]
    /// packets.
    fn bursts_in_flight(&self, burst: u16) -> u16 {
        if self.work == Work::Loopback { 1 } else { (DEEP / burst).max(1) }
    }
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// Sends what it receives on either of two links to the other; some packets are sent first.
    Circulate,
    /// Sends as much as the link takes.
    Send,
    /// Receives and frees.
    Receive,
    /// Sends on the first link and receives on the second.
    BothEnds,
    /// Forwards between two links.
    Forward,
}

/// A process to be.
#[derive(Debug, Clone)]
struct Part {
    program: Program,
    job: Job,
    cpu: usize,
    links: Vec<Memif>,
}

impl Part {
    /// Which of its links count: what arrives on them is the result.
    fn counted(&self) -> &'static [usize] {
        match self.job {
            Job::Circulate => &[0, 1],
            Job::Receive => &[0],
            Job::BothEnds => &[1],
            Job::Send | Job::Forward => &[],
        }
    }
}

/// The processes of a work, in the order they are started: testpmd's memif client connects only once, so servers go first.
fn parts(testbed: &Testbed, program: Program, traffic: Traffic, cpus: [usize; 2]) -> Vec<Part> {
    let unique = traffic.name(program);
    let server = |name: &str| {
        let [client_shares, server_borrows] = traffic.zero_copy.ends();
        let mut server = Memif::new(Role::Server, &testbed.abstract_socket(&format!("{unique}-{name}")));
        if traffic.large_buffers {
            server = server.buffer_size(1024 * LARGE_KIB as u32).with("segment-max", 1024 * LARGE_KIB);
        }
        server = if client_shares { server.there("zero-copy", "yes") } else { server };
        if server_borrows { server.here("zero-copy", "yes") } else { server }
    };
    let part = |program, job, cpu, links: &[&Memif]| Part {
        program,
        job,
        cpu,
        links: links.iter().copied().cloned().collect(),
    };
    let link = server("link");
    let one_way = |of_server, of_client| {
        vec![part(program, of_server, cpus[0], &[&link]), part(program, of_client, cpus[1], &[&link.peer()])]
    };
    let chain = |ends, job| {
        // The ends neither read nor write packets, so that the forwarder is what limits.
        let [link, onward] = ["link", "onward"].map(|name| server(name).there("zero-copy", "yes"));
        // The memory of testpmd's mbufs has no seals: we must be told to do without.
        let unsealed = program == Program::Lport && ends == Program::Testpmd;
        let [link, onward] = [link, onward].map(|link| if unsealed { link.here("seals", "warn") } else { link });
        let forwarder = part(program, Job::Forward, cpus[1], &[&link, &onward]);
        vec![forwarder, part(ends, job, cpus[0], &[&link.peer(), &onward.peer()])]
    };
    match traffic.work {
        Work::Loopback | Work::LoopbackDeep => vec![part(program, Job::Circulate, cpus[0], &[&link, &link.peer()])],
        Work::ServerToClient => one_way(Job::Send, Job::Receive),
        Work::ClientToServer => one_way(Job::Receive, Job::Send),
        Work::Chain => chain(Program::Lport, Job::BothEnds),
        Work::ChainOfPeers => chain(Program::Testpmd, Job::Circulate),
    }
}

/// A running process.
#[derive(Debug)]
pub(super) enum Running {
    Lport(Lport),
    Testpmd(Testpmd),
}

impl Running {
    /// It.
    pub(super) fn process(&self) -> &Process {
        match self {
            Self::Lport(lport) => lport.process(),
            Self::Testpmd(testpmd) => testpmd.process(),
        }
    }
}

/// Running processes.
#[derive(Debug)]
pub struct Stage {
    traffic: Traffic,
    parts: Vec<(Part, Running)>,
    start: Instant,
}

/// Packets that had arrived at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Packets since the start.
    pub packets: u64,
    /// Packets that a generator at the ends has made since; 0 where there is none.
    pub made: u64,
    /// Seconds since the start, by the clock of whoever counts.
    pub seconds: f64,
}

impl Reading {
    /// Packets per second between this reading and a later one.
    #[expect(clippy::cast_precision_loss, reason = "2^53 packets take years")]
    pub fn rate_until(&self, later: &Self) -> f64 {
        later.packets.saturating_sub(self.packets) as f64 / (later.seconds - self.seconds)
    }

    /// Packets per second that the generator made between this reading and a later one.
    #[expect(clippy::cast_precision_loss, reason = "2^53 packets take years")]
    fn made_until(&self, later: &Self) -> f64 {
        later.made.saturating_sub(self.made) as f64 / (later.seconds - self.seconds)
    }
}

impl Stage {
    /// Starts the processes of a work; packets move when it returns, or will in a moment.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(testbed: &Testbed, program: Program, traffic: Traffic, cpus: [usize; 2], burst: u16) -> Result<Self> {
        let mut stage = Self { traffic, parts: Vec::new(), start: Instant::now() };
        for part in parts(testbed, program, traffic, cpus) {
            // testpmd's zero-copy clients come up only together: servers answer when all have asked.
            stage.freeze()?;
            let running = match part.program {
                Program::Lport => Running::Lport(start_lport(testbed, &part, traffic, burst)?),
                Program::Testpmd => Running::Testpmd(start_testpmd(testbed, &part, traffic, burst)?),
            };
            stage.thaw()?;
            stage.parts.push((part, running));
        }
        // Clients first: the link is theirs to bring up. What they send before their server polls, the ring holds.
        for (part, running) in stage.parts.iter_mut().rev() {
            if let Running::Testpmd(testpmd) = running {
                set_going(testpmd, part, traffic, burst)?;
            }
        }
        stage.start = Instant::now();
        Ok(stage)
    }

    /// What has arrived by now.
    ///
    /// # Errors
    /// When the process that counts is gone.
    pub fn reading(&mut self) -> Result<Reading> {
        let start = self.start;
        let (part, running) = self.counting()?;
        match running {
            Running::Lport(lport) => {
                let live = lport.next_counters()?;
                let received = |names: &[String]| {
                    let of = |lport: &LportSummary| names.contains(&lport.name).then_some(lport.ipackets);
                    live.lports.iter().filter_map(of).sum()
                };
                let counted: Vec<_> = part.counted().iter().map(|link| lport_name(*link)).collect();
                let made = received(&[NULL.to_owned()]);
                Ok(Reading { packets: received(&counted), made, seconds: live.duration_s })
            }
            Running::Testpmd(testpmd) => {
                let ports = part.counted().iter().map(|link| Ok(testpmd.port_stats(*link)?.rx_packets));
                let packets = ports.sum::<Result<u64>>()?;
                Ok(Reading { packets, made: 0, seconds: start.elapsed().as_secs_f64() })
            }
        }
    }

    /// Packets per second that the ends of a chain could have moved between two readings, or just now ([`super::ends`]); `None`
    /// of other works.
    ///
    /// # Errors
    /// When the process that counts is gone.
    pub fn limit_of_ends(&mut self, first: &Reading, last: &Reading) -> Result<Option<f64>> {
        if !self.traffic.work.has_ends() {
            return Ok(None);
        }
        let limit = match self.counting()?.1 {
            Running::Lport(_) => first.made_until(last),
            Running::Testpmd(testpmd) => testpmd.forward_cycles(OF_CYCLES)?.limit(),
        };
        Ok(Some(limit))
    }

    /// The process whose packets count.
    fn counting(&mut self) -> Result<(&Part, &mut Running)> {
        let counts = |(part, _): &&mut (Part, Running)| !part.counted().is_empty();
        let (part, running) = self.parts.iter_mut().find(counts).context("nobody counts")?;
        Ok((part, running))
    }

    /// Freezes all of them: they use no CPU, and keep their places.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn freeze(&self) -> Result<()> {
        self.processes().try_for_each(Process::freeze)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn thaw(&self) -> Result<()> {
        self.processes().try_for_each(Process::thaw)
    }

    /// The processes' numbers.
    pub fn pids(&self) -> Vec<u32> {
        self.processes().map(Process::id).collect()
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.parts.iter().map(|(_, running)| running.process())
    }
}

/// The name of an lport in our files.
fn lport_name(link: usize) -> String {
    format!("link{link}:0")
}

fn start_lport(testbed: &Testbed, part: &Part, traffic: Traffic, burst: u16) -> Result<Lport> {
    let Traffic { size, large_buffers, .. } = traffic;
    let links = part.links.iter().enumerate();
    let mode = if part.job == Job::Receive { "drop" } else { "fwd" };
    let mut file = links.fold(LportFile::new(mode).cpu(part.cpu), |file, (number, memif)| {
        file.memif(&format!("link{number}"), memif, 1)
    });
    if large_buffers {
        file = file.mbuf_kib(LARGE_KIB);
    }
    let (a, b) = (lport_name(0), lport_name(1));
    let makes_packets = |file: LportFile| {
        // Neither program's null port touches the packets it makes.
        let options = json!({ "size": size, "zeroed": false });
        file.lport(NULL, json!({ "pmd": "net_null", "pmd_opts": options, "umem": "packets" }))
    };
    let file = match part.job {
        Job::Receive => file,
        Job::Send => makes_packets(file).port_map(&[(NULL, &a)]),
        Job::BothEnds => makes_packets(file).option("port-map", json!({ NULL: a, a.clone(): NULL, b: NULL })),
        Job::Forward => file.port_map(&[(&a, &b)]),
        Job::Circulate => {
            let in_flight = u32::from(traffic.bursts_in_flight(burst)) * u32::from(burst);
            file.port_map(&[(&a, &b)]).option("tx-first", json!(in_flight)).option("tx-size", json!(size))
        }
    };
    let name = format!("{}-{:?}", traffic.name(part.program), part.job).to_lowercase();
    testbed.run_with(&name, &file, &["--burst", &burst.to_string(), "--no-telemetry"])
}

fn start_testpmd(testbed: &Testbed, part: &Part, traffic: Traffic, burst: u16) -> Result<Testpmd> {
    let name = format!("{:?}", part.job).to_lowercase();
    let mut builder = testbed.testpmd(&name).cpu(part.cpu).burst(burst);
    if part.job == Job::Send {
        builder = builder.vdev("net_null", &format!("size={}", traffic.size));
    }
    let forward = if part.job == Job::Receive { Forward::RxOnly } else { Forward::Io };
    part.links.iter().fold(builder, Builder::memif).forward(forward).start()
}

fn set_going(testpmd: &mut Testpmd, part: &Part, traffic: Traffic, burst: u16) -> Result<()> {
    if matches!(part.job, Job::Send | Job::Receive) {
        return testpmd.start_forwarding();
    }
    // Its servers crash now and then when they are polled while a client connects.
    testpmd.wait_for_links(part.links.len())?;
    if part.job == Job::Forward {
        return testpmd.start_forwarding();
    }
    testpmd.set_packet_size(traffic.size)?;
    // Without the client's buffers the server's burst would be lost.
    testpmd.poll_once()?;
    testpmd.send_bursts(u32::from(traffic.bursts_in_flight(burst)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn servers_start_before_their_clients_and_one_process_counts() {
        let testbed = Testbed::new().unwrap();
        for work in Work::value_variants() {
            for program in [Program::Testpmd, Program::Lport] {
                let traffic = Traffic { work: *work, zero_copy: ZeroCopy::None, size: 64, large_buffers: false };
                let parts = parts(&testbed, program, traffic, [3, 5]);
                let links: Vec<_> = parts.iter().flat_map(|part| &part.links).collect();
                let first_client = links.iter().position(|link| link.role() == Role::Client).unwrap();
                assert!(links[first_client..].iter().all(|link| link.role() == Role::Client), "{work:?}");
                assert_eq!(parts.iter().filter(|part| !part.counted().is_empty()).count(), 1, "{work:?}");
                let cpus: Vec<_> = parts.iter().map(|part| part.cpu).collect();
                assert_eq!(cpus.len(), work.cpus(), "a core for each process");
            }
        }
    }

    #[test]
    fn the_middle_of_a_chain_is_the_program_under_test_and_its_ends_are_always_the_same() {
        let testbed = Testbed::new().unwrap();
        let chains =
            [(Work::Chain, Program::Lport, Job::BothEnds), (Work::ChainOfPeers, Program::Testpmd, Job::Circulate)];
        for (work, ends, job) in chains {
            for program in [Program::Testpmd, Program::Lport] {
                let traffic = Traffic { work, zero_copy: ZeroCopy::None, size: 64, large_buffers: false };
                let parts = parts(&testbed, program, traffic, [3, 5]);
                assert_eq!((parts[0].job, parts[0].program), (Job::Forward, program));
                assert_eq!((parts[1].job, parts[1].program), (job, ends));
            }
        }
    }

    #[test]
    fn zero_copy_is_told_to_the_right_end() {
        let testbed = Testbed::new().unwrap();
        let told = |zero_copy| {
            let traffic = Traffic { work: Work::ClientToServer, zero_copy, size: 64, large_buffers: false };
            let parts = parts(&testbed, Program::Lport, traffic, [0, 1]);
            [&parts[1], &parts[0]].map(|part| part.links[0].to_string().contains("zero-copy=yes"))
        };
        assert_eq!(told(ZeroCopy::Client), [true, false]);
        assert_eq!(told(ZeroCopy::Server), [false, true]);
        assert_eq!(told(ZeroCopy::Both), [true, true]);
        assert_eq!(told(ZeroCopy::None), [false, false]);
    }

    #[test]
    fn one_burst_circulates_in_a_loopback_and_512_packets_elsewhere_whatever_the_burst() {
        let bursts = |work, burst| {
            Traffic { work, zero_copy: ZeroCopy::None, size: 64, large_buffers: false }.bursts_in_flight(burst)
        };
        assert_eq!([1, 32, 256].map(|burst| bursts(Work::Loopback, burst)), [1, 1, 1]);
        for work in [Work::LoopbackDeep, Work::ChainOfPeers] {
            assert_eq!([1, 32, 256].map(|burst| bursts(work, burst)), [512, 16, 2]);
        }
    }

    #[test]
    fn works_that_run_at_the_same_time_have_sockets_of_their_own() {
        let testbed = Testbed::new().unwrap();
        let socket = |program, zero_copy| {
            let traffic = Traffic { work: Work::ClientToServer, zero_copy, size: 64, large_buffers: false };
            parts(&testbed, program, traffic, [0, 1])[0].links[0].to_string()
        };
        let theirs = socket(Program::Testpmd, ZeroCopy::None);
        assert_ne!(theirs, socket(Program::Lport, ZeroCopy::None));
        assert_ne!(theirs, socket(Program::Testpmd, ZeroCopy::Client));
    }

    #[test]
    fn a_rate_is_what_arrived_between_two_readings() {
        let before = Reading { packets: 1000, made: 1500, seconds: 2.0 };
        let after = Reading { packets: 4000, made: 6000, seconds: 3.5 };
        assert_eq!((before.rate_until(&after), before.made_until(&after)), (2000.0, 3000.0));
    }
}
