//! Capture file -> `lport run` -> capture file: what the modes do to packets, byte for byte.

use std::path::Path;

use pmd_pcap::Capture;
use serde_json::{Value, json};

use crate::configs::moved_to;
use crate::support::{Finished, lport, total, write};

/// An Ethernet/IPv4/UDP packet of `size` bytes to `destination`, with `ttl` hops left and a correct header checksum.
fn udp(destination: [u8; 4], ttl: u8, size: usize, mark: u8) -> Vec<u8> {
    let mut frame = vec![mark; size];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 9, 9, 2, 0, 0, 0, 8, 8, 8, 0]);
    frame[14..34].copy_from_slice(&[0x45, 0, 0, 0, 0, mark, 0x40, 0, ttl, 17, 0, 0, 198, 18, 0, 1, 0, 0, 0, 0]);
    frame[16..18].copy_from_slice(&(size as u16 - 14).to_be_bytes());
    frame[30..34].copy_from_slice(&destination);
    set_checksum(&mut frame);
    frame[34..38].copy_from_slice(&[0, 9, 0, 9]);
    frame[38..40].copy_from_slice(&(size as u16 - 34).to_be_bytes());
    frame
}

fn set_checksum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum: u32 = frame[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let checksum = !((folded & 0xFFFF) + (folded >> 16)) as u16;
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
}

/// A capture file of `packets`, a microsecond apart.
fn capture(directory: &Path, packets: &[Vec<u8>]) {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xA1B2_C3D4, 0x0004_0002, 0, 0, 65535, 1]);
    for (packet, time) in packets.iter().zip(0..) {
        let length = packet.len() as u32;
        file.extend(words(&[0, time, length, length]));
        file.extend(packet);
    }
    std::fs::write(directory.join("in.pcap"), file).unwrap();
}

/// Packets of a recording.
fn recorded(directory: &Path, name: &str) -> Vec<Vec<u8>> {
    let capture = Capture::load(&directory.join(name), 1 << 30).unwrap();
    assert_eq!(capture.cut(), None);
    capture.packets().map(|packet| packet.data.to_vec()).collect()
}

/// Plays `packets` into a forwarder with these `options`, until nothing moves any more: lport `in`, and two that record.
fn run(directory: &Path, threads: &Value, options: &Value, packets: &[Vec<u8>]) -> Value {
    capture(directory, packets);
    let path = |name: &str| directory.join(name).display().to_string();
    let record = |name: &str| json!({ "pmd": "net_pcap", "pmd_opts": { "tx_pcap": path(name) }, "umem": "packets" });
    let file = json!({
        "umems": { "packets": { "bufcnt": 1, "bufsz": 2 } },
        "lports": {
            "in": { "pmd": "net_pcap", "pmd_opts": { "rx_pcap": path("in.pcap") }, "umem": "packets" },
            "a": record("a.pcapng"),
            "b": record("b.pcapng"),
        },
        "lcore-groups": { "default": [] },
        "threads": threads,
        "options": options,
    });
    let file = write(directory, "file.jsonc", &file.to_string());
    until_idle(&file).summary()
}

pub(crate) fn until_idle(file: &str) -> Finished {
    lport(&["run", file, "--until-idle", "0.3", "--json", "--no-telemetry"])
}

fn one_thread() -> Value {
    json!({ "fwd": { "lports": ["in", "a", "b"] } })
}

#[test]
fn fwd_passes_every_packet_unchanged_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let packets: Vec<_> = (0..3000).map(|i| udp([198, 18, 0, 2], 64, 60 + i * 37 % 9000, i as u8)).collect();
    let options = json!({ "mode": "fwd", "port-map": { "in": "a" } });
    let summary = run(directory.path(), &one_thread(), &options, &packets);
    assert_eq!(recorded(directory.path(), "a.pcapng"), packets);
    assert_eq!(recorded(directory.path(), "b.pcapng"), Vec::<Vec<u8>>::new());
    assert_eq!([total(&summary, "ipackets"), total(&summary, "opackets"), total(&summary, "oerrors")], [3000, 3000, 0]);
    assert_eq!(summary["lports"][0]["xstats"]["rx_end_of_file"], 1);
}

