//! The fault injector around a ring that loops.

use super::*;
use crate::burst::Burst;
use crate::deployment::LportId;
use crate::driver::{DeviceRequest, Driver};
use crate::drivers::RingDriver;
use crate::options::RawOption;

/// A lossy loop, and the pool of what goes round in it.
struct Line {
    lport: Lport,
    pool: Pool,
    copies: Pool,
}

fn line(faults: &Faults, ring: &str) -> Line {
    let pool = |size| Pool::new(&PoolConfig { size, data_room: 64, cache: 0, ..PoolConfig::default() }).unwrap();
    line_with(faults, ring, pool(2048), pool(512))
}

fn line_with(faults: &Faults, ring: &str, pool: Pool, copies: Pool) -> Line {
    let driver = RingDriver::default();
    let options = Options::check(driver.options(), &[RawOption::text("size", ring)]).unwrap();
    let lport = driver.open(DeviceRequest::new("r", options, 1, None)).unwrap().remove(0);
    let mut lport = faults.wrap_with(lport, &copies);
    // The first poll settles the ring.
    lport.rx.rx_burst(&mut Burst::new());
    Line { lport, pool, copies }
}

impl Line {
    /// Sends packets `from` up to `to` in bursts of `burst`, each marked with its number in several bytes, as long as the
    /// ring takes them.
    fn send(&mut self, numbers: std::ops::Range<u16>, size: usize) {
        let mut burst = Burst::new();
        for numbers in numbers.collect::<Vec<_>>().chunks(size) {
            for number in numbers {
                let marks: Vec<_> = number.to_be_bytes().repeat(20);
                burst.push(self.pool.alloc_packet(&marks).unwrap()).unwrap();
            }
            self.lport.tx.tx_burst(&mut burst);
            assert!(burst.is_empty(), "the ring has room");
        }
    }

    /// What comes in bursts of `size`, until nothing does, even though a burst may lose all of its packets.
    fn receive(&mut self, size: usize) -> Vec<Vec<u8>> {
        let (mut burst, mut all, mut empty) = (Burst::with_limit(size), Vec::new(), 0);
        while empty < 50 {
            empty = if self.lport.rx.rx_burst(&mut burst) > 0 { 0 } else { empty + 1 };
            assert!(burst.len() <= size);
            all.extend(burst.iter().map(|packet| packet.segments().flatten().copied().collect()));
            burst.clear();
        }
        all
    }

