//! Bad input: each gives the documented exit code (2 usage, 3 configuration, 4 a configured lport could not be opened)
//! and a message that names the value and the limit. Nothing half-configured ever runs.

use std::fs;

use anyhow::Result;
use lport_tests::lport::Finished;
use lport_tests::memif::{Memif, Role, Socket};
use lport_tests::{LportFile, Testbed};
use serde_json::json;

const USAGE: i32 = 2;
const CONFIGURATION: i32 = 3;
const NOT_OPENED: i32 = 4;

/// Runs `text` as a file; it must end by itself.
fn run(text: &str, more: &[&str]) -> Result<Finished> {
    let testbed = Testbed::new()?;
    testbed.write("bad.jsonc", text)?;
    testbed.lport(&[&["run", "bad.jsonc"], more].concat())?.wait()
}

/// Asserts the exit code and that the message contains each of `words`.
#[track_caller]
fn assert_refused(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.code(), Some(code), "{}\n{}", finished.stdout, finished.stderr);
    for word in words {
        assert!(finished.stderr.contains(word), "no {word:?} in:\n{}", finished.stderr);
    }
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

/// A file with one good memif lport, changed by `change`.
fn memif_file(change: impl FnOnce(Memif) -> Memif) -> String {
    let socket = Socket::Abstract("lport-bad-input".to_owned());
    LportFile::new("drop").memif("port", &change(Memif::new(Role::Client, &socket)), 1).text()
}

#[test]
fn no_or_unknown_arguments_are_a_usage_error() -> Result<()> {
    let testbed = Testbed::new()?;
    assert_refused(&testbed.lport(&["run"])?.wait()?, USAGE, &["FILE"]);
    assert_refused(&testbed.lport(&["fly"])?.wait()?, USAGE, &["fly"]);
    assert_refused(&testbed.lport(&["run", "x.jsonc", "--burst", "257"])?.wait()?, USAGE, &["257", "256"]);
    assert_refused(&testbed.lport(&["run", "x.jsonc", "--duration", "-1"])?.wait()?, USAGE, &["-1"]);
    Ok(())
}

#[test]
fn a_missing_file_is_named() -> Result<()> {
    let finished = Testbed::new()?.lport(&["run", "absent.jsonc"])?.wait()?;
    assert_refused(&finished, CONFIGURATION, &["absent.jsonc", "No such file"]);
    Ok(())
}

#[test]
fn a_directory_is_no_file() -> Result<()> {
    let testbed = Testbed::new()?;
    fs::create_dir(testbed.path("folder"))?;
    assert_refused(&testbed.lport(&["run", "folder"])?.wait()?, CONFIGURATION, &["folder", "directory"]);
    Ok(())
}

#[test]
fn broken_text_is_shown_at_its_place() -> Result<()> {
    assert_refused(&run("{\n  \"lports\": { \"a\" 1 }\n}\n", &[])?, CONFIGURATION, &["bad.jsonc:2:"]);
    assert_refused(&run("", &[])?, CONFIGURATION, &["bad.jsonc", "empty"]);
    Ok(())
}

#[test]
fn a_file_that_configures_nothing_is_refused() -> Result<()> {
    assert_refused(&run("{}", &[])?, CONFIGURATION, &["bad.jsonc", "lport"]);
    Ok(())
}

#[test]
fn unknown_drivers_and_options_are_named_with_the_known_ones() -> Result<()> {
    let unknown_driver = LportFile::new("drop").lport("port:0", json!({ "pmd": "net_memff", "umem": "packets" }));
    assert_refused(&run(&unknown_driver.text(), &[])?, CONFIGURATION, &["bad.jsonc:", "net_memff", "net_memif"]);
    let unknown_option = memif_file(|memif| memif.with("rsise", 10));
    assert_refused(&run(&unknown_option, &[])?, CONFIGURATION, &["bad.jsonc:", "rsise", "rsize"]);
    assert_refused(&run(&LportFile::new("fast").text(), &[])?, CONFIGURATION, &["fast", "tx-only"]);
    Ok(())
}

