//! `lport run` on AF_XDP sockets, between two hosts (network namespaces) that ping one another through it.
//!
//! ```text
//!   left host  west --- eth0 | lport run  | eth1 --- east  right host
//!                      \------ router -----/
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use lport_tests::namespace::may_make_namespaces;
use lport_tests::summary::LportSummary;
use lport_tests::{Lport, Namespace, Testbed, cargo};

/// Two hosts and what lies between them.
struct Hosts {
    left: Namespace,
    router: Namespace,
    right: Namespace,
}

impl Hosts {
    fn new() -> Result<Self> {
        let hosts = Self { left: Namespace::new()?, router: Namespace::new()?, right: Namespace::new()? };
        hosts.router.cable("eth0", &hosts.left, "west")?;
        hosts.router.cable("eth1", &hosts.right, "east")?;
        hosts.left.ip("addr add 192.0.2.1/24 dev west")?;
        hosts.right.ip("addr add 192.0.2.2/24 dev east")?;
        Ok(hosts)
    }

    /// Pings of several sizes, each of which must be answered.
    fn ping(&self) -> Result<()> {
        for size in [0, 56, 1000, 1472] {
            self.left.run(&format!("ping -c 10 -i 0.02 -w 30 -M do -s {size} 192.0.2.2"))?;
        }
        Ok(())
    }
}

/// The file `configs/<name>` in the directory of the test, changed.
fn config(testbed: &Testbed, name: &str, changes: &[(&str, &str)]) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "no {from} in {name}");
        text.replace(from, to)
    });
    Ok(testbed.write(name, &text)?.display().to_string())
}

fn wait_until_up(lport: &Lport, names: &[&str]) -> Result<()> {
    names.iter().try_for_each(|name| lport.wait_for_counters(name, LportSummary::is_up).map(drop))
}

/// Stops it, and says what its lports sent; it must have copied and dropped nothing.
fn sent_without_copies(lport: Lport, names: &[&str]) -> Result<Vec<u64>> {
    let summary = lport.stop()?.summary()?;
    let mut sent = Vec::new();
    for name in names {
        let lport = summary.lport(name)?;
        assert_eq!((lport.oerrors, lport.imissed), (0, 0), "{name}");
        assert_eq!(lport.xstats.get("tx_copied"), Some(&0), "{name}");
        sent.push(lport.opackets);
    }
    Ok(sent)
}

