//! Files made byte by byte: both formats, both byte orders, and every way to be wrong that we know of.

use proptest::prelude::*;

use super::bytes::Order;
use super::*;

/// A little-endian classic file of Ethernet packets, each with its time in microseconds.
pub(crate) fn classic(packets: &[(u32, Vec<u8>)]) -> Vec<u8> {
    classic_as(Order::Little, 0xA1B2_C3D4, 1, packets)
}

fn classic_as(order: Order, magic: u32, link: u32, packets: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut file = Writer { order, bytes: Vec::new() };
    file.word(magic);
    file.half(2);
    file.half(4);
    file.words(&[0, 0, 65535, link]);
    for (fraction, data) in packets {
        file.words(&[7, *fraction, data.len() as u32, data.len() as u32 + 1]);
        file.bytes.extend(data);
    }
    file.bytes
}

/// Writes in an order.
pub(crate) struct Writer {
    order: Order,
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    fn half(&mut self, value: u16) {
        let little = self.order == Order::Little;
        self.bytes.extend(if little { value.to_le_bytes() } else { value.to_be_bytes() });
    }

    fn word(&mut self, value: u32) {
        let little = self.order == Order::Little;
        self.bytes.extend(if little { value.to_le_bytes() } else { value.to_be_bytes() });
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.word(*word));
    }

    fn block(&mut self, kind: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.word(kind);
        self.word(0);
        body(self);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = (self.bytes.len() + 4 - start) as u32;
        let mut word = Writer { order: self.order, bytes: Vec::new() };
        word.word(length);
        self.bytes[start + 4..start + 8].copy_from_slice(&word.bytes);
        self.word(length);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.half(code);
        self.half(value.len() as u16);
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn section(&mut self) {
        self.block(0x0A0D_0D0A, |file| {
            file.word(0x1A2B_3C4D);
            file.half(1);
            file.half(0);
            file.word(u32::MAX);
            file.word(u32::MAX);
        });
    }

    /// An interface with its link type and its options.
    fn interface(&mut self, link: u16, options: &[(u16, &[u8])]) {
        self.block(1, |file| {
            file.half(link);
            file.half(0);
            file.word(0);
            options.iter().for_each(|(code, value)| file.option(*code, value));
            file.option(0, &[]);
        });
    }

    fn packet(&mut self, interface: u32, time: u64, data: &[u8], flags: u32) {
        self.block(6, |file| {
            let length = data.len() as u32;
            file.words(&[interface, (time >> 32) as u32, time as u32, length, length]);
            file.bytes.extend(data);
            file.bytes.resize(file.bytes.len().next_multiple_of(4), 0);
            let mut value = Writer { order: file.order, bytes: Vec::new() };
            value.word(flags);
            file.option(2, &value.bytes);
        });
    }
}

fn pcapng(order: Order) -> Writer {
    let mut file = Writer { order, bytes: Vec::new() };
    file.section();
    file
}

fn error(bytes: Vec<u8>) -> String {
    Capture::parse(bytes).unwrap_err().to_string()
}

/// Times and contents.
fn contents(capture: &Capture) -> Vec<(u64, &[u8])> {
    capture.packets().map(|packet| (packet.time_ns, packet.data)).collect()
}

#[test]
fn classic_files_of_both_orders_and_units_are_read() {
    let packets = [(5, vec![1, 2, 3]), (6, vec![]), (9, vec![4; 70_000])];
    for order in [Order::Little, Order::Big] {
        for (magic, unit) in [(0xA1B2_C3D4, 1000), (0xA1B2_3C4D, 1)] {
            let capture = Capture::parse(classic_as(order, magic, 1, &packets)).unwrap();
            let expected: Vec<_> =
                packets.iter().map(|(us, data)| (7_000_000_000 + u64::from(*us) * unit, &data[..])).collect();
            assert_eq!(contents(&capture), expected);
            assert_eq!((capture.packet(0).original, capture.cut(), capture.interfaces().len()), (4, None, 1));
        }
    }
}

