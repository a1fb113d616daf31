//! Telemetry of a running `lport run`: Debian's stock dpdk-telemetry.py is the client, unchanged and without arguments.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lport_tests::memif::{Memif, Role};
use lport_tests::process::{Process, wait_until};
use lport_tests::testpmd::Forward;
use lport_tests::{LportFile, Testbed, testbed};
use serde_json::{Value, json};

/// Runs the stock client with these lines as its input, and gives what it prints.
fn stock_client(testbed: &Testbed, arguments: &[&str], lines: &[&str]) -> Result<String> {
    let mut command = Command::new("dpdk-telemetry.py");
    command.args(arguments).env("RUNTIME_DIRECTORY", testbed.directory());
    let started = Process::spawn("dpdk-telemetry.py", &mut command);
    let mut client = started.context("`make deps` or `apt-get install dpdk` installs it")?;
    for line in lines {
        client.write_line(line)?;
    }
    let (status, stdout, stderr) = client.wait_with_output()?;
    ensure!(status.success(), "dpdk-telemetry.py ended with {status}\n{stdout}{stderr}");
    Ok(stdout)
}

/// Asks with the stock client; what stands behind each command in the answers.
fn ask(testbed: &Testbed, arguments: &[&str], requests: &[&str]) -> Result<Vec<Value>> {
    let printed = stock_client(testbed, arguments, requests)?;
    let answers: Vec<Value> = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>().context(printed)?;
    ensure!(answers.len() == requests.len(), "{} answers to {requests:?}: {answers:?}", answers.len());
    let value = |(request, answer): (&&str, &Value)| {
        let command = request.split(',').next().unwrap_or_default();
        answer.get(command).cloned().with_context(|| format!("{answer} does not answer {request}"))
    };
    requests.iter().zip(&answers).map(value).collect()
}

/// Each of these keys is there, whatever its value.
fn assert_has(tree: &Value, keys: &str) -> Result<()> {
    for key in keys.split(' ') {
        ensure!(tree.get(key).is_some(), "no {key} in {tree}");
    }
    Ok(())
}

