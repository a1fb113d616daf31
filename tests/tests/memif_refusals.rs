//! A peer that does not know the secret is refused, and both our log and our statistics say why.

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::testpmd::Forward;
use lport_tests::{LportFile, Testbed};

#[test]
fn our_server_refuses_a_wrong_secret_and_takes_the_right_one_afterwards() -> Result<()> {
    let testbed = Testbed::new()?;
    let ours = Memif::new(Role::Server, &testbed.path_socket("sock")).secret("right");
    let lport = testbed.run("server", &LportFile::new("lb").memif("port", &ours, 1))?;
    let from = lport.log_position();

    let mut wrong = testbed.testpmd("wrong").memif(&ours.peer().secret("wrong")).start()?;
    lport.wait_for_log("secret", from)?;
    lport.wait_for_counters("port:0", |port| port.link.contains("secret"))?;
    assert!(!wrong.link_is_up(0)?);

    let mut right = testbed.testpmd("right").forward(Forward::RxOnly).memif(&ours.peer()).start()?;
    right.wait_for_link(0, true)?;
    right.poll_once()?;
    right.send_bursts(1)?;
    right.wait_for_stats(0, |stats| stats.rx_packets == 32)?;
    let summary = lport.stop()?.summary()?;
    assert_eq!(summary.lport("port:0")?.ipackets, 32);
    Ok(())
}

#[test]
fn our_client_reports_that_its_secret_is_refused() -> Result<()> {
    let testbed = Testbed::new()?;
    let theirs = Memif::new(Role::Server, &testbed.path_socket("sock")).secret("right");
    let mut peer = testbed.testpmd("server").memif(&theirs).start()?;
    let lport = testbed.run("client", &LportFile::new("lb").memif("port", &theirs.peer().secret("wrong"), 1))?;
    // DPDK's words for it.
    lport.wait_for_log("Incorrect secret", 0)?;
    lport.wait_for_counters("port:0", |port| port.link.contains("Incorrect secret"))?;
    assert!(!peer.link_is_up(0)?);
    lport.stop()?.summary()?;
    Ok(())
}
