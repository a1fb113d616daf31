//! Both ends of a ring against each other, and each end against a peer that does what it likes.
//!
//! The numbers in the tests' names are those of the conformance statements.

use std::collections::VecDeque;
use std::rc::Rc;

use pmd_core::{Burst, Mbuf, Pool, PoolConfig};
use proptest::prelude::*;

use super::fake_memory::FakeRing;
use super::posted::PostedBuffers;
use super::rotated::RotatedBuffers;
use super::rx::{RxRing, RxTally};
use super::tx::{Sent, TxFault, TxRing, TxTally};
use super::ways::Way;
use super::{DESC_NEXT, Descriptor, OwnSlots, PeersSlots, RING_MASK_INT, RingSize, interrupt};

/// Which end owns the memory: the sender in S2M, the receiver in M2S.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    S2m,
    M2s,
}

use Direction::{M2s, S2m};

/// A ring with both its ends, and a pool.
pub(super) struct Pair {
    pub(super) ring: Rc<FakeRing>,
    pub(super) own: OwnSlots,
    tx: Tx,
    rx: Rx,
    pool: Pool,
}

/// The sending end, on either side.
enum Tx {
    Client(TxRing<Rc<FakeRing>, OwnSlots>),
    Server(TxRing<Rc<FakeRing>, PeersSlots>),
}

/// The receiving end, on either side.
enum Rx {
    Client(RxRing<Rc<FakeRing>, PostedBuffers>),
    Rotated(RxRing<Rc<FakeRing>, RotatedBuffers>),
    Server(RxRing<Rc<FakeRing>, PeersSlots>),
}

impl Tx {
    fn send(&mut self, burst: &[Mbuf], tally: &mut TxTally) -> Sent {
        match self {
            Self::Client(ring) => ring.send(burst, tally),
            Self::Server(ring) => ring.send(burst, tally),
        }
    }
}

impl Rx {
    fn receive(&mut self, pool: &Pool, port: u16, burst: &mut Burst, tally: &mut RxTally) -> usize {
        match self {
            Self::Client(ring) => ring.receive(pool, port, burst, tally),
            Self::Rotated(ring) => ring.receive(pool, port, burst, tally),
            Self::Server(ring) => ring.receive(pool, port, burst, tally),
        }
    }
}

const CAPACITY: u32 = 128;

impl Pair {
    fn new(direction: Direction, log2: u8) -> Self {
        Self::with_buffers(direction, log2, log2, CAPACITY)
    }

    /// Of two processes when there are more buffers than slots.
    pub(super) fn with_buffers(direction: Direction, log2: u8, log2_buffers: u8, capacity: u32) -> Self {
        let (ring, size, own) = FakeRing::with_buffers(log2, log2_buffers, capacity, capacity + 8);
        let memory = || Rc::clone(&ring);
        let (rx, tx) = match direction {
            S2m => (
                Rx::Server(RxRing::new(memory(), size, PeersSlots)),
                Tx::Client(TxRing::new(memory(), size, own, 2048)),
            ),
            M2s => {
                let rx = if log2_buffers > log2 {
                    Rx::Rotated(RxRing::new(memory(), size, RotatedBuffers::new(own, size)))
                } else {
                    Rx::Client(RxRing::new(memory(), size, PostedBuffers::new(own, size)))
                };
                (rx, Tx::Server(TxRing::new(memory(), size, PeersSlots, 2048)))
            }
        };
        Self { ring, own, tx, rx, pool: pool(100) }
    }

    /// The same with mbufs that hold `data_room` bytes, not 100.
    pub(super) fn with_data_room(self, data_room: usize) -> Self {
        Self { pool: pool(data_room), ..self }
    }

    fn packet(&self, data: &[u8]) -> Mbuf {
        let mut mbuf = self.pool.alloc().unwrap();
        let mut parts = data.chunks(self.pool.data_room());
        if let Some(part) = parts.next() {
            mbuf.append(part.len()).unwrap().copy_from_slice(part);
        }
        for part in parts {
            let mut next = self.pool.alloc().unwrap();
            next.append(part.len()).unwrap().copy_from_slice(part);
            mbuf.chain(next).unwrap();
        }
        mbuf
    }

