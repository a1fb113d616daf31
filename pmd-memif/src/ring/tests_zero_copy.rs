//! The zero-copy ends of both sides against peers that do what they like with indices and descriptors.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use pmd_core::{Burst, Mbuf, Pool, PoolConfig};
use proptest::prelude::*;

use super::exported::ExportedPool;
use super::fake_memory::FakeRing;
use super::lending::{COPIED, LARGE, TRIAL};
use super::rx::{RxRing, RxTally};
use super::rx_borrow::{BorrowRxRing, LendSlots};
use super::rx_zero_copy::ZeroCopyRxRing;
use super::tests_snapshot::REWRITES;
use super::tx::TxTally;
use super::tx_zero_copy::ZeroCopyTxRing;
use super::ways::Way;
use super::{BadPlace, DESC_NEXT, Descriptor, PeersSlots};

fn pool(size: usize) -> ExportedPool {
    let config = PoolConfig { size, data_room: 256, cache: 0, ..PoolConfig::default() };
    ExportedPool::new(Pool::new(&config).unwrap(), 1)
}

fn receiver(log2: u8, mbufs: usize) -> (Rc<FakeRing>, ExportedPool, ZeroCopyRxRing<Rc<FakeRing>>) {
    let (ring, size, _) = FakeRing::new(log2, 0, 0);
    let export = pool(mbufs);
    let rx = ZeroCopyRxRing::new(Rc::clone(&ring), size, export.clone());
    (ring, export, rx)
}

/// A sender of segments up to `segment_max` bytes, its memory, and the pool it exports.
fn sender(log2: u8, mbufs: usize, segment_max: u32) -> (Rc<FakeRing>, ExportedPool, ZeroCopyTxRing<Rc<FakeRing>>) {
    let (ring, size, _) = FakeRing::new(log2, 0, 0);
    let export = pool(mbufs);
    let tx = ZeroCopyTxRing::new(Rc::clone(&ring), size, vec![export.clone()], segment_max, 0);
    (ring, export, tx)
}

/// A packet of `len` bytes of that value.
fn packet(from: &ExportedPool, len: usize) -> Mbuf {
    let mut mbuf = from.pool.alloc().unwrap();
    mbuf.append(len).unwrap().fill(len as u8);
    mbuf
}

fn receive(rx: &mut ZeroCopyRxRing<Rc<FakeRing>>) -> (Vec<usize>, RxTally) {
    let (mut burst, mut tally) = (Burst::new(), RxTally::default());
    rx.receive(0, &mut burst, &mut tally);
    (burst.iter().map(pmd_core::Mbuf::packet_len).collect(), tally)
}

/// What a server does to fill a slot.
fn fill(ring: &FakeRing, slot: usize, length: u32, flags: u16) {
    let descriptor = ring.descriptors[slot].get();
    ring.descriptors[slot].set(Descriptor { length, flags, ..descriptor });
}

#[test]
fn s35_s62_every_slot_is_posted_with_its_own_mbuf_and_again_at_once() {
    let (ring, export, mut rx) = receiver(1, 8);
    assert_eq!((ring.head.get(), export.pool.in_use()), (2, 2));
    let posted: Vec<_> = ring.descriptors.iter().map(std::cell::Cell::get).collect();
    assert!(posted.iter().all(|d| d.length == 256 && d.flags == 0 && d.region == 1));
    assert!(posted[0].offset.abs_diff(posted[1].offset) >= 256);
    fill(&ring, 0, 60, 0);
    ring.tail.set(1);
    assert_eq!(receive(&mut rx).0, [60]);
    assert_eq!((ring.head.get(), ring.descriptors[0].get().length), (3, 256));
    drop(rx);
    assert_eq!(export.pool.available(), 8);
}