#[test]
fn pcapng_files_of_both_orders_keep_interfaces_directions_and_units() {
    for order in [Order::Little, Order::Big] {
        let mut file = pcapng(order);
        file.interface(1, &[(2, b"eth0"), (3, b"the left one")]);
        file.interface(101, &[(9, &[9])]);
        file.interface(1, &[(9, &[0x80 | 10])]);
        // Name Resolution, and a block of no type that we know.
        file.block(4, |file| file.word(0));
        file.block(0x0BAD_F00D, |file| file.bytes.extend([1, 2, 3, 4, 5]));
        file.packet(0, 1_500_000, &[1; 61], 1);
        file.packet(1, 1_500_000, &[2; 62], 2);
        file.packet(2, 1536, &[3; 63], 0);
        let capture = Capture::parse(file.bytes).unwrap();
        let known: Vec<_> = capture
            .packets()
            .map(|packet| (packet.interface, packet.time_ns, packet.data.len(), packet.data[0], packet.direction))
            .collect();
        let expected = [
            (0, 1_500_000_000, 61, 1, Direction::Inbound),
            (1, 1_500_000, 62, 2, Direction::Outbound),
            (2, 1_500_000_000, 63, 3, Direction::Unknown),
        ];
        assert_eq!(known, expected);
        let first = Interface { name: "eth0".into(), description: "the left one".into(), link_type: 1 };
        assert_eq!((&capture.interfaces()[0], capture.interfaces()[1].link_type), (&first, 101));
    }
}

#[test]
fn times_of_every_unit_fit_into_nanoseconds() {
    let time = |order, options: &[(u16, &[u8])], time| {
        let mut file = pcapng(order);
        file.interface(1, options);
        file.packet(0, time, &[0; 60], 0);
        Capture::parse(file.bytes).unwrap().packet(0).time_ns
    };
    let of = |resolution: u8, units| time(Order::Little, &[(9, &[resolution])], units);
    assert_eq!([of(0, 3), of(3, 3), of(12, 3999)], [3_000_000_000, 3_000_000, 3]);
    assert_eq!([of(0x80, 3), of(0x80 | 127, u64::MAX), of(127, u64::MAX)], [3_000_000_000, 0, 0]);
    assert_eq!(of(0, u64::MAX), u64::MAX, "as far as we can count");
    let offset = |order, seconds: [u8; 8]| time(order, &[(9, &[0]), (14, &seconds)], 10);
    assert_eq!(offset(Order::Little, 5_i64.to_le_bytes()), 15_000_000_000);
    assert_eq!(offset(Order::Big, (-4_i64).to_be_bytes()), 6_000_000_000);
    assert_eq!(offset(Order::Big, i64::MIN.to_be_bytes()), 0);
    assert_eq!(offset(Order::Big, i64::MAX.to_be_bytes()), u64::MAX);
}

#[test]
fn simple_and_obsolete_packet_blocks_are_packets() {
    let mut file = pcapng(Order::Big);
    file.block(1, |file| file.words(&[0x0001_0000, 4]));
    file.packet(0, 77, &[9; 3], 0);
    file.block(3, |file| {
        file.word(6);
        file.bytes.extend([1, 2, 3, 4]);
    });
    file.block(2, |file| {
        file.half(0);
        file.half(99);
        file.words(&[0, 78, 2, 2]);
        file.bytes.extend([5, 6, 0, 0]);
    });
    let capture = Capture::parse(file.bytes).unwrap();
    assert_eq!(contents(&capture)[1..], [(77_000, &[1, 2, 3, 4][..]), (78_000, &[5, 6])]);
    assert_eq!(capture.packet(1).original, 6, "cut at the interface's snap length");
}

