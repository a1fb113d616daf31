//! A live link: the rings of one connection, dealt out to the queues of the interface.
//!
//! Numbers of rings and of queues may differ (uneven counts):
//! - receiving, queue `q` serves the rings q, q + queues, ...; a queue without a ring receives nothing;
//! - sending, queue `q` has ring `q`; queues beyond the number of rings share the rings there are, behind a lock that is
//!   only tried, never waited for. Rings beyond the number of queues are not sent on.
//!
//! A link is built by the control thread, complete. Each queue takes its rings out of it once; they keep the memory alive.
//! Beside the rings stands a view of them that stays, for those who watch.

use std::sync::{Arc, Mutex, PoisonError};

use pmd_core::{Burst, Pool};

use crate::control::{LinkId, Memory, Ring};
use crate::layout::Layout;
use crate::message::Direction;
use crate::ring::exported::ExportedPool;
use crate::ring::posted::PostedBuffers;
use crate::ring::resting::MOST_RESTING;
use crate::ring::rotated::RotatedBuffers;
use crate::ring::rx::{CountRx, RxRing};
use crate::ring::rx_borrow::BorrowRxRing;
use crate::ring::rx_zero_copy::ZeroCopyRxRing;
use crate::ring::tx::{Sent, TxRing, TxTally};
use crate::ring::tx_lend::LendTxRing;
use crate::ring::tx_zero_copy::ZeroCopyTxRing;
use crate::ring::{OwnSlots, PeersSlots, Place, RingMemory, RingSize};
use crate::shm::{self, CacheLine, Regions, ShmError, ShmLender, ShmRing};
use crate::view::{RegionView, RingView, View};

/// A receiving ring.
#[derive(Debug)]
pub(crate) enum RxEnd {
    /// Packets are copied out of buffers of ours.
    Client(RxRing<ShmRing, PostedBuffers>),
    /// The same, and the peer is another process: all of them in turn.
    Rotated(RxRing<ShmRing, RotatedBuffers>),
    /// Packets are copied out of buffers of the peer.
    Server(RxRing<ShmRing, PeersSlots>),
    /// Packets are lent where the peer, a client, put them.
    Borrow(BorrowRxRing<ShmRing, ShmLender>),
    /// The peer fills our mbufs.
    ZeroCopy(ZeroCopyRxRing<ShmRing>),
}

/// A sending ring.
#[derive(Debug)]
pub(crate) enum TxEnd {
    /// Packets are copied into buffers of ours.
    Client(TxRing<ShmRing, OwnSlots>),
    /// Packets are copied into buffers of the peer.
    Server(TxRing<ShmRing, PeersSlots>),
    /// Packets are copied into buffers of the peer, a client, unless they were written there.
    Lend(LendTxRing<ShmRing, ShmLender>),
    /// The peer reads our mbufs.
    ZeroCopy(ZeroCopyTxRing<ShmRing>),
}

/// The sending ring of one queue.
#[derive(Debug)]
pub(crate) enum TxOwner {
    /// Its own.
    Own(TxEnd),
    /// One that it shares with other queues.
    Shared(Arc<Mutex<TxEnd>>),
}

/// Which side of the link we are, and what only that side knows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side<'a> {
    /// We made the memory, laid out like this. Its buffers lie behind the rings, or are mbufs of exported pools.
    Client(Layout, &'a Exports),
    /// The peer made it.
    Server {
        /// Whether received packets are lent instead of copied, and the buffers of packets to be sent.
        borrows: bool,
    },
}

/// What both sides' links have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// The cache line that rings are laid out by.
    pub(crate) line: CacheLine,
    /// Number of queue pairs.
    pub(crate) queues: usize,
    /// Bytes put into one slot at most.
    pub(crate) segment_max: u32,
    /// Whether the peer is another process.
    pub(crate) apart: bool,
}

/// The pools that a zero-copy client shares with its peer; none on other devices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exports {
    /// All of them, each once, with regions from 1 up.
    pub(crate) pools: Vec<ExportedPool>,
    /// For each queue, which of them it receives into.
    pub(crate) of_queue: Vec<usize>,
}

impl Exports {
    /// How many of a sending ring's mbufs may rest: not what the pools are needed for. Who else has mbufs of them is not known, so
    /// it is a small part, and none of pools that are little more than what the rings hold.
    fn resting(&self, size: RingSize) -> usize {
        let spare = |(index, export): (usize, &ExportedPool)| {
            let held = 2 * usize::from(size.get()) * self.of_queue.iter().filter(|of| **of == index).count();
            let pool = export.pool.size();
            if pool >= 2 * held { pool / 6 } else { 0 }
        };
        self.pools.iter().enumerate().map(spare).min().unwrap_or(0).min(MOST_RESTING)
    }
}

