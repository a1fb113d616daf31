//! What is described is exactly what is built: any valid file is described, its deployment started, and each fact of the
//! description compared with what drivers were asked for, pools are, and threads see.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pmd_core::lcore::allowed_cpus;
use pmd_core::{
    DeviceRequest, Driver, Lport, LportId, OpenError, OptionError, OptionKind, OptionSpec, Options, Ports, Registry,
    Runtime, Settings, Task, TaskContext,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{af_xdp, describe};
use crate::drivers::registry;
use crate::file::Checked;

/// Much longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A device, and the keys that its lports share.
#[derive(Debug, Clone)]
struct Device {
    driver: &'static str,
    options: Map<String, Value>,
    /// Whether the options stand in `pmd_opts`.
    as_object: bool,
    queues: Vec<Queue>,
}

/// An lport of a device. Numbers choose among what there is.
#[derive(Debug, Clone)]
struct Queue {
    tag: &'static str,
    pool: usize,
    thread: usize,
    more: Map<String, Value>,
}

/// An lport-group of `net_null`.
#[derive(Debug, Clone)]
struct Group {
    netdevs: usize,
    queues: Value,
    threads: Vec<usize>,
    umem: Option<usize>,
}

#[derive(Debug, Clone)]
struct Thread {
    group: Option<usize>,
    keys: Map<String, Value>,
}

/// A file, in parts.
#[derive(Debug, Clone)]
struct File {
    umems: Vec<Map<String, Value>>,
    devices: Vec<Device>,
    groups: Vec<Group>,
    cpus: Vec<Value>,
    threads: Vec<Thread>,
    order: Vec<&'static str>,
}

fn members(pairs: &[(&str, Option<Value>)]) -> Map<String, Value> {
    let given = pairs.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)));
    given.collect()
}

fn number(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(range.prop_map(Value::from))
}

fn flag() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(any::<bool>().prop_map(Value::from))
}

fn descriptors() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop::sample::select(vec![json!(0), json!(1), json!(4)]))
}

fn umem() -> impl Strategy<Value = Map<String, Value>> {
    let regions = prop::option::of(prop::collection::vec(1..=2_u64, 1..=3));
    (regions, 0..=1_u64, number(1..=4), descriptors(), descriptors(), flag()).prop_map(
        |(regions, spare, bufsz, rxdesc, txdesc, shared)| {
            let bufcnt = regions.as_ref().map_or(1, |regions| regions.iter().sum::<u64>()) + spare;
            members(&[
                ("bufcnt", Some(json!(bufcnt))),
                ("bufsz", bufsz),
                ("regions", regions.map(Value::from)),
                ("rxdesc", rxdesc),
                ("txdesc", txdesc),
                ("shared_umem", shared),
            ])
        },
    )
}

fn queues(most: usize) -> impl Strategy<Value = Vec<Queue>> {
    let tag = prop::sample::select(vec!["", ":rx", ":0", ":ä \"b\"", ":a:b"]);
    let more =
        (flag(), number(0..=65535)).prop_map(|(skb, budget)| members(&[("skb_mode", skb), ("busy_budget", budget)]));
    let queue = (tag, any::<u8>(), any::<u8>(), more);
    let queue =
        queue.prop_map(|(tag, pool, thread, more)| Queue { tag, pool: pool.into(), thread: thread.into(), more });
    prop::collection::vec(queue, 1..=most)
}

fn device() -> impl Strategy<Value = Device> {
    let null = (number(14..=1024), flag()).prop_map(|(size, no_rx)| members(&[("size", size), ("no-rx", no_rx)]));
    // A ring has two ends; without a name each lport has its own.
    let ring = number(1..=64).prop_map(|size| members(&[("size", size)]));
    let memif = (any::<bool>(), number(1..=6), flag()).prop_map(|(server, rsize, abstracted)| {
        let role = if server { "server" } else { "client" };
        members(&[("role", Some(json!(role))), ("rsize", rsize), ("socket-abstract", abstracted)])
    });
    let driven = prop_oneof![
        (Just("net_null"), null, queues(3)),
        (Just("net_ring"), ring, queues(3)),
        (Just("net_memif"), memif, queues(3)),
    ];
    (driven, any::<bool>()).prop_map(|((driver, options, queues), as_object)| Device {
        driver,
        options,
        as_object,
        queues,
    })
}

