//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pmd_core::BURST_MAX;

use crate::commands::bench::BenchArgs;
use crate::modes::Mode;
use crate::telemetry::place::FilePrefix;

/// Longest duration or period that can be asked for: a hundred years, which every clock can add.
const SECONDS_MAX: f64 = 100.0 * 365.0 * 86_400.0;

/// How the program ends, for its help; the kinds of [`crate::failure::Failure`].
const EXIT_CODES: &str = "\
Exit codes:
  0  good
  2  wrong usage
  3  the file is at fault, or no thread of it polls an lport
  4  a configured lport could not be opened
  5  something failed while running, or nothing runs that could be shown";

/// Runs packet forwarders described by lport files.
#[derive(Debug, Parser)]
#[command(name = "lport", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows it all in ten seconds: two processes joined by memif, one makes packets, the other sends them back
    Demo(DemoArgs),
    /// Runs the threads of an lport file until SIGINT or SIGTERM; SIGHUP reads the file again
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Finds all problems of lport files (exit code 3 when there are errors)
    Check(CheckArgs),
    /// Explains the code of a problem, such as E0204
    Explain {
        /// The code
        code: String,
    },
    /// Prints the JSON Schema of lport files, for editors
    Schema(DriverFiles),
    /// Lists the drivers with all their options, ranges and defaults
    Drivers(DriversArgs),
    /// Shows the machine: CPUs, cores, NUMA nodes, caches
    Topology(Format),
    /// Shows what a running `lport run` does, from another terminal (exit code 5 when none runs)
    Show(ShowArgs),
    /// Measures rates, NDR and PDR, latency, scaling and idle mode
    Bench(Box<BenchArgs>),
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Drivers that are not compiled in.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DriverFiles {
    /// Load a driver from a shared object, or those of all *.so in a directory; may be repeated
    #[arg(short = 'd', long = "driver-path", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Track every mbuf that a loaded driver gets and gives back; one that breaks the rules loses its lports
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes",
          default_value = if cfg!(debug_assertions) { "yes" } else { "no" }, action = clap::ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) check_drivers: bool,
}

impl DriverFiles {
    /// The same, for the command line of another process.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let check = format!("--check-drivers={}", if self.check_drivers { "yes" } else { "no" });
        let paths = self.paths.iter().flat_map(|path| [OsString::from("-d"), path.clone().into()]);
        paths.chain([check.into()]).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct DriversArgs {
    /// Only these drivers
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) drivers: DriverFiles,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The lport file; `-` reads the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) duration: Option<Duration>,
    /// Stop when no lport has moved a packet for so many seconds: when the files that are played have ended
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) until_idle: Option<Duration>,
    /// Print rates every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) stats_period: Option<Duration>,
    /// Packets received at a time
    #[arg(long, value_name = "PACKETS", default_value_t = 32, value_parser = burst)]
    pub(crate) burst: usize,
    /// What to do with packets, instead of what the file says
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
    /// Print JSON: the summary as one object on one line, before it one for each period
    #[arg(long)]
    pub(crate) json: bool,
    /// Run without the lports that cannot be opened
    #[arg(long)]
    pub(crate) allow_partial: bool,
    #[command(flatten)]
    pub(crate) drivers: DriverFiles,
    #[command(flatten)]
    pub(crate) prefix: Prefix,
    /// Serve no telemetry
    #[arg(long)]
    pub(crate) no_telemetry: bool,
}

/// Which processes are meant, as DPDK tells them apart.
#[derive(Debug, Clone, Args)]
pub(crate) struct Prefix {
    /// Directory of the telemetry socket, below the runtime directory's `dpdk`
    #[arg(long, value_name = "NAME", default_value = FilePrefix::DEFAULT)]
    pub(crate) file_prefix: FilePrefix,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// What to show: lports, threads and pools unless one is chosen
    #[arg(value_name = "WHAT")]
    pub(crate) what: Option<Shown>,
    #[command(flatten)]
    pub(crate) prefix: Prefix,
    /// Which of several processes with one file prefix, from 0
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) instance: u16,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What can be shown of a running `lport run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shown {
    /// memif interfaces with their peers, regions and rings
    Memif,
    /// lports with their links and counters
    Ports,
    /// Pools of mbufs with their levels
    Pools,
    /// Polling threads with their load
    Threads,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The lport files; `-` reads the standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Also check files without errors against this machine: CPUs, memory, devices. Opens nothing
    #[arg(long)]
    pub(crate) machine: bool,
    /// Treat warnings as errors
    #[arg(long)]
    pub(crate) deny_warnings: bool,
    #[command(flatten)]
    pub(crate) drivers: DriverFiles,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long it runs
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) duration: Duration,
}

/// A positive number of seconds, fractions allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let limits = || format!("`{text}` is not a number of seconds above 0 and up to {SECONDS_MAX}");
    let seconds: f64 = text.parse().map_err(|_| limits())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| limits())?;
    if duration.is_zero() || seconds > SECONDS_MAX { Err(limits()) } else { Ok(duration) }
}

/// A number of packets that a burst can hold.
pub(crate) fn burst(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=BURST_MAX).contains(n));
    number.ok_or_else(|| format!("`{text}` is not a number from 1 to {BURST_MAX}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_have_fractions_and_limits() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["0", "-1", "1e30", "NaN", "inf", "1s", ""] {
            assert!(seconds(bad).unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn bursts_are_limited() {
        assert_eq!((burst("1"), burst("256")), (Ok(1), Ok(256)));
        for bad in ["0", "257", "-1", "1.5"] {
            assert!(burst(bad).unwrap_err().ends_with("from 1 to 256"), "{bad}");
        }
    }
}
