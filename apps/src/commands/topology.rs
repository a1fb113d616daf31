//! `lport topology`: the machine's CPUs, cores, NUMA nodes and caches.

use pmd_core::lcore::cpu_list;
use pmd_core::topology::{Cpu, Machine};
use serde_json::json;

use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{Align, Table, print, print_json};

/// Runs the command.
///
/// # Errors
/// When the machine cannot be read.
pub(crate) fn topology(format: Format) -> Result<(), Failure> {
    let machine = Machine::detect().map_err(|error| Failure::Running(error.to_string()))?;
    if format.json { print_json(&as_json(&machine)) } else { print(&for_people(&machine)) }
}

fn as_json(machine: &Machine) -> serde_json::Value {
    let cpu = |&Cpu { id, core, package, node, allowed }: &Cpu| json!({ "cpu": id, "core": core, "package": package, "node": node, "allowed": allowed });
    json!({
        "cpus": machine.cpus.iter().map(cpu).collect::<Vec<_>>(),
        "nodes": machine.nodes.iter().map(|n| json!({ "node": n.id, "memory": n.memory })).collect::<Vec<_>>(),
        "caches": machine.caches.iter().map(|c| json!({ "level": c.level, "bytes": c.bytes, "cpus": c.cpus })).collect::<Vec<_>>(),
    })
}

fn for_people(machine: &Machine) -> String {
    use Align::{Left, Right};
    let mut cpus = Table::new(&[("cpu", Right), ("core", Right), ("package", Right), ("node", Right), ("", Left)]);
    for cpu in &machine.cpus {
        let note = if cpu.allowed { String::new() } else { "not allowed".to_owned() };
        cpus.row([cpu.id, cpu.core, cpu.package, cpu.node].map(|n| n.to_string()).into_iter().chain([note]));
    }
    let mut parts = vec![cpus.to_string()];
    if !machine.nodes.is_empty() {
        let mut nodes = Table::new(&[("node", Right), ("memory", Right)]);
        for node in &machine.nodes {
            nodes.row([node.id.to_string(), bytes(node.memory)]);
        }
        parts.push(nodes.to_string());
    }
    if !machine.caches.is_empty() {
        let mut caches = Table::new(&[("cache", Left), ("size", Right), ("cpus", Left)]);
        for cache in &machine.caches {
            caches.row([format!("L{}", cache.level), bytes(cache.bytes), cpu_list(&cache.cpus)]);
        }
        parts.push(caches.to_string());
    }
    parts.join("\n\n")
}

/// A size as people read it, in the largest unit of which there is at least one.
fn bytes(n: u64) -> String {
    let (unit, scale) = match n {
        0 => return "?".into(),
        1..0x40_0000 => ("KiB", 1 << 10),
        0x40_0000..0x1_0000_0000 => ("MiB", 1 << 20),
        _ => ("GiB", 1 << 30),
    };
    format!("{:.1} {unit}", n as f64 / f64::from(scale))
}
