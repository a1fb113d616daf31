//! The machine as libhwloc sees it.

use hwlocality::Topology;
use hwlocality::object::TopologyObject;
use hwlocality::object::attributes::ObjectAttributes;
use hwlocality::object::types::ObjectType;

use super::{Cache, Cpu, Machine, Node, TopologyError};

/// This machine; `allowed` are the CPUs the process may use.
pub(super) fn detect(allowed: &[usize]) -> Result<Machine, TopologyError> {
    let topology = Topology::new().map_err(|error| TopologyError(error.to_string()))?;
    Ok(read(&topology, |cpu| allowed.contains(&cpu)))
}

fn read(topology: &Topology, is_allowed: impl Fn(usize) -> bool) -> Machine {
    let cpu = |pu: &TopologyObject| {
        let id = pu.os_index()?;
        // Logical numbers: the kernel's core numbers repeat from package to package.
        let of = |kind| pu.first_ancestor_with_type(kind).map(TopologyObject::logical_index);
        let node = pu.nodeset().and_then(|nodes| nodes.first_set()).map_or(0, usize::from);
        let (core, package) = (of(ObjectType::Core).unwrap_or(id), of(ObjectType::Package).unwrap_or(0));
        Some(Cpu { id, core, package, node, allowed: is_allowed(id) })
    };
    let mut cpus: Vec<_> = topology.objects_with_type(ObjectType::PU).filter_map(cpu).collect();
    cpus.sort_by_key(|cpu| cpu.id);
    let node = |node: &TopologyObject| Some(Node { id: node.os_index()?, memory: node.total_memory() });
    let nodes = topology.objects_with_type(ObjectType::NUMANode).filter_map(node).collect();
    let kinds = [ObjectType::L1Cache, ObjectType::L2Cache, ObjectType::L3Cache, ObjectType::L4Cache];
    let caches = kinds.into_iter().zip(1..).flat_map(|(kind, level)| {
        topology.objects_with_type(kind).map(move |object| Cache { level, bytes: size(object), cpus: cpus_of(object) })
    });
    Machine { cpus, nodes, caches: caches.collect() }
}

fn size(cache: &TopologyObject) -> u64 {
    match cache.attributes() {
        Some(ObjectAttributes::Cache(attributes)) => attributes.size().map_or(0, u64::from),
        _ => 0,
    }
}

fn cpus_of(object: &TopologyObject) -> Vec<usize> {
    object.cpuset().map(|set| set.iter_set().map(usize::from).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::choose_cpus;

    fn synthetic(description: &str) -> Machine {
        let topology = Topology::builder().from_synthetic(description).unwrap().build().unwrap();
        read(&topology, |_| true)
    }

    #[test]
    fn cores_hyperthreads_nodes_and_caches_are_read() {
        let machine = synthetic("NUMANode:2(memory=1GB) Package:1 L3Cache:1(size=8MB) Core:4 PU:2");
        assert_eq!((machine.cpus.len(), machine.nodes.len()), (16, 2));
        let siblings: Vec<_> = machine.cpus.iter().filter(|cpu| cpu.core == 5).map(|cpu| (cpu.id, cpu.node)).collect();
        assert_eq!(siblings, [(10, 1), (11, 1)]);
        let shared = &machine.caches[1];
        assert_eq!((shared.level, shared.cpus.as_slice()), (3, &(8..16).collect::<Vec<_>>()[..]));
        assert!(shared.bytes > 1 << 20 && machine.nodes[0].memory > 1 << 20);
    }

    #[test]
    fn auto_placement_works_on_a_synthetic_machine() {
        let machine = synthetic("NUMANode:2 Package:1 Core:4 PU:2");
        let cpus = choose_cpus(&machine, &[0, 1], 4);
        assert_eq!(cpus, [8, 10, 12, 14], "node 1 has four free cores, node 0 only three");
    }
}