#[test]
fn a_new_section_has_its_own_order_and_interfaces() {
    let mut file = pcapng(Order::Little);
    file.interface(1, &[(2, b"one")]);
    file.packet(0, 1, &[1; 60], 0);
    file.order = Order::Big;
    file.section();
    file.interface(1, &[(2, b"two")]);
    file.packet(0, 2, &[2; 60], 0);
    let capture = Capture::parse(file.bytes.clone()).unwrap();
    let names: Vec<_> = capture.packets().map(|packet| capture.interfaces()[packet.interface].name.clone()).collect();
    assert_eq!(names, ["one", "two"]);
    file.section();
    file.packet(0, 3, &[3; 60], 0);
    assert!(error(file.bytes).ends_with("a packet of interface 0, but there are 0 so far"));
}

#[test]
fn a_file_that_ends_too_early_keeps_its_whole_packets() {
    let whole = classic(&[(1, vec![1; 60]), (2, vec![2; 60])]);
    for end in [24, 24 + 1, 24 + 76, 24 + 76 + 1, 24 + 76 + 75] {
        let capture = Capture::parse(whole[..end].to_vec()).unwrap();
        assert_eq!((capture.len(), capture.cut().is_some()), ((end - 24) / 76, (end - 24) % 76 > 0), "{end}");
    }
    let mut file = pcapng(Order::Little);
    file.interface(1, &[]);
    file.packet(0, 1, &[1; 60], 0);
    let (first, _) = (file.bytes.len(), file.packet(0, 2, &[2; 60], 0));
    for end in [first + 1, first + 8, file.bytes.len() - 1] {
        let capture = Capture::parse(file.bytes[..end].to_vec()).unwrap();
        let cut = format!("it ends too early: {} bytes behind packet 1 are no whole one", end - first);
        assert_eq!((capture.len(), capture.cut()), (1, Some(cut.as_str())));
    }
}

#[test]
fn what_is_no_capture_file_is_told_from_one() {
    assert_eq!(error(vec![]), "it is no capture file: it is empty");
    assert_eq!(error(vec![0xD4, 0xC3]), "it is no capture file: it has only 2 bytes");
    assert!(error(b"#!/bin/sh\n".to_vec()).contains("it begins with the bytes 23 21 2f 62"));
    assert!(error(vec![0x1F, 0x8B, 8, 0]).contains("gunzip"));
    let header = classic(&[]);
    for end in 4..24 {
        assert!(error(header[..end].to_vec()).contains("within its header"), "{end}");
    }
    assert!(Capture::parse(header).unwrap().is_empty());
    assert!(error(pcapng(Order::Little).bytes[..20].to_vec()).contains("within its header"));
}

/// The message for a whole packet followed by a block that `damage` writes.
fn damaged(damage: impl FnOnce(&mut Writer)) -> String {
    let mut file = pcapng(Order::Little);
    file.interface(1, &[]);
    file.packet(0, 1, &[1; 60], 0);
    let at = file.bytes.len();
    damage(&mut file);
    file.packet(0, 2, &[2; 60], 0);
    let message = error(file.bytes);
    let (place, what) = message.split_once(": ").unwrap();
    let offset = place.strip_prefix("it is damaged at byte ").unwrap().split(',').next().unwrap();
    assert!((at..at + 12).contains(&offset.parse::<usize>().unwrap()), "{message}");
    assert!(place.ends_with("behind 1 whole packets"), "{message}");
    what.to_owned()
}

