//! `lport bench`: what it prints is consistent, whatever the machine can do. No test asserts a speed.

use pmd_core::lcore::allowed_cpus;
use serde_json::Value;

use crate::support::lport;

/// The rows that `lport bench` with `arguments` prints.
#[track_caller]
fn rows(arguments: &[&str]) -> Vec<Value> {
    let all: Vec<_> = ["bench"].iter().chain(arguments).chain(&["--json"]).copied().collect();
    let results = lport(&all).json();
    let machine = &results["machine"];
    assert!(machine["cpus"].as_array().is_some_and(|cpus| !cpus.is_empty()), "{machine}");
    assert!(machine["kernel"].is_string() && machine["optimised"].is_boolean(), "{machine}");
    assert_eq!(results["setup"]["seed"], 1);
    results["results"].as_array().expect("rows").clone()
}

#[track_caller]
fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("no number `{key}` in {row}"))
}

fn has_two_cpus() -> bool {
    let two = allowed_cpus().len() >= 2;
    if !two {
        println!("left out: two processes need two CPUs, and there is one");
    }
    two
}

#[test]
fn rates_of_drivers_inside_one_process() {
    for driver in ["net_null", "net_ring", "net_ring:size=256"] {
        let rows = rows(&["--driver", driver, "--sizes", "64,1518,imix", "--seconds", "0.1"]);
        let sizes: Vec<_> = rows.iter().map(|row| row["size"].clone()).collect();
        assert_eq!(sizes, [Value::from(64), 1518.into(), "imix".into()]);
        for row in &rows {
            assert!(number(row, "mpps") > 0.0 && row["driver"] == driver, "{row}");
        }
    }
}

#[test]
fn without_arguments_it_measures_memif_in_one_process_and_between_two() {
    let finished = lport(&["bench", "--quick"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let works = ["loopback", "server-to-client", "client-to-server"];
    for work in &works[..if has_two_cpus() { 3 } else { 1 }] {
        let found = finished.stdout.lines().filter(|line| line.starts_with(work)).count();
        assert_eq!(found, 3, "{}", finished.stdout);
    }
    assert!(finished.stderr.is_empty(), "progress is for terminals only: {}", finished.stderr);
}

#[test]
fn every_packet_that_was_sent_was_received_or_lost() {
    if !has_two_cpus() {
        return;
    }
    let works = "loopback,server-to-client,client-to-server,round-trip,chain";
    for ends in
        [["net_memif", "net_memif"], ["net_memif:zero-copy=yes", "net_memif"], ["net_memif", "net_memif:zero-copy=yes"]]
    {
        let arguments = ["rate", "--work", works, "--sizes", "64,9000", "--duration", "0.05"];
        let rows = rows(&[&arguments[..], &["--driver", ends[0], "--peer", ends[1], "--queues", "2"]].concat());
        assert_eq!(rows.len(), 10);
        for row in &rows {
            assert!(number(row, "received") > 0.0, "{row}");
            assert_eq!(number(row, "sent"), number(row, "received") + number(row, "lost"), "{row}");
        }
    }
}

#[test]
fn a_search_answers_both_goals_in_order() {
    for arguments in [&["--driver", "net_ring"][..], &["--work", "loopback", "--sizes", "imix", "--rings", "8"]] {
        let rows = rows(&[&["search", "--quick", "--duration", "0.02"], arguments].concat());
        let row = &rows[0];
        assert!(number(row, "mrr_mpps") > 0.0 && number(row, "trials") > 0.0, "{row}");
        let goals = row["goals"].as_array().expect("goals");
        assert_eq!([&goals[0]["name"], &goals[1]["name"]], ["NDR", "PDR"]);
        for goal in goals {
            if let (Some(lower), Some(upper)) = (goal["lower"].as_u64(), goal["upper"].as_u64()) {
                assert!(lower < upper && number(goal, "throughput") <= lower as f64, "{goal}");
            }
        }
    }
}

#[test]
fn latencies_count_every_packet_and_are_in_order() {
    if !has_two_cpus() {
        return;
    }
    let rows = rows(&["latency", "--work", "round-trip,chain", "--pdr", "20000", "--duration", "0.2"]);
    assert_eq!(
        rows.iter().map(|row| number(row, "load_percent")).collect::<Vec<_>>(),
        [0., 10., 50., 90., 0., 10., 50., 90.]
    );
    for row in &rows {
        assert_eq!(number(row, "intended"), number(row, "received") + number(row, "lost"), "{row}");
        // At this rate every packet is recorded that came back before the trial was over.
        assert!(number(row, "samples") > 0.0 && number(row, "samples") <= number(row, "received"), "{row}");
        let percentiles = ["p50_us", "p99_us", "p999_us", "max_us"].map(|key| number(row, key));
        assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{row}");
    }
}

#[test]
fn only_the_loads_that_were_asked_for_are_measured_and_no_load_needs_no_search() {
    let rows = rows(&["latency", "--driver", "net_ring", "--loads", "0", "--duration", "0.05"]);
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["load_percent"], number(&rows[0], "offered_mpps")), (&0.into(), 0.01));
}

