//! `lport check FILE...`: all problems of lport files, for people or as JSON.

use lport_config::Diagnostic;
use serde::Serialize;

use crate::cli::CheckArgs;
use crate::drivers::registry;
use crate::failure::Failure;
use crate::file::Checked;
use crate::logging::is_coloured;
use crate::output::{print, print_json};

/// What is said about one file, with `--json`.
#[derive(Debug, Serialize)]
struct FileReport<'a> {
    file: &'a str,
    errors: usize,
    diagnostics: &'a [Diagnostic],
}

/// Runs the command.
///
/// # Errors
/// [`Failure::Configuration`] when a file has errors.
pub(crate) fn check(args: &CheckArgs) -> Result<(), Failure> {
    let registry = registry();
    let checked: Vec<_> = args.files.iter().map(|path| Checked::load(path, &registry, None)).collect();
    if args.format.json {
        let report = |checked: &Checked| {
            serde_json::json!(FileReport {
                file: checked.source.name(),
                errors: checked.errors(),
                diagnostics: &checked.diagnostics,
            })
        };
        print_json(&checked.iter().map(report).collect::<Vec<_>>())?;
    } else {
        for file in &checked {
            print(&for_people(file))?;
        }
    }
    let wrong: Vec<_> = checked.iter().filter(|file| file.errors() > 0).map(|file| file.source.name()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Configuration(format!("errors in {}", wrong.join(", ")))) }
}

fn for_people(checked: &Checked) -> String {
    if checked.diagnostics.is_empty() {
        return format!("{}: good", checked.source.name());
    }
    checked.render(is_coloured(&std::io::stdout())).trim_end().to_owned()
}
