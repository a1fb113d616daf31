//! No text, however mangled, makes the reader panic, hang, or point outside of the text.

mod common;

use lport_config::{Config, Settings, render};
use proptest::prelude::*;

use common::TestDrivers;

/// A file that uses every section.
const GOOD: &str = r#"{
    // Everything that a file can have.
    "$schema": "lport.schema.json",
    "application": { "name": "fwd", 'desc': 'all sections', "level": 3 },
    "defaults": { "bufcnt": 16, "bufsz": 2, "rxdesc": 2, "txdesc": 0, "cache": 256, "mtype": "2MB" },
    "umems": { "umem0": { "bufcnt": 32, "regions": [16, 8], "shared_umem": false }, "umem1": { "bufsz": 9 } },
    "lports": {
        "eth0:0": { "pmd": "net_af_packet", "qid": 1, "umem": "umem0", "region": 1, "busy_poll": true,
                    "wrap": ["fault:rx-drop=5,quiet=1", { "tap": { "file": "/tmp/x" } }] },
        "m0:0": { "pmd": "net_memif:role=server,id=1,socket=\/run\/\u00e4.sock", "umem": "umem1" },
        "m0:1": { "pmd": "net_memif", "pmd_opts": { "role": "server", "id": 1, "socket": "/run/ä.sock" }, "qid": 1, "umem": "umem1" },
    },
    "lport-groups": {
        "rss": { "netdevs": ["eth1", "eth2"], "queues": ["0-3", 5], "threads": ["fwd:0", "fwd:1"], "pmd": "net_null" },
    },
    "lcore-groups": { "initial": 0, "work": ["1-3,5", 7], "default": "auto", "none": [] },
    "threads": {
        "main": { "group": "initial" },
        "fwd:0": { "group": "work", "lports": ["eth0:0", "m0:0"], "idle_timeout": 10, "intr_timeout": 100 },
        "fwd:1": { "lports": "m0:1" },
    },
    "options": { "mode": "fwd", "cli": true, "rates": [1, 2.5, -3e2, null] }, /* the end */
    "user-data": { "a": { "b": [[]] } }
}"#;

/// Reads a text as a program would, and checks what holds for every outcome.
fn read(text: &str) {
    let outcome = Config::parse("t", text, &Settings::default().drivers(&TestDrivers));
    assert_eq!(outcome.config.is_none(), outcome.diagnostics.iter().any(lport_config::Diagnostic::is_error));
    for diagnostic in outcome.diagnostics.iter().take(1000) {
        for label in std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary) {
            assert!(
                label.span.start <= label.span.end && label.span.end <= outcome.source.text().len(),
                "{diagnostic:?}"
            );
            assert_eq!(outcome.source.position(label.span.start).line, label.line);
        }
        let drawn = render(&outcome.source, diagnostic, false);
        assert!(drawn.lines().all(|line| line.chars().all(|c| !c.is_control())), "{drawn:?}");
    }
    if let Some(config) = outcome.readable() {
        config.options().finish(&outcome.source);
    }
    if let Some(config) = &outcome.config {
        let lports = config.deployment.lports();
        assert!(lports.iter().enumerate().all(|(id, (_, queue))| usize::from(queue.lport.0) == id));
        assert!(lports.iter().all(|(_, queue)| queue.pool.is_none_or(|pool| pool.0 < config.deployment.pools.len())));
    }
}

#[test]
fn the_file_to_be_mangled_is_good() {
    let outcome = Config::parse("t", GOOD, &Settings::default().drivers(&TestDrivers));
    assert!(outcome.config.is_some(), "{:#?}", outcome.diagnostics);
}

/// Any JSON with keys and values that files have, in places where they do not belong.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let word = prop::sample::select(vec![
        "lports",
        "umems",
        "threads",
        "lcore-groups",
        "lport-groups",
        "defaults",
        "options",
        "application",
        "pmd",
        "pmd_opts",
        "umem",
        "region",
        "regions",
        "bufcnt",
        "bufsz",
        "qid",
        "netdev",
        "netdevs",
        "queues",
        "group",
        "desc",
        "description",
        "net_null",
        "net_memif:role=server",
        "net_memif:,=,",
        "eth0:0",
        "eth0",
        "",
        ":",
        "all",
        "auto",
        "0-3",
        "3-0",
        "0-65535",
        "default",
        "role",
        "id",
        "\u{1b}",
        "ä",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (0..9_u64).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        word.clone().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        let key = word.clone().prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((key, inner), 0..8)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes(changes in prop::collection::vec((0..GOOD.len(), any::<u8>()), 1..8)) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn pieces_cut_out_and_put_elsewhere(from in 0..GOOD.len(), length in 0..200_usize, to in 0..GOOD.len()) {
        let mut bytes = GOOD.as_bytes().to_vec();
        let piece: Vec<_> = bytes.drain(from..(from + length).min(GOOD.len())).collect();
        let to = to.min(bytes.len());
        bytes.splice(to..to, piece);
        read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn punctuation_put_anywhere(marks in prop::collection::vec((0..GOOD.len(), prop::sample::select(vec!['"', '\'', '{', '}', '[', ']', ',', ':', '/', '*', '\\', '#', '-', '0', '\n', '\0', 'ä', '\u{2028}'])), 1..6)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, mark) in marks {
            text.insert(at.min(text.len()), mark);
        }
        read(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_text(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn any_tree(tree in any_json()) {
        read(&tree.to_string());
    }

    #[test]
    fn any_section(name in prop::sample::select(vec!["application", "defaults", "umems", "lports", "lport-groups", "lcore-groups", "threads", "options"]), tree in any_json()) {
        read(&serde_json::json!({ name: { "x": tree.clone() }, "user-data": 1 }).to_string());
        read(&serde_json::json!({ name: tree }).to_string());
    }
}

#[test]
fn texts_made_to_take_long_are_read_soon() {
    let queues = "\"0-65535\",".repeat(100_000);
    read(&format!(
        "{{ \"lport-groups\": {{ \"g\": {{ \"netdevs\": [\"a\"], \"threads\": [\"t\"], \"queues\": [{queues}] }} }} }}"
    ));
    let cpus = "\"0-8191\",".repeat(2_000);
    read(&format!("{{ \"lcore-groups\": {{ \"g\": [{cpus}] }} }}"));
    let names: String = (0..20_000).map(|n| format!("\"nowhere{n}\",")).collect();
    read(&format!("{{ \"threads\": {{ \"t\": {{ \"lports\": [{names}] }} }} }}"));
    let options: String = (0..20_000).map(|n| format!(",{n}")).collect();
    read(&format!("{{ \"lports\": {{ \"x\": {{ \"pmd\": \"net_memif:a{options}\" }} }} }}"));
    let sections: String = (0..20_000).map(|n| format!("\"s{n}\":1,")).collect();
    read(&format!("{{ {sections} }}"));
    let groups: String = (0..20_000).map(|n| format!("\"g{n}\":0,")).collect();
    let threads: String = (0..10_000).map(|n| format!("\"t{n}\":{{\"group\":\"h{n}\"}},")).collect();
    read(&format!("{{ \"lcore-groups\": {{ {groups} }}, \"threads\": {{ {threads} }} }}"));
    read(&"{\"a\":".repeat(500_000));
    read(&"\"".repeat(500_000));
    read(&"/*/".repeat(500_000));
}
