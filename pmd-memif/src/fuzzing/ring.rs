//! Both rings of a link on real shared memory, whose other end writes what it likes, when it likes.
//!
//! The first byte chooses the side and how it treats packets, the second the rings' size; then come steps: the peer writes
//! bytes, an index or a descriptor, or we receive, send, or drop or send what was received. In the end every mbuf is back.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use pmd_core::{Burst, Mbuf, Pool, PoolConfig};

use super::Input;
use crate::control::{LinkId, Memory, Region, Ring};
use crate::fake::{FakeMemory, FakeRegion, FakeRing, RingPlan};
use crate::handshake::Placement;
use crate::layout::Layout;
use crate::link::{Exports, Link, RxEnd, Shape, Side, TxEnd, TxOwner};
use crate::ring::RingSize;
use crate::ring::exported::ExportedPool;
use crate::ring::rx::RxTally;
use crate::ring::tx::TxTally;
use crate::shm::CacheLine;

/// Bytes of a client's buffers. Their regions are laid out for a little more than they take.
const CAPACITY: u32 = 256;

/// Offsets of a ring's flags, head, tail and descriptors.
const WORDS: [u64; 3] = [4, 6, 64];
const DESCRIPTORS: u64 = 128;

/// Plays the bytes to the rings of one link. `true` when packets were both received and sent.
pub fn ring(bytes: &[u8]) -> bool {
    let mut input = Input(bytes);
    let mut rig = Rig::new(input.byte(), 1 + input.byte() % 4);
    while !input.is_empty() {
        rig.step(&mut input);
    }
    rig.finish()
}

/// A link with both ends of ours, and its memory in the hands of the peer.
struct Rig {
    memory: File,
    bytes: u64,
    rings: [u64; 2],
    size: RingSize,
    rx: Vec<RxEnd>,
    tx: TxEnd,
    pool: Pool,
    /// The buffers that are sent from, where they are a pool.
    shared: Option<Pool>,
    received: VecDeque<Mbuf>,
    /// Taken from the sending ring.
    kept: Vec<Mbuf>,
    counts: (u64, u64),
}

impl Rig {
    fn new(kind: u8, log2: u8) -> Self {
        let config = PoolConfig { name: "fuzz".into(), size: 128, data_room: 512, cache: 0, ..PoolConfig::default() };
        let pool = Pool::new(&config).expect("memory for a pool");
        let (size, line) = (RingSize::from_log2(log2), CacheLine::B64);
        let pooled = kind & 8 != 0;
        let layout = |capacity| Layout { s2m_rings: 1, m2s_rings: 1, size, line, capacity, spare: false, pooled };
        let copying = layout(Some(CAPACITY));
        let mut memory = fake_memory(log2, copying.region_bytes().expect("a few packets"));
        let rings = [0, 1].map(|i: usize| u64::from(memory.rings[i].message.offset));
        let (file, bytes) = (memory.regions[0].file.try_clone().expect("a descriptor"), memory.regions[0].size);
        let exported = ExportedPool::new(pool.clone(), 1);
        let exports = Exports { pools: vec![exported], of_queue: vec![0] };
        let side = match kind % 4 {
            0 => Side::Server { borrows: false },
            1 => Side::Server { borrows: true },
            2 => Side::Client(copying, &exports),
            _ => Side::Client(layout(None), &exports),
        };
        let [s2m, m2s] = [0, 1].map(|_| vec![ring_of(memory.rings.remove(0))]);
        let regions = memory.regions.into_iter().map(|FakeRegion { file, size }| Region { fd: file.into(), size });
        let memory = Memory { regions: regions.collect(), s2m, m2s };
        let shape = Shape { line, queues: 1, segment_max: 2048, apart: kind & 4 == 0 };
        let link = Link::new(LinkId(1), memory, side, shape).expect("the memory is correct at first");
        let owner = link.take_tx(0).map(|owner| if pooled { owner.with_pool() } else { owner });
        let Some(TxOwner::Own(tx)) = owner else { unreachable!("one queue owns the one ring") };
        let (rx, shared) = (link.take_rx(0), tx.pool().filter(|_| pooled).cloned());
        assert_eq!(shared.is_some(), pooled && kind % 4 >= 2, "a client's buffers become a pool when they are told to");
        Self {
            memory: file,
            bytes,
            rings,
            size,
            rx,
            tx,
            pool,
            shared,
            received: VecDeque::new(),
            kept: Vec::new(),
            counts: (0, 0),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 7 {
            0 => {
                let (at, len) = (u64::from(input.word()), input.byte());
                self.write(at % (self.bytes - 256), input.slice(len.into()));
            }
            1 => {
                let which = input.byte();
                let word = WORDS[usize::from(which >> 1) % 3];
                self.write(self.ring_at(which) + word, &input.array::<2>());
            }
            2 => {
                let which = input.byte();
                let slot = u64::from(self.size.slot(input.byte().into()));
                self.write(self.ring_at(which) + DESCRIPTORS + 16 * slot, &input.array::<12>());
            }
            3 => self.receive(1 + usize::from(input.byte() % 32)),
            4 => {
                let (count, len) = (input.byte() % 8, input.word());
                self.send(count, usize::from(len % 5000));
            }
            5 => {
                let count = usize::from(input.byte()).min(self.received.len());
                self.received.drain(..count);
            }
            _ => {
                let mut burst: Burst = Burst::new();
                while burst.room() > 0
                    && let Some(packet) = self.received.pop_front()
                {
                    assert!(burst.push(packet).is_ok());
                }
                self.send_burst(&mut burst);
            }
        }
    }

    fn ring_at(&self, which: u8) -> u64 {
        self.rings[usize::from(which & 1)]
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, at).expect("the bytes lie in the region");
    }