    /// Has large packets written that way, where the ends are two processes.
    pub(super) fn go(&mut self, way: Way) {
        match &mut self.tx {
            Tx::Client(ring) => ring.ways().go(way),
            Tx::Server(ring) => ring.ways().go(way),
        }
    }

    /// Sends the packets and says how many were taken.
    pub(super) fn send(&mut self, packets: &[&[u8]]) -> (usize, TxTally) {
        let mbufs: Vec<_> = packets.iter().map(|data| self.packet(data)).collect();
        let mut tally = TxTally::default();
        let sent = self.tx.send(&mbufs, &mut tally);
        assert_eq!(sent.fault, None);
        (sent.taken, tally)
    }

    fn receive(&mut self) -> (Vec<Vec<u8>>, RxTally) {
        let (mut burst, mut tally) = (Burst::with_limit(32), RxTally::default());
        let n = self.rx.receive(&self.pool, 5, &mut burst, &mut tally);
        assert_eq!((n, n as u64), (burst.len(), tally.packets));
        assert!(burst.iter().all(|mbuf| mbuf.port() == 5));
        (burst.iter().map(contents).collect(), tally)
    }

    /// What arrives, with nothing counted but packets and bytes.
    pub(super) fn receive_clean(&mut self) -> Vec<Vec<u8>> {
        let (packets, tally) = self.receive();
        assert_eq!(RxTally { packets: tally.packets, bytes: tally.bytes, ..RxTally::default() }, tally);
        packets
    }

    pub(super) fn slot(&self, slot: u16) -> Descriptor {
        self.ring.descriptors[usize::from(slot)].get()
    }

    fn set_slot(&self, slot: u16, change: impl FnOnce(&mut Descriptor)) {
        let mut descriptor = self.slot(slot);
        change(&mut descriptor);
        self.ring.descriptors[usize::from(slot)].set(descriptor);
    }

    pub(super) fn assert_whole(&self) {
        assert_eq!(self.pool.available(), self.pool.size());
    }
}

fn pool(data_room: usize) -> Pool {
    let config = PoolConfig { size: 700, data_room, cache: 8, ..PoolConfig::default() };
    Pool::new(&config).unwrap()
}

fn contents(mbuf: &Mbuf) -> Vec<u8> {
    let mut data = vec![0; mbuf.packet_len()];
    assert_eq!(mbuf.copy_to(&mut data), data.len());
    data
}

fn bytes(len: usize, mark: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31) ^ mark).collect()
}

#[test]
fn s35_s57_a_client_posts_every_buffer_whole_and_again_after_use() {
    let mut pair = Pair::new(M2s, 2);
    let empty = |slot| pair.own.empty(slot);
    let posted: Vec<_> = (0..4).map(empty).collect();
    assert_eq!((0..4).map(|slot| pair.slot(slot)).collect::<Vec<_>>(), posted);
    assert_eq!((pair.ring.head.get(), pair.ring.tail.get()), (4, 0));
    pair.send(&[&[1; 200], &[2; 60]]);
    // The server leaves nonsense beside what it may write.
    pair.set_slot(0, |d| (d.offset, d.region) = (9999, 77));
    assert_eq!(pair.receive_clean(), [vec![1; 200], vec![2; 60]]);
    assert_eq!((0..4).map(|slot| pair.slot(slot)).collect::<Vec<_>>(), posted, "healed in full");
    assert_eq!(pair.ring.head.get(), 4 + 3);
}

#[test]
fn s42_each_end_stores_only_its_own_index() {
    for direction in [S2m, M2s] {
        let mut pair = Pair::new(direction, 3);
        let before = (pair.ring.head.get(), pair.ring.tail.get());
        pair.send(&[b"x"]);
        let sent = (pair.ring.head.get(), pair.ring.tail.get());
        assert_eq!((sent.0 != before.0, sent.1 != before.1), (direction == S2m, direction == M2s));
        pair.receive_clean();
        let received = (pair.ring.head.get(), pair.ring.tail.get());
        assert_eq!((received.0 != sent.0, received.1 != sent.1), (direction == M2s, direction == S2m));
    }
}

