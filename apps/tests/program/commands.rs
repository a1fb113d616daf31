//! The commands that run nothing, and `demo`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pmd_core::lcore::allowed_cpus;
use serde_json::Value;

use crate::support::{command, config, lport, lport_with_input};

#[test]
fn drivers_are_listed_with_every_option() {
    let drivers = lport(&["drivers", "--json"]).json();
    let named = |list: &Value, name: &str| -> Value {
        list.as_array().unwrap().iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let role = named(&named(&drivers, "net_memif")["options"], "role");
    assert_eq!(role["kind"], "choice");
    let size = named(&named(&drivers, "net_null")["options"], "size");
    assert_eq!((&size["min"], &size["max"], &size["default"]), (&14.into(), &9216.into(), &"64".into()));
    let fault = named(&drivers, "fault");
    assert_eq!((&fault["kind"], &named(&fault["options"], "rx-drop")["max"]), (&"wrapper".into(), &1_000_000.into()));
    assert_eq!(
        (&named(&drivers, "net_null")["needs_umem"], &named(&drivers, "net_memif")["needs_umem"]),
        (&false.into(), &true.into())
    );
    let text = lport(&["drivers"]);
    for driver in ["net_null", "net_ring", "net_memif", "net_memif_socket", "net_pcap", "fault", "trace", "tap"] {
        assert!(text.stdout.lines().any(|line| line.starts_with(driver)), "{}", text.stdout);
    }
}

#[test]
fn drivers_can_be_asked_for_by_name() {
    let text = lport(&["drivers", "net_ring"]).stdout;
    assert!(text.starts_with("net_ring: ") && text.contains("65536") && !text.contains("net_null"), "{text}");
    let two = lport(&["drivers", "net_ring", "net_null", "--json"]).json();
    assert_eq!([&two[0]["name"], &two[1]["name"]], ["net_ring", "net_null"]);
    lport(&["drivers", "net_rung"]).assert_refused(3, &["net_rung", "did you mean `net_ring`?", "net_memif_socket"]);
}

#[test]
fn the_topology_has_the_cpus_of_this_machine() {
    let topology = lport(&["topology", "--json"]).json();
    let allowed = topology["cpus"].as_array().unwrap().iter().filter(|cpu| cpu["allowed"] == true).count();
    assert_eq!(allowed, allowed_cpus().len());
    assert!(lport(&["topology"]).stdout.contains("core"));
}

#[test]
fn check_finds_everything_in_every_file() {
    let good = config("null-drop.jsonc");
    let bad = r#"{ "lports": { "a": { "pmd": "net_nil" } }, "options": { "mode": "walk" } }"#;
    let finished = lport_with_input(&["check", good.to_str().unwrap(), "-"], bad);
    finished.assert_refused(3, &["errors in <stdin>"]);
    for word in ["null-drop.jsonc: good", "<stdin>:1:", "net_nil", "E0501"] {
        assert!(finished.stdout.contains(word), "no {word:?} in:\n{}", finished.stdout);
    }
    let finished = lport_with_input(&["check", "--json", good.to_str().unwrap(), "-"], bad);
    assert_eq!(finished.code, Some(3));
    let reports: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(reports[0]["errors"], 0);
    assert!(reports[1]["diagnostics"].as_array().unwrap().iter().any(|problem| problem["code"] == "E0501"));
}

#[test]
fn every_code_is_explained_and_an_unknown_one_refused() {
    for code in ["E0501", "e0508", "W0502", "E0005"] {
        let finished = lport(&["explain", code]);
        assert!(finished.code == Some(0) && finished.stdout.len() > 40, "{code}: {}", finished.stderr);
    }
    lport(&["explain", "E9999"]).assert_refused(3, &["E9999"]);
}

/// Packets in a row of the demo's summary.
fn demo_count(stdout: &str, row: &str) -> u64 {
    let line = stdout.lines().find(|line| line.starts_with(row)).expect("a row of the summary");
    let digits = line[row.len()..].trim_start().split("  ").next().expect("a first column");
    digits.replace(' ', "").parse().expect("a number")
}

#[test]
fn the_demo_moves_packets_both_ways_between_two_processes() {
    let finished = lport(&["demo", "--duration", "3"]);
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
    let count = |row| demo_count(&finished.stdout, row);
    let (sent, returned) = (count("sent by the generator"), count("received by the generator"));
    assert!(returned > 0 && returned <= sent, "{}", finished.stdout);
    assert!(finished.stdout.contains("What to try next"));
}

#[test]
fn the_demo_ends_well_on_a_signal_from_the_keyboard() {
    let mut demo = command(&["demo", "--duration", "100"])
        // The keyboard's signal goes to a whole group.
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("asked for")).lines().map(|line| line.expect("UTF-8"));
    lines.find(|line| line.contains("Mpps")).expect("a line of rates");
    killpg(Pid::from_raw(demo.id() as i32), Signal::SIGINT).expect("it still runs");
    let rest: Vec<_> = lines.collect();
    assert_eq!(demo.wait().expect("it ends").code(), Some(0), "{rest:?}");
    assert!(demo_count(&rest.join("\n"), "sent by the generator") > 0);
}
