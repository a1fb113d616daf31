//! How fast testpmd is, in the arrangements that `lport bench` measures too.
//!
//! A rate is the difference of two readings of a receiving port's counters over the time between the readings. The first
//! reading is taken when packets flow already, so neither start nor warm-up counts.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::memif::{Memif, Role};
use crate::process::wait_until;
use crate::testbed::Testbed;
use crate::testpmd::{Builder, Forward};

/// Packets that must have arrived before a measurement begins.
const WARM_UP: u64 = 1_000_000;

/// Packets that circulate in each direction of a loopback pair: half of a ring of the default size.
pub const IN_FLIGHT: u16 = 512;

/// The work whose speed is measured.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Bytes per packet, 64 to 2000: one segment.
    pub packet_size: usize,
    /// Packets per burst, 1 to 512.
    pub burst: u16,
    /// Whether the memif client exports its mbufs instead of copying.
    pub zero_copy: bool,
    /// How long is measured.
    pub duration: Duration,
}

/// A count over a time.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Packets received in between the readings.
    pub packets: u64,
    /// Time between the readings.
    pub elapsed: Duration,
}

impl Rate {
    /// Packets per second.
    #[expect(clippy::cast_precision_loss, reason = "2^53 packets take years")]
    pub fn packets_per_second(&self) -> f64 {
        self.packets as f64 / self.elapsed.as_secs_f64()
    }
}

/// One process, one core: testpmd's own two memif ports joined with each other, each forwarding what it receives to the
/// other ([`Forward::Io`]). [`IN_FLIGHT`] packets circulate in each direction; every receive on either port counts.
///
/// # Errors
/// When testpmd fails or no packets flow.
pub fn loopback(testbed: &Testbed, cpu: usize, work: Work) -> Result<Rate> {
    let server = Memif::new(Role::Server, &testbed.abstract_socket("loopback"));
    let client = with_zero_copy(server.peer(), work);
    let mut both = prepare(testbed, "loopback", cpu, work).memif(&server).memif(&client).start()?;
    both.wait_for_link(0, true)?;
    both.wait_for_link(1, true)?;
    both.set_packet_size(work.packet_size)?;
    // Without the client's buffers the server's burst would be lost.
    both.poll_once()?;
    both.send_bursts(u32::from(IN_FLIGHT / work.burst).max(1))?;
    measure(work, || Ok(both.port_stats(0)?.rx_packets + both.port_stats(1)?.rx_packets))
}

/// Two processes, one core each, one way: `sender` makes packets as fast as it can ([`Forward::TxOnly`]), the other
/// receives and frees them ([`Forward::RxOnly`]). `cpus` are the server's and the client's.
///
/// # Errors
/// When a testpmd fails or no packets flow.
pub fn one_way(testbed: &Testbed, sender: Role, cpus: [usize; 2], work: Work) -> Result<Rate> {
    let socket = testbed.abstract_socket("one-way");
    let start = |role: Role| {
        let forward = if role == sender { Forward::TxOnly } else { Forward::RxOnly };
        let memif = Memif::new(role, &socket);
        let (cpu, memif) = match role {
            Role::Server => (cpus[0], memif),
            Role::Client => (cpus[1], with_zero_copy(memif, work)),
        };
        prepare(testbed, &role.to_string(), cpu, work).forward(forward).memif(&memif).start()
    };
    let (server, client) = (start(Role::Server)?, start(Role::Client)?);
    let (mut sending, mut receiving) = if sender == Role::Server { (server, client) } else { (client, server) };
    receiving.wait_for_link(0, true)?;
    receiving.start_forwarding()?;
    sending.set_packet_size(work.packet_size)?;
    sending.start_forwarding()?;
    measure(work, || Ok(receiving.port_stats(0)?.rx_packets))
}

fn prepare<'a>(testbed: &'a Testbed, name: &str, cpu: usize, work: Work) -> Builder<'a> {
    testbed.testpmd(name).cpu(cpu).burst(work.burst)
}

fn with_zero_copy(client: Memif, work: Work) -> Memif {
    if work.zero_copy { client.with("zero-copy", "yes") } else { client }
}

fn measure(work: Work, mut received: impl FnMut() -> Result<u64>) -> Result<Rate> {
    wait_until("the warm-up of a measurement", || Ok((received()? >= WARM_UP).then_some(())))?;
    let (first, start) = (received()?, Instant::now());
    thread::sleep(work.duration);
    let (last, elapsed) = (received()?, start.elapsed());
    ensure!(last > first, "packets stopped flowing at {first}");
    Ok(Rate { packets: last - first, elapsed })
}