impl Side<'_> {
    /// Bytes that the buffers of a queue's rings hold, as far as this side knows: the mbufs of its pool, or what was
    /// configured.
    fn buffer_size(&self, queue: usize) -> Option<u32> {
        let Side::Client(layout, exports) = self else { return None };
        let pool = || u32::try_from(exports.pools[exports.of_queue[queue]].pool.data_room()).ok();
        layout.capacity.or_else(pool)
    }
}

/// The rings of a connection that its queues have not taken yet.
#[derive(Debug)]
pub(crate) struct Link {
    id: LinkId,
    rx: Vec<Mutex<Vec<RxEnd>>>,
    tx: Vec<Mutex<Option<TxOwner>>>,
    view: View,
    regions: Arc<Regions>,
}

impl Link {
    /// Maps the memory of a finished handshake and makes the ends of its rings. On a client this posts the buffers.
    ///
    /// # Errors
    /// Memory that is not what the peer said it was.
    pub(crate) fn new(id: LinkId, memory: Memory, side: Side<'_>, shape: Shape) -> Result<Self, ShmError> {
        let Shape { line, queues, segment_max, apart } = shape;
        // Exported pools are reached through their own mapping; what rings need mapped is what they lie in.
        let mapped = if matches!(side, Side::Client(..)) { 1 } else { memory.regions.len() };
        let regions = memory.regions.iter().take(mapped);
        let regions = Regions::map(regions.map(|region| (&region.fd, region.size)))?;
        let mut view = View { regions: memory.regions.iter().map(RegionView::of).collect(), rings: Vec::new() };
        let (received, sent, incoming, outgoing) = match side {
            Side::Client(..) => (memory.m2s, memory.s2m, Direction::M2s, Direction::S2m),
            Side::Server { .. } => (memory.s2m, memory.m2s, Direction::S2m, Direction::M2s),
        };
        let mut rx: Vec<_> = (0..queues).map(|_| Vec::new()).collect();
        for (number, ring) in open_rings(received, incoming, &regions, line, apart)?.into_iter().enumerate() {
            let queue = number % queues;
            view.rings.push(ring.view(side.buffer_size(queue)));
            rx[queue].push(RxEnd::new(side, queue, ring)?);
        }
        let mut tx = Vec::new();
        for ring in open_rings(sent, outgoing, &regions, line, apart)? {
            view.rings.push(ring.view(side.buffer_size(usize::from(ring.index) % queues)));
            tx.push(TxEnd::new(side, ring, segment_max)?);
        }
        Ok(Self { id, rx: rx.into_iter().map(Mutex::new).collect(), tx: deal(tx, queues), view, regions })
    }

    /// Its name.
    pub(crate) fn id(&self) -> LinkId {
        self.id
    }

    /// Whether the peer has taken memory away under us.
    pub(crate) fn has_lost_memory(&self) -> bool {
        self.regions.is_lost()
    }

