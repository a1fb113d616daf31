//! Memory as peers lay it out, and what is done to it: on files of our own.

use nix::sys::memfd::{MFdFlags, memfd_create};
use pmd_core::{Burst, Pool, PoolConfig};

use super::*;
use crate::ring::rx::{RxRing, RxTally};
use crate::ring::tx::{TxRing, TxTally};
use crate::ring::{Descriptor, OwnSlots, PeersSlots, RingMemory};

fn memfd(len: u64) -> OwnedFd {
    let file = memfd_create(c"shm test", MFdFlags::MFD_CLOEXEC).unwrap();
    nix::unistd::ftruncate(&file, len as i64).unwrap();
    file
}

fn ring(line: CacheLine, offset: u32) -> (ShmRing, OwnedFd) {
    let file = memfd(8192);
    nix::sys::uio::pwrite(&file, &COOKIE.to_le_bytes(), offset.into()).unwrap();
    let regions = Regions::map(std::iter::once((&file, 8192))).unwrap();
    let place = Place { region: 0, offset };
    (ShmRing::new(&regions, place, RingSize::from_log2(3), line, memfd(0)).unwrap(), file)
}

fn file_bytes(file: &OwnedFd, at: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    nix::sys::uio::pread(file, &mut bytes, at as i64).unwrap();
    bytes
}

#[test]
fn s39_the_header_and_descriptors_stand_where_the_cache_line_says() {
    for (line, tail, descriptors) in [(CacheLine::B64, 64, 128), (CacheLine::B128, 128, 256)] {
        let (ring, file) = ring(line, 4);
        ring.set_flags(1);
        ring.set_head(0x0203);
        ring.set_tail(0x0405);
        assert_eq!(file_bytes(&file, 4, 8), [0x20, 0x1F, 0xE3, 0x03, 1, 0, 3, 2]);
        assert_eq!(file_bytes(&file, 4 + tail, 2), [5, 4]);
        ring.set_descriptor(2, Descriptor { flags: 1, region: 2, length: 3, offset: 4 });
        let bytes = file_bytes(&file, 4 + descriptors + 32, 16);
        assert_eq!(bytes, [1, 0, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ring.descriptor(2), Descriptor { flags: 1, region: 2, length: 3, offset: 4 });
        ring.set_filled(2, Descriptor { flags: 0, region: 2, length: 9, offset: 77 });
        ring.clear_flags(2);
        assert_eq!(ring.descriptor(2), Descriptor { flags: 0, region: 2, length: 9, offset: 4 });
        assert_eq!((ring.head(), ring.tail(), ring.flags()), (0x0203, 0x0405, 1));
        let words = ring.words();
        drop(ring);
        assert_eq!((words.head(), words.tail(), words.flags()), (0x0203, 0x0405, 1));
    }
}

/// Whether the kernel was told that huge pages are welcome in the mapping that begins at `base`.
fn welcomes_huge_pages(base: NonNull<u8>) -> bool {
    let mappings = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let begin = format!("{:x}-", base.addr());
    let mut lines = mappings.lines().skip_while(|line| !line.starts_with(&begin));
    let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).expect("it is mapped");
    flags.split_whitespace().any(|flag| flag == "hg")
}

#[test]
fn large_memory_welcomes_huge_pages_where_the_kernel_has_them() {
    let has_them = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
    let regions = Regions::map(std::iter::once((&memfd(LINK), LINK))).unwrap();
    assert_eq!(welcomes_huge_pages(regions.extent(0).unwrap().base), has_them, "a region");
    for shareable in [false, true] {
        let pool = Pool::new(&PoolConfig { size: 2048, shareable, ..PoolConfig::default() }).unwrap();
        assert_eq!(welcomes_huge_pages(pool.segment().base()), has_them, "a pool, shareable: {shareable}");
    }
}

#[test]
fn a_cookie_is_put_within_a_region_and_makes_a_ring() {
    let file = memfd(8192);
    let regions = Regions::map(std::iter::once((&file, 8192))).unwrap();
    let place = Place { region: 0, offset: 4 };
    let ring = || ShmRing::new(&regions, place, RingSize::from_log2(3), CacheLine::B64, memfd(0));
    assert!(matches!(ring(), Err(ShmError::Cookie { cookie: 0, .. })));
    regions.put_cookie(place).unwrap();
    assert_eq!(file_bytes(&file, 4, 4), [0x20, 0x1F, 0xE3, 0x03]);
    ring().unwrap();
    for outside in [Place { region: 0, offset: 8189 }, Place { region: 1, offset: 0 }] {
        assert!(matches!(regions.put_cookie(outside), Err(ShmError::RingOutside { .. })), "{outside:?}");
    }
}

