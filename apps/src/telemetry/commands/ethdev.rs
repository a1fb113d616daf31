//! `/ethdev/...`: each open lport is a port with one queue pair, as DPDK's applications answer for theirs.

use pmd_core::{Link, LportId, LportInfo, LportStats};
use serde_json::{Map, Value, json};

use super::{Command, Running};
use crate::summary::Counters;
use crate::telemetry::request::Answer;

/// Bytes of an Ethernet header, which DPDK's MTU does not count.
const ETHERNET_HEADER: u32 = 14;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "/ethdev/list",
        help: "Returns list of available ethdev ports. Takes no parameters",
        answer: |running, _| list(running),
    },
    Command {
        name: "/ethdev/stats",
        help: "Returns the common stats for a port. Parameters: int port_id",
        answer: |running, port| of_port(running, port, stats),
    },
    Command {
        name: "/ethdev/xstats",
        help: "Returns the extended stats for a port. Parameters: int port_id",
        answer: |running, port| of_port(running, port, xstats),
    },
    Command {
        name: "/ethdev/link_status",
        help: "Returns the link status for a port. Parameters: int port_id",
        answer: |running, port| of_port(running, port, link_status),
    },
    Command {
        name: "/ethdev/info",
        help: "Returns the device info for a port. Parameters: int port_id",
        answer: |running, port| of_port(running, port, info),
    },
];

fn list(running: &Running<'_>) -> Answer {
    let ids = running.deployment.lports().into_iter().map(|(_, queue)| queue.lport);
    Answer::Value(ids.filter(|id| running.runtime.control(*id).is_some()).map(|id| id.0).collect())
}

fn of_port(running: &Running<'_>, port: Option<&str>, of: fn(&Running<'_>, LportId) -> Option<Value>) -> Answer {
    running.port(port).and_then(|id| of(running, id)).map_or(Answer::Null, Answer::Value)
}

fn counted(running: &Running<'_>, id: LportId) -> Option<LportStats> {
    running.lports().into_iter().find(|lport| lport.id == id).map(|lport| lport.stats)
}

fn stats(running: &Running<'_>, id: LportId) -> Option<Value> {
    serde_json::to_value(Counters::from(&counted(running, id)?)).ok()
}

/// DPDK's names first, then those of our own counters.
fn xstats(running: &Running<'_>, id: LportId) -> Option<Value> {
    let stats = counted(running, id)?;
    let common = [
        ("rx_good_packets", stats.ipackets),
        ("tx_good_packets", stats.opackets),
        ("rx_good_bytes", stats.ibytes),
        ("tx_good_bytes", stats.obytes),
        ("rx_missed_errors", stats.imissed),
        ("rx_errors", stats.ierrors),
        ("tx_errors", stats.oerrors),
        ("rx_mbuf_allocation_errors", stats.rx_nombuf),
        ("rx_q0_packets", stats.ipackets),
        ("rx_q0_bytes", stats.ibytes),
        ("rx_q0_errors", stats.ierrors),
        ("tx_q0_packets", stats.opackets),
        ("tx_q0_bytes", stats.obytes),
    ];
    let all = common.into_iter().chain(stats.xstats);
    Some(Value::Object(all.map(|(name, n)| (name.to_owned(), json!(n))).collect::<Map<_, _>>()))
}

fn link_status(running: &Running<'_>, id: LportId) -> Option<Value> {
    let control = running.runtime.control(id)?;
    Some(match control.link() {
        Link::Up => json!({ "status": "UP", "speed": control.info().speed_mbps, "duplex": "full-duplex" }),
        Link::Down(_) => json!({ "status": "DOWN" }),
    })
}

fn info(running: &Running<'_>, id: LportId) -> Option<Value> {
    let LportInfo { mac, max_packet, .. } = running.runtime.control(id)?.info();
    let (_, queue) = running.deployment.lports().into_iter().find(|(_, queue)| queue.lport == id)?;
    let pool = queue.pool.and_then(|pool| running.deployment.pools.get(pool.0));
    let mbuf = pool.map_or(0, |pool| pool.data_room + pmd_core::pool::HEADROOM);
    let scatters = pool.is_some_and(|pool| pool.data_room < max_packet as usize);
    Some(json!({
        "name": queue.name,
        "state": 1,
        "nb_rx_queues": 1,
        "nb_tx_queues": 1,
        "port_id": id.0,
        "mtu": max_packet.saturating_sub(ETHERNET_HEADER),
        "rx_mbuf_size_min": mbuf,
        "mac_addr": mac_address(mac.unwrap_or_default()),
        "promiscuous": 1,
        "scattered_rx": u8::from(scatters),
        "all_multicast": 0,
        "dev_started": 1,
        "lro": 0,
        "dev_configured": 1,
        "rxq_state": [1],
        "txq_state": [1],
        "numa_node": -1,
        "dev_flags": 0,
        "rx_offloads": 0,
        "tx_offloads": 0,
        "ethdev_rss_hf": 0,
    }))
}

/// As DPDK writes it, in capitals.
pub(super) fn mac_address(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02X}")).join(":")
}
