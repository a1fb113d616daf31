//! A dpdk-testpmd child process, driven by its own commands.
//!
//! 1. [`Builder::start`](arguments::Builder::start) starts it and waits for the prompt. Ports are started, forwarding
//!    is not.
//! 2. [`Testpmd::command`] types a line and returns what was printed until the next prompt. Typed methods cover the
//!    usual commands; each fails when testpmd's answer is not the expected one.
//! 3. [`Testpmd::start_forwarding`], [`Testpmd::send_bursts`], [`Testpmd::stop_forwarding`] move packets.
//! 4. [`Testpmd::quit`] ends it in good order; dropping it kills it. Left alone, it ends when its input closes, that is,
//!    with the test.
//!
//! # Contents
//! `txonly` sends IPv4/UDP packets of constant contents, so it can only show that sizes and counts are right. To compare
//! bytes, give testpmd a capture file as a second port: in mode [`Forward::Io`] a
//! [`pcap_source`](arguments::Builder::pcap_source) goes out of the memif port packet by packet, and a
//! [`pcap_sink`](arguments::Builder::pcap_sink) records what the memif port received. `--no-flush-rx` is needed for that,
//! or the file is played into the void when forwarding starts.
//!
//! # What testpmd 22.11 does wrong
//! - Its memif transmit path miscounts free slots when a chain crosses into the last one, and overruns the ring. Packets
//!   larger than a buffer are exact only while the ring never fills: send fewer slots than it has
//!   ([`Testpmd::send_bursts`], or a file that fits into it), or give the client a `bsize` that holds a whole packet.
//! - As a zero-copy client it counts into the length of a received chain what the segments' mbufs held before: their own
//!   lengths, and so the bytes in the counters, are right, but who goes by the packet's length loses its end.
//! - Its memif client connects once, when its port is started, and never again.
//! - A zero-copy client closes the descriptor of its memory when its link is up. All ports of a process share it, so a second
//!   one comes up only if it has sent it by then: let the servers of both wait until both have asked, for instance frozen.
//! - Its memif server listens before its port is started, and panics when a client that came early gives up waiting. Who
//!   starts one while our client waits for it must be ready to start it again.
//! - Its memif server leaves its socket file behind when it is killed, and cannot bind over one; and it may crash when
//!   a client leaves while it forwards, dead or in good order, because it unmaps memory that its lcores are reading: a test
//!   that wants a second client stops forwarding first, or starts it again.

pub mod arguments;
pub mod statistics;

use std::env;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::sys::signal::Signal;

pub use arguments::{Builder, Forward};
pub use statistics::{ForwardCycles, ForwardStats, PortStats};

use crate::process::{Process, wait_until};

const PROGRAM: &str = "dpdk-testpmd";
const PROMPT: &str = "testpmd> ";
/// Bytes of packet data in one of testpmd's mbufs, rounded down for reading.
const SEGMENT: usize = 2000;
/// What testpmd's burst retry is set to by [`Testpmd::retry_until_sent`]: microseconds and times.
const RETRY: (u32, u32) = (10, 1_000_000);

/// A running dpdk-testpmd.
#[derive(Debug)]
pub struct Testpmd {
    process: Process,
}

impl Testpmd {
    fn start(name: &str, runtime_directory: &Path, arguments: &[OsString]) -> Result<Self> {
        let program = find_program()?;
        // Line buffering lets us wait for what it prints. EAL puts its files into the directory that systemd's variable
        // names.
        let mut command = Command::new("stdbuf");
        command.arg("-oL").arg(program).args(arguments).env("RUNTIME_DIRECTORY", runtime_directory);
        let testpmd = Self { process: Process::spawn(name, &mut command)? };
        testpmd.process.explain(testpmd.process.stdout().wait_for(PROMPT, 0))?;
        Ok(testpmd)
    }

    /// Types a line and gives what testpmd prints until its next prompt.
    ///
    /// # Errors
    /// When testpmd is gone or does not answer in time; the error shows the end of its output.
    pub fn command(&mut self, line: &str) -> Result<String> {
        let from = self.process.stdout().position();
        self.process.write_line(line)?;
        let stdout = self.process.stdout();
        let answer = stdout.wait_for(line, from).and_then(|echoed| {
            let end = stdout.wait_for(PROMPT, echoed)?;
            Ok(stdout.text()[echoed..end - PROMPT.len()].to_owned())
        });
        self.process.explain(answer)
    }

