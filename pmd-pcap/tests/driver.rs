//! `net_pcap` as an application sees it: what it plays, what it records, and what it refuses.

mod common;

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{classic, open, open_queues, options, packet, pool, received};
use pmd_core::deployment::DeviceSpec;
use pmd_core::{Burst, Details, Driver, Link, Lport, details::Value};
use pmd_pcap::{Capture, Direction, PcapDriver};

/// Writes a file of packets, each with its time in microseconds.
fn file(directory: &Path, name: &str, packets: &[(u32, Vec<u8>)]) -> String {
    let path = directory.join(name);
    std::fs::write(&path, classic(packets)).unwrap();
    path.display().to_string()
}

fn error(given: &[(&str, &str)]) -> String {
    open(&PcapDriver::default(), given, None).unwrap_err().to_string()
}

fn xstat(lport: &Lport, name: &str) -> u64 {
    lport.control.stats().xstats.iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn a_file_is_played_once_and_whole_with_chains_for_long_packets() {
    let directory = tempfile::tempdir().unwrap();
    let packets: Vec<_> = [60, 64, 65, 128, 129, 1500].iter().map(|size| (1, packet(*size))).collect();
    let path = file(directory.path(), "in.pcap", &packets);
    let pool = pool(64, 64);
    let mut lport = open(&PcapDriver::default(), &[("rx_pcap", &path)], Some(&pool)).unwrap();
    assert_eq!(xstat(&lport, "rx_end_of_file"), 0);
    let mut burst = Burst::with_limit(4);
    assert_eq!(lport.rx.rx_burst(&mut burst), 4);
    assert_eq!((burst[1].segment_count(), burst[2].segment_count(), burst[3].port()), (1, 2, 0));
    let mut all: Vec<_> = burst.iter().map(|mbuf| mbuf.segments().flatten().copied().collect::<Vec<_>>()).collect();
    burst.clear();
    all.extend(received(&mut lport));
    assert!(all.iter().eq(packets.iter().map(|(_, data)| data)));
    let stats = lport.control.stats();
    assert_eq!((stats.ipackets, stats.ibytes), (6, packets.iter().map(|(_, data)| data.len() as u64).sum()));
    assert_eq!((xstat(&lport, "rx_passes"), xstat(&lport, "rx_end_of_file"), lport.control.link()), (1, 1, Link::Up));
    drop(lport);
    assert_eq!(pool.available(), pool.size());
}

#[test]
fn a_file_is_played_as_often_as_asked_within_one_burst_if_it_is_short() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "in.pcap", &[(1, packet(60)), (2, packet(61))]);
    let mut lport = open(&PcapDriver::default(), &[("rx_pcap", &path), ("rx_passes", "3")], None).unwrap();
    let lengths: Vec<_> = received(&mut lport).iter().map(Vec::len).collect();
    assert_eq!((lengths, xstat(&lport, "rx_passes")), (vec![60, 61, 60, 61, 60, 61], 3));
    let mut forever = open(&PcapDriver::default(), &[("rx_pcap", &path), ("infinite_rx", "1")], None).unwrap();
    let mut burst = Burst::new();
    for _ in 0..10 {
        assert_eq!(forever.rx.rx_burst(&mut burst), 256);
        burst.clear();
    }
    assert_eq!((xstat(&forever, "rx_passes"), xstat(&forever, "rx_end_of_file")), (1280, 0));
}

#[test]
fn an_exhausted_pool_delays_packets_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    // The longest takes the whole pool.
    let packets: Vec<_> = (0..97).map(|i| (1, packet(64 + 10 * i))).collect();
    let path = file(directory.path(), "in.pcap", &packets);
    let pool = pool(16, 64);
    let mut lport = open(&PcapDriver::default(), &[("rx_pcap", &path)], Some(&pool)).unwrap();
    let all = received(&mut lport);
    assert!(all.iter().eq(packets.iter().map(|(_, data)| data)));
    assert!(lport.control.stats().rx_nombuf > 0);
    drop(lport);
    assert_eq!(pool.available(), pool.size());
}

#[test]
fn recorded_times_are_kept_and_a_thread_can_sleep_until_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "in.pcap", &[(0, packet(60)), (50_000, packet(61)), (300_000, packet(62))]);
    let given = [("rx_pcap", path.as_str()), ("rx_speed", "2")];
    let mut lport = open(&PcapDriver::default(), &given, None).unwrap();
    let start = Instant::now();
    let mut burst = Burst::new();
    assert!(!lport.rx.arm(), "the first one is due");
    for (n, due_ms) in [(1, 0), (2, 25), (3, 150)] {
        while burst.len() < n {
            if lport.rx.rx_burst(&mut burst) == 0 && lport.rx.arm() {
                wait(lport.rx.wake_fd().unwrap().as_fd());
                lport.rx.disarm();
            }
        }
        assert!(start.elapsed() >= Duration::from_millis(due_ms), "packet {n} after {:?}", start.elapsed());
    }
    let over = Instant::now();
    assert!(lport.rx.arm(), "nothing will come any more");
    assert!(!is_readable(lport.rx.wake_fd().unwrap().as_fd()), "so nothing wakes");
    assert!(over.elapsed() < Duration::from_secs(60));
}

