//! Drivers that return nonsense, checked: the device goes down with a reason, and nothing else happens.

use std::sync::Arc;

use crate::support::{assert_whole, c_driver, packets, pool, try_load, try_open, why_down};
use pmd_core::{Burst, Driver};
use pmd_dso::Checking;

fn bad_driver(directory: &tempfile::TempDir, checking: Checking) -> Arc<dyn Driver> {
    try_load(&c_driver(directory.path(), "pmd-dso/tests/drivers/bad.c", &[]), checking).unwrap()
}

#[test]
fn what_a_driver_receives_must_be_mbufs_that_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let driver = bad_driver(&directory, Checking::On);
    // The fault, how many packets of 32 are good all the same, and what is said.
    let faults = [
        ("more-than-asked", 32, "rx_burst returned 33 packets, but was asked for 32"),
        ("all-ones", 32, "rx_burst returned 65535 packets, but was asked for 32"),
        ("writes-beyond", 32, "rx_burst wrote more than the 32 entries that it was asked for"),
        ("twice", 31, "which it had given back already"),
        ("given-back", 31, "which it had given back already"),
        ("foreign", 31, "which is no mbuf that it was ever given"),
        ("null", 31, "rx_burst returned a null pointer"),
        ("changed", 31, "in which it had changed `buffer`, `pool`, `room`, `index` or `owner`"),
        ("outside", 31, "with 100000 bytes of data from 128 on, but its buffer has 384"),
        ("chain", 31, "with 3 segments and 64 bytes of data, but its chain has other numbers"),
        ("circle", 31, "with 2 segments and 64 bytes of data, but its chain has other numbers"),
        ("chained-twice", 31, "which it had given back already"),
    ];
    for (fault, good, said) in faults {
        let pool = pool();
        let mut lport = try_open(&*driver, Some(&pool), &[("fault", fault)]).unwrap();
        let mut burst = Burst::with_limit(32);
        assert_eq!((lport.rx.rx_burst(&mut burst), burst.len()), (good, good), "{fault}");
        let why = why_down(&lport);
        assert!(why.starts_with("driver `net_bad` of lib") && why.contains(said), "{fault}: {why}");
        burst.clear();
        // It is not asked again, and setting it up does not help.
        lport.control.set_admin_up(true);
        assert_eq!((lport.rx.rx_burst(&mut burst), why_down(&lport)), (0, why), "{fault}");
        assert_eq!(lport.tx.tx_burst(&mut packets(&pool, 1)), 0, "{fault}");
        drop(lport);
        assert_whole(&pool);
    }
    // The driver is as good as it was.
    let pool = pool();
    let mut lport = try_open(&*driver, Some(&pool), &[]).unwrap();
    assert_eq!((lport.rx.rx_burst(&mut Burst::with_limit(32)), why_down(&lport)), (32, String::new()));
    drop(lport);
    assert_whole(&pool);
}

#[test]
fn what_a_driver_leaves_or_frees_must_be_what_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let driver = bad_driver(&directory, Checking::On);
    // The fault, how many packets of 8 it says that it sent, how many stay in the burst, and what is said.
    let faults = [
        ("tx-more", 8, 0, "tx_burst says that it took 9 packets, but was given 8"),
        ("tx-frees-left", 0, 0, "tx_burst left the mbuf 0x"),
        ("tx-leaves-twice", 0, 7, "which it had given back already"),
        ("tx-leaves-null", 7, 0, "tx_burst left a null pointer"),
        ("tx-leaves-other", 7, 0, "which it was not asked to send"),
        ("tx-frees-twice", 8, 0, "free_bulk got the mbuf 0x"),
    ];
    for (fault, sent, left, said) in faults {
        let pool = pool();
        let mut lport = try_open(&*driver, Some(&pool), &[("fault", fault)]).unwrap();
        let mut burst = packets(&pool, 8);
        assert_eq!((lport.tx.tx_burst(&mut burst), burst.len()), (sent, left), "{fault}");
        let why = why_down(&lport);
        assert!(why.starts_with("driver `net_bad` of lib") && why.contains(said), "{fault}: {why}");
        drop((lport, burst));
        assert_whole(&pool);
    }
}

