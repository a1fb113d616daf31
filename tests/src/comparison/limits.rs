//! How near to what the memory can do: two questions that testpmd has no part in.
//!
//! **Copies.** The loop `copy-1518` of `pmd-memif/benches/hot_loops.rs` circulates bursts of 32 packets through a memif; the loop
//! `memcpy-1518` only copies, as many bytes, from and to memory of the same kind in the same order. The share of the second's
//! rate that the first reaches is how near it is to a bare memcpy.
//!
//! **Zero-copy.** Where the client exports its mbufs and the server borrows them, nothing is copied. What a packet costs then
//! must not depend on its size: measured as client to server, with buffers that hold the largest, whatever the size.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Serialize;

use super::cases::{Work, ZeroCopy};
use super::disturbance::{Disturbance, Reading};
use super::measuring::Subject;
use super::processes::{Program, Traffic};
use crate::cargo;

/// The share of a bare memcpy's rate that copying packets is to reach.
pub const COPY_GOAL: f64 = 0.8;

/// How many times the cheapest size's time any size may take without copies.
pub const FLAT_GOAL: f64 = 1.1;

/// Sizes for the second question, in bytes.
pub const FLAT_SIZES: [usize; 5] = [64, 512, 1518, 4096, 9000];

/// Bursts of a loop per second of its window: about what it does.
const BURSTS_PER_SECOND: f64 = 200_000.0;

/// A loop of `pmd-memif/benches/hot_loops.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HotLoop {
    /// 1518-byte packets through a copying memif.
    Packets,
    /// The same copies, and nothing else.
    Memcpy,
}

/// Loops that are compared for the first question: the first is to reach [`COPY_GOAL`] of the second's rate.
pub const COPIES: [HotLoop; 2] = [HotLoop::Packets, HotLoop::Memcpy];

impl HotLoop {
    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Packets => "copy-1518",
            Self::Memcpy => "memcpy-1518",
        }
    }

    /// Packets per second on a CPU, in how long a time, and who else used the CPU.
    ///
    /// # Errors
    /// When it cannot be built, or fails.
    pub fn measure(self, cpu: usize, window: Duration) -> Result<(f64, f64, Disturbance)> {
        let bursts = (window.as_secs_f64() * BURSTS_PER_SECOND).ceil();
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cpu.to_string()]).arg(program()?).args([self.word(), &bursts.to_string()]);
        let cpu_time = || Reading::take(&[cpu], children_ran()?);
        let before = cpu_time()?;
        let output = command.output().context("cannot start taskset (of util-linux)")?;
        let after = cpu_time()?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        let [packets, nanoseconds] = numbers(&String::from_utf8_lossy(&output.stdout))?;
        Ok((packets * 1e9 / nanoseconds, nanoseconds / 1e9, before.until(&after, 1)))
    }
}

/// The packets a loop moved, and in how many nanoseconds.
fn numbers(printed: &str) -> Result<[f64; 2]> {
    let numbers = printed.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>();
    let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
    numbers.with_context(|| format!("a hot loop printed {printed:?}, not packets and nanoseconds"))
}

/// CPU time of all children that have ended.
///
/// # Errors
/// When the kernel does not tell.
pub(super) fn children_ran() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for the children's CPU time")?;
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(microseconds.unsigned_abs()))
}

fn program() -> Result<&'static PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || cargo::build_bench("pmd-memif", "hot_loops").map_err(|error| format!("{error:#}"));
    PROGRAM.get_or_init(build).as_ref().map_err(|error| anyhow!("{error}"))
}

/// Packets of a size from a client that exports to a server that borrows.
pub fn without_copies(size: usize) -> Subject {
    let traffic = Traffic { work: Work::ClientToServer, zero_copy: ZeroCopy::Both, size, large_buffers: true };
    Subject::Program { program: Program::Lport, traffic }
}

/// The largest of some times over the smallest; NaN of none.
pub fn unevenness(times: &[f64]) -> f64 {
    let (least, most) = times.iter().fold((f64::NAN, f64::NAN), |(low, high), &time| (time.min(low), time.max(high)));
    most / least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_loop_prints_is_read_or_refused() {
        assert_eq!(numbers("64000 8000000\n").unwrap(), [64000.0, 8_000_000.0]);
        for bad in ["", "64000", "a b", "1 2 3"] {
            assert!(numbers(bad).unwrap_err().to_string().contains(bad), "{bad}");
        }
    }

    #[test]
    fn unevenness_is_the_dearest_over_the_cheapest() {
        assert_eq!(unevenness(&[10.0, 8.0, 12.0]), 1.5);
        assert!(unevenness(&[]).is_nan());
    }
}