#[test]
fn an_empty_pool_posts_less_and_recovers() {
    let (ring, export, mut rx) = receiver(2, 5);
    let hoard = export.pool.alloc().unwrap();
    for slot in 0..4 {
        fill(&ring, slot, 10, 0);
    }
    ring.tail.set(4);
    let (mut burst, mut tally) = (Burst::new(), RxTally::default());
    rx.receive(0, &mut burst, &mut tally);
    assert_eq!((burst.len(), ring.head.get(), tally.nombuf), (4, 4, 1), "nothing left to post");
    drop((burst, hoard));
    assert_eq!((receive(&mut rx).0.len(), ring.head.get()), (0, 8));
}

#[test]
fn s48_s51_s53_lies_of_the_server_cost_its_packets_and_are_counted() {
    let (ring, export, mut rx) = receiver(2, 16);
    fill(&ring, 0, 257, 0);
    fill(&ring, 1, 0, 0);
    fill(&ring, 2, 100, DESC_NEXT);
    fill(&ring, 3, 100, DESC_NEXT);
    ring.tail.set(4);
    let (packets, tally) = receive(&mut rx);
    assert_eq!((packets.len(), tally.bad_length), (0, 2), "an unfinished chain waits");
    assert_eq!(ring.head.get(), 6);
    fill(&ring, 0, 300, 0);
    ring.tail.set(5);
    let (packets, tally) = receive(&mut rx);
    assert_eq!((packets.len(), tally.bad_length), (0, 1), "one bad segment drops the whole packet, once");
    for slot in 0..4 {
        fill(&ring, slot, 100, DESC_NEXT);
    }
    ring.tail.set(9);
    let (packets, tally) = receive(&mut rx);
    assert_eq!((packets.len(), tally.too_long), (0, 1), "a chain without an end");
    ring.tail.set(40_000);
    assert_eq!(receive(&mut rx).1.overrun, 1);
    drop(rx);
    assert_eq!(export.pool.available(), 16);
}

#[test]
fn a_tail_that_claims_unsent_packets_gives_no_mbuf_back() {
    let (ring, export, mut tx) = sender(2, 16, 2048);
    let (mut burst, mut tally) = (Burst::new(), TxTally::default());
    (0..6).for_each(|_| burst.push(packet(&export, 60)).unwrap());
    assert_eq!((tx.send(&mut burst, &mut tally).taken, burst.len(), tally.full), (4, 2, 1));
    ring.tail.set(5);
    assert_eq!((tx.send(&mut burst, &mut tally).taken, tally.overrun), (0, 1));
    ring.tail.set(3);
    assert_eq!(tx.send(&mut burst, &mut tally).taken, 2);
    assert_eq!(export.pool.in_use(), 3);
    drop(tx);
    assert_eq!(export.pool.available(), 16);
}

#[test]
fn s69_long_segments_are_posted_in_parts_and_go_home_once() {
    let (ring, export, mut tx) = sender(3, 4, 100);
    let mut burst = Burst::new();
    burst.push(packet(&export, 250)).unwrap();
    tx.send(&mut burst, &mut TxTally::default());
    let parts: Vec<_> = (0..3).map(|i: usize| ring.descriptors[i].get()).collect();
    assert_eq!(parts.iter().map(|d| (d.length, d.flags)).collect::<Vec<_>>(), [(100, 1), (100, 1), (50, 0)]);
    assert_eq!((parts[1].offset - parts[0].offset, ring.head.get()), (100, 3));
    ring.tail.set(2);
    tx.reclaim(&mut TxTally::default());
    assert_eq!(export.pool.in_use(), 1, "not before its last part is consumed");
    ring.tail.set(3);
    tx.reclaim(&mut TxTally::default());
    assert_eq!(export.pool.in_use(), 0);
}

