//! The shape of every answer, over a runtime of three lports: one that makes packets, and a memif server with two queues
//! that waits for its client.

use pmd_core::deployment::{DeviceSpec, PoolSpec, QueueSpec, XdpHints};
use pmd_core::{Burst, LportId, Ports, RawOption, Registry, Settings, Task};

use super::*;
use crate::modes::Mode;

/// Receives and drops.
struct Drop(Burst);

impl Task for Drop {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        let received = (0..ports.count()).map(|position| ports.rx_burst(position, &mut self.0)).sum();
        self.0.clear();
        received
    }
}

fn deployment(socket: &std::path::Path) -> Deployment {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("packets", 1024, 2048));
    let null = deployment.add_lport("null:0", "net_null", vec![], Some(pool));
    let queue = |qid: u16| QueueSpec {
        lport: LportId(1 + qid),
        name: format!("left:{qid}"),
        qid,
        pool: Some(pool),
        rx_desc: 0,
        tx_desc: 0,
        xdp: XdpHints::default(),
        wrap: Vec::new(),
    };
    let options = [("role", "server"), ("socket", socket.to_str().unwrap()), ("socket-abstract", "no")];
    deployment.devices.push(DeviceSpec {
        name: "left".into(),
        driver: "net_memif".into(),
        options: options.iter().map(|(key, value)| RawOption::text(*key, *value)).collect(),
        queues: vec![queue(0), queue(1)],
    });
    deployment.add_thread("fwd:0", &[null, LportId(1)]);
    deployment
}

/// Asks a fresh runtime and gives the parsed datagrams, without the command around them.
fn ask(requests: &[&str]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let deployment = deployment(&directory.path().join("sock"));
    let registry: Registry = crate::drivers::registry();
    let task = |_: &pmd_core::TaskContext<'_>| Ok(Box::new(Drop(Burst::with_limit(32))) as Box<dyn Task>);
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), task).unwrap();
    let has_begun = |report: pmd_core::Report| report.lports[0].stats.ibytes > 0 && report.threads[0].polls > 0;
    while !has_begun(runtime.snapshot()) {
        std::thread::yield_now();
    }
    let drops = ModeDrops::new(Mode::L3Forward, 3);
    let running = Running::new(&runtime, &deployment, &drops);
    let one = |text: &&str| {
        let request = Request::new(text);
        let reply: Value = serde_json::from_slice(&request.reply(answer(&request, &running))).unwrap();
        let fields = reply.as_object().unwrap();
        assert_eq!(fields.len(), 1, "{reply}");
        fields[request.command].clone()
    };
    requests.iter().map(one).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

fn error(value: &Value) -> &str {
    value["error"].as_str().unwrap_or_else(|| panic!("no error: {value}"))
}

#[test]
fn every_command_is_listed_and_has_help() {
    let answers = ask(&["/", "/info", "/help"]);
    let names: Vec<_> = answers[0].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["/", "/help", "/ethdev/stats", "/mempool/info", "/eal/lcore/list", "/lport/info", "/memif/list"] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!((&answers[1]["pid"], &answers[1]["max_output_len"]), (&json!(std::process::id()), &json!(131_072)));
    assert!(answers[2].as_str().unwrap().starts_with("Returns help text"));
    let asked: Vec<_> = names.iter().map(|name| format!("/help,{name}")).collect();
    let help = ask(&asked.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, answer) in names.iter().zip(&help) {
        assert!(answer[name].as_str().is_some_and(|text| text.len() > 10), "{answer}");
    }
}

#[test]
fn ethdev_answers_have_dpdks_names() {
    let answers =
        ask(&["/ethdev/list", "/ethdev/stats,0", "/ethdev/xstats,1", "/ethdev/link_status,0", "/ethdev/link_status,2"]);
    assert_eq!(answers[0], json!([0, 1, 2]));
    let stats = ["ipackets", "opackets", "ibytes", "obytes", "imissed", "ierrors", "oerrors", "rx_nombuf"];
    assert_eq!(keys(&answers[1]), stats);
    assert!(answers[1]["ipackets"].as_u64() > Some(0));
    let bytes = answers[1]["ibytes"].as_u64().unwrap();
    assert!(bytes > 0 && bytes.is_multiple_of(64), "{}", answers[1]);
    let xstats = keys(&answers[2]);
    assert_eq!(xstats[..2], ["rx_good_packets", "tx_good_packets"]);
    for name in [
        "rx_mbuf_allocation_errors",
        "rx_q0_packets",
        "tx_q0_bytes",
        "rx_overruns",
        "tx_full_dropped",
        "no_route_dropped",
    ] {
        assert!(xstats.contains(&name), "no {name} in {xstats:?}");
    }
    assert_eq!(answers[3], json!({ "status": "UP", "speed": 10_000, "duplex": "full-duplex" }));
    assert_eq!(answers[4], json!({ "status": "DOWN" }));
    let info = &ask(&["/ethdev/info,1"])[0];
    assert_eq!(
        (&info["name"], &info["port_id"], &info["rx_mbuf_size_min"]),
        (&json!("left:0"), &json!(1), &json!(2176))
    );
    let mac = info["mac_addr"].as_str().unwrap();
    assert!(mac.len() == 17 && mac.starts_with("02:"), "{mac}");
    for name in ["state", "mtu", "scattered_rx", "rxq_state", "numa_node", "tx_offloads", "ethdev_rss_hf"] {
        assert!(!info[name].is_null(), "no {name} in {info}");
    }
}

