//! Threads at work: hand-over with exact counts, sharing a CPU, sleeping and waking.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{BellDriver, assert_pools_whole, sink, task, wait_for};
use pmd_core::deployment::{Placement, PoolSpec};
use pmd_core::lcore::allowed_cpus;
use pmd_core::{Burst, Deployment, LportId, LportStats, Pool, RawOption, Registry, Report, Runtime, Settings, Task};

fn xstat(stats: &LportStats, name: &str) -> u64 {
    stats.xstats.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}")).1
}

/// Sends `total` packets to lport `to`: with `patient` it keeps what is not accepted, otherwise it drops.
fn generator(pool: Pool, to: LportId, total: usize, patient: bool) -> Box<dyn Task> {
    let (mut burst, mut made) = (Burst::with_limit(32), 0);
    task(move |ports| {
        let n = pool.alloc_bulk(&mut burst, total - made);
        let last = burst.len();
        for mbuf in &mut burst[last - n..] {
            mbuf.append(60).unwrap().fill(7);
        }
        made += n;
        if patient { ports.tx_burst(to, &mut burst) } else { ports.transmit(to, &mut burst) }
    })
}

/// One thread that only generates, one that owns a silent null lport; `patient` and `handover` as above.
fn hand_over(total: usize, patient: bool, handover: usize, done: impl Fn(&LportStats) -> bool) -> Report {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 512, 64));
    let to = deployment.add_lport("out", "net_null", vec![RawOption::text("no-rx", "yes")], Some(pool));
    deployment.add_thread("generator", &[]);
    deployment.add_thread("owner", &[to]);
    let settings = Settings { handover, ..Settings::default() };
    let runtime = Runtime::start(&deployment, &Registry::with_reference_drivers(), settings, |context| {
        let pool = context.pool(to).unwrap().clone();
        Ok(if context.thread.kind == "owner" { sink() } else { generator(pool, to, total, patient) })
    });
    let runtime = runtime.unwrap();
    wait_for("all packets at the owner", || done(&runtime.snapshot().lports[0].stats));
    runtime.stop()
}

#[test]
fn a_patient_sender_gets_every_packet_to_a_foreign_lport() {
    let report = hand_over(50_000, true, 64, |stats| stats.opackets == 50_000);
    assert_eq!((report.lports[0].stats.opackets, report.lports[0].stats.obytes), (50_000, 3_000_000));
    assert_eq!(report.lports[0].stats.oerrors, 0);
    assert_pools_whole(&report);
}

#[test]
fn what_does_not_fit_into_a_lane_is_dropped_and_counted() {
    let arrived_or_dropped = |stats: &LportStats| stats.opackets + stats.oerrors;
    let report = hand_over(50_000, false, 4, |stats| arrived_or_dropped(stats) == 50_000);
    let stats = &report.lports[0].stats;
    assert_eq!(arrived_or_dropped(stats), 50_000);
    assert_eq!(xstat(stats, "handover_dropped"), stats.oerrors);
    assert!(stats.oerrors > 0, "bursts of 32 do not fit into a lane for 4");
    assert_pools_whole(&report);
}

#[test]
fn packets_in_a_lane_at_the_stop_still_leave() {
    // The owner is held up in its first round until the generator has been stopped: everything waits in the lane.
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 512, 64));
    let to = deployment.add_lport("out", "net_null", vec![RawOption::text("no-rx", "yes")], Some(pool));
    deployment.add_thread("generator", &[]);
    deployment.add_thread("owner", &[to]);
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let (mut release, mut blocked) = (Some(release), Some(blocked));
    let (told, made) = std::sync::mpsc::channel();
    let runtime = Runtime::start(&deployment, &Registry::with_reference_drivers(), Settings::default(), |context| {
        let pool = context.pool(to).unwrap().clone();
        if context.thread.kind == "owner" {
            let blocked = blocked.take().unwrap();
            return Ok(task(move |_| blocked.recv().map_or(0, |()| 0)));
        }
        let (mut generator, told) = (generator(pool, to, 300, true), told.clone());
        let release = release.take();
        Ok(task(move |ports| {
            let _released_when_stopped = &release;
            let sent = generator.poll(ports);
            told.send(sent).unwrap();
            sent
        }))
    })
    .unwrap();
    let mut sent = 0;
    while sent < 300 {
        sent += made.recv().unwrap();
    }
    let report = runtime.stop();
    assert_eq!(report.lports[0].stats.opackets, 300);
    assert_pools_whole(&report);
}