#[test]
fn packets_from_elsewhere_are_posted_as_copies_between_those_that_are_posted_where_they_lie() {
    let ((ring, export, mut tx), other) = (sender(3, 4, 200), pool(8));
    let own = packet(&export, 30);
    let at_home = export.place_of(own.data()).unwrap();
    let mut burst = Burst::new();
    for mbuf in [packet(&other, 10), packet(&other, 20), own, packet(&other, 40), packet(&other, 50)] {
        burst.push(mbuf).unwrap();
    }
    let mut tally = TxTally::default();
    assert_eq!(tx.send(&mut burst, &mut tally).taken, 5, "the last one finds no mbuf, and is dropped");
    assert_eq!(tally, TxTally { packets: 4, bytes: 100, nombuf: 1, in_place: 1, ..TxTally::default() });
    let posted: Vec<_> = (0..4).map(|slot: usize| ring.descriptors[slot].get()).collect();
    let lengths: Vec<_> = posted.iter().map(|descriptor| (descriptor.length, descriptor.region)).collect();
    assert_eq!((lengths, ring.head.get()), (vec![(10, 1), (20, 1), (30, 1), (40, 1)], 4));
    assert_eq!(posted[2].place(), at_home);
    assert_eq!((other.pool.in_use(), export.pool.in_use(), burst.len()), (0, 4, 0));
    ring.tail.set(4);
    tx.reclaim(&mut tally);
    assert_eq!(export.pool.in_use(), 0);
}

#[test]
fn no_more_packets_from_elsewhere_are_taken_than_slots_are_free() {
    let ((ring, export, mut tx), other) = (sender(3, 16, 200), pool(16));
    let (mut burst, mut tally) = (Burst::new(), TxTally::default());
    (0..11).for_each(|_| burst.push(packet(&other, 60)).unwrap());
    assert_eq!((tx.send(&mut burst, &mut tally).taken, burst.len(), tally.full), (8, 3, 1));
    assert_eq!((export.pool.in_use(), other.pool.in_use()), (8, 3), "none is kept for what did not fit");
    ring.tail.set(2);
    assert_eq!((tx.send(&mut burst, &mut tally).taken, burst.len(), ring.head.get()), (2, 1, 10));
}

#[test]
fn packets_that_lie_in_the_pool_take_slots_from_those_that_are_copied_behind_them() {
    let ((ring, export, mut tx), other) = (sender(3, 20, 200), pool(20));
    let (mut burst, mut tally) = (Burst::new(), TxTally::default());
    for from in [&other, &export, &other, &export, &export, &export, &other, &other, &other, &other] {
        burst.push(packet(from, 60)).unwrap();
    }
    assert_eq!((tx.send(&mut burst, &mut tally).taken, burst.len(), ring.head.get()), (8, 2, 8));
    assert_eq!((export.pool.in_use(), other.pool.in_use(), tally.packets), (8, 2, 8));
}

/// Lends packets out of a pool; the test says which numbers are back, and how many packets were copied into that pool.
struct FakeLender {
    pool: Pool,
    back: Rc<RefCell<[bool; 8]>>,
    copied: Rc<Cell<u64>>,
}

impl LendSlots for FakeLender {
    fn lend(&mut self, number: u16, descriptor: Descriptor, port: u16) -> Result<Mbuf, BadPlace> {
        let back = &mut self.back.borrow_mut()[usize::from(number)];
        assert!(*back, "number {number} is lent twice");
        let len = descriptor.length as usize;
        if descriptor.region != 1 || len > 256 {
            return Err(BadPlace::Range);
        }
        *back = false;
        let mut mbuf = self.pool.alloc().unwrap();
        mbuf.set_received(len, port);
        Ok(mbuf)
    }

    fn lend_run(
        &mut self,
        numbers: Range<u16>,
        port: u16,
        burst: &mut Burst,
        mut next: impl FnMut(u16) -> Option<Descriptor>,
    ) -> (u16, u64) {
        let (mut run, mut bytes) = (0, 0);
        for number in numbers {
            let Some(descriptor) = next(run).filter(|_| burst.room() > 0) else { break };
            let Ok(packet) = self.lend(number, descriptor, port) else { break };
            bytes += packet.len() as u64;
            burst.push(packet).unwrap();
            run += 1;
        }
        (run, bytes)
    }

    fn is_back(&self, number: u16) -> bool {
        self.back.borrow()[usize::from(number)]
    }

    fn all_back(&self) -> bool {
        self.back.borrow().iter().all(|back| *back)
    }