const LINK: u64 = 8 << 20;

/// An end of a ring of 16 slots towards another process, in `file`.
fn end_apart(file: &OwnedFd) -> ShmRing {
    let regions = Regions::map(std::iter::once((file, LINK))).unwrap();
    let (place, size) = (Place { region: 0, offset: 0 }, RingSize::from_log2(4));
    ShmRing::new(&regions, place, size, CacheLine::B64, memfd(0)).unwrap().with_peer_apart(true)
}

fn link_file() -> OwnedFd {
    let file = memfd(LINK);
    nix::sys::uio::pwrite(&file, &COOKIE.to_le_bytes(), 0).unwrap();
    file
}

/// Its sender's buffers, `mbufs` of which can be a pool.
fn buffers(mbufs: u32) -> OwnSlots {
    OwnSlots { region: 0, first: 1024, stride: 1728, capacity: 1536, mask: 31, mbufs }
}

fn sender(file: &OwnedFd, mbufs: u32) -> TxRing<ShmRing, OwnSlots> {
    TxRing::new(end_apart(file), RingSize::from_log2(4), buffers(mbufs), 2048)
}

fn some_pool() -> Pool {
    Pool::new(&PoolConfig { size: 64, ..PoolConfig::default() }).unwrap()
}

/// Sends large packets from `pool` to another thread, as between two processes, through trials of the ways to write them, which
/// take some of them past the caches.
fn send_through_trials(file: &OwnedFd, pool: &Pool, mut send: impl FnMut(&mut Burst, &mut TxTally) + Send) {
    const PACKETS: usize = 100_000;
    let contents = |number: usize| (0..300 + number % 1200).map(move |i| (number * 7 + i) as u8);
    let mut receiver = RxRing::new(end_apart(file), RingSize::from_log2(4), PeersSlots);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut burst, mut tally, mut number) = (Burst::with_limit(8), TxTally::default(), 0);
            while number < PACKETS || !burst.is_empty() {
                while number < PACKETS && burst.room() > 0 {
                    let data: Vec<_> = contents(number).collect();
                    burst.push(pool.alloc_packet(&data).unwrap()).unwrap();
                    number += 1;
                }
                send(&mut burst, &mut tally);
                std::thread::yield_now();
            }
            assert!((1..PACKETS as u64 / 2).contains(&tally.streamed), "{} were streamed", tally.streamed);
        });
        let (mut burst, mut number, pool) = (Burst::new(), 0, some_pool());
        while number < PACKETS {
            receiver.receive(&pool, 0, &mut burst, &mut RxTally::default());
            for packet in burst.iter() {
                assert!(packet.data().iter().copied().eq(contents(number)), "packet {number}");
                number += 1;
            }
            burst.clear();
            std::thread::yield_now();
        }
    });
}

#[test]
fn what_is_written_past_the_caches_is_what_the_other_end_reads() {
    let file = link_file();
    let mut sender = sender(&file, 0);
    send_through_trials(&file, &some_pool(), |burst, tally| {
        let taken = sender.send(burst, tally).taken;
        burst.free_front(taken);
    });
}

/// Mbufs of a pool that lies in the ring's buffers: rested, not rested, and copied past the caches.
#[test]
fn what_lies_in_a_rings_own_pool_is_what_the_other_end_reads() {
    let file = link_file();
    let mut sender = over_pool(sender(&file, 4000)).expect("it has mbufs");
    let pool = sender.pool().clone();
    send_through_trials(&file, &pool, |burst, tally| {
        sender.send(burst, tally);
    });
    drop(sender);
    assert_eq!((pool.size(), pool.available()), (4000, 4000));
}