#[test]
fn packets_may_be_left_in_the_middle_of_a_burst() {
    let directory = tempfile::tempdir().unwrap();
    for checking in [Checking::Off, Checking::On] {
        let macros: &[&str] = if checking == Checking::On { &["CHECKED"] } else { &[] };
        let object = c_driver(directory.path(), "pmd-dso/tests/drivers/bad.c", macros);
        let driver = try_load(&object, checking).unwrap();
        let pool = pool();
        let mut lport = try_open(&*driver, Some(&pool), &[("fault", "tx-moves")]).unwrap();
        let mut burst = packets(&pool, 4);
        assert_eq!((lport.tx.tx_burst(&mut burst), why_down(&lport)), (1, String::new()));
        assert_eq!(burst.iter().map(|mbuf| mbuf.data()[0]).collect::<Vec<_>>(), [0, 1, 2]);
        drop((lport, burst));
        assert_whole(&pool);
    }
}

#[test]
fn numbers_are_cut_off_when_drivers_are_not_checked() {
    let directory = tempfile::tempdir().unwrap();
    let driver = bad_driver(&directory, Checking::Off);
    let pool = pool();
    for fault in ["more-than-asked", "all-ones"] {
        let mut lport = try_open(&*driver, Some(&pool), &[("fault", fault)]).unwrap();
        let mut burst = Burst::with_limit(32);
        assert_eq!((lport.rx.rx_burst(&mut burst), burst.len()), (32, 32));
        assert!(why_down(&lport).ends_with("packets, but was asked for 32"), "{}", why_down(&lport));
    }
    let mut lport = try_open(&*driver, Some(&pool), &[("fault", "tx-drops-more")]).unwrap();
    assert_eq!(lport.tx.tx_burst(&mut packets(&pool, 8)), 0, "it cannot have dropped more than it was given");
    let mut lport = try_open(&*driver, Some(&pool), &[("fault", "tx-more")]).unwrap();
    assert_eq!(lport.tx.tx_burst(&mut packets(&pool, 8)), 8);
    assert!(why_down(&lport).ends_with("tx_burst says that it took 9 packets, but was given 8"));
}

#[test]
fn a_fault_of_one_device_is_not_held_against_another() {
    let directory = tempfile::tempdir().unwrap();
    let driver = bad_driver(&directory, Checking::On);
    let pool = pool();
    let mut good = try_open(&*driver, Some(&pool), &[]).unwrap();
    assert_eq!(good.rx.rx_burst(&mut Burst::with_limit(8)), 8);
    // The option is the whole driver's, which is one of its faults: only the second device is asked now.
    let mut bad = try_open(&*driver, Some(&pool), &[("fault", "null")]).unwrap();
    bad.rx.rx_burst(&mut Burst::with_limit(8));
    assert!(!bad.control.link().is_up() && good.control.link().is_up());
    drop((bad, good));
    assert_whole(&pool);
}

#[test]
fn answers_are_taken_with_a_grain_of_salt() {
    let directory = tempfile::tempdir().unwrap();
    let driver = bad_driver(&directory, Checking::On);
    let pool = pool();
    let open = |fault| try_open(&*driver, Some(&pool), &[("fault", fault)]);
    let lport = open("tx-no-link").unwrap();
    assert_eq!(why_down(&lport), "no carrier ", "control characters are not printed");
    let stats = lport.control.stats();
    assert_eq!((stats.xstats.len(), stats.xstats[0].0), (85, "good"), "null and what is no UTF-8 are left out");
    assert_eq!(open("mute").unwrap_err().to_string(), "its driver gave no reason");
    assert_eq!(open("no-zero").unwrap_err().to_string(), "x".repeat(512));
}
