//! Statement 50: a peer that rewrites a descriptor while it is being judged gets what was judged, and nothing else.

use std::rc::Rc;

use pmd_core::{Burst, Mbuf, Pool, PoolConfig};

use super::fake_memory::FakeRing;
use super::rx::{RxRing, RxTally};
use super::tx::{TxRing, TxTally};
use super::{DESC_NEXT, Descriptor, PeersSlots, Place, RingMemory, RingSize};

/// What a peer may rewrite a good descriptor to.
pub(super) const REWRITES: [fn(&mut Descriptor); 5] =
    [|d| d.offset = u32::MAX, |d| d.region = 9, |d| d.length = 0, |d| d.length = u32::MAX, |d| d.flags ^= DESC_NEXT];

/// A ring full of packets of 100 bytes, each filled with its slot's number, whose other end rewrites what was read.
fn ring(rewrite: fn(&mut Descriptor)) -> (Rc<FakeRing>, RingSize, Pool) {
    let (ring, size, own) = FakeRing::new(3, 128, 128);
    for slot in 0..size.get() {
        let Place { region, offset } = own.place(slot.into());
        ring.write(own.place(slot.into()), &[slot as u8; 128]).unwrap();
        ring.set_descriptor(slot, Descriptor { flags: 0, region, length: 100, offset });
    }
    ring.rewrite.set(rewrite);
    // The look that finds another region than packets were expected in, or a chain.
    ring.let_pass.set(1);
    let pool = Pool::new(&PoolConfig { size: 64, data_room: 128, ..PoolConfig::default() }).unwrap();
    (ring, size, pool)
}

#[test]
fn s50_a_received_packet_is_what_its_one_snapshot_said() {
    for rewrite in REWRITES {
        let (ring, size, pool) = ring(rewrite);
        let mut rx = RxRing::new(Rc::clone(&ring), size, PeersSlots);
        ring.head.set(8);
        let (mut burst, mut tally) = (Burst::new(), RxTally::default());
        rx.receive(&pool, 0, &mut burst, &mut tally);
        let received: Vec<_> = burst.iter().map(|mbuf| mbuf.data().to_vec()).collect();
        assert_eq!(received, (0..8).map(|mark| vec![mark; 100]).collect::<Vec<_>>());
        assert_eq!(tally, RxTally { packets: 8, bytes: 800, ..RxTally::default() });
    }
}

#[test]
fn s50_a_packet_is_sent_to_where_its_one_snapshot_said() {
    for rewrite in REWRITES {
        let (ring, size, pool) = ring(rewrite);
        let places: Vec<_> = ring.descriptors.iter().map(|slot| slot.get().place()).collect();
        let mut tx = TxRing::new(Rc::clone(&ring), size, PeersSlots, 2048);
        ring.head.set(8);
        let packet = |len: usize| -> Mbuf {
            let mut mbuf = pool.alloc().unwrap();
            mbuf.append(len).unwrap().fill(0xEE);
            mbuf
        };
        let sent = tx.send(&[packet(60), packet(100)], &mut TxTally::default());
        assert_eq!((sent.taken, sent.fault, ring.tail.get()), (2, None, 2));
        for (place, len) in places.into_iter().zip([60, 100]) {
            let mut room = [0; 128];
            ring.read(place, len, &mut room).unwrap();
            assert_eq!(room[..len], vec![0xEE; len]);
        }
    }
}

#[test]
fn s50_a_chain_is_what_its_one_snapshot_said() {
    for rewrite in REWRITES {
        let (ring, size, pool) = ring(rewrite);
        for slot in 0..7 {
            let descriptor = &ring.descriptors[slot];
            descriptor.set(Descriptor { flags: DESC_NEXT, ..descriptor.get() });
        }
        let mut rx = RxRing::new(Rc::clone(&ring), size, PeersSlots);
        ring.head.set(8);
        let (mut burst, mut tally) = (Burst::new(), RxTally::default());
        rx.receive(&pool, 0, &mut burst, &mut tally);
        let mut received = [0; 800];
        assert_eq!((burst.len(), burst[0].copy_to(&mut received)), (1, 800));
        assert_eq!(
            received.chunks(100).map(<[u8]>::to_vec).collect::<Vec<_>>(),
            (0..8).map(|mark| vec![mark; 100]).collect::<Vec<_>>()
        );
        assert_eq!(tally, RxTally { packets: 1, bytes: 800, ..RxTally::default() });
        drop(burst);
        assert_eq!(pool.available(), pool.size());
    }
}