    fn copied_into(&self, pool: &Pool) -> u64 {
        if pool.is_same(&self.pool) { self.copied.get() } else { 0 }
    }
}

type Borrower = BorrowRxRing<Rc<FakeRing>, FakeLender>;

/// A borrowing ring of 8 slots, its memory, which numbers are back, and the pool.
fn borrower() -> (Rc<FakeRing>, Rc<RefCell<[bool; 8]>>, Pool, Borrower) {
    let (ring, size, _) = FakeRing::new(3, 256, 256);
    let back = Rc::new(RefCell::new([true; 8]));
    let pool = pool(100).pool;
    let lender = FakeLender { pool: pool.clone(), back: Rc::clone(&back), copied: Rc::default() };
    let rx = BorrowRxRing::new(Rc::clone(&ring), lender, size);
    (ring, back, pool, rx)
}

/// One whose packets were copied by whoever sent them, so that it copies what comes next.
fn suspended_borrower() -> (Rc<FakeRing>, Rc<RefCell<[bool; 8]>>, Pool, Borrower) {
    let (ring, size, _) = FakeRing::new(3, 256, 256);
    let (back, copied) = (Rc::new(RefCell::new([true; 8])), Rc::new(Cell::new(0)));
    let pool = pool(100).pool;
    let lender = FakeLender { pool: pool.clone(), back: Rc::clone(&back), copied: Rc::clone(&copied) };
    let mut rx = BorrowRxRing::new(Rc::clone(&ring), lender, size);
    for slot in 0..8 {
        ring.descriptors[slot].set(Descriptor { flags: 0, region: 1, length: 10, offset: 0 });
    }
    for _ in 0..TRIAL / 4 {
        ring.head.set(ring.head.get().wrapping_add(4));
        let mut burst = Burst::new();
        assert_eq!(rx.receive(&pool, 0, &mut burst, &mut RxTally::default()), 4);
        assert_eq!(back.borrow().iter().filter(|back| !**back).count(), 4, "they are lent");
        back.borrow_mut().fill(true);
        copied.set(copied.get() + 4);
    }
    (ring, back, pool, rx)
}

#[test]
fn slots_are_released_in_the_order_of_the_ring_and_half_of_it_is_lent_at_most() {
    let (ring, back, pool, mut rx) = borrower();
    for slot in 0..8 {
        ring.descriptors[slot].set(Descriptor { flags: 0, region: 1, length: 10, offset: 0 });
    }
    ring.head.set(6);
    let (mut burst, mut tally) = (Burst::new(), RxTally::default());
    assert_eq!(rx.receive(&pool, 0, &mut burst, &mut tally), 6);
    assert_eq!(*back.borrow(), [false, false, false, false, true, true, true, true], "the last two are copies");
    back.borrow_mut()[1] = true;
    rx.release();
    assert_eq!(ring.tail.get(), 0, "the first slot holds up the others");
    back.borrow_mut()[0] = true;
    rx.release();
    assert_eq!(ring.tail.get(), 2);
    back.borrow_mut()[2..4].fill(true);
    rx.release();
    assert_eq!((ring.tail.get(), tally.packets), (6, 6));
}

#[test]
fn what_the_sender_would_copy_is_copied_when_it_is_received_once_no_mbuf_is_out() {
    let (ring, back, pool, mut rx) = suspended_borrower();
    let mut receive = |more| {
        ring.head.set(ring.head.get().wrapping_add(more));
        let mut burst = Burst::new();
        rx.receive(&pool, 0, &mut burst, &mut RxTally::default());
        (burst, back.borrow().iter().filter(|back| !**back).count(), ring.head.get().wrapping_sub(ring.tail.get()))
    };
    back.borrow_mut()[2] = false;
    assert_eq!(receive(1).1, 2, "one is still out, so this one is lent");
    back.borrow_mut().fill(true);
    ring.regions[1].borrow_mut()[..10].copy_from_slice(b"new packet");
    let (burst, out, in_use) = receive(5);
    assert_eq!((burst.len(), burst[4].data(), out, in_use), (5, &b"new packet"[..], 0, 0));
    let (burst, out, in_use) = receive(8);
    assert_eq!((burst.len(), out, in_use), (8, 0, 0), "the whole ring is the client's again at once");
    let trial = if cfg!(miri) { None } else { (0..COPIED).map(|_| receive(8).1).position(|out| out > 0) };
    assert_eq!(trial, (!cfg!(miri)).then_some((COPIED - 13).div_ceil(8) as usize), "until lending is tried again");
}

