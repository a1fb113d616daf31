//! Starting the program and reading what it prints.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Much longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// How a process ended, and what it said.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Asserts exit code 0 and reads the last line as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(self.stdout.lines().last().expect("a line")).expect("JSON")
    }

    /// [`Self::json`] of a run, with every pool whole.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let summary = self.json();
        for pool in summary["pools"].as_array().expect("pools") {
            assert_eq!(pool["available"], pool["size"], "{pool}");
        }
        summary
    }

    /// Asserts that it refused with `code` and said each of `words`, and did not panic.
    #[track_caller]
    pub(crate) fn assert_refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// The program with `arguments`, not yet started.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lport"));
    command.args(arguments).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command.env("RUNTIME_DIRECTORY", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs the program to its end.
pub(crate) fn lport(arguments: &[&str]) -> Finished {
    lport_with_input(arguments, "")
}

/// The same, with `input` on its standard input.
pub(crate) fn lport_with_input(arguments: &[&str], input: &str) -> Finished {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It may end without reading.
    let _ = child.stdin.take().expect("asked for").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// `text` as a file in `directory`.
pub(crate) fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a writable directory");
    path.display().to_string()
}

/// The repository's file `configs/<name>`.
pub(crate) fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name)
}

/// A run that goes on, printing its counters as JSON.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Starts `lport run <file> --json` with a short period.
    pub(crate) fn start(file: &str) -> Self {
        let mut child = command(&["run", file, "--json", "--stats-period", "0.05", "--duration", "120"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .env("RUST_LOG", "warn")
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("asked for"));
        Self { child, lines }
    }

    /// Reads its counters until `condition` holds.
    pub(crate) fn wait_for(&mut self, what: &str, condition: impl Fn(&Value) -> bool) {
        let end = Instant::now() + DEADLINE;
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("readable") > 0, "it ended while we waited for {what}");
            if condition(&serde_json::from_str(&line).expect("JSON")) {
                return;
            }
            assert!(Instant::now() < end, "waited in vain for {what}: {line}");
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it has not been waited for");
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end_by(mut self, signal: Signal) -> Finished {
        self.signal(signal);
        let mut stdout = String::new();
        self.lines.read_to_string(&mut stdout).expect("UTF-8");
        Finished { code: self.child.wait().expect("it ends").code(), stdout, stderr: String::new() }
    }
}

/// The sum of a counter over all lports of a summary.
pub(crate) fn total(summary: &Value, counter: &str) -> u64 {
    let lports = summary["lports"].as_array().expect("lports");
    lports.iter().map(|lport| lport[counter].as_u64().expect("a count")).sum()
}