#[test]
fn mempools_and_lcores_are_told_as_dpdk_does() {
    let answers = ask(&["/mempool/list", "/mempool/info,packets", "/eal/lcore/list", "/eal/params", "/eal/app_params"]);
    assert_eq!(answers[0], json!(["packets"]));
    let pool = &answers[1];
    assert_eq!((&pool["size"], &pool["elt_size"], &pool["header_size"]), (&json!(1024), &json!(2176), &json!(64)));
    let counted = pool["total_cache_count"].as_u64().unwrap() + pool["common_pool_count"].as_u64().unwrap();
    assert!(counted <= 1024, "{pool}");
    assert_eq!(answers[2], json!([]), "the thread is not pinned");
    let words = [&answers[3], &answers[4]].map(|words| words.as_array().unwrap().clone()).concat();
    assert_eq!(words.len(), std::env::args_os().count());
}

#[test]
fn a_pinned_threads_cpu_is_an_lcore() {
    let cpu = pmd_core::lcore::allowed_cpus()[0];
    let directory = tempfile::tempdir().unwrap();
    let mut deployment = deployment(&directory.path().join("sock"));
    deployment.threads[0].lcores = pmd_core::deployment::Placement::Cpus(vec![cpu]);
    let task = |_: &pmd_core::TaskContext<'_>| Ok(Box::new(Drop(Burst::with_limit(32))) as Box<dyn Task>);
    let runtime = Runtime::start(&deployment, &crate::drivers::registry(), Settings::default(), task).unwrap();
    let drops = ModeDrops::new(Mode::L3Forward, 3);
    let running = Running::new(&runtime, &deployment, &drops);
    let answer = |text: &str| answer(&Request::new(text), &running);
    assert_eq!(answer("/eal/lcore/list"), Answer::Value(json!([cpu])));
    let Answer::Value(info) = answer(&format!("/eal/lcore/info,{cpu}")) else { panic!("no lcore {cpu}") };
    assert_eq!((&info["lcore_id"], &info["role"], &info["cpuset"]), (&json!(cpu), &json!("RTE"), &json!([cpu])));
    assert_eq!(answer("/eal/lcore/info,99999"), Answer::Null);
}

#[test]
fn lports_are_told_by_name() {
    let answers = ask(&["/lport/list", "/lport/info,null:0", "/lport/info,left:1", "/lport/threads", "/lport/pools"]);
    assert_eq!(answers[0], json!(["null:0", "left:0", "left:1"]));
    let [null, left] = [&answers[1], &answers[2]];
    assert_eq!((&null["link"], &null["thread"], &null["details"]), (&json!("up"), &json!("fwd:0"), &json!({})));
    assert_eq!((&left["link"], &left["thread"], &left["queue"]), (&json!("down"), &Value::Null, &json!(1)));
    assert_eq!((&left["device"], &left["down_because"]), (&json!("left"), &json!("waiting for a client")));
    assert_eq!(keys(&left["details"]), keys(&ask(&["/memif/info,2"])[0])[..keys(&left["details"]).len()]);
    assert_eq!(answers[3][0]["lports"], json!(["null:0", "left:0"]));
    assert!(answers[3][0]["polls"].as_u64() > Some(0) && answers[3][0]["failure"].is_null(), "{}", answers[3]);
    let pool = &answers[4][0];
    assert_eq!((&pool["name"], &pool["size"], &pool["page"]), (&json!("packets"), &json!(1024), &json!("4KB")));
    assert_eq!(pool["available"].as_u64().unwrap() + pool["in_use"].as_u64().unwrap(), 1024);
}

#[test]
fn memifs_are_told_by_any_of_their_lports() {
    let answers = ask(&["/memif/list", "/memif/info,1", "/memif/info,2"]);
    assert_eq!(answers[0], json!([1]), "one for both queues");
    for memif in &answers[1..] {
        assert_eq!((&memif["interface"], &memif["role"], &memif["id"]), (&json!("left"), &json!("server"), &json!(0)));
        assert_eq!((&memif["link"]["up"], &memif["peer"]), (&json!(false), &Value::Null));
        assert_eq!(memif["lports"], json!(["left:0", "left:1"]));
        assert_eq!(memif["queues"].as_array().unwrap().len(), 2);
        assert_eq!(memif["counts"], json!({ "connects": 0, "disconnects": 0, "refusals": 0 }));
    }
}

#[test]
fn what_cannot_be_answered_is_null_for_dpdks_commands_and_an_error_for_ours() {
    let nonsense = ["", "7", "-1", "abc", "0x", "65536", "99999999999999999999", "é\0\n"];
    let of = |command: &str| nonsense.iter().map(|text| format!("{command},{text}")).collect::<Vec<_>>();
    for command in ["/ethdev/stats", "/ethdev/xstats", "/ethdev/info", "/ethdev/link_status", "/eal/lcore/info"] {
        let requests = [of(command), vec![command.to_owned()]].concat();
        let answers = ask(&requests.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(answers.iter().all(Value::is_null), "{command}: {answers:?}");
    }
    let unknown = ask(&["", ",", "/nonsense,1", "/mempool/info", "/mempool/info,x", "/help,/nonsense", "/ethdev"]);
    assert!(unknown.iter().all(Value::is_null), "{unknown:?}");
    for (command, list) in [("/lport/info", "/lport/list"), ("/memif/info", "/memif/list")] {
        for answer in ask(&of(command).iter().map(String::as_str).chain([command]).collect::<Vec<_>>()) {
            assert!(error(&answer).contains(list), "{answer}");
        }
    }
    assert!(error(&ask(&["/memif/info,0"])[0]).contains("`0` is no lport of a memif"));
    assert!(error(&ask(&["/lport/nonsense"])[0]).contains("`/lport/nonsense`"));
}
