//! `lport check`: this machine, denied warnings, and what `lport run` would run.

use std::path::Path;

use serde_json::{Value, json};

use crate::configs::{all, moved_to};
use crate::support::{lport, lport_with_input};

/// A file with one memif lport whose driver is `pmd`, in a group of these CPUs.
fn file(pmd: &str, cpus: &Value) -> String {
    let mut file = json!({
        "umems": { "packets": { "bufcnt": 1, "bufsz": 2 } },
        "lports": { "m:0": { "pmd": pmd, "umem": "packets" } },
        "threads": { "fwd:0": { "group": "cores", "lports": ["m:0"] } },
        "options": { "mode": "drop" },
    });
    file["lcore-groups"] = json!({ "cores": cpus });
    file.to_string()
}

/// Code and text under the caret of everything that `lport check --json --machine` says.
fn machine_problems(text: &str) -> Vec<(String, String)> {
    let finished = lport_with_input(&["check", "--json", "--machine", "-"], text);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    let found = report[0]["diagnostics"].as_array().unwrap().iter().map(|problem| {
        let at = |key: &str| problem["primary"][key].as_u64().unwrap() as usize;
        (problem["code"].as_str().unwrap().to_owned(), text[at("start")..at("end")].to_owned())
    });
    found.collect()
}

#[test]
fn this_machine_is_asked_only_when_wanted() {
    let text = file("net_null", &json!([4000]));
    assert_eq!(lport_with_input(&["check", "-"], &text).code, Some(0));
    let finished = lport_with_input(&["check", "--machine", "-"], &text);
    finished.assert_refused(3, &["errors in <stdin>"]);
    assert!(finished.stdout.contains("CPU 4000 does not exist on this machine"), "{}", finished.stdout);
    assert_eq!(machine_problems(&text), [("E0601".to_owned(), "4000".to_owned())]);
}

#[test]
fn directories_of_sockets_are_looked_at_from_the_role() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().display().to_string();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let problems = |role: &str, socket: &str| {
        let pmd = format!("net_memif:role={role},socket={socket},socket-abstract=no");
        machine_problems(&file(&pmd, &json!([])))
    };
    let at = |code: &str, socket: &str| vec![(code.to_owned(), socket.to_owned())];
    let (good, file, missing) = (format!("{there}/sock"), format!("{there}/file"), format!("{there}/no/sock"));
    assert_eq!((problems("server", &good), problems("client", &good)), (vec![], vec![]));
    assert_eq!(problems("server", &missing), at("E0602", &missing));
    assert_eq!(problems("client", &missing), at("W0605", &missing));
    assert_eq!(problems("server", &file), at("E0602", &file));
    assert_eq!(problems("server,mkdir=yes", &missing), []);
    assert!(!Path::new(&good).exists(), "nothing was made");
}

#[test]
fn what_follows_from_an_error_is_not_reported_too() {
    let text = file("net_null", &json!([])).replace("[\"m:0\"]", "[\"m:1\"]");
    let report: Value = serde_json::from_str(&lport_with_input(&["check", "--json", "-"], &text).stdout).unwrap();
    let codes: Vec<_> = report[0]["diagnostics"].as_array().unwrap().iter().map(|found| &found["code"]).collect();
    assert_eq!(codes, ["W0201", "E0204"], "but not that no thread polls anything");
}

#[test]
fn lports_for_other_programs_are_good_and_said() {
    let text = file("net_null", &json!([])).replace("[\"m:0\"]", "[]");
    let report = &lport_with_input(&["check", "--json", "-"], &text).json()[0];
    let codes: Vec<_> = report["diagnostics"].as_array().unwrap().iter().map(|found| &found["code"]).collect();
    assert_eq!(codes, ["W0201"]);
    assert_eq!(report["deployment"]["threads"], json!([]));
}

