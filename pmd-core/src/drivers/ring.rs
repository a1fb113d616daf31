//! `net_ring`: lports joined by rings inside the process.
//!
//! 1. Each lport names a ring (option `ring`, by default its own name). Two lports of one ring are cross-connected: what
//!    one sends the other receives. An lport alone on its ring receives what it sent.
//! 2. Which of the two it is, is settled when the first of them is polled: until then a second one may still join.
//! 3. From then on each end owns its halves of the lanes, and a burst is a move of handles.
//!
//! The driver keeps only weak references: a ring is gone when its lports are, and its name is free again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::burst::Burst;
use crate::deployment::LportId;
use crate::device::{DeviceControl, DeviceState, QueueCounters, bytes_of};
use crate::driver::{DeviceRequest, Driver, OpenError};
use crate::lane::{LaneRx, LaneTx, lane};
use crate::lport::{Lport, LportInfo, RxQueue, TxQueue};
use crate::options::OptionSpec;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::text(
        "ring",
        63,
        "",
        "name of the ring; two lports of one name are cross-connected (default: the lport's own name)",
    ),
    OptionSpec::int("size", 1, 65536, "1024", "packets each direction can hold"),
];

/// The driver, with the rings that are open.
#[derive(Debug, Default)]
pub struct RingDriver {
    rings: Mutex<HashMap<String, Weak<Ring>>>,
}

impl Driver for RingDriver {
    fn name(&self) -> &str {
        "net_ring"
    }

    fn summary(&self) -> &str {
        "lports joined by rings inside the process"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn needs_pool(&self) -> bool {
        false
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let size = device.options.int("size").unwrap_or(1024) as usize;
        let (state, mut lports) = (DeviceState::up(), Vec::new());
        for queue in device.queues {
            let name = match device.options.text("ring") {
                "" => queue.name.clone(),
                ring => format!("{ring}/{}", queue.qid),
            };
            let (ring, end) = self.join(&name, size)?;
            let seat = Seat { state: Arc::clone(&state), counters: Arc::default(), ring, end };
            let info = LportInfo { driver: "net_ring".into(), mac: None, max_packet: u32::MAX, speed_mbps: 10_000 };
            let control = DeviceControl::new(Arc::clone(&state), Arc::clone(&seat.counters), info);
            lports.push(Lport {
                id: queue.lport,
                name: queue.name,
                rx: Box::new(RingRx { seat: seat.clone(), port: queue.lport.0, lane: None }),
                tx: Box::new(RingTx { seat, lane: None }),
                control: Arc::new(control),
            });
        }
        Ok(lports)
    }
}

impl RingDriver {
    /// The ring called `name`, and which of its two ends the caller has.
    fn join(&self, name: &str, size: usize) -> Result<(Arc<Ring>, usize), OpenError> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.retain(|_, ring| ring.strong_count() > 0);
        if let Some(ring) = rings.get(name).and_then(Weak::upgrade) {
            ring.second_end(name, size)?;
            return Ok((ring, 1));
        }
        let ring = Arc::new(Ring { size, wiring: Mutex::new(Wiring::default()) });
        rings.insert(name.to_owned(), Arc::downgrade(&ring));
        Ok((ring, 0))
    }
}

/// One ring with its one or two ends.
#[derive(Debug)]
struct Ring {
    size: usize,
    wiring: Mutex<Wiring>,
}

/// The halves of the lanes that wait for their queues.
#[derive(Debug, Default)]
struct Wiring {
    crossed: bool,
    settled: bool,
    tx: [Option<LaneTx>; 2],
    rx: [Option<LaneRx>; 2],
}

impl Ring {
    fn second_end(&self, name: &str, size: usize) -> Result<(), OpenError> {
        let mut wiring = self.wiring();
        if wiring.crossed {
            return Err(OpenError(format!("ring `{name}` already has two lports; a third needs another `ring`")));
        }
        if wiring.settled {
            return Err(OpenError(format!("ring `{name}` is already in use as a loop; name another `ring`")));
        }
        if size != self.size {
            return Err(OpenError(format!("ring `{name}` has `size` {}, but its second lport says {size}", self.size)));
        }
        wiring.crossed = true;
        Ok(())
    }

    /// The wiring, settled.
    fn settled(&self) -> MutexGuard<'_, Wiring> {
        let mut wiring = self.wiring();
        if !wiring.settled {
            wiring.settled = true;
            for sender in 0..=usize::from(wiring.crossed) {
                let receiver = if wiring.crossed { 1 - sender } else { sender };
                let (tx, rx) = lane(self.size);
                (wiring.tx[sender], wiring.rx[receiver]) = (Some(tx), Some(rx));
            }
        }
        wiring
    }

    fn wiring(&self) -> MutexGuard<'_, Wiring> {
        self.wiring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What both halves of an lport hold: its device, and its end of a ring.
