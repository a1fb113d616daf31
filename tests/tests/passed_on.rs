//! What `lport run` does with large packets that its mode does not look at: a memif server lends them to it, so that they are
//! copied once on their way, also without `zero-copy=yes`.

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::{LportFile, Testbed};
use serde_json::json;

const ENOUGH: u64 = 100_000;

/// Sends packets of `size` bytes round between a memif server and a memif client of one `lport run`, in a mode; whether the server
/// has lent any of them.
fn lends(mode: &str, size: u64) -> Result<bool> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let file = LportFile::new(mode).memif("a", &server, 1).memif("b", &server.peer(), 1);
    let file = file.option("tx-first", json!(64)).option("tx-size", json!(size));
    let lport = testbed.run("round", &file.port_map(&[("a:0", "b:0")]))?;
    for name in ["a:0", "b:0"] {
        lport.wait_for_counters(name, |port| port.ipackets > ENOUGH)?;
    }
    let summary = lport.stop()?.summary()?;
    assert!(summary.lports.iter().all(|port| port.ierrors + port.oerrors == 0), "{:?}", summary.lports);
    assert!(summary.pools.iter().all(|pool| pool.available == pool.size), "{:?}", summary.pools);
    Ok(summary.lport("a:0")?.xstats["rx_lent"] > 0)
}

#[test]
fn a_server_lends_large_packets_to_a_mode_that_passes_them_on_unread() -> Result<()> {
    assert!(lends("fwd", 1000)?);
    Ok(())
}

#[test]
fn it_lends_none_to_a_mode_that_reads_or_writes_them_and_no_small_ones() -> Result<()> {
    for (mode, size) in [("lb", 1000), ("acl-permissive", 1000), ("fwd", 64)] {
        assert!(!lends(mode, size)?, "{mode}, {size} bytes");
    }
    Ok(())
}
