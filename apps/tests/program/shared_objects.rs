//! Drivers from shared objects, as a user loads them: `-d`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{lport, lport_with_input, total};

/// Compiles a driver in C of this repository.
fn c_driver(directory: &Path, source: &str) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let object: PathBuf = directory.join("libpmd_x.so");
    let output = Command::new("cc")
        .args(["-std=c11", "-O2", "-fPIC", "-shared", "-I"])
        .args([&repository.join("pmd-plugin/include"), Path::new("-o"), &object, &repository.join(source)])
        .output()
        .expect("a C compiler: apt-get install gcc libc6-dev");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    object.display().to_string()
}

/// A file whose one lport is of the driver `pmd`.
fn file(pmd: &str, pmd_opts: &serde_json::Value, options: &serde_json::Value) -> String {
    json!({
        "umems": { "packets": { "bufcnt": 1, "bufsz": 2 } },
        "lports": { "x:0": { "pmd": pmd, "pmd_opts": pmd_opts, "umem": "packets" } },
        "lcore-groups": { "default": [] },
        "threads": { "fwd:0": { "lports": ["x:0"] } },
        "options": options,
    })
    .to_string()
}

#[test]
fn a_driver_in_c_runs_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let object = c_driver(directory.path(), "pmd-plugin/examples/loop.c");
    for (copy, checked) in [(false, "no"), (true, "yes")] {
        let text = file("net_loop_c", &json!({ "copy": copy }), &json!({ "mode": "loopback", "tx-first": 64 }));
        let check = format!("--check-drivers={checked}");
        let run = ["run", "-d", &object, &check, "-", "--duration", "0.2", "--json"];
        let summary = lport_with_input(&run, &text).summary();
        assert_eq!(
            (&summary["lports"][0]["driver"], &summary["lports"][0]["link"]),
            (&json!("net_loop_c"), &json!("up"))
        );
        assert!(total(&summary, "ipackets") > 64 && summary["lports"][0]["xstats"]["rx_waiting"].is_u64(), "{summary}");
    }
}

#[test]
fn a_loaded_driver_is_listed_checked_and_known_to_editors() {
    let directory = tempfile::tempdir().unwrap();
    let object = c_driver(directory.path(), "pmd-plugin/examples/loop.c");
    let drivers = lport(&["drivers", "-d", &object]);
    for word in
        ["net_loop_c: each lport receives what it sent", "a whole number from 1 to 65536", "packets the ring can hold"]
    {
        assert!(drivers.stdout.contains(word), "no {word:?} in:\n{}", drivers.stdout);
    }
    // A directory is all of its shared objects.
    let here = directory.path().display().to_string();
    let listed = lport(&["drivers", "--json", "--driver-path", &here]).json();
    assert!(listed.as_array().unwrap().iter().any(|driver| driver["name"] == "net_loop_c"), "{listed}");
    let schema = lport(&["schema", "-d", &object]);
    assert!(schema.code == Some(0) && schema.stdout.contains("net_loop_c"));

    let good = file("net_loop_c", &json!({ "size": 16 }), &json!({}));
    assert_eq!(lport_with_input(&["check", "-d", &object, "-"], &good).code, Some(0));
    assert_eq!(lport_with_input(&["check", "-"], &good).code, Some(3), "nobody knows the driver");
    let bad = file("net_loop_c", &json!({ "size": 0 }), &json!({}));
    let refused = lport_with_input(&["check", "-d", &object, "-"], &bad);
    assert!(refused.code == Some(3) && refused.stdout.contains("from 1 to 65536"), "{}", refused.stdout);
}

#[test]
fn bench_measures_a_loaded_driver() {
    let directory = tempfile::tempdir().unwrap();
    let object = c_driver(directory.path(), "pmd-plugin/examples/loop.c");
    let bench = ["bench", "-d", &object, "--driver", "net_loop_c", "--sizes", "64", "--seconds", "0.2", "--json"];
    let results = lport(&bench).json();
    let row = &results["results"][0];
    assert!(row["driver"] == "net_loop_c" && row["mpps"].as_f64().unwrap() > 0.0, "{results}");
    lport(&["bench", "--driver", "net_loop_c"]).assert_refused(3, &["no driver `net_loop_c`", "net_memif"]);
}

#[test]
fn what_cannot_be_loaded_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("libx.so").display().to_string();
    lport(&["drivers", "-d", &path]).assert_refused(3, &[&path, "No such file or directory"]);
    std::fs::write(&path, "not a driver").unwrap();
    lport(&["schema", "-d", &path]).assert_refused(3, &[&path, "not a shared object"]);
    lport(&["drivers", "--check-drivers=perhaps"]).assert_refused(2, &["perhaps"]);
}

#[test]
fn a_driver_that_breaks_the_rules_loses_its_link_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let object = c_driver(directory.path(), "pmd-dso/tests/drivers/bad.c");
    for (fault, said) in [("foreign", "no mbuf that it was ever given"), ("twice", "which it had given back already")] {
        let text = file("net_bad", &json!({ "fault": fault }), &json!({ "mode": "drop" }));
        let run = ["run", "-d", &object, "--check-drivers", "-", "--duration", "0.2", "--json"];
        let finished = lport_with_input(&run, &text);
        let link = finished.summary()["lports"][0]["link"].as_str().unwrap().to_owned();
        assert!(link.contains("driver `net_bad` of libpmd_x.so: rx_burst returned") && link.contains(said), "{link}");
        assert!(finished.stderr.contains("its device is down for good"), "{}", finished.stderr);
    }
    // Its own refusal is that of an lport that cannot be opened.
    let text = file("net_bad", &json!({ "fault": "mute" }), &json!({ "mode": "drop" }));
    let finished = lport_with_input(&["run", "-d", &object, "-", "--duration", "0.2"], &text);
    finished.assert_refused(4, &["x", "its driver gave no reason"]);
}