fn wait(fd: std::os::fd::BorrowedFd<'_>) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    assert_eq!(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(60_000_u16)), Ok(1));
}

fn is_readable(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
}

#[test]
fn what_is_sent_is_recorded_and_what_is_recorded_is_played() {
    let directory = tempfile::tempdir().unwrap();
    let packets: Vec<_> = [60, 1500, 2049, 9000].iter().map(|size| (1, packet(*size))).collect();
    let (first, second) = (file(directory.path(), "1.pcap", &packets), directory.path().join("2.pcapng"));
    let (second, pool) = (second.display().to_string(), pool(64, 2048));
    let driver = PcapDriver::default();
    let mut lport = open(&driver, &[("rx_pcap", &first), ("tx_pcap", &second)], Some(&pool)).unwrap();
    let mut burst = Burst::new();
    assert_eq!(lport.rx.rx_burst(&mut burst), 4);
    assert_eq!((lport.tx.tx_burst(&mut burst), burst.len(), pool.available()), (4, 0, pool.size()));
    assert_eq!(Capture::load(Path::new(&second), 1 << 20).unwrap().len(), 0, "in the buffer");
    lport.tx.flush();
    let busy = open(&driver, &[("rx_pcap", &second)], None).unwrap_err().to_string();
    assert!(busy.ends_with("it is being recorded to; play it when that is over"), "{busy}");
    let stats = lport.control.stats();
    assert_eq!((stats.opackets, stats.obytes, stats.oerrors), (4, 60 + 1500 + 2049 + 9000, 0));
    drop(lport);

    let capture = Capture::load(Path::new(&second), 1 << 20).unwrap();
    assert!(capture.packets().map(|packet| packet.data).eq(packets.iter().map(|(_, data)| &data[..])));
    assert!(capture.packets().all(|packet| packet.direction == Direction::Outbound));
    let of = |direction| {
        let given = [("rx_pcap", second.as_str()), ("rx_direction", direction)];
        received(&mut open(&driver, &given, Some(&pool)).unwrap()).len()
    };
    assert_eq!(["any", "outbound", "inbound"].map(of), [4, 4, 0]);
}

#[test]
fn queues_play_a_file_each_and_record_to_one_or_to_a_file_each() {
    let directory = tempfile::tempdir().unwrap();
    for (qid, size) in [(0, 60), (1, 70)] {
        file(directory.path(), &format!("in-{qid}.pcap"), &[(1, packet(size))]);
    }
    let path = |name: &str| directory.path().join(name).display().to_string();
    let forward = |tx: &str| {
        let given = [("rx_pcap", path("in-{queue}.pcap")), ("tx_pcap", path(tx))];
        let given = given.each_ref().map(|(key, value)| (*key, value.as_str()));
        for mut lport in open_queues(&PcapDriver::default(), &given, None, 2).unwrap() {
            let mut burst = Burst::new();
            assert_eq!((lport.rx.rx_burst(&mut burst), lport.tx.tx_burst(&mut burst)), (1, 1));
        }
    };
    forward("one.pcapng");
    let one = Capture::load(Path::new(&path("one.pcapng")), 1 << 20).unwrap();
    let names: Vec<_> = one.interfaces().iter().map(|interface| interface.name.as_str()).collect();
    let lengths: Vec<_> = one.packets().map(|packet| (packet.interface, packet.data.len())).collect();
    assert_eq!((names, lengths), (vec!["pcap:0", "pcap:1"], vec![(0, 60), (1, 70)]));
    forward("out-{queue}.pcapng");
    for (qid, size) in [(0, 60), (1, 70)] {
        let capture = Capture::load(Path::new(&path(&format!("out-{qid}.pcapng"))), 1 << 20).unwrap();
        assert_eq!(capture.packets().map(|packet| packet.data.len()).collect::<Vec<_>>(), [size]);
    }
}

#[test]
fn without_files_nothing_is_received_and_everything_is_swallowed() {
    let (pool, mut burst) = (pool(8, 64), Burst::new());
    let mut lport = open(&PcapDriver::default(), &[("mac", "02:00:00:00:00:07")], None).unwrap();
    pool.alloc_bulk(&mut burst, 8);
    assert_eq!((lport.tx.tx_burst(&mut burst), pool.available()), (8, 8));
    assert_eq!((lport.rx.rx_burst(&mut burst), lport.rx.arm()), (0, true));
    assert_eq!(lport.control.info().mac, Some([2, 0, 0, 0, 0, 7]));
}