#[test]
fn s43_an_index_that_the_peer_overwrites_does_not_move_ours() {
    let mut pair = Pair::new(S2m, 3);
    pair.send(&[b"a", b"b"]);
    pair.receive_clean();
    pair.ring.tail.set(777);
    pair.ring.head.set(2);
    assert_eq!(pair.receive_clean().len(), 0);
    pair.ring.tail.set(2);
    pair.send(&[b"c"]);
    assert_eq!((pair.ring.head.get(), pair.receive_clean()), (3, vec![b"c".to_vec()]));
}

#[test]
fn s45_s46_indices_wrap_with_the_ring_full_of_packets_in_flight() {
    for (direction, log2) in [(S2m, 1), (M2s, 1), (S2m, 4), (M2s, 4), (S2m, 5), (M2s, 5)] {
        let mut pair = Pair::new(direction, log2);
        let (size, mut sent, mut received) = (1_u32 << log2, 0_u32, 0_u32);
        let rounds = if cfg!(miri) { 20 } else { 70_000 / size };
        for _ in 0..rounds {
            let packets: Vec<_> = (0..size + 1).map(|i| (sent + i).to_le_bytes()).collect();
            let packets: Vec<&[u8]> = packets.iter().map(<[u8; 4]>::as_slice).collect();
            let (taken, tally) = pair.send(&packets);
            assert_eq!((taken as u32, tally.full), (size, 1), "every slot can be in flight, and no more");
            sent += taken as u32;
            for packet in pair.receive_clean() {
                assert_eq!(packet, received.to_le_bytes());
                received += 1;
            }
        }
        assert_eq!(sent, received);
        pair.assert_whole();
    }
}

#[test]
#[cfg_attr(miri, ignore = "millions of packets")]
fn s45_every_ring_size_wraps_without_loss_or_duplicate() {
    for log2 in 1..=14 {
        for (direction, spare) in [(S2m, 0), (M2s, 0), (S2m, 2), (M2s, 2)] {
            let mut pair = Pair::with_buffers(direction, log2, log2 + spare, CAPACITY);
            let (mut sent, mut received) = (0_u32, 0_u32);
            let arrive = |pair: &mut Pair, received: &mut u32| {
                for packet in pair.receive_clean() {
                    assert_eq!(packet, received.to_le_bytes());
                    *received += 1;
                }
            };
            while received < 66_000 {
                let packets: Vec<_> = (0..36).map(|i| (sent + i).to_le_bytes()).collect();
                let packets: Vec<&[u8]> = packets.iter().map(<[u8; 4]>::as_slice).collect();
                let (taken, tally) = pair.send(&packets);
                assert_eq!(tally.streamed, 0, "small packets stay in the caches");
                sent += taken as u32;
                arrive(&mut pair, &mut received);
            }
            while received < sent {
                arrive(&mut pair, &mut received);
            }
            assert!(pair.receive_clean().is_empty());
        }
    }
}

#[test]
fn s47_a_head_too_far_ahead_is_clamped_and_counted() {
    let mut pair = Pair::new(S2m, 2);
    for ahead in [5, 32768, 65535] {
        let start = pair.ring.tail.get();
        pair.ring.head.set(start.wrapping_add(ahead));
        let (packets, tally) = pair.receive();
        assert_eq!((packets.len(), tally.overrun, tally.bad_length), (0, 1, 4), "four empty slots, dropped");
        assert_eq!(pair.ring.tail.get(), start.wrapping_add(4));
    }
}

#[test]
fn s48_a_tail_beyond_what_was_posted_is_clamped_and_counted() {
    let mut pair = Pair::new(M2s, 2);
    pair.ring.tail.set(9);
    let (packets, tally) = pair.receive();
    assert_eq!((packets.len(), tally.overrun), (4, 1));
    assert_eq!(pair.ring.head.get(), 8);
}

#[test]
fn s49_a_server_fills_no_more_than_the_ring_holds() {
    let mut pair = Pair::new(M2s, 2);
    pair.ring.head.set(60_000);
    let (taken, tally) = pair.send(&[b"a", b"b", b"c", b"d", b"e"]);
    assert_eq!((taken, tally.overrun >= 1, pair.ring.tail.get()), (4, true, 4));
}

#[test]
fn a_tail_that_claims_unsent_packets_stops_a_client_until_it_is_possible_again() {
    let mut pair = Pair::new(S2m, 2);
    pair.send(&[b"a"]);
    pair.ring.tail.set(3);
    let (taken, tally) = pair.send(&[b"b", b"c", b"d", b"e"]);
    assert_eq!((taken, tally.overrun >= 1, pair.ring.head.get()), (0, true, 1));
    pair.ring.tail.set(1);
    assert_eq!(pair.send(&[b"b", b"c", b"d", b"e"]).0, 4);
}

