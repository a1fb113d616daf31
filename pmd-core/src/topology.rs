//! The machine: CPUs with their cores and NUMA nodes, caches, and the choice of CPUs for `"auto"` placement.
//!
//! 1. [`Machine::detect`] asks libhwloc (feature `topology`); without the feature every allowed CPU counts as a core of
//!    its own on one node.
//! 2. [`choose_cpus`] picks CPUs for polling threads: a pure function of the machine, so any machine can be tested.

#[cfg(feature = "topology")]
mod hwloc;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::lcore::allowed_cpus;

/// What is known of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its CPUs (hardware threads), ascending by number.
    pub cpus: Vec<Cpu>,
    /// Its NUMA nodes.
    pub nodes: Vec<Node>,
    /// Its data and unified caches, the smallest level first.
    pub caches: Vec<Cache>,
}

/// A CPU: one hardware thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's number.
    pub id: usize,
    /// Physical core: CPUs of one core are hyperthreads of each other. Unique over the machine.
    pub core: usize,
    /// Processor package (socket).
    pub package: usize,
    /// NUMA node whose memory is near.
    pub node: usize,
    /// Whether this process may use it.
    pub allowed: bool,
}

/// A NUMA node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The kernel's number.
    pub id: usize,
    /// Bytes of memory.
    pub memory: u64,
}

/// A data or unified cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// 1 for L1.
    pub level: usize,
    /// Bytes it holds; 0 when unknown.
    pub bytes: u64,
    /// The CPUs that share it.
    pub cpus: Vec<usize>,
}

/// Why the machine could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("libhwloc cannot read this machine's topology: {0}")]
pub struct TopologyError(pub String);

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// When libhwloc fails.
    #[cfg(feature = "topology")]
    pub fn detect() -> Result<Self, TopologyError> {
        hwloc::detect(&allowed_cpus())
    }

    /// This machine, as far as it can be known without libhwloc: its allowed CPUs.
    ///
    /// # Errors
    /// None.
    #[cfg(not(feature = "topology"))]
    pub fn detect() -> Result<Self, TopologyError> {
        Ok(Self::flat(&allowed_cpus()))
    }

    /// A machine of which only the allowed CPUs are known: each a core of its own, all on one node.
    pub fn flat(cpus: &[usize]) -> Self {
        let cpu = |id: &usize| Cpu { id: *id, core: *id, package: 0, node: 0, allowed: true };
        Self { cpus: cpus.iter().map(cpu).collect(), nodes: Vec::new(), caches: Vec::new() }
    }
}

/// Chooses a CPU for each of `threads` polling threads.
///
/// Only allowed CPUs are chosen, and none of `taken` (what other threads are pinned to) while there are others. Threads
/// that work together share a NUMA node where one has cores enough, since their packets lie in its memory. Whole cores
/// come first: a hyperthread of a core that polls already is taken only when no core is left, and the core of CPU 0, where
/// the kernel likes to work, is the last one of its node. With more threads than CPUs the choice starts over.
/// The result is shorter than `threads`, that is empty, only when no CPU is allowed.
pub fn choose_cpus(machine: &Machine, taken: &[usize], threads: usize) -> Vec<usize> {
    let order = order_of_choice(machine, taken, threads);
    order.iter().map(|cpu| cpu.id).cycle().take(if order.is_empty() { 0 } else { threads }).collect()
}

/// The allowed CPUs, best first.
fn order_of_choice(machine: &Machine, taken: &[usize], threads: usize) -> Vec<Cpu> {
    let allowed: Vec<_> = machine.cpus.iter().filter(|cpu| cpu.allowed).copied().collect();
    let busy_cores: Vec<_> = allowed.iter().filter(|cpu| taken.contains(&cpu.id)).map(|cpu| cpu.core).collect();
    // How many hyperthreads of its core come before a CPU: 0 for the one that makes the core polled.
    let rank = |cpu: &Cpu| {
        let before = allowed.iter().filter(|other| other.core == cpu.core && other.id < cpu.id).count();
        before + usize::from(busy_cores.contains(&cpu.core))
    };
    let mut free: Vec<_> = allowed.iter().filter(|cpu| !taken.contains(&cpu.id)).map(|cpu| (rank(cpu), *cpu)).collect();
    if free.is_empty() {
        return allowed;
    }
    let preference = prefer_nodes(&free, threads);
    free.sort_by_key(|(rank, cpu)| (*rank, preference[&cpu.node], is_core_of_cpu_0(&allowed, cpu), cpu.id));
    free.into_iter().map(|(_, cpu)| cpu).collect()
}

