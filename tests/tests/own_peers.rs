//! Two `lport` processes joined by memif, in every order of roles and starts.

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::{Lport, LportFile, Testbed};

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
