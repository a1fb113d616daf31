//! `lport check FILE...`: all problems of lport files, and what they would run, for people or as JSON.

use lport_config::Diagnostic;
use serde::Serialize;
use serde_json::Value;

use crate::cli::CheckArgs;
use crate::description::describe;
use crate::drivers::registry_with;
use crate::failure::Failure;
use crate::file::Checked;
use crate::logging::is_coloured;
use crate::machine::Facts;
use crate::output::{print, print_json};

/// What is said about one file, with `--json`.
#[derive(Debug, Serialize)]
struct FileReport<'a> {
    file: &'a str,
    errors: usize,
    diagnostics: &'a [Diagnostic],
    /// What `lport run` would run; nothing for a file that cannot be read as one.
    deployment: Option<Value>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure::Configuration`] when a file has errors, or warnings that are denied.
pub(crate) fn check(args: &CheckArgs) -> Result<(), Failure> {
    let registry = registry_with(&args.drivers)?;
    let mut checked: Vec<_> = args.files.iter().map(|path| Checked::load(path, &registry, None)).collect();
    if args.machine {
        let facts = Facts::gather();
        checked.iter_mut().for_each(|file| file.check_machine(&registry, &facts));
    }
    if args.format.json {
        print_json(&checked.iter().map(report).collect::<Vec<_>>())?;
    } else {
        for file in &checked {
            print(&for_people(file))?;
        }
    }
    verdict(&checked, args.deny_warnings)
}

fn report(checked: &Checked) -> FileReport<'_> {
    FileReport {
        file: checked.source.name(),
        errors: checked.errors(),
        diagnostics: &checked.diagnostics,
        deployment: checked.file.as_ref().map(describe),
    }
}

fn verdict(checked: &[Checked], deny_warnings: bool) -> Result<(), Failure> {
    let names = |wrong: &dyn Fn(&Checked) -> bool| -> Vec<_> {
        checked.iter().filter(|file| wrong(file)).map(|file| file.source.name()).collect()
    };
    let wrong = names(&|file| file.errors() > 0);
    if !wrong.is_empty() {
        return Err(Failure::Configuration(format!("errors in {}", wrong.join(", "))));
    }
    let warned = names(&|file| deny_warnings && !file.diagnostics.is_empty());
    if warned.is_empty() {
        return Ok(());
    }
    Err(Failure::Configuration(format!("warnings, which --deny-warnings denies, in {}", warned.join(", "))))
}

fn for_people(checked: &Checked) -> String {
    if checked.diagnostics.is_empty() {
        return format!("{}: good", checked.source.name());
    }
    checked.render(is_coloured(&std::io::stdout())).trim_end().to_owned()
}