#[test]
#[cfg_attr(miri, ignore = "packets by the thousand: minutes")]
fn who_passes_packets_on_unread_is_lent_the_large_ones_on_a_ring_that_copies_otherwise() {
    let (ring, size, _) = FakeRing::new(3, 256, 256);
    let pool = pool(100).pool;
    let back = Rc::new(RefCell::new([true; 8]));
    let lender = FakeLender { pool: pool.clone(), back: Rc::clone(&back), copied: Rc::default() };
    let send = |length: u64| {
        let head = ring.head.get();
        for slot in (0..4).map(|i| usize::from(head.wrapping_add(i) % 8)) {
            ring.descriptors[slot].set(Descriptor { flags: 0, region: 1, length: length as u32, offset: 0 });
        }
        ring.head.set(head.wrapping_add(4));
    };
    let mut copying = RxRing::new(Rc::clone(&ring), size, PeersSlots);
    send(LARGE);
    let (mut burst, mut tally) = (Burst::new(), RxTally::default());
    assert_eq!((copying.receive(&pool, 0, &mut burst, &mut tally), tally.lent), (4, 0));

    let mut rx = BorrowRxRing::of_large(copying, lender);
    let mut lent_of = |bursts: u32, length: u64, passed_on: Option<bool>| {
        passed_on.into_iter().for_each(|passed_on| rx.set_passed_on(passed_on));
        let mut tally = RxTally::default();
        for _ in 0..bursts {
            send(length);
            assert_eq!(rx.receive(&pool, 0, &mut Burst::new(), &mut tally), 4);
            back.borrow_mut().fill(true);
        }
        tally.lent
    };
    let trial = TRIAL / 4;
    assert_eq!(
        (lent_of(trial, LARGE, None), lent_of(trial, LARGE, None)),
        (0, TRIAL.into()),
        "they must be known first"
    );
    assert_eq!(lent_of(trial, LARGE, None), TRIAL.into());
    assert_eq!((lent_of(trial, LARGE - 1, None), lent_of(2 * trial, 10, None)), (TRIAL.into(), 0));
    assert_eq!((lent_of(trial, LARGE, None), lent_of(trial, LARGE, None)), (0, TRIAL.into()));
    assert_eq!(lent_of(3 * trial, LARGE, Some(false)), 0, "not one more");
    assert_eq!(lent_of(2 * trial, LARGE, Some(true)), TRIAL.into());
}

#[test]
#[cfg_attr(miri, ignore = "packets by the thousand: minutes")]
fn a_ring_that_lends_all_lends_small_ones_to_everybody_but_who_passes_them_on() {
    let (ring, back, pool, mut rx) = borrower();
    let mut lent_of = |bursts: u32, passed_on: bool| {
        rx.set_passed_on(passed_on);
        let mut tally = RxTally::default();
        for _ in 0..bursts {
            ring.descriptors.iter().for_each(|slot| {
                slot.set(Descriptor { flags: 0, region: 1, length: 10, offset: 0 });
            });
            ring.head.set(ring.head.get().wrapping_add(4));
            assert_eq!(rx.receive(&pool, 0, &mut Burst::new(), &mut tally), 4);
            back.borrow_mut().fill(true);
        }
        tally.lent
    };
    assert_eq!(
        [false, true, false].map(|passed_on| lent_of(TRIAL, passed_on)),
        [4 * TRIAL, 0, 4 * TRIAL].map(u64::from)
    );
}

