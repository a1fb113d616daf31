//! Lcores: the CPUs this process may use, and pinning the calling thread to some of them.
//!
//! 1. [`allowed_cpus`] asks the kernel once, before any thread is pinned: what it answers is what exists, is online and
//!    is allowed by `taskset` and the cgroup's cpuset.
//! 2. [`check_cpus`] compares what a file names with it, so that a wrong CPU is an error before anything is opened.
//! 3. Each thread calls [`pin_current`] as its first step.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Bytes of a thread's name the kernel keeps (`TASK_COMM_LEN` without its NUL).
const KERNEL_NAME_MAX: usize = 15;

/// Why a thread cannot run where it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LcoreError {
    /// The CPU is not there, or the process may not use it.
    #[error("CPU {cpu} does not exist here or is not allowed for this process; allowed are {}", cpu_list(.allowed))]
    NotAllowed {
        /// The CPU asked for.
        cpu: usize,
        /// The CPUs that can be had.
        allowed: Vec<usize>,
    },
    /// The kernel refused although the CPUs are allowed.
    #[error("the kernel refuses to run the thread on CPU {}: {reason}", cpu_list(.cpus))]
    Refused {
        /// The CPUs asked for.
        cpus: Vec<usize>,
        /// What it said.
        reason: String,
    },
}

/// The CPUs the calling thread may run on, ascending. Ask before pinning it: afterwards the answer is the pinning.
pub fn allowed_cpus() -> Vec<usize> {
    // The call fails on machines with more CPUs than a `cpu_set_t` has bits: then name those it can.
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
    };
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect()
}

/// Checks that each of `cpus` is one of `allowed`.
///
/// # Errors
/// Names the first that is not, and lists what is allowed.
pub fn check_cpus(cpus: &[usize], allowed: &[usize]) -> Result<(), LcoreError> {
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        Some(cpu) => Err(LcoreError::NotAllowed { cpu: *cpu, allowed: allowed.to_vec() }),
        None => Ok(()),
    }
}

/// Lets the calling thread run on `cpus` only; with none it stays where it is.
///
/// # Errors
/// When the kernel refuses.
pub fn pin_current(cpus: &[usize]) -> Result<(), LcoreError> {
    let refused = |reason: String| LcoreError::Refused { cpus: cpus.to_vec(), reason };
    match cpus {
        [] => Ok(()),
        [cpu] if *cpu < CpuSet::count() => {
            let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: *cpu });
            if pinned { Ok(()) } else { Err(refused(std::io::Error::last_os_error().to_string())) }
        }
        several => {
            let mut set = CpuSet::new();
            for cpu in several {
                set.set(*cpu).map_err(|_| refused(format!("CPU numbers end at {}", CpuSet::count() - 1)))?;
            }
            sched_setaffinity(Pid::from_raw(0), &set).map_err(|error| refused(error.to_string()))
        }
    }
}

/// `name` as the kernel can keep it: at most 15 bytes, cut between characters, without NUL.
pub fn kernel_name(name: &str) -> String {
    let mut short: String = name.chars().map(|c| if c == '\0' { '?' } else { c }).collect();
    let mut end = short.len().min(KERNEL_NAME_MAX);
    while !short.is_char_boundary(end) {
        end -= 1;
    }
    short.truncate(end);
    short
}

/// CPUs as people write them: `0-3,8`; `none` when there are none.
pub fn cpu_list(cpus: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    if ranges.is_empty() {
        return "none".into();
    }
    let words: Vec<_> = ranges
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_is_not_allowed_is_named_with_those_that_are() {
        let error = check_cpus(&[1, 9], &[0, 1, 2, 5]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CPU 9 does not exist here or is not allowed for this process; allowed are 0-2,5"
        );
        assert_eq!(check_cpus(&[5, 0], &[0, 1, 2, 5]), Ok(()));
    }

    #[test]
    fn a_pinned_thread_may_run_nowhere_else() {
        let allowed = allowed_cpus();
        for cpus in [vec![allowed[0]], allowed] {
            let wanted = cpus.clone();
            let seen = std::thread::spawn(move || pin_current(&wanted).map(|()| allowed_cpus()));
            assert_eq!(seen.join().unwrap(), Ok(cpus));
        }
    }

    #[test]
    fn the_kernel_refuses_a_cpu_that_no_machine_has() {
        for cpus in [vec![1023], vec![5000], vec![1022, 1023], vec![0, 70_000]] {
            let pinned = std::thread::spawn(move || pin_current(&cpus)).join().unwrap();
            assert!(matches!(pinned, Err(LcoreError::Refused { .. })), "{pinned:?}");
        }
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(kernel_name("fwd:0"), "fwd:0");
        assert_eq!(kernel_name("a-very-long-thread-name"), "a-very-long-thr");
        assert_eq!(kernel_name("fourteen-bytesé"), "fourteen-bytes");
        assert_eq!(kernel_name("a\0b"), "a?b");
    }

    #[test]
    fn cpu_lists_are_short() {
        assert_eq!(cpu_list(&[0, 1, 2, 3, 8, 10, 11]), "0-3,8,10-11");
        assert_eq!(cpu_list(&[]), "none");
    }
}
