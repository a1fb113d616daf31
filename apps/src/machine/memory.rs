//! Whether pools lie near the threads that use them, and whether their pages and memory can be had.

use std::collections::HashMap;
use std::path::Path;

use lport_config::{Places, Problem};
use pmd_core::deployment::{Deployment, PageSize, PoolIndex, PoolSpec};
use pmd_core::pool::buffer_bytes;
use pmd_core::topology::Machine;

use super::place_of;
use crate::rules;

/// Huge pages that nobody has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HugePages {
    /// Those of 2 MiB.
    pub(crate) free_2m: usize,
    /// Those of 1 GiB.
    pub(crate) free_1g: usize,
}

impl HugePages {
    /// Those of this machine, as the kernel says; none where it does not know the size.
    pub(super) fn read() -> Self {
        let free = |size: &str| {
            let file = Path::new("/sys/kernel/mm/hugepages").join(format!("hugepages-{size}")).join("free_hugepages");
            std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        Self { free_2m: free("2048kB"), free_1g: free("1048576kB") }
    }
}

/// Bytes of memory that can be had without swapping, as the kernel says.
pub(super) fn available() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The pool on ordinary pages with which there is no memory left.
pub(super) fn exhausted(pools: &[PoolSpec], places: &Places, available: usize) -> Option<Problem> {
    let bytes = |pool: &PoolSpec| match pool.page {
        PageSize::Small => buffer_bytes(pool.size, pool.data_room),
        PageSize::Huge2M | PageSize::Huge1G => 0,
    };
    let together = pools.iter().scan(0_usize, |sum, pool| {
        *sum = sum.saturating_add(bytes(pool));
        Some(*sum)
    });
    let (i, wanted) = together.enumerate().find(|(_, sum)| *sum > available)?;
    let [wanted, left] = [wanted, available].map(|bytes| bytes >> 20);
    let name = &pools[i].name;
    let message = match i {
        0 => format!("pool `{name}` needs {wanted} MiB, but {left} MiB are available"),
        _ => format!("pool `{name}` and those in front of it need {wanted} MiB, but {left} MiB are available"),
    };
    let problem = Problem::new(rules::MEMORY, places.pool(PoolIndex(i)).unwrap_or_default(), message);
    Some(
        problem
            .label("too large")
            .help("`bufcnt` is in units of 1024 buffers, `bufsz` in 1024 bytes: make them smaller"),
    )
}

/// Pools whose memory lies on another NUMA node than a thread that receives into them. A pool lies where the first of its
/// threads runs.
pub(super) fn remote(deployment: &Deployment, cpus: &[Vec<usize>], places: &Places, machine: &Machine) -> Vec<Problem> {
    let lports = deployment.lports();
    let mut homes: HashMap<usize, (usize, &str)> = HashMap::new();
    let mut problems = Vec::new();
    for (thread, cpus) in deployment.threads.iter().zip(cpus) {
        let Some(node) = only_node(cpus, machine) else { continue };
        let mut pools: Vec<_> = thread.lports.iter().filter_map(|id| lports[usize::from(id.0)].1.pool).collect();
        pools.sort_by_key(|pool| pool.0);
        pools.dedup();
        for PoolIndex(pool) in pools {
            let (home, first) = *homes.entry(pool).or_insert((node, &thread.name));
            if home != node {
                let name = &deployment.pools[pool].name;
                let message = format!(
                    "thread `{}` runs on NUMA node {node}, but pool `{name}` lies on node {home}, with thread `{first}`",
                    thread.name
                );
                let problem = Problem::new(rules::REMOTE_MEMORY, place_of(&thread.name, places), message)
                    .label("far from its packets")
                    .also(places.pool(PoolIndex(pool)).unwrap_or_default(), "this memory")
                    .help("give the lports of this thread a umem or region of their own");
                problems.push(problem);
            }
        }
    }
    problems
}

/// The NUMA node that all of `cpus` belong to.
fn only_node(cpus: &[usize], machine: &Machine) -> Option<usize> {
    let node = |cpu: &usize| machine.cpus.iter().find(|known| known.id == *cpu).map(|known| known.node);
    let first = node(cpus.first()?)?;
    cpus.iter().all(|cpu| node(cpu) == Some(first)).then_some(first)
}

/// Pools that want more huge pages than are free when the pools before them have taken theirs.
pub(super) fn huge_pages(pools: &[PoolSpec], places: &Places, free: &HugePages) -> Vec<Problem> {
    let mut left = *free;
    let mut problems = Vec::new();
    for (i, pool) in pools.iter().enumerate() {
        let (page, left) = match pool.page {
            PageSize::Small => continue,
            PageSize::Huge2M => (2_usize << 20, &mut left.free_2m),
            PageSize::Huge1G => (1 << 30, &mut left.free_1g),
        };
        let wanted = buffer_bytes(pool.size, pool.data_room).div_ceil(page);
        match left.checked_sub(wanted) {
            Some(rest) => *left = rest,
            None => {
                let PoolSpec { name, page, .. } = pool;
                let message = format!("pool `{name}` needs {wanted} pages of {page}, but {left} are free");
                let problem = Problem::new(rules::HUGE_PAGES, places.pool(PoolIndex(i)).unwrap_or_default(), message)
                    .label("will lie on smaller pages")
                    .help("reserve them in /sys/kernel/mm/hugepages, or write \"mtype\": \"4KB\"");
                problems.push(problem);
            }
        }
    }
    problems
}