#[test]
fn a_packet_for_a_quiet_lport_arrives_while_another_on_its_thread_is_busy() {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 1024, 64));
    let silent = || vec![RawOption::text("no-rx", "yes")];
    let mut lports = vec![deployment.add_lport("busy", "net_null", vec![], Some(pool))];
    lports.extend((0..20).map(|n| deployment.add_lport(&format!("silent{n}"), "net_null", silent(), Some(pool))));
    let quiet = deployment.add_lport("quiet", "net_bell", vec![], Some(pool));
    lports.push(quiet);
    deployment.add_thread("fwd", &lports);
    let bell = BellDriver::default();
    let wire = Arc::clone(&bell.wire);
    let mut registry = Registry::with_reference_drivers();
    registry.add(Arc::new(bell));
    let (came, arrivals) = std::sync::mpsc::channel();
    let mut packets = None;
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), |context| {
        packets = context.pool(quiet).cloned();
        let (mut burst, came) = (Burst::with_limit(32), came.clone());
        Ok(task(move |ports| {
            let mut moved = 0;
            while let Some(position) = ports.rx_next(&mut burst) {
                if ports.id(position) == quiet {
                    came.send(burst.len()).unwrap();
                }
                moved += burst.len();
                burst.clear();
            }
            moved
        }))
    })
    .unwrap();
    for packet in 1..=3 {
        let seen = runtime.snapshot().threads[0].polls;
        // Many more rounds than it takes to be quiet.
        wait_for("rounds", || runtime.snapshot().threads[0].polls > seen + 10_000);
        wire.put(packets.as_ref().unwrap().alloc().unwrap());
        assert_eq!(arrivals.recv_timeout(Duration::from_secs(30)), Ok(1), "packet {packet}");
    }
    drop(packets);
    assert_pools_whole(&runtime.stop());
}

#[test]
fn packets_for_an_lport_that_nobody_polls_are_dropped_and_counted() {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 512, 64));
    let to = deployment.add_lport("out", "net_null", vec![], Some(pool));
    deployment.add_thread("generator", &[]);
    assert_eq!(deployment.unpolled(), [to]);
    let runtime = Runtime::start(&deployment, &Registry::with_reference_drivers(), Settings::default(), |context| {
        Ok(generator(context.pool(to).unwrap().clone(), to, 100, false))
    })
    .unwrap();
    wait_for("the drops", || xstat(&runtime.snapshot().lports[0].stats, "unowned_dropped") == 100);
    let report = runtime.stop();
    assert_eq!((report.lports[0].stats.oerrors, report.lports[0].stats.opackets), (100, 0));
    assert_pools_whole(&report);
}

#[test]
fn what_a_device_does_not_accept_is_dropped_and_counted() {
    let mut deployment = Deployment::default();
    let pool = deployment.add_pool(PoolSpec::new("p", 512, 64));
    let to = deployment.add_lport("loop", "net_ring", vec![RawOption::text("size", "8")], Some(pool));
    deployment.add_thread("generator", &[to]);
    let runtime = Runtime::start(&deployment, &Registry::with_reference_drivers(), Settings::default(), |context| {
        Ok(generator(context.pool(to).unwrap().clone(), to, 100, false))
    })
    .unwrap();
    let sum = |report: &Report| report.lports[0].stats.opackets + report.lports[0].stats.oerrors;
    wait_for("all packets", || sum(&runtime.snapshot()) == 100);
    let report = runtime.stop();
    assert_eq!((report.lports[0].stats.opackets, xstat(&report.lports[0].stats, "tx_full_dropped")), (8, 92));
    assert_pools_whole(&report);
}

#[test]
fn two_threads_on_one_cpu_both_get_on() {
    let mut deployment = Deployment::default();
    let lports = ["a", "b"].map(|name| deployment.add_lport(name, "net_null", vec![], None));
    for lport in lports {
        deployment.add_thread(&format!("fwd:{lport}"), &[lport]).lcores = Placement::Cpus(vec![allowed_cpus()[0]]);
    }
    let runtime =
        Runtime::start(&deployment, &Registry::with_reference_drivers(), Settings::default(), |_| Ok(sink())).unwrap();
    for lport in 0..2 {
        wait_for("packets on both", || runtime.snapshot().lports[lport].stats.ipackets > 10_000);
    }
    let report = runtime.stop();
    assert!(report.threads.iter().all(|thread| thread.polls > 0 && thread.busy_percent > 0.0));
    assert_eq!(report.threads[0].lcores, [allowed_cpus()[0]]);
}

/// A thread that sleeps after a millisecond, for so long that only a wake-up can end it in time, on a lport with a bell.
fn sleeper(deployment: &mut Deployment) -> LportId {
    let pool = deployment.add_pool(PoolSpec::new("p", 512, 64));
    let lport = deployment.add_lport("bell", "net_bell", vec![], Some(pool));
    let thread = deployment.add_thread("sleeper", &[lport]);
    (thread.idle_timeout, thread.intr_timeout) = (Some(Duration::from_millis(1)), Duration::from_secs(3600));
    lport
}

