//! Files against made-up machines.

use lport_config::{Config, Diagnostic, Settings, Source};
use pmd_core::Registry;
use pmd_core::topology::{Cpu, Machine};

use super::{Facts, HugePages, check};

/// `nodes` x `cores` x `threads` CPUs, numbered as Linux does: first hyperthreads of all cores, then the second ones.
fn machine(nodes: usize, cores: usize, threads: usize) -> Facts {
    let all = nodes * cores;
    let cpu = |id: usize| {
        let (core, node) = (id % all, id % all / cores);
        Cpu { id, core, package: node, node, allowed: true }
    };
    let topology = Machine { cpus: (0..all * threads).map(cpu).collect(), ..Machine::default() };
    Facts { topology, topology_error: None, huge_pages: HugePages::default(), memory: None }
}

/// A file of two threads, each with one lport; `groups` are the lcore-groups `a` and `b`, `umems` those of the lports.
fn file(groups: [&str; 2], umems: [&str; 2], mtype: &str) -> String {
    format!(
        r#"{{
    "umems": {{ "u": {{ "bufcnt": 1, "bufsz": 2, "mtype": "{mtype}" }}, "v": {{ "bufcnt": 1, "bufsz": 2, "mtype": "{mtype}" }} }},
    "lports": {{ "x": {{ "pmd": "net_null", "umem": "{}" }}, "y": {{ "pmd": "net_null", "umem": "{}" }} }},
    "lcore-groups": {{ "a": {}, "b": {} }},
    "threads": {{ "fwd:0": {{ "group": "a", "lports": ["x"] }}, "fwd:1": {{ "group": "b", "lports": ["y"] }} }}
}}"#,
        umems[0], umems[1], groups[0], groups[1]
    )
}

/// Code, text under the caret and message of each problem.
fn found(text: &str, facts: &Facts) -> Vec<(&'static str, String, String)> {
    let outcome = Config::parse("t", text, &Settings::default());
    let config = outcome.config.unwrap_or_else(|| panic!("{:?}", outcome.diagnostics));
    let source = Source::new("t", text);
    let problems = check(&config.deployment, &config.places, &Registry::with_reference_drivers(), facts);
    let located = problems.into_iter().map(|problem| problem.locate(&source));
    located
        .map(|Diagnostic { code, primary, message, help, .. }| {
            assert!(help.is_some(), "what to do about it? {message}");
            (code, text[primary.span.start..primary.span.end].to_owned(), message)
        })
        .collect()
}

/// Asserts that there is one problem, and what it is.
#[track_caller]
fn assert_one(text: &str, facts: &Facts, code: &str, under_caret: &str, words: &str) {
    let found = found(text, facts);
    let [(found_code, caret, message)] = found.as_slice() else { panic!("not one problem: {found:?}") };
    assert_eq!((*found_code, caret.as_str(), message.contains(words)), (code, under_caret, true), "{message}");
}

const OWN: [&str; 2] = ["u", "v"];

#[test]
fn a_machine_that_has_everything_has_no_problems() {
    let facts = machine(2, 2, 2);
    for groups in [["[0]", "[1]"], ["[]", "[]"], ["\"auto\"", "\"auto\""], ["[0]", "\"auto\""], ["[0, 1]", "[0, 1]"]] {
        assert_eq!(found(&file(groups, OWN, "4KB"), &facts), [], "{groups:?}");
    }
    let plenty = HugePages { free_2m: 4, free_1g: 2 };
    for page in ["2MB", "1GB"] {
        let facts = Facts { huge_pages: plenty, ..machine(1, 2, 1) };
        assert_eq!(found(&file(["[0]", "[1]"], OWN, page), &facts), [], "{page}");
    }
}

