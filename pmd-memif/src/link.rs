//! A live link: the rings of one connection, dealt out to the queues of the interface.
//!
//! Numbers of rings and of queues may differ (uneven counts):
//! - receiving, queue `q` serves the rings q, q + queues, ...; a queue without a ring receives nothing;
//! - sending, queue `q` has ring `q`; queues beyond the number of rings share the rings there are, behind a lock that is
//!   only tried, never waited for. Rings beyond the number of queues are not sent on.
//!
//! A link is built by the control thread, complete. Each queue takes its rings out of it once; they keep the memory alive.

use std::sync::{Arc, Mutex, PoisonError};

use crate::control::{Memory, Ring};
use crate::layout::Layout;
use crate::message::Direction;
use crate::ring::rx::RxRing;
use crate::ring::tx::TxRing;
use crate::ring::{OwnSlots, Place, RingSize};
use crate::shm::{CacheLine, Regions, ShmError, ShmRing};

/// The receiving rings of one queue.
pub(crate) type RxRings = Vec<RxRing<ShmRing>>;

/// The sending ring of one queue.
#[derive(Debug)]
pub(crate) enum TxEnd {
    /// Its own.
    Own(TxRing<ShmRing>),
    /// One that it shares with other queues.
    Shared(Arc<Mutex<TxRing<ShmRing>>>),
}

/// Which side of the link we are, and what only that side knows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// We made the memory, laid out like this.
    Client(Layout),
    /// The peer made it.
    Server,
}

/// The rings of a connection that its queues have not taken yet.
#[derive(Debug)]
pub(crate) struct Link {
    rx: Vec<Mutex<RxRings>>,
    tx: Vec<Mutex<Option<TxEnd>>>,
}

impl Link {
    /// Maps the memory of a finished handshake and makes the ends of its rings. On a client this posts the buffers.
    ///
    /// `queues` is the number of queue pairs, `segment_max` the bytes put into one slot at most.
    ///
    /// # Errors
    /// Memory that is not what the peer said it was.
    pub(crate) fn new(
        memory: Memory,
        side: Side,
        line: CacheLine,
        queues: usize,
        segment_max: u32,
    ) -> Result<Self, ShmError> {
        let regions = Regions::map(memory.regions.iter().map(|region| (&region.fd, region.size)))?;
        let s2m = open_rings(memory.s2m, Direction::S2m, &regions, side, line)?;
        let m2s = open_rings(memory.m2s, Direction::M2s, &regions, side, line)?;
        let (receive, send) = match side {
            Side::Client(_) => (m2s, s2m),
            Side::Server => (s2m, m2s),
        };
        let mut rx: Vec<_> = (0..queues).map(|_| Vec::new()).collect();
        for (number, (shm, size, own)) in receive.into_iter().enumerate() {
            rx[number % queues].push(RxRing::new(shm, size, own));
        }
        let tx = send.into_iter().map(|(shm, size, own)| TxRing::new(shm, size, own, segment_max));
        Ok(Self { rx: rx.into_iter().map(Mutex::new).collect(), tx: deal(tx.collect(), queues) })
    }

    /// The receiving rings of a queue; none when it has taken them before.
    pub(crate) fn take_rx(&self, queue: usize) -> RxRings {
        std::mem::take(&mut *self.rx[queue].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The sending ring of a queue; none when it has taken it before, or the peer brought no ring.
    pub(crate) fn take_tx(&self, queue: usize) -> Option<TxEnd> {
        self.tx[queue].lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type OpenRing = (ShmRing, RingSize, Option<OwnSlots>);

/// The rings of a direction in shared memory, with the buffers that are ours. Repetitions (CNDP) are left out.
fn open_rings(
    rings: Vec<Ring>,
    direction: Direction,
    regions: &Arc<Regions>,
    side: Side,
    line: CacheLine,
) -> Result<Vec<OpenRing>, ShmError> {
    let distinct = (0..).zip(rings).filter(|(_, ring)| ring.duplicate_of.is_none());
    let open = distinct.map(|(index, ring): (u16, Ring)| {
        let size = RingSize::from_log2(ring.placement.log2_size);
        let place = Place { region: ring.placement.region, offset: ring.placement.offset };
        let own = match side {
            Side::Client(layout) => Some(layout.buffers(direction, index)),
            Side::Server => None,
        };
        Ok((ShmRing::new(regions, place, size, line, ring.fd)?, size, own))
    });
    open.collect()
}

/// Gives each queue its sending ring.
fn deal(rings: Vec<TxRing<ShmRing>>, queues: usize) -> Vec<Mutex<Option<TxEnd>>> {
    let count = rings.len();
    let ends: Vec<_> = if count >= queues {
        rings.into_iter().take(queues).map(|ring| Some(TxEnd::Own(ring))).collect()
    } else {
        let shared: Vec<_> = rings.into_iter().map(|ring| Arc::new(Mutex::new(ring))).collect();
        let share = |queue| (count > 0).then(|| TxEnd::Shared(Arc::clone(&shared[queue % count])));
        (0..queues).map(share).collect()
    };
    ends.into_iter().map(Mutex::new).collect()
}
