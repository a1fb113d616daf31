//! The command line of `lport bench`.

use std::time::Duration;

use clap::{Args, Subcommand};
use pmd_core::Registry;
use serde::Serialize;

use super::arrangement::Work;
use super::driver::{AttachedWords, DriverWords};
use super::frames::FrameSize;
use crate::cli::{DriverFiles, burst, seconds};
use crate::drivers::registry_with;
use crate::failure::Failure;

/// The command's arguments.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(super) what: Option<What>,
    #[command(flatten)]
    pub(super) rate: RateArgs,
}

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum What {
    /// Maximum receive rates: as much as goes through (what `lport bench` alone does)
    Rate(RateArgs),
    /// NDR and PDR: the highest loads without loss, and with at most 0.5 % of it
    Search(SearchArgs),
    /// Latency at no load and at shares of the PDR
    Latency(LatencyArgs),
    /// Cost per packet and per idle poll over numbers of lports and queues, bursts, rings, pools
    Scale(ScaleArgs),
    /// Idle mode: CPU time without traffic, latency after a sleep, throughput with and without it
    Idle(IdleArgs),
}

/// What everything is measured with.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Setup {
    /// Driver under test, with options: `net_ring`, `net_memif:zero-copy=yes`
    #[arg(long, value_name = "DRIVER[:KEY=VALUE,...]", default_value = "net_memif")]
    pub(super) driver: DriverWords,
    /// Driver of the other end of each link; default: the same
    #[arg(long, value_name = "DRIVER[:KEY=VALUE,...]")]
    pub(super) peer: Option<DriverWords>,
    /// Packets at a time
    #[arg(long, value_name = "PACKETS", default_value_t = 32, value_parser = burst)]
    pub(super) burst: usize,
    /// log2 of the packets a ring holds; default: the driver's
    #[arg(long, value_name = "LOG2", value_parser = clap::value_parser!(u8).range(1..=14))]
    pub(super) rings: Option<u8>,
    /// Queues of each device, polled by one thread
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(super) queues: u16,
    /// The CPUs of the first and second process, the memif server's first; default: chosen by the machine's topology
    #[arg(long, value_name = "CPUS", value_delimiter = ',', num_args = 1..=2)]
    pub(super) cores: Vec<usize>,
    /// Decides the order of sizes in IMIX: the same seed sends the same packets
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    #[command(flatten)]
    #[serde(skip)]
    pub(super) files: DriverFiles,
    /// The drivers there are, when [`Setup::load`] has loaded them.
    #[arg(skip)]
    #[serde(skip)]
    pub(super) registry: Registry,
}

impl BenchArgs {
    /// Loads the drivers that are not compiled in, and checks all words about drivers against those that there are.
    ///
    /// # Errors
    /// As [`Setup::load`].
    pub(super) fn load(&mut self) -> Result<(), Failure> {
        self.setup_mut().load()?;
        let (setup, attached) = match &self.what {
            Some(What::Search(args)) => (&args.setup, &args.cases.attach),
            Some(What::Latency(args)) => (&args.setup, &args.cases.attach),
            _ => return Ok(()),
        };
        attached.iter().try_for_each(|end| end.driver().check(&setup.registry))
    }

    /// What the chosen measurement is made with.
    fn setup_mut(&mut self) -> &mut Setup {
        match &mut self.what {
            None => &mut self.rate.setup,
            Some(What::Rate(args)) => &mut args.setup,
            Some(What::Search(args)) => &mut args.setup,
            Some(What::Latency(args)) => &mut args.setup,
            Some(What::Scale(args)) => &mut args.setup,
            Some(What::Idle(args)) => &mut args.setup,
        }
    }
}

impl Setup {
    /// Loads the drivers that are not compiled in, and checks the words about drivers against those that there are.
    ///
    /// # Errors
    /// When one cannot be loaded, or there is no such driver, or it does not take the options.
    fn load(&mut self) -> Result<(), Failure> {
        self.registry = registry_with(&self.files)?;
        self.driver.check(&self.registry)?;
        self.peer.as_ref().map_or(Ok(()), |peer| peer.check(&self.registry))
    }
}

/// How results are printed, and how long is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Manner {
    /// Less exact, in a fraction of the time
    #[arg(long)]
    pub(super) quick: bool,
    /// Print JSON, with the machine's fingerprint
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RateArgs {
    /// What to measure; default: loopback and both directions, if the driver can
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) work: Vec<Work>,
    /// Packet sizes in bytes without FCS, or `imix`
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values = ["64", "512", "1518"])]
    pub(super) sizes: Vec<FrameSize>,
    /// How long each case is measured; default: 0.7, or 0.2 with `--quick`
    #[arg(long, alias = "seconds", value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(super) duration: Option<Duration>,
    /// How often all cases are run, in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,
    #[command(flatten)]
    pub(super) setup: Setup,
    #[command(flatten)]
    pub(super) manner: Manner,
}

