//! Network namespaces for tests of drivers of the kernel's interfaces, with everything in them: they are made by a test and
//! go when it ends.
//!
//! Making one needs root. Where that is not to be had, a test fails and says so, unless `LPORT_TEST_UNPRIVILEGED=1` allows
//! it to leave the work to others ([`may_make_namespaces`]): never silently, and never in CI, which runs as root.

use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;

use crate::process::wait_until;

/// Whether this test can do its work here.
///
/// # Errors
/// When it cannot and nobody has allowed that; the message says what to do.
pub fn may_make_namespaces() -> Result<bool> {
    if geteuid().is_root() {
        return Ok(true);
    }
    if env::var_os("LPORT_TEST_UNPRIVILEGED").is_some_and(|value| value == "1") {
        eprintln!("SKIPPED: network namespaces need root, and LPORT_TEST_UNPRIVILEGED=1 says to go on without");
        return Ok(false);
    }
    bail!("this test makes network namespaces: run it as root, or set LPORT_TEST_UNPRIVILEGED=1 to skip it")
}

/// A network namespace of its own, without IPv6, so that nothing is sent that no test sends. Goes when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, whose loopback is up.
    ///
    /// # Errors
    /// When `ip` is missing or refuses.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lport-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        let no_ipv6 = "for one in all default; do echo 1 > /proc/sys/net/ipv6/conf/$one/disable_ipv6; done";
        run(namespace.command("sh").args(["-c", no_ipv6]))?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` and the options `netns` know it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these words in it, and gives what it prints.
    ///
    /// # Errors
    /// When it refuses; the error shows what it says.
    pub fn ip(&self, words: &str) -> Result<String> {
        run(Command::new("ip").args(["-netns", &self.name]).args(words.split_whitespace()))
    }

    /// A command that is to run in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a program in it and gives what it prints.
    ///
    /// # Errors
    /// When it fails; the error shows what it printed.
    pub fn run(&self, words: &str) -> Result<String> {
        let mut words = words.split_whitespace();
        run(self.command(words.next().unwrap_or_default()).args(words))
    }

    /// Joins the interface `mine`, made here, by a cable to `theirs`, made in `other`. Both are up when it returns: before
    /// that, the kernel throws away what they send.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn cable(&self, mine: &str, other: &Self, theirs: &str) -> Result<()> {
        self.ip(&format!("link add {mine} type veth peer name {theirs} netns {}", other.name))?;
        self.ip(&format!("link set {mine} up"))?;
        other.ip(&format!("link set {theirs} up"))?;
        self.wait_until_up(mine)?;
        other.wait_until_up(theirs)
    }

    /// Waits until the interface carries packets.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_until_up(&self, interface: &str) -> Result<()> {
        wait_until(&format!("{interface} to be up"), || {
            Ok(self.ip(&format!("-brief link show {interface}"))?.contains(" UP ").then_some(()))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A test that fails has other things to say.
        let _ = run(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| {
        format!("cannot start {command:?}: `make deps` installs it (Debian: iproute2, iputils-ping)")
    })?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    Ok(stdout.into_owned())
}
