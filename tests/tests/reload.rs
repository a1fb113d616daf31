//! `lport run` reads its file again on SIGHUP: what does not change is not disturbed, what is wrong is refused as a whole.

use std::fs;

use anyhow::Result;
use lport_tests::memif::{Memif, Role};
use lport_tests::summary::LportSummary;
use lport_tests::testpmd::Forward;
use lport_tests::{Lport, LportFile, Testbed, Testpmd};
use nix::sys::signal::Signal;

/// Packets that count as traffic.
const LOAD: u64 = 10_000;

/// A forwarder between two testpmd, one of which floods it.
struct Forwarder {
    lport: Lport,
    left: Testpmd,
    _right: Testpmd,
    testbed: Testbed,
}

fn memif(testbed: &Testbed, name: &str) -> Memif {
    Memif::new(Role::Server, &testbed.path_socket(&format!("{name}.sock")))
}

/// `left` and `right`, forwarded to each other by one thread.
fn pair(testbed: &Testbed) -> LportFile {
    let ends = ["left", "right"].into_iter();
    let file = ends.fold(LportFile::new("fwd"), |file, end| file.memif(end, &memif(testbed, end), 1));
    file.port_map(&[("left:0", "right:0")]).thread("fwd:pair", &["left:0", "right:0"])
}

/// The pair, and a third lport with a thread of its own that sends everything to `right`.
fn pair_and_third(testbed: &Testbed) -> LportFile {
    let map = serde_json::json!({ "left:0": "right:0", "right:0": "left:0", "third:0": "right:0" });
    let file = pair(testbed).memif("third", &memif(testbed, "third"), 1).thread("fwd:third", &["third:0"]);
    file.option("port-map", map)
}

impl Forwarder {
    fn start() -> Result<Self> {
        let testbed = Testbed::new()?;
        let lport = testbed.run("file", &pair(&testbed))?;
        let start = |end: &str, forward| {
            let peer = memif(&testbed, end).peer();
            let mut peer = testbed.testpmd(end).forward(forward).memif(&peer).start()?;
            peer.wait_for_link(0, true)?;
            peer.start_forwarding()?;
            anyhow::Ok(peer)
        };
        let (right, left) = (start("right", Forward::RxOnly)?, start("left", Forward::TxOnly)?);
        let forwarder = Self { testbed, lport, left, _right: right };
        forwarder.wait_for_traffic()?;
        Ok(forwarder)
    }

    /// Waits until the pair forwards, from now on, and gives the counters of `right`.
    fn wait_for_traffic(&self) -> Result<LportSummary> {
        let seen = self.counters("right:0")?.opackets;
        self.lport.wait_for_counters("right:0", |port| port.opackets > seen + LOAD)
    }

    fn counters(&self, name: &str) -> Result<LportSummary> {
        self.lport.wait_for_counters(name, |_| true)
    }

    /// Writes `text` as the file, sends SIGHUP, waits for `answer` on standard error and gives all that was said.
    fn reload(&self, text: &str, answer: &str) -> Result<String> {
        self.testbed.write("file.jsonc", text)?;
        let from = self.lport.log_position();
        self.lport.signal(Signal::SIGHUP)?;
        self.lport.wait_for_log(answer, from)?;
        Ok(self.lport.log()[from..].to_owned())
    }

    /// Waits until the pair forwards; its links must have been up all the time.
    fn assert_undisturbed(&self) -> Result<()> {
        let right = self.wait_for_traffic()?;
        for port in [self.counters("left:0")?, right] {
            assert!(port.is_up(), "{port:?}");
            assert_eq!((port.xstats["connects"], port.xstats["disconnects"]), (1, 0), "{port:?}");
        }
        Ok(())
    }
}

#[track_caller]
fn assert_says(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.lines().any(|said| said == *line), "no {line:?} in:\n{said}");
    }
}

#[test]
fn an_lport_comes_and_goes_while_the_others_forward() -> Result<()> {
    let mut forwarder = Forwarder::start()?;
    let testbed = &forwarder.testbed;
    let before = forwarder.counters("left:0")?.ipackets;
    let said = forwarder.reload(&pair_and_third(testbed).text(), "\nreloaded")?;
    assert_says(
        &said,
        &[
            "added: lport third:0, thread fwd:third",
            "unchanged: pool packets, lport left:0, lport right:0, thread fwd:pair",
            "options: changed",
        ],
    );
    let mut third = testbed.testpmd("third").forward(Forward::TxOnly).memif(&memif(testbed, "third").peer()).start()?;
    third.wait_for_link(0, true)?;
    third.start_forwarding()?;
    forwarder.lport.wait_for_counters("third:0", |port| port.ipackets > LOAD)?;
    forwarder.assert_undisturbed()?;
    // A testpmd that sends while its server goes may not survive it.
    third.stop_forwarding()?;

    let said = forwarder.reload(&pair(testbed).text(), "\nreloaded")?;
    assert_says(&said, &["removed: lport third:0, thread fwd:third"]);
    third.wait_for_link(0, false)?;
    assert!(!testbed.path("third.sock").exists());
    forwarder.assert_undisturbed()?;
    assert!(forwarder.counters("left:0")?.ipackets > before);
    third.quit()?;
    forwarder.left.stop_forwarding()?;
    let summary = forwarder.lport.stop()?.summary()?;
    assert_eq!(summary.lports.len(), 2);
    Ok(())
}