#[test]
fn s51_a_bad_descriptor_costs_exactly_its_packet() {
    type Change = fn(&mut Descriptor);
    type Count = fn(&RxTally) -> u64;
    let cases: [(Change, Count); 8] = [
        (|d| d.region = 2, |t| t.bad_region),
        (|d| d.region = 65535, |t| t.bad_region),
        (|d| d.offset = u32::MAX, |t| t.bad_range),
        (|d| d.offset = 100_000, |t| t.bad_range),
        (|d| d.region = 0, |t| t.bad_range),
        (|d| d.length = 0, |t| t.bad_length),
        (|d| d.length = 65536, |t| t.bad_length),
        (|d| d.length = u32::MAX, |t| t.bad_length),
    ];
    for (change, count) in cases {
        for broken in 0..3 {
            let mut pair = Pair::new(S2m, 3);
            pair.send(&[b"p0", b"p1", b"p2"]);
            pair.set_slot(broken, change);
            let (packets, tally) = pair.receive();
            let expected: Vec<_> = (0..3).filter(|i| *i != broken).map(|i| format!("p{i}").into_bytes()).collect();
            assert_eq!((packets, count(&tally)), (expected, 1));
            assert_eq!(pair.ring.tail.get(), 3, "its slot is released as well");
            pair.assert_whole();
        }
    }
}

#[test]
fn s52_a_bad_segment_anywhere_drops_the_whole_packet_and_the_next_one_arrives() {
    for broken in 0..3 {
        let mut pair = Pair::new(S2m, 3);
        pair.send(&[&bytes(300, 1), b"next"]);
        pair.set_slot(broken, |d| d.offset = u32::MAX - 5);
        let (packets, tally) = pair.receive();
        assert_eq!((packets, tally.bad_range, tally.packets), (vec![b"next".to_vec()], 1, 1));
        pair.assert_whole();
    }
}

#[test]
fn s53_an_unfinished_chain_waits_and_an_endless_one_is_dropped() {
    let mut pair = Pair::new(S2m, 3);
    pair.send(&[&bytes(300, 9)]);
    pair.ring.head.set(2);
    assert_eq!(pair.receive_clean().len(), 0);
    assert_eq!(pair.ring.tail.get(), 0, "not consumed");
    pair.ring.head.set(3);
    assert_eq!(pair.receive_clean(), [bytes(300, 9)]);
    for slot in 0..8 {
        pair.set_slot(slot, |d| (d.flags, d.length, d.region) = (DESC_NEXT, 10, 1));
    }
    pair.ring.head.set(3 + 8);
    let (packets, tally) = pair.receive();
    assert_eq!((packets.len(), tally.too_long, pair.ring.tail.get()), (0, 1, 11), "no stall");
}

#[test]
fn s53_a_chain_beyond_65535_bytes_is_dropped() {
    let (ring, size, _) = FakeRing::new(3, 20_000, 0);
    let mut rx = RxRing::new(Rc::clone(&ring), size, PeersSlots);
    let pool = Pool::new(&PoolConfig { size: 64, data_room: 20_000, ..PoolConfig::default() }).unwrap();
    for slot in 0..4 {
        let flags = if slot < 3 { DESC_NEXT } else { 0 };
        ring.descriptors[slot].set(Descriptor { flags, region: 1, length: 16_384, offset: 0 });
    }
    ring.head.set(4);
    let (mut burst, mut tally) = (Burst::new(), RxTally::default());
    assert_eq!((rx.receive(&pool, 0, &mut burst, &mut tally), tally.too_long, ring.tail.get()), (0, 1, 4));
    assert_eq!(pool.available(), 64);
}

#[test]
fn s54_s55_flags_are_written_in_full_and_a_chain_is_published_at_once() {
    for direction in [S2m, M2s] {
        let mut pair = Pair::new(direction, 3);
        for slot in 0..8 {
            pair.set_slot(slot, |d| d.flags = 0xFFFF);
        }
        pair.send(&[&bytes(300, 3), b"x"]);
        let flags: Vec<_> = (0..4).map(|slot| pair.slot(slot).flags).collect();
        let lengths: Vec<_> = (0..4).map(|slot| pair.slot(slot).length).collect();
        assert_eq!((flags, lengths), (vec![1, 1, 0, 0], vec![128, 128, 44, 1]));
    }
}