    fn receive(&mut self, limit: usize) {
        let (mut burst, mut tally) = (Burst::with_limit(limit), RxTally::default());
        for ring in &mut self.rx {
            ring.receive(self.shared.as_ref().unwrap_or(&self.pool), 0, &mut burst, &mut tally);
        }
        assert_eq!(tally.packets, burst.len() as u64);
        assert!(burst.len() <= limit.min(self.size.get().into()));
        let lengths = burst.iter().map(Mbuf::packet_len);
        assert_eq!(lengths.clone().sum::<usize>() as u64, tally.bytes);
        assert!(lengths.into_iter().all(|len| (1..=65535).contains(&len)));
        // A borrowed packet lies in the peer's memory: every byte of it must be there.
        for packet in burst.iter() {
            packet.copy_to(&mut vec![0; packet.packet_len()]);
        }
        self.counts.0 += tally.packets;
        let all = burst.len();
        self.received.extend(burst.drain_front(all));
    }

    fn send(&mut self, count: u8, len: usize) {
        let (mut burst, mut tally) = (Burst::new(), TxTally::default());
        // The odd ones are built in the ring, where that lends; some of them are dropped, and some kept for later.
        if count % 2 == 1 && self.tx.alloc(&mut burst, count.into(), &mut tally).is_some() {
            burst.iter_mut().for_each(|mbuf| mbuf.append(len % 512).map_or((), |data| data.fill(1)));
            self.kept.extend(burst.drain_front(burst.len() / 4));
            self.kept.truncate(3);
        }
        for packet in (0..count).map_while(|_| packet(&self.pool, len)) {
            assert!(burst.push(packet).is_ok());
        }
        self.send_burst(&mut burst);
    }

    /// Sends what fits, and drops the rest.
    fn send_burst(&mut self, burst: &mut Burst) {
        let (before, mut tally) = (burst.len(), TxTally::default());
        let sent = self.tx.send(&self.pool, burst, &mut tally);
        assert_eq!(sent.taken + burst.len(), before);
        assert!(tally.packets <= sent.taken as u64);
        self.counts.1 += tally.packets;
    }

    /// Half of what was received outlives the rings.
    fn finish(mut self) -> bool {
        self.received.truncate(self.received.len() / 2);
        drop((self.rx, self.tx));
        drop((self.received, self.kept));
        for pool in [Some(self.pool), self.shared].into_iter().flatten() {
            assert_eq!(pool.available(), pool.size());
        }
        self.counts.0 > 0 && self.counts.1 > 0
    }
}

/// One ring each way, so many bytes of buffers behind them at least, and a second region.
fn fake_memory(log2: u8, bytes: u64) -> FakeMemory {
    let buffer_size = (bytes >> (log2 + 1)) as u32 + 64;
    let plan = RingPlan { log2, buffer_size, ..RingPlan::default() };
    let mut memory = FakeMemory::plain(plan).expect("memory for a region");
    memory.regions.push(FakeRegion::sealed(4096).expect("memory for a region"));
    memory
}

fn ring_of(FakeRing { message, eventfd }: FakeRing) -> Ring {
    let placement = Placement { region: message.region, offset: message.offset, log2_size: message.log2_ring_size };
    Ring { fd: OwnedFd::from(eventfd), placement, duplicate_of: None }
}

/// A packet in as many segments as it takes, if the pool has them.
fn packet(pool: &Pool, len: usize) -> Option<Mbuf> {
    let mut head = pool.alloc()?;
    let first = len.min(head.tailroom());
    head.append(first)?;
    let mut left = len - first;
    while left > 0 {
        let mut next = pool.alloc()?;
        let part = left.min(next.tailroom());
        next.append(part)?;
        head.chain(next).ok()?;
        left -= part;
    }
    Some(head)
}