#[test]
fn numbers_begin_anew_when_all_mbufs_are_back_and_go_on_while_one_is_out() {
    let (ring, back, pool, mut rx) = borrower();
    for slot in 0..8 {
        ring.descriptors[slot].set(Descriptor { flags: 0, region: 1, length: 10, offset: 0 });
    }
    let mut receive = |head, out: &[usize]| {
        ring.head.set(head);
        let mut burst = Burst::new();
        rx.receive(&pool, 0, &mut burst, &mut RxTally::default());
        let now: Vec<_> = (0..8).filter(|number| !back.borrow()[*number]).collect();
        assert_eq!((now, burst.len()), (out.to_vec(), out.len()), "at {head}");
        back.borrow_mut().fill(true);
        ring.tail.get()
    };
    assert_eq!(receive(3, &[0, 1, 2]), 0);
    assert_eq!(receive(5, &[0, 1]), 3);
    assert_eq!(receive(9, &[0, 1, 2, 3]), 5);
    back.borrow_mut()[3] = false;
    let mut burst = Burst::new();
    ring.head.set(12);
    rx.receive(&pool, 0, &mut burst, &mut RxTally::default());
    assert_eq!(*back.borrow(), [true, true, true, false, false, false, false, true], "the slots 9 to 11 behind 8");
    assert_eq!(ring.tail.get(), 8);
}

#[test]
fn numbers_go_round_while_an_mbuf_is_always_out() {
    let (ring, back, pool, mut rx) = borrower();
    for slot in 0..8 {
        ring.descriptors[slot].set(Descriptor { flags: 0, region: 1, length: 10, offset: 0 });
    }
    for (head, kept, out) in [(4, 3, [0, 1, 2, 3]), (7, 6, [3, 4, 5, 6]), (10, 1, [0, 1, 6, 7])] {
        ring.head.set(head);
        rx.receive(&pool, 0, &mut Burst::new(), &mut RxTally::default());
        let now: Vec<_> = (0..8).filter(|number| !back.borrow()[*number]).collect();
        assert_eq!(now, out, "at {head}");
        back.borrow_mut().fill(true);
        back.borrow_mut()[kept] = false;
    }
}

#[test]
fn s50_a_borrowed_chain_is_what_its_one_snapshot_said() {
    for rewrite in REWRITES {
        let (ring, _, pool, mut rx) = borrower();
        for slot in 0..8 {
            let flags = if slot < 7 { DESC_NEXT } else { 0 };
            ring.descriptors[slot].set(Descriptor { flags, region: 1, length: 100, offset: 0 });
        }
        ring.head.set(8);
        ring.rewrite.set(rewrite);
        // The look that finds a chain.
        ring.let_pass.set(1);
        let (mut burst, mut tally) = (Burst::new(), RxTally::default());
        rx.receive(&pool, 0, &mut burst, &mut tally);
        assert_eq!((burst.len(), burst[0].segment_count(), burst[0].packet_len()), (1, 8, 800));
        assert_eq!(tally, RxTally { packets: 1, bytes: 800, lent: 1, ..RxTally::default() });
    }
}

