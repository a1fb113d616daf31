//! Files as CNDP's applications, and those that bring its lports into other programs, have them: each shape that occurs
//! among theirs, in words of our own, read by a program that lacks AF_XDP.

mod common;

use lport_config::{Config, Outcome, Settings};
use pmd_core::deployment::{LportId, PageSize, Placement};

use common::TestDrivers;

fn read(text: &str) -> Outcome {
    Config::parse("t", text, &Settings::default().drivers(&TestDrivers))
}

/// Code of each diagnostic with the text under its caret.
fn found(outcome: &Outcome) -> Vec<(&'static str, &str)> {
    outcome.diagnostics.iter().map(|found| (found.code, outcome.source.slice(found.primary.span))).collect()
}

/// A file that is accepted but for the lack of AF_XDP, as every good one of CNDP's is.
#[track_caller]
fn accepted(outcome: &Outcome) -> &Config {
    assert_eq!(found(outcome), [("W0301", "net_af_xdp")]);
    outcome.config.as_ref().expect("it has no errors")
}

#[test]
fn a_forwarder_with_a_region_for_each_of_its_queues() {
    let outcome = read(
        "{
    // (R) a comment above every section,\r
    \"application\": { \"name\": \"forwarder\", \"description\": \"two ports\" },
    \"defaults\": { \"bufcnt\": 16, \"bufsz\": 2, \"rxdesc\": 2, \"txdesc\": 2, \"cache\": 256, \"mtype\": \"2MB\" },
    \"umems\": {
        \"umem0\": {
            \"bufcnt\": 32, \"bufsz\": 2, \"mtype\": \"2MB\",
            \"regions\": [
                16,
                16
            ],
            \"rxdesc\": 0, \"txdesc\": 0, \"description\": \"one for both\"
        }
    },
    \"lports\": {
        \"eth0:0\": { \"pmd\": \"net_af_xdp\", \"qid\": 11, \"umem\": \"umem0\", \"region\": 0, \"desc\": \"LAN\" },
        \"eth1:0\": {
            \"pmd\": \"net_af_xdp\", \"qid\": 12, \"umem\": \"umem0\", \"region\": 1,
\t    \"busy_poll\": true, \"busy_timeout\": 20, \"busy_budget\": 65535, \"force_wakeup\": false, \"skb_mode\": true,
            \"unaligned_buffers\": false, \"xsk_pin_path\": \"/run/pins/eth1/xsks_map\"
        }
    },
    \"lcore-groups\": { \"initial\": [10], \"group0\": [\"13\"], \"group1\": [\"14-15\", 20], \"default\": [\"16,18\"] },
    \"options\": {
        \"pkt_api\": \"xskdev\", \"no-metrics\": false, \"no-restapi\": false, \"cli\": true, \"mode\": \"drop\",
        /* routes name lports by number */
        \"l3fwd-fib-rules\": [ \"198.51.100.0/24,02:00:00:00:00:07,1\", ],
    },
    \"threads\": {
        \"main\": { \"group\": \"initial\", \"description\": \"command line\" },
        \"fwd:0\": { \"group\": \"group0\", \"lports\": [\"eth0:0\"], \"idle_timeout\": 10, \"intr_timeout\": 2000 },
        \"fwd:1\": { \"group\": \"group1\", \"lports\": [\"eth1:0\"] },
        \"spare\": {}
    }
}
// the last line has no end",
    );
    let deployment = &accepted(&outcome).deployment;
    let pools: Vec<_> = deployment.pools.iter().map(|pool| (pool.name.as_str(), pool.size, pool.page)).collect();
    assert_eq!(pools, [("umem0.0", 16384, PageSize::Huge2M), ("umem0.1", 16384, PageSize::Huge2M)]);
    let (device, queue) = deployment.lports()[1];
    assert_eq!((device.name.as_str(), queue.qid, queue.rx_desc), ("eth1", 12, 2048));
    assert!(queue.xdp.busy_poll && queue.xdp.skb_mode);
    let lcores: Vec<_> = deployment.threads.iter().map(|thread| thread.lcores.clone()).collect();
    assert_eq!(lcores, [vec![10], vec![13], vec![14, 15, 20], vec![16, 18]].map(Placement::Cpus));
    let message = &outcome.diagnostics[0].message;
    assert!(message.ends_with("it cannot run lport `eth0:0` and 1 more"), "{message}");
}

