//! The table of conformance statements in `docs/memif-conformance.md` and the tests of this crate agree, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const STATEMENTS: u32 = 70;

/// Tests of a source file, or of a row of the table, as `path::name`.
type Tests = BTreeSet<String>;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/memif-conformance.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rows by the number of their statement.
fn table() -> BTreeMap<u32, Tests> {
    let mut rows = BTreeMap::new();
    for (number, tests) in document().lines().filter_map(row) {
        assert!(rows.insert(number, tests).is_none(), "statement {number} has two rows");
    }
    rows
}

/// The number and the tests of `| number | statement | tests |`; `None` for any other line.
fn row(line: &str) -> Option<(u32, Tests)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let number = cells.next()?.parse().ok()?;
    let tests = cells.nth(1)?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((number, tests))
}

/// Every test function of the crate.
fn tests() -> Tests {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Tests::new();
    for file in ["src", "tests"].iter().flat_map(|directory| sources(&root.join(directory))) {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let path = file.strip_prefix(root).expect("a source lies below the crate").display().to_string();
        found.extend(test_functions(&text).map(|name| format!("{path}::{name}")));
    }
    found
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("the directory is readable").path());
    let below = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Names of the functions behind `#[test]`, whatever other attributes and comments stand between.
fn test_functions(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]\n").skip(1).filter_map(|rest| {
        let mut lines = rest.lines().map(str::trim);
        let declaration = lines.find(|line| !line.starts_with("#[") && !line.starts_with("//"))?;
        declaration.strip_prefix("fn ")?.split('(').next()
    })
}

/// The statements that a test's name says it shows: `s5_s6_such_and_such` is 5 and 6.
fn numbers(test: &str) -> impl Iterator<Item = u32> {
    let name = test.rsplit("::").next().unwrap_or(test);
    name.split('_').map_while(|word| word.strip_prefix('s')?.parse().ok())
}

#[test]
fn every_statement_has_a_test_that_names_its_number() {
    let rows = table();
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=STATEMENTS).collect::<Vec<_>>());
    let lacking = |(number, tests): &(&u32, &Tests)| !tests.iter().any(|test| numbers(test).any(|n| n == **number));
    let lacking: Vec<_> = rows.iter().filter(lacking).map(|(number, _)| number).collect();
    assert!(lacking.is_empty(), "no numbered test for the statements {lacking:?}: write one, named s<number>_...");
}

#[test]
fn every_test_of_the_table_exists() {
    let tests = tests();
    let text = document();
    let named = text.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains("::"));
    let missing: Vec<_> = named.filter(|test| !tests.contains(*test)).collect();
    assert!(missing.is_empty(), "the sources have no {missing:?}: correct docs/memif-conformance.md");
}

#[test]
fn every_numbered_test_is_in_the_table() {
    let rows = table();
    let tests = tests();
    let all = tests.iter().flat_map(|test| numbers(test).map(move |number| (number, test)));
    let unlisted: Vec<_> =
        all.filter(|(number, test)| !rows.get(number).is_some_and(|row| row.contains(*test))).collect();
    assert!(unlisted.is_empty(), "docs/memif-conformance.md does not list {unlisted:?}");
}
