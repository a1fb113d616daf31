//! From one deployment to the next: who is disturbed and who is not, what survives, what is refused, what can fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{BellDriver, Wire, assert_pools_whole, sink, task, wait_for};
use pmd_core::deployment::{Placement, PoolSpec};
use pmd_core::runtime::{LportReport, ThreadReport};
use pmd_core::{
    Burst, Deployment, LportId, Pool, RawOption, Registry, Report, Runtime, Settings, Task, TaskChange, TaskContext,
    TaskError,
};

/// A runtime whose tasks sink everything, with the drivers it was started with.
struct Running {
    runtime: Runtime,
    registry: Registry,
    wire: Arc<Wire>,
    journal: Arc<Mutex<Vec<String>>>,
}

fn same(_: &pmd_core::deployment::ThreadSpec) -> TaskChange {
    TaskChange::Same { sends_to: vec![] }
}

fn sinks(_: &TaskContext<'_>) -> Result<Box<dyn Task>, TaskError> {
    Ok(sink())
}

impl Running {
    fn start(deployment: &Deployment) -> Self {
        Self::start_with(deployment, sinks)
    }

    fn start_with(
        deployment: &Deployment,
        make_task: impl FnMut(&TaskContext<'_>) -> Result<Box<dyn Task>, TaskError>,
    ) -> Self {
        let bell = BellDriver::default();
        let (wire, journal) = (Arc::clone(&bell.wire), Arc::clone(&bell.journal));
        let mut registry = Registry::with_reference_drivers();
        registry.add(Arc::new(bell));
        let runtime = Runtime::start(deployment, &registry, Settings::default(), make_task).unwrap();
        Self { runtime, registry, wire, journal }
    }

    /// Goes over to `new`, whose tasks are sinks, and says what failed.
    fn reload(&mut self, new: &Deployment) -> Vec<String> {
        let prepared = self.runtime.prepare(new, &self.registry, same).unwrap();
        self.runtime.apply(prepared, sinks).iter().map(ToString::to_string).collect()
    }

    fn refusal(&self, new: &Deployment) -> String {
        self.runtime.prepare(new, &self.registry, same).unwrap_err().to_string()
    }

    fn lport(&self, name: &str) -> LportReport {
        lport(&self.runtime.snapshot(), name)
    }

    fn thread(&self, name: &str) -> ThreadReport {
        let found = self.runtime.snapshot().threads.into_iter().find(|thread| thread.name == name);
        found.unwrap_or_else(|| panic!("no thread {name}"))
    }

    fn wait_for_packets(&self, name: &str) {
        let seen = self.lport(name).stats.ipackets;
        wait_for(&format!("more packets on {name}"), || self.lport(name).stats.ipackets > seen);
    }

    /// Waits until each of `threads` has polled since.
    fn wait_for_polls(&self, threads: &[&str]) {
        for name in threads {
            let seen = self.thread(name).polls;
            wait_for(&format!("{name} polls"), || self.thread(name).polls > seen);
        }
    }

    /// Stops, and asserts that every mbuf has come home.
    fn stop(self) -> Report {
        let report = self.runtime.stop();
        assert_pools_whole(&report);
        report
    }
}

fn lport(report: &Report, name: &str) -> LportReport {
    let found = report.lports.iter().find(|lport| lport.name == name);
    found.unwrap_or_else(|| panic!("no lport {name}")).clone()
}

fn xstat(report: &LportReport, name: &str) -> u64 {
    report.stats.xstats.iter().find(|(known, _)| *known == name).expect("a known counter").1
}

/// Null lports of these names in one pool, each with a thread of its own, `fwd:<name>`.
fn nulls(names: &[&str]) -> Deployment {
    let mut deployment = Deployment::default();
    deployment.add_pool(PoolSpec::new("p", 4096, 64));
    names.iter().for_each(|name| add_with_thread(&mut deployment, name, "net_null"));
    deployment
}

fn add_with_thread(deployment: &mut Deployment, name: &str, driver: &str) {
    let lport = deployment.add_lport(name, driver, vec![], Some(pmd_core::deployment::PoolIndex(0)));
    deployment.add_thread(&format!("fwd:{name}"), &[lport]);
}

#[test]
fn what_does_not_change_is_not_disturbed_by_what_comes_and_goes() {
    let mut running = Running::start(&nulls(&["a", "b"]));
    running.wait_for_packets("a");
    for names in [&["a", "b", "c"][..], &["a", "c"], &["a"], &["a", "b"]] {
        let (before, polls) = (running.lport("a").stats.ipackets, running.thread("fwd:a").polls);
        assert_eq!(running.reload(&nulls(names)), [""; 0]);
        let after = running.runtime.snapshot();
        assert!(after.lports.iter().map(|lport| &lport.name).eq(names), "{after:?}");
        assert!(lport(&after, "a").stats.ipackets >= before, "counters run on");
        assert!(running.thread("fwd:a").polls >= polls, "the thread was not started anew");
        names.iter().for_each(|name| running.wait_for_packets(name));
    }
    running.stop();
}

#[test]
fn an_unchanged_task_is_never_dropped() {
    let alive = Arc::new(AtomicBool::new(true));
    struct Alive(Arc<AtomicBool>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let mut tasks = HashMap::from([("fwd:a", Alive(Arc::clone(&alive)))]);
    let mut running = Running::start_with(&nulls(&["a", "b"]), |context| {
        let kept = tasks.remove(context.thread.name.as_str());
        Ok(task(move |_| kept.is_some().into()))
    });
    running.reload(&nulls(&["a", "c", "d"]));
    assert!(alive.load(Ordering::Relaxed));
    running.stop();
    assert!(!alive.load(Ordering::Relaxed));
}

#[test]
fn an_lport_with_another_number_keeps_its_link_and_counters() {
    let mut old = Deployment::default();
    old.add_pool(PoolSpec::new("p", 4096, 64));
    add_with_thread(&mut old, "bell", "net_bell");
    add_with_thread(&mut old, "null", "net_null");
    let mut new = Deployment::default();
    new.add_pool(PoolSpec::new("p", 4096, 64));
    add_with_thread(&mut new, "null", "net_null");
    add_with_thread(&mut new, "bell", "net_bell");
    let mut running = Running::start(&old);
    running.wait_for_packets("null");
    let before = running.lport("null").stats.ipackets;

    let prepared = running.runtime.prepare(&new, &running.registry, same).unwrap();
    assert_eq!(prepared.plan().renumbered.len(), 2);
    let (give, get) = std::sync::mpsc::channel();
    let failures = running.runtime.apply(prepared, |context| {
        let (mut burst, give) = (Burst::with_limit(1), give.clone());
        let is_null = context.thread.name == "fwd:null";
        Ok(task(move |ports| {
            let n = ports.rx_burst(0, &mut burst);
            if is_null && n > 0 {
                // The test may have seen enough.
                let _ = give.send(burst[0].port());
            }
            burst.clear();
            n
        }))
    });
    assert!(failures.is_empty());
    assert_eq!(get.recv().unwrap(), 0, "packets carry the new number");
    assert!(running.journal.lock().unwrap().is_empty(), "nothing was closed");
    let now = running.lport("null");
    assert!(now.id == LportId(0) && now.stats.ipackets >= before);
    running.stop();
}

#[test]
fn an_lport_goes_from_thread_to_thread_and_back_with_its_counters() {
    let old = nulls(&["a", "b"]);
    let mut new = nulls(&["a", "b"]);
    new.threads[0].lports.push(LportId(1));
    new.threads.remove(1);
    let mut unpolled = old.clone();
    unpolled.threads.remove(1);
    let mut running = Running::start(&old);
    running.wait_for_packets("b");
    for deployment in [&new, &old, &unpolled, &old] {
        let before = running.lport("b").stats.ipackets;
        assert_eq!(running.reload(deployment), [""; 0]);
        assert!(running.lport("b").stats.ipackets >= before);
        deployment.threads.iter().zip(["a", "b"]).for_each(|(_, lport)| running.wait_for_packets(lport));
    }
    running.wait_for_packets("b");
    running.stop();
}

#[test]
fn a_changed_lport_is_closed_before_it_is_opened_again() {
    let mut deployment = Deployment::default();
    deployment.add_pool(PoolSpec::new("p", 64, 64));
    add_with_thread(&mut deployment, "bell", "net_bell");
    let mut running = Running::start(&deployment);
    deployment.devices[0].options = vec![RawOption::text("fail", "no")];
    assert_eq!(running.reload(&deployment), [""; 0]);
    let journal = running.journal.lock().unwrap().clone();
    assert_eq!(journal, ["bell queue closed", "bell control closed"]);
    running.stop();
}

#[test]
fn a_removed_pool_is_whole_and_another_pool_takes_its_lports_along() {
    let (old, mut new) = (nulls(&["a"]), nulls(&["a"]));
    new.pools[0].size = 2048;
    let mut pools = Vec::new();
    let mut running = Running::start_with(&old, |context| {
        pools.push(context.pool(LportId(0)).unwrap().clone());
        Ok(sink())
    });
    running.wait_for_packets("a");
    assert_eq!(running.reload(&new), [""; 0]);
    assert_eq!(pools[0].available(), 4096);
    running.wait_for_packets("a");
    assert_eq!(running.stop().pools[0].size, 2048);
}

#[test]
fn a_device_that_cannot_be_opened_is_reported_disturbs_nobody_and_is_tried_again() {
    let mut running = Running::start(&nulls(&["a"]));
    let mut new = nulls(&["a"]);
    add_with_thread(&mut new, "bell", "net_bell");
    running.wire.cut.store(true, Ordering::Relaxed);
    let cut = "lport `bell` of net_bell cannot be opened: the wire is cut";
    assert_eq!(running.reload(&new), [cut]);
    let polls = running.thread("fwd:a").polls;
    assert_eq!(running.reload(&new), [cut], "it is tried again");
    assert!(!running.lport("bell").link.is_up() && running.thread("fwd:a").polls >= polls);
    running.wire.cut.store(false, Ordering::Relaxed);
    assert_eq!(running.reload(&new), [""; 0]);
    assert!(running.lport("bell").link.is_up());
    assert!(running.runtime.prepare(&new, &running.registry, same).unwrap().plan().is_empty());
    running.wait_for_polls(&["fwd:a", "fwd:bell"]);
    running.stop();
}

#[test]
fn what_is_wrong_with_a_deployment_refuses_all_of_it() {
    let running = Running::start(&nulls(&["a"]));
    let mut new = nulls(&["b", "c"]);
    new.threads[0].lcores = Placement::Cpus(vec![999_999]);
    assert!(running.refusal(&new).contains("CPU 999999"));
    new.threads[0].lports = vec![LportId(7)];
    new.devices[1].options = vec![RawOption::text("size", "9")];
    let refusal = running.refusal(&new);
    assert!(refusal.contains("polls lport 7") && refusal.contains("option `size`"), "{refusal}");
    assert_eq!(*running.runtime.deployment(), nulls(&["a"]));
    running.wait_for_packets("a");
    running.stop();
}

#[test]
fn a_pool_in_use_cannot_become_shareable() {
    let mut running = Running::start(&nulls(&["a"]));
    let mut new = nulls(&["a"]);
    add_with_thread(&mut new, "bell", "net_bell");
    new.devices[1].options = vec![RawOption::text("share", "yes")];
    assert!(running.refusal(&new).starts_with("pool `p` lies in private memory, which cannot change while it is used"));
    let own = new.add_pool(PoolSpec::new("own", 64, 64));
    new.devices[1].queues[0].pool = Some(own);
    assert_eq!(running.reload(&new), [""; 0], "another pool can be shared");
    running.stop();
}

#[test]
fn a_thread_without_a_task_leaves_its_lport_to_nobody_until_it_gets_one() {
    let mut running = Running::start(&nulls(&["a"]));
    let new = nulls(&["a", "b"]);
    let prepared = running.runtime.prepare(&new, &running.registry, same).unwrap();
    let failures = running.runtime.apply(prepared, |_| Err(TaskError("no such kind".into())));
    assert_eq!(failures.iter().map(ToString::to_string).collect::<Vec<_>>(), ["thread `fwd:b`: no such kind"]);
    running.wait_for_packets("a");
    assert_eq!((running.lport("b").stats.ipackets, running.runtime.snapshot().threads.len()), (0, 1));
    assert_eq!(running.reload(&new), [""; 0]);
    running.wait_for_packets("b");
    running.stop();
}

#[test]
fn a_thread_whose_task_panicked_is_started_again() {
    let deployment = nulls(&["a", "b"]);
    let mut running = Running::start_with(&deployment, |context| {
        Ok(if context.thread.name == "fwd:a" { task(|_| panic!("enough")) } else { sink() })
    });
    wait_for("the panic", || running.thread("fwd:a").failure.is_some());
    let polls = running.thread("fwd:b").polls;
    assert_eq!(running.reload(&deployment), [""; 0]);
    assert!(running.lport("a").link.is_up() && running.thread("fwd:b").polls >= polls);
    running.wait_for_packets("a");
    running.stop();
}

#[test]
fn a_prepared_deployment_is_good_for_one_state_only() {
    let mut running = Running::start(&nulls(&["a"]));
    let [stale, fresh] = [(); 2].map(|()| running.runtime.prepare(&nulls(&["b"]), &running.registry, same).unwrap());
    assert!(running.runtime.apply(fresh, sinks).is_empty());
    let failures = running.runtime.apply(stale, sinks);
    assert!(failures[0].to_string().contains("prepare it again"));
    running.wait_for_packets("b");
    running.stop();
}

/// A task that sends packets to lport `to` as long as `allowance` lasts, and drops what is not accepted.
fn sender(pool: Pool, to: LportId, mut allowance: u64) -> Box<dyn Task> {
    let mut burst = Burst::with_limit(32);
    task(move |ports| {
        let wanted = usize::try_from(allowance).unwrap_or(usize::MAX).min(32);
        let n = pool.alloc_bulk(&mut burst, wanted);
        allowance -= n as u64;
        ports.transmit(to, &mut burst);
        n
    })
}

/// `out`, owned by `owner` or by nobody, and threads that send to it.
fn senders(owned: bool, names: &[&str]) -> Deployment {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 4096, 64));
    let out = deployment.add_lport("out", "net_null", vec![RawOption::text("no-rx", "yes")], Some(pool));
    if owned {
        deployment.add_thread("owner", &[out]);
    }
    for name in names {
        deployment.add_thread(name, &[]);
    }
    deployment
}