#[test]
fn groups_beside_lports_with_neither_driver_nor_umem() {
    let outcome = read(
        r#"{
            "lports": { "eth0:0": { "pmd": "net_null", "umem": "umem0" } },
            "umems": { "umem0": { "bufcnt": 16, "bufsz": 2 } },
            "lport-groups": {
                "one": { "netdevs": ["eth2", "eth3"], "queues": ["1-2", 4, "7"], "threads": ["fwd:0", "fwd:1"] },
                "two": { "netdevs": ["eth8"], "queues": [8], "threads": ["fwd:0"], "skb_mode": false, }
            },
            "lcore-groups": { "node0": ["0,2,4"] },
            "threads": { "fwd:0": { "group": "node0", "lports": ["eth0:0"] }, "fwd:1": { "group": "node0" } }
        }"#,
    );
    let codes: Vec<_> = found(&outcome).iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, ["W0301"], "once, though nine lports need it");
    assert_eq!(outcome.diagnostics[0].primary.line, 5);
    let deployment = &outcome.config.as_ref().unwrap().deployment;
    let polled: Vec<_> = deployment.threads.iter().map(|thread| thread.lports.len()).collect();
    assert_eq!(polled, [1 + 4 + 1, 4]);
    let (device, queue) = deployment.lports()[9];
    assert_eq!((device.driver.as_str(), queue.name.as_str(), queue.qid), ("net_af_xdp", "eth8:8", 8));
}

#[test]
fn lports_for_an_application_that_polls_by_itself() {
    let lport = |name: &str, qid: u8| {
        format!(
            r#""{name}": {{ "pmd": "net_af_xdp", "qid": {qid}, "umem": "umem0", "region": {qid}, "inhibit_prog_load": false }}"#
        )
    };
    let lports = [lport("access:0", 0), lport("core:0", 1), lport("core:1", 2)].join(",");
    let outcome = read(&format!(
        r#"{{ "umems": {{ "umem0": {{ "bufcnt": 48, "bufsz": 2, "regions": [16, 16, 16] }} }},
              "lports": {{ {lports} }},
              "lcore-groups": {{ "initial": [0] }}, "threads": {{ "main": {{ "group": "initial" }} }} }}"#
    ));
    let expected = [
        ("W0201", r#""access:0""#),
        ("W0301", "net_af_xdp"),
        ("W0101", r#""inhibit_prog_load""#),
        ("W0101", r#""inhibit_prog_load""#),
        ("W0101", r#""inhibit_prog_load""#),
    ];
    assert_eq!(found(&outcome), expected, "that nobody polls is said once");
    let deployment = &outcome.config.as_ref().expect("valid").deployment;
    assert_eq!(deployment.unpolled(), [LportId(0), LportId(1), LportId(2)]);
}

#[test]
fn options_of_applications_that_this_crate_does_not_know() {
    let outcome = read(
        r#"{
            "lports": { "eth0:0": { "pmd": "net_af_xdp", "qid": 3 } },
            "lcore-groups": { "default": [1] },
            "threads": { "graph:0": { "lports": ["eth0:0"] } },
            "options": { "graph:0": ["ip4*", "pkt_drop"], "graph:0-chnl": [], "enable": true, "level": -1, "none": null }
        }"#,
    );
    let mut options = accepted(&outcome).options();
    let nodes: Vec<_> = options.texts("graph:0").unwrap().iter().map(|node| node.value).collect();
    assert_eq!((nodes, options.bool("enable").unwrap().value), (vec!["ip4*", "pkt_drop"], true));
}

/// What is found in a file of two lports whose sections `lcore-groups` and `threads`, and what follows, are these.
fn faults(rest: &str) -> Vec<(&'static str, String)> {
    let text =
        format!(r#"{{ "lports": {{ "ens0": {{ "pmd": "net_ring" }}, "ens1": {{ "pmd": "net_ring" }} }}, {rest}"#);
    let outcome = read(&text);
    assert!(outcome.has_errors());
    found(&outcome).into_iter().map(|(code, caret)| (code, caret.to_owned())).collect()
}

#[test]
fn what_is_broken_in_them_is_shown_at_its_place() {
    let fault = |code: &'static str, caret: &str| vec![(code, caret.to_owned())];
    // One thread receives from an lport and another one sends to it.
    let two = r#""lcore-groups": { "default": [0] }, "threads": { "rx:0": { "lports": ["ens0", "ens1"] }, "tx:0": { "lports": ["ens0"] } } }"#;
    assert_eq!(faults(two), fault("E0206", r#""ens0""#));
    // Threads kept the names that the lports had before.
    let renamed = r#""lcore-groups": { "default": [0] }, "threads": { "a": { "lports": ["eth7:0"] }, "b": { "lports": ["ens0", "ens1"] } } }"#;
    assert_eq!(faults(renamed), fault("E0204", r#""eth7:0""#));
    // A script has run out of CPUs.
    let no_cpu =
        r#""lcore-groups": { "initial": [""], "default": [0] }, "threads": { "a": { "lports": ["ens0", "ens1"] } } }"#;
    assert_eq!(faults(no_cpu), fault("E0212", r#""""#));
    // A script has pasted a key without quotes.
    assert_eq!(faults(r#""options": { uds_path : /run/afxdp.sock } }"#), fault("E0009", "uds_path"));
    // Two files in one.
    assert_eq!(faults(r#""threads": {} } { "defaults": {} }"#), fault("E0010", "{"));
}