fn sockets(testbed: &Testbed, prefix: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(testbed.path("dpdk").join(prefix))?;
    let mut names =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// A file that needs no peer.
fn null_file() -> LportFile {
    LportFile::new("drop").lport("null:0", json!({ "pmd": "net_null", "umem": "packets" }))
}

#[test]
fn a_client_has_more_buffers_towards_another_process_than_within_its_own() -> Result<()> {
    let testbed = Testbed::new()?;
    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let of_client = LportFile::new("drop").memif("client", &server.peer(), 1);
    let of_server = LportFile::new("drop").memif("server", &server, 1);
    let region = |testbed: &Testbed| {
        wait_until("the client's memory", || {
            Ok(ask(testbed, &[], &["/memif/info,0"])?[0]["regions"][0]["size"].as_u64())
        })
    };
    let within = {
        let _both = testbed.run_with("both", &of_client.clone().memif("server", &server, 1), &[])?;
        region(&testbed)?
    };
    let _server = testbed.run_with("server", &of_server, &["--no-telemetry"])?;
    let _client = testbed.run_with("client", &of_client, &[])?;
    // To send from, a pool of 4096 mbufs with headroom; to receive into, four times as many buffers as within; of 2048 bytes each,
    // an odd number of cache lines apart.
    assert_eq!(region(&testbed)? - within, 4096 * 35 * 64 - 1024 * 33 * 64 + 3 * 1024 * 33 * 64);
    Ok(())
}

#[test]
fn the_stock_client_sees_the_packets_of_a_dpdk_peer() -> Result<()> {
    let testbed = Testbed::new()?;
    let ours = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let peer = testbed.testpmd("generator").forward(Forward::TxOnly);
    let (lport, mut peer) = testbed.run_with_peer(&LportFile::new("drop").memif("left", &ours, 1), &ours, peer)?;
    peer.start_forwarding()?;
    wait_until("packets in telemetry", || {
        let stats = &ask(&testbed, &[], &["/ethdev/stats,0"])?[0];
        Ok((stats["ipackets"].as_u64() > Some(10_000)).then_some(()))
    })?;
    peer.stop_forwarding()?;
    let sent = peer.port_stats(0)?;
    let received = wait_until("every packet that testpmd sent", || {
        let stats = ask(&testbed, &[], &["/ethdev/stats,0"])?.remove(0);
        let is_all = stats["ipackets"] == sent.tx_packets && stats["ibytes"] == 64 * sent.tx_packets;
        Ok(is_all.then_some(stats))
    })?;

    let requests = [
        "/info",
        "/ethdev/list",
        "/ethdev/xstats,0",
        "/ethdev/link_status,0",
        "/ethdev/info,0",
        "/mempool/list",
        "/ethdev/stats,9",
        "/nonsense",
        "/memif/list",
        "/memif/info,0",
        "/memif/info,9",
        "/lport/info,left:0",
        "/eal/lcore/list",
        "/mempool/info,packets",
    ];
    let answers = ask(&testbed, &[], &requests)?;
    let [info, ports, xstats, status, port, pools, no_port, nonsense, memifs, memif, no_memif, named, lcores, pool] =
        &answers[..]
    else {
        unreachable!("as many as requests");
    };
    assert_eq!(info["pid"], lport.id());
    assert_eq!(
        (ports, &xstats["rx_q0_packets"], &status["status"]),
        (&json!([0]), &received["ipackets"], &json!("UP"))
    );
    assert_eq!((&port["name"], &port["nb_rx_queues"]), (&json!("left:0"), &json!(1)));
    assert_eq!(pools.as_array().map(Vec::len), Some(1));
    assert!(no_port.is_null() && nonsense.is_null(), "{no_port} {nonsense}");
    assert_eq!((memifs, &memif["role"], &memif["link"]["up"]), (&json!([0]), &json!("server"), &json!(true)));
    assert!(memif["peer"]["application"].as_str().is_some_and(|name| name.starts_with("DPDK")), "{memif}");
    assert!(memif["peer"]["pid"].as_u64() > Some(0) && memif["rings"].as_array().map(Vec::len) == Some(2), "{memif}");
    assert_eq!((&memif["regions"][0]["kind"], &memif["regions"][0]["seals"]), (&json!("memfd"), &json!(["shrink"])));
    assert_eq!(memif["queues"][0]["rx_packets"], received["ipackets"]);
    assert!(no_memif["error"].as_str().is_some_and(|text| text.contains("`9`")), "{no_memif}");
    assert_eq!(named["details"]["peer"], memif["peer"]);
    assert_has(memif, "interface role id mode socket secret zero_copy rx_mode cache_line link peer last_end counts")?;
    assert_has(&memif["peer"], "application interface pid uid gid")?;
    assert_has(&memif["regions"][0], "index size kind seals")?;
    assert_has(&memif["rings"][0], "direction ring index region offset size head tail flags interrupts buffer_size")?;
    assert_eq!(
        (&memif["mode"], &memif["rx_mode"], memif["peer"]["uid"].is_u64()),
        (&json!("ethernet"), &json!("adaptive"), true)
    );
    assert_eq!(lcores, &json!([]), "its thread is not pinned");
    assert_eq!((&pool["name"], pool["size"].is_u64()), (&json!("packets"), true), "{pool}");

    peer.quit()?;
    let gone = wait_until("the peer's last words", || {
        let memif = ask(&testbed, &[], &["/memif/info,0"])?.remove(0);
        Ok((memif["link"]["up"] == false).then_some(memif))
    })?;
    assert!(gone["peer"].is_null(), "{gone}");
    let last = &gone["last_end"]["by_peer"];
    assert!(last["reason"].is_string() && last["unix_time"].as_u64() > Some(1_700_000_000), "{gone}");
    assert_eq!((&gone["rings"], &gone["counts"]["connects"]), (&json!([]), &json!(1)));
    lport.stop()?.summary()?;
    assert_eq!(sockets(&testbed, "rte")?, [""; 0]);
    Ok(())
}

#[test]
fn the_stock_client_sees_the_cpus_of_pinned_threads() -> Result<()> {
    let testbed = Testbed::new()?;
    let cpu = testbed::allowed_cpus()?[0];
    let text = null_file().text().replace("\"anywhere\": []", &format!("\"anywhere\": [{cpu}]"));
    let file = testbed.write("pinned.jsonc", &text)?.display().to_string();
    let lport = testbed.lport(&["run", &file, "--json"])?;
    lport.wait_for_log("telemetry on ", 0)?;
    let info = format!("/eal/lcore/info,{cpu}");
    let answers = ask(&testbed, &[], &["/eal/lcore/list", &info])?;
    assert_eq!((&answers[0], &answers[1]["lcore_id"]), (&json!([cpu]), &json!(cpu)));
    lport.stop()?.summary()?;
    Ok(())
}

#[test]
fn processes_with_one_prefix_are_instances_and_are_listed() -> Result<()> {
    let testbed = Testbed::new()?;
    let file = testbed.write("null.jsonc", &null_file().text())?.display().to_string();
    let start = |prefix: &str| {
        let lport = testbed.lport(&["run", &file, "--json", "--file-prefix", prefix])?;
        lport.wait_for_log("telemetry on ", 0)?;
        Ok::<_, anyhow::Error>(lport)
    };
    let (first, second, other) = (start("rte")?, start("rte")?, start("other")?);
    for (arguments, lport) in [(&[][..], &first), (&["-i", "1"], &second), (&["-f", "other"], &other)] {
        assert_eq!(ask(&testbed, arguments, &["/info"])?[0]["pid"], lport.id());
    }
    let listed = stock_client(&testbed, &["-l"], &[])?;
    for line in ["rte", "other", "- dpdk_telemetry.v2:1"] {
        assert!(listed.lines().any(|listed| listed.starts_with(line)), "no {line} in\n{listed}");
    }
    // Killed, it leaves its socket behind; the next one takes its place.
    first.signal(nix::sys::signal::Signal::SIGKILL)?;
    first.wait()?;
    assert_eq!(sockets(&testbed, "rte")?.len(), 2);
    let next = start("rte")?;
    assert_eq!(ask(&testbed, &[], &["/info"])?[0]["pid"], next.id());
    for lport in [second, other, next] {
        lport.stop()?.summary()?;
    }
    assert_eq!((sockets(&testbed, "rte")?, sockets(&testbed, "other")?), (vec![], vec![]));
    Ok(())
}

#[test]
fn telemetry_is_turned_off_by_option_or_file_and_is_never_fatal() -> Result<()> {
    let testbed = Testbed::new()?;
    let run = |name: &str, file: &LportFile, more: &[&str]| {
        let path = testbed.write(name, &file.text())?.display().to_string();
        let finished = testbed.lport(&[&["run", &path, "--json", "--duration", "0.1"], more].concat())?.wait()?;
        finished.summary()?;
        Ok::<_, anyhow::Error>(finished.stderr)
    };
    run("off.jsonc", &null_file(), &["--no-telemetry"])?;
    run("off.jsonc", &null_file().option("no-metrics", json!(true)), &[])?;
    assert!(!testbed.path("dpdk").exists());
    fs::write(testbed.path("dpdk"), "a file where a directory should be")?;
    let log = run("on.jsonc", &null_file(), &[])?;
    let place = Path::new("dpdk").join("rte").display().to_string();
    assert!(log.contains("no telemetry: ") && log.contains(&place), "{log}");
    Ok(())
}

#[test]
fn lport_show_tells_of_a_running_process_and_says_when_there_is_none() -> Result<()> {
    let testbed = Testbed::new()?;
    let show = |arguments: &[&str]| testbed.lport(&[&["show"], arguments].concat())?.wait();
    let nobody = show(&[])?;
    assert_eq!(nobody.code(), Some(5), "{}", nobody.stderr);
    let place = testbed.path("dpdk").join("rte").join("dpdk_telemetry.v2").display().to_string();
    assert!(nobody.stderr.contains(&place) && nobody.stderr.contains("start `lport run FILE`"), "{}", nobody.stderr);

    let server = Memif::new(Role::Server, &testbed.path_socket("sock"));
    let file = LportFile::new("fwd").memif("a", &server, 1).memif("b", &server.peer(), 1);
    let lport = testbed.run("loopback", &file.port_map(&[("a:0", "b:0")]))?;
    lport.wait_for_counters("b:0", |port| port.link == "up")?;
    let tables = show(&[])?;
    assert_eq!(tables.code(), Some(0), "{}", tables.stderr);
    for word in ["a:0", "b:0", "net_memif", "up", "fwd:0", "packets", "16 384"] {
        assert!(tables.stdout.contains(word), "no {word:?} in:\n{}", tables.stdout);
    }
    let memif = show(&["memif"])?.stdout;
    for part in ["a: server with id 0 on /", "b: client with id 0 on /", &format!("pid {}", lport.id()), "memfd"] {
        assert!(memif.contains(part), "no {part:?} in:\n{memif}");
    }
    let json = |arguments: &[&str]| Ok::<Value, anyhow::Error>(serde_json::from_str(&show(arguments)?.stdout)?);
    let all = json(&["--json"])?;
    assert_eq!(all["ports"][1]["name"], "b:0");
    assert_eq!(
        (&json(&["ports", "--json"])?[0]["name"], &json(&["threads", "--json"])?[0]["name"]),
        (&json!("a:0"), &json!("fwd:0"))
    );
    assert_eq!(
        (&json(&["memif", "--json"])?[1]["role"], &json(&["pools", "--json"])?[0]["size"]),
        (&json!("client"), &json!(16384))
    );
    let elsewhere = show(&["--instance", "1"])?;
    assert_eq!(elsewhere.code(), Some(5));
    assert!(elsewhere.stderr.contains("leave `--instance` out"), "{}", elsewhere.stderr);
    lport.stop()?.summary()?;
    Ok(())
}