/// Position of each node in the order of preference: most whole cores first, but no more than are wanted count.
fn prefer_nodes(free: &[(usize, Cpu)], threads: usize) -> BTreeMap<usize, usize> {
    let mut whole_cores: BTreeMap<usize, usize> = BTreeMap::new();
    for (rank, cpu) in free {
        *whole_cores.entry(cpu.node).or_default() += usize::from(*rank == 0);
    }
    let mut nodes: Vec<_> = whole_cores.into_iter().collect();
    nodes.sort_by_key(|(node, cores)| (Reverse((*cores).min(threads)), *node));
    nodes.into_iter().enumerate().map(|(position, (node, _))| (node, position)).collect()
}

fn is_core_of_cpu_0(cpus: &[Cpu], cpu: &Cpu) -> bool {
    cpus.iter().any(|other| other.id == 0 && other.core == cpu.core)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `nodes` x `cores` x `threads`, numbered as Linux does: first hyperthreads of all cores, then the second ones.
    fn machine(nodes: usize, cores: usize, threads: usize) -> Machine {
        let all = nodes * cores;
        let cpu = |id: usize| {
            let (core, node) = (id % all, id % all / cores);
            Cpu { id, core, package: node, node, allowed: true }
        };
        Machine { cpus: (0..all * threads).map(cpu).collect(), ..Machine::default() }
    }

    #[test]
    fn whole_cores_come_before_hyperthreads_and_cpu_0_last_of_them() {
        let machine = machine(1, 4, 2);
        assert_eq!(choose_cpus(&machine, &[], 3), [1, 2, 3]);
        assert_eq!(choose_cpus(&machine, &[], 6), [1, 2, 3, 0, 5, 6]);
    }

    #[test]
    fn threads_stay_on_one_node_when_it_has_cores_enough() {
        let machine = machine(2, 4, 2);
        let nodes = |threads, taken: &[usize]| -> Vec<_> {
            choose_cpus(&machine, taken, threads).iter().map(|id| machine.cpus[*id].node).collect()
        };
        assert_eq!(nodes(4, &[]), [0; 4]);
        assert_eq!(nodes(4, &[2]), [1; 4], "with a core of node 0 in use, only node 1 has four");
        assert_eq!(nodes(8, &[]).iter().filter(|node| **node == 1).count(), 4);
    }

    #[test]
    fn the_sibling_of_a_polling_cpu_is_no_whole_core() {
        assert_eq!(choose_cpus(&machine(1, 2, 2), &[0], 1), [1]);
        assert_eq!(choose_cpus(&machine(1, 2, 2), &[1], 2), [0, 2], "3 is the sibling of 1");
    }

    #[test]
    fn what_is_not_allowed_is_never_chosen_and_scarce_cpus_are_shared() {
        let mut machine = machine(1, 4, 1);
        machine.cpus[1].allowed = false;
        machine.cpus[3].allowed = false;
        assert_eq!(choose_cpus(&machine, &[], 3), [2, 0, 2]);
        assert_eq!(choose_cpus(&machine, &[0, 2], 1), [0], "all are taken: share");
        machine.cpus.iter_mut().for_each(|cpu| cpu.allowed = false);
        assert!(choose_cpus(&machine, &[], 2).is_empty());
    }

    #[test]
    fn this_machine_has_the_cpus_the_kernel_allows() {
        let machine = Machine::detect().unwrap();
        let allowed: Vec<_> = machine.cpus.iter().filter(|cpu| cpu.allowed).map(|cpu| cpu.id).collect();
        assert_eq!(allowed, allowed_cpus());
    }
}
