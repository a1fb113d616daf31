//! `net_null`: an endless source of empty packets and a sink for everything (DPDK's net_null).
//!
//! 1. open makes one lport per queue; each has a pool of its own unless the file names one.
//! 2. rx_burst hands out packets of `size` bytes, as many as the burst takes, unless `no-rx` is set. They are zeroed, so that
//!    nothing that was in memory reaches a peer; with `zeroed=no` they are not touched, as by DPDK's, and cost as little.
//! 3. tx_burst frees what it is given.

use std::sync::Arc;

use crate::burst::Burst;
use crate::deployment::LportId;
use crate::device::{DeviceControl, DeviceState, QueueCounters, bytes_of};
use crate::driver::{DeviceRequest, Driver, OpenError, QueueRequest};
use crate::lport::{Lport, LportInfo, RxQueue, TxQueue};
use crate::mbuf::Mbuf;
use crate::options::{OptionSpec, Options};
use crate::pool::{Pool, PoolConfig, RxPool};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::int("size", 14, 9216, "64", "bytes of each packet it makes"),
    OptionSpec::flag("no-rx", "no", "make no packets, only swallow them"),
    OptionSpec::flag("zeroed", "yes", "zero each packet, else leave what its mbuf held before, as DPDK does"),
];

/// The driver.
#[derive(Debug, Clone, Copy)]
pub struct NullDriver;

impl Driver for NullDriver {
    fn name(&self) -> &str {
        "net_null"
    }

    fn summary(&self) -> &str {
        "an endless source of empty packets and a sink for everything"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn needs_pool(&self) -> bool {
        false
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let DeviceRequest { options, queues, .. } = device;
        let state = DeviceState::up();
        queues.into_iter().map(|queue| open_queue(&options, &state, queue)).collect()
    }
}

fn open_queue(options: &Options, state: &Arc<DeviceState>, queue: QueueRequest) -> Result<Lport, OpenError> {
    let size = options.int("size").unwrap_or(64) as usize;
    let pool = match queue.pool {
        Some(pool) if pool.data_room() < size => {
            let (name, room) = (pool.name(), pool.data_room());
            return Err(OpenError(format!("option `size` is {size}, but the mbufs of `{name}` hold {room} bytes")));
        }
        Some(pool) => pool,
        None => own_pool(&queue.name, size)?,
    };
    let (state, counters) = (Arc::clone(state), Arc::new(QueueCounters::default()));
    let rx = NullRx {
        state: Arc::clone(&state),
        counters: Arc::clone(&counters),
        pool: RxPool::new(pool),
        size,
        zeroed: if options.bool("zeroed") { size } else { 0 },
        silent: options.bool("no-rx"),
        port: queue.lport.0,
    };
    let tx = NullTx { state: Arc::clone(&state), counters: Arc::clone(&counters) };
    let info = LportInfo { driver: "net_null".into(), mac: None, max_packet: u32::MAX, speed_mbps: 10_000 };
    Ok(Lport {
        id: queue.lport,
        name: queue.name,
        rx: Box::new(rx),
        tx: Box::new(tx),
        control: Arc::new(DeviceControl::new(state, counters, info)),
    })
}

fn own_pool(name: &str, size: usize) -> Result<Pool, OpenError> {
    let config =
        PoolConfig { name: format!("null:{name}"), size: 1024, data_room: size.max(64), ..PoolConfig::default() };
    Pool::new(&config).map_err(|error| OpenError(error.to_string()))
}

struct NullRx {
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
    pool: RxPool,
    size: usize,
    /// How many bytes of a packet are zeroed.
    zeroed: usize,
    silent: bool,
    port: u16,
}

impl RxQueue for NullRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.silent || !self.state.is_up() {
            return 0;
        }
        let (first, wanted) = (burst.len(), burst.room());
        let n = self.pool.alloc_bulk(burst, wanted);
        let Self { size, zeroed, port, .. } = *self;
        let received = |mbuf: &mut Mbuf| mbuf.set_received(size, port);
        if zeroed == 0 {
            // Nothing is stored then: to store no bytes takes a C library a microsecond where memory was never touched.
            burst[first..].iter_mut().for_each(received);
        } else {
            burst[first..].iter_mut().for_each(|mbuf| {
                mbuf.room_mut()[..zeroed].fill(0);
                received(mbuf);
            });
        }
        if n < wanted {
            self.counters.rx.nombuf.add(1);
        }
        self.counters.rx.add(n, n * self.size);
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }

    fn receive_into(&mut self, pool: Option<Pool>) {
        self.pool.set(pool);
    }
}

