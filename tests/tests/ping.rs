//! Ping through the kernel's stack, interfaces of ours and forwarders: `ping` in one network namespace, the kernel that
//! answers in another one, and we are the way between them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lport_tests::memif::{Memif, Role};
use lport_tests::namespace::may_make_namespaces;
use lport_tests::process::wait_until;
use lport_tests::summary::LportSummary;
use lport_tests::{Lport, LportFile, Namespace, Testbed};
use serde_json::json;

/// Two namespaces to ping between, and where our programs run.
struct Places {
    west: Namespace,
    east: Namespace,
    testbed: Testbed,
}

impl Places {
    /// Made if this machine lets us, or if not, and that is allowed, `None`.
    fn new() -> Result<Option<Self>> {
        if !may_make_namespaces()? {
            return Ok(None);
        }
        Ok(Some(Self { west: Namespace::new()?, east: Namespace::new()?, testbed: Testbed::new()? }))
    }

    /// Runs a file of `configs/` with its namespaces and sockets in ours.
    fn run_config(&self, name: &str) -> Result<Lport> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let text = text.replace("/tmp/", &format!("{}/", self.testbed.directory().display()));
        let text = text.replace("netns=west", &format!("netns={}", self.west.name()));
        let text = text.replace("netns=east", &format!("netns={}", self.east.name()));
        let path = self.testbed.write(name, &text)?;
        self.testbed.lport(&["run", &path.display().to_string(), "--json", "--stats-period", "0.1"])
    }

    /// Runs two forwarders, each between an interface of `driver` and a memif in this mode to the other.
    fn run_pair(&self, driver: &str, options: &str, mode: &str) -> Result<[Lport; 2]> {
        let memif = Memif::new(Role::Server, &self.testbed.path_socket("sock")).with("mode", mode);
        let half = |namespace: &Namespace, address: &str, memif: &Memif| {
            let pmd = format!("{driver}:ip={address}/24,netns={}{options}", namespace.name());
            let file = LportFile::new("fwd").memif("memif", memif, 1);
            let file = file.lport("port0", json!({ "pmd": pmd, "umem": "packets" })).port_map(&[("port0", "memif:0")]);
            self.testbed.run(address, &file)
        };
        let west = half(&self.west, "192.0.2.1", &memif)?;
        let east = half(&self.east, "192.0.2.2", &memif.peer())?;
        west.wait_for_counters("memif:0", LportSummary::is_up)?;
        east.wait_for_counters("memif:0", LportSummary::is_up)?;
        Ok([west, east])
    }

    /// Asserts that pings of these sizes are answered, all of them.
    fn ping(&self, sizes: &[u32]) -> Result<()> {
        for size in sizes {
            let said = self.west.run(&format!("ping -n -c 3 -i 0.01 -W 20 -s {size} 192.0.2.2"))?;
            assert!(said.contains("3 packets transmitted, 3 received, 0% packet loss"), "{said}");
        }
        Ok(())
    }
}

/// Stops both; neither has dropped anything, and all mbufs have come home.
fn stop(forwarders: [Lport; 2]) -> Result<()> {
    for forwarder in forwarders {
        let summary = forwarder.stop()?.summary()?;
        for lport in &summary.lports {
            assert!(lport.ipackets > 0 && lport.opackets > 0, "{}", lport.name);
            assert_eq!((lport.oerrors, lport.ierrors, lport.imissed), (0, 0, 0), "{}", lport.name);
        }
    }
    Ok(())
}

#[test]
fn ping_goes_through_taps_forwarders_and_memif_to_another_namespace_and_back() -> Result<()> {
    let Some(places) = Places::new()? else { return Ok(()) };
    let forwarders = places.run_pair("net_tap", "", "ethernet")?;
    // The last ones are fragments.
    places.ping(&[0, 56, 1472, 8000])?;
    stop(forwarders)
}

#[test]
fn ping_goes_through_tuns_and_memif_in_ip_mode() -> Result<()> {
    let Some(places) = Places::new()? else { return Ok(()) };
    let forwarders = places.run_pair("net_tun", "", "ip")?;
    places.ping(&[0, 56, 1472, 8000])?;
    stop(forwarders)
}