#[test]
fn a_broken_file_is_refused_as_a_whole_and_traffic_goes_on() -> Result<()> {
    let forwarder = Forwarder::start()?;
    let good = pair_and_third(&forwarder.testbed).text();
    let mut unpolled: serde_json::Value = serde_json::from_str(&good)?;
    unpolled["threads"] = serde_json::json!({});
    for (wrong, words) in [
        (good.replace("net_memif:role=server", "net_memif:role=boss"), &["error[", "boss", "client, server"][..]),
        (good.replace("\"third:0\": \"right:0\"", "\"third:0\": \"rihgt:0\""), &["E0503", "did you mean \"right:0\"?"]),
        (good.replace("\"anywhere\": []", "\"anywhere\": [1023]"), &["CPU 1023 does not exist"]),
        (format!("{good}}}"), &["E0010", "file.jsonc:"]),
        (unpolled.to_string(), &["W0201", "polls an lport, so there is nothing to run"]),
    ] {
        let said = forwarder.reload(&wrong, "running on as before")?;
        for word in words {
            assert!(said.contains(word), "no {word:?} in:\n{said}");
        }
        assert!(!said.contains("added:"), "{said}");
    }
    fs::remove_file(forwarder.testbed.path("file.jsonc"))?;
    forwarder.lport.signal(Signal::SIGHUP)?;
    forwarder.lport.wait_for_log("No such file", 0)?;
    forwarder.assert_undisturbed()?;
    let summary = forwarder.lport.stop()?.summary()?;
    assert_eq!(summary.lports.len(), 2, "nothing of it was applied");
    Ok(())
}

#[test]
fn a_file_that_changes_nothing_says_so() -> Result<()> {
    let forwarder = Forwarder::start()?;
    let same = format!("// A comment is no change.\n{}", pair(&forwarder.testbed).text());
    let said = forwarder.reload(&same, "nothing changes")?;
    assert!(!said.contains("unchanged"), "{said}");
    forwarder.assert_undisturbed()?;
    forwarder.lport.stop()?.summary()?;
    Ok(())
}

#[test]
fn another_mode_starts_the_threads_anew_and_leaves_the_links_up() -> Result<()> {
    let mut forwarder = Forwarder::start()?;
    let text = pair(&forwarder.testbed).option("mode", serde_json::json!("lb")).text();
    let said = forwarder.reload(&text, "\nreloaded")?;
    assert_says(&said, &["changed: thread fwd:pair (its task)", "options: mode `fwd` becomes `lb`"]);
    // The flooding peer receives nothing, so most of what is sent back to it is dropped.
    forwarder.lport.wait_for_counters("left:0", |port| port.opackets + port.oerrors > LOAD)?;
    for name in ["left:0", "right:0"] {
        let port = forwarder.counters(name)?;
        assert_eq!((port.xstats["connects"], port.xstats["disconnects"]), (1, 0), "{port:?}");
    }
    forwarder.left.stop_forwarding()?;
    forwarder.lport.stop()?.summary()?;
    Ok(())
}

#[test]
fn a_changed_lport_connects_again_and_the_other_one_does_not() -> Result<()> {
    let forwarder = Forwarder::start()?;
    let left = memif(&forwarder.testbed, "left").secret("s");
    let text = pair(&forwarder.testbed).memif("left", &left, 1).text();
    let said = forwarder.reload(&text, "\nreloaded")?;
    assert!(said.contains("changed: lport left:0 (its options), thread fwd:pair (its lport left:0)"), "{said}");
    // The peer does not know the secret: the link stays down.
    forwarder.lport.wait_for_counters("left:0", |port| port.why_down().is_some())?;
    let right = forwarder.counters("right:0")?;
    assert!(right.is_up() && right.xstats["connects"] == 1, "{right:?}");
    forwarder.lport.stop()?.summary()?;
    Ok(())
}

#[test]
fn an_lport_that_cannot_be_opened_is_reported_and_the_others_forward() -> Result<()> {
    let forwarder = Forwarder::start()?;
    let testbed = &forwarder.testbed;
    testbed.write("third.sock", "no socket")?;
    let text = pair_and_third(testbed).text();
    let said = forwarder.reload(&text, "SIGHUP tries that again")?;
    assert!(
        said.contains("error: lport `third:0` of net_memif cannot be opened") && said.contains("third.sock"),
        "{said}"
    );
    forwarder.lport.wait_for_counters("third:0", |port| port.why_down().is_some())?;
    forwarder.assert_undisturbed()?;
    fs::remove_file(testbed.path("third.sock"))?;
    let said = forwarder.reload(&text, "\nreloaded")?;
    assert!(said.contains("changed: lport third:0 (it could not be opened before)"), "{said}");
    assert!(testbed.path("third.sock").exists());
    forwarder.assert_undisturbed()?;
    forwarder.lport.stop()?.summary()?;
    Ok(())
}