#[test]
fn an_idle_thread_sleeps_and_a_packet_wakes_it() {
    let mut deployment = Deployment::default();
    let lport = sleeper(&mut deployment);
    let bell = BellDriver::default();
    let wire = Arc::clone(&bell.wire);
    let mut registry = Registry::default();
    registry.add(Arc::new(bell));
    let (give, get) = std::sync::mpsc::channel();
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), |context| {
        give.send(context.pool(lport).unwrap().clone()).unwrap();
        Ok(sink())
    })
    .unwrap();
    let pool = get.recv().unwrap();
    for round in 1..=20 {
        wait_for("the next sleep", || runtime.snapshot().threads[0].sleeps == round);
        wire.put(pool.alloc().unwrap());
        wait_for("the packet's way home", || pool.in_use() == 0);
    }
    wait_for("the last sleep", || runtime.snapshot().threads[0].sleeps == 21);
    // The stop has to wake it, too: it would sleep for an hour.
    let report = runtime.stop();
    assert_eq!((report.threads[0].sleeps, report.threads[0].wakeups), (21, 21));
    assert_pools_whole(&report);
}

#[test]
fn a_hand_over_wakes_a_sleeping_owner() {
    let mut deployment = Deployment::default();
    let lport = sleeper(&mut deployment);
    deployment.add_thread("generator", &[]);
    let bell = BellDriver::default();
    let wire = Arc::clone(&bell.wire);
    let mut registry = Registry::default();
    registry.add(Arc::new(bell));
    let (give, allowance) = std::sync::mpsc::channel::<()>();
    let mut allowance = Some(allowance);
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), |context| {
        if context.thread.kind == "sleeper" {
            return Ok(sink());
        }
        let (pool, allowance) = (context.pool(lport).unwrap().clone(), allowance.take().unwrap());
        let mut burst = Burst::new();
        Ok(task(move |ports| {
            if allowance.try_recv().is_ok() {
                pool.alloc_bulk(&mut burst, 1);
            }
            ports.transmit(lport, &mut burst)
        }))
    })
    .unwrap();
    for round in 1..=20 {
        wait_for("the next sleep", || runtime.snapshot().threads[0].sleeps >= round);
        give.send(()).unwrap();
        wait_for("the packet at the owner", || wire.sent.get() == round);
    }
    let report = runtime.stop();
    assert!(report.threads[0].wakeups >= 20, "{:?}", report.threads[0]);
    assert_eq!(report.threads[1].sleeps, 0, "a thread without an idle timeout never sleeps");
    assert_pools_whole(&report);
}

/// The thread would sleep for an hour, and nothing rings for a packet that its own queue holds.
#[test]
fn a_packet_that_its_queue_holds_is_sent_although_the_thread_would_sleep() {
    let mut deployment = Deployment::default();
    let lport = sleeper(&mut deployment);
    let delay = [("tx-delay", "1000000"), ("tx-delay-us", "50000")];
    deployment.wrap_lport(lport, "fault", delay.map(|(key, value)| RawOption::text(key, value)).to_vec());
    let bell = BellDriver::default();
    let wire = Arc::clone(&bell.wire);
    let mut registry = Registry::with_reference_drivers();
    registry.add(Arc::new(bell));
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), |context| {
        let pool = context.pool(lport).unwrap().clone();
        let (mut burst, mut sent) = (Burst::new(), 0);
        Ok(task(move |ports| {
            if sent < 3 {
                pool.alloc_bulk(&mut burst, 1);
                sent += ports.transmit(lport, &mut burst);
                return 1;
            }
            0
        }))
    })
    .unwrap();
    wait_for("the packets on the wire", || wire.sent.get() == 3);
    wait_for("sleep", || runtime.snapshot().threads[0].sleeps == 1);
    assert_pools_whole(&runtime.stop());
}

#[test]
fn an_lport_without_interrupts_bounds_the_sleep_and_a_generator_prevents_it() {
    let mut deployment = Deployment::default();
    sleeper(&mut deployment);
    let ring = deployment.add_lport("ring", "net_ring", vec![], None);
    deployment.threads[0].lports = vec![ring];
    let registry = {
        let mut registry = Registry::with_reference_drivers();
        registry.add(Arc::new(BellDriver::default()));
        registry
    };
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), |_| Ok(sink())).unwrap();
    wait_for("several bounded sleeps", || runtime.snapshot().threads[0].sleeps > 3);
    drop(runtime);

    struct Restless;
    impl Task for Restless {
        fn poll(&mut self, _: &mut pmd_core::Ports) -> usize {
            0
        }
        fn may_sleep(&self) -> bool {
            false
        }
    }
    let runtime = Runtime::start(&deployment, &registry, Settings::default(), |_| Ok(Box::new(Restless))).unwrap();
    wait_for("much longer than the idle timeout", || runtime.snapshot().duration > Duration::from_millis(50));
    assert_eq!(runtime.stop().threads[0].sleeps, 0);
}
