//! Another process of this program, running an lport file that we wrote: what `demo` and `bench` are made of.
//!
//! 1. [`Child::start`] starts `lport run - --json` and writes the file to its standard input.
//! 2. It prints its counters as a line of JSON every period; a thread of ours reads them into a channel.
//! 3. [`Child::stop`] sends SIGINT and gives the summary. A child that we drop is killed; one that loses us ends by
//!    itself when its time is up.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cli::DriverFiles;
use crate::failure::Failure;
use crate::summary::Observed;

/// Longest time a child may take to say something that is due.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a child runs its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildSettings {
    /// Time between two lines.
    pub(crate) period: Duration,
    /// Packets at a time.
    pub(crate) burst: usize,
    /// How long it runs if nobody stops it.
    pub(crate) longest: Duration,
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    name: &'static str,
    process: process::Child,
    lines: Receiver<String>,
    /// What it said last.
    last: Observed,
}

impl Child {
    /// Starts one that runs `file`, without telemetry; `name` is what messages call it.
    ///
    /// # Errors
    /// When the system gives no process.
    pub(crate) fn start(name: &'static str, file: &Value, settings: ChildSettings) -> Result<Self, Failure> {
        Self::spawn(name, file, settings, |command| command.arg("--no-telemetry"))
    }

    /// The same, with what is loaded from `drivers`, and telemetry below `directory`, under the prefix `prefix`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_with_telemetry(
        name: &'static str,
        file: &Value,
        drivers: &DriverFiles,
        settings: ChildSettings,
        directory: &Path,
        prefix: &str,
    ) -> Result<Self, Failure> {
        Self::spawn(name, file, settings, |command| {
            command.args(drivers.arguments()).args(["--file-prefix", prefix]).env("RUNTIME_DIRECTORY", directory)
        })
    }

    fn spawn(
        name: &'static str,
        file: &Value,
        settings: ChildSettings,
        telemetry: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Self, Failure> {
        let ChildSettings { period, burst, longest } = settings;
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = telemetry(command.args(["run", "-", "--json"]))
            .args(["--stats-period", &period.as_secs_f64().to_string()])
            .args(["--duration", &longest.as_secs_f64().to_string()])
            .args(["--burst", &burst.to_string()])
            // A signal from the keyboard is for us: we stop our children ourselves, in order.
            .process_group(0)
            // What a child logs below a warning is of no interest to who watches two of them.
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // Both are there: they were asked for in the lines above.
        if let Some(mut stdin) = process.stdin.take() {
            stdin.write_all(file.to_string().as_bytes())?;
        }
        let (send, lines) = channel();
        if let Some(stdout) = process.stdout.take() {
            std::thread::spawn(move || {
                let read = BufReader::new(stdout).lines().map_while(Result::ok);
                // Ends with the child's output, or with the interest in it.
                let _ = read.map(|line| send.send(line)).take_while(Result::is_ok).count();
            });
        }
        Ok(Self { name, process, lines, last: Observed::default() })
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Checks that it has not ended.
    ///
    /// # Errors
    /// When it has.
    pub(crate) fn must_run(&mut self) -> Result<(), Failure> {
        if self.process.try_wait()?.is_some() { Err(self.ended()) } else { Ok(()) }
    }

    /// Its counters, when it says them next.
    ///
    /// # Errors
    /// When it ends instead, or says nothing.
    pub(crate) fn next(&mut self) -> Result<Observed, Failure> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => self.hear(&line),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Running(format!("the {} says nothing any more", self.name))),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// Its counters, as it has said them last; zeros before the first time.
    ///
    /// # Errors
    /// When it says something unexpected.
    pub(crate) fn latest(&mut self) -> Result<Observed, Failure> {
        match self.lines.try_iter().last() {
            Some(line) => self.hear(&line),
            None => Ok(self.last.clone()),
        }
    }

    /// Stops it and gives its summary.
    ///
    /// # Errors
    /// When it does not end well.
    pub(crate) fn stop(mut self) -> Result<Observed, Failure> {
        // It may have ended already: its exit code tells.
        let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGINT);
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.hear(&line)?;
        }
        // Its output is closed or it hangs; the latter shows here, and dropping it kills it.
        match self.process.try_wait()? {
            Some(status) if status.success() => Ok(self.last.clone()),
            None if Instant::now() < end && self.process.wait()?.success() => Ok(self.last.clone()),
            _ => Err(self.ended()),
        }
    }

    fn hear(&mut self, line: &str) -> Result<Observed, Failure> {
        let unexpected =
            |error| Failure::Running(format!("the {} printed something unexpected: {error}: {line}", self.name));
        self.last = serde_json::from_str(line).map_err(unexpected)?;
        Ok(self.last.clone())
    }

    /// The failure of a child that has ended although it should not have; its own words are on standard error.
    fn ended(&mut self) -> Failure {
        let status = self.process.try_wait().ok().flatten();
        let how = status.map_or_else(|| "without a word".to_owned(), |status| status.to_string());
        Failure::Running(format!("the {} ended early ({how})", self.name))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