#[test]
fn s55_s56_a_chain_fits_exactly_or_leaves_the_ring_untouched() {
    for direction in [S2m, M2s] {
        let mut pair = Pair::new(direction, 2);
        let index = |pair: &Pair| if direction == S2m { pair.ring.head.get() } else { pair.ring.tail.get() };
        pair.send(&[b"x"]);
        let before: Vec<_> = (1..4).map(|slot| pair.slot(slot)).collect();
        assert_eq!(pair.send(&[&bytes(385, 1)]).0, 0, "four slots are needed, three are free");
        assert_eq!((index(&pair), (1..4).map(|slot| pair.slot(slot)).collect::<Vec<_>>()), (1, before));
        assert_eq!(pair.send(&[&bytes(384, 2), b"y"]).0, 1, "an exact fit leaves nothing free");
        assert_eq!(pair.receive_clean(), [b"x".to_vec(), bytes(384, 2)]);
        let (taken, tally) = pair.send(&[&bytes(513, 3), b"z"]);
        assert_eq!((taken, tally.too_long), (2, 1), "what can never fit is dropped, not retried for ever");
        assert_eq!(pair.receive_clean(), [b"z".to_vec()]);
        pair.assert_whole();
    }
}

#[test]
fn s57_a_server_clears_stale_next_flags_after_use() {
    let mut pair = Pair::new(S2m, 3);
    pair.send(&[&bytes(300, 3), b"x"]);
    pair.set_slot(3, |d| d.flags = 0x8000);
    pair.receive();
    assert!((0..8).all(|slot| pair.slot(slot).flags == 0));
}

#[test]
fn s58_a_posted_buffer_of_length_0_or_outside_the_regions_is_a_fault_of_the_link() {
    let faults: [(fn(&mut Descriptor), TxFault); 4] = [
        (|d| d.length = 0, TxFault::NoCapacity),
        (|d| d.region = 9, TxFault::BadPlace),
        (|d| d.offset = u32::MAX, TxFault::BadPlace),
        (|d| (d.length, d.offset) = (u32::MAX, u32::MAX), TxFault::BadPlace),
    ];
    for (change, fault) in faults {
        for data in [&b"small"[..], &[7; 300]] {
            let mut pair = Pair::new(M2s, 3);
            pair.set_slot(1, change);
            let mbufs = [pair.packet(b"first"), pair.packet(data)];
            let sent = pair.tx.send(&mbufs, &mut TxTally::default());
            assert_eq!((sent.taken, sent.fault), (1, Some(fault)));
            assert_eq!(pair.receive_clean(), [b"first".to_vec()], "what was sent before the fault arrives");
        }
    }
}

#[test]
fn s58_a_servers_segments_honour_each_capacity() {
    let mut pair = Pair::new(M2s, 3);
    for (slot, capacity) in [(0, 10), (1, 1), (2, 100)] {
        pair.set_slot(slot, |d| d.length = capacity);
    }
    pair.send(&[&bytes(50, 1)]);
    assert_eq!([0, 1, 2].map(|slot| pair.slot(slot).length), [10, 1, 39]);
    assert_eq!(pair.receive_clean(), [bytes(50, 1)]);
}

#[test]
fn s59_s60_a_server_reads_places_anew_and_leaves_them_alone() {
    let mut pair = Pair::new(M2s, 2);
    pair.set_slot(0, |d| d.offset = 601);
    let posted = pair.slot(0);
    pair.send(&[b"headroom"]);
    assert_eq!(pair.ring.regions[1].borrow()[601..609], *b"headroom");
    assert_eq!((pair.slot(0).offset, pair.slot(0).region), (posted.offset, posted.region));
}