#[test]
fn values_out_of_range_are_named_with_the_limit() -> Result<()> {
    let cases: [(&str, &str, &[&str]); 4] = [
        ("rsize", "15", &["rsize", "15", "14"]),
        ("bsize", "65536", &["bsize", "65536", "65535"]),
        ("role", "boss", &["role", "boss", "client", "server"]),
        ("secret", "a secret of 25 characters", &["secret", "25"]),
    ];
    for (key, value, words) in cases {
        // `role` is always written first; a second one would be a repeated key.
        let text = memif_file(|memif| if key == "role" { memif } else { memif.with(key, value) });
        let text = if key == "role" { text.replace("role=client", "role=boss") } else { text };
        assert_refused(&run(&text, &[])?, CONFIGURATION, &[&["bad.jsonc:"], words].concat());
    }
    Ok(())
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_with_the_limit() -> Result<()> {
    let long = format!("/tmp/{}", "x".repeat(120));
    let file = LportFile::new("drop").memif("port", &Memif::new(Role::Server, &Socket::Path(long.clone().into())), 1);
    assert_refused(&run(&file.text(), &[])?, CONFIGURATION, &[&long, "125", "107"]);
    Ok(())
}

#[test]
fn a_socket_that_cannot_be_made_is_fatal_and_named() -> Result<()> {
    let path = "/nonexistent-directory/sock";
    let server = Memif::new(Role::Server, &Socket::Path(path.into()));
    let finished = run(&LportFile::new("drop").memif("port", &server, 1).text(), &[])?;
    assert_refused(&finished, NOT_OPENED, &["`port`", path, "create it"]);
    Ok(())
}

#[test]
fn a_file_that_is_no_socket_is_not_taken_over() -> Result<()> {
    let testbed = Testbed::new()?;
    let path = testbed.write("precious", "precious")?;
    let server = Memif::new(Role::Server, &testbed.path_socket("precious"));
    testbed.write("file.jsonc", &LportFile::new("drop").memif("port", &server, 1).text())?;
    let finished = testbed.lport(&["run", "file.jsonc"])?.wait()?;
    assert_refused(&finished, NOT_OPENED, &["`port`", &path.display().to_string()]);
    assert_eq!(fs::read_to_string(path)?, "precious");
    Ok(())
}

#[test]
fn a_cpu_that_this_machine_lacks_is_named() -> Result<()> {
    let text = memif_file(|memif| memif).replace("\"anywhere\": []", "\"anywhere\": [1023]");
    assert_refused(&run(&text, &[])?, CONFIGURATION, &["1023"]);
    Ok(())
}

#[test]
fn an_lport_that_no_thread_polls_is_a_warning() -> Result<()> {
    let testbed = Testbed::new()?;
    let file = LportFile::new("drop")
        .lport("polled", json!({ "pmd": "net_null", "umem": "packets" }))
        .lport("forgotten", json!({ "pmd": "net_null", "umem": "packets" }))
        .thread("fwd:0", &["polled"]);
    testbed.write("file.jsonc", &file.text())?;
    let checked = testbed.lport(&["check", "file.jsonc"])?.wait()?;
    assert_eq!(checked.code(), Some(0), "{}", checked.stderr);
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("forgotten") && said.contains("thread"), "{said}");
    Ok(())
}

#[test]
fn partial_runs_go_on_without_what_cannot_be_opened() -> Result<()> {
    let testbed = Testbed::new()?;
    let bad = Memif::new(Role::Server, &Socket::Path("/nonexistent-directory/sock".into()));
    let good = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let file = LportFile::new("drop").memif("bad", &bad, 1).memif("good", &good, 1);
    testbed.write("file.jsonc", &file.text())?;
    let refused = testbed.lport(&["run", "file.jsonc", "--duration", "0.1"])?.wait()?;
    assert_refused(&refused, NOT_OPENED, &["`bad`", "/nonexistent-directory/sock"]);
    let arguments = ["run", "file.jsonc", "--duration", "0.1", "--json", "--allow-partial"];
    let partial = testbed.lport(&arguments)?.wait()?;
    assert!(partial.stderr.contains("/nonexistent-directory/sock"), "{}", partial.stderr);
    let summary = partial.summary()?;
    assert_eq!(summary.lport("good:0")?.driver, "net_memif");
    Ok(())
}