fn group() -> impl Strategy<Value = Group> {
    let queues = prop::sample::select(vec![json!(3), json!("0-1"), json!("5,1"), json!([0, "2-3", 0])]);
    let threads = prop::collection::vec(any::<u8>().prop_map(usize::from), 1..=3);
    (1..=2_usize, queues, threads, prop::option::of(any::<u8>().prop_map(usize::from)))
        .prop_map(|(netdevs, queues, threads, umem)| Group { netdevs, queues, threads, umem })
}

fn cpus() -> impl Strategy<Value = Value> {
    let (one, all) = (allowed_cpus()[0], allowed_cpus());
    prop::sample::select(vec![json!([]), json!("auto"), json!([one.to_string()]), json!(one), json!(all)])
}

fn thread() -> impl Strategy<Value = Thread> {
    (prop::option::of(any::<u8>()), number(0..=300_000), number(0..=60_000)).prop_map(|(group, idle, intr)| Thread {
        group: group.map(usize::from),
        keys: members(&[("idle_timeout", idle), ("intr_timeout", intr)]),
    })
}

fn file() -> impl Strategy<Value = File> {
    let sections = ["defaults", "umems", "lports", "lport-groups", "lcore-groups", "threads", "options"];
    (
        prop::collection::vec(umem(), 1..=2),
        prop::collection::vec(device(), 1..=3),
        prop::collection::vec(group(), 0..=2),
        prop::collection::vec(cpus(), 1..=2),
        prop::collection::vec(thread(), 1..=3),
        Just(sections.to_vec()).prop_shuffle(),
    )
        .prop_map(|(umems, devices, groups, cpus, threads, order)| File {
            umems,
            devices,
            groups,
            cpus,
            threads,
            order,
        })
}

impl File {
    /// The file's text, sections in any order. Sockets lie in `directory`.
    fn text(&self, directory: &Path) -> String {
        let mut polled = vec![Vec::new(); self.threads.len()];
        let lports = self.lports(directory, &mut polled);
        let sections: HashMap<_, _> = HashMap::from([
            ("defaults", json!({ "bufsz": 2, "txdesc": 1, "cache": 64 })),
            ("umems", self.umems.iter().enumerate().map(|(i, umem)| (format!("u{i}"), json!(umem))).collect()),
            ("lports", lports.into()),
            ("lport-groups", self.lport_groups()),
            ("lcore-groups", self.cpus.iter().enumerate().map(|(i, cpus)| (format!("c{i}"), cpus.clone())).collect()),
            ("threads", self.thread_section(&polled)),
            ("options", json!({ "mode": "drop" })),
        ]);
        let ordered: Map<_, _> = self.order.iter().map(|name| ((*name).to_owned(), sections[name].clone())).collect();
        Value::from(ordered).to_string()
    }

    /// The section `lports`; notes which thread polls which, each but the first perhaps none.
    fn lports(&self, directory: &Path, polled: &mut [Vec<String>]) -> Map<String, Value> {
        let mut lports = Map::new();
        for (i, device) in self.devices.iter().enumerate() {
            let mut options = device.options.clone();
            if device.driver == "net_memif" {
                options.insert("socket".into(), json!(directory.join(format!("{i}.sock"))));
            }
            for (qid, queue) in device.queues.iter().enumerate() {
                let name = format!("dev{i}:{qid}{}", queue.tag);
                let thread = if lports.is_empty() { 0 } else { queue.thread % (polled.len() + 1) };
                if let Some(polled) = polled.get_mut(thread) {
                    polled.push(name.clone());
                }
                let mut lport = queue.more.clone();
                lport.extend(self.memory(queue.pool));
                lport.insert("qid".into(), json!(qid));
                lport.extend(pmd(device.driver, &options, device.as_object));
                lports.insert(name, lport.into());
            }
        }
        lports
    }

    /// A umem and one of its regions.
    fn memory(&self, choice: usize) -> Map<String, Value> {
        let umem = choice % self.umems.len();
        let regions = self.umems[umem].get("regions").map_or(1, |regions| regions.as_array().expect("array").len());
        members(&[("umem", Some(json!(format!("u{umem}")))), ("region", Some(json!(choice / 2 % regions)))])
    }

