//! `lport bench`: what this machine can do, with any driver.
//!
//! ```text
//!   args          the command line             rate, find, latency, scale, idle     the subcommands
//!   driver        `net_memif:zero-copy=yes`      \   |   /             |       \
//!   arrangement   processes as lport files  -->   rig                circulate  (packets that go round in our process)
//!   attached      somebody else's process
//!                                                /   \
//!                                    tester, schedule, frames,     peer: an `lport run`, counted through telemetry
//!                                    histogram: our own process
//!   search        MLRsearch, pure           disturbance    what the machine did to a trial
//!   machine, report, progress               what is printed
//! ```
//!
//! 1. The arguments become arrangements: plain data, lport files for one or two processes.
//! 2. A rig runs one; trials on it are open loops: so many packets per second by a schedule, for so long.
//! 3. Everything that was intended and did not arrive is loss, for whatever reason; a trial in which the kernel or the
//!    hypervisor kept a polling thread from its CPU is disturbed, is made again, and is marked if it stays so.
//! 4. Results are printed as a table, or as JSON with the machine they belong to.

mod args;
mod arrangement;
mod attached;
mod circulate;
mod disturbance;
mod driver;
mod find;
mod frames;
mod histogram;
mod idle;
mod latency;
mod machine;
mod own;
mod peer;
mod progress;
mod rate;
mod report;
mod rig;
mod scale;
mod schedule;
mod search;
mod tester;

pub(crate) use args::BenchArgs;
use args::What;

use crate::failure::Failure;
use crate::signals::Signals;

/// Runs the command.
///
/// # Errors
/// When something cannot be measured.
pub(crate) fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    let mut args = args.clone();
    args.load()?;
    match &args.what {
        None => rate::rate(&args.rate, &signals),
        Some(What::Rate(args)) => rate::rate(args, &signals),
        Some(What::Search(args)) => find::find(args, &signals),
        Some(What::Latency(args)) => latency::latency(args, &signals),
        Some(What::Scale(args)) => scale::scale(args, &signals),
        Some(What::Idle(args)) => idle::idle(args, &signals),
    }
}
