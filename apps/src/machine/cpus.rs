//! Whether the CPUs of threads are there, and whether each polling thread has a core to itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use lport_config::{Places, Problem, Span};
use pmd_core::deployment::{Placement, ThreadSpec};
use pmd_core::lcore::cpu_list;
use pmd_core::topology::Machine;

use super::place_of;
use crate::rules;

/// The CPUs that threads name, but cannot have: one problem for each part of the file that names some, and each reason.
pub(super) fn missing(threads: &[ThreadSpec], places: &Places, machine: &Machine) -> Vec<Problem> {
    let allowed: Vec<_> = machine.cpus.iter().filter(|cpu| cpu.allowed).map(|cpu| cpu.id).collect();
    let mut found: Vec<Missing<'_>> = Vec::new();
    for thread in threads {
        let Placement::Cpus(cpus) = &thread.lcores else { continue };
        for cpu in cpus.iter().filter(|cpu| !allowed.contains(cpu)) {
            let place = places.thread_cpu(&thread.name, *cpu).unwrap_or_else(|| place_of(&thread.name, places));
            let exists = machine.cpus.iter().any(|other| other.id == *cpu);
            match found.iter_mut().find(|known| (known.place, known.exist) == (place, exists)) {
                Some(known) if known.cpus.contains(cpu) => {}
                Some(known) => known.cpus.push(*cpu),
                None => found.push(Missing { place, exist: exists, cpus: vec![*cpu], thread: &thread.name }),
            }
        }
    }
    found.iter().map(|missing| missing.problem(&allowed, places)).collect()
}

/// CPUs that cannot be had, named in one place.
struct Missing<'t> {
    place: Span,
    /// Whether they are there, and only not for us.
    exist: bool,
    cpus: Vec<usize>,
    /// The first thread that wants them.
    thread: &'t str,
}

impl Missing<'_> {
    fn problem(&self, allowed: &[usize], places: &Places) -> Problem {
        let list = cpu_list(&self.cpus);
        let message = match (&self.cpus[..], self.exist) {
            ([_], true) => format!("CPU {list} may not be used by this process"),
            ([_], false) => format!("CPU {list} does not exist on this machine"),
            (_, true) => format!("CPUs {list} may not be used by this process"),
            (_, false) => format!("CPUs {list} do not exist on this machine"),
        };
        Problem::new(rules::CPU_MISSING, self.place, message)
            .label("not to be had")
            .also(place_of(self.thread, places), format!("thread `{}` runs there", self.thread))
            .help(format!("there are: {}", cpu_list(allowed)))
    }
}

/// Threads that must share a CPU with another one, or that run on another hyperthread of its core.
pub(super) fn crowded(threads: &[ThreadSpec], cpus: &[Vec<usize>], places: &Places, machine: &Machine) -> Vec<Problem> {
    let owners = one_cpu_each(cpus);
    let owned: HashMap<usize, usize> = owners.iter().map(|(cpu, thread)| (*thread, *cpu)).collect();
    let mut problems = Vec::new();
    // By core: the first thread that has it for itself, and its CPU.
    let mut on_core: HashMap<usize, (usize, usize)> = HashMap::new();
    for (i, thread) in threads.iter().enumerate().filter(|(i, _)| !cpus[*i].is_empty()) {
        let Some(cpu) = owned.get(&i) else {
            let cpu = cpus[i][0];
            problems.push(shared_cpu(&threads[owners[&cpu]], thread, cpu, places));
            continue;
        };
        let Some(core) = only_core(&cpus[i], machine) else { continue };
        match on_core.get(&core) {
            Some((first, sibling)) => {
                problems.push(shared_core(&threads[*first], thread, [*sibling, *cpu], places));
            }
            None => drop(on_core.insert(core, (i, *cpu))),
        }
    }
    problems
}

fn shared_cpu(first: &ThreadSpec, second: &ThreadSpec, cpu: usize, places: &Places) -> Problem {
    let message = format!("threads `{}` and `{}` poll on CPU {cpu}", first.name, second.name);
    Problem::new(rules::CPU_SHARED, place_of(&second.name, places), message)
        .label("no CPU is left for this thread")
        .also(place_of(&first.name, places), "taken by this one")
        .help("give each polling thread a CPU of its own")
}

fn shared_core(first: &ThreadSpec, second: &ThreadSpec, [one, other]: [usize; 2], places: &Places) -> Problem {
    let names = format!("threads `{}` and `{}`", first.name, second.name);
    let message = format!("{names} poll on CPUs {one} and {other}, hyperthreads of one core");
    Problem::new(rules::CORE_SHARED, place_of(&second.name, places), message)
        .label("half a core")
        .also(place_of(&first.name, places), "the other half")
        .help("choose a CPU of another core; `lport topology` shows them")
}

/// Deals CPUs to as many threads as can each have one of its own: from a CPU to its thread. (A maximum matching, by
/// augmenting paths: a thread that finds its CPUs taken asks their threads to move.)
fn one_cpu_each(cpus: &[Vec<usize>]) -> BTreeMap<usize, usize> {
    fn settle(
        thread: usize,
        cpus: &[Vec<usize>],
        owners: &mut BTreeMap<usize, usize>,
        tried: &mut HashSet<usize>,
    ) -> bool {
        for cpu in &cpus[thread] {
            if tried.insert(*cpu) {
                let owner = owners.get(cpu).copied();
                if owner.is_none_or(|owner| settle(owner, cpus, owners, tried)) {
                    owners.insert(*cpu, thread);
                    return true;
                }
            }
        }
        false
    }
    let mut owners = BTreeMap::new();
    for thread in 0..cpus.len() {
        settle(thread, cpus, &mut owners, &mut HashSet::new());
    }
    owners
}

/// The core that all of `cpus` belong to.
fn only_core(cpus: &[usize], machine: &Machine) -> Option<usize> {
    let core = |cpu: &usize| machine.cpus.iter().find(|known| known.id == *cpu).map(|known| known.core);
    let first = core(cpus.first()?)?;
    cpus.iter().all(|cpu| core(cpu) == Some(first)).then_some(first)
}
