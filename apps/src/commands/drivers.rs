//! `lport drivers`: the drivers with every option, its range and default.

use pmd_core::{OptionKind, OptionSpec};
use serde_json::{Value, json};

use crate::cli::DriversArgs;
use crate::drivers::registry_with;
use crate::failure::Failure;
use crate::output::{Align, Table, print, print_json};

/// Runs the command.
///
/// # Errors
/// When a driver cannot be loaded, or it cannot print.
pub(crate) fn drivers(args: &DriversArgs) -> Result<(), Failure> {
    let registry = registry_with(&args.drivers)?;
    if args.format.json {
        let driver = |driver: &std::sync::Arc<dyn pmd_core::Driver>| {
            let options: Vec<_> = driver.options().iter().map(option_json).collect();
            json!({ "name": driver.name(), "summary": driver.summary(), "options": options })
        };
        return print_json(&registry.iter().map(driver).collect::<Vec<_>>());
    }
    let texts: Vec<_> = registry
        .iter()
        .map(|driver| {
            let options = options_text(driver.options());
            format!("{}  {}\n{options}", driver.name(), driver.summary())
        })
        .collect();
    print(texts.join("\n\n").trim_end())
}

fn options_text(options: &[OptionSpec]) -> String {
    if options.is_empty() {
        return "  (no options)".into();
    }
    let mut table = Table::headless(&[Align::Left; 5]);
    for option in options {
        let default =
            if option.default.is_empty() { "no default".into() } else { format!("default {}", option.default) };
        let cells = [String::new(), option.name.into(), option.kind.to_string(), default, option.help.into()];
        table.row(cells);
    }
    table.to_string()
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
