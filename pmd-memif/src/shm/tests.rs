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

/// Large packets between two threads, as between two processes, through trials of the ways to write them.
#[test]
fn what_is_written_past_the_caches_is_what_the_other_end_reads() {
    const PACKETS: usize = 100_000;
    let bytes = 1 << 16;
    let file = memfd(bytes);
    nix::sys::uio::pwrite(&file, &COOKIE.to_le_bytes(), 0).unwrap();
    let own = OwnSlots { region: 0, first: 1024, stride: 1600, capacity: 1536, mask: 31 };
    let end = || {
        let regions = Regions::map(std::iter::once((&file, bytes))).unwrap();
        let (place, size) = (Place { region: 0, offset: 0 }, RingSize::from_log2(4));
        let shm = ShmRing::new(&regions, place, size, CacheLine::B64, memfd(0)).unwrap().with_peer_apart(true);
        (shm, size, Pool::new(&PoolConfig { size: 64, ..PoolConfig::default() }).unwrap())
    };
    let contents = |number: usize| (0..300 + number % 1200).map(move |i| (number * 7 + i) as u8);
    let (shm, size, pool) = end();
    let mut receiver = RxRing::new(shm, size, PeersSlots);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (shm, size, pool) = end();
            let mut sender = TxRing::new(shm, size, own, 2048);
            let (mut burst, mut tally, mut number) = (Burst::with_limit(8), TxTally::default(), 0);
            while number < PACKETS || !burst.is_empty() {
                while number < PACKETS && burst.room() > 0 {
                    let data: Vec<_> = contents(number).collect();
                    burst.push(pool.alloc_packet(&data).unwrap()).unwrap();
                    number += 1;
                }
                let taken = sender.send(&burst, &mut tally).taken;
                burst.free_front(taken);
                std::thread::yield_now();
            }
            assert!((1..PACKETS as u64 / 2).contains(&tally.streamed), "{} were streamed", tally.streamed);
        });
        let (mut burst, mut number) = (Burst::new(), 0);
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
