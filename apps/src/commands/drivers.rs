//! `lport drivers`: the drivers, and the wrappers that go around their lports, with every option, its range and default.

use pmd_core::{OptionKind, OptionSpec};
use serde_json::{Value, json};

use crate::cli::Format;
use crate::drivers::registry;
use crate::failure::Failure;
use crate::output::{Align, Table, print, print_json};

/// Runs the command.
///
/// # Errors
/// When it cannot print.
pub(crate) fn drivers(format: Format) -> Result<(), Failure> {
    let registry = registry();
    let drivers = registry.iter().map(|driver| Listed {
        kind: "driver",
        name: driver.name(),
        summary: driver.summary(),
        options: driver.options(),
    });
    let wrappers = registry.wrappers().map(|wrapper| Listed {
        kind: "wrapper",
        name: wrapper.name(),
        summary: wrapper.summary(),
        options: wrapper.options(),
    });
    if format.json {
        return print_json(&drivers.chain(wrappers).map(|listed| listed.json()).collect::<Vec<_>>());
    }
    let texts: Vec<_> = drivers.map(|listed| listed.text()).collect();
    let heading = "Wrappers, for `wrap` of an lport:".to_owned();
    let texts: Vec<_> = texts.into_iter().chain([heading]).chain(wrappers.map(|listed| listed.text())).collect();
    print(texts.join("\n\n").trim_end())
}

/// A driver or a wrapper.
struct Listed<'a> {
    kind: &'static str,
    name: &'a str,
    summary: &'a str,
    options: &'a [OptionSpec],
}

impl Listed<'_> {
    fn json(&self) -> Value {
        let options: Vec<_> = self.options.iter().map(option_json).collect();
        json!({ "name": self.name, "kind": self.kind, "summary": self.summary, "options": options })
    }

    fn text(&self) -> String {
        format!("{}  {}\n{}", self.name, self.summary, options_text(self.options))
    }
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
