//! Wrappers from the file: what they do to a run, and what is said of them.

use std::path::Path;

use nix::sys::signal::Signal;
use pmd_pcap::{Capture, Direction};
use serde_json::{Value, json};

use crate::capture_files::until_idle;
use crate::configs::moved_to;
use crate::support::{Running, lport, lport_with_input, total, write};

/// A file that plays the recording that `pcap-record.jsonc` makes ten times, through these wrappers, into another recording.
fn through(directory: &Path, wrap: &Value, wrap_out: &Value) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    let file = json!({
        "lports": {
            "in": {
                "pmd": "net_pcap",
                "pmd_opts": { "rx_pcap": path("lport-recorded.pcapng"), "rx_passes": 10 },
                "wrap": wrap,
            },
            "out": { "pmd": "net_pcap", "pmd_opts": { "tx_pcap": path("out.pcapng") }, "wrap": wrap_out },
        },
        "lcore-groups": { "default": [] },
        "threads": { "fwd": { "lports": ["in", "out"], "idle_timeout": 10, "intr_timeout": 60000 } },
        "options": { "mode": "fwd", "port-map": { "in": "out" } },
    });
    write(directory, "through.jsonc", &file.to_string())
}

fn contents(path: &Path) -> Vec<Vec<u8>> {
    Capture::load(path, 1 << 30).unwrap().packets().map(|packet| packet.data.to_vec()).collect()
}

#[test]
fn faults_are_the_same_in_every_run_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    until_idle(&moved_to(directory.path(), "pcap-record.jsonc")).summary();
    let faults = json!([{ "fault": { "rx-drop": 100_000, "rx-duplicate": 50_000, "rx-corrupt": 20_000, "seed": 11 } }]);
    let file = through(directory.path(), &faults, &json!([]));
    let run = || {
        let summary = until_idle(&file).summary();
        (contents(&directory.path().join("out.pcapng")), summary["lports"][0].clone())
    };
    let (first, lport) = run();
    let count = |name: &str| lport["xstats"][name].as_u64().unwrap() as usize;
    assert!(
        [count("fault_rx_dropped"), count("fault_rx_duplicated"), count("fault_rx_corrupted")].iter().all(|n| *n > 50)
    );
    assert_eq!(first.len(), 10_000 - count("fault_rx_dropped") + count("fault_rx_duplicated"));
    assert_eq!(lport["ipackets"], first.len());
    assert!(run().0 == first, "another run, other packets");
}

#[test]
fn delayed_packets_are_not_slept_on() {
    let directory = tempfile::tempdir().unwrap();
    until_idle(&moved_to(directory.path(), "pcap-record.jsonc")).summary();
    // The thread would sleep for a minute after 10 ms without packets.
    for (rx, tx) in [
        (json!(["fault:rx-delay=1000,rx-delay-us=100000"]), json!([])),
        (json!([]), json!(["fault:tx-delay=1000,tx-delay-us=100000"])),
    ] {
        let file = through(directory.path(), &rx, &tx);
        let summary = lport(&["run", &file, "--until-idle", "1", "--json", "--no-telemetry"]).summary();
        let delayed = |lport: usize, name: &str| summary["lports"][lport]["xstats"][name].as_u64().unwrap_or(0);
        assert!(delayed(0, "fault_rx_delayed") + delayed(1, "fault_tx_delayed") > 0);
        assert_eq!((total(&summary, "ipackets"), total(&summary, "opackets")), (10_000, 10_000));
        assert_eq!(contents(&directory.path().join("out.pcapng")).len(), 10_000, "{rx} {tx}");
    }
}

#[test]
fn a_lossy_line_is_recorded_and_traced() {
    let directory = tempfile::tempdir().unwrap();
    let finished = until_idle(&moved_to(directory.path(), "lossy-line.jsonc"));
    let summary = finished.summary();
    let [left, right] = [&summary["lports"][0], &summary["lports"][1]];
    assert_eq!(left["xstats"]["fault_rx_dropped"], 64, "in the end everything is lost: {summary}");
    let capture = Capture::load(&directory.path().join("lport-tap.pcapng"), 1 << 30).unwrap();
    let went = |direction| capture.packets().filter(|packet| packet.direction == direction).count() as u64;
    assert_eq!(left["xstats"]["tap_rx_recorded"], went(Direction::Inbound));
    assert_eq!(left["opackets"], went(Direction::Outbound));
    assert_eq!(right["opackets"], went(Direction::Inbound), "the tap is between the ring and the faults");
    assert_eq!(left["ipackets"].as_u64().unwrap() + 64, went(Direction::Inbound));
    let lines: Vec<_> = finished.stderr.lines().filter(|line| line.contains("right rx #")).collect();
    assert_eq!(lines.len(), 10, "{}", finished.stderr);
    assert!(lines[0].contains("right rx #1: 64 bytes, 02:00:00:00:00:") && lines[0].contains("UDP 198.18.0.1:9 > "));
    let again = until_idle(&moved_to(directory.path(), "lossy-line.jsonc")).summary();
    assert_eq!(total(&again, "ipackets"), total(&summary, "ipackets"), "the same ones in every run");
}

#[test]
fn another_list_of_wrappers_is_a_changed_device() {
    let directory = tempfile::tempdir().unwrap();
    let file = |wrap: Value| {
        let file = json!({
            "lports": { "a": { "pmd": "net_null", "wrap": wrap }, "b": { "pmd": "net_null" } },
            "lcore-groups": { "default": [] },
            "threads": { "one": { "lports": ["a"] }, "two": { "lports": ["b"] } },
            "options": { "mode": "drop" },
        });
        write(directory.path(), "file.jsonc", &file.to_string())
    };
    let mut running = Running::start(&file(json!([])));
    running.wait_for("packets", |now| now["lports"][0]["ipackets"].as_u64() > Some(0));
    file(json!(["fault:rx-drop=1000000"]));
    running.signal(Signal::SIGHUP);
    running.wait_for("losses", |now| now["lports"][0]["xstats"]["fault_rx_dropped"].as_u64() > Some(1000));
    let summary = running.end_by(Signal::SIGINT).summary();
    let [a, b] = [&summary["lports"][0], &summary["lports"][1]];
    assert_eq!((&a["ipackets"], b["ipackets"].as_u64() > Some(0)), (&json!(0), true), "{summary}");
}

#[test]
fn what_is_wrong_with_a_wrapper_is_shown_at_its_place() {
    let refused = |wrap: Value, code: i32, words: &[&str]| {
        let file = json!({
            "lports": { "a": { "pmd": "net_null", "wrap": wrap } },
            "lcore-groups": { "default": [] },
            "threads": { "one": { "lports": ["a"] } },
            "options": { "mode": "drop" },
        });
        lport_with_input(&["run", "-"], &file.to_string()).assert_refused(code, words);
    };
    refused(json!(["fualt"]), 3, &["<stdin>:1:", "E0310", "`fualt`", "did you mean `fault`?"]);
    refused(json!(["tap"]), 3, &["E0308", "`tap` needs option `file`"]);
    refused(json!(["trace:rate=0"]), 3, &["E0303", "option `rate` is \"0\"", "from 1 to 1000000"]);
    refused(json!([{ "tap": { "file": "/no/such/x" } }]), 4, &["lport `a` of net_null", "wrapper `tap`", "/no/such/x"]);
    let described = lport(&["check", "--json", crate::support::config("lossy-line.jsonc").to_str().unwrap()]).json();
    let wrap = &described[0]["deployment"]["lports"][1]["wrap"];
    assert_eq!(*wrap, json!([{ "wrapper": "trace", "options": { "count": "10" } }]));
}
