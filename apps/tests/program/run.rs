//! `lport run`: its options, its summary, its exit codes.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Running, lport, lport_with_input, total, write};

/// A file with one null lport; `change` makes it another one.
fn file(change: impl FnOnce(&mut Value)) -> String {
    let mut file = json!({
        "umems": { "packets": { "bufcnt": 1, "bufsz": 2 } },
        "lports": { "null:0": { "pmd": "net_null", "umem": "packets" } },
        "lcore-groups": { "default": [] },
        "threads": { "fwd:0": { "lports": ["null:0"] } },
        "options": { "mode": "drop" },
    });
    change(&mut file);
    file.to_string()
}

#[test]
fn the_summary_is_one_object_with_exactly_the_promised_keys() {
    let finished = lport_with_input(&["run", "-", "--duration", "0.1", "--json"], &file(|_| ()));
    let summary = finished.summary();
    assert_eq!(finished.stdout.lines().count(), 1);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&summary), ["duration_s", "lports", "threads", "pools"]);
    let lport = [
        "name",
        "driver",
        "link",
        "ipackets",
        "opackets",
        "ibytes",
        "obytes",
        "imissed",
        "ierrors",
        "oerrors",
        "rx_nombuf",
        "xstats",
    ];
    assert_eq!(keys(&summary["lports"][0]), lport);
    assert_eq!(keys(&summary["threads"][0]), ["name", "lcores", "polls", "busy_percent"]);
    assert_eq!(keys(&summary["pools"][0]), ["name", "size", "available"]);
    assert_eq!(summary["lports"][0]["ibytes"], 64 * total(&summary, "ipackets"));
    assert!(summary["duration_s"].as_f64().unwrap() >= 0.1 && total(&summary, "ipackets") > 0);
}

#[test]
fn people_get_tables_and_rates() {
    let finished = lport_with_input(&["run", "-", "--duration", "1.5", "--stats-period", "0.1"], &file(|_| ()));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.lines().filter(|line| line.contains("Gbit/s")).count() >= 2, "{}", finished.stdout);
    for word in ["rx packets", "null:0", "net_null", "busy", "packets  1 024      1 024"] {
        assert!(finished.stdout.contains(word), "no {word:?} in:\n{}", finished.stdout);
    }
}

#[test]
fn the_mode_of_the_command_line_wins() {
    let finished = lport_with_input(&["run", "-", "--duration", "0.1", "--json", "--mode", "lb"], &file(|_| ()));
    let summary = finished.summary();
    assert_eq!(total(&summary, "opackets"), total(&summary, "ipackets"));
    assert!(total(&summary, "opackets") > 0);
}

#[test]
fn signals_end_a_run_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "file.jsonc", &file(|_| ()));
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut running = Running::start(&path);
        running.wait_for("packets", |now| total(now, "ipackets") > 0);
        assert!(total(&running.end_by(signal).summary(), "ipackets") > 0);
    }
}

#[test]
fn a_second_signal_does_not_spoil_the_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "file.jsonc", &file(|_| ()));
    let mut running = Running::start(&path);
    running.wait_for("packets", |now| total(now, "ipackets") > 0);
    running.signal(Signal::SIGTERM);
    running.end_by(Signal::SIGINT).summary();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "file.jsonc", &file(|_| ()));
    let script = format!(
        "{} run {path} --stats-period 0.01 --duration 100 | head -n 1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_lport")
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout.lines().last(), Some("0"), "{stdout}{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    lport(&[]).assert_refused(2, &["Usage"]);
    lport(&["run"]).assert_refused(2, &["FILE"]);
    for help in [lport(&["--help"]), lport(&["run", "--help"])] {
        assert!(help.code == Some(0) && help.stdout.contains("\n  4  a configured lport could not"), "{}", help.stdout);
    }
    lport(&["run", "x", "--burst", "257"]).assert_refused(2, &["`257` is not a number from 1 to 256"]);
    lport(&["run", "x", "--duration", "-1"]).assert_refused(2, &["`-1` is not a number of seconds"]);
    lport(&["run", "x", "--mode", "Fwd"]).assert_refused(2, &["there is no mode `Fwd`", "tx-only-rx"]);
}