    fn xstat(&self, name: &str) -> u64 {
        self.lport.control.stats().xstats.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn end(self) {
        drop(self.lport);
        assert_eq!((self.pool.available(), self.copies.available()), (self.pool.size(), self.copies.size()));
    }
}

/// Numbers of packets that are unharmed, or `None`.
fn numbers(packets: &[Vec<u8>]) -> Vec<Option<u16>> {
    let number = |packet: &Vec<u8>| {
        let number = [packet[0], packet[1]];
        packet.chunks(2).all(|mark| mark == number).then(|| u16::from_be_bytes(number))
    };
    packets.iter().map(number).collect()
}

const TENTH: u32 = MILLION / 10;

#[test]
fn without_faults_everything_passes_and_nothing_is_counted() {
    let mut line = line(&Faults::default(), "1024");
    line.send(0..500, 32);
    assert!(numbers(&line.receive(32)).into_iter().eq((0..500).map(Some)));
    let stats = line.lport.control.stats();
    assert_eq!((stats.opackets, stats.ipackets, stats.ibytes), (500, 500, 500 * 40));
    assert!(stats.xstats.iter().all(|(_, n)| *n == 0), "{:?}", stats.xstats);
    line.end();
}

#[test]
fn lost_packets_are_counted_as_sent_or_not_as_received() {
    let side = Impairments { drop: TENTH, ..Impairments::default() };
    for (faults, name) in [
        (Faults { tx: side, seed: 5, ..Faults::default() }, "fault_tx_dropped"),
        (Faults { rx: side, seed: 5, ..Faults::default() }, "fault_rx_dropped"),
    ] {
        let mut line = line(&faults, "1024");
        line.send(0..1000, 32);
        let came = line.receive(32).len() as u64;
        let stats = line.lport.control.stats();
        assert_eq!((stats.opackets, stats.obytes, stats.ipackets, stats.ibytes), (1000, 40_000, came, came * 40));
        assert_eq!(line.xstat(name), 1000 - came);
        assert!((50..150).contains(&(1000 - came)), "{came}");
        line.end();
    }
}

#[test]
fn faults_repeat_themselves_whatever_the_bursts_are() {
    let side = Impairments { drop: TENTH, duplicate: TENTH, corrupt: TENTH, ..Impairments::default() };
    let faults = Faults { rx: side, tx: side, seed: 77 };
    let run = |faults: &Faults, tx_size: usize, rx_size| {
        let mut line = line(faults, "2048");
        line.send(0..800, tx_size);
        let came = line.receive(rx_size);
        line.end();
        came
    };
    let first = run(&faults, 32, 32);
    for (tx_size, rx_size) in [(1, 1), (256, 256), (7, 100), (100, 3)] {
        assert!(run(&faults, tx_size, rx_size) == first, "bursts of {tx_size} and {rx_size}");
    }
    assert!(run(&Faults { seed: 78, ..faults }, 32, 32) != first);
}

#[test]
fn duplicates_and_wrong_bits_are_what_is_counted() {
    let side = Impairments { duplicate: TENTH, corrupt: TENTH, ..Impairments::default() };
    for (faults, direction) in
        [(Faults { tx: side, ..Faults::default() }, "tx"), (Faults { rx: side, ..Faults::default() }, "rx")]
    {
        let mut line = line(&faults, "2048");
        line.send(0..1000, 32);
        let came = line.receive(32);
        let [duplicated, corrupted] =
            ["duplicated", "corrupted"].map(|what| line.xstat(&format!("fault_{direction}_{what}")));
        assert!(duplicated > 50 && corrupted > 50, "{duplicated} {corrupted}");
        assert_eq!(came.len() as u64, 1000 + duplicated);
        let harmed = numbers(&came).iter().filter(|number| number.is_none()).count() as u64;
        assert!((corrupted..corrupted + duplicated).contains(&harmed), "{harmed}: a duplicate is harmed as well");
        let stats = line.lport.control.stats();
        assert_eq!(stats.ipackets, came.len() as u64);
        assert_eq!(stats.opackets, 1000, "a duplicate is not the sender's");
        assert_eq!(line.xstat(&format!("fault_{direction}_no_copy")), 0);
        line.end();
    }
}

#[test]
fn a_wrong_bit_is_one_bit_and_the_senders_packet_stays_as_it_is() {
    let all = Impairments { corrupt: MILLION, ..Impairments::default() };
    let mut line = line(&Faults { tx: all, ..Faults::default() }, "64");
    let packet = line.pool.alloc_packet(&[0; 60]).unwrap();
    let side = Side {
        impairments: all,
        dice: Dice::new(0, 1),
        number: 0,
        copies: line.copies.clone(),
        tally: Arc::default(),
        device: Arc::clone(&line.lport.control),
    };
    let copy = side.corrupted(&packet, 0).unwrap();
    assert_eq!(copy.data().iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    assert_eq!(packet.data(), [0; 60]);
    drop((copy, packet, side));
    line.send(0..50, 8);
    assert!(numbers(&line.receive(8)).iter().all(Option::is_none));
    line.end();
}

#[test]
fn without_a_mbuf_for_a_copy_the_packet_passes_as_it_is() {
    let all = Impairments { corrupt: MILLION, duplicate: MILLION, ..Impairments::default() };
    for faults in [Faults { tx: all, ..Faults::default() }, Faults { rx: all, ..Faults::default() }] {
        let pool = |size| Pool::new(&PoolConfig { size, data_room: 64, cache: 0, ..PoolConfig::default() }).unwrap();
        let copies = pool(1);
        let held = copies.alloc();
        let mut line = line_with(&faults, "64", pool(64), copies);
        line.send(0..10, 4);
        assert!(numbers(&line.receive(8)).into_iter().eq((0..10).map(Some)));
        assert_eq!(line.xstat("fault_rx_no_copy") + line.xstat("fault_tx_no_copy"), 20);
        drop(held);
        line.end();
    }
}

#[test]
fn delayed_packets_are_overtaken_and_arrive_and_nobody_sleeps_meanwhile() {
    let delay = Impairments { delay: TENTH, delay_by: Duration::from_millis(20), ..Impairments::default() };
    for faults in [Faults { tx: delay, ..Faults::default() }, Faults { rx: delay, ..Faults::default() }] {
        let mut line = line(&faults, "1024");
        let start = std::time::Instant::now();
        line.send(0..500, 32);
        let mut came = line.receive(32);
        let early = came.len();
        let delayed = line.xstat("fault_rx_delayed") + line.xstat("fault_tx_delayed");
        if start.elapsed() < Duration::from_millis(20) {
            assert_eq!(early as u64, 500 - delayed);
            assert_eq!(line.lport.control.stats().ipackets, early as u64);
            assert!(line.lport.tx.holds() || !line.lport.rx.arm(), "something is on its way");
            line.lport.rx.disarm();
        }
        while came.len() < 500 {
            line.lport.tx.flush();
            came.extend(line.receive(32));
        }
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(!line.lport.tx.holds() && line.lport.rx.arm());
        let came: Vec<_> = numbers(&came).into_iter().map(Option::unwrap).collect();
        assert!(delayed > 20 && !came.is_sorted(), "{delayed} were overtaken");
        let mut sorted = came;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..500));
        let stats = line.lport.control.stats();
        assert_eq!((stats.opackets, stats.obytes, stats.ipackets, stats.ibytes), (500, 20_000, 500, 20_000));
        line.end();
    }
}

