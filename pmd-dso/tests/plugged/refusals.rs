//! What is no driver is refused, in words that say what it is and what to do.

use std::fs;
use std::sync::Arc;

use crate::support::{c_driver, try_load};
use pmd_core::{OptionKind, Registry};
use pmd_dso::{Checking, load};

const BAD: &str = "pmd-dso/tests/drivers/bad.c";

#[test]
fn a_table_that_makes_no_sense_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (
            "NO_SYMBOL",
            "no driver: it has no symbol `pmd_plugin`; export one with PMD_EXPORT, or export_driver! in Rust",
        ),
        (
            "OLD_VERSION",
            "it speaks version 4711 of the driver interface, but this program speaks version 1: compile it again",
        ),
        ("OTHER_SIZE", "its `struct pmd_stats` has 72 bytes, but this program's has 64: compile it again"),
        ("NO_INIT", "`init` of its symbol `pmd_plugin` is a null pointer"),
        ("NO_DRIVER", "its `init` gave no driver"),
        ("NO_NAME", "the driver's `name` is a null pointer"),
        ("LONG_NAME", "but must be 1 to 63 visible ASCII characters"),
        ("NAME_NOT_UTF8", r#"the driver's `name` is "net_\xff\xfe", which is not UTF-8"#),
        (
            "SUMMARY_CONTROL",
            "driver `net_bad`: `summary` is \"clears your screen: \\u{1b}[2J\", with control characters",
        ),
        ("NO_OPEN", "driver `net_bad`: function `open` is a null pointer, but every driver must have it"),
        ("NO_RX", "driver `net_bad`: function `rx_burst` is a null pointer, but every driver must have it"),
        ("NULL_OPTIONS", "driver `net_bad`: `options` is a null pointer, but `option_count` is 2"),
        ("MANY_OPTIONS", "driver `net_bad`: `option_count` is 1000000, but a driver has at most 256 options"),
        ("FLAGS", "driver `net_bad`: `flags` is 0x6, but only PMD_NEEDS_POOL (1) is known"),
        ("OPTION_KIND", "driver `net_bad`: option `a`: `kind` is 17, but must be 1 to 5"),
        ("OPTION_RANGE", "driver `net_bad`: option `a`: `min` is 2, above `max` 1"),
        ("OPTION_DEFAULT", "option `a` is \"10\", but takes a whole number from 1 to 9"),
        ("OPTION_NO_HELP", "driver `net_bad`: option `a`: `help` is a null pointer"),
        ("OPTION_NO_NAME", "driver `net_bad`: the name of option number 0 is a null pointer"),
        ("OPTION_SPACE", "driver `net_bad`: the name of option number 0 is \"a b\", but must be"),
        ("OPTION_NO_WORDS", "driver `net_bad`: option `a`: `words` is a null pointer"),
        ("OPTION_EMPTY_WORDS", "driver `net_bad`: option `a`: `words` is empty"),
        ("OPTION_CHOICE", "option `a` is \"some\", but takes one of none"),
        ("OPTION_TWICE", "driver `net_bad`: option `a` stands in the table twice"),
    ];
    for (name, said) in cases {
        let object = c_driver(directory.path(), BAD, &[name]);
        let error = try_load(&object, Checking::On).map(|_| ()).expect_err(name).to_string();
        assert!(error.starts_with(&object.display().to_string()), "{name}: {error}");
        assert!(error.contains(said), "{name}: {error}");
    }
}

#[test]
fn files_that_are_no_shared_objects_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let refusal = |path: &std::path::Path| try_load(path, Checking::Off).map(|_| ()).unwrap_err().to_string();
    let path = directory.path().join("libx.so");
    assert_eq!(refusal(&path), format!("{}: No such file or directory (os error 2)", path.display()));
    fs::write(&path, "#!/bin/sh\necho not a driver\n").unwrap();
    assert!(refusal(&path).contains("not a shared object"));
    // A good head alone is the dynamic linker's to refuse.
    let object = c_driver(directory.path(), BAD, &[]);
    let bytes = fs::read(&object).unwrap();
    fs::write(&path, &bytes[..64]).unwrap();
    assert!(refusal(&path).contains("cannot be loaded: "), "{}", refusal(&path));
    let foreign: Vec<_> = bytes.iter().enumerate().map(|(at, byte)| if at == 18 { 22 } else { *byte }).collect();
    fs::write(&path, foreign).unwrap();
    assert!(refusal(&path).contains("compiled for s390x, but this program runs on "), "{}", refusal(&path));
    let program = std::env::current_exe().unwrap();
    assert!(refusal(&program).contains("symbol `pmd_plugin`") || refusal(&program).contains("cannot be loaded"));
}

#[test]
fn a_directory_is_all_its_shared_objects() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = Registry::with_reference_drivers();
    let error = load(directory.path(), Checking::On, &mut registry).unwrap_err().to_string();
    assert!(error.ends_with("the directory has no file whose name ends in .so"), "{error}");
    c_driver(directory.path(), BAD, &[]);
    c_driver(directory.path(), "pmd-plugin/examples/loop.c", &[]);
    fs::write(directory.path().join("README"), "not a driver").unwrap();
    load(directory.path(), Checking::On, &mut registry).unwrap();
    assert_eq!(registry.names(), ["net_null", "net_ring", "net_bad", "net_loop_c"]);
    // Again, by another way to the same files: they are the same drivers.
    let before = Arc::clone(registry.get("net_bad").unwrap());
    std::os::unix::fs::symlink(directory.path(), directory.path().join("again")).unwrap();
    load(&directory.path().join("again"), Checking::On, &mut registry).unwrap();
    assert!(Arc::ptr_eq(&before, registry.get("net_bad").unwrap()));
    let options = before.options();
    assert!(matches!(options[0].kind, OptionKind::Text { max_len: 31 }) && options[0].default == "none");
    assert!(matches!(options[1].kind, OptionKind::Choice(["none"])) && options[1].default.is_empty());
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let object = c_driver(directory.path(), BAD, &["NAME_TAKEN"]);
    let mut registry = Registry::with_reference_drivers();
    let error = load(&object, Checking::On, &mut registry).unwrap_err().to_string();
    assert!(error.ends_with("a driver called `net_null` is there already: rename one"), "{error}");
}
