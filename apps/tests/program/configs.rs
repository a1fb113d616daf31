//! Every file in `configs/` does what its comments say.

use serde_json::{Value, json};

use crate::support::{Running, config, lport, total, write};
use nix::sys::signal::Signal;

/// The summary of a short run of a file that needs no peer.
fn short_run(name: &str) -> Value {
    lport(&["run", config(name).to_str().unwrap(), "--duration", "0.7", "--json"]).summary()
}

/// Every lport file of `configs/`, in the order of their names: what one records, a later one may play.
pub(crate) fn all() -> Vec<String> {
    let files = std::fs::read_dir(config("")).unwrap().map(|entry| entry.unwrap().path().display().to_string());
    let mut files: Vec<_> = files.filter(|file| file.ends_with(".jsonc")).collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    files
}

/// A file with its sockets in `directory`, so that runs do not meet.
pub(crate) fn moved_to(directory: &std::path::Path, name: &str) -> String {
    let text = std::fs::read_to_string(config(name)).unwrap();
    write(directory, name, &text.replace("/tmp/", &format!("{}/", directory.display())))
}

#[test]
fn every_file_is_good() {
    for file in all() {
        let finished = lport(&["check", &file]);
        assert_eq!(
            (finished.code, finished.stdout.trim_end().ends_with(": good")),
            (Some(0), true),
            "{}",
            finished.stdout
        );
    }
}

#[test]
fn null_drop_receives() {
    assert!(total(&short_run("null-drop.jsonc"), "ipackets") > 0);
}

#[test]
fn tx_only_sends_its_number_of_packets() {
    let summary = short_run("tx-only.jsonc");
    let sent = total(&summary, "opackets");
    assert!(sent > 0 && sent <= 50_000, "{summary}");
    assert_eq!(summary["lports"][0]["obytes"], 64 * sent);
}

#[test]
fn ring_loop_keeps_packets_going_round_between_two_threads() {
    let summary = short_run("ring-loop.jsonc");
    assert!(total(&summary, "ipackets") > 1000, "{summary}");
    assert_eq!(total(&summary, "oerrors"), 0, "128 packets cannot fill a ring or a lane");
    assert_eq!(summary["threads"].as_array().unwrap().len(), 2);
}

#[test]
fn l3fwd_forwards_every_packet_until_its_ttl_expires() {
    let mut running = Running::start(config("l3fwd.jsonc").to_str().unwrap());
    let expired = |now: &Value| {
        let lports = now["lports"].as_array().unwrap().iter();
        lports.map(|lport| lport["xstats"]["ttl_expired_dropped"].as_u64().unwrap()).sum::<u64>()
    };
    running.wait_for("the last hop", |now| expired(now) == 128);
    let summary = running.end_by(Signal::SIGINT).summary();
    assert_eq!([total(&summary, "ipackets"), total(&summary, "opackets")], [128 * 64, 128 * 64], "{summary}");
    assert_eq!(summary["lports"][1]["opackets"], 64 + 128 * 63, "by the longer prefix: {summary}");
}

#[test]
fn acl_lets_its_packets_through() {
    let mut running = Running::start(config("acl.jsonc").to_str().unwrap());
    running.wait_for("packets both ways", |now| total(now, "ipackets") > 10_000);
    let summary = running.end_by(Signal::SIGINT).summary();
    assert!(summary["lports"].as_array().unwrap().iter().all(|lport| lport["xstats"]["acl_denied_dropped"] == 0));
}

#[test]
fn null_ring_loses_nothing_uncounted() {
    let mut running = Running::start(config("null-ring.jsonc").to_str().unwrap());
    running.wait_for("packets at the end", |now| now["lports"][3]["opackets"].as_u64() > Some(10_000));
    let summary = running.end_by(Signal::SIGINT).summary();
    let count = |lport: usize, counter: &str| summary["lports"][lport][counter].as_u64().unwrap();
    assert_eq!(count(0, "ipackets"), count(1, "opackets") + count(1, "oerrors"), "{summary}");
    assert_eq!(count(2, "ipackets"), count(3, "opackets"), "{summary}");
}

#[test]
fn groups_makes_a_link_of_four_queues_dealt_over_two_threads() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(&moved_to(directory.path(), "groups.jsonc"));
    running.wait_for("packets on every queue", |now| {
        now["lports"].as_array().unwrap().iter().all(|lport| lport["ipackets"].as_u64() > Some(100))
    });
    let summary = running.end_by(Signal::SIGINT).summary();
    let names: Vec<_> = summary["lports"].as_array().unwrap().iter().map(|lport| lport["name"].clone()).collect();
    assert_eq!(names, ["west:0", "west:1", "west:2", "west:3", "east:0", "east:1", "east:2", "east:3"]);
    assert!(summary["threads"].as_array().unwrap().iter().all(|thread| thread["busy_percent"].as_f64() > Some(0.0)));
}

#[test]
fn memif_pair_is_a_link_without_a_peer() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(&moved_to(directory.path(), "memif-pair.jsonc"));
    running.wait_for("packets both ways", |now| {
        now["lports"].as_array().unwrap().iter().all(|lport| lport["ipackets"].as_u64() > Some(10_000))
    });
    let summary = running.end_by(Signal::SIGINT).summary();
    assert_eq!(summary["threads"][0]["lcores"].as_array().unwrap().len(), 1, "auto chose a CPU");
    assert!(!directory.path().join("lport-pair.sock").exists());
}

#[test]
fn memif_multiqueue_forwards_each_queue_to_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let socket = |name: &str| directory.path().join(name).display().to_string();
    let peer = |role: &str, socket: String, options: Value| {
        let lport = |qid| {
            let options = json!({ "role": role, "socket": socket, "socket-abstract": false });
            json!({ "pmd": "net_memif", "pmd_opts": options, "qid": qid, "umem": "packets" })
        };
        json!({
            "umems": { "packets": { "bufcnt": 8, "bufsz": 2 } },
            "lports": { "p:0": lport(0), "p:1": lport(1) },
            "lcore-groups": { "default": [] },
            "threads": { "fwd:0": { "lports": ["p:0", "p:1"] } },
            "options": options,
        })
        .to_string()
    };
    let sink = peer("server", socket("lport-mq-out.sock"), json!({ "mode": "drop" }));
    let source = peer("client", socket("lport-mq-in.sock"), json!({ "mode": "tx-only", "tx-count": 500 }));
    let all_up = |now: &Value| now["lports"].as_array().unwrap().iter().all(|lport| lport["link"] == "up");

    let mut sink = Running::start(&write(directory.path(), "sink.jsonc", &sink));
    let mut forwarder = Running::start(&moved_to(directory.path(), "memif-multiqueue.jsonc"));
    sink.wait_for("the forwarder", all_up);
    let source = Running::start(&write(directory.path(), "source.jsonc", &source));
    sink.wait_for("all packets", |now| total(now, "ipackets") == 1000);
    forwarder.wait_for("all links", all_up);
    let sunk = sink.end_by(Signal::SIGINT).summary();
    assert_eq!([&sunk["lports"][0]["ipackets"], &sunk["lports"][1]["ipackets"]], [500, 500]);
    assert_eq!(total(&source.end_by(Signal::SIGINT).summary(), "opackets"), 1000);
    assert_eq!(total(&forwarder.end_by(Signal::SIGINT).summary(), "oerrors"), 0);
}
