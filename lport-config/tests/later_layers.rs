//! What layers above this crate do with a file: read their options, point at places, print diagnostics as JSON.

mod common;

use lport_config::{Config, OptionsReader, Outcome, Problem, RULES, Settings, Span, explain, render};
use pmd_core::deployment::{LportId, PoolIndex};

use common::TestDrivers;

const TEXT: &str = r#"{
    "umems": { "u": { "bufcnt": 8, "bufsz": 2, "regions": [4, 2] } },
    "lports": {
        "m0:0": { "pmd": "net_memif:role=server,id=12", "pmd_opts": { "socket": "\/a" }, "umem": "u" },
        "m0:1": { "pmd": "net_memif:role=server,id=12,socket=/a", "qid": 1, "umem": "u", "region": 1 },
    },
    "lport-groups": { "rss": { "netdevs": ["eth1"], "queues": "0-1", "threads": ["t:0"], "pmd": "net_null", "umem": "u" } },
    "lcore-groups": { "work": ["0-3,8"], "default": [5] },
    "threads": { "t:0": { "group": "work", "lports": ["m0:0", "m0:1"] }, "t:1": {} },
    "options": {
        "mode": "fwd", "cli": true, "rate": 7,
        "rules": ["a", 1, "b"], "port-map": { "m0:0": "m0:1", "x": 2 }, "spare": null
    },
}"#;

fn outcome() -> Outcome {
    let outcome = Config::parse("t", TEXT, &Settings::default().drivers(&TestDrivers));
    assert!(outcome.diagnostics.is_empty(), "{:#?}", outcome.diagnostics);
    outcome
}

#[test]
fn every_part_of_the_deployment_has_its_place() {
    let outcome = outcome();
    let places = &outcome.config.as_ref().unwrap().places;
    let text = |span: Option<Span>| span.map(|span| outcome.source.slice(span)).unwrap_or("nowhere");
    assert_eq!(text(places.lport(LportId(1))), "\"m0:1\"");
    assert_eq!(text(places.lport(LportId(3))), "\"eth1\"", "an lport of a group is where its netdev is");
    assert_eq!(text(places.lport(LportId(4))), "nowhere");
    assert_eq!(text(places.driver("m0")), "net_memif");
    assert_eq!((text(places.option_key("m0", "id")), text(places.option_value("m0", "id"))), ("id", "12"));
    let socket = (text(places.option_key("m0", "socket")), text(places.option_value("m0", "socket")));
    assert_eq!(socket, ("\"socket\"", r#""\/a""#));
    assert_eq!((text(places.thread("t:1")), text(places.thread_group("t:0"))), ("\"t:1\"", "\"work\""));
    assert_eq!((text(places.thread_cpu("t:0", 2)), text(places.thread_cpu("t:0", 8))), ("0-3", "8"));
    assert_eq!((text(places.thread_cpu("t:1", 5)), text(places.thread_cpu("t:0", 4))), ("5", "nowhere"));
    assert_eq!(text(places.pool(PoolIndex(1))), "2");
    assert_eq!((text(places.options_key("mode")), text(places.options_value("mode"))), ("\"mode\"", "\"fwd\""));
}

#[test]
fn options_are_read_by_type_and_everything_wrong_is_told() {
    let outcome = outcome();
    let mut options = outcome.config.as_ref().unwrap().options();
    assert_eq!(options.text("mode").unwrap().value, "fwd");
    assert_eq!(options.int("rate", 0..=10).unwrap().value, 7);
    assert!(options.bool("absent").is_none());
    assert!(options.int("cli", 0..=10).is_none());
    let rules: Vec<_> = options.texts("rules").unwrap().iter().map(|rule| rule.value).collect();
    assert_eq!(rules, ["a", "b"]);
    let map: Vec<_> = options.text_map("port-map").unwrap().iter().map(|(from, to)| (from.value, to.value)).collect();
    assert_eq!(map, [("m0:0", "m0:1")]);
    assert_eq!(options.unasked().iter().map(|key| key.value).collect::<Vec<_>>(), ["spare"]);

    let source = &outcome.source;
    let told: Vec<_> =
        options.finish(source).into_iter().map(|d| (d.code, source.slice(d.primary.span).to_owned())).collect();
    let expected = [("E0401", "true"), ("E0401", "1"), ("E0401", "2"), ("W0401", "\"spare\"")];
    assert_eq!(told, expected.map(|(code, text)| (code, text.to_owned())));
}

#[test]
fn sections_of_the_application_are_read_by_type() {
    let text = r#"{ "threads": { "main": {} }, "shapers": { "a": { "rate": 7, "depht": 1 }, "b": [] } }"#;
    let outcome = Config::parse("t", text, &Settings::default().section("shapers"));
    let shapers = outcome.config.as_ref().and_then(|config| config.section("shapers")).unwrap();
    let mut told = Vec::new();
    let mut rates = Vec::new();
    for shaper in shapers.as_object().unwrap() {
        let mut keys = OptionsReader::of(&shaper.node);
        rates.push(keys.int("rate", 1..=9).map(|rate| rate.value));
        keys.int("depth", 0..=9);
        told.extend(keys.finish(&outcome.source).into_iter().map(|d| (d.code, d.primary.column, d.help)));
    }
    assert_eq!(rates, [Some(7), None]);
    let help = |text: &str| Some(text.to_owned());
    let expected =
        [("W0401", 61, help("did you mean \"depth\"?")), ("E0401", 80, help("write { \"key\": value, ... }"))];
    assert_eq!(told, expected);
}

#[test]
fn diagnostics_are_data() {
    let outcome = Config::parse("f.jsonc", "{\n  \"lprots\": {}\n}", &Settings::default());
    let json = serde_json::to_value(&outcome.diagnostics).unwrap();
    let expected = serde_json::json!([{
        "code": "E0101",
        "severity": "error",
        "message": "unknown section `lprots`",
        "source": "f.jsonc",
        "primary": {
            "start": 4, "end": 12, "line": 2, "column": 3, "end_line": 2, "end_column": 11, "label": "unknown section"
        },
        "secondary": [],
        "help": "did you mean \"lports\"?",
    }]);
    assert_eq!(json, expected);
}

#[test]
fn later_layers_can_add_problems_of_their_own() {
    let outcome = outcome();
    let config = outcome.config.as_ref().unwrap();
    let rule = RULES.iter().find(|rule| rule.code == "E0303").unwrap();
    let problem =
        Problem::new(rule, config.places.option_value("m0", "id").unwrap(), "id 12 is in use").label("this one");
    let drawn = render(&outcome.source, &problem.locate(&outcome.source), false);
    assert!(drawn.contains("--> t:4:52") && drawn.contains("^^ this one"), "{drawn}");
    assert!(explain("E0303").is_some());
}
