//! The other process: an `lport run`, counted through its telemetry.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::args::Setup;
use crate::child::{Child, ChildSettings};
use crate::failure::Failure;
use crate::telemetry::client::Client;
use crate::telemetry::place;

/// How long it runs when it loses us.
const LONGEST: Duration = Duration::from_secs(3600);

/// Longest time until its telemetry is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The prefix of its telemetry's directory.
const PREFIX: &str = "bench";

/// A running one.
pub(super) struct Peer {
    child: Child,
    client: Client,
    ports: Vec<String>,
}

impl Peer {
    /// Starts one that runs `file`, and has its telemetry below `directory`. When it answers there, its lports are open:
    /// its servers listen.
    ///
    /// # Errors
    /// When the system gives no process, it ends at once, or it does not answer in time.
    pub(super) fn start(file: &Value, setup: &Setup, directory: &Path) -> Result<Self, Failure> {
        // It prints nothing while it runs: its counters are asked for.
        let settings = ChildSettings { period: LONGEST, burst: setup.burst, longest: LONGEST };
        let mut child =
            Child::start_with_telemetry("process under test", file, &setup.files, settings, directory, PREFIX)?;
        let client = connect(&mut child, directory)?;
        let list = client.ask("/ethdev/list")?;
        let ports = list.as_array().into_iter().flatten().map(ToString::to_string).collect();
        Ok(Self { child, client, ports })
    }

    /// Packets and bytes that all its lports have received.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn received(&self) -> Result<(u64, u64), Failure> {
        let (mut packets, mut bytes) = (0, 0);
        for port in &self.ports {
            let stats = self.client.ask(&format!("/ethdev/stats,{port}"))?;
            let count = |key: &str| stats[key].as_u64().unwrap_or_default();
            packets += count("ipackets");
            bytes += count("ibytes");
        }
        Ok((packets, bytes))
    }

    /// Process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it does not end well.
    pub(super) fn stop(self) -> Result<(), Failure> {
        drop(self.client);
        self.child.stop().map(drop)
    }
}

/// Waits until its telemetry answers.
fn connect(child: &mut Child, directory: &Path) -> Result<Client, Failure> {
    let socket = place::socket(&directory.join("dpdk").join(PREFIX), 0);
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(client) = Client::connect_to(&socket)? {
            return Ok(client);
        }
        child.must_run()?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Failure::Running(format!("the process under test serves no telemetry on {}", socket.display())))
}
