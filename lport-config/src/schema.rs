//! The JSON Schema of lport files (draft 2020-12), made from the tables of keys that the parser reads by.
//!
//! It serves editors, which complete and explain keys by it, and other validators. What no schema can say (names that
//! must exist, sums, two lports on one queue) only [`crate::Config::parse`] checks.

use pmd_core::options::{OptionKind, OptionSpec};
use serde_json::{Map, Value, json};

use crate::drivers::CNDP;
use crate::keys::{Key, Kind, SECTIONS, Shape};

/// Numbers and ranges in one string.
const NUMBER_LIST: &str = r"^\s*[0-9]+\s*(-\s*[0-9]+\s*)?(,\s*[0-9]+\s*(-\s*[0-9]+\s*)?)*$";

/// The drivers or the wrappers of a program, each with its table of options.
type Tables<'a> = &'a [(&'a str, &'a [OptionSpec])];

/// What a program has.
#[derive(Clone, Copy)]
struct Program<'a> {
    drivers: Tables<'a>,
    wrappers: Tables<'a>,
}

/// The schema for a program with these drivers and wrappers, each with its table of options.
pub fn schema(drivers: &[(&str, &[OptionSpec])], wrappers: &[(&str, &[OptionSpec])]) -> Value {
    let program = Program { drivers, wrappers };
    let mut properties = Map::new();
    properties
        .insert("$schema".to_owned(), json!({ "type": "string", "description": "Where this schema is; ignored." }));
    let mut any_case = Map::new();
    for section in SECTIONS {
        let mut content = shape(&section.shape, program);
        content["description"] = section.help.into();
        properties.insert(section.name.to_owned(), content);
        let reference = json!({ "$ref": format!("#/properties/{}", section.name) });
        // Not for the usual spelling, or a validator would say everything twice.
        any_case.insert(format!("^(?!{}$){}$", section.name, without_case(section.name)), reference);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lport file",
        "description": "Pools, devices and polling threads, in CNDP's format.",
        "type": "object",
        "properties": properties,
        "patternProperties": any_case,
        "additionalProperties": false,
    })
}

fn shape(shape: &Shape, program: Program<'_>) -> Value {
    match shape {
        Shape::Record(keys) => record(keys, program),
        Shape::OpenRecord(keys) => {
            let mut open = record(keys, program);
            open["additionalProperties"] = json!({ "type": ["string", "number", "boolean", "null"] });
            open
        }
        Shape::Named(keys) => json!({
            "type": "object",
            "propertyNames": { "minLength": 1 },
            "additionalProperties": record(keys, program),
        }),
        Shape::CpuLists => json!({
            "type": "object",
            "propertyNames": { "minLength": 1 },
            "additionalProperties": {
                "anyOf": [
                    cpu(),
                    { "const": "auto", "description": "Cores chosen by the machine's topology." },
                    { "type": "array", "items": cpu() },
                    { "const": ["auto"] },
                ]
            },
        }),
        Shape::Object => json!({ "type": "object" }),
        Shape::Free => json!({}),
    }
}

fn cpu() -> Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": crate::keys::CPU_MAX },
        { "type": "string", "pattern": NUMBER_LIST, "description": "CPUs such as \"0-3,8\"." },
    ] })
}

fn record(keys: &[Key], program: Program<'_>) -> Value {
    let mut properties = Map::new();
    let mut rules = Vec::new();
    for key in keys {
        for name in key.names() {
            properties.insert(name.to_owned(), key_schema(key, program));
        }
        if let Some(alias) = key.alias {
            rules.push(json!({ "not": { "required": [key.name, alias] } }));
        }
        if matches!(key.kind, Kind::Options) {
            rules.extend(program.drivers.iter().map(|(name, options)| driver_options(name, key.name, options)));
        }
    }
    let required: Vec<_> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut record = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        record["required"] = json!(required);
    }
    if !rules.is_empty() {
        record["allOf"] = json!(rules);
    }
    record
}