#[test]
fn large_packets_arrive_in_order_whatever_stands_between_them() {
    for (direction, log2_buffers) in [(S2m, 4), (M2s, 4), (S2m, 6), (M2s, 6)] {
        let mut pair = Pair::with_buffers(direction, 4, log2_buffers, 2048).with_data_room(3000);
        // Some take two slots, and some go ahead of them, or behind.
        for lengths in [&[1500; 8][..], &[900, 2048, 1, 2049, 1500, 3000, 64, 800], &[60, 1500, 2900, 769], &[1500; 40]]
        {
            let packets: Vec<_> = lengths.iter().zip(1..).map(|(len, mark)| bytes(*len, mark)).collect();
            let packets: Vec<_> = packets.iter().map(Vec::as_slice).collect();
            let (taken, tally) = pair.send(&packets);
            assert_eq!((taken, tally.packets), (packets.len().min(16), taken as u64));
            assert_eq!(tally.bytes, packets[..taken].iter().map(|packet| packet.len() as u64).sum());
            assert_eq!(pair.receive_clean(), packets[..taken], "{direction:?}, {lengths:?}");
        }
        pair.assert_whole();
    }
}

#[test]
fn a_slot_among_others_that_holds_less_splits_its_packet_and_no_other() {
    let mut pair = Pair::with_buffers(M2s, 3, 3, 2048).with_data_room(3000);
    pair.set_slot(2, |slot| slot.length = 100);
    let packets: Vec<_> = (0..6).map(|mark| bytes(1500, mark)).collect();
    let (taken, tally) = pair.send(&packets.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!((taken, tally.bytes, pair.ring.tail.get()), (6, 6 * 1500, 7));
    assert_eq!([1, 2, 3, 4].map(|slot| pair.slot(slot).length), [1500, 100, 1400, 1500]);
    assert_eq!(pair.receive_clean(), packets);
    pair.assert_whole();
}

#[test]
fn s63_the_peer_is_interrupted_only_when_it_asks() {
    let mut pair = Pair::new(S2m, 3);
    assert_eq!(pair.ring.flags.get(), RING_MASK_INT, "statement 64: a poller masks its own ring");
    pair.send(&[b"x"]);
    assert_eq!(interrupt::send(&pair.ring), None);
    pair.ring.flags.set(0);
    assert_eq!((interrupt::send(&pair.ring), pair.ring.interrupts.get()), (Some(true), 1));
}

#[test]
fn s68_packets_without_data_are_never_emitted_and_runts_are_not_padded() {
    let mut pair = Pair::new(S2m, 3);
    let (taken, tally) = pair.send(&[b"", b"r"]);
    assert_eq!((taken, tally.empty, tally.packets), (2, 1, 1));
    assert_eq!(pair.receive_clean(), [b"r".to_vec()]);
}

#[test]
fn s69_segments_stay_below_the_cap() {
    let (ring, size, own) = FakeRing::new(3, 4000, 4000);
    let mut tx = TxRing::new(Rc::clone(&ring), size, own, 2048);
    let pool = Pool::new(&PoolConfig { size: 8, data_room: 4000, ..PoolConfig::default() }).unwrap();
    let mut mbuf = pool.alloc().unwrap();
    mbuf.append(3000).unwrap();
    tx.send(&[mbuf], &mut TxTally::default());
    assert_eq!([0, 1].map(|slot: usize| ring.descriptors[slot].get().length), [2048, 952]);
}

#[test]
fn nothing_of_what_an_mbuf_held_before_is_in_a_received_packet() {
    for direction in [S2m, M2s] {
        let mut pair = Pair::new(direction, 3);
        let sent = [bytes(30, 1), bytes(300, 2), bytes(90, 3)];
        assert_eq!(pair.send(&sent.each_ref().map(Vec::as_slice)).0, 3, "one of them a chain");
        // The mbufs to be received into: with data, and less headroom than a fresh one has.
        let mut used = Burst::new();
        pair.pool.alloc_bulk(&mut used, 256);
        used.iter_mut().for_each(|mbuf| mbuf.prepend(100).unwrap().fill(0xEE));
        used.clear();
        assert_eq!(pair.receive_clean(), sent, "{direction:?}");
        pair.assert_whole();
    }
}

#[test]
fn an_exhausted_pool_leaves_packets_in_the_ring() {
    let mut pair = Pair::new(S2m, 4);
    pair.send(&[b"a", &bytes(300, 4), b"b"]);
    let hoard: Vec<_> = std::iter::from_fn(|| pair.pool.alloc()).collect();
    let (packets, tally) = pair.receive();
    assert_eq!((packets.len(), tally.nombuf, pair.ring.tail.get()), (0, 1, 0));
    drop(hoard);
    assert_eq!(pair.receive_clean(), [b"a".to_vec(), bytes(300, 4), b"b".to_vec()]);
}

/// What a peer that does what it likes does to a ring.
#[derive(Debug, Clone)]
enum Mischief {
    Head(u16),
    Tail(u16),
    Flags(u16),
    Slot(u16, Descriptor),
    Nothing,
}

fn mischief() -> impl Strategy<Value = Mischief> {
    let word = prop_oneof![Just(0), Just(1), Just(7), Just(9), Just(32768), Just(65535), any::<u16>()];
    let long = prop_oneof![Just(0), Just(1), Just(129), Just(65536), Just(u32::MAX), 0..3000_u32, any::<u32>()];
    let slot =
        (0..8_u16, word.clone(), word.clone(), long.clone(), long).prop_map(|(slot, flags, region, length, offset)| {
            Mischief::Slot(slot, Descriptor { flags, region: region % 4, length, offset })
        });
    prop_oneof![
        word.clone().prop_map(Mischief::Head),
        word.clone().prop_map(Mischief::Tail),
        word.prop_map(Mischief::Flags),
        slot.clone(),
        slot,
        Just(Mischief::Nothing)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { ProptestConfig::default().cases }, failure_persistence: None, ..ProptestConfig::default() })]

    /// An honest pair delivers every packet once, in order and unchanged, whatever the sizes and however bursts fall.
    #[test]
    fn honest_ends_lose_nothing(
        m2s in any::<bool>(),
        log2 in 1..6_u8,
        spare in 0..3_u8,
        steps in prop::collection::vec((prop::collection::vec(1..600_usize, 0..12), any::<bool>()), 1..40),
    ) {
        let mut pair = Pair::with_buffers(if m2s { M2s } else { S2m }, log2, log2 + spare, CAPACITY);
        let mut expected = VecDeque::new();
        for (number, (lengths, receive)) in steps.iter().enumerate() {
            let packets: Vec<_> = lengths.iter().map(|len| bytes(*len, number as u8)).collect();
            let (taken, tally) = pair.send(&packets.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(tally.packets + tally.too_long, taken as u64);
            let ring_bytes = (CAPACITY << log2) as usize;
            expected.extend(packets.into_iter().take(taken).filter(|packet| packet.len() <= ring_bytes));
            if *receive {
                for packet in pair.receive_clean() {
                    prop_assert_eq!(Some(packet), expected.pop_front());
                }
            }
        }
        loop {
            let packets = pair.receive_clean();
            if packets.is_empty() { break; }
            for packet in packets {
                prop_assert_eq!(Some(packet), expected.pop_front());
            }
        }
        prop_assert!(expected.is_empty());
        pair.assert_whole();
    }

    /// Whatever is written into the ring at whatever time: no panic, no mbuf lost, never more packets than slots.
    #[test]
    fn a_hostile_peer_can_only_hurt_its_own_packets(
        m2s in any::<bool>(),
        spare in 0..3_u8,
        steps in prop::collection::vec((mischief(), prop::collection::vec(0..600_usize, 0..6)), 1..60),
    ) {
        let mut pair = Pair::with_buffers(if m2s { M2s } else { S2m }, 3, 3 + spare, CAPACITY);
        for (mischief, lengths) in steps {
            match mischief {
                Mischief::Head(index) => pair.ring.head.set(index),
                Mischief::Tail(index) => pair.ring.tail.set(index),
                Mischief::Flags(flags) => pair.ring.flags.set(flags),
                Mischief::Slot(slot, descriptor) => pair.set_slot(slot, |d| *d = descriptor),
                Mischief::Nothing => {}
            }
            let mbufs: Vec<_> = lengths.iter().map(|len| pair.packet(&bytes(*len, 1))).collect();
            let sent = pair.tx.send(&mbufs, &mut TxTally::default());
            prop_assert!(sent.taken <= mbufs.len());
            drop(mbufs);
            let (packets, _) = pair.receive();
            prop_assert!(packets.len() <= usize::from(RingSize::from_log2(3).get()));
            prop_assert!(packets.iter().all(|packet| (1..=65535).contains(&packet.len())));
        }
        pair.assert_whole();
    }
}
