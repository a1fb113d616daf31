//! Where each thread runs: [`Placement`] made into CPUs.

use super::error::StartFailure;
use crate::deployment::{Placement, ThreadSpec};
use crate::lcore::{allowed_cpus, check_cpus};
use crate::topology::{Machine, choose_cpus};

/// The CPUs of each thread, in order; none for a thread that goes anywhere. A thread that runs already says where with
/// [`Placement::Cpus`].
///
/// # Errors
/// Every thread whose CPUs cannot be had.
pub(super) fn place(threads: &[ThreadSpec]) -> Result<Vec<Vec<usize>>, Vec<StartFailure>> {
    let allowed = allowed_cpus();
    let failures: Vec<_> = threads
        .iter()
        .filter_map(|thread| {
            let Placement::Cpus(cpus) = &thread.lcores else { return None };
            let source = check_cpus(cpus, &allowed).err()?;
            Some(StartFailure::Lcore { thread: thread.name.clone(), source })
        })
        .collect();
    if failures.is_empty() { Ok(cpus_of_threads(threads, machine)) } else { Err(failures) }
}

/// The machine, or what is known of it when libhwloc fails.
fn machine() -> Machine {
    Machine::detect().unwrap_or_else(|error| {
        tracing::warn!("{error}; taking the allowed CPUs in order for `auto`");
        Machine::flat(&allowed_cpus())
    })
}

/// The CPUs of each thread on `machine`, in order; none for a thread that goes anywhere. Named CPUs are taken as they are;
/// for those with [`Placement::Auto`] the machine is asked for, once, and [`choose_cpus`] chooses.
pub fn cpus_of_threads(threads: &[ThreadSpec], machine: impl FnOnce() -> Machine) -> Vec<Vec<usize>> {
    let named = |thread: &ThreadSpec| match &thread.lcores {
        Placement::Cpus(cpus) => cpus.clone(),
        Placement::Anywhere | Placement::Auto => Vec::new(),
    };
    let mut cpus: Vec<_> = threads.iter().map(named).collect();
    let auto: Vec<_> = (0..threads.len()).filter(|i| threads[*i].lcores == Placement::Auto).collect();
    // Reading the topology takes milliseconds: only when it is needed.
    if !auto.is_empty() {
        let chosen = choose_cpus(&machine(), &cpus.concat(), auto.len());
        for (thread, cpu) in auto.into_iter().zip(chosen) {
            cpus[thread] = vec![cpu];
        }
    }
    cpus
}

/// Whether thread number `thread` has no CPU for itself among polling threads: it must let others run.
pub(super) fn shares_cpu(cpus: &[Vec<usize>], thread: usize) -> bool {
    let mine = &cpus[thread];
    let mut others = cpus.iter().enumerate().filter(|(other, _)| *other != thread).flat_map(|(_, cpus)| cpus);
    mine.is_empty() || others.any(|cpu| mine.contains(cpu))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn thread(lcores: Placement) -> ThreadSpec {
        let (name, kind) = ("fwd:0".to_owned(), "fwd".to_owned());
        ThreadSpec { name, kind, lcores, lports: vec![], idle_timeout: None, intr_timeout: Duration::ZERO }
    }

    #[test]
    fn auto_threads_avoid_the_cpus_that_others_name() {
        let threads = [Placement::Auto, Placement::Cpus(vec![2, 3]), Placement::Anywhere, Placement::Auto];
        let cpus = cpus_of_threads(&threads.map(thread), || Machine::flat(&[0, 1, 2, 3]));
        assert_eq!(cpus, [vec![1], vec![2, 3], vec![], vec![0]]);
        assert_eq!((0..4).map(|i| shares_cpu(&cpus, i)).collect::<Vec<_>>(), [false, false, true, false]);
    }

    #[test]
    fn every_thread_with_a_wrong_cpu_is_reported() {
        let failures = place(&[vec![4000], vec![], vec![4001]].map(|cpus| thread(Placement::Cpus(cpus)))).unwrap_err();
        let text: Vec<_> = failures.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 2);
        assert!(text[0].starts_with("thread `fwd:0`: CPU 4000 does not exist"), "{}", text[0]);
        assert!(text[1].contains("CPU 4001"), "{}", text[1]);
    }
}
