//! Drivers in Rust behind the C table: what a trait says arrives on the other side, and panics stay on theirs.

use std::sync::Arc;

use crate::support::{assert_whole, packets, pool, rust_driver, try_load, try_open, why_down};
use pmd_core::deployment::DeviceSpec;
use pmd_core::{Burst, Driver, Mbuf, OptionKind, Options, QueueCount, RawOption};
use pmd_dso::Checking;

fn fragile(directory: &tempfile::TempDir, checking: Checking) -> Arc<dyn Driver> {
    try_load(&rust_driver(directory.path(), "pmd-dso", "fragile"), checking).unwrap()
}

#[test]
fn a_driver_says_the_same_through_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let driver = fragile(&directory, Checking::On);
    assert_eq!((driver.name(), driver.summary(), driver.needs_pool()), ("net_fragile", "for tests", false));
    let [does, queues] = driver.options() else { panic!("{:?}", driver.options()) };
    assert!(matches!(does.kind, OptionKind::Choice(words) if words.len() == 12 && words[2] == "rx-panics"));
    assert_eq!((does.name, does.default, does.help), ("does", "nothing", "what goes wrong"));
    assert_eq!((queues.kind, queues.default), (OptionKind::Int { min: 1, max: 8 }, "1"));

    let options = Options::check(driver.options(), &[RawOption::text("queues", "3")]).unwrap();
    assert_eq!(driver.check(&options, 3), Ok(()));
    let errors = driver.check(&options, 4).unwrap_err();
    assert_eq!(
        (errors[0].key.as_str(), errors[0].message.as_str()),
        ("queues", "option `queues` is 3, but there are 4")
    );
    let device = DeviceSpec { name: "card7".into(), driver: "net_fragile".into(), options: vec![], queues: vec![] };
    let problem = &driver.check_machine(&device, &options)[0];
    assert_eq!((problem.option, problem.message.as_str()), ("does", "nothing does `nothing` on card7 here"));
    let count = |device: &str| driver.queue_count(device, &options);
    assert_eq!((count("all"), count("any")), (QueueCount::Has(3), QueueCount::AsTold));
    assert_eq!(count("card7"), QueueCount::Unknown("there is no card7".into()));
    assert!(!driver.shares_pools(&options));
    let defaults = Options::check(driver.options(), &[]).unwrap();
    assert_eq!((driver.claim(&options).as_deref(), driver.claim(&defaults)), (Some("three queues"), None));

    let lport = try_open(&*driver, None, &[]).unwrap();
    let info = lport.control.info();
    assert_eq!((info.driver.as_str(), info.mac), ("net_fragile", Some([2, 0, 0, 0, 0, 1])));
    assert_eq!((info.max_packet, info.speed_mbps), (9000, 1));
    let stats = lport.control.stats();
    assert_eq!((stats.imissed, stats.xstats), (7, vec![("odd", 1), ("even", 2)]));
    lport.control.set_admin_up(false);
    assert_eq!(why_down(&lport), "administratively down");
}

#[test]
fn packets_cross_both_ways_with_their_segments() {
    let directory = tempfile::tempdir().unwrap();
    let driver = fragile(&directory, Checking::On);
    // In mbufs of the program's pool, or copied because some of it is in the driver's own memory.
    for does in ["nothing", "own-pool", "own-tails", "own-heads"] {
        let pool = pool();
        let mut lport = try_open(&*driver, Some(&pool), &[("does", does)]).unwrap();
        let mut burst = Burst::with_limit(16);
        assert_eq!((lport.rx.rx_burst(&mut burst), why_down(&lport)), (16, String::new()), "{does}");
        for mbuf in burst.iter() {
            let mut data = [0; 200];
            assert_eq!((mbuf.packet_len(), mbuf.copy_to(&mut data)), (200, 200));
            assert!(data[..100].iter().all(|byte| *byte == 1) && data[100..].iter().all(|byte| *byte == 2));
        }
        assert_eq!(burst[0].segment_count(), if does == "nothing" { 2 } else { 1 });
        assert_eq!((lport.tx.tx_burst(&mut burst), burst.len()), (16, 0));
        drop(lport);
        assert_whole(&pool);
    }
}

#[test]
fn packets_in_memory_of_the_drivers_own_need_a_pool_to_be_copied_to() {
    let directory = tempfile::tempdir().unwrap();
    let driver = fragile(&directory, Checking::On);
    let mut lport = try_open(&*driver, None, &[("does", "own-pool")]).unwrap();
    assert_eq!(lport.rx.rx_burst(&mut Burst::with_limit(8)), 0);
    assert!(why_down(&lport).contains("no `umem` to copy packets to; name one"), "{}", why_down(&lport));
}

#[test]
fn a_panic_takes_the_link_down_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    for checking in [Checking::On, Checking::Off] {
        let driver = fragile(&directory, checking);
        let pool = pool();
        let open = |does| try_open(&*driver, Some(&pool), &[("does", does)]);
        assert_eq!(open("open-panics").unwrap_err().to_string(), "the driver panicked: open went wrong");

        let mut lport = open("rx-panics").unwrap();
        lport.rx.rx_burst(&mut Burst::with_limit(8));
        assert_eq!(why_down(&lport), "the driver panicked: rx went wrong");
        assert_eq!(
            (lport.rx.rx_burst(&mut Burst::with_limit(8)), lport.rx.arm(), lport.rx.wake_fd().is_some()),
            (0, true, false)
        );
        drop(lport);
        assert_whole(&pool);

        let mut lport = open("tx-panics").unwrap();
        let mut burst = packets(&pool, 8);
        assert_eq!((lport.tx.tx_burst(&mut burst), burst.len()), (8, 0));
        assert_eq!(why_down(&lport), "the driver panicked: tx went wrong");
        assert_whole(&pool);

        assert_eq!(why_down(&open("link-panics").unwrap()), "the driver panicked: link went wrong");
        drop(open("close-panics").unwrap());
        assert_whole(&pool);
    }
}

#[test]
fn a_burst_may_be_left_in_part_but_with_nothing_else_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let driver = fragile(&directory, Checking::On);
    let pool = pool();
    let mut lport = try_open(&*driver, Some(&pool), &[("does", "tx-takes-last")]).unwrap();
    let mut burst = packets(&pool, 4);
    assert_eq!((lport.tx.tx_burst(&mut burst), why_down(&lport)), (1, String::new()));
    assert_eq!(burst.iter().map(|mbuf: &Mbuf| mbuf.data()[0]).collect::<Vec<_>>(), [0, 1, 2]);

    let mut lport = try_open(&*driver, Some(&pool), &[("does", "tx-swaps")]).unwrap();
    lport.tx.tx_burst(&mut burst);
    assert!(burst.is_empty() && why_down(&lport).contains("left other packets in a burst"), "{}", why_down(&lport));
    drop(lport);
    assert_whole(&pool);
}

#[test]
fn mbufs_may_come_home_after_their_device_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let driver = fragile(&directory, Checking::On);
    let pool = pool();
    let mut lport = try_open(&*driver, Some(&pool), &[("does", "late")]).unwrap();
    assert_eq!(lport.tx.tx_burst(&mut packets(&pool, 32)), 32);
    drop(lport);
    assert_whole(&pool);
}