#[test]
fn a_wrong_file_is_exit_code_3_and_shown_at_its_place() {
    lport(&["run", "/no/such/file"]).assert_refused(3, &["/no/such/file"]);
    let refused = |change: fn(&mut Value), words: &[&str]| {
        lport_with_input(&["run", "-"], &file(change)).assert_refused(3, words);
    };
    refused(|file| file["options"]["mode"] = json!("fast"), &["<stdin>:1:", "E0501", "`fast`"]);
    refused(|file| file["options"]["mode"] = json!("fowd"), &["did you mean \"fwd\"?"]);
    refused(|file| file["options"]["mode"] = json!(7), &["E0401"]);
    refused(|file| file["options"]["tx-size"] = json!(59), &["59", "60 to 9216"]);
    refused(|file| file["options"]["tx-rate"] = json!(0), &["1 to 1000000000"]);
    refused(|file| file["options"]["port-map"] = json!({ "null:0": "null:1" }), &["E0503", "`null:1`", "null:0"]);
    refused(|file| file["lports"]["null:0"]["pmd"] = json!("net_nul"), &["net_nul", "net_null"]);
    refused(|file| file["lports"]["null:0"]["pmd"] = json!("net_null:size=9"), &["size", "14 to 9216"]);
    refused(|file| file["threads"] = json!({}), &["W0201", "no thread of <stdin> polls an lport"]);
    refused(|file| file["lcore-groups"]["default"] = json!([1023]), &["thread `fwd:0`", "CPU 1023 does not exist"]);
}

#[test]
fn warnings_are_shown_and_do_not_stop_a_run() {
    let text = file(|file| {
        file["options"] = json!({ "uds_path": "/x", "pkt_api": "pktdev", "colour": 1 });
        file["lports"]["left:0"] = json!({ "pmd": "net_null", "umem": "packets" });
    });
    let finished = lport_with_input(&["run", "-", "--duration", "0.1", "--json"], &text);
    let summary = finished.summary();
    for word in ["W0501", "W0502", "`uds_path`", "W0401", "colour", "left:0"] {
        assert!(finished.stderr.contains(word), "no {word:?} in:\n{}", finished.stderr);
    }
    assert!(!finished.stderr.contains("`pkt_api`"), "{}", finished.stderr);
    assert_eq!(summary["lports"][1]["ipackets"], 0, "nobody polls it");
}

#[test]
fn an_lport_that_cannot_be_opened_is_exit_code_4_unless_partial() {
    let directory = tempfile::tempdir().unwrap();
    let text = file(|file| {
        let pmd = "net_memif:role=server,socket=/no/such/directory/sock,socket-abstract=no";
        file["lports"]["bad:0"] = json!({ "pmd": pmd, "umem": "packets" });
        file["threads"]["fwd:0"]["lports"] = json!(["null:0", "bad:0"]);
        file["options"] = json!({ "mode": "fwd", "port-map": { "null:0": "bad:0" } });
    });
    let path = write(directory.path(), "file.jsonc", &text);
    lport(&["run", &path]).assert_refused(4, &["bad", "/no/such/directory/sock"]);
    let partial = lport(&["run", &path, "--allow-partial", "--duration", "0.1", "--json"]);
    let summary = partial.summary();
    assert!(partial.stderr.contains("/no/such/directory/sock"), "{}", partial.stderr);
    let bad = &summary["lports"][1];
    assert!(bad["link"].as_str().unwrap().starts_with("down: could not be opened"), "{bad}");
    assert!(bad["xstats"]["unowned_dropped"].as_u64().unwrap() > 0, "what is sent to it is counted: {bad}");
}