#[test]
fn large_packets_go_through_taps_as_chains() -> Result<()> {
    let Some(places) = Places::new()? else { return Ok(()) };
    let forwarders = places.run_pair("net_tap", ",mtu=9000", "ethernet")?;
    places.ping(&[8972])?;
    stop(forwarders)
}

#[test]
fn the_files_of_the_tap_pair_do_what_they_say() -> Result<()> {
    let Some(places) = Places::new()? else { return Ok(()) };
    // The client first: it waits.
    let east = places.run_config("tap-east.jsonc")?;
    let west = places.run_config("tap-west.jsonc")?;
    for half in [&west, &east] {
        half.wait_for_counters("memif0", LportSummary::is_up)?;
    }
    places.ping(&[56])?;
    stop([west, east])
}

#[test]
fn the_file_of_the_sink_swallows_what_the_kernel_sends() -> Result<()> {
    let Some(places) = Places::new()? else { return Ok(()) };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/tap-sink.jsonc");
    let netns = format!("ip=198.18.0.1/15,netns={}", places.west.name());
    let text = fs::read_to_string(path)?.replace("ip=198.18.0.1/15", &netns);
    let path = places.testbed.write("tap-sink.jsonc", &text)?;
    let sink = places.testbed.lport(&["run", &path.display().to_string(), "--json", "--stats-period", "0.1"])?;
    sink.wait_for_counters("sink:0", LportSummary::is_up)?;
    let _ = places.west.run("ping -n -c 5 -i 0.01 -W 0.1 198.18.0.2");
    sink.wait_for_total(|lport| if lport.name.starts_with("null") { lport.opackets } else { 0 }, 5)?;
    let summary = sink.stop()?.summary()?;
    let received = |name| summary.lport(name).map(|lport| lport.ipackets);
    assert_eq!(received("sink:0")? + received("sink:1")?, 5);
    assert!(places.west.ip("link show sink").is_err(), "the interface is gone");
    Ok(())
}

#[test]
fn ping_and_many_flows_go_through_two_queues_of_packet_sockets() -> Result<()> {
    let Some(places) = Places::new()? else { return Ok(()) };
    // west -- (eth1, we, eth2) -- east
    let middle = Namespace::new()?;
    places.west.cable("eth0", &middle, "eth1")?;
    places.east.cable("eth0", &middle, "eth2")?;
    places.west.ip("addr add 192.0.2.1/24 dev eth0")?;
    places.east.ip("addr add 192.0.2.2/24 dev eth0")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/af-packet-wire.jsonc");
    let pmd = format!("net_af_packet:netns={}", middle.name());
    let text = fs::read_to_string(path)?.replace("net_af_packet", &pmd);
    let path = places.testbed.write("af-packet-wire.jsonc", &text)?;
    let wire = places.testbed.lport(&["run", &path.display().to_string(), "--json", "--stats-period", "0.1"])?;
    wire.wait_for_counters("eth2:1", LportSummary::is_up)?;
    places.ping(&[0, 56, 1472, 8000])?;
    // Many flows, so that both queues have something to do.
    wait_until("packets on every queue", || {
        for port in 5000..5064 {
            let words = ["-c", &format!("echo x > /dev/udp/192.0.2.2/{port}")];
            anyhow::ensure!(places.west.command("bash").args(words).status()?.success());
        }
        let second = wire.wait_for_counters("eth1:1", |_| true)?;
        let first = wire.wait_for_counters("eth1:0", |_| true)?;
        Ok((first.ipackets > 10 && second.ipackets > 10).then_some(()))
    })?;
    let summary = wire.stop()?.summary()?;
    for lport in &summary.lports {
        assert_eq!((lport.oerrors, lport.ierrors, lport.imissed), (0, 0, 0), "{}", lport.name);
    }
    let completed = |name| summary.lport(name).map(|lport| lport.xstats["rx_checksums_completed"]);
    assert!(completed("eth1:0")? + completed("eth1:1")? > 0, "UDP's checksums were left to us");
    Ok(())
}
