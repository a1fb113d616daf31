//! Who else used the CPUs of a measurement.
//!
//! The processes under test poll: their CPUs are never idle on their account. So what is neither idle time of these CPUs nor
//! CPU time of these processes was taken by others: programs, interrupts, or the hypervisor. The hypervisor's share is also
//! told by the kernel, as steal.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

/// Length of a tick in `/proc/stat`, on every machine.
const TICK: Duration = Duration::from_millis(10);

/// The CPUs' time and the processes' until some moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    moment: Instant,
    idle: Duration,
    stolen: Duration,
    ran: Duration,
}

impl Reading {
    /// Reads the counters of `cpus`; `ran` is the CPU time that the processes under test have used so far.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn take(cpus: &[usize], ran: Duration) -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let [idle, stolen] = idle_and_stolen(&stat, cpus);
        Ok(Self { moment: Instant::now(), idle, stolen, ran })
    }

    /// What happened on `cpus` CPUs between this reading and a later one.
    pub fn until(&self, later: &Self, cpus: usize) -> Disturbance {
        let capacity = (later.moment - self.moment) * u32::try_from(cpus).unwrap_or(u32::MAX);
        let explained = later.idle.saturating_sub(self.idle) + later.ran.saturating_sub(self.ran);
        let share = |time: Duration| time.as_secs_f64() / capacity.as_secs_f64();
        Disturbance {
            others: share(capacity.saturating_sub(explained)),
            stolen: share(later.stolen.saturating_sub(self.stolen)),
        }
    }
}

/// Shares of the CPUs' time that went elsewhere, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Disturbance {
    /// Taken by anybody else.
    pub others: f64,
    /// Taken by the hypervisor, as the kernel says; usually a part of the former.
    pub stolen: f64,
}

impl Disturbance {
    /// The greater of both.
    pub fn share(&self) -> f64 {
        self.others.max(self.stolen)
    }
}

/// CPU time that processes have used so far, all of their threads together. One that is gone counts as nothing.
pub fn ran(pids: &[u32]) -> Duration {
    let of = |&pid: &u32| {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
        clock_gettime(clock).ok().map(Duration::from)
    };
    pids.iter().filter_map(of).sum()
}

/// Idle time (waiting for devices included) and stolen time of some CPUs since the machine was started.
fn idle_and_stolen(stat: &str, cpus: &[usize]) -> [Duration; 2] {
    let ticks = |cpu: &usize| {
        let name = format!("cpu{cpu}");
        let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
        let fields: Vec<u32> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
        Some([fields.get(3)? + fields.get(4)?, *fields.get(7)?])
    };
    let sum = cpus.iter().filter_map(ticks).fold([0, 0], |sum, ticks| [sum[0] + ticks[0], sum[1] + ticks[1]]);
    sum.map(|ticks| TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 1 2 3 40 50 6 7 80 9 10\ncpu11 0 0 0 7 0 0 0 7\n";

    #[test]
    fn idle_and_stolen_ticks_of_the_named_cpus_add_up() {
        let ticks = |cpus: &[usize]| idle_and_stolen(STAT, cpus).map(|time| time.as_millis() / 10);
        assert_eq!(ticks(&[0]), [9, 8]);
        assert_eq!(ticks(&[0, 1]), [99, 88]);
        assert_eq!(ticks(&[11]), [7, 7]);
        assert_eq!(ticks(&[2]), [0, 0]);
    }

    fn reading(start: Instant, moment: u64, idle: u64, stolen: u64, ran: u64) -> Reading {
        let ms = Duration::from_millis;
        Reading { moment: start + ms(moment), idle: ms(idle), stolen: ms(stolen), ran: ms(ran) }
    }

    #[test]
    fn what_is_neither_idle_nor_ours_was_taken_by_others() {
        let start = Instant::now();
        let before = reading(start, 0, 500, 20, 1000);
        // Two CPUs for a second: 1900 ms ours, 60 ms idle, so 40 ms taken, 10 ms of them by the hypervisor.
        let after = reading(start, 1000, 560, 30, 2900);
        assert_eq!(before.until(&after, 2), Disturbance { others: 0.02, stolen: 0.005 });
        // More than there is: a thread of ours ran on another CPU for a moment.
        assert_eq!(before.until(&reading(start, 1000, 500, 20, 3001), 2), Disturbance { others: 0.0, stolen: 0.0 });
    }

    #[test]
    fn our_own_cpu_time_is_seen() {
        let pids = [std::process::id()];
        let before = ran(&pids);
        while ran(&pids) == before {
            std::hint::spin_loop();
        }
        assert_eq!(ran(&[u32::MAX]), Duration::ZERO);
    }
}