fn key_schema(key: &Key, program: Program<'_>) -> Value {
    let mut schema = kind(key.kind, key.required, program);
    schema["description"] = described(key.help, key.default).into();
    schema
}

fn described(help: &str, default: &str) -> String {
    if default.is_empty() { help.to_owned() } else { format!("{help} Default: {default}.") }
}

fn kind(kind: Kind, required: bool, program: Program<'_>) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int { min, max, .. } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Descriptors => json!({ "enum": [0, 1, 2, 4, 8, 16, 32] }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Driver => driver(program.drivers),
        Kind::Name => json!({ "type": "string", "minLength": 1 }),
        Kind::Choice(words) => {
            let any_case: Vec<_> = words.iter().map(|word| without_case(word)).collect();
            let any_case = format!("^({})?$", any_case.join("|"));
            json!({ "type": "string", "anyOf": [{ "enum": words }, { "pattern": any_case }] })
        }
        Kind::Ints { min, max, .. } => {
            json!({ "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": min, "maximum": max } })
        }
        Kind::Names { or_one } => names(or_one, required),
        Kind::Queues => {
            let one = json!([{ "type": "integer", "minimum": 0, "maximum": 65535 }, { "type": "string", "pattern": NUMBER_LIST }]);
            let list = json!({ "type": "array", "minItems": 1, "items": { "anyOf": one } });
            json!({ "anyOf": [{ "const": "all" }, one[0], one[1], list] })
        }
        Kind::Options => {
            json!({ "type": "object", "additionalProperties": { "type": ["boolean", "integer", "string"] } })
        }
        Kind::Wrappers => {
            let wrapper = json!({ "anyOf": [wrapper_text(program.wrappers), wrapper_object(program.wrappers)] });
            json!({ "type": "array", "items": wrapper })
        }
        Kind::Ignored => json!({ "deprecated": true }),
    }
}

fn names(or_one: bool, required: bool) -> Value {
    let name = json!({ "type": "string", "minLength": 1 });
    let list = json!({ "type": "array", "minItems": usize::from(required), "items": name });
    if or_one { json!({ "anyOf": [list, name] }) } else { list }
}

/// A driver's name with or without options behind it. Files of CNDP are good for whoever has their drivers.
fn driver(drivers: Tables<'_>) -> Value {
    if drivers.is_empty() {
        return any_name();
    }
    let absent = CNDP.iter().copied().filter(|cndp| drivers.iter().all(|(name, _)| name != cndp));
    name_with_options(&drivers.iter().map(|(name, _)| *name).chain(absent).collect::<Vec<_>>())
}

/// A wrapper's, likewise.
fn wrapper_text(wrappers: Tables<'_>) -> Value {
    if wrappers.is_empty() {
        return any_name();
    }
    name_with_options(&wrappers.iter().map(|(name, _)| *name).collect::<Vec<_>>())
}

fn any_name() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn name_with_options(names: &[&str]) -> Value {
    let with_options = format!("^({}):", names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("|"));
    json!({ "type": "string", "anyOf": [{ "enum": names }, { "pattern": with_options }] })
}

/// What the object of options may hold if the driver is `name`.
fn driver_options(name: &str, key: &str, options: &[OptionSpec]) -> Value {
    json!({
        "if": { "properties": { "pmd": { "pattern": format!("^{}(:|$)", escaped(name)) } }, "required": ["pmd"] },
        "then": { "properties": { key: options_object(options) } },
    })
}

/// An object of one member: a wrapper and its options.
fn wrapper_object(wrappers: Tables<'_>) -> Value {
    let mut properties = Map::new();
    for (name, options) in wrappers {
        let mut object = options_object(options);
        object["type"] = "object".into();
        properties.insert((*name).to_owned(), object);
    }
    let other = if wrappers.is_empty() { json!({ "type": "object" }) } else { json!(false) };
    json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": other,
        "minProperties": 1,
        "maxProperties": 1,
    })
}