#[test]
fn what_is_delayed_goes_home_when_the_lport_closes_and_carries_its_new_number() {
    let hour = Duration::from_secs(3600);
    let delay = Impairments { delay: MILLION, delay_by: hour, ..Impairments::default() };
    for faults in [Faults { tx: delay, ..Faults::default() }, Faults { rx: delay, ..Faults::default() }] {
        let mut line = line(&faults, "1024");
        line.send(0..500, 32);
        assert_eq!(line.receive(32).len(), 0);
        line.lport.rx.renumber(LportId(4));
        assert_eq!(line.pool.in_use(), 500);
        line.end();
    }
}

#[test]
fn no_more_packets_are_delayed_than_there_is_room_for() {
    let delay = Impairments { delay: MILLION, delay_by: Duration::from_secs(3600), ..Impairments::default() };
    let mut sending = line(&Faults { tx: delay, ..Faults::default() }, "1024");
    sending.send(0..1024, 256);
    let mut burst = Burst::new();
    burst.push(sending.pool.alloc().unwrap()).unwrap();
    assert_eq!((sending.lport.tx.tx_burst(&mut burst), burst.len()), (0, 1), "it stays with the sender");
    burst.clear();
    sending.end();

    let mut receiving = line(&Faults { rx: delay, ..Faults::default() }, "2048");
    receiving.send(0..1500, 256);
    assert_eq!(receiving.receive(256).len(), 0);
    assert_eq!(receiving.xstat("fault_rx_delayed"), 1024, "the others wait in the device");
    receiving.end();
}