#[test]
fn two_servers_of_one_id_and_socket_are_found_before_they_are_opened() {
    let check = |one: &str, other: &str| {
        let lport = |pmd: &str| json!({ "pmd": pmd, "umem": "packets" });
        let file = json!({
            "umems": { "packets": { "bufcnt": 1, "bufsz": 2 } },
            "lports": { "a": lport(one), "b": lport(other) },
            "lcore-groups": { "default": [] },
            "threads": { "fwd:0": { "lports": ["a", "b"] } },
            "options": { "mode": "drop" },
        });
        lport_with_input(&["check", "-"], &file.to_string())
    };
    let server = "net_memif:role=server,socket=/run/x,socket-abstract=no";
    let client = server.replace("server", "client");
    let refused = check(server, &format!("{server},id=0"));
    assert!(refused.code == Some(3) && refused.stdout.contains("both memif id 0 on /run/x"), "{}", refused.stdout);
    assert!(check("net_memif_socket", "net_memif_socket:server").stdout.contains("E0309"));
    for other in [&format!("{server},id=1"), &server.replace("/run/x", "/run/y"), &client, "net_memif_socket"] {
        assert_eq!(check(server, other).code, Some(0), "{other}");
    }
    assert_eq!(check(&client, &client).code, Some(0));
}

#[test]
fn warnings_are_errors_when_they_are_denied() {
    let text = file("net_null", &json!([])).replace("\"drop\"", "\"drop\",\"colour\":1");
    assert_eq!(lport_with_input(&["check", "-"], &text).code, Some(0));
    lport_with_input(&["check", "--deny-warnings", "-"], &text).assert_refused(3, &["warnings", "<stdin>"]);
    let good = file("net_null", &json!([]));
    assert_eq!(lport_with_input(&["check", "--deny-warnings", "-"], &good).code, Some(0));
}

/// What the description of a file and the summary of its run have in common.
fn common(value: &Value) -> Value {
    let pick = |list: &str, keys: &[&str]| -> Value {
        let items = value[list].as_array().unwrap().iter();
        items.map(|item| keys.iter().map(|key| item[*key].clone()).collect::<Value>()).collect()
    };
    json!([pick("lports", &["name", "driver"]), pick("threads", &["name"]), pick("pools", &["name", "size"])])
}

#[test]
fn a_description_says_exactly_what_a_run_builds() {
    let directory = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for path in all() {
        let name = Path::new(&path).file_name().unwrap().to_str().unwrap();
        let path = moved_to(directory.path(), name);
        if name.starts_with("af-") || name.starts_with("tap-") {
            // It would take, or make, interfaces of this machine. The whole-program tests run it in namespaces.
            continue;
        }
        let described = lport(&["check", "--json", "--machine", &path]);
        if described.code != Some(0) {
            // Some files name CPUs that a small machine does not have.
            assert!(described.stdout.contains("E0601"), "{}", described.stdout);
            continue;
        }
        let described = &described.json()[0]["deployment"];
        let summary = lport(&["run", &path, "--duration", "0.3", "--json"]).summary();
        assert_eq!(common(described), common(&summary), "{name}");
        for (described, ran) in
            described["threads"].as_array().unwrap().iter().zip(summary["threads"].as_array().unwrap())
        {
            match described["lcores"].as_str() {
                Some("auto") => assert_eq!(ran["lcores"].as_array().unwrap().len(), 1, "{name}"),
                _ => assert_eq!(described["lcores"], ran["lcores"], "{name}"),
            }
        }
        compared += 1;
    }
    assert!(compared >= 8, "only {compared} files could be compared");
}

#[test]
fn a_file_with_errors_has_no_description_and_options_are_described_as_given() {
    let text = file("net_null:size=128,no-rx=yes", &json!(["auto"]));
    let deployment = &lport_with_input(&["check", "--json", "-"], &text).json()[0]["deployment"];
    assert_eq!(deployment["lports"][0]["options"], json!({ "size": "128", "no-rx": "yes" }));
    assert_eq!((&deployment["threads"][0]["lcores"], &deployment["mode"]), (&json!("auto"), &json!("drop")));
    let bad = lport_with_input(&["check", "--json", "-"], &file("net_nul", &json!([])));
    assert_eq!(serde_json::from_str::<Value>(&bad.stdout).unwrap()[0]["deployment"], Value::Null);
}
