//! The schema and the parser know the same sections and keys.

use lport_config::{Config, Settings, schema};
use serde_json::{Map, Value, json};

/// The codes that a file gets.
fn codes(file: &Value) -> Vec<&'static str> {
    let outcome = Config::parse("t", &file.to_string(), &Settings::default());
    outcome.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

fn sections() -> Map<String, Value> {
    schema(&[], &[])["properties"].as_object().unwrap().clone()
}

/// The schema of a section's entries, and a file with `entry` as the only one; likewise for a section that is one object.
fn entries(name: &str, section: &Value) -> Option<(Value, Box<dyn Fn(Value) -> Value>)> {
    let section_name = name.to_owned();
    match section["additionalProperties"].get("properties") {
        Some(_) => {
            let file = move |entry| json!({ section_name.clone(): { "x": entry } });
            Some((section["additionalProperties"].clone(), Box::new(file)))
        }
        None => {
            section.get("properties")?;
            Some((section.clone(), Box::new(move |entry| json!({ section_name.clone(): entry }))))
        }
    }
}

#[test]
fn the_parser_knows_every_section_of_the_schema_in_any_case() {
    for name in sections().keys().filter(|name| *name != "$schema") {
        for name in [name.clone(), name.to_uppercase()] {
            assert!(!codes(&json!({ name.clone(): {} })).contains(&"E0101"), "{name}");
        }
    }
    assert!(codes(&json!({ "lport": {} })).contains(&"E0101"));
}

#[test]
fn the_parser_knows_every_key_of_the_schema_and_no_other() {
    let mut seen = 0;
    for (name, section) in sections() {
        let Some((entry, file)) = entries(&name, &section) else { continue };
        for key in entry["properties"].as_object().unwrap().keys() {
            assert!(!codes(&file(json!({ key: null }))).contains(&"E0102"), "{name}.{key}");
            seen += 1;
        }
        let closed = entry["additionalProperties"] == json!(false);
        assert_eq!(codes(&file(json!({ "another": 1 }))).contains(&"E0102"), closed, "{name}");
    }
    assert!(seen > 50, "the walk found only {seen} keys");
}

#[test]
fn the_parser_requires_what_the_schema_requires() {
    for (name, section) in sections() {
        let Some((entry, file)) = entries(&name, &section) else { continue };
        let outcome = Config::parse("t", &file(json!({})).to_string(), &Settings::default());
        for key in entry["required"].as_array().into_iter().flatten() {
            let missing = format!("has no `{}`", key.as_str().unwrap());
            assert!(
                outcome.diagnostics.iter().any(|d| d.code == "E0106" && d.message.contains(&missing)),
                "{name}.{key}"
            );
        }
    }
}

#[test]
fn limits_of_the_schema_are_those_of_the_parser() {
    let mut seen = 0;
    for (name, section) in sections() {
        let Some((entry, file)) = entries(&name, &section) else { continue };
        for (key, schema) in entry["properties"].as_object().unwrap() {
            let (Some(min), Some(max)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) else { continue };
            let refused = |value: i64| codes(&file(json!({ key: value }))).contains(&"E0104");
            let verdicts = [min - 1, min, max, max + 1].map(refused);
            assert_eq!(verdicts, [true, false, false, true], "{name}.{key}");
            seen += 1;
        }
    }
    assert!(seen > 10, "the walk found only {seen} numbers");
}
