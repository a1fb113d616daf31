//! A child process whose output can be waited for.
//!
//! 1. [`Process::spawn`] starts it with all three standard streams piped; one thread per output stream collects the
//!    text.
//! 2. [`Capture::wait_for`] blocks until a text appears, the stream ends or the deadline passes; the error carries the
//!    end of the output.
//! 3. [`Process::wait_for_exit`] reaps it. Dropping a `Process` kills and reaps it.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::DEADLINE;

/// How much of an output a message shows, in bytes.
const TAIL: usize = 4000;
/// Pause between two looks at a condition that cannot be waited for otherwise.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Looks at a condition until it gives a value, for [`DEADLINE`] at most.
///
/// # Errors
/// The condition's own error, or that `what` did not happen in time.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > DEADLINE {
            bail!("{what}: not within {} s", DEADLINE.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The collected text of one output stream. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Capture(Arc<Shared>);

/// Written by the thread that reads the stream, read by any.
#[derive(Debug, Default)]
struct Shared {
    collected: Mutex<Collected>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Collected {
    text: String,
    ended: bool,
}

impl Capture {
    /// Collects `stream` on a thread of its own until it ends.
    fn collect(mut stream: impl Read + Send + 'static) -> Self {
        let capture = Self::default();
        let shared = Arc::clone(&capture.0);
        thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut chunk) {
                lock(&shared.collected).text.push_str(&String::from_utf8_lossy(&chunk[..length]));
                shared.changed.notify_all();
            }
            lock(&shared.collected).ended = true;
            shared.changed.notify_all();
        });
        capture
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        lock(&self.0.collected).text.clone()
    }

    /// Bytes so far: a position for [`Self::wait_for`].
    pub fn position(&self) -> usize {
        lock(&self.0.collected).text.len()
    }

    /// The last 4000 bytes, for messages.
    pub fn tail(&self) -> String {
        let text = self.text();
        let start = (text.len().saturating_sub(TAIL)..=text.len()).find(|&at| text.is_char_boundary(at));
        text[start.unwrap_or(0)..].to_owned()
    }

    /// Waits until `wanted` stands somewhere behind the position `from`, and gives the position behind it.
    ///
    /// # Errors
    /// When the stream ends without it or [`DEADLINE`] passes.
    pub fn wait_for(&self, wanted: &str, from: usize) -> Result<usize> {
        let start = Instant::now();
        let mut collected = lock(&self.0.collected);
        loop {
            if let Some(at) = collected.text.get(from..).and_then(|text| text.find(wanted)) {
                return Ok(from + at + wanted.len());
            }
            if collected.ended {
                bail!("the output ended without {wanted:?}");
            }
            let left = DEADLINE.checked_sub(start.elapsed());
            let left = left.ok_or_else(|| anyhow!("no {wanted:?} within {} s", DEADLINE.as_secs()))?;
            let waited = self.0.changed.wait_timeout(collected, left);
            collected = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the stream has ended and gives all of it.
    fn wait_for_end(&self) -> Result<String> {
        wait_until("the end of the output", || {
            let collected = lock(&self.0.collected);
            Ok(collected.ended.then(|| collected.text.clone()))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Capture,
    stderr: Capture,
}

impl Process {
    /// Starts `command`; `name` is how messages call it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map(Capture::collect).unwrap_or_default();
        let stderr = child.stderr.take().map(Capture::collect).unwrap_or_default();
        Ok(Self { name: name.to_owned(), child, stdin, stdout, stderr })
    }

    /// Its standard output.
    pub fn stdout(&self) -> &Capture {
        &self.stdout
    }

    /// Its standard error.
    pub fn stderr(&self) -> &Capture {
        &self.stderr
    }

    /// The kernel's number of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// When it no longer reads.
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or_else(|| anyhow!("{}: the input is closed", self.name))?;
        let written = stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush());
        self.explain(written.with_context(|| format!("cannot write {line:?}")))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        self.explain(kill(pid, signal).with_context(|| format!("cannot send {signal}")))
    }

    /// Freezes it (SIGSTOP) and waits until none of its threads runs.
    ///
    /// # Errors
    /// When it is gone.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let tasks = format!("/proc/{}/task", self.child.id());
        wait_until(&format!("{} to freeze", self.name), || {
            let states = fs::read_dir(&tasks)?.map(|task| fs::read_to_string(task?.path().join("status")));
            let states: Vec<_> = states.filter_map(Result::ok).collect();
            let all = |state: &str| states.iter().all(|status| status.contains(&format!("State:\t{state}")));
            ensure!(!all("Z"), "{} has ended", self.name);
            Ok(all("T").then_some(()))
        })
    }

    /// Lets it run on after [`Self::freeze`] (SIGCONT).
    ///
    /// # Errors
    /// When it is gone.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Kills it where it stands, frozen or not, and waits until it is gone: its sockets and memory are closed then.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(mut self) -> Result<()> {
        // It may have crashed a moment ago, which serves as well.
        let _ = self.signal(Signal::SIGKILL);
        self.wait_for_exit().map(drop)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?.is_none())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it runs on for [`DEADLINE`].
    pub fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        let ended = wait_until("the end of the process", || Ok(self.child.try_wait()?));
        self.explain(ended)
    }

    /// Waits for its end and gives what it wrote to standard output and standard error.
    ///
    /// # Errors
    /// When it runs on for [`DEADLINE`].
    pub fn wait_with_output(&mut self) -> Result<(ExitStatus, String, String)> {
        self.stdin = None;
        let status = self.wait_for_exit()?;
        Ok((status, self.stdout.wait_for_end()?, self.stderr.wait_for_end()?))
    }

    /// Adds the process' name and the end of its output to an error.
    ///
    /// # Errors
    /// The given one.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let (name, stdout, stderr) = (&self.name, self.stdout.tail(), self.stderr.tail());
            anyhow!("{name}: {error:#}\n--- stdout of {name}\n{stdout}\n--- stderr of {name}\n{stderr}\n---")
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn("shell", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn text_is_found_behind_a_position_only() {
        let mut process = shell("echo one; read line; echo \"got $line\"; echo one");
        let first = process.stdout().wait_for("one", 0).unwrap();
        process.write_line("two").unwrap();
        let answer = process.stdout().wait_for("got two", first).unwrap();
        assert!(process.stdout().wait_for("one", answer).unwrap() > answer);
        assert!(process.wait_for_exit().unwrap().success());
    }

    #[test]
    fn an_output_that_ends_early_is_an_error_that_shows_it() {
        let process = shell("echo here; echo there >&2");
        let error = process.explain(process.stdout().wait_for("nowhere", 0)).unwrap_err().to_string();
        assert!(error.contains("ended without \"nowhere\"") && error.contains("here\n"), "{error}");
    }

    #[test]
    fn who_has_ended_cannot_be_frozen() {
        let process = shell("exit 1");
        process.stdout().wait_for_end().unwrap();
        let error = process.freeze().unwrap_err().to_string();
        assert!(error.contains("shell has ended"), "{error}");
    }

    #[test]
    fn dropping_a_process_kills_it() {
        let process = shell("echo up; exec sleep 1000");
        process.stdout().wait_for("up", 0).unwrap();
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
        drop(process);
        assert_eq!(kill(pid, None), Err(nix::errno::Errno::ESRCH));
    }
}
