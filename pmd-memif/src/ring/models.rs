//! Both ends of a ring, and a receiver that sleeps, under loom: every interleaving of two threads, and every value that the
//! memory orders let a load return, is tried out. `make loom` runs them.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use pmd_core::{Burst, Pool, PoolConfig};

use super::fake_memory::{SlotsThrough, Through};
use super::posted::{PostedBuffers, RxBuffers};
use super::rx::{RxRing, RxTally};
use super::tx::{TxRing, TxTally};
use super::{BadPlace, Buffers, Descriptor, OwnSlots, PeersSlots, Place, RingMemory, RingSize, interrupt};

const LOG2: u8 = 1;
const SIZE: usize = 1 << LOG2;

/// A ring of two slots with buffers of one byte. What is no index is read and written in no order at all (Relaxed): a byte
/// that arrives does so because the indices order it.
#[derive(Default)]
struct ModelRing {
    head: AtomicU16,
    tail: AtomicU16,
    flags: AtomicU16,
    low: [AtomicU64; SIZE],
    offsets: [AtomicU32; SIZE],
    bytes: [AtomicU8; SIZE],
    rung: Mutex<bool>,
    bell: Condvar,
}

type Shared = Arc<ModelRing>;

impl ModelRing {
    /// What a receiver sleeps on.
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.bell.wait(rung).unwrap();
        }
    }
}

impl RingMemory for Shared {
    type Packets<'a> = Through<'a, Self>;
    type Slots<'a> = SlotsThrough<'a, Self>;

    fn packets(&self, region: u16) -> Option<Through<'_, Self>> {
        (region == 0).then_some(Through(self, region))
    }

    fn slots(&self, index: u16, most: usize) -> SlotsThrough<'_, Self> {
        SlotsThrough::new(self, SIZE, index, most)
    }

    fn head(&self) -> u16 {
        self.head.load(Ordering::Acquire)
    }

    fn tail(&self) -> u16 {
        self.tail.load(Ordering::Acquire)
    }

    fn set_head(&self, index: u16) {
        self.head.store(index, Ordering::Release);
    }

    fn set_tail(&self, index: u16) {
        self.tail.store(index, Ordering::Release);
    }

    fn flags(&self) -> u16 {
        self.flags.load(Ordering::Relaxed)
    }

    fn set_flags(&self, flags: u16) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    fn descriptor(&self, index: u16) -> Descriptor {
        let slot = usize::from(index) % SIZE;
        let (low, offset) = (self.low[slot].load(Ordering::Relaxed), self.offsets[slot].load(Ordering::Relaxed));
        Descriptor { flags: low as u16, region: (low >> 16) as u16, length: (low >> 32) as u32, offset }
    }

    fn set_descriptor(&self, index: u16, descriptor: Descriptor) {
        self.set_filled(index, descriptor);
        self.offsets[usize::from(index) % SIZE].store(descriptor.offset, Ordering::Relaxed);
    }

    fn set_filled(&self, index: u16, Descriptor { flags, region, length, .. }: Descriptor) {
        let low = u64::from(flags) | u64::from(region) << 16 | u64::from(length) << 32;
        self.low[usize::from(index) % SIZE].store(low, Ordering::Relaxed);
    }

    fn clear_flags(&self, index: u16) {
        let low = &self.low[usize::from(index) % SIZE];
        low.store(low.load(Ordering::Relaxed) & !0xFFFF, Ordering::Relaxed);
    }

    fn check(&self, place: Place, len: usize) -> Result<(), BadPlace> {
        if place.offset as usize + len > SIZE { Err(BadPlace::Range) } else { Ok(()) }
    }

    /// Packets are one byte long. What lies behind it, in the block that is read, is of no interest.
    fn read(&self, place: Place, len: usize, room: &mut [u8]) -> Result<(), BadPlace> {
        self.check(place, 1)?;
        room[..len].fill(self.bytes[place.offset as usize].load(Ordering::Relaxed));
        Ok(())
    }

    fn write(&self, place: Place, data: &[u8]) -> Result<(), BadPlace> {
        self.check(place, data.len())?;
        self.bytes[place.offset as usize].store(data[0], Ordering::Relaxed);
        Ok(())
    }

    fn interrupt(&self) -> bool {
        *self.rung.lock().unwrap() = true;
        self.bell.notify_one();
        true
    }
}

const OWN: OwnSlots = OwnSlots { region: 0, first: 0, stride: 1, capacity: 1, mask: 1, mbufs: 0 };

fn pool() -> Pool {
    let config = PoolConfig { name: "model".into(), size: 32, data_room: 64, cache: 0, ..PoolConfig::default() };
    Pool::new(&config).unwrap()
}

/// Three packets through a ring of two slots, from one end to the other: each arrives, whole, in order.
fn packets_cross<T, R>(to: T, from: fn(RingSize) -> R)
where
    T: Buffers + Copy + Send + Sync + 'static,
    R: RxBuffers + 'static,
{
    const PACKETS: u8 = 3;
    let pool = pool();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let (shared, size) = (Shared::default(), RingSize::from_log2(LOG2));
        let mut rx = RxRing::new(Arc::clone(&shared), size, from(size));
        let mut tx = TxRing::new(shared, size, to, 1);
        let packets = pool.clone();
        let sender = thread::spawn(move || {
            let mut burst = Burst::new();
            packets.alloc_bulk(&mut burst, PACKETS.into());
            (1..).zip(burst.iter_mut()).for_each(|(mark, mbuf)| mbuf.append(1).unwrap().fill(mark));
            while !burst.is_empty() {
                let taken = tx.send(&burst, &mut TxTally::default()).taken;
                burst.free_front(taken);
                if taken == 0 {
                    thread::yield_now();
                }
            }
        });
        let (mut burst, mut tally) = (Burst::new(), RxTally::default());
        while burst.len() < usize::from(PACKETS) {
            if rx.receive(&pool, 0, &mut burst, &mut tally) == 0 {
                thread::yield_now();
            }
        }
        assert!(burst.iter().map(|mbuf| mbuf.data()).eq([[1], [2], [3]]));
        assert_eq!(tally, RxTally { packets: 3, bytes: 3, ..RxTally::default() });
        sender.join().unwrap();
    });
}

#[test]
fn packets_of_a_client_cross() {
    packets_cross(OWN, |_| PeersSlots);
}

#[test]
fn packets_of_a_server_cross() {
    packets_cross(PeersSlots, |size| PostedBuffers::new(OWN, size));
}

#[test]
fn a_receiver_that_goes_to_sleep_misses_no_packet() {
    let pool = pool();
    loom::model(move || {
        let (shared, size) = (Shared::default(), RingSize::from_log2(LOG2));
        let mut rx = RxRing::new(Arc::clone(&shared), size, PeersSlots);
        let mut tx = TxRing::new(Arc::clone(&shared), size, OWN, 1);
        let packets = pool.clone();
        let sender = thread::spawn(move || {
            let mut burst = Burst::new();
            packets.alloc_bulk(&mut burst, 1);
            burst[0].append(1).unwrap().fill(9);
            assert_eq!(tx.send(&burst, &mut TxTally::default()).taken, 1);
            interrupt::send(tx.memory());
        });
        interrupt::unmask(rx.memory());
        if !rx.has_packets() {
            // With a lost interrupt this never ends, and loom says so.
            shared.wait();
        }
        interrupt::mask(rx.memory());
        let mut burst = Burst::new();
        assert_eq!(rx.receive(&pool, 0, &mut burst, &mut RxTally::default()), 1);
        assert_eq!(burst[0].data(), [9]);
        sender.join().unwrap();
    });
}
