//! A storm: a peer is killed and frozen at random instants under load, and our program must live through it.
//!
//! ```text
//!   peer ── memif ── port:0 (fwd:0) ── lane ── ring:0 (fwd:1)      our program: all that comes goes through a ring of
//!                       └───────────── lane ──────┘                its own and back, over two threads
//! ```
//!
//! 1. [`rage`] starts our program. Packets of the link, borrowed ones too, are thus always in flight in places that the
//!    link's own thread does not see.
//! 2. Each round waits for packets from a running peer, starts one where there is none, and then, after a random time,
//!    a calamity befalls the peer. Killed, the link must be seen to go, and come back with the next peer;
//!    frozen, packets must flow again after the thaw.
//! 3. After the last round our program is stopped, whatever the peer is just doing: exit code 0, every pool whole.
//!
//! `$ROUNDS` sets the rounds of each storm, `$SEED` the random numbers. The seed decides what happens and how long is
//! waited; what the processes are doing at that instant is up to the machine.

use std::collections::hash_map::RandomState;
use std::env;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::flood::{self, Program};
use crate::memif::Memif;
use crate::packets::Random;
use crate::process::Process;
use crate::testbed::Testbed;
use crate::{Lport, LportFile};

/// Rounds of a storm unless `$ROUNDS` says otherwise.
const ROUNDS: u64 = 4;
/// Packets from the peer that count as load.
const LOAD: u64 = 20_000;
/// Longest wait before a calamity, and longest freeze, in microseconds.
const INSTANTS: u64 = 50_000;

/// What befalls a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calamity {
    /// SIGKILL.
    Killed,
    /// SIGSTOP, and SIGCONT after a while.
    Frozen,
    /// SIGSTOP, and SIGKILL after a while.
    KilledFrozen,
}

/// How long packets stayed away.
#[derive(Debug, Default)]
struct Outages {
    killed: Vec<Duration>,
    frozen: Vec<Duration>,
}

struct Storm<'a> {
    testbed: &'a Testbed,
    program: Program,
    ours: &'a Memif,
    lport: Lport,
    peer: Option<Process>,
    random: Random,
    outages: Outages,
}

/// Lets a storm rage over the link whose end `ours` is our program's; `program` is the peer. Prints how long packets
/// stayed away.
///
/// # Errors
/// When our program crashes, hangs, does not take the peer back or does not get every mbuf back. The error names the
/// seed.
pub fn rage(testbed: &Testbed, program: Program, ours: &Memif) -> Result<()> {
    let rounds = from_environment("ROUNDS")?.unwrap_or(ROUNDS);
    let seed = from_environment("SEED")?.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let name = format!("{program:?} and our {ours}: SEED={seed} ROUNDS={rounds}");
    let mut storm = Storm::start(testbed, program, ours, Random::new(seed)).with_context(|| name.clone())?;
    for round in 1..=rounds {
        storm.round().with_context(|| format!("{name}, in round {round}"))?;
    }
    let outages = storm.finish().context(name.clone())?;
    println!("{name}: {outages}");
    Ok(())
}

fn from_environment(name: &str) -> Result<Option<u64>> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.map(|value| value.parse().with_context(|| format!("${name} is {value:?}, not a number"))).transpose()
}

impl<'a> Storm<'a> {
    fn start(testbed: &'a Testbed, program: Program, ours: &'a Memif, random: Random) -> Result<Self> {
        let file = LportFile::new("fwd").memif("port", ours, 1);
        let file = file.lport("ring:0", json!({ "pmd": "net_ring", "umem": "packets" }));
        let file = file.port_map(&[("port:0", "ring:0")]).thread("fwd:0", &["port:0"]).thread("fwd:1", &["ring:0"]);
        let lport = testbed.run("ours", &file)?;
        let mut storm = Self { testbed, program, ours, lport, peer: None, random, outages: Outages::default() };
        storm.ensure_peer()?;
        Ok(storm)
    }

    /// Starts a peer if there is none, and waits for its packets.
    fn ensure_peer(&mut self) -> Result<()> {
        if self.peer.is_none() {
            self.peer = Some(flood::start(self.testbed, self.program, &self.ours.peer())?);
        }
        self.wait_for_load()
    }

    fn wait_for_load(&mut self) -> Result<()> {
        let before = self.lport.wait_for_counters("port:0", |_| true)?.ipackets;
        self.lport.wait_for_counters("port:0", |port| port.ipackets > before + LOAD && port.is_up())?;
        ensure!(self.lport.is_running()?, "our program has ended:\n{}", self.lport.log());
        Ok(())
    }

    fn round(&mut self) -> Result<()> {
        let calamity = self.random.choose(&[Calamity::Killed, Calamity::Frozen, Calamity::KilledFrozen]);
        self.wait_for_any_instant();
        match calamity {
            Calamity::Killed => self.kill(),
            Calamity::Frozen => self.freeze_and_thaw(),
            Calamity::KilledFrozen => {
                self.peer()?.freeze()?;
                self.wait_for_any_instant();
                self.kill()
            }
        }
    }

    /// No condition to wait for: that the instant is any is the point.
    fn wait_for_any_instant(&mut self) {
        thread::sleep(Duration::from_micros(self.random.number() % INSTANTS));
    }

    fn peer(&self) -> Result<&Process> {
        self.peer.as_ref().context("no peer is running")
    }

    fn kill(&mut self) -> Result<()> {
        let links_lost = self.links_lost()?;
        let start = Instant::now();
        self.peer.take().context("no peer is running")?.kill()?;
        self.lport.wait_for_counters("port:0", |port| port.xstats["disconnects"] > links_lost)?;
        self.ensure_peer()?;
        self.outages.killed.push(start.elapsed());
        Ok(())
    }

    fn links_lost(&self) -> Result<u64> {
        let port = self.lport.wait_for_counters("port:0", |port| port.xstats.contains_key("disconnects"))?;
        Ok(port.xstats["disconnects"])
    }

    fn freeze_and_thaw(&mut self) -> Result<()> {
        self.peer()?.freeze()?;
        self.wait_for_any_instant();
        let start = Instant::now();
        self.peer()?.thaw()?;
        self.wait_for_load()?;
        self.outages.frozen.push(start.elapsed());
        Ok(())
    }

    fn finish(mut self) -> Result<Outages> {
        if self.random.choose(&[true, false]) {
            self.peer()?.freeze()?;
        }
        self.wait_for_any_instant();
        self.lport.stop()?.summary()?;
        Ok(self.outages)
    }
}

impl fmt::Display for Outages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (calamity, times) in [("killed", &self.killed), ("frozen", &self.frozen)] {
            if let Some(longest) = times.iter().max() {
                let mean = times.iter().sum::<Duration>().div_f64(times.len() as f64);
                let (number, mean, longest) = (times.len(), mean.as_millis(), longest.as_millis());
                write!(f, "{calamity} {number} times, packets back after {mean} ms ({longest} ms at most); ")?;
            }
        }
        f.write_str("every pool whole")
    }
}