    fn lport_groups(&self) -> Value {
        let group = |(i, group): (usize, &Group)| {
            let netdevs: Vec<_> = (0..group.netdevs).map(|n| format!("many{i}-{n}")).collect();
            let threads: Vec<_> = group.threads.iter().map(|thread| self.thread_name(*thread)).collect();
            let mut keys = members(&[("umem", group.umem.map(|umem| json!(format!("u{}", umem % self.umems.len()))))]);
            keys.extend(members(&[
                ("pmd", Some(json!("net_null:no-rx=true"))),
                ("netdevs", Some(json!(netdevs))),
                ("queues", Some(group.queues.clone())),
                ("threads", Some(json!(threads))),
            ]));
            (format!("g{i}"), Value::from(keys))
        };
        self.groups.iter().enumerate().map(group).collect()
    }

    fn thread_section(&self, polled: &[Vec<String>]) -> Value {
        let thread = |(i, thread): (usize, &Thread)| {
            let mut keys = thread.keys.clone();
            keys.insert("lports".into(), json!(polled[i]));
            keys.extend(members(&[(
                "group",
                thread.group.map(|group| json!(format!("c{}", group % self.cpus.len()))),
            )]));
            (self.thread_name(i), Value::from(keys))
        };
        self.threads.iter().enumerate().map(thread).collect()
    }

    fn thread_name(&self, choice: usize) -> String {
        format!("fwd:{}", choice % self.threads.len())
    }
}

/// `pmd` with its options, as words or as an object.
fn pmd(driver: &str, options: &Map<String, Value>, as_object: bool) -> Map<String, Value> {
    if as_object {
        return members(&[("pmd", Some(json!(driver))), ("pmd_opts", Some(json!(options)))]);
    }
    let word = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key}={text}"),
        value => format!("{key}={value}"),
    };
    let words: Vec<_> = options.iter().map(word).collect();
    members(&[("pmd", Some(json!(format!("{driver}:{}", words.join(",")))))])
}

/// A driver of ours, with a witness of everything that it is asked to open: lports as the description has them.
struct Witnessed {
    driver: Arc<dyn Driver>,
    lports: Arc<Mutex<HashMap<LportId, Value>>>,
}

impl Driver for Witnessed {
    fn name(&self) -> &str {
        self.driver.name()
    }

    fn summary(&self) -> &str {
        self.driver.summary()
    }

    fn options(&self) -> &[OptionSpec] {
        self.driver.options()
    }

    fn needs_pool(&self) -> bool {
        self.driver.needs_pool()
    }

    fn check(&self, options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
        self.driver.check(options, queues)
    }

    fn shares_pools(&self, options: &Options) -> bool {
        self.driver.shares_pools(options)
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        for queue in &device.queues {
            let lport = json!({
                "name": queue.name,
                "driver": self.name(),
                "device": device.name,
                "qid": queue.qid,
                "options": self.given(&device.options),
                "pool": queue.pool.as_ref().map(|pool| pool.name().to_owned()),
                "rx_desc": queue.rx_desc,
                "tx_desc": queue.tx_desc,
                "af_xdp": af_xdp(&queue.xdp),
                // Files made here have none, and a driver would not see them.
                "wrap": [],
            });
            self.lports.lock().unwrap().insert(queue.lport, lport);
        }
        self.driver.open(device)
    }
}

impl Witnessed {
    /// The options that were given, as words.
    fn given(&self, options: &Options) -> Map<String, Value> {
        let given = self.options().iter().filter(|spec| options.is_given(spec.name));
        let value = |spec: &OptionSpec| match spec.kind {
            OptionKind::Bool => options.bool(spec.name).to_string(),
            OptionKind::Int { .. } => options.int(spec.name).expect("given").to_string(),
            _ => options.text(spec.name).to_owned(),
        };
        given.map(|spec| (spec.name.to_owned(), value(spec).into())).collect()
    }
}

/// Tells once what it sees: the thread as the description has it, with numbers for lports.
struct Observer {
    thread: Value,
    tell: Option<Sender<Value>>,
}