#[test]
fn every_packet_of_senders_that_come_and_go_is_sent_or_counted() {
    const EACH: u64 = 20_000;
    let out = LportId(0);
    let make_task = |context: &TaskContext<'_>| {
        let pool = context.pool(out).unwrap().clone();
        Ok(if context.thread.name == "owner" { sink() } else { sender(pool, out, EACH) })
    };
    let sends = |_: &pmd_core::deployment::ThreadSpec| TaskChange::Same { sends_to: vec![out] };
    let mut running = Running::start_with(&senders(true, &["first"]), make_task);
    let arrived = |running: &Running| {
        let stats = running.lport("out").stats;
        stats.opackets + stats.oerrors
    };
    // Unowned at the end: the sender must learn of it.
    for (deployment, total) in [
        (senders(true, &["second"]), 2 * EACH),
        (senders(true, &["second", "third"]), 3 * EACH),
        (senders(false, &["fourth"]), 4 * EACH),
    ] {
        wait_for("all packets of those before", || arrived(&running) == total - EACH);
        let prepared = running.runtime.prepare(&deployment, &running.registry, sends).unwrap();
        assert!(running.runtime.apply(prepared, make_task).is_empty());
        wait_for("all packets", || arrived(&running) == total);
    }
    let report = running.stop();
    assert!(xstat(&lport(&report, "out"), "unowned_dropped") == EACH, "{report:?}");
    assert_eq!(lport(&report, "out").stats.opackets + lport(&report, "out").stats.oerrors, 4 * EACH);
}

#[test]
fn a_thread_that_goes_on_sends_to_an_owner_that_goes_on_while_others_change() {
    let out = LportId(0);
    let make_task = |context: &TaskContext<'_>| {
        let pool = context.pool(out).unwrap().clone();
        Ok(if context.thread.name == "sender" { sender(pool, out, u64::MAX) } else { sink() })
    };
    let sends = |thread: &pmd_core::deployment::ThreadSpec| TaskChange::Same {
        sends_to: if thread.name == "sender" { vec![out] } else { vec![] },
    };
    let mut running = Running::start_with(&senders(true, &["sender", "other"]), make_task);
    for names in [&["sender"][..], &["sender", "another"], &["sender", "other"]] {
        let polls = running.thread("sender").polls;
        let prepared = running.runtime.prepare(&senders(true, names), &running.registry, sends).unwrap();
        assert!(running.runtime.apply(prepared, make_task).is_empty());
        assert!(running.thread("sender").polls >= polls);
        let seen = running.lport("out").stats.opackets;
        wait_for("more packets", || running.lport("out").stats.opackets > seen);
    }
    running.stop();
}