#[test]
fn s50_a_chain_in_our_mbufs_is_what_its_one_snapshot_said() {
    for rewrite in REWRITES {
        let (ring, _, mut rx) = receiver(3, 20);
        (0..8).for_each(|slot| fill(&ring, slot, 100, if slot < 7 { DESC_NEXT } else { 0 }));
        ring.tail.set(8);
        ring.rewrite.set(rewrite);
        // The look that finds a chain.
        ring.let_pass.set(1);
        let (lengths, tally) = receive(&mut rx);
        assert_eq!(lengths, [800]);
        assert_eq!(tally, RxTally { packets: 1, bytes: 800, ..RxTally::default() });
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { ProptestConfig::default().cases },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever the client stores, and whenever packets are dropped: no panic, no slot lent twice, no mbuf lost.
    #[test]
    fn a_hostile_client_can_only_hurt_its_own_packets(
        steps in prop::collection::vec(
            (0..8_usize, prop_oneof![Just(0_u16), Just(1), any::<u16>()], 0..3_u16, 0..400_u32, prop_oneof![0..12_u16, any::<u16>()]),
            1..60,
        ),
        suspended: bool,
    ) {
        let (ring, back, pool, mut rx) = if suspended { suspended_borrower() } else { borrower() };
        for (slot, flags, region, length, index) in steps {
            ring.descriptors[slot].set(Descriptor { flags, region, length, offset: length });
            ring.head.set(if index < 12 { ring.tail.get().wrapping_add(index) } else { index });
            let mut burst = Burst::with_limit(5);
            rx.receive(&pool, 0, &mut burst, &mut RxTally::default());
            prop_assert!(burst.iter().all(|packet| packet.packet_len() > 0));
            // The application drops them, but one is held for a while.
            for (number, back) in back.borrow_mut().iter_mut().enumerate() {
                *back |= number != slot;
            }
        }
        drop(rx);
        prop_assert_eq!(pool.available(), pool.size());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { ProptestConfig::default().cases },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever the server stores at whatever time: no panic, no mbuf lost or handed out twice.
    #[test]
    fn a_hostile_server_can_only_hurt_its_own_packets(
        steps in prop::collection::vec((0..8_usize, any::<u16>(), 0..700_u32, prop_oneof![0..12_u16, any::<u16>()]), 1..60),
    ) {
        let (ring, export, mut rx) = receiver(3, 20);
        let (tx_ring, size, _) = FakeRing::new(3, 0, 0);
        let mut tx = ZeroCopyTxRing::new(Rc::clone(&tx_ring), size, vec![export.clone()], 64, 0);
        for (slot, flags, length, index) in steps {
            ring.descriptors[slot].set(Descriptor { flags, region: flags, length, offset: length });
            let tail = if index < 12 { ring.head.get().wrapping_sub(8).wrapping_add(index) } else { index };
            ring.tail.set(tail);
            let mut burst = Burst::with_limit(5);
            rx.receive(0, &mut burst, &mut RxTally::default());
            let mut homes: Vec<_> = burst.iter().map(|mbuf| mbuf.data().as_ptr()).collect();
            homes.sort_unstable();
            homes.dedup();
            prop_assert_eq!(homes.len(), burst.len());
            tx_ring.tail.set(index);
            tx.send(&mut burst, &mut TxTally::default());
        }
        drop((rx, tx));
        prop_assert_eq!(export.pool.available(), 20);
    }
}

/// A sender of segments up to 512 bytes to another process, of whose mbufs `most` may rest.
fn sender_apart(most: usize) -> (Rc<FakeRing>, ExportedPool, ZeroCopyTxRing<Rc<FakeRing>>) {
    let (ring, size, _) = FakeRing::with_buffers(3, 4, 0, 0);
    let config = PoolConfig { size: 64, data_room: 512, cache: 0, ..PoolConfig::default() };
    let export = ExportedPool::new(Pool::new(&config).unwrap(), 1);
    let tx = ZeroCopyTxRing::new(Rc::clone(&ring), size, vec![export.clone()], 512, most);
    (ring, export, tx)
}

/// Sends `count` packets of `len` bytes, which the server consumes at once; says how many mbufs are out when the next burst,
/// of none, has been sent.
fn send_and_consume(
    (ring, export, tx): &mut (Rc<FakeRing>, ExportedPool, ZeroCopyTxRing<Rc<FakeRing>>),
    count: usize,
    len: usize,
) -> usize {
    let mut burst = Burst::new();
    (0..count).for_each(|_| burst.push(packet(export, len)).unwrap());
    assert_eq!(tx.send(&mut burst, &mut TxTally::default()).taken, count);
    ring.tail.set(ring.head.get());
    export.pool.in_use()
}

#[test]
fn mbufs_of_large_packets_that_another_process_has_read_rest_and_others_do_not() {
    let mut link = sender_apart(10);
    // Those under way, and those of the bursts before, up to ten.
    let out: Vec<_> = (0..4).map(|_| send_and_consume(&mut link, 4, 300)).collect();
    assert_eq!(out, [4, 8, 12, 14]);
    assert_eq!(send_and_consume(&mut link, 4, 255), 4, "small ones do not, and nothing rests beside them");
    assert_eq!(send_and_consume(&mut link, 4, 300), 8, "those before it rest with them");
    link.2.reclaim(&mut TxTally::default());
    assert_eq!(link.1.pool.in_use(), 0, "nothing is under way");
    send_and_consume(&mut link, 4, 300);
    drop(link.2);
    assert_eq!(link.1.pool.available(), 64);
    let mut link = sender_apart(0);
    assert_eq!([300; 3].map(|len| send_and_consume(&mut link, 4, len)), [4; 3], "none may");
}

#[test]
fn an_mbuf_that_rests_is_not_in_the_next_packets() {
    let mut link = sender_apart(10);
    assert_eq!([300; 2].map(|len| send_and_consume(&mut link, 4, len)), [4, 8]);
    let at = |link: &(Rc<FakeRing>, ExportedPool, _), slot: usize| link.0.descriptors[slot].get().offset;
    let before: Vec<_> = (0..8).map(|slot| at(&link, slot)).collect();
    send_and_consume(&mut link, 4, 300);
    let next: Vec<_> = (0..4).map(|slot| at(&link, slot)).collect();
    assert!(next.iter().all(|offset| !before.contains(offset)), "{next:?} of {before:?}");
}

#[test]
fn past_the_caches_packets_are_copied_into_mbufs_that_have_rested_as_far_as_slots_are_free() {
    let mut link = sender_apart(10);
    assert_eq!([300; 3].map(|len| send_and_consume(&mut link, 4, len)), [4, 8, 12]);
    let (ring, export, tx) = &mut link;
    tx.ways().expect("mbufs may rest").go(Way::PastCaches);
    let (mut burst, mut tally) = (Burst::new(), TxTally::default());
    let own = packet(export, 400);
    let lies = export.place_of(own.data()).unwrap();
    burst.push(own).unwrap();
    tx.send(&mut burst, &mut tally);
    let posted = ring.descriptors[12 % 8].get();
    assert_eq!((posted.length, posted.place() == lies, tally.streamed, tally.in_place), (400, false, 1, 0));
    assert_eq!(
        export.pool.in_use(),
        10,
        "the copy was one of ten that rested, and the original is back; two made room"
    );
    (0..8).for_each(|_| burst.push(packet(export, 300)).unwrap());
    assert_eq!((tx.send(&mut burst, &mut tally).taken, burst.len()), (7, 1));
    let out = export.pool.in_use();
    assert_eq!((tx.send(&mut burst, &mut tally).taken, export.pool.in_use()), (0, out), "a full ring wakes none");
    drop((burst, tx));
    drop(link.2);
    assert_eq!(link.1.pool.available(), 64);
}

#[test]
fn an_mbuf_that_has_rested_is_as_empty_as_a_fresh_one() {
    let (ring, export, mut tx) = sender_apart(10);
    let (mut burst, mut tally) = (Burst::new(), TxTally::default());
    // Behind so large a headroom there is no room for a larger packet; and another segment.
    let mut shifted = packet(&export, 500);
    assert!(shifted.adj(200));
    shifted.chain(packet(&export, 10)).unwrap();
    for mbuf in [shifted, packet(&export, 300)] {
        burst.push(mbuf).unwrap();
        tx.send(&mut burst, &mut tally);
        ring.tail.set(ring.head.get());
    }
    assert_eq!(export.pool.in_use(), 3);
    tx.ways().expect("mbufs may rest").go(Way::PastCaches);
    burst.push(packet(&export, 500)).unwrap();
    tx.send(&mut burst, &mut tally);
    assert_eq!((tally.streamed, ring.descriptors[3].get().length, export.pool.in_use()), (1, 500, 2));
}
