//! What a good file turns into, seen from outside.

mod common;

use std::time::Duration;

use lport_config::{Config, Outcome, Settings};
use pmd_core::deployment::{LportId, PageSize, Placement, PoolIndex, PoolSpec, WrapSpec};
use pmd_core::options::{RawOption, RawValue};

use common::TestDrivers;

fn parse(text: &str) -> Outcome {
    Config::parse("test.jsonc", text, &Settings::default().drivers(&TestDrivers))
}

/// A file without errors and without warnings.
fn good(text: &str) -> Config {
    let outcome = parse(text);
    assert!(outcome.diagnostics.is_empty(), "{:#?}", outcome.diagnostics);
    outcome.config.unwrap()
}

/// Two umems, each with a section `lports` of one lport per umem, and a thread for both.
fn with_umems(defaults: &str, umems: &str) -> Config {
    good(&format!(
        r#"{{
            "threads": {{ "fwd": {{ "group": "g", "lports": ["a", "b"] }} }},
            "lports": {{ "a": {{ "pmd": "net_null", "umem": "u" }}, "b": {{ "pmd": "net_null", "umem": "v" }} }},
            "umems": {{ {umems} }},
            "defaults": {{ {defaults} }},
            "lcore-groups": {{ "g": [] }}
        }}"#
    ))
}

#[test]
fn wrappers_keep_their_order_and_their_options_in_both_forms() {
    let text = r#"{
        "lports": { "r": { "pmd": "net_ring", "wrap": ["tap:file=/a", { "fault": { "rx-drop": 5, "quiet": true } }, "fault"] } },
        "lport-groups": { "g": { "netdevs": ["s"], "queues": 0, "threads": ["fwd"], "pmd": "net_ring", "wrap": ["fault"] } },
        "lcore-groups": { "default": [] },
        "threads": { "fwd": { "lports": ["r"] } },
    }"#;
    let lports = good(text).deployment;
    let wraps: Vec<_> = lports.lports().iter().map(|(_, queue)| queue.wrap.clone()).collect();
    let wrap = |wrapper: &str, options| WrapSpec { wrapper: wrapper.to_owned(), options };
    let option = |key: &str, value| RawOption { key: key.to_owned(), value };
    let fault = vec![option("rx-drop", RawValue::Int(5)), option("quiet", RawValue::Bool(true))];
    let first = vec![wrap("tap", vec![RawOption::text("file", "/a")]), wrap("fault", fault), wrap("fault", Vec::new())];
    assert_eq!(wraps, [first, vec![wrap("fault", Vec::new())]]);
}

