//! Two `lport` processes joined by memif, in every order of roles and starts, with rings too small for other peers, and
//! with different numbers of queues.

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::{Lport, LportFile, Testbed};
use serde_json::json;

const ENOUGH: u64 = 10_000;

struct Pair {
    testbed: Testbed,
    generator: Memif,
}

impl Pair {
    fn new(generator: Role) -> Result<Self> {
        let testbed = Testbed::new()?;
        let generator = Memif::new(generator, &testbed.path_socket("sock"));
        Ok(Self { testbed, generator })
    }

    fn start_generator(&self) -> Result<Lport> {
        let file = LportFile::new("tx-only-rx").memif("generator", &self.generator, 1);
        self.testbed.run("generator", &file)
    }

    fn start_echo(&self) -> Result<Lport> {
        self.testbed.run("echo", &LportFile::new("lb").memif("echo", &self.generator.peer(), 1))
    }
}

fn traffic_flows(generator: Role, generator_first: bool) -> Result<()> {
    let pair = Pair::new(generator)?;
    let (generator, echo) = if generator_first {
        let generator = pair.start_generator()?;
        (generator, pair.start_echo()?)
    } else {
        let echo = pair.start_echo()?;
        (pair.start_generator()?, echo)
    };
    let returned = generator.wait_for_counters("generator:0", |port| port.ipackets > ENOUGH)?;

    let echoed = echo.stop()?.summary()?.lport("echo:0")?.clone();
    generator.wait_for_counters("generator:0", |port| port.why_down().is_some())?;
    let echo = pair.start_echo()?;
    let before = returned.ipackets;
    generator.wait_for_counters("generator:0", |port| port.ipackets > before + echoed.opackets + ENOUGH)?;
    let generated = generator.stop()?.summary()?.lport("generator:0")?.clone();
    let echoed_again = echo.stop()?.summary()?.lport("echo:0")?.clone();
    // What lay in the rings at a stop is lost; nothing is made up.
    assert!(generated.opackets >= echoed.ipackets + echoed_again.ipackets);
    assert!(generated.ipackets <= echoed.opackets + echoed_again.opackets);
    Ok(())
}

#[test]
fn traffic_flows_when_the_generating_server_starts_first() -> Result<()> {
    traffic_flows(Role::Server, true)
}

#[test]
fn traffic_flows_when_the_generating_server_starts_last() -> Result<()> {
    traffic_flows(Role::Server, false)
}

#[test]
fn traffic_flows_when_the_generating_client_starts_first() -> Result<()> {
    traffic_flows(Role::Client, true)
}

#[test]
fn traffic_flows_when_the_generating_client_starts_last() -> Result<()> {
    traffic_flows(Role::Client, false)
}

#[test]
fn a_live_socket_is_not_taken_over() -> Result<()> {
    let pair = Pair::new(Role::Server)?;
    let first = pair.start_generator()?;
    let second = pair.testbed.lport(&["run", "generator.jsonc"])?.wait()?;
    assert_eq!(second.code(), Some(4), "{}", second.stderr);
    assert!(second.stderr.contains(&pair.testbed.path("sock").display().to_string()), "{}", second.stderr);
    let echo = pair.start_echo()?;
    first.wait_for_counters("generator:0", |port| port.ipackets > ENOUGH)?;
    first.stop()?.summary()?;
    echo.stop()?.summary()?;
    Ok(())
}