    /// Types a line whose answer must contain `expected`.
    fn command_expecting(&mut self, line: &str, expected: &str) -> Result<String> {
        let answer = self.command(line)?;
        if !answer.contains(expected) {
            let without = Err(anyhow::anyhow!("{line:?} was answered without {expected:?}"));
            return self.process.explain(without);
        }
        Ok(answer)
    }

    /// Starts forwarding.
    ///
    /// # Errors
    /// When a port is not started.
    pub fn start_forwarding(&mut self) -> Result<()> {
        self.command_expecting("start", "packet forwarding").map(drop)
    }

    /// Sends `bursts` bursts out of every port and queue, then goes on to forward.
    ///
    /// # Errors
    /// When a port is not started.
    pub fn send_bursts(&mut self, bursts: u32) -> Result<()> {
        self.command_expecting(&format!("start tx_first {bursts}"), "packet forwarding").map(drop)
    }

    /// Stops forwarding. What lies in rings then stays there.
    ///
    /// # Errors
    /// When forwarding was not started.
    pub fn stop_forwarding(&mut self) -> Result<()> {
        self.command_expecting("stop", "Done").map(drop)
    }

    /// Starts and stops forwarding: every port is polled at least once. A memif client posts its receive buffers only
    /// when it is polled; before that, its server has no room for packets.
    ///
    /// # Errors
    /// When a port is not started.
    pub fn poll_once(&mut self) -> Result<()> {
        self.start_forwarding()?;
        self.stop_forwarding()
    }

    /// Sets which ports take part in forwarding; it must be stopped.
    ///
    /// # Errors
    /// When testpmd is gone.
    pub fn set_ports(&mut self, ports: &[usize]) -> Result<()> {
        let list: Vec<_> = ports.iter().map(ToString::to_string).collect();
        self.command(&format!("set portlist {}", list.join(","))).map(drop)
    }

    /// Changes what it does with packets; forwarding must be stopped.
    ///
    /// # Errors
    /// When testpmd refuses.
    pub fn set_forward(&mut self, forward: Forward) -> Result<()> {
        let expected = format!("Set {} packet forwarding mode", forward.word());
        self.command_expecting(&format!("set fwd {}", forward.word()), &expected).map(drop)
    }

    /// Forwards as [`Forward::Io`] does, but tries again when a port takes nothing, so that nothing is lost on the way
    /// out while the peer reads.
    ///
    /// # Errors
    /// When testpmd refuses.
    pub fn retry_until_sent(&mut self) -> Result<()> {
        self.command(&format!("set burst tx delay {} retry {}", RETRY.0, RETRY.1))?;
        self.command_expecting("set fwd io retry", "with retry").map(drop)
    }

    /// Sets the size of the packets that it makes itself, in bytes, 64 to 65535; larger ones than an mbuf become
    /// chains.
    ///
    /// # Errors
    /// When testpmd refuses.
    pub fn set_packet_size(&mut self, bytes: usize) -> Result<()> {
        let mut segments = vec![SEGMENT.to_string(); bytes / SEGMENT];
        segments.extend((!bytes.is_multiple_of(SEGMENT)).then(|| (bytes % SEGMENT).to_string()));
        let list = segments.join(",");
        self.command(&format!("set txpkts {list}"))?;
        self.command_expecting("show config txpkts", &format!("Segment sizes: {list}")).map(drop)
    }

    /// Sets the packets per burst, 1 to 512.
    ///
    /// # Errors
    /// When testpmd refuses.
    pub fn set_burst(&mut self, packets: u16) -> Result<()> {
        self.command_expecting(&format!("set burst {packets}"), &format!("burst set to {packets}")).map(drop)
    }