#[test]
fn down_it_neither_plays_nor_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "in.pcap", &[(1, packet(60)), (1, packet(60))]);
    let pool = pool(8, 64);
    let mut lport = open(&PcapDriver::default(), &[("rx_pcap", &path)], Some(&pool)).unwrap();
    let mut burst = Burst::with_limit(1);
    lport.rx.renumber(pmd_core::LportId(9));
    assert_eq!((lport.rx.rx_burst(&mut burst), burst[0].port()), (1, 9));
    lport.control.set_admin_up(false);
    assert_eq!(lport.control.link(), Link::Down("administratively down".into()));
    assert_eq!((lport.tx.tx_burst(&mut burst), burst.len()), (0, 1));
    burst.clear();
    assert_eq!((lport.rx.rx_burst(&mut burst), lport.rx.arm()), (0, true));
    lport.control.set_admin_up(true);
    assert_eq!(lport.rx.rx_burst(&mut burst), 1);
}

#[test]
fn a_packet_that_no_capture_file_may_hold_is_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcapng").display().to_string();
    let pool = pool(300, 1024);
    let mut lport = open(&PcapDriver::default(), &[("tx_pcap", &path)], None).unwrap();
    let mut burst = Burst::new();
    for size in [60, 262_145, 262_144] {
        burst.push(pool.alloc_packet(&packet(size)).unwrap()).unwrap();
        burst.push(pool.alloc_packet(&packet(60)).unwrap()).unwrap();
        if size > 60 {
            let sent = burst.len() - usize::from(size > 262_144);
            assert_eq!((lport.tx.tx_burst(&mut burst), burst.len()), (sent, 0));
        }
    }
    let stats = lport.control.stats();
    assert_eq!((stats.opackets, stats.oerrors, xstat(&lport, "tx_too_long")), (5, 1, 1));
    drop(lport);
    let lengths: Vec<_> =
        Capture::load(Path::new(&path), 1 << 20).unwrap().packets().map(|packet| packet.data.len()).collect();
    assert_eq!(lengths, [60, 60, 60, 262_144, 60]);
    assert_eq!(pool.available(), pool.size());
}

#[test]
fn a_file_that_was_cut_is_played_and_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.pcap");
    let whole = classic(&[(1, packet(60)), (2, packet(60))]);
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let mut lport = open(&PcapDriver::default(), &[("rx_pcap", path.to_str().unwrap())], None).unwrap();
    assert_eq!(received(&mut lport).len(), 1);
    let details = Value::from(lport.control.details());
    assert_eq!(details.at("plays.0.packets"), Some(&Value::Number(1)));
    let Some(Value::Text(cut)) = details.at("plays.0.cut") else { panic!("{details:?}") };
    assert!(cut.starts_with("it ends too early"), "{cut}");
    assert_eq!(lport.control.details().get("records"), Some(&Value::from(Vec::<Details>::new())));
}

#[test]
fn what_cannot_be_played_or_recorded_is_refused_by_name_and_nothing_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    assert!(error(&[("rx_pcap", &path("none"))]).ends_with("none\": No such file or directory (os error 2)"));
    assert!(error(&[("rx_pcap", &path(""))]).contains("it is a directory"));
    std::fs::write(path("text"), "no packets").unwrap();
    assert!(error(&[("rx_pcap", &path("text"))]).contains("it is no capture file"));
    assert_eq!(std::fs::read(path("text")).unwrap(), b"no packets");
    let wlan = {
        let mut file = classic(&[(1, packet(60))]);
        file[20] = 105;
        file
    };
    std::fs::write(path("wlan"), wlan).unwrap();
    let refused = error(&[("rx_pcap", &path("wlan")), ("tx_pcap", &path("text"))]);
    assert!(refused.ends_with("its packets have link type 105, but only Ethernet (1) can be played"), "{refused}");
    assert_eq!(std::fs::read(path("text")).unwrap(), b"no packets", "what is played is looked at first");
    let large = file(directory.path(), "large", &vec![(1, vec![0; 200_000]); 6]);
    assert!(error(&[("rx_pcap", &large), ("rx_size_max", "1")]).ends_with("raise `rx_size_max`, or play a part of it"));
    let small = pool(64, 64);
    let long = file(directory.path(), "long", &[(1, packet(64 * 64 + 1))]);
    let refused = open(&PcapDriver::default(), &[("rx_pcap", &long)], Some(&small)).unwrap_err().to_string();
    assert!(refused.ends_with("a packet of 4097 bytes needs 65 mbufs, but `pool` has 64 of 64 bytes"), "{refused}");
    assert!(error(&[("tx_pcap", "/dev/full")]).contains("cannot record to \"/dev/full\": No space left"));
    assert!(error(&[("tx_pcap", &path("no/such"))]).contains("No such file"));
}

#[test]
fn what_is_missing_is_seen_before_anything_is_opened() {
    let found = |given: &[(&str, &str)]| {
        let (name, driver) = ("pcap".to_owned(), "net_pcap".to_owned());
        let device = DeviceSpec { name, driver, options: Vec::new(), queues: Vec::new() };
        let problems = PcapDriver::default().check_machine(&device, &options(given));
        problems.into_iter().map(|problem| problem.option).collect::<Vec<_>>()
    };
    assert_eq!(found(&[("rx_pcap", "/no/such"), ("tx_pcap", "/no/such/file")]), ["rx_pcap", "tx_pcap"]);
    assert_eq!(found(&[("rx_pcap", "/no/{queue}"), ("tx_pcap", "file")]), Vec::<&str>::new());
}
