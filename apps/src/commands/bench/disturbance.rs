//! What kept the polling threads from their CPUs during a trial: other threads, or another guest of the machine.
//!
//! The kernel counts for each thread how long it was ready to run and did not (`/proc/PID/task/TID/schedstat`), and for each
//! CPU how much time the hypervisor took (`steal` in `/proc/stat`). Both are read before and after a trial. A trial is
//! disturbed when together they exceed [`TOLERATED`] of the threads' time, or when a generator that found the CPU its own still
//! missed its schedule by [`LONGEST_GAP`]: its loss and its latencies are those of the machine, not of what is measured.

use std::fs;
use std::time::Duration;

/// Share of their time that threads may be kept from running: below, the search's exceed ratio copes.
const TOLERATED: f64 = 0.01;

/// Longest time between two rounds of a generator.
const LONGEST_GAP: Duration = Duration::from_millis(5);

/// Length of a tick of `/proc/stat`.
const TICK: Duration = Duration::from_millis(10);

/// The threads of a measurement, and their CPUs.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// `schedstat` of each thread.
    files: Vec<String>,
    cpus: Vec<usize>,
}

/// Time lost until some moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost {
    waited: Duration,
    stolen: Duration,
    ran: Duration,
}

impl Watched {
    /// The threads called `name` of the processes `pids`, which run on `cpus`.
    pub(super) fn find(pids: &[u32], name: &str, cpus: &[usize]) -> Self {
        let called =
            |task: &String| fs::read_to_string(format!("{task}/comm")).is_ok_and(|comm| comm.trim_end() == name);
        let tasks = pids.iter().flat_map(|pid| tasks(*pid)).filter(called);
        Self { files: tasks.map(|task| format!("{task}/schedstat")).collect(), cpus: cpus.to_vec() }
    }

    /// All threads of a process.
    pub(super) fn whole(pid: u32) -> Self {
        Self { files: tasks(pid).map(|task| format!("{task}/schedstat")).collect(), cpus: Vec::new() }
    }

    /// Time lost so far. What the kernel does not tell counts as nothing.
    pub(super) fn read(&self) -> Lost {
        let mut lost = Lost::default();
        for (ran, waited) in self.files.iter().filter_map(|file| schedstat(&fs::read_to_string(file).ok()?)) {
            lost.ran += ran;
            lost.waited += waited;
        }
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        lost.stolen = TICK * self.cpus.iter().map(|cpu| steal_ticks(&stat, *cpu)).sum::<u32>();
        lost
    }
}

impl Lost {
    /// What was lost since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            waited: self.waited.saturating_sub(before.waited),
            stolen: self.stolen.saturating_sub(before.stolen),
            ran: self.ran.saturating_sub(before.ran),
        }
    }

    /// Time that threads were ready and did not run, or their CPU did not.
    pub(super) fn time(self) -> Duration {
        self.waited + self.stolen
    }

    /// Time the threads ran.
    pub(super) fn ran(self) -> Duration {
        self.ran
    }

    /// Whether a trial was disturbed whose generator was away for `longest_gap`.
    pub(super) fn disturbs(self, longest_gap: Duration) -> bool {
        let lost = self.time().as_secs_f64();
        lost > TOLERATED * (self.ran.as_secs_f64() + lost) || longest_gap > LONGEST_GAP
    }
}

/// The folders of a process's threads.
fn tasks(pid: u32) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string())
}

/// Time a thread ran, and time it was ready and waited.
fn schedstat(text: &str) -> Option<(Duration, Duration)> {
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok().map(Duration::from_nanos));
    Some((numbers.next()?, numbers.next()?))
}

/// Ticks that the hypervisor gave to others instead of `cpu`.
fn steal_ticks(stat: &str, cpu: usize) -> u32 {
    let name = format!("cpu{cpu}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name));
    line.and_then(|line| line.split_whitespace().nth(8)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu1 1 2 3 4 5 6 7 80 9 10\ncpu11 1 2 3 4 5 6 7 90 9 10\n";

    #[test]
    fn the_kernels_numbers_are_read() {
        assert_eq!(schedstat("5000 70 3\n"), Some((Duration::from_nanos(5000), Duration::from_nanos(70))));
        assert_eq!((schedstat(""), schedstat("x 1 2")), (None, None));
        assert_eq!((steal_ticks(STAT, 1), steal_ticks(STAT, 11), steal_ticks(STAT, 0)), (80, 90, 0));
    }

    #[test]
    fn waiting_stealing_and_gaps_disturb_beyond_what_is_tolerated() {
        let lost = |waited, stolen| Lost {
            waited: Duration::from_millis(waited),
            stolen: Duration::from_millis(stolen),
            ran: Duration::from_secs(1),
        };
        let gap = Duration::from_micros(100);
        assert!(!lost(6, 3).disturbs(gap));
        assert!(lost(6, 10).disturbs(gap));
        assert!(lost(0, 0).disturbs(Duration::from_millis(6)));
        assert_eq!(lost(9, 10).since(lost(7, 0)).time(), Duration::from_millis(12));
    }

    #[test]
    fn our_own_threads_are_found_and_have_run() {
        let name = fs::read_to_string("/proc/thread-self/comm").unwrap();
        let watched = Watched::find(&[std::process::id()], name.trim_end(), &[0]);
        assert!(!watched.files.is_empty());
        let before = watched.read();
        while watched.read().since(before).ran().is_zero() {
            std::hint::spin_loop();
        }
    }
}
