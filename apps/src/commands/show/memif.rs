//! memif interfaces for people: a paragraph each.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::tables::{table, word};
use crate::output::{Align, Table};

/// All of them.
pub(super) fn interfaces(items: &[Value]) -> String {
    if items.is_empty() {
        return "no memif interfaces".to_owned();
    }
    items.iter().map(interface).collect::<Vec<_>>().join("\n\n")
}

fn interface(memif: &Value) -> String {
    let of = |key: &str| word(&memif[key]);
    let title = format!("{}: {} with id {} on {}", of("interface"), of("role"), of("id"), of("socket"));
    let mut parts = vec![title, facts(memif).to_string()];
    let list = |key: &str| memif[key].as_array().map_or(&[][..], Vec::as_slice);
    if !list("regions").is_empty() {
        parts.push(regions(list("regions")).to_string());
    }
    if !list("rings").is_empty() {
        parts.push(rings(list("rings")).to_string());
    }
    parts.push(queues(list("queues")).to_string());
    let (first, rest) = parts.split_at(1);
    let indented = rest.iter().map(|part| part.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"));
    first.iter().cloned().chain(indented).collect::<Vec<_>>().join("\n")
}

fn facts(memif: &Value) -> Table {
    let mut table = Table::headless(&[Align::Left, Align::Left]);
    let mut fact = |name: &str, value: String| table.row([name.to_owned(), value]);
    let of = |path: &str| word(memif.pointer(path).unwrap_or(&Value::Null));
    fact("link", link(&memif["link"]));
    fact("peer", peer(&memif["peer"]));
    fact("ended by us", end(&memif["last_end"]["by_us"]));
    fact("ended by peer", end(&memif["last_end"]["by_peer"]));
    let counts = [("connects", "connects"), ("disconnects", "disconnects"), ("refusals", "refusals")];
    fact("counts", counts.map(|(key, name)| format!("{} {name}", of(&format!("/counts/{key}")))).join(", "));
    fact("mode", format!("{}, zero-copy {}, secret {}", of("/mode"), of("/zero_copy"), of("/secret")));
    table
}

fn link(link: &Value) -> String {
    let since = link["since"].as_u64().map(age);
    match (link["up"].as_bool(), since) {
        (Some(true), None) => "up".to_owned(),
        (Some(true), Some(age)) => format!("up for {age} s"),
        (_, Some(age)) => format!("down for {age} s: {}", word(&link["down_because"])),
        (_, None) => format!("down: {}", word(&link["down_because"])),
    }
}

fn peer(peer: &Value) -> String {
    if peer.is_null() {
        return word(peer);
    }
    let plain = |key: &str| peer[key].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
    let (interface, application) = (word(&peer["interface"]), word(&peer["application"]));
    format!("\"{interface}\" of \"{application}\", pid {}, uid {}, gid {}", plain("pid"), plain("uid"), plain("gid"))
}

fn end(end: &Value) -> String {
    match end["unix_time"].as_u64() {
        Some(at) => format!("{} s ago, {}", age(at), word(&end["reason"])),
        None => word(end),
    }
}

fn regions(items: &[Value]) -> Table {
    use Align::{Left, Right};
    table(
        items,
        &[("region", Right, "/index"), ("bytes", Right, "/size"), ("kind", Left, "/kind"), ("seals", Left, "/seals")],
    )
}

fn rings(items: &[Value]) -> Table {
    use Align::{Left, Right};
    let columns = [
        ("ring", Left, "/direction"),
        ("", Left, "/ring"),
        ("index", Right, "/index"),
        ("region", Right, "/region"),
        ("offset", Right, "/offset"),
        ("size", Right, "/size"),
        ("head", Right, "/head"),
        ("tail", Right, "/tail"),
        ("interrupts", Left, "/interrupts"),
        ("buffers", Right, "/buffer_size"),
    ];
    table(items, &columns)
}

/// Packets of every queue, and whatever else it has counted.
fn queues(items: &[Value]) -> Table {
    let mut table = Table::headless(&[Align::Left, Align::Left]);
    for queue in items {
        let counted =
            queue.as_object().into_iter().flatten().filter(|(name, n)| n.as_u64() != Some(0) && *name != "queue");
        let counted: Vec<_> = counted.map(|(name, n)| format!("{name} {}", word(n))).collect();
        let counted = if counted.is_empty() { "nothing yet".to_owned() } else { counted.join(", ") };
        table.row([format!("queue {}", word(&queue["queue"])), counted]);
    }
    table
}

/// Seconds from a moment of UNIX time until now.
fn age(at: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    now.saturating_sub(at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_interface_is_told_with_its_peer_and_both_last_words() {
        let memif = json!({
            "interface": "left", "role": "server", "id": 7, "socket": "/tmp/left.sock", "mode": "ethernet",
            "secret": true, "zero_copy": false,
            "link": { "up": true, "down_because": null, "since": 0 },
            "peer": { "application": "DPDK", "interface": "net_memif0", "pid": 12345, "uid": 0, "gid": 0 },
            "last_end": { "by_us": { "reason": "wrong secret", "unix_time": 0 }, "by_peer": null },
            "counts": { "connects": 2, "disconnects": 1, "refusals": 1 },
            "regions": [{ "index": 0, "size": 4096, "kind": "memfd", "seals": ["shrink", "grow"] }],
            "rings": [{ "direction": "rx", "ring": "s2m", "index": 0, "head": 9, "tail": 8, "interrupts": false }],
            "queues": [{ "queue": 0, "rx_packets": 1000, "tx_packets": 0 }],
        });
        let text = interfaces(&[memif]);
        for part in [
            "left: server with id 7 on /tmp/left.sock",
            "\"net_memif0\" of \"DPDK\", pid 12345, uid 0, gid 0",
            "  link           up for ",
            "s ago, wrong secret",
            "ended by peer  -",
            "2 connects, 1 disconnects, 1 refusals",
            "zero-copy no, secret yes",
            "shrink,grow",
            "rx    s2m",
            "queue 0  rx_packets 1 000",
        ] {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
        assert!(!text.contains("tx_packets"), "{text}");
        assert_eq!(interfaces(&[]), "no memif interfaces");
    }
}
