//! Starting and stopping: what is refused and how, partial starts, the order of a stop, a task that panics.

use std::sync::Arc;

use crate::support::{BellDriver, Note, assert_pools_whole, sink, task, wait_for};
use pmd_core::deployment::{Placement, PoolSpec};
use pmd_core::{Deployment, LportId, RawOption, Registry, Runtime, RuntimeError, Settings, TaskError};

/// What `deployment` reports when its threads sink everything.
fn start(deployment: &Deployment, settings: Settings) -> Result<Runtime, RuntimeError> {
    let mut registry = Registry::with_reference_drivers();
    registry.add(Arc::new(BellDriver::default()));
    Runtime::start(deployment, &registry, settings, |_| Ok(sink()))
}

fn refusal(deployment: &Deployment, settings: Settings) -> (String, bool) {
    let error = start(deployment, settings).expect_err("it must be refused");
    (error.to_string(), error.is_configuration())
}

fn failing() -> Vec<RawOption> {
    vec![RawOption::text("fail", "yes")]
}

#[test]
fn a_cpu_that_no_machine_has_is_named_and_nothing_is_opened() {
    let mut deployment = Deployment::default();
    let lport = deployment.add_lport("bell", "net_bell", failing(), None);
    deployment.add_thread("fwd:0", &[lport]).lcores = Placement::Cpus(vec![999_999]);
    let (text, configuration) = refusal(&deployment, Settings::default());
    assert!(text.starts_with("thread `fwd:0`: CPU 999999 does not exist here or is not allowed"), "{text}");
    assert!(configuration && !text.contains("told to fail"), "{text}");
}

#[test]
fn every_contradiction_and_wrong_option_is_found_in_one_go() {
    let mut deployment = Deployment::default();
    let a = deployment.add_lport("a", "net_nul", vec![], None);
    let b = deployment.add_lport("b", "net_null", vec![RawOption::text("size", "9"), RawOption::text("x", "1")], None);
    deployment.devices[1].queues[0].pool = Some(pmd_core::deployment::PoolIndex(3));
    deployment.add_thread("one", &[a, b]);
    deployment.add_thread("two", &[b, LportId(7)]);
    let (text, configuration) = refusal(&deployment, Settings::default());
    assert!(configuration);
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "lport `b` wants pool 3, but there are only 0",
            "thread `two` polls lport `b` as well; give it one thread",
            "thread `two` polls lport 7, but there are only 2",
            "device `a`: there is no driver `net_nul`; known are: net_null, net_ring, net_bell",
            "device `b`, driver `net_null`: option `size` is \"9\", but takes a whole number from 14 to 9216",
            "device `b`, driver `net_null`: unknown option `x`; known are: size, no-rx, zeroed",
        ]
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    for (settings, message) in [
        (Settings { burst: 0, ..Settings::default() }, "the burst is 0, but must be 1 to 256 packets"),
        (Settings { burst: 257, ..Settings::default() }, "the burst is 257, but must be 1 to 256 packets"),
        (Settings { handover: 0, ..Settings::default() }, "lanes between threads must hold at least 1 packet, not 0"),
    ] {
        assert_eq!(refusal(&Deployment::default(), settings), (message.to_owned(), true));
    }
}

#[test]
fn every_device_that_cannot_be_opened_is_fatal_and_named() {
    let mut deployment = Deployment::default();
    deployment.add_lport("a", "net_bell", failing(), None);
    deployment.add_lport("good", "net_null", vec![], None);
    deployment.add_lport("b", "net_bell", vec![RawOption::text("forget", "yes")], None);
    let (text, configuration) = refusal(&deployment, Settings::default());
    assert!(!configuration);
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "lport `a` of net_bell cannot be opened: told to fail",
            "lport `b` of net_bell cannot be opened: a fault of the driver: it gave 0 lports, other than the 1 asked for",
        ]
    );
}

#[test]
fn a_partial_start_runs_what_there_is_and_says_what_is_missing() {
    let mut deployment = Deployment::default();
    let missing = deployment.add_lport("missing", "net_bell", failing(), None);
    let good = deployment.add_lport("good", "net_null", vec![], None);
    deployment.add_thread("fwd", &[missing, good]);
    let runtime = start(&deployment, Settings { allow_partial: true, ..Settings::default() }).unwrap();
    wait_for("packets on the good lport", || runtime.snapshot().lports[1].stats.ipackets > 0);
    let report = runtime.stop();
    assert!(report.lports[1].link.is_up());
    assert_eq!(report.lports[0].link, pmd_core::Link::Down("could not be opened: told to fail".into()));
}