impl Task for Observer {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        if let Some(tell) = self.tell.take() {
            self.thread["lcores"] = json!(allowed_cpus());
            self.thread["lports"] = (0..ports.count()).map(|position| json!(ports.id(position).0)).collect();
            // A test that has failed does not listen any more.
            let _ = tell.send(self.thread.clone());
        }
        0
    }
}

fn observer(context: &TaskContext<'_>, tell: &Sender<Value>) -> Box<dyn Task> {
    let thread = context.thread;
    let thread = json!({
        "name": thread.name,
        "lcores": null,
        "lports": null,
        "idle_timeout_ms": thread.idle_timeout.map(|time| time.as_millis() as u64),
        "intr_timeout_ms": thread.intr_timeout.as_millis() as u64,
    });
    Box::new(Observer { thread, tell: Some(tell.clone()) })
}

/// What each thread says of itself, in the order of `runtime`'s.
fn observed(runtime: &Runtime, said: &Receiver<Value>) -> Vec<Value> {
    let reports = runtime.threads();
    let mut threads: Vec<_> =
        reports.iter().map(|_| said.recv_timeout(DEADLINE).expect("every thread polls")).collect();
    threads.sort_by_key(|thread| reports.iter().position(|report| thread["name"] == *report.name));
    let lports = runtime.lports();
    for thread in &mut threads {
        for lport in thread["lports"].as_array_mut().expect("array") {
            *lport = json!(lports[lport.as_u64().expect("a number") as usize].name);
        }
    }
    threads
}

/// Brings a description to what can be observed: options as words, and CPUs as the kernel says them.
fn observable(mut description: Value, built: &Value) -> Value {
    for option in description["lports"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .flat_map(|lport| lport["options"].as_object_mut())
        .flatten()
    {
        *option.1 = match &*option.1 {
            Value::String(text) => json!(text),
            other => json!(other.to_string()),
        };
    }
    for (thread, built) in description["threads"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .zip(built["threads"].as_array().into_iter().flatten())
    {
        match &thread["lcores"] {
            Value::String(auto) if auto == "auto" => {
                assert_eq!(built["lcores"].as_array().map(Vec::len), Some(1), "{built}");
                thread["lcores"] = built["lcores"].clone();
            }
            listed if listed == &json!([]) => thread["lcores"] = json!(allowed_cpus()),
            _ => {}
        }
    }
    description
}

/// Starts the deployment of `text`, and compares what it is with its description.
fn compare(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a writable directory");
    let checked = Checked::load(path, &registry(), None);
    let said = checked.render(false);
    let file = checked.into_runnable().unwrap_or_else(|why| panic!("{why}:\n{said}\n{text}"));
    let lports = Arc::<Mutex<HashMap<_, _>>>::default();
    let mut witnesses = Registry::default();
    for driver in registry().iter() {
        witnesses.add(Arc::new(Witnessed { driver: Arc::clone(driver), lports: Arc::clone(&lports) }));
    }
    let (tell, said) = channel();
    let make_task = |context: &TaskContext<'_>| Ok(observer(context, &tell));
    let runtime = Runtime::start(&file.deployment, &witnesses, Settings::default(), make_task).expect("it starts");

    let lports = lports.lock().unwrap();
    let by_id: Vec<_> = runtime.lports().iter().map(|lport| lports[&lport.id].clone()).collect();
    let pools: Vec<_> = runtime.pools();
    let pool = |pool: &pmd_core::runtime::PoolReport| {
        json!({
            "name": pool.name,
            "size": pool.size,
            "data_room": pool.data_room,
            "cache": pool.cache_size,
            "page": pool.page.to_string(),
        })
    };
    let built = json!({
        "mode": "drop",
        "lports": by_id,
        "threads": observed(&runtime, &said),
        "pools": pools.iter().map(pool).collect::<Vec<_>>(),
    });
    let described = observable(describe(&file), &built);
    assert!(described == built, "{text}\ndescribed: {described:#}\nbuilt: {built:#}");
    for pool in runtime.stop().pools {
        assert_eq!(pool.available, pool.size, "{}", pool.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_file_is_described_as_it_is_built(file in file()) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        compare(&directory.path().join("file.jsonc"), &file.text(directory.path()));
    }
}