#[test]
fn a_full_device_leaves_packets_in_the_burst_and_their_fate_is_the_same_later() {
    let side = Impairments { drop: TENTH, corrupt: TENTH, ..Impairments::default() };
    let faults = Faults { tx: side, seed: 3, ..Faults::default() };
    let mut roomy = line(&faults, "2048");
    roomy.send(0..1000, 32);
    let expected = roomy.receive(32);
    roomy.end();

    let mut tight = line(&faults, "8");
    let (mut came, mut burst, mut next) = (Vec::new(), Burst::new(), 0_u16);
    while next < 1000 || !burst.is_empty() {
        while burst.len() < 20 && next < 1000 {
            burst.push(tight.pool.alloc_packet(&next.to_be_bytes().repeat(20)).unwrap()).unwrap();
            next += 1;
        }
        let before = burst.len();
        let sent = tight.lport.tx.tx_burst(&mut burst);
        assert_eq!(sent + burst.len(), before);
        came.extend(tight.receive(32));
    }
    assert!(came == expected);
    assert_eq!(tight.lport.control.stats().opackets, 1000);
    tight.end();
}

#[test]
fn a_rate_lets_so_many_pass_and_leaves_the_others_where_they_are() {
    let slow = Impairments { rate: Some(10), ..Impairments::default() };
    let mut sending = line(&Faults { tx: slow, ..Faults::default() }, "64");
    let mut burst = Burst::new();
    sending.pool.alloc_bulk(&mut burst, 20);
    let start = std::time::Instant::now();
    let first = sending.lport.tx.tx_burst(&mut burst);
    let second = sending.lport.tx.tx_burst(&mut burst);
    assert_eq!(first, 1);
    assert!(start.elapsed() > Duration::from_millis(90) || (second, burst.len()) == (0, 19));
    burst.clear();
    sending.end();

    let mut receiving = line(&Faults { rx: slow, ..Faults::default() }, "64");
    receiving.send(0..20, 20);
    let start = std::time::Instant::now();
    let came = receiving.receive(32).len() as u128;
    assert!(came >= 1 && came <= 2 + start.elapsed().as_millis() / 100, "{came}");
    receiving.end();
}

#[test]
fn a_line_that_is_down_neither_loses_nor_delivers() {
    let all = Impairments { drop: MILLION, ..Impairments::default() };
    let mut lossy = line(&Faults { tx: all, ..Faults::default() }, "64");
    lossy.lport.control.set_admin_up(false);
    let mut burst = Burst::new();
    lossy.pool.alloc_bulk(&mut burst, 5);
    assert_eq!((lossy.lport.tx.tx_burst(&mut burst), burst.len()), (0, 5));
    burst.clear();
    lossy.end();

    let delay = Impairments { delay: MILLION, delay_by: Duration::from_micros(1), ..Impairments::default() };
    let mut slow = line(&Faults { rx: delay, ..Faults::default() }, "64");
    slow.send(0..5, 5);
    slow.lport.rx.rx_burst(&mut burst);
    slow.lport.control.set_admin_up(false);
    assert_eq!(slow.receive(32).len(), 0, "what is delayed waits until the line is up again");
    slow.lport.control.set_admin_up(true);
    let mut came = burst.len();
    burst.clear();
    while came < 5 {
        came += slow.receive(32).len();
    }
    slow.end();
}

#[test]
fn options_say_the_same_as_code() {
    let driver = RingDriver::default();
    let open =
        || driver.open(DeviceRequest::new("r", Options::check(driver.options(), &[]).unwrap(), 1, None)).unwrap();
    let given = [RawOption::text("tx-drop", "1000000"), RawOption::text("seed", "18446744073709551615")];
    let options = Options::check(FaultInjector.options(), &given).unwrap();
    let mut lport = FaultInjector.wrap(open().remove(0), &options).unwrap();
    let pool = Pool::new(&PoolConfig { size: 8, ..PoolConfig::default() }).unwrap();
    let mut burst = Burst::new();
    pool.alloc_bulk(&mut burst, 8);
    assert_eq!((lport.tx.tx_burst(&mut burst), pool.available()), (8, 8));
    assert!(lport.control.stats().xstats.contains(&("fault_tx_dropped", 8)));
    let error = Options::check(FaultInjector.options(), &[RawOption::text("rx-drop", "1000001")]).unwrap_err();
    assert_eq!(error[0].to_string(), "option `rx-drop` is \"1000001\", but takes a whole number from 0 to 1000000");
}