#[test]
fn sizes_are_scaled_and_fall_back_to_the_defaults_in_any_order() {
    let umems = r#""u": { "bufcnt": 4, "bufsz": 1, "mtype": "1gb", "rxdesc": 1, "txdesc": 4 }, "v": { "rxdesc": 0 }"#;
    let config = with_umems(r#""bufcnt": 16, "bufsz": 2, "cache": 0, "mtype": "2MB", "rxdesc": 8, "txdesc": 0"#, umems);
    let pool = |name: &str, size, data_room, page| PoolSpec { name: name.into(), size, data_room, cache: 0, page };
    assert_eq!(
        config.deployment.pools,
        [pool("u", 4096, 1024, PageSize::Huge1G), pool("v", 16384, 2048, PageSize::Huge2M)]
    );
    let rings: Vec<_> = config.deployment.lports().iter().map(|(_, queue)| (queue.rx_desc, queue.tx_desc)).collect();
    assert_eq!(rings, [(1024, 4096), (8192, 2048)]);
}

#[test]
fn without_defaults_the_documented_ones_hold() {
    let config = with_umems("", r#""u": { "bufcnt": 1, "bufsz": 64 }, "v": { "bufcnt": 1, "bufsz": 1, "mtype": "" }"#);
    let PoolSpec { size, data_room, cache, page, .. } = config.deployment.pools[0];
    assert_eq!((size, data_room, cache, page), (1024, 65536, 256, PageSize::Small));
    let (_, queue) = config.deployment.lports()[0];
    assert_eq!((queue.rx_desc, queue.tx_desc, queue.qid), (2048, 2048, 0));
}

#[test]
fn every_region_is_a_pool() {
    let config = good(
        r#"{
            "umems": { "one": { "bufcnt": 8, "bufsz": 2, "regions": [4] }, "two": { "bufcnt": 8, "bufsz": 2, "regions": [6, 2] } },
            "lports": {
                "a": { "pmd": "net_null", "umem": "two", "region": 1 },
                "b": { "pmd": "net_null", "umem": "one" },
                "c": { "pmd": "net_ring" },
            },
            "lcore-groups": { "default": "auto" },
            "threads": { "fwd": { "lports": ["c", "a", "b"] } }
        }"#,
    );
    let pools: Vec<_> = config.deployment.pools.iter().map(|pool| (pool.name.as_str(), pool.size)).collect();
    assert_eq!(pools, [("one", 4096), ("two.0", 6144), ("two.1", 2048)]);
    let of: Vec<_> = config.deployment.lports().iter().map(|(_, queue)| queue.pool).collect();
    assert_eq!(of, [Some(PoolIndex(2)), Some(PoolIndex(0)), None]);
    assert_eq!(config.deployment.threads[0].lports, [LportId(2), LportId(0), LportId(1)]);
    assert_eq!(config.deployment.threads[0].lcores, Placement::Auto);
}

#[test]
fn lports_of_one_netdev_are_queues_of_one_device() {
    let config = good(
        r#"{
            "umems": { "u": { "bufcnt": 8, "bufsz": 2 } },
            "lports": {
                "m0:first": { "pmd": "net_memif:socket=/run/a:b.sock,role=server", "umem": "u" },
                "n0": { "pmd": "net_null", "umem": "u", "netdev": "other" },
                "m0:second": {
                    "pmd": "net_memif", "pmd_opts": { "role": "server", "socket": "/run/a:b.sock" }, "qid": 1, "umem": "u"
                },
                "s0": { "pmd": "net_memif_socket:server", "umem": "u" },
            },
            "lcore-groups": { "default": [] },
            "threads": { "fwd": { "lports": ["m0:first", "m0:second", "n0", "s0"] } }
        }"#,
    );
    let devices = &config.deployment.devices;
    let names: Vec<_> = devices.iter().map(|device| (device.name.as_str(), device.driver.as_str())).collect();
    assert_eq!(names, [("m0", "net_memif"), ("other", "net_null"), ("s0", "net_memif_socket")]);
    let queues: Vec<_> = devices[0].queues.iter().map(|queue| (queue.lport, queue.qid, queue.name.as_str())).collect();
    assert_eq!(queues, [(LportId(0), 0, "m0:first"), (LportId(2), 1, "m0:second")]);
    assert_eq!(devices[0].options, [RawOption::text("socket", "/run/a:b.sock"), RawOption::text("role", "server")]);
    assert_eq!(devices[2].options, [RawOption::text("server", "")]);
}

#[test]
fn options_of_an_object_keep_their_types() {
    let config = good(
        r#"{
            "lports": { "m0": { "pmd": "net_memif:role=client", "pmd_opts": { "id": 7, "zero-copy": true, "secret": "x" }, "umem": "u" } },
            "umems": { "u": { "bufcnt": 8, "bufsz": 2 } },
            "threads": { "fwd": { "lports": "m0" } }, "lcore-groups": { "default": [] }
        }"#,
    );
    let values: Vec<_> = config.deployment.devices[0].options.iter().map(|option| option.value.clone()).collect();
    let text = |word: &str| RawValue::Text(word.to_owned());
    assert_eq!(values, [text("client"), RawValue::Int(7), RawValue::Bool(true), text("x")]);
}

#[test]
fn groups_fan_out_over_devices_queues_and_threads() {
    let config = good(
        r#"{
            "lport-groups": {
                "rss": { "netdevs": ["eth2", "eth1"], "queues": ["4-5", 0, "5"], "threads": ["t:1", "t:0"], "pmd": "net_af_packet" },
                "all": { "netdevs": ["eth9"], "threads": ["t:0"], "pmd": "net_null", "umem": "u", "busy_poll": true },
            },
            "lports": { "eth0": { "pmd": "net_null", "umem": "u" } },
            "umems": { "u": { "bufcnt": 8, "bufsz": 2, "shared_umem": true } },
            "lcore-groups": { "default": [] },
            "threads": { "t:0": { "lports": ["eth0"] }, "t:1": {} },
        }"#,
    );
    let names: Vec<_> = config.deployment.lports().iter().map(|(_, queue)| queue.name.clone()).collect();
    let expected =
        ["eth0", "eth2:0", "eth2:4", "eth2:5", "eth1:0", "eth1:4", "eth1:5", "eth9:0", "eth9:1", "eth9:2", "eth9:3"];
    assert_eq!(names, expected);
    let of = |thread: usize| config.deployment.threads[thread].lports.iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!((of(0), of(1)), (vec![0, 2, 4, 6, 7, 8, 9, 10], vec![1, 3, 5]));

    let common = &config.deployment.pools[1];
    assert_eq!((common.name.as_str(), common.size, common.data_room), ("lport-group", 6 * 3 * (2048 + 4096), 2048));
    let (_, queue) = config.deployment.lports()[1];
    assert_eq!((queue.pool, queue.rx_desc, queue.tx_desc), (Some(PoolIndex(1)), 2048, 4096));
    let (_, queue) = config.deployment.lports()[7];
    assert_eq!((queue.pool, queue.xdp.busy_poll, queue.xdp.shared_umem), (Some(PoolIndex(0)), true, true));
}