#[test]
fn curves_have_all_their_points() {
    let curves = ["lports", "idle-lports", "queues", "bursts", "rings", "pools", "hand-over"];
    let rows = rows(&[&["scale", "--driver", "net_ring", "--duration", "0.01"][..], &curves].concat());
    let points = |curve: &str| -> Vec<u64> {
        let of_curve = rows.iter().filter(|row| row["curve"] == curve);
        of_curve.map(|row| row["x"].as_u64().expect("a number")).collect()
    };
    assert_eq!(points("lports"), [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!(points("idle-lports"), [0, 3, 7, 15, 31, 63]);
    assert_eq!(points("queues"), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(points("bursts"), [1, 4, 8, 32, 256]);
    assert_eq!(points("rings"), [6, 7, 8, 9, 10, 11, 12, 13, 14]);
    assert_eq!(points("pools"), [8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(points("hand-over").is_empty(), !has_two_cpus());
    for row in &rows {
        assert!(number(row, "ns_per_packet") > 0.0, "{row}");
        let polls_are_idle = row["curve"] == "lports" || row["curve"] == "queues";
        assert_eq!(row["ns_per_idle_poll"].is_f64(), polls_are_idle, "{row}");
    }
}

#[test]
fn many_memif_lports_on_one_thread_are_all_busy() {
    let rows = rows(&["scale", "lports", "--duration", "0.01", "--rings", "6"]);
    assert_eq!(rows.iter().map(|row| number(row, "x")).collect::<Vec<_>>(), [2., 4., 8., 16., 32., 64.]);
}

#[test]
fn idle_mode_is_compared_with_polling_and_with_a_bare_wake_up() {
    if !has_two_cpus() {
        return;
    }
    let rows = rows(&["idle", "--idle-timeout", "1", "--duration", "0.1"]);
    assert_eq!(
        rows.iter().map(|row| row["mode"].as_str().expect("a mode")).collect::<Vec<_>>(),
        ["polling", "idle", "bare wake-up"]
    );
    for row in &rows {
        assert!(number(row, "samples") > 0.0 && number(row, "p50_us") <= number(row, "max_us"), "{row}");
    }
    assert!(rows[..2].iter().all(|row| number(row, "mpps") > 0.0 && number(row, "cpu_percent") >= 0.0));
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_way_out() {
    let cpu = allowed_cpus()[0].to_string();
    for (arguments, code, words) in [
        (&["--driver", "net_ring", "--work", "server-to-client"][..], 3, &["joined by net_memif only", "--peer"][..]),
        (&["--work", "client-to-server", "--cores", &cpu], 3, &["2 different CPUs", &cpu]),
        (&["search", "--driver", "net_null"], 3, &["net_null", "lport bench rate"]),
        (&["latency", "--work", "server-to-client"], 3, &["server-to-client", "round-trip or chain"]),
        (&["--sizes", "59"], 2, &["`59`", "60 to 9216", "imix"]),
        (&["--driver", "net_nil"], 3, &["`net_nil`", "net_memif"]),
        (&["--driver", "net_memif:rsize=15"], 3, &["\"15\"", "1 to 14"]),
        (&["--driver", "net_memif:role=server"], 2, &["chosen by the bench"]),
        (&["search", "--loss", "100"], 2, &["`100`", "below 100"]),
        (&["scale", "--rings", "15"], 2, &["15", "1..=14"]),
        (&["--queues", "9"], 2, &["9", "1..=8"]),
        (&["latency", "--loads", "101"], 2, &["101", "0..=100"]),
        (
            &["latency", "--attach", "net_memif:role=server,socket=nobody-comes", "--wait", "0.1"],
            5,
            &["a:0 did not come up"],
        ),
        (&["latency", "--wait", "0"], 2, &["`0`", "seconds above 0"]),
        (&["latency", "--attach", "net_nil"], 3, &["`net_nil`", "net_memif"]),
        (&["search", "--attach", "net_memif:rsize=15"], 3, &["\"15\"", "1 to 14"]),
        (&["search", "--attach", "net_memif:role"], 2, &["`role` is no option", "key=value"]),
        (&["latency", "--attach", "net_ring", "--work", "chain"], 2, &["--attach", "--work"]),
        (
            &["latency", "--attach", "net_ring", "--attach", "net_ring", "--attach", "net_ring"],
            3,
            &["3 times", "--attach"],
        ),
    ] {
        lport(&[&["bench"], arguments].concat()).assert_refused(code, words);
    }
}