/// Each queue of the generator sends so many packets that the indices of a ring pass 65535 several times, and every packet
/// arrives, on whatever queue.
fn every_packet_arrives(role: Role, queues: [u16; 2], log2_ring_size: u32, word: &str) -> Result<()> {
    const PER_QUEUE: u64 = 200_000;
    const SIZE: u64 = 100;
    let testbed = Testbed::new()?;
    let generator = Memif::new(role, &testbed.path_socket("sock")).log2_ring_size(log2_ring_size);
    let generator = generator.with("zero-copy", word);
    let file = LportFile::new("tx-only").option("tx-size", json!(SIZE)).option("tx-count", json!(PER_QUEUE));
    let source = testbed.run("source", &file.memif("source", &generator, queues[0]))?;
    let sink = testbed.run("sink", &LportFile::new("rx-only").memif("sink", &generator.peer(), queues[1]))?;

    for queue in 0..queues[0] {
        source.wait_for_counters(&format!("source:{queue}"), |port| port.opackets == PER_QUEUE)?;
    }
    let sent = PER_QUEUE * u64::from(queues[0]);
    sink.wait_for_total(|port| port.ipackets, sent)?;
    let (sink, source) = (sink.stop()?.summary()?, source.stop()?.summary()?);
    assert_eq!(sink.lports.iter().map(|port| port.ibytes).sum::<u64>(), sent * SIZE);
    assert!(source.lports.iter().all(|port| port.oerrors == 0), "{:?}", source.lports);
    Ok(())
}

#[test]
fn rings_of_2_to_16_lose_nothing_while_their_indices_wrap() -> Result<()> {
    for (role, log2_ring_size) in [(Role::Client, 1), (Role::Server, 2), (Role::Client, 3), (Role::Server, 4)] {
        every_packet_arrives(role, [1, 1], log2_ring_size, "no")?;
    }
    Ok(())
}

#[test]
fn shared_rings_of_2_to_16_lose_nothing_while_their_indices_wrap() -> Result<()> {
    for (role, log2_ring_size) in [(Role::Server, 1), (Role::Client, 2), (Role::Server, 3), (Role::Client, 4)] {
        every_packet_arrives(role, [1, 1], log2_ring_size, "yes")?;
    }
    Ok(())
}

#[test]
fn uneven_queues_lose_nothing() -> Result<()> {
    for (role, queues) in
        [(Role::Client, [1, 4]), (Role::Client, [3, 2]), (Role::Server, [4, 1]), (Role::Server, [2, 3])]
    {
        every_packet_arrives(role, queues, 8, "no")?;
    }
    Ok(())
}

#[test]
fn uneven_shared_queues_lose_nothing() -> Result<()> {
    for (role, queues) in [(Role::Client, [4, 1]), (Role::Server, [1, 3])] {
        every_packet_arrives(role, queues, 8, "yes")?;
    }
    Ok(())
}

/// Packets come so slowly that the thread that echoes them sleeps before each; all come back, long before its sleep is over.
fn a_sleeping_thread_misses_no_packet(role: Role, mode: &str) -> Result<()> {
    const PACKETS: u64 = 200;
    let testbed = Testbed::new()?;
    let generator = Memif::new(role, &testbed.path_socket("sock"));
    let echo = LportFile::new("lb").memif("echo", &generator.peer().here("rx-mode", mode), 1);
    let echo = testbed.run("echo", &echo.sleepy_thread("fwd:0", &["echo:0"]))?;
    let file = LportFile::new("tx-only-rx").option("tx-rate", json!(100)).option("tx-count", json!(PACKETS));
    let source = testbed.run("source", &file.option("tx-burst", json!(1)).memif("source", &generator, 1))?;
    source.wait_for_counters("source:0", |port| port.ipackets == PACKETS)?;
    source.stop()?.summary()?;
    let echoed = echo.stop()?.summary()?.lport("echo:0")?.clone();
    let woken = echoed.xstats["rx_interrupts"];
    assert_eq!((echoed.opackets, woken > 0), (PACKETS, mode != "polling"), "{echoed:?}");
    Ok(())
}

#[test]
fn a_sleeping_thread_misses_no_packet_in_any_rx_mode() -> Result<()> {
    for (role, mode) in [
        (Role::Client, "adaptive"),
        (Role::Server, "adaptive"),
        (Role::Client, "interrupt"),
        (Role::Server, "interrupt"),
        (Role::Client, "polling"),
    ] {
        a_sleeping_thread_misses_no_packet(role, mode)?;
    }
    Ok(())
}