#[test]
fn a_cpu_that_is_not_there_or_not_allowed_is_shown_in_its_group() {
    let mut facts = machine(1, 4, 1);
    assert_one(&file(["[0]", "[1, 4]"], OWN, "4KB"), &facts, "E0601", "4", "CPU 4 does not exist");
    assert_one(&file(["[0]", "\"2-6\""], OWN, "4KB"), &facts, "E0601", "2-6", "CPUs 4-6 do not exist");
    facts.topology.cpus[2].allowed = false;
    assert_one(&file(["[0]", "\"1-2\""], OWN, "4KB"), &facts, "E0601", "1-2", "CPU 2 may not be used");
}

#[test]
fn threads_that_must_share_a_cpu_or_a_core_are_named() {
    let both = "threads `fwd:0` and `fwd:1` poll on CPU";
    assert_one(&file(["[1]", "[1]"], OWN, "4KB"), &machine(1, 2, 1), "W0601", "\"b\"", &format!("{both} 1"));
    assert_one(&file(["\"auto\"", "\"auto\""], OWN, "4KB"), &machine(1, 1, 1), "W0601", "\"b\"", &format!("{both} 0"));
    let halves = format!("{both}s 1 and 3, hyperthreads");
    assert_one(&file(["[1]", "[3]"], OWN, "4KB"), &machine(1, 2, 2), "W0602", "\"b\"", &halves);
    // The first thread can move out of the second one's way.
    assert_eq!(found(&file(["[0, 1]", "[0]"], OWN, "4KB"), &machine(1, 2, 1)), []);
}

#[test]
fn memory_on_another_node_is_shown_at_the_thread_that_is_far_away() {
    let facts = machine(2, 2, 1);
    let words = "runs on NUMA node 1, but pool `u` lies on node 0, with thread `fwd:0`";
    assert_one(&file(["[0]", "[2]"], ["u", "u"], "4KB"), &facts, "W0603", "\"b\"", words);
    assert_eq!(found(&file(["[0]", "[2]"], OWN, "4KB"), &facts), []);
    assert_eq!(found(&file(["[0]", "[1]"], ["u", "u"], "4KB"), &facts), []);
}

#[test]
fn pools_take_huge_pages_in_turn_and_the_one_that_finds_none_is_shown() {
    // 1024 buffers of 2048 bytes and headroom need two pages of 2 MiB.
    let facts = Facts { huge_pages: HugePages { free_2m: 3, free_1g: 1 }, ..machine(1, 2, 1) };
    for (page, wanted, left) in [("2MB", 2, 1), ("1GB", 1, 0)] {
        let words = format!("pool `v` needs {wanted} pages of {page}, but {left} are free");
        assert_one(&file(["[0]", "[1]"], OWN, page), &facts, "W0604", "\"v\"", &words);
    }
}

#[test]
fn a_device_whose_driver_the_program_lacks_cannot_be_opened() {
    let text = file(["[0]", "[1]"], OWN, "4KB").replacen("net_null", "net_nowhere", 1);
    let words = "device `x` cannot be opened: this program has no driver `net_nowhere`";
    assert_one(&text, &machine(1, 2, 1), "E0602", "net_nowhere", words);
}

#[test]
fn the_pool_that_finds_no_memory_left_is_shown() {
    // 1024 buffers of 2048 bytes and headroom are 2.1 MiB.
    let facts = |mib: usize| Facts { memory: Some(mib << 20), ..machine(1, 2, 1) };
    let text = file(["[0]", "[1]"], OWN, "4KB");
    assert_eq!(found(&text, &facts(5)), []);
    let both = "pool `v` and those in front of it need 4 MiB, but 3 MiB are available";
    assert_one(&text, &facts(3), "W0607", "\"v\"", both);
    assert_one(&text, &facts(1), "W0607", "\"u\"", "pool `u` needs 2 MiB, but 1 MiB are available");
    assert!(Facts::gather().memory.is_some_and(|memory| memory > 1 << 20), "this machine has some");
}

#[test]
fn a_machine_that_cannot_be_read_is_said() {
    let facts = Facts { topology_error: Some("no hwloc".into()), ..machine(1, 2, 1) };
    assert_one(&file(["[0]", "[1]"], OWN, "4KB"), &facts, "W0606", "", "no hwloc");
}