#[test]
fn a_ring_sends_from_a_pool_of_its_own_only_where_it_has_one_and_nothing_is_under_way() {
    let file = link_file();
    for mbufs in [0, 1 << 20] {
        assert!(over_pool(sender(&file, mbufs)).is_err(), "{mbufs} mbufs do not lie in the region");
    }
    let mut sender = sender(&file, 100);
    let (mut packets, pool, mut receiver) =
        (Burst::new(), some_pool(), RxRing::new(end_apart(&file), RingSize::from_log2(4), PeersSlots));
    packets.push(pool.alloc_packet(b"under way").unwrap()).unwrap();
    sender.send(&packets, &mut TxTally::default());
    let sender = over_pool(sender).expect_err("a packet lies in one of them");
    let mut received = Burst::new();
    receiver.receive(&pool, 0, &mut received, &mut RxTally::default());
    let mut sender = over_pool(sender).expect("it has been consumed");
    let mut tally = TxTally::default();
    let own = sender.pool().clone();
    packets.push(own.alloc_packet(b"where it lies").unwrap()).unwrap();
    packets.push(own.alloc_packet(&[7; 4000]).unwrap()).unwrap();
    assert_eq!((sender.send(&mut packets, &mut tally).taken, packets.len()), (3, 0), "one from elsewhere is copied");
    receiver.receive(&pool, 0, &mut received, &mut RxTally::default());
    let lengths: Vec<_> = received.iter().map(pmd_core::Mbuf::packet_len).collect();
    assert_eq!((lengths, received[2].data()), (vec![9, 9, 13, 4000], &b"where it lies"[..]));
    assert!(own.available() < own.size(), "they are under way");
    let held = own.alloc_packet(b"outlives its link").unwrap();
    drop((sender, receiver, own));
    assert_eq!(held.data(), b"outlives its link");
    drop((held, packets, received));
    assert_eq!(pool.available(), pool.size());
}

#[test]
fn a_ring_that_goes_takes_its_pool_and_its_memory_along_with_packets_under_way() {
    let file = link_file();
    let mut sender = over_pool(sender(&file, 100)).expect("it has mbufs");
    let regions = Arc::downgrade(&sender.memory().regions);
    let mut packets = Burst::new();
    (0..8).for_each(|_| packets.push(sender.pool().alloc_packet(&[1; 300]).unwrap()).unwrap());
    assert_eq!(sender.send(&mut packets, &mut TxTally::default()).taken, 8);
    drop(sender);
    assert!(regions.upgrade().is_none(), "nobody has a handle on the pool any more, or an mbuf");
}

#[test]
fn s51_places_outside_the_regions_are_neither_read_nor_written() {
    let (ring, _file) = ring(CacheLine::B64, 0);
    let at = |region, offset| Place { region, offset };
    let mut room = [7; 64];
    assert_eq!(ring.read(at(1, 0), 1, &mut room), Err(BadPlace::Region));
    assert_eq!(ring.read(at(0, 8192), 1, &mut room), Err(BadPlace::Range));
    assert_eq!(ring.read(at(0, u32::MAX), 64, &mut room), Err(BadPlace::Range));
    assert_eq!(ring.write(at(0, 8190), &[1, 2, 3]), Err(BadPlace::Range));
    assert_eq!(room, [7; 64]);
    assert_eq!(ring.write(at(0, 8189), &[1, 2, 3]), Ok(()));
    assert_eq!(ring.read(at(0, 8189), 3, &mut room), Ok(()), "the very end, where whole blocks would not fit");
    assert_eq!(room[..4], [1, 2, 3, 7]);
    assert_eq!(ring.read(at(0, 8189 - 64), 3, &mut room), Ok(()));
    assert_eq!(room[..3], [0, 0, 0]);
}

#[test]
fn s24_s25_s27_memory_that_is_not_what_it_should_be_is_refused() {
    let file = memfd(4096);
    let short = Regions::map(std::iter::once((&file, 4097))).unwrap_err().to_string();
    assert_eq!(short, "region 0 is declared with 4097 bytes, but its file has 4096");
    let regions = Regions::map(std::iter::once((&file, 4096))).unwrap();
    nix::sys::uio::pwrite(&file, &COOKIE.to_le_bytes(), 4096 - 160).unwrap();
    let make = |region, offset, log2| {
        let (place, size) = (Place { region, offset }, RingSize::from_log2(log2));
        ShmRing::new(&regions, place, size, CacheLine::B64, memfd(0)).map(|_| ())
    };
    for (region, offset, log2) in [(1, 0, 1), (0, 2, 1), (0, 4096, 1), (0, u32::MAX - 3, 15), (0, 0, 8)] {
        let refused = make(region, offset, log2).unwrap_err();
        assert!(matches!(refused, ShmError::RingOutside { .. }), "{region} {offset} {log2}");
    }
    let cookie = make(0, 0, 1).unwrap_err().to_string();
    assert_eq!(cookie, "wrong cookie 0x0 on the ring at offset 0 of region 0, expected 0x3e31f20");
    assert!(make(0, 4096 - 160, 1).is_ok());
}
