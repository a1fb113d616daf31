//! `lport drivers`: the drivers, and the wrappers that go around their lports, all or those named, with every option, what it
//! takes, its default and what it is for.

use std::sync::Arc;

use pmd_core::{Driver, OptionKind, OptionSpec, Wrapper};
use serde_json::{Value, json};

use crate::cli::DriversArgs;
use crate::drivers::{find, registry_with};
use crate::failure::Failure;
use crate::output::{Align, Table, print, print_json};

/// Runs the command.
///
/// # Errors
/// When a driver cannot be loaded, a name is no driver's, or it cannot print.
pub(crate) fn drivers(args: &DriversArgs) -> Result<(), Failure> {
    let registry = registry_with(&args.drivers)?;
    let named = |name: &String| match registry.wrapper(name) {
        Some(wrapper) => Ok(Listed::Wrapper(wrapper)),
        None => find(&registry, name).map(Listed::Driver),
    };
    let named = args.names.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let all = registry.iter().map(Listed::Driver).chain(registry.wrappers().map(Listed::Wrapper));
    let shown = if named.is_empty() { all.collect() } else { named };
    if args.format.json {
        return print_json(&shown.into_iter().map(Listed::json).collect::<Vec<_>>());
    }
    print(shown.into_iter().map(Listed::text).collect::<Vec<_>>().join("\n\n").trim_end())
}

/// A driver or a wrapper.
#[derive(Clone, Copy)]
enum Listed<'a> {
    Driver(&'a Arc<dyn Driver>),
    Wrapper(&'a Arc<dyn Wrapper>),
}

impl Listed<'_> {
    fn text(self) -> String {
        match self {
            Self::Driver(driver) => driver_text(driver),
            Self::Wrapper(wrapper) => wrapper_text(wrapper),
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Driver(driver) => driver_json(driver),
            Self::Wrapper(wrapper) => wrapper_json(wrapper),
        }
    }
}

fn driver_text(driver: &Arc<dyn Driver>) -> String {
    let umem = if driver.needs_pool() { "its lports need a `umem`" } else { "its lports need no `umem`" };
    format!("{}: {}; {umem}\n{}", driver.name(), driver.summary(), options_text(driver.options()))
}

fn wrapper_text(wrapper: &Arc<dyn Wrapper>) -> String {
    let (name, summary) = (wrapper.name(), wrapper.summary());
    format!("{name}: {summary}; for `wrap` of an lport\n{}", options_text(wrapper.options()))
}

fn options_text(options: &[OptionSpec]) -> String {
    if options.is_empty() {
        return "  (no options)".into();
    }
    let headings = [("", Align::Left), ("option", Align::Left), ("takes", Align::Left), ("default", Align::Left)];
    let mut table = Table::new(&[&headings[..], &[("", Align::Left)]].concat());
    for option in options {
        let default = if option.default.is_empty() { "-" } else { option.default };
        table.row([String::new(), option.name.into(), option.kind.to_string(), default.into(), option.help.into()]);
    }
    table.to_string()
}

fn driver_json(driver: &Arc<dyn Driver>) -> Value {
    let options: Vec<_> = driver.options().iter().map(option_json).collect();
    json!({
        "name": driver.name(),
        "kind": "driver",
        "summary": driver.summary(),
        "needs_umem": driver.needs_pool(),
        "options": options,
    })
}

fn wrapper_json(wrapper: &Arc<dyn Wrapper>) -> Value {
    let options: Vec<_> = wrapper.options().iter().map(option_json).collect();
    json!({ "name": wrapper.name(), "kind": "wrapper", "summary": wrapper.summary(), "options": options })
}

fn option_json(option: &OptionSpec) -> Value {
    let mut json = json!({ "name": option.name });
    let kind = match option.kind {
        OptionKind::Bool => json!({ "kind": "bool" }),
        OptionKind::Int { min, max } => json!({ "kind": "int", "min": min, "max": max }),
        OptionKind::Text { max_len } => json!({ "kind": "text", "max_len": max_len }),
        OptionKind::Choice(words) => json!({ "kind": "choice", "choices": words }),
        OptionKind::Mac => json!({ "kind": "mac" }),
    };
    let default = if option.default.is_empty() { Value::Null } else { json!(option.default) };
    let rest = json!({ "default": default, "help": option.help });
    for part in [kind, rest] {
        if let (Value::Object(json), Value::Object(part)) = (&mut json, part) {
            json.extend(part);
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::registry;

    /// Every word and number of the kind of an option.
    fn limits(kind: OptionKind) -> Vec<String> {
        match kind {
            OptionKind::Bool => vec!["yes".into(), "no".into()],
            OptionKind::Int { min, max } => vec![min.to_string(), max.to_string()],
            OptionKind::Text { max_len } => vec![max_len.to_string()],
            OptionKind::Choice(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            OptionKind::Mac => vec!["02:00:00:00:00:01".into()],
        }
    }

    #[test]
    fn every_option_has_a_line_with_its_limits_its_default_and_its_help() {
        for driver in registry().iter() {
            let text = driver_text(driver);
            assert!(text.starts_with(&format!("{}: {}", driver.name(), driver.summary())), "{text}");
            assert_eq!(text.lines().count(), 2 + driver.options().len());
            for option in driver.options() {
                let is_its = |line: &&str| line.split_whitespace().next() == Some(option.name);
                let line = text.lines().skip(2).find(is_its).unwrap_or_else(|| panic!("no {}: {text}", option.name));
                let default = if option.default.is_empty() { "-" } else { option.default };
                let wanted = limits(option.kind).into_iter().chain([default.to_owned(), option.help.to_owned()]);
                for word in wanted {
                    assert!(line.contains(&word), "no {word:?} in: {line}");
                }
            }
        }
    }

    #[test]
    fn json_tells_all_that_the_table_of_a_driver_has() {
        for driver in registry().iter() {
            let json = driver_json(driver);
            assert_eq!(
                (json["name"].as_str(), json["summary"].as_str()),
                (Some(driver.name()), Some(driver.summary()))
            );
            let options = json["options"].as_array().unwrap();
            assert_eq!(options.len(), driver.options().len());
            for (json, option) in options.iter().zip(driver.options()) {
                assert_eq!((json["name"].as_str(), json["help"].as_str()), (Some(option.name), Some(option.help)));
                assert_eq!(json["default"].as_str().unwrap_or_default(), option.default);
                let told = match option.kind {
                    OptionKind::Bool => json["kind"] == "bool",
                    OptionKind::Int { min, max } => json["min"] == min && json["max"] == max,
                    OptionKind::Text { max_len } => json["max_len"] == max_len,
                    OptionKind::Choice(words) => json["choices"] == json!(words),
                    OptionKind::Mac => json["kind"] == "mac",
                };
                assert!(told, "{json}");
            }
        }
    }
}
