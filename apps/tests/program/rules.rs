//! `l3fwd-fib-rules` and `acl-rules`: what they do to packets, and what is said about wrong ones.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Running, lport_with_input, total, write};

/// Two lports joined by a ring, from each of which 100 packets to 198.18.0.2, UDP port 9, are sent first.
fn rings(options: &Value) -> Value {
    let lport = || json!({ "pmd": "net_ring:ring=wire", "umem": "packets" });
    let mut file = json!({
        "umems": { "packets": { "bufcnt": 4, "bufsz": 2 } },
        "lports": { "left:0": lport(), "right:0": lport() },
        "lcore-groups": { "default": [] },
        "threads": { "fwd:0": { "lports": ["left:0"] }, "fwd:1": { "lports": ["right:0"] } },
        "options": options,
    });
    file["options"]["tx-first"] = json!(100);
    file
}

/// Runs `file` until `done`, and gives the summary.
fn run_until(file: &Value, done: impl Fn(&Value) -> bool) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(&write(directory.path(), "file.jsonc", &file.to_string()));
    running.wait_for("all packets", done);
    running.end_by(Signal::SIGTERM).summary()
}

/// The sum of an xstat over all lports.
fn xstat(summary: &Value, name: &str) -> u64 {
    let lports = summary["lports"].as_array().unwrap();
    lports.iter().map(|lport| lport["xstats"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {lport}"))).sum()
}

#[test]
fn l3fwd_routes_a_packet_until_its_ttl_expires() {
    let routes = json!(["198.18.0.0/24,02:00:00:00:00:01,right:0", "198.18.0.2/32,02:00:00:00:00:02,0"]);
    let file = rings(&json!({ "mode": "l3fwd", "l3fwd-fib-rules": routes }));
    let summary = run_until(&file, |now| xstat(now, "ttl_expired_dropped") == 200);
    // With a TTL of 64 a packet is received 64 times; all but the last time it is forwarded.
    assert_eq!((total(&summary, "ipackets"), total(&summary, "opackets")), (200 * 64, 200 * 64), "{summary}");
    for reason in ["not_ip_dropped", "malformed_dropped", "no_route_dropped"] {
        assert_eq!(xstat(&summary, reason), 0, "{reason}");
    }
    let left = &summary["lports"][0];
    assert_eq!(left["opackets"], 100 + 200 * 63, "the longer prefix, to lport number 0, wins: {summary}");
}

#[test]
fn l3fwd_drops_and_counts_what_has_no_route() {
    let file = rings(&json!({ "mode": "l3fwd", "l3fwd-fib-rules": ["10.0.0.0/8,02:00:00:00:00:01,0"] }));
    let summary = run_until(&file, |now| xstat(now, "no_route_dropped") == 200);
    assert_eq!((total(&summary, "ipackets"), total(&summary, "opackets")), (200, 200), "{summary}");
}

#[test]
fn access_lists_drop_and_count_or_pass_to_the_port_map() {
    let rule = |action: &str, port: u16| json!([{ "action": action, "proto": "udp", "dst-port": port }]);
    let run = |mode: &str, rules: Value, done: fn(&Value) -> bool| {
        let port_map = json!({ "left:0": "right:0", "right:0": "left:0" });
        run_until(&rings(&json!({ "mode": mode, "acl-rules": rules, "port-map": port_map })), done)
    };
    let all_denied = |now: &Value| xstat(now, "acl_denied_dropped") == 200;
    for (mode, rules) in [("acl-strict", rule("permit", 10)), ("acl-permissive", rule("deny", 9))] {
        let summary = run(mode, rules, all_denied);
        assert_eq!((total(&summary, "ipackets"), total(&summary, "opackets")), (200, 200), "{mode}: {summary}");
    }
    for (mode, rules) in [("acl-strict", rule("permit", 9)), ("acl-permissive", rule("deny", 10))] {
        let summary = run(mode, rules, |now| total(now, "ipackets") > 10_000);
        assert_eq!((xstat(&summary, "acl_denied_dropped"), total(&summary, "oerrors")), (0, 0), "{mode}: {summary}");
    }
}

/// What `lport check` says about the options, one line per problem: code, the text under the caret, message and help.
fn problems(options: &Value) -> Vec<(String, String, String)> {
    let text = serde_json::to_string_pretty(&rings(options)).unwrap();
    let finished = lport_with_input(&["check", "--json", "-"], &text);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    let found = report[0]["diagnostics"].as_array().unwrap().iter().map(|problem| {
        assert!(problem["help"].is_string(), "what to do about it? {problem}");
        let at = |key: &str| problem["primary"][key].as_u64().unwrap() as usize;
        let words = format!("{} / {}", problem["message"].as_str().unwrap(), problem["help"].as_str().unwrap_or(""));
        (problem["code"].as_str().unwrap().to_owned(), text[at("start")..at("end")].to_owned(), words)
    });
    found.collect()
}

/// Asserts that the options have one problem: its code, what is under the caret, and a word of what is said.
#[track_caller]
fn assert_problem(options: &Value, code: &str, under_caret: &str, word: &str) {
    let found = problems(options);
    let [(found_code, caret, words)] = found.as_slice() else { panic!("not one problem: {found:?}") };
    assert_eq!((found_code.as_str(), caret.as_str()), (code, under_caret), "{words}");
    assert!(words.contains(word), "no {word:?} in {words:?}");
}

#[test]
fn every_wrong_route_is_shown_at_its_exact_place() {
    let route = |text: &str| json!({ "mode": "l3fwd", "l3fwd-fib-rules": [text, "10.0.0.0/8,02:00:00:00:00:01,0"] });
    let mac = "02:00:00:00:00:01";
    assert_problem(&route("11.0.0.0/8,0"), "E0505", "\"11.0.0.0/8,0\"", "has 2 parts");
    assert_problem(&route(&format!("11.0.0.0/33,{mac},0")), "E0505", "11.0.0.0/33", "from 0 to 32");
    assert_problem(&route(&format!("11.0.0/8,{mac},0")), "E0505", "11.0.0/8", "no IP address");
    assert_problem(&route("11.0.0.0/8,ff:ff:ff:ff:ff:ff,0"), "E0505", "ff:ff:ff:ff:ff:ff", "neighbour");
    assert_problem(&route(&format!("fd00::/8, {mac} ,2")), "E0507", "2", "the last one is 1, `right:0`");
    assert_problem(&route(&format!("fd00::/8,{mac},rihgt:0")), "E0507", "rihgt:0", "did you mean \"right:0\"?");
    assert_problem(&route(&format!("11.1.0.0/8,{mac},0")), "W0504", "11.1.0.0/8", "write \"11.0.0.0/8\"");
    let twice = format!("10.0.0.0/8,{mac},1");
    assert_problem(&route(&twice), "E0506", "\"10.0.0.0/8,02:00:00:00:00:01,0\"", "two routes to 10.0.0.0/8");
    assert_problem(&json!({ "mode": "l3fwd", "l3fwd-fib-rules": [7] }), "E0401", "7", "strings");
    assert_problem(&json!({ "mode": "l3fwd" }), "W0503", "\"l3fwd\"", "every packet will be dropped");
    assert_eq!(problems(&json!({ "mode": "fwd", "l3fwd-fib-rules": ["not read"] })), []);
}

#[test]
fn every_wrong_rule_of_an_access_list_is_shown_at_its_exact_place() {
    let rule = |key: &str, value: Value| {
        let mut rule = json!({ "action": "deny" });
        rule[key] = value;
        json!({ "mode": "acl-permissive", "acl-rules": [rule] })
    };
    assert_problem(&rule("action", json!("drop")), "E0508", "\"drop\"", "write \"permit\" or \"deny\"");
    assert_problem(&rule("prot", json!("udp")), "E0508", "\"prot\"", "did you mean \"proto\"?");
    assert_problem(&rule("proto", json!("UDP")), "E0508", "\"UDP\"", "icmp, tcp, udp, sctp");
    assert_problem(&rule("proto", json!(256)), "E0508", "256", "0 to 255");
    assert_problem(&rule("src", json!("fd00::/8")), "E0508", "\"fd00::/8\"", "IPv4 only");
    assert_problem(&rule("dst", json!("10.0.0.0/x")), "E0508", "\"10.0.0.0/x\"", "from 0 to 32");
    assert_problem(&rule("src", json!(10)), "E0508", "10", "a prefix is a string");
    for bad in [json!("2-1"), json!("1-2-3"), json!("a"), json!(65536), json!(""), json!("-1"), json!(null)] {
        assert_problem(&rule("dst-port", bad.clone()), "E0508", &bad.to_string(), "0 to 65535");
    }
    let mut ports_of_icmp = rule("dst-port", json!(53));
    ports_of_icmp["acl-rules"][0]["proto"] = json!("icmp");
    assert_problem(&ports_of_icmp, "E0508", "53", "only tcp, udp and sctp have ports");
    let list = |rules: Value| json!({ "mode": "acl-strict", "acl-rules": rules });
    assert_problem(
        &list(json!([{ "src": "10.0.0.0/8" }])),
        "E0508",
        "{\n        \"src\": \"10.0.0.0/8\"\n      }",
        "`action`",
    );
    assert_problem(&list(json!(["permit"])), "E0508", "\"permit\"", "a rule is an object");
    assert_problem(&list(json!("permit")), "E0508", "\"permit\"", "an array of objects");
    assert_problem(&list(json!([])), "W0503", "[]", "every packet will be dropped");
    let long: Vec<_> = (0..1025).map(|port| json!({ "action": "deny", "dst-port": port })).collect();
    let found = problems(&list(json!(long)));
    assert!(found.len() == 1 && found[0].0 == "E0509" && found[0].2.contains("1025 rules"), "{found:?}");
}
