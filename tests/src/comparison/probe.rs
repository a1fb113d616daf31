//! How fast the two CPUs are, and how far from each other: what a hypervisor can change unseen.
//!
//! A guest's CPUs are threads of its host. The host may move them to cores that share a cache or to cores that do not, or to
//! two hyperthreads of one core, at any moment, and no counter of the guest says so. But it shows: in the time a cache line
//! takes to the other CPU and back, and in the time a few multiplications take. Both are probed right before and after packets
//! are counted, while the processes under test are frozen.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

/// How long a cache line goes to and fro.
const BOUNCING: Duration = Duration::from_millis(5);

/// Longest time until the other thread is there. One that comes later says nothing about distances.
const START: Duration = Duration::from_millis(500);

/// Looks at the line between two looks at the clock.
const LOOKS: u32 = 256;

/// Multiplications.
const WORK: u64 = 1_000_000;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Probe {
    /// Nanoseconds until a cache line has been to the other CPU and is back.
    pub round_trip: f64,
    /// Nanoseconds a multiplication takes, on the first CPU and on the second, both at work.
    pub work: [f64; 2],
}

impl Probe {
    /// Probes two CPUs.
    ///
    /// # Errors
    /// When a thread cannot run on one of them, or is kept from it for too long.
    pub fn take(cpus: [usize; 2]) -> Result<Self> {
        let (line, over) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let other = scope.spawn(|| -> Result<f64> {
                pin(cpus[1])?;
                answer(&line, &over);
                Ok(multiply())
            });
            // A scope would wait for ever for a thread that nobody tells the end.
            let ours = scope.spawn(|| -> Result<(f64, f64)> {
                let round_trip = pin(cpus[0]).and_then(|()| ask(&line, cpus, START));
                over.store(true, Ordering::Release);
                Ok((round_trip?, multiply()))
            });
            let (ours, other) = (ours.join(), other.join());
            let died = |_| anyhow!("a probing thread has panicked");
            // Where the other could not run at all, that is why nobody answered.
            let (second, (round_trip, first)) = (other.map_err(died)??, ours.map_err(died)??);
            Ok(Self { round_trip, work: [first, second] })
        })
    }

    /// The better of two in everything.
    pub fn best(self, other: Self) -> Self {
        self.each(other, f64::min)
    }

    /// The worse of two in everything.
    pub fn worst(self, other: Self) -> Self {
        self.each(other, f64::max)
    }

    fn each(self, other: Self, of: fn(f64, f64) -> f64) -> Self {
        let work = [of(self.work[0], other.work[0]), of(self.work[1], other.work[1])];
        Self { round_trip: of(self.round_trip, other.round_trip), work }
    }
}

fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).with_context(|| format!("no CPU {cpu}"))
}

/// Makes the line even whenever it is odd.
fn answer(line: &AtomicU64, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        for _ in 0..LOOKS {
            let turn = line.load(Ordering::Acquire);
            if turn % 2 == 1 {
                line.store(turn + 1, Ordering::Release);
            }
            spin_loop();
        }
    }
}

/// Makes it odd whenever it is even, and says how long that and the answer take.
fn ask(line: &AtomicU64, [here, there]: [usize; 2], patience: Duration) -> Result<f64> {
    // The other thread may still be on its way to its CPU.
    let begun = Instant::now();
    line.store(1, Ordering::Release);
    while line.load(Ordering::Acquire) == 1 {
        ensure!(
            begun.elapsed() < patience,
            "CPU {there} did not answer CPU {here} within {} ms; stop what else runs there",
            patience.as_millis()
        );
        spin_loop();
    }
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < BOUNCING {
        for _ in 0..LOOKS {
            turns = line.load(Ordering::Acquire);
            if turns % 2 == 0 {
                line.store(turns + 1, Ordering::Release);
            }
            spin_loop();
        }
    }
    Ok(start.elapsed().as_secs_f64() * 2e9 / (turns.max(1) as f64))
}

/// Nanoseconds one of a chain of multiplications takes.
fn multiply() -> f64 {
    let start = Instant::now();
    let mut value = 1_u64;
    for _ in 0..WORK {
        value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    start.elapsed().as_secs_f64() * 1e9 / WORK as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cpus_answer_each_other() {
        let cpus = crate::testbed::allowed_cpus().unwrap();
        let probe = Probe::take([cpus[0], cpus[cpus.len() - 1]]).unwrap();
        assert!(probe.round_trip > 0.0 && probe.work.iter().all(|time| *time > 0.0), "{probe:?}");
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error_and_nobody_waits_for_ever() {
        for cpus in [[0, 1000], [1000, 0], [1000, 1000]] {
            assert!(Probe::take(cpus).unwrap_err().to_string().contains("no CPU 1000"));
        }
    }

    #[test]
    fn a_cpu_that_does_not_answer_in_time_is_an_error_and_no_distance() {
        let error = ask(&AtomicU64::new(0), [3, 7], Duration::from_millis(2)).unwrap_err().to_string();
        assert_eq!(error, "CPU 7 did not answer CPU 3 within 2 ms; stop what else runs there");
    }

    #[test]
    fn better_and_worse_in_everything() {
        let probe = |round_trip, first, second| Probe { round_trip, work: [first, second] };
        let (a, b) = (probe(80.0, 3.0, 1.0), probe(300.0, 2.0, 2.0));
        assert_eq!((a.best(b), a.worst(b)), (probe(80.0, 2.0, 1.0), probe(300.0, 3.0, 2.0)));
    }
}