#[derive(Clone)]
struct Seat {
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
    ring: Arc<Ring>,
    end: usize,
}

struct RingRx {
    seat: Seat,
    port: u16,
    lane: Option<LaneRx>,
}

impl RxQueue for RingRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.seat.state.is_up() {
            return 0;
        }
        let Some(lane) = &mut self.lane else {
            self.lane = self.seat.ring.settled().rx[self.seat.end].take();
            return 0;
        };
        let first = burst.len();
        let n = lane.receive(burst);
        if n == 0 {
            return 0;
        }
        for mbuf in &mut burst[first..] {
            mbuf.set_port(self.port);
        }
        self.seat.counters.rx.add(n, bytes_of(&burst[first..]));
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn arm(&mut self) -> bool {
        self.lane.as_ref().is_none_or(LaneRx::is_empty)
    }
}

struct RingTx {
    seat: Seat,
    lane: Option<LaneTx>,
}

impl TxQueue for RingTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.seat.state.is_up() {
            return 0;
        }
        let lane = match &mut self.lane {
            Some(lane) => lane,
            none => match self.seat.ring.settled().tx[self.seat.end].take() {
                Some(lane) => none.insert(lane),
                None => return 0,
            },
        };
        if lane.is_abandoned() {
            return 0;
        }
        let before = bytes_of(burst);
        let n = lane.send(burst);
        self.seat.counters.tx.add(n, before - bytes_of(burst));
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Options, RawOption};
    use crate::pool::{Pool, PoolConfig};

    fn open(driver: &RingDriver, name: &str, ring: Option<&str>) -> Result<Lport, OpenError> {
        let given: Vec<_> = ring.map(|ring| RawOption::text("ring", ring)).into_iter().collect();
        let options = Options::check(OPTIONS, &given).unwrap();
        Ok(driver.open(DeviceRequest::new(name, options, 1, None))?.remove(0))
    }

    fn pool() -> Pool {
        Pool::new(&PoolConfig { size: 64, data_room: 64, ..PoolConfig::default() }).unwrap()
    }

    /// Sends one packet that carries `mark`.
    fn send(pool: &Pool, lport: &mut Lport, mark: u8) {
        let mut burst = Burst::new();
        pool.alloc_bulk(&mut burst, 1);
        burst[0].append(1).unwrap()[0] = mark;
        assert_eq!(lport.tx.tx_burst(&mut burst), 1);
    }

    /// What has arrived, by mark, after two polls: the first one settles the ring.
    fn received(lport: &mut Lport) -> Vec<u8> {
        let mut burst = Burst::new();
        lport.rx.rx_burst(&mut burst);
        lport.rx.rx_burst(&mut burst);
        burst.iter().map(|mbuf| mbuf.data()[0]).collect()
    }

    #[test]
    fn an_lport_alone_loops_to_itself_and_equal_tags_do_not_collide() {
        let (driver, pool) = (RingDriver::default(), pool());
        let (mut a, mut b) = (open(&driver, "r:0", None).unwrap(), open(&driver, "r:1", None).unwrap());
        send(&pool, &mut a, 1);
        send(&pool, &mut b, 2);
        assert_eq!((received(&mut a), received(&mut b)), (vec![1], vec![2]));
        drop((a, b));
        assert_eq!(pool.available(), pool.size());
    }

    #[test]
    fn two_lports_of_one_ring_are_cross_connected() {
        let (driver, pool) = (RingDriver::default(), pool());
        let (mut a, mut b) = (open(&driver, "a", Some("x")).unwrap(), open(&driver, "b", Some("x")).unwrap());
        send(&pool, &mut a, 1);
        send(&pool, &mut b, 2);
        assert_eq!((received(&mut a), received(&mut b)), (vec![2], vec![1]));
        assert_eq!(a.control.stats().opackets + b.control.stats().ipackets, 2);
        let third = open(&driver, "c", Some("x")).unwrap_err().to_string();
        assert_eq!(third, "ring `x/0` already has two lports; a third needs another `ring`");
        drop((a, b));
        assert!(open(&driver, "c", Some("x")).is_ok(), "the name is free again");
    }

    #[test]
    fn a_loop_in_use_cannot_be_joined() {
        let (driver, pool) = (RingDriver::default(), pool());
        let mut a = open(&driver, "a", Some("x")).unwrap();
        send(&pool, &mut a, 1);
        assert!(open(&driver, "b", Some("x")).unwrap_err().to_string().contains("already in use as a loop"));
        drop(a);
        assert_eq!(pool.available(), pool.size(), "packets left in a ring go home with it");
    }
}
