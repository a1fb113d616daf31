//! Every rule, broken by a file of its own, with the diagnostics that it gets.
//!
//! `tests/golden/NAME.jsonc` is the file, `NAME.expected` what is drawn for it. After a deliberate change run with
//! `UPDATE_GOLDEN=1` and read the difference.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lport_config::{Config, Diagnostic, Outcome, RULES, Settings, render};

use common::TestDrivers;

/// Names of the files of a kind, sorted.
fn names(extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir("tests/golden").unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Reads a file as an application with three options of its own does.
fn check(path: &Path) -> (Outcome, Vec<Diagnostic>) {
    let outcome = Config::load(path, &Settings::default().drivers(&TestDrivers));
    let mut diagnostics = outcome.diagnostics.clone();
    if let Some(config) = outcome.readable() {
        let mut options = config.options();
        options.text("mode");
        options.bool("cli");
        options.bool("no-metrics");
        options.int("rate", 0..=100);
        diagnostics.extend(options.finish(&outcome.source));
    }
    (outcome, diagnostics)
}

fn file(name: &str, extension: &str) -> PathBuf {
    Path::new("tests/golden").join(format!("{name}.{extension}"))
}

#[test]
fn every_broken_file_gets_the_diagnostics_expected() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for name in names("jsonc") {
        let (outcome, diagnostics) = check(&file(&name, "jsonc"));
        let drawn: Vec<_> = diagnostics.iter().map(|diagnostic| render(&outcome.source, diagnostic, false)).collect();
        let drawn = drawn.join("\n");
        let expected = file(&name, "expected");
        if update {
            fs::write(&expected, &drawn).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(&drawn) {
            wrong.push(format!("{}:\n{drawn}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "missing or stale expectations (UPDATE_GOLDEN=1 writes them):\n{}", wrong.join("\n"));
    assert_eq!(names("expected"), names("jsonc"), "an expectation without its file");
}

#[test]
fn every_file_breaks_a_rule_and_every_rule_is_broken() {
    let mut broken = BTreeSet::new();
    for name in names("jsonc") {
        let (_, diagnostics) = check(&file(&name, "jsonc"));
        assert!(!diagnostics.is_empty(), "{name} breaks no rule");
        for Diagnostic { message, help, primary, .. } in &diagnostics {
            assert!(help.is_some(), "{name}: what to do about it? {message}");
            assert!(!primary.text.is_empty() || primary.span.start == primary.span.end, "{name}: no word at the caret");
        }
        broken.extend(diagnostics.iter().map(|diagnostic| diagnostic.code));
    }
    // A file that cannot be read cannot be kept beside its expectation.
    let rules = RULES.iter().map(|rule| rule.code).filter(|code| *code != "E0001");
    assert_eq!(broken, rules.collect());
}