/// What is searched, or whose latency is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Cases {
    /// What to measure; default: the chain (of latencies the round trip) for net_memif, loopback for other drivers
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) work: Vec<Work>,
    /// Measure a process that you have started: our end of a link to it. It sends everything back, or it forwards to a
    /// second one, when this is given twice
    #[arg(long, value_name = "DRIVER:KEY=VALUE,...", conflicts_with_all = ["work", "driver", "peer"])]
    pub(super) attach: Vec<AttachedWords>,
    /// How long somebody at the other end of attached links is waited for
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true, default_value = "60",
          requires = "attach")]
    pub(super) wait: Duration,
    /// Packet sizes in bytes without FCS, or `imix`
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values = ["64"])]
    pub(super) sizes: Vec<FrameSize>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(super) cases: Cases,
    /// Seconds of a full trial; default: 1, or 0.2 with `--quick`
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(super) duration: Option<Duration>,
    /// Share of packets that the PDR may lose, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.5, value_parser = percent, allow_negative_numbers = true)]
    pub(super) loss: f64,
    /// Share of measured time that may be worse, in per cent: 0 is RFC 2544, 50 copes with a busy machine
    #[arg(long, value_name = "PERCENT", default_value_t = 50.0, value_parser = percent, allow_negative_numbers = true)]
    pub(super) exceed: f64,
    /// Width of the answer, in per cent of it; default: 1, or 5 with `--quick`
    #[arg(long, value_name = "PERCENT", value_parser = percent, allow_negative_numbers = true)]
    pub(super) width: Option<f64>,
    #[command(flatten)]
    pub(super) setup: Setup,
    #[command(flatten)]
    pub(super) manner: Manner,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    pub(super) cases: Cases,
    /// Loads, in per cent of the PDR; 0: no load, ten thousand packets per second
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_values_t = [0, 10, 50, 90],
          value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) loads: Vec<u32>,
    /// Packets per second that count as 100 %; default: the PDR, which is searched first
    #[arg(long, value_name = "PPS", value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub(super) pdr: Option<u64>,
    /// How long each load is measured; default: 2, or 0.3 with `--quick`
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(super) duration: Option<Duration>,
    #[command(flatten)]
    pub(super) setup: Setup,
    #[command(flatten)]
    pub(super) manner: Manner,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ScaleArgs {
    /// What grows; default: everything
    #[arg(value_enum, value_name = "WHAT")]
    pub(super) curves: Vec<super::scale::Curve>,
    /// Packet size in bytes without FCS, or `imix`
    #[arg(long, value_name = "BYTES", default_value = "64")]
    pub(super) size: FrameSize,
    /// How long each point is measured; default: 0.3, or 0.05 with `--quick`
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(super) duration: Option<Duration>,
    #[command(flatten)]
    pub(super) setup: Setup,
    #[command(flatten)]
    pub(super) manner: Manner,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct IdleArgs {
    /// Milliseconds without packets after which a thread sleeps
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(super) idle_timeout: u64,
    /// Milliseconds that one sleep lasts at most
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(super) intr_timeout: u64,
    /// How long CPU time, and throughput in all rounds together, are measured; default: 3, or 0.5 with `--quick`
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(super) duration: Option<Duration>,
    /// How often throughput is measured, with idle mode and without in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,
    #[command(flatten)]
    pub(super) setup: Setup,
    #[command(flatten)]
    pub(super) manner: Manner,
}

impl Manner {
    /// What was given, or one of the two defaults, in seconds.
    pub(super) fn duration(&self, given: Option<Duration>, usual: f64, quick: f64) -> Duration {
        given.unwrap_or(Duration::from_secs_f64(if self.quick { quick } else { usual }))
    }
}

/// A share from 0 to below 100 per cent.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|percent| (0.0..100.0).contains(percent));
    number.ok_or_else(|| format!("`{text}` is not a number of per cent from 0 to below 100"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cents_have_limits() {
        assert_eq!((percent("0"), percent("0.5")), (Ok(0.0), Ok(0.5)));
        for bad in ["-1", "100", "NaN", "5%", ""] {
            assert!(percent(bad).unwrap_err().contains(&format!("`{bad}`")), "{bad}");
        }
    }
}
