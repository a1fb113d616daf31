//! Signals and `--duration` end a run in good order: exit code 0, a summary, no socket file left.

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::summary::LportSummary;
use lport_tests::{LportFile, Testbed};
use nix::sys::signal::Signal;

fn ends_well_on(signal: Signal) -> Result<()> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    // Both ends in one process, as testpmd's own loopback.
    let file = LportFile::new("fwd").memif("a", &server, 1).memif("b", &server.peer(), 1);
    let lport = testbed.run("loopback", &file.port_map(&[("a:0", "b:0")]))?;
    lport.wait_for_counters("b:0", LportSummary::is_up)?;
    assert!(testbed.path("sock").exists());
    lport.signal(signal)?;
    let summary = lport.wait()?.summary()?;
    assert_eq!(summary.lports.iter().map(|lport| lport.name.as_str()).collect::<Vec<_>>(), ["a:0", "b:0"]);
    assert!(summary.lports.iter().all(|lport| lport.driver == "net_memif"));
    assert!(summary.duration_s > 0.0 && summary.threads.len() == 1 && !summary.pools.is_empty());
    assert!(!testbed.path("sock").exists());
    Ok(())
}

#[test]
fn sigint_ends_it_well() -> Result<()> {
    ends_well_on(Signal::SIGINT)
}

#[test]
fn sigterm_ends_it_well() -> Result<()> {
    ends_well_on(Signal::SIGTERM)
}

#[test]
fn a_duration_ends_it_well() -> Result<()> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let path = testbed.write("file.jsonc", &LportFile::new("drop").memif("a", &server, 1).text())?;
    let path = path.display().to_string();
    let summary = testbed.lport(&["run", &path, "--json", "--duration", "0.2"])?.wait()?.summary()?;
    assert!(summary.duration_s >= 0.2, "{}", summary.duration_s);
    assert!(!testbed.path("sock").exists());
    Ok(())
}