#[test]
fn the_umem_of_groups_takes_the_defaults() {
    let config = good(
        r#"{
            "defaults": { "bufcnt": 4, "bufsz": 4, "rxdesc": 1, "txdesc": 1 },
            "lport-groups": { "g": { "netdevs": ["eth2"], "queues": 7, "threads": ["t"], "pmd": "net_null" } },
            "threads": { "t": { "group": "none" } }, "lcore-groups": { "none": [] }
        }"#,
    );
    let pool = &config.deployment.pools[0];
    assert_eq!((pool.size, pool.data_room), (4096, 4096));
    let (device, queue) = config.deployment.lports()[0];
    assert_eq!((device.name.as_str(), queue.qid, queue.rx_desc, queue.tx_desc), ("eth2", 7, 1024, 1024));
}

#[test]
fn threads_say_where_they_run_and_when_they_sleep() {
    let config = good(
        r#"{
            "lcore-groups": { "one": 3, "list": ["0-2", 8, "10, 12 - 13"], "none": [], "default": "5" },
            "threads": {
                "main": { "group": "one", "idle_timeout": 0, "intr_timeout": 5 },
                "fwd:0": { "group": "list", "idle_timeout": 10, "intr_timeout": 2000 },
                "fwd:1": { "group": "none", "idle_timeout": 300000 },
                "fwd": { "desc": "takes the group default" }
            }
        }"#,
    );
    let threads = &config.deployment.threads;
    let cpus: Vec<_> = threads.iter().map(|thread| thread.lcores.clone()).collect();
    let list = Placement::Cpus(vec![0, 1, 2, 8, 10, 12, 13]);
    assert_eq!(cpus, [Placement::Cpus(vec![3]), list, Placement::Anywhere, Placement::Cpus(vec![5])]);
    let kinds: Vec<_> = threads.iter().map(|thread| thread.kind.as_str()).collect();
    assert_eq!(kinds, ["main", "fwd", "fwd", "fwd"]);
    let sleeps: Vec<_> = threads.iter().map(|thread| (thread.idle_timeout, thread.intr_timeout)).collect();
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    assert_eq!(sleeps[..3], [(None, ms(5)), (Some(ms(10)), s(2)), (Some(s(300)), s(1))]);
}

#[test]
fn section_names_have_no_case_and_a_schema_is_ignored() {
    let config = good(r#"{ "$schema": "x", "Threads": { "main": {} }, "OPTIONS": { "a": 1 }, "application": {} }"#);
    assert_eq!(config.deployment.threads.len(), 1);
    assert!(config.options_node().is_some());
}

#[test]
fn what_belongs_to_the_application_is_kept() {
    let text = r#"{
        "application": { "name": "fwd", "desc": "d", "version": 3 },
        "user-data": [1, { "a": null }],
        "acl": { "rules": [] },
        "threads": { "main": {} }
    }"#;
    let outcome = Config::parse("t", text, &Settings::default().section("acl"));
    let config = outcome.config.unwrap();
    assert_eq!(
        (config.application.name.as_deref(), config.application.description.as_deref()),
        (Some("fwd"), Some("d"))
    );
    assert_eq!(config.application.others, [("version".to_owned(), 3.into())]);
    assert_eq!(config.user_data.as_ref().unwrap().to_json(), serde_json::json!([1, { "a": null }]));
    assert!(config.section("acl").unwrap().get("rules").is_some());
}

#[test]
fn without_drivers_every_driver_is_taken_to_be_right() {
    let text = r#"{ "lport-groups": { "g": { "netdevs": ["eth2"], "queues": "0", "threads": ["t"] } },
                    "lports": { "x": { "pmd": "any:thing=1" } },
                    "lcore-groups": { "default": [] }, "threads": { "t": { "lports": ["x"] } } }"#;
    let config = Config::parse("t", text, &Settings::default()).config.unwrap();
    let drivers: Vec<_> = config.deployment.devices.iter().map(|device| device.driver.as_str()).collect();
    assert_eq!(drivers, ["any", "net_af_xdp"]);
}

#[test]
fn a_file_with_errors_has_no_configuration_but_shows_what_could_be_read() {
    let outcome = parse(r#"{ "threads": { "main": { "group": "nowhere" } }, "options": { "mode": "drop" } }"#);
    assert!(outcome.has_errors() && outcome.config.is_none());
    let incomplete = outcome.incomplete.unwrap();
    assert_eq!(incomplete.options().text("mode").unwrap().value, "drop");
    assert!(parse("{").readable().is_none());
}