fn hosts_ping_through(extra: &str) -> Result<()> {
    if !may_make_namespaces()? {
        return Ok(());
    }
    let testbed = Testbed::new()?;
    let hosts = Hosts::new()?;
    let driver = format!(r#""pmd": "net_af_xdp:netns={}",{extra}"#, hosts.router.name());
    let file = config(&testbed, "af-xdp.jsonc", &[(r#""pmd": "net_af_xdp","#, &driver)])?;
    let lport = testbed.lport(&["run", &file, "--json", "--stats-period", "0.1"])?;
    wait_until_up(&lport, &["eth0:0", "eth1:0"])?;
    hosts.ping()?;
    let sent = sent_without_copies(lport, &["eth0:0", "eth1:0"])?;
    assert!(sent.iter().all(|sent| *sent >= 40), "{sent:?}");
    // The kernel has its interfaces back.
    assert!(!hosts.router.ip("link show eth0")?.contains("xdp"));
    Ok(())
}

#[test]
fn hosts_ping_each_other_through_the_native_path() -> Result<()> {
    hosts_ping_through("")
}

#[test]
fn hosts_ping_each_other_through_the_generic_path() -> Result<()> {
    hosts_ping_through(r#" "skb_mode": true,"#)
}

#[test]
fn hosts_ping_each_other_through_unaligned_buffers() -> Result<()> {
    hosts_ping_through(r#" "unaligned_buffers": true,"#)
}

#[test]
fn hosts_ping_each_other_with_busy_polling() -> Result<()> {
    hosts_ping_through(r#" "busy_poll": true, "force_wakeup": true,"#)
}

/// `left host - eth0, of a program without CAP_NET_ADMIN and CAP_BPF - memif - another program - eth1 - right host`
#[test]
fn a_program_without_privileges_forwards_between_a_pinned_map_and_memif() -> Result<()> {
    if !may_make_namespaces()? {
        return Ok(());
    }
    let testbed = Testbed::new()?;
    let hosts = Hosts::new()?;
    // The other user has to get at the file and make its sockets.
    fs::set_permissions(testbed.directory(), Permissions::from_mode(0o777))?;
    let bpf = testbed.path("bpf");
    fs::create_dir(&bpf)?;
    let sockets = format!("{}/", testbed.directory().display());
    let changes = [("/tmp/lport", &format!("{sockets}lport")), ("/sys/fs/bpf/eth0/", &format!("{}/", bpf.display()))];
    let changes = changes.map(|(from, to)| (from, to.as_str()));
    let file = config(&testbed, "af-xdp-unprivileged.jsonc", &changes)?;
    let lport = unprivileged(&testbed, &hosts.router, &bpf, &["run", &file, "--json", "--stats-period", "0.1"])?;

    let driver = format!("net_af_xdp:iface=eth1,netns={}", hosts.router.name());
    let socket = format!("{sockets}lport-xdp.sock");
    let other = lport_tests::LportFile::new("fwd")
        .lport("x:0", serde_json::json!({ "pmd": driver, "umem": "packets" }))
        .lport(
            "m:0",
            serde_json::json!({
                "pmd": format!("net_memif:role=client,socket={socket},socket-abstract=no"),
                "umem": "packets"
            }),
        )
        .port_map(&[("x:0", "m:0")]);
    let other = testbed.run("other", &other)?;
    wait_until_up(&lport, &["eth0:0", "peer:0"])?;
    wait_until_up(&other, &["x:0", "m:0"])?;
    hosts.ping()?;
    for (lport, names) in [(lport, ["eth0:0", "peer:0"]), (other, ["x:0", "m:0"])] {
        let summary = lport.stop()?.summary()?;
        for name in names {
            let lport = summary.lport(name)?;
            assert!(lport.opackets >= 40 && lport.ipackets >= 40, "{name}: {lport:?}");
            assert_eq!((lport.oerrors, lport.imissed), (0, 0), "{name}");
        }
    }
    Ok(())
}

/// Starts our program as nobody, with CAP_NET_RAW, memory to lock, and a map that was pinned for it before.
fn unprivileged(testbed: &Testbed, namespace: &Namespace, bpf: &Path, arguments: &[&str]) -> Result<Lport> {
    let examples = cargo::build(&["--package", "pmd-af-xdp", "--example", "provide"])?.join("examples");
    let (bpf, provide) = (bpf.display(), examples.join("provide"));
    // The namespace's mounts are its own, so this one goes with the last process in it.
    let script = format!(
        "mount -t bpf bpf {bpf} && chmod 755 {bpf} && {} eth0 {bpf} >&2 && chown nobody {bpf}/xsks_map && \
         exec setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs --bounding-set={caps} \
         --inh-caps={caps} --ambient-caps={caps} \"$@\"",
        provide.display(),
        caps = "-all,+net_raw,+ipc_lock"
    );
    let mut starter = namespace.command("sh");
    starter.args(["-c", &script, "sh"]);
    testbed.lport_by(starter, arguments)
}

#[test]
fn without_privileges_the_error_names_the_capabilities_and_the_command() -> Result<()> {
    if !may_make_namespaces()? {
        return Ok(());
    }
    let testbed = Testbed::new()?;
    let hosts = Hosts::new()?;
    fs::set_permissions(testbed.directory(), Permissions::from_mode(0o777))?;
    let file = config(&testbed, "af-xdp.jsonc", &[])?;
    let nobody = |capabilities: &str, arguments: &[&str]| {
        let mut starter = hosts.router.command("setpriv");
        starter.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", capabilities]);
        testbed.lport_by(starter, arguments)?.wait()
    };
    let refused = nobody("--inh-caps=-all", &["run", &file])?;
    assert_eq!(refused.code(), Some(4), "{}", refused.stderr);
    let words = [
        "AF_XDP on interface eth0 needs CAP_NET_RAW and CAP_NET_ADMIN and CAP_BPF",
        "setcap cap_net_admin,cap_net_raw,cap_bpf+ep",
        "`xsk_pin_path`",
    ];
    for word in words {
        assert!(refused.stderr.contains(word), "no {word:?} in {}", refused.stderr);
    }
    let checked = nobody("--inh-caps=-all", &["check", "--machine", &file])?;
    assert!(checked.stdout.contains("needs CAP_NET_RAW"), "{}", checked.stdout);

    // A umem locks memory: without CAP_IPC_LOCK there is a limit.
    let capabilities = "net_raw,+net_admin,+bpf";
    let mut starter = hosts.router.command("prlimit");
    starter.args(["--memlock=65536", "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    starter.args([format!("--inh-caps=-all,+{capabilities}"), format!("--ambient-caps=-all,+{capabilities}")]);
    let refused = testbed.lport_by(starter, &["run", &file])?.wait()?;
    assert_eq!(refused.code(), Some(4), "{}", refused.stderr);
    for word in ["RLIMIT_MEMLOCK allows 65536", "`ulimit -l`", "CAP_IPC_LOCK"] {
        assert!(refused.stderr.contains(word), "no {word:?} in {}", refused.stderr);
    }
    Ok(())
}
