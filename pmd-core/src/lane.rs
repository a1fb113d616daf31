//! A lane: a bounded ring of mbufs with one sending and one receiving thread, moved by bursts.
//!
//! The ring itself is rtrb's; each burst costs one store of an index, and a load of the other side's only when the
//! remembered one no longer suffices. Mbufs left in a lane that is dropped return to their pools.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::burst::Burst;
use crate::mbuf::Mbuf;

/// The sending end.
#[derive(Debug)]
pub(crate) struct LaneTx(Producer<Mbuf>);

/// The receiving end.
#[derive(Debug)]
pub(crate) struct LaneRx(Consumer<Mbuf>);

/// A lane for `capacity` mbufs.
pub(crate) fn lane(capacity: usize) -> (LaneTx, LaneRx) {
    let (producer, consumer) = RingBuffer::new(capacity);
    (LaneTx(producer), LaneRx(consumer))
}

impl LaneTx {
    /// Moves mbufs from the front of `burst` into the lane, as many as fit, and says how many.
    #[inline]
    pub(crate) fn send(&mut self, burst: &mut Burst) -> usize {
        let mut n = burst.len();
        if self.0.cached_slots() < n {
            n = n.min(self.0.slots());
        }
        match self.0.write_chunk_uninit(n) {
            Ok(chunk) => chunk.fill_from_iter(burst.drain_front(n)),
            Err(_) => 0,
        }
    }

    /// Whether the receiving end is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

impl LaneRx {
    /// Moves mbufs from the lane to the end of `burst`, up to its limit, and says how many.
    #[inline]
    pub(crate) fn receive(&mut self, burst: &mut Burst) -> usize {
        let room = burst.room();
        let mut n = room;
        if self.0.cached_slots() < n {
            n = n.min(self.0.slots());
        }
        if n == 0 {
            return 0;
        }
        let Ok(chunk) = self.0.read_chunk(n) else { return 0 };
        for mbuf in chunk {
            let pushed = burst.push(mbuf);
            debug_assert!(pushed.is_ok(), "n is within the burst's room");
        }
        n
    }

    /// Whether the sending end is gone and nothing waits: nothing will ever come.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_abandoned() && self.is_empty()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pool, PoolConfig};

    #[test]
    fn packets_cross_threads_in_order_and_none_is_lost() {
        let pool = Pool::new(&PoolConfig { size: 256, data_room: 64, ..PoolConfig::default() }).unwrap();
        let (mut tx, mut rx) = lane(64);
        let total = if cfg!(miri) { 300 } else { 20_000_u32 };
        let sink = std::thread::spawn(move || {
            let (mut burst, mut next) = (Burst::with_limit(32), 0_u32);
            while next < total {
                if rx.receive(&mut burst) == 0 {
                    std::thread::yield_now();
                }
                for mbuf in burst.iter() {
                    assert_eq!(mbuf.data(), next.to_le_bytes());
                    next += 1;
                }
                burst.clear();
            }
        });
        let mut burst = Burst::with_limit(32);
        let mut made = 0;
        while made < total || !burst.is_empty() {
            let before = burst.len();
            let n = pool.alloc_bulk(&mut burst, (total - made) as usize);
            for mbuf in &mut burst[before..] {
                mbuf.append(4).unwrap().copy_from_slice(&made.to_le_bytes());
                made += 1;
            }
            if tx.send(&mut burst) == 0 && n == 0 {
                std::thread::yield_now();
            }
        }
        sink.join().unwrap();
        drop(burst);
        assert_eq!(pool.available(), 256);
    }

    #[test]
    fn a_full_lane_leaves_the_rest_in_the_burst() {
        let pool = Pool::new(&PoolConfig { size: 20, data_room: 64, ..PoolConfig::default() }).unwrap();
        let (mut tx, rx) = lane(8);
        let mut burst = Burst::new();
        pool.alloc_bulk(&mut burst, 10);
        assert_eq!((tx.send(&mut burst), tx.send(&mut burst), burst.len()), (8, 0, 2));
        drop((rx, tx, burst));
        assert_eq!(pool.available(), 20, "mbufs left in a lane go home");
    }

    #[test]
    fn a_lane_is_finished_when_its_sender_has_gone_and_the_last_packet_is_out() {
        let pool = Pool::new(&PoolConfig { size: 4, data_room: 64, ..PoolConfig::default() }).unwrap();
        let (mut tx, mut rx) = lane(4);
        assert!(rx.is_empty() && !rx.is_finished());
        let mut burst = Burst::new();
        pool.alloc_bulk(&mut burst, 1);
        tx.send(&mut burst);
        drop(tx);
        assert!(!rx.is_finished());
        assert_eq!(rx.receive(&mut burst), 1);
        assert!(rx.is_finished());
    }
}
