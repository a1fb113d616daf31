//! Our own program as a child process.
//!
//! 1. [`Testbed::lport`](crate::Testbed::lport) starts it. The program is `$LPORT_BIN`, or is built by cargo, once per
//!    test process and in the profile of the tests, so that no test ever runs a stale one.
//! 2. [`Lport::wait_for_log`] waits for what it logs to standard error.
//! 3. [`Lport::stop`] sends SIGINT, and [`Lport::wait`] lets it end by itself; both give a [`Finished`].
//! 4. [`Finished::summary`] checks the exit code and that no mbuf leaked. Dropping an `Lport` kills it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;

use crate::cargo;
use crate::process::{Process, wait_until};
use crate::summary::{Live, LportSummary, Summary};

/// A running `lport`.
#[derive(Debug)]
pub struct Lport {
    process: Process,
}

/// What `lport` left behind when it ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

impl Lport {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Result<Self> {
        Self::spawn(directory, Command::new(program()?), arguments)
    }

    /// `starter` runs the program that is its last argument, in its own place.
    pub(crate) fn start_by(directory: &Path, mut starter: Command, arguments: &[&str]) -> Result<Self> {
        starter.arg(program()?);
        Self::spawn(directory, starter, arguments)
    }

    fn spawn(directory: &Path, mut command: Command, arguments: &[&str]) -> Result<Self> {
        command.args(arguments).current_dir(directory).env_remove("RUST_LOG").env("NO_COLOR", "1");
        // Telemetry sockets go there, as testpmd's files do.
        command.env("RUNTIME_DIRECTORY", directory);
        Ok(Self { process: Process::spawn("lport", &mut command)? })
    }

    /// Waits until it logs `text`, and gives the position behind it for the next wait.
    ///
    /// # Errors
    /// When it ends or does not log it in time.
    pub fn wait_for_log(&self, text: &str, from: usize) -> Result<usize> {
        self.process.explain(self.process.stderr().wait_for(text, from))
    }

    /// Waits until it printed live counters for the first time: it runs, and its servers listen.
    ///
    /// # Errors
    /// When it ends or prints none in time.
    pub(crate) fn wait_for_first_counters(&self) -> Result<()> {
        self.process.explain(self.process.stdout().wait_for("\n", 0).map(drop))
    }

    /// Waits until the live counters of the lport `name` satisfy `condition` and gives them. The program must run with
    /// `--json` and a `--stats-period`.
    ///
    /// # Errors
    /// When they do not in time; the error shows what was printed.
    pub fn wait_for_counters(&self, name: &str, condition: impl Fn(&LportSummary) -> bool) -> Result<LportSummary> {
        self.wait_for_live(&format!("counters of {name}"), |live| {
            live.lports.into_iter().find(|lport| lport.name == name && condition(lport))
        })
    }

    /// Waits until `count` over all lports adds up to `total`; as [`Self::wait_for_counters`] otherwise.
    ///
    /// # Errors
    /// When it does not in time; the error shows what was printed.
    pub fn wait_for_total(&self, count: fn(&LportSummary) -> u64, total: u64) -> Result<()> {
        self.wait_for_live(&format!("a total of {total}"), |live| {
            (live.lports.iter().map(count).sum::<u64>() == total).then_some(())
        })
    }

    /// Waits for the next live counters and gives them: those printed at or after this moment. The program must run with
    /// `--json` and a `--stats-period`.
    ///
    /// # Errors
    /// When it ends or prints none in time.
    pub fn next_counters(&self) -> Result<Live> {
        let from = self.process.stdout().position();
        let printed = self.process.stdout().wait_for("\n", from);
        let live = printed.and_then(|_| Live::last(&self.printed())?.context("no whole line"));
        self.process.explain(live)
    }

    fn wait_for_live<T>(&self, what: &str, find: impl Fn(Live) -> Option<T>) -> Result<T> {
        let waited = wait_until(what, || Ok(Live::last(&self.printed())?.and_then(&find)));
        self.process.explain(waited)
    }

    /// Position in its log now.
    pub fn log_position(&self) -> usize {
        self.process.stderr().position()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.stderr().text()
    }

    /// What it printed so far.
    pub fn printed(&self) -> String {
        self.process.stdout().text()
    }

    /// Most memory it has had resident so far, in bytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn peak_memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("VmHWM:{line}"))?;
        Ok(kibibytes * 1024)
    }

    /// The kernel's number of it.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The bare process, for whom signals are enough.
    pub fn into_process(self) -> Process {
        self.process
    }

    /// Sends SIGINT and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(self) -> Result<Finished> {
        self.signal(Signal::SIGINT)?;
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(mut self) -> Result<Finished> {
        let (status, stdout, stderr) = self.process.wait_with_output()?;
        Ok(Finished { status, stdout, stderr })
    }
}

impl Finished {
    /// The exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The final summary of a run with `--json` that ended well: exit code 0, every promised key, every pool whole.
    ///
    /// # Errors
    /// When one of these does not hold; the error shows the log.
    pub fn summary(&self) -> Result<Summary> {
        ensure!(self.code() == Some(0), "lport ended with {}\n{}", self.status, self.stderr);
        Summary::parse(&self.stdout).with_context(|| format!("log:\n{}", self.stderr))
    }
}

/// The program under test.
///
/// # Errors
/// When it is not there and cannot be built.
pub fn program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| find_or_build().map_err(|error| format!("{error:#}")));
    program.as_deref().map_err(|error| anyhow!("{error}"))
}

fn find_or_build() -> Result<PathBuf> {
    if let Some(program) = env::var_os("LPORT_BIN") {
        let program = PathBuf::from(program);
        return program.canonicalize().with_context(|| format!("$LPORT_BIN is {}", program.display()));
    }
    Ok(cargo::build(&["--package", "lport", "--bin", "lport"])?.join("lport"))
}