fn options_object(options: &[OptionSpec]) -> Value {
    let properties: Map<_, _> = options.iter().map(|spec| (spec.name.to_owned(), option(spec))).collect();
    json!({ "properties": properties, "additionalProperties": false })
}

fn option(spec: &OptionSpec) -> Value {
    let mut schema = match spec.kind {
        OptionKind::Bool => json!({ "anyOf": [
            { "type": "boolean" },
            { "enum": ["yes", "no", "true", "false", "on", "off", "1", "0"] },
        ] }),
        OptionKind::Int { min, max } => json!({ "anyOf": [
            { "type": "integer", "minimum": min, "maximum": max },
            { "type": "string", "pattern": "^[0-9]+$" },
        ] }),
        OptionKind::Text { max_len } => json!({ "type": "string", "maxLength": max_len }),
        OptionKind::Choice(words) => json!({ "enum": words }),
        OptionKind::Mac => {
            json!({ "type": "string", "pattern": "^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$" })
        }
    };
    schema["description"] = described(spec.help, spec.default).into();
    schema
}

/// A pattern for `word` in any case.
fn without_case(word: &str) -> String {
    let either = |c: char| match (c.to_ascii_lowercase(), c.to_ascii_uppercase()) {
        (lower, upper) if lower != upper => format!("[{lower}{upper}]"),
        _ => escaped(&c.to_string()),
    };
    word.chars().map(either).collect()
}

/// A pattern for exactly `text`.
fn escaped(text: &str) -> String {
    let escape = |c: char| if r"^$\.*+?()[]{}|/".contains(c) { format!("\\{c}") } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[OptionSpec] = &[
        OptionSpec { name: "id", kind: OptionKind::Int { min: 0, max: 9 }, default: "3", help: "Number." },
        OptionSpec { name: "role", kind: OptionKind::Choice(&["client", "server"]), default: "", help: "Role." },
    ];

    #[test]
    fn every_key_of_the_parser_is_in_the_schema_and_explained() {
        let schema = schema(&[("net_x", OPTIONS)], &[]);
        for section in SECTIONS {
            let (path, keys) = match section.shape {
                Shape::Record(keys) | Shape::OpenRecord(keys) => ("", keys),
                Shape::Named(keys) => ("/additionalProperties", keys),
                _ => ("", &[][..]),
            };
            for name in keys.iter().flat_map(Key::names) {
                let pointer = format!("/properties/{}{path}/properties/{name}/description", section.name);
                assert!(schema.pointer(&pointer).is_some_and(|help| !help.as_str().unwrap().is_empty()), "{pointer}");
            }
        }
    }

    #[test]
    fn options_of_a_driver_hold_for_that_driver_alone() {
        let schema = schema(&[("net_x", OPTIONS), ("net_y", &[])], &[]);
        let rules = schema.pointer("/properties/lports/additionalProperties/allOf").unwrap().as_array().unwrap();
        let of = |driver: &str| rules.iter().find(|rule| rule.to_string().contains(driver)).unwrap();
        let role = "/then/properties/pmd_opts/properties/role/enum";
        assert_eq!(of("net_x").pointer(role), Some(&json!(["client", "server"])));
        assert_eq!(of("net_y").pointer(role), None);
    }

    #[test]
    fn wrappers_are_strings_or_objects_of_one_member() {
        let schema = schema(&[], &[("fault", OPTIONS), ("tap", &[])]);
        let wrap = schema.pointer("/properties/lports/additionalProperties/properties/wrap/items/anyOf").unwrap();
        assert_eq!(wrap.pointer("/0/anyOf/0/enum"), Some(&json!(["fault", "tap"])));
        let id = "/1/properties/fault/properties/id/anyOf/0/maximum";
        assert_eq!((wrap.pointer(id), wrap.pointer("/1/maxProperties")), (Some(&json!(9)), Some(&json!(1))));
        assert_eq!(wrap.pointer("/1/additionalProperties"), Some(&json!(false)));
    }
}