    /// Whether the link of a port is up.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn link_is_up(&mut self, port: usize) -> Result<bool> {
        let answer = self.command_expecting(&format!("show port info {port}"), "Link status: ")?;
        Ok(answer.contains("Link status: up"))
    }

    /// Waits until the link of a port is up (or down).
    ///
    /// # Errors
    /// When it does not become so in time.
    pub fn wait_for_link(&mut self, port: usize, up: bool) -> Result<()> {
        wait_until(&format!("link of testpmd's port {port} up={up}"), || {
            Ok((self.link_is_up(port)? == up).then_some(()))
        })
    }

    /// Waits until the links of the first `ports` ports are up.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn wait_for_links(&mut self, ports: usize) -> Result<()> {
        (0..ports).try_for_each(|port| self.wait_for_link(port, true))
    }

    /// What the driver of a port counted since it was opened.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn port_stats(&mut self, port: usize) -> Result<PortStats> {
        PortStats::parse(&self.command(&format!("show port stats {port}"))?)
    }

    /// The extended statistics of a port by name, among them `rx_q0_packets` and `tx_q0_packets` of every queue.
    ///
    /// # Errors
    /// When testpmd is gone.
    pub fn port_xstats(&mut self, port: usize) -> Result<Vec<(String, u64)>> {
        Ok(statistics::parse_xstats(&self.command(&format!("show port xstats {port}"))?))
    }

    /// What forwarding did with the packets of a port since it was last started.
    ///
    /// # Errors
    /// When there is no such port or it does not forward.
    pub fn forward_stats(&mut self, port: usize) -> Result<ForwardStats> {
        ForwardStats::parse(&self.command("show fwd stats all")?, port)
    }

    /// What forwarding costs for `window` from now on, while packets come. Bursts cost a little more meanwhile: the clock is read
    /// twice.
    ///
    /// # Errors
    /// When it does not forward, or no packet comes.
    pub fn forward_cycles(&mut self, window: Duration) -> Result<ForwardCycles> {
        self.command("set record-core-cycles on")?;
        let from = self.cycles_so_far()?;
        // A burst that began before has no beginning, and takes since the machine was started. It is over when cycles are added.
        let from = wait_until("testpmd to count cycles", || {
            let now = self.cycles_so_far()?;
            Ok((now.cycles != from.cycles).then_some(now))
        })?;
        thread::sleep(window);
        let until = self.cycles_so_far()?;
        self.command("set record-core-cycles off")?;
        Ok(until.since(&from))
    }

    fn cycles_so_far(&mut self) -> Result<ForwardCycles> {
        ForwardCycles::parse(&self.command("show fwd stats all")?)
    }

    /// Waits until a port's counters satisfy `condition` and gives them.
    ///
    /// # Errors
    /// When they do not in time; the error shows them.
    pub fn wait_for_stats(&mut self, port: usize, condition: impl Fn(&PortStats) -> bool) -> Result<PortStats> {
        let mut last = PortStats::default();
        let waited = wait_until(&format!("counters of testpmd's port {port}"), || {
            last = self.port_stats(port)?;
            Ok(condition(&last).then_some(last))
        });
        waited.map_err(|error| error.context(format!("last seen: {last:?}")))
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The bare process, for whom signals are enough.
    pub fn into_process(self) -> Process {
        self.process
    }

    /// Whether it still runs: 22.11 as a server may crash when its client is killed.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// What its drivers log: standard error.
    pub fn log(&self) -> String {
        self.process.stderr().text()
    }

    /// Ends it. That 22.11 crashes while it closes its ports, as a server does now and then when its client has just gone, is
    /// not held against it.
    ///
    /// # Errors
    /// When it ends otherwise than with success or by such a crash.
    pub fn quit(self) -> Result<()> {
        self.quit_in_order().map(drop)
    }

    /// As [`Self::quit`]; says whether it ended in good order: ports closed, capture files complete.
    ///
    /// # Errors
    /// As [`Self::quit`].
    pub fn quit_in_order(mut self) -> Result<bool> {
        self.process.write_line("quit")?;
        let status = self.process.wait_for_exit()?;
        let crashed = status.signal() == Some(Signal::SIGSEGV as i32);
        ensure!(status.success() || crashed, "testpmd ended with {status}");
        Ok(!crashed)
    }
}

/// Where testpmd is: `$TESTPMD`, or on the path.
fn find_program() -> Result<PathBuf> {
    if let Some(program) = env::var_os("TESTPMD") {
        return Ok(program.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join(PROGRAM)).find(|program| program.is_file());
    let Some(program) = found else {
        bail!("{PROGRAM} is not installed; `make deps` or `apt-get install dpdk dpdk-dev` installs it");
    };
    Ok(program)
}
