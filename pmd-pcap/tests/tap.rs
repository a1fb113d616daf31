//! The wrapper `tap` around a ring.

mod common;

use std::path::Path;

use common::{packet, pool};
use pmd_core::drivers::RingDriver;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, OpenError, Options, Pool, RawOption, Wrapper};
use pmd_pcap::capture::{Capture, Direction};
use pmd_pcap::{PcapTap, Recordings};

/// A ring that loops, with a tap around it.
fn tapped(name: &str, recordings: &Recordings, given: &[(&str, &str)]) -> Result<Lport, OpenError> {
    let driver = RingDriver::default();
    let options = Options::check(driver.options(), &[RawOption::text("size", "256")]).unwrap();
    let lport = driver.open(DeviceRequest::new(name, options, 1, None)).unwrap().remove(0);
    let given: Vec<_> = given.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
    let tap = PcapTap::new(recordings.clone());
    let options = Options::check(tap.options(), &given).unwrap();
    tap.check(&options).map_err(|errors| OpenError(errors[0].to_string()))?;
    tap.wrap(lport, &options)
}

fn send(pool: &Pool, lport: &mut Lport, sizes: &[usize]) -> usize {
    let mut burst = Burst::new();
    for size in sizes {
        burst.push(pool.alloc_packet(&packet(*size)).unwrap()).unwrap();
    }
    lport.tx.tx_burst(&mut burst)
}

fn load(path: &str) -> Capture {
    Capture::load(Path::new(path), 1 << 30).unwrap()
}

fn xstat(lport: &Lport, name: &str) -> u64 {
    lport.control.stats().xstats.iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn both_directions_of_lports_that_share_a_file_are_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tap.pcapng").display().to_string();
    let (recordings, pool) = (Recordings::default(), pool(512, 512));
    let mut lports = ["a", "b"].map(|name| tapped(name, &recordings, &[("file", &path)]).unwrap());
    for (lport, sizes) in lports.iter_mut().zip([&[60, 1500][..], &[61]]) {
        assert_eq!(send(&pool, lport, sizes), sizes.len());
        lport.tx.flush();
        let mut burst = Burst::new();
        while lport.rx.rx_burst(&mut burst) == 0 {}
        assert_eq!((burst.len(), xstat(lport, "tap_tx_recorded")), (sizes.len(), sizes.len() as u64));
    }
    assert_eq!(load(&path).len(), 3, "what was sent and flushed");
    // An idle queue writes by itself, and one that is going to sleep does so at once.
    let [a, b] = &mut lports;
    assert!((0..1000).all(|_| a.rx.rx_burst(&mut Burst::new()) == 0));
    assert_eq!(load(&path).len(), 5);
    b.rx.arm();
    let capture = load(&path);
    drop(lports);
    let names: Vec<_> = capture.interfaces().iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!((names, capture.interfaces()[0].description.as_str()), (vec!["a", "b"], "lport 0 of net_ring"));
    let known: Vec<_> =
        capture.packets().map(|packet| (packet.interface, packet.direction, packet.data.len())).collect();
    use Direction::{Inbound, Outbound};
    let expected = [
        (0, Outbound, 60),
        (0, Outbound, 1500),
        (1, Outbound, 61),
        (0, Inbound, 60),
        (0, Inbound, 1500),
        (1, Inbound, 61),
    ];
    assert_eq!(known, expected);
    assert!(capture.packets().all(|found| found.data == packet(found.data.len())));
    assert_eq!((load(&path).len(), pool.available()), (6, pool.size()));
}

#[test]
fn packets_that_stay_with_the_sender_are_not_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tap.pcapng").display().to_string();
    let pool = pool(512, 512);
    let mut lport = tapped("a", &Recordings::default(), &[("file", &path), ("direction", "tx")]).unwrap();
    lport.control.set_admin_up(false);
    assert_eq!(send(&pool, &mut lport, &[60; 10]), 0);
    lport.control.set_admin_up(true);
    let sizes: Vec<_> = (0..200).map(|i| 60 + i).collect();
    let first = send(&pool, &mut lport, &sizes);
    let second = send(&pool, &mut lport, &sizes);
    assert!(first == 200 && second < 200, "the ring is full: {first} and {second}");
    assert_eq!(lport.rx.rx_burst(&mut Burst::new()), 0, "the first poll of a ring");
    while lport.rx.rx_burst(&mut Burst::new()) > 0 {}
    drop(lport);
    let lengths: Vec<_> = load(&path).packets().map(|packet| packet.data.len()).collect();
    assert_eq!(lengths, [&sizes[..first], &sizes[..second]].concat());
    assert_eq!(pool.available(), pool.size());
}

#[test]
fn a_burst_larger_than_the_buffer_is_recorded_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("{lport}.pcapng").display().to_string();
    let pool = pool(512, 16384);
    let mut lport = tapped("a:1/b", &Recordings::default(), &[("file", &path)]).unwrap();
    let sizes: Vec<_> = (0..150).map(|i| 16_000 + i).collect();
    assert_eq!(send(&pool, &mut lport, &sizes), 150);
    let mut burst = Burst::new();
    while lport.rx.rx_burst(&mut burst) == 0 {}
    drop((lport, burst));
    let capture = load(&path.replace("{lport}", "a:1_b"));
    let of = |direction| {
        let packets = capture.packets().filter(move |packet| packet.direction == direction);
        packets.map(|packet| packet.data.len()).collect::<Vec<_>>()
    };
    assert_eq!((of(Direction::Outbound), of(Direction::Inbound)), (sizes.clone(), sizes));
    assert_eq!(pool.available(), pool.size());
}

#[test]
fn a_tap_needs_a_file_that_can_be_written() {
    let error = |given: &[(&str, &str)]| tapped("a", &Recordings::default(), given).unwrap_err().to_string();
    assert_eq!(error(&[]), "`tap` needs option `file`: the pcapng file to record to");
    assert!(error(&[("file", "/no/such/file")]).starts_with("cannot record to \"/no/such/file\": No such file"));
    assert!(error(&[("file", "/dev/full")]).contains("No space left"));
}