#[test]
fn a_partial_start_does_not_forgive_a_wrong_file() {
    let mut deployment = Deployment::default();
    deployment.add_lport("a", "net_nul", vec![], None);
    assert!(refusal(&deployment, Settings { allow_partial: true, ..Settings::default() }).1);
}

#[test]
fn an_application_without_a_task_for_a_thread_is_refused() {
    let mut deployment = Deployment::default();
    deployment.add_thread("fwd", &[]);
    let none = |_: &pmd_core::TaskContext<'_>| Err(TaskError("no such kind".into()));
    let error = Runtime::start(&deployment, &Registry::default(), Settings::default(), none).unwrap_err();
    assert_eq!(error.to_string(), "thread `fwd`: no such kind");
}

#[test]
fn a_stop_ends_threads_first_then_links_then_memory() {
    let bell = BellDriver::default();
    let journal = Arc::clone(&bell.journal);
    let mut registry = Registry::default();
    registry.add(Arc::new(bell));
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 64, 64));
    let polled = deployment.add_lport("polled", "net_bell", vec![], Some(pool));
    deployment.add_lport("unpolled", "net_bell", vec![], Some(pool));
    deployment.add_thread("fwd:0", &[polled]);
    deployment.add_thread("fwd:1", &[]);
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), |context| {
        let note = Note { text: "task ended".into(), journal: Arc::clone(&journal) };
        let pool = context.pool(LportId(0)).expect("the lport has a pool").clone();
        let mut held = None;
        Ok(task(move |_| {
            let _keep = &note;
            held.get_or_insert_with(|| pool.alloc());
            0
        }))
    });
    let report = runtime.unwrap().stop();
    assert_eq!(
        *journal.lock().unwrap(),
        [
            "task ended",
            "task ended",
            "polled queue closed",
            "unpolled queue closed",
            "polled control closed",
            "unpolled control closed"
        ]
    );
    assert!(report.lports.iter().all(|lport| lport.link.is_up()), "links are reported as they were before the stop");
    assert_pools_whole(&report);
}

#[test]
fn dropping_a_runtime_stops_it() {
    let mut deployment = Deployment::default();
    let lport = deployment.add_lport("a", "net_bell", vec![], None);
    deployment.add_thread("fwd", &[lport]);
    let bell = BellDriver::default();
    let journal = Arc::clone(&bell.journal);
    let mut registry = Registry::default();
    registry.add(Arc::new(bell));
    drop(Runtime::start(&deployment, &registry, Settings::default(), |_| Ok(sink())).unwrap());
    assert_eq!(journal.lock().unwrap().len(), 2, "queue and control are closed");
}

#[test]
fn a_task_that_panics_takes_its_own_lports_down_and_nobody_elses() {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 1024, 64));
    let bad = deployment.add_lport("bad", "net_null", vec![], Some(pool));
    let good = deployment.add_lport("good", "net_null", vec![], Some(pool));
    deployment.add_thread("bad", &[bad]);
    deployment.add_thread("good", &[good]);
    let registry = Registry::with_reference_drivers();
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), |context| {
        let mut burst = pmd_core::Burst::with_limit(context.burst);
        Ok(if context.thread.name == "bad" {
            task(move |ports| {
                ports.rx_burst(0, &mut burst);
                panic!("with {} packets in hand", burst.len());
            })
        } else {
            sink()
        })
    })
    .unwrap();
    wait_for("the panic", || runtime.snapshot().threads[0].failure.is_some());
    let seen = runtime.snapshot().lports[1].stats.ipackets;
    wait_for("more packets on the good lport", || runtime.snapshot().lports[1].stats.ipackets > seen);
    assert!(runtime.is_polling());
    let report = runtime.stop();
    assert_eq!(report.threads[0].failure.as_deref(), Some("with 32 packets in hand"));
    assert_eq!(report.threads[1].failure, None);
    assert!(!report.lports[0].link.is_up() && report.lports[1].link.is_up());
    assert_pools_whole(&report);
}