struct NullTx {
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
}

impl TxQueue for NullTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.state.is_up() {
            return 0;
        }
        let n = burst.len();
        self.counters.tx.add(n, bytes_of(burst));
        burst.clear();
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::RawOption;

    fn open(given: &[RawOption], pool: Option<&Pool>) -> Result<Lport, OpenError> {
        let options = Options::check(OPTIONS, given).unwrap();
        Ok(NullDriver.open(DeviceRequest::new("n0", options, 1, pool))?.remove(0))
    }

    #[test]
    fn makes_and_swallows_packets_and_counts_both() {
        let mut lport = open(&[RawOption::text("size", "100")], None).unwrap();
        let mut burst = Burst::with_limit(32);
        assert_eq!((lport.rx.rx_burst(&mut burst), burst[0].packet_len(), burst[0].port()), (32, 100, 0));
        assert_eq!(lport.tx.tx_burst(&mut burst), 32);
        lport.rx.renumber(LportId(4));
        assert_eq!((lport.rx.rx_burst(&mut burst), burst[0].port()), (32, 4));
        burst.clear();
        lport.control.set_admin_up(false);
        assert_eq!((lport.rx.rx_burst(&mut burst), lport.control.link().is_up()), (0, false));
        let stats = lport.control.stats();
        assert_eq!((stats.ipackets, stats.ibytes, stats.opackets, stats.obytes), (64, 6400, 32, 3200));
    }

    #[test]
    fn packets_are_zeroed_unless_asked_otherwise() {
        let config = PoolConfig { name: "dirty".into(), size: 64, ..PoolConfig::default() };
        let pool = Pool::new(&config).unwrap();
        for (word, expected) in [("yes", 0), ("no", 7)] {
            let mut burst = Burst::with_limit(64);
            pool.alloc_bulk(&mut burst, 64);
            burst.iter_mut().for_each(|mbuf| mbuf.room_mut().fill(7));
            burst.clear();
            let mut lport =
                open(&[RawOption::text("size", "100"), RawOption::text("zeroed", word)], Some(&pool)).unwrap();
            assert_eq!(lport.rx.rx_burst(&mut burst), 64);
            assert!(burst.iter().all(|mbuf| mbuf.data() == [expected; 100]), "zeroed={word}");
        }
        assert_eq!(pool.available(), pool.size());
    }

    #[test]
    fn setting_one_lport_down_sets_the_whole_device_down() {
        let options = Options::check(OPTIONS, &[]).unwrap();
        let lports = NullDriver.open(DeviceRequest::new("n0", options, 2, None)).unwrap();
        lports[0].control.set_admin_up(false);
        assert_eq!(lports[1].control.link(), crate::Link::Down("administratively down".into()));
    }

    #[test]
    fn an_exhausted_pool_is_counted_and_a_small_mbuf_refused() {
        let pool = Pool::new(&PoolConfig { size: 8, data_room: 64, ..PoolConfig::default() }).unwrap();
        let mut lport = open(&[], Some(&pool)).unwrap();
        let mut burst = Burst::with_limit(32);
        assert_eq!((lport.rx.rx_burst(&mut burst), lport.control.stats().rx_nombuf), (8, 1));
        let error = open(&[RawOption::text("size", "65")], Some(&pool)).unwrap_err();
        assert_eq!(error.to_string(), "option `size` is 65, but the mbufs of `pool` hold 64 bytes");
    }
}