#[test]
fn damage_is_refused_at_its_place() {
    let word = |word: u32| move |file: &mut Writer| file.bytes.extend(word.to_le_bytes());
    let length = |length: u32| {
        damaged(|file| {
            word(6)(file);
            word(length)(file);
        })
    };
    for bad in [0, 8, 11, 13, 16_777_220, u32::MAX, 0xFFFF_FFFC] {
        assert_eq!(
            length(bad),
            format!("a block claims {bad} bytes, which is not a multiple of 4 from 12 to 16777216")
        );
    }
    let ends = damaged(|file| [6, 16, 0, 20].map(|value| word(value)(file)).into_iter().collect());
    assert_eq!(ends, "a block is 16 bytes long by its beginning, but 20 by its end");
    let claims = |captured| damaged(|file| file.block(6, |file| file.words(&[0, 0, 0, captured, captured])));
    assert_eq!(claims(1), "a packet claims 1 bytes, more than its block holds");
    assert_eq!(claims(u32::MAX), "a packet claims 4294967295 bytes; none has more than 262144");
    assert_eq!(damaged(|file| file.packet(1, 0, &[], 0)), "a packet of interface 1, but there are 1 so far");
    assert_eq!(
        damaged(|file| file.block(6, |_| ())),
        "a packet block of 0 bytes, too few for what is in front of a packet"
    );
    assert_eq!(damaged(|file| file.block(1, |_| ())), "an interface without a link type");
    let magic = damaged(|file| file.block(0x0A0D_0D0A, |file| file.words(&[1, 2, 3, 4])));
    assert_eq!(magic, "a section header without its byte-order magic");
    let version = |file: &mut Writer| file.block(0x0A0D_0D0A, |file| file.words(&[0x1A2B_3C4D, 9, 0, 0]));
    assert_eq!(damaged(version), "a section of a version that is not known");

    let mut classic = classic(&[(1, vec![1; 60]), (2, vec![2; 60])]);
    classic[24 + 76 + 8..24 + 76 + 12].fill(0xFF);
    let what = "it is damaged at byte 100, behind 1 whole packets: a packet claims 4294967295 bytes; none has more than 262144";
    assert_eq!(error(classic), what);
}

#[test]
fn malformed_options_cost_nothing_but_themselves() {
    let mut file = pcapng(Order::Little);
    file.interface(1, &[(2, b"x"), (9, &[]), (9, &[9, 9])]);
    file.block(6, |file| {
        file.words(&[0, 0, 1, 4, 4]);
        file.bytes.extend([1, 2, 3, 4]);
        file.half(2);
        file.half(60000);
    });
    let capture = Capture::parse(file.bytes).unwrap();
    assert_eq!((capture.len(), capture.packet(0).time_ns), (1, 1000), "microseconds, as without the option");
}

#[test]
fn only_regular_files_up_to_the_limit_are_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pcap");
    let load = |path: &Path, limit| Capture::load(path, limit).map(|capture| capture.len()).map_err(|e| e.to_string());
    assert!(load(&path, 100).unwrap_err().contains("No such file"));
    let bytes = classic(&[(1, vec![1; 60])]);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(load(&path, 100), Ok(1));
    assert_eq!(load(&path, 99).unwrap_err(), "it has 100 bytes, more than the 99 that may be loaded");
    assert!(load(directory.path(), 100).unwrap_err().starts_with("it is a directory; only regular files"));
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(load(&pipe, 100).unwrap_err().starts_with("it is a pipe or a device"));
    assert!(load(Path::new("/dev/zero"), 100).unwrap_err().starts_with("it is a pipe or a device"));
}

/// A file with everything in it.
fn sample(order: Order, ng: bool) -> Vec<u8> {
    if !ng {
        return classic_as(order, 0xA1B2_C3D4, 1, &[(1, vec![1; 60]), (2, vec![2; 90])]);
    }
    let mut file = pcapng(order);
    file.interface(1, &[(2, b"eth0"), (9, &[9]), (14, &[1; 8])]);
    file.packet(0, 1, &[1; 61], 1);
    file.block(3, |file| file.word(0));
    file.block(4, |file| file.word(0));
    file.packet(0, u64::MAX, &[2; 90], 2);
    file.bytes
}

proptest! {
    /// Whatever is done to a file, it is read or refused, and what is read lies inside of it.
    #[test]
    fn mangled_files_are_read_or_refused(
        big: bool,
        ng: bool,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end: Option<prop::sample::Index>,
    ) {
        let mut bytes = sample(if big { Order::Big } else { Order::Little }, ng);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len() + 1));
        }
        let size = bytes.len();
        if let Ok(capture) = Capture::parse(bytes) {
            let total: usize = capture.packets().map(|packet| packet.data.len()).sum();
            prop_assert!(total <= size);
            prop_assert!(capture.packets().all(|packet| packet.interface < capture.interfaces().len()));
        }
    }
}