#[test]
fn fwd_passes_packets_from_thread_to_thread() {
    let directory = tempfile::tempdir().unwrap();
    // As many as the lane between the threads holds: none has to be dropped.
    let packets: Vec<_> = (0..1000).map(|i| udp([198, 18, 0, 2], 64, 60 + i % 100, i as u8)).collect();
    let threads = json!({ "fwd:0": { "lports": ["in"] }, "fwd:1": { "lports": ["a", "b"], "idle_timeout": 1 } });
    let options = json!({ "mode": "fwd", "port-map": { "in": "b" } });
    run(directory.path(), &threads, &options, &packets);
    assert_eq!(recorded(directory.path(), "b.pcapng"), packets);
}

#[test]
fn l3fwd_routes_by_the_longest_prefix_and_takes_a_hop() {
    let directory = tempfile::tempdir().unwrap();
    let packets = [
        udp([198, 18, 0, 7], 64, 60, 1),
        udp([198, 19, 0, 7], 2, 1500, 2),
        udp([198, 18, 0, 8], 1, 60, 3),
        udp([10, 0, 0, 1], 64, 60, 4),
        udp([198, 18, 0, 9], 255, 4000, 5),
    ];
    let rules = json!(["198.18.0.0/15,02:00:00:00:01:01,a", "198.18.0.0/24,02:00:00:00:02:02,b"]);
    let options = json!({ "mode": "l3fwd", "l3fwd-fib-rules": rules });
    let summary = run(directory.path(), &one_thread(), &options, &packets);
    // To the next hop, from the lport: they are numbers 1 and 2, and have no address of their own.
    let routed = |packet: &Vec<u8>, hop: [u8; 6], lport: u8| {
        let mut frame = packet.clone();
        frame[..6].copy_from_slice(&hop);
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, lport]);
        frame[22] -= 1;
        set_checksum(&mut frame);
        frame
    };
    let [first, second, _, _, fifth] = &packets;
    assert_eq!(recorded(directory.path(), "a.pcapng"), [routed(second, [2, 0, 0, 0, 1, 1], 1)]);
    let to_b = [first, fifth].map(|packet| routed(packet, [2, 0, 0, 0, 2, 2], 2));
    assert_eq!(recorded(directory.path(), "b.pcapng"), to_b);
    let xstats = &summary["lports"][0]["xstats"];
    assert_eq!([&xstats["ttl_expired_dropped"], &xstats["no_route_dropped"]], [1, 1]);
}

#[test]
fn acl_passes_what_a_rule_permits_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let packets: Vec<_> = (0..100).map(|i| udp([198, 18, i % 3, 2], 64, 60 + usize::from(i), i)).collect();
    let rules = json!([{ "action": "permit", "proto": "udp", "dst": "198.18.1.0/24", "dst-port": 9 }]);
    let options = json!({ "mode": "acl-strict", "acl-rules": rules, "port-map": { "in": "a" } });
    let summary = run(directory.path(), &one_thread(), &options, &packets);
    let permitted: Vec<_> = packets.iter().filter(|packet| packet[32] == 1).cloned().collect();
    assert_eq!(recorded(directory.path(), "a.pcapng"), permitted);
    assert_eq!(summary["lports"][0]["xstats"]["acl_denied_dropped"], 100 - permitted.len());
}

#[test]
fn the_files_of_configs_record_and_replay() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["pcap-record.jsonc", "pcap-replay.jsonc"] {
        let summary = until_idle(&moved_to(directory.path(), name)).summary();
        assert_eq!(total(&summary, "opackets"), 1000, "{summary}");
    }
    let first = recorded(directory.path(), "lport-recorded.pcapng");
    assert_eq!((first.len(), first[0].len()), (1000, 100));
    assert_eq!(recorded(directory.path(), "lport-replayed.pcapng"), first);
}

#[test]
fn a_file_that_cannot_be_played_is_exit_code_4() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "in.pcap", "no capture");
    let text = json!({
        "lports": { "in": { "pmd": format!("net_pcap:rx_pcap={path}") } },
        "lcore-groups": { "default": [] },
        "threads": { "fwd": { "lports": ["in"] } },
        "options": { "mode": "drop" },
    });
    let file = write(directory.path(), "file.jsonc", &text.to_string());
    lport(&["run", &file]).assert_refused(4, &["lport `in` of net_pcap", &path, "it is no capture file"]);
    std::fs::remove_file(&path).unwrap();
    let checked = lport(&["check", "--machine", &file]);
    assert_eq!(checked.code, Some(3), "{}", checked.stdout);
    assert!(checked.stdout.contains(&format!("cannot play \"{path}\": No such file")), "{}", checked.stdout);
}