    /// What it consists of.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The receiving rings of a queue; none when it has taken them before.
    pub(crate) fn take_rx(&self, queue: usize) -> Vec<RxEnd> {
        std::mem::take(&mut *self.rx[queue].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The sending ring of a queue; none when it has taken it before, or the peer brought no ring.
    pub(crate) fn take_tx(&self, queue: usize) -> Option<TxOwner> {
        self.tx[queue].lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl RxEnd {
    fn new(side: Side<'_>, queue: usize, ring: OpenRing) -> Result<Self, ShmError> {
        let OpenRing { direction, index, size, shm, .. } = ring;
        let (layout, exports) = match side {
            Side::Client(layout, exports) => (layout, exports),
            Side::Server { borrows: false } => return Ok(Self::Server(RxRing::new(shm, size, PeersSlots))),
            Side::Server { borrows: true } => {
                let lender = ShmLender::new(&shm, size).map_err(ShmError::Lender)?;
                return Ok(Self::Borrow(BorrowRxRing::new(shm, lender, size)));
            }
        };
        Ok(match layout.buffers(direction, index) {
            Some(own) if shm.is_peer_apart() => Self::Rotated(RxRing::new(shm, size, RotatedBuffers::new(own, size))),
            Some(own) => Self::Client(RxRing::new(shm, size, PostedBuffers::new(own, size))),
            None => {
                let pool = exports.pools[exports.of_queue[queue]].clone();
                Self::ZeroCopy(ZeroCopyRxRing::new(shm, size, pool))
            }
        })
    }

    /// The same ring, whose packets are passed on by who receives them, or are not: a peer's are lent then, if they are large.
    pub(crate) fn with_passed_on(self, passed_on: bool) -> Self {
        match self {
            Self::Server(ring) if passed_on => match ShmLender::new(ring.memory(), ring.size()) {
                Ok(lender) => Self::Borrow(BorrowRxRing::of_large(ring, lender)),
                // Copying is only slower.
                Err(_) => Self::Server(ring),
            },
            Self::Borrow(mut ring) => {
                ring.set_passed_on(passed_on);
                Self::Borrow(ring)
            }
            other => other,
        }
    }

    /// Adds received packets to `burst`; `pool` is for those that are copied.
    #[inline(always)]
    pub(crate) fn receive(&mut self, pool: &Pool, port: u16, burst: &mut Burst, count: impl CountRx) -> usize {
        match self {
            Self::Client(ring) => ring.receive(pool, port, burst, count),
            Self::Rotated(ring) => ring.receive(pool, port, burst, count),
            Self::Server(ring) => ring.receive(pool, port, burst, count),
            Self::Borrow(ring) => ring.receive(pool, port, burst, count),
            Self::ZeroCopy(ring) => ring.receive(port, burst, count),
        }
    }

    /// Whether packets wait.
    pub(crate) fn has_packets(&self) -> bool {
        match self {
            Self::Client(ring) => ring.has_packets(),
            Self::Rotated(ring) => ring.has_packets(),
            Self::Server(ring) => ring.has_packets(),
            Self::Borrow(ring) => ring.has_packets(),
            Self::ZeroCopy(ring) => ring.has_packets(),
        }
    }

    /// The ring's memory.
    pub(crate) fn memory(&self) -> &ShmRing {
        match self {
            Self::Client(ring) => ring.memory(),
            Self::Rotated(ring) => ring.memory(),
            Self::Server(ring) => ring.memory(),
            Self::Borrow(ring) => ring.memory(),
            Self::ZeroCopy(ring) => ring.memory(),
        }
    }
}

impl TxOwner {
    /// The same ring, which sends from a pool from now on, if it can. One that is shared between threads does not: each would
    /// have to wait for its lock to find out.
    pub(crate) fn with_pool(self) -> Self {
        match self {
            Self::Own(ring) => Self::Own(ring.with_pool()),
            shared @ Self::Shared(_) => shared,
        }
    }
}

impl TxEnd {
    fn new(side: Side<'_>, ring: OpenRing, segment_max: u32) -> Result<Self, ShmError> {
        let OpenRing { direction, index, size, shm, .. } = ring;
        let (layout, exports) = match side {
            Side::Client(layout, exports) => (layout, exports),
            Side::Server { borrows: false } => {
                return Ok(Self::Server(TxRing::new(shm, size, PeersSlots, segment_max)));
            }
            Side::Server { borrows: true } => {
                let lender = ShmLender::new(&shm, size).map_err(ShmError::Lender)?;
                return Ok(Self::Lend(LendTxRing::new(TxRing::new(shm, size, PeersSlots, segment_max), lender)));
            }
        };
        Ok(match layout.buffers(direction, index) {
            Some(own) => Self::Client(TxRing::new(shm, size, own, segment_max)),
            None => Self::ZeroCopy(ZeroCopyTxRing::new(
                shm,
                size,
                exports.pools.clone(),
                segment_max,
                exports.resting(size),
            )),
        })
    }

    /// The same ring, which sends from where packets lie from now on, if they lie in the mbufs that its buffers are: of a ring
    /// whose buffers are mbufs, and none of them under way. Without memory for that it goes on copying, which is only slower.
    fn with_pool(self) -> Self {
        match self {
            Self::Client(ring) => shm::over_pool(ring).map_or_else(Self::Client, Self::ZeroCopy),
            other => other,
        }
    }

    /// The pool whose packets are sent from where they lie.
    pub(crate) fn pool(&self) -> Option<&Pool> {
        match self {
            Self::ZeroCopy(ring) => Some(ring.pool()),
            Self::Client(_) | Self::Server(_) | Self::Lend(_) => None,
        }
    }

    /// Adds empty mbufs that are sent from where they lie to `burst`, and says how many; `None` when there are none such.
    pub(crate) fn alloc(&mut self, burst: &mut Burst, n: usize, tally: &mut TxTally) -> Option<usize> {
        match self {
            Self::Client(_) | Self::Server(_) => None,
            Self::Lend(ring) => Some(ring.alloc(burst, n, tally)),
            Self::ZeroCopy(ring) => Some(ring.alloc(burst, n)),
        }
    }

    /// Sends the leading mbufs of `burst`, as many as fit, and takes them out of it. `pool` is for packets that were written
    /// into the ring and cannot stay there.
    #[inline(always)]
    pub(crate) fn send(&mut self, pool: &Pool, burst: &mut Burst, tally: &mut TxTally) -> Sent {
        let sent = match self {
            Self::Client(ring) => ring.send(burst, tally),
            Self::Server(ring) => ring.send(burst, tally),
            Self::Lend(ring) => return ring.send(pool, burst, tally),
            Self::ZeroCopy(ring) => return ring.send(burst, tally),
        };
        burst.free_front(sent.taken);
        sent
    }

    /// Takes back what the peer is done with.
    pub(crate) fn reclaim(&mut self, tally: &mut TxTally) {
        if let Self::ZeroCopy(ring) = self {
            ring.reclaim(tally);
        }
    }

    /// The ring's memory.
    #[inline(always)]
    pub(crate) fn memory(&self) -> &ShmRing {
        match self {
            Self::Client(ring) => ring.memory(),
            Self::Server(ring) => ring.memory(),
            Self::Lend(ring) => ring.memory(),
            Self::ZeroCopy(ring) => ring.memory(),
        }
    }
}

/// A ring in shared memory, not yet an end of anybody's.
struct OpenRing {
    direction: Direction,
    index: u16,
    place: Place,
    size: RingSize,
    shm: ShmRing,
}

impl OpenRing {
    fn view(&self, buffer_size: Option<u32>) -> RingView {
        let OpenRing { direction, index, place, size, ref shm } = *self;
        RingView { direction, index, place, size, buffer_size, words: shm.words() }
    }
}

/// The rings of a direction in shared memory. Repetitions (CNDP) are left out.
fn open_rings(
    rings: Vec<Ring>,
    direction: Direction,
    regions: &Arc<Regions>,
    line: CacheLine,
    apart: bool,
) -> Result<Vec<OpenRing>, ShmError> {
    let distinct = (0..).zip(rings).filter(|(_, ring)| ring.duplicate_of.is_none());
    let open = distinct.map(|(index, ring)| {
        let size = RingSize::from_log2(ring.placement.log2_size);
        let place = Place { region: ring.placement.region, offset: ring.placement.offset };
        let shm = ShmRing::new(regions, place, size, line, ring.fd)?.with_peer_apart(apart);
        Ok(OpenRing { direction, index, place, size, shm })
    });
    open.collect()
}

/// Gives each queue its sending ring.
fn deal(rings: Vec<TxEnd>, queues: usize) -> Vec<Mutex<Option<TxOwner>>> {
    let count = rings.len();
    let owners: Vec<_> = if count >= queues {
        rings.into_iter().take(queues).map(|ring| Some(TxOwner::Own(ring))).collect()
    } else {
        let shared: Vec<_> = rings.into_iter().map(|ring| Arc::new(Mutex::new(ring))).collect();
        let share = |queue| (count > 0).then(|| TxOwner::Shared(Arc::clone(&shared[queue % count])));
        (0..queues).map(share).collect()
    };
    owners.into_iter().map(Mutex::new).collect()
}

#[cfg(test)]
mod tests {
    use pmd_core::PoolConfig;

    use super::*;

    #[test]
    fn a_sixth_of_an_exported_pool_may_rest_if_it_has_twice_what_its_rings_hold() {
        let resting = |sizes: &[usize], of_queue: &[usize]| {
            let pool = |size| Pool::new(&PoolConfig { size, data_room: 64, ..PoolConfig::default() }).unwrap();
            let pools = sizes.iter().zip(1..).map(|(size, region)| ExportedPool::new(pool(*size), region)).collect();
            Exports { pools, of_queue: of_queue.to_vec() }.resting(RingSize::from_log2(4))
        };
        // A queue's rings hold 32 mbufs.
        assert_eq!([resting(&[63], &[0]), resting(&[64], &[0]), resting(&[64], &[0, 0])], [0, 10, 0]);
        assert_eq!([resting(&[128], &[0, 0]), resting(&[600, 64], &[0, 1])], [21, 10], "the smallest pool decides");
        assert_eq!(resting(&[60_000], &[0]), MOST_RESTING);
    }
}
