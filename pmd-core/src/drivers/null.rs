//! `net_null`: an endless source of empty packets and a sink for everything (DPDK's net_null).
//!
//! 1. open makes one lport per queue; each has a pool of its own unless the file names one.
//! 2. rx_burst hands out zeroed packets of `size` bytes, as many as the burst takes, unless `no-rx` is set.
//! 3. tx_burst frees what it is given.

use std::sync::Arc;

use super::{Control, Shared};
use crate::burst::Burst;
use crate::deployment::LportId;
use crate::driver::{DeviceRequest, Driver, OpenError, QueueRequest};
use crate::lport::{Lport, RxQueue, TxQueue};
use crate::mbuf::Mbuf;
use crate::options::{OptionKind, OptionSpec, Options};
use crate::pool::{Pool, PoolConfig};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "size",
        kind: OptionKind::Int { min: 14, max: 9216 },
        default: "64",
        help: "bytes of each packet it makes",
    },
    OptionSpec { name: "no-rx", kind: OptionKind::Bool, default: "no", help: "make no packets, only swallow them" },
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
        queues.into_iter().map(|queue| open_queue(&options, queue)).collect()
    }
}

fn open_queue(options: &Options, queue: QueueRequest) -> Result<Lport, OpenError> {
    let size = options.int("size").unwrap_or(64) as usize;
    let pool = match queue.pool {
        Some(pool) if pool.data_room() < size => {
            let (name, room) = (pool.name(), pool.data_room());
            return Err(OpenError(format!("option `size` is {size}, but the mbufs of `{name}` hold {room} bytes")));
        }
        Some(pool) => pool,
        None => own_pool(&queue.name, size)?,
    };
    let shared = Arc::new(Shared::default());
    let silent = options.bool("no-rx");
    Ok(Lport {
        id: queue.lport,
        name: queue.name,
        rx: Box::new(NullRx { shared: Arc::clone(&shared), pool, size, silent, port: queue.lport.0 }),
        tx: Box::new(NullTx { shared: Arc::clone(&shared) }),
        control: Arc::new(Control { shared, driver: "net_null", max_packet: 9216 }),
    })
}

fn own_pool(name: &str, size: usize) -> Result<Pool, OpenError> {
    let config =
        PoolConfig { name: format!("null:{name}"), size: 1024, data_room: size.max(64), ..PoolConfig::default() };
    Pool::new(&config).map_err(|error| OpenError(error.to_string()))
}

struct NullRx {
    shared: Arc<Shared>,
    pool: Pool,
    size: usize,
    silent: bool,
    port: u16,
}

impl RxQueue for NullRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.silent || self.shared.is_down() {
            return 0;
        }
        let (first, wanted) = (burst.len(), burst.room());
        let n = self.pool.alloc_bulk(burst, wanted);
        for mbuf in &mut burst[first..] {
            mbuf.room_mut()[..self.size].fill(0);
            mbuf.set_received(self.size, self.port);
        }
        let tally = &self.shared.rx;
        if n < wanted {
            tally.nombuf.add(1);
        }
        tally.packets.add(n as u64);
        tally.bytes.add((n * self.size) as u64);
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }
}

struct NullTx {
    shared: Arc<Shared>,
}

impl TxQueue for NullTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if self.shared.is_down() {
            return 0;
        }
        let n = burst.len();
        let bytes: usize = burst.iter().map(Mbuf::packet_len).sum();
        burst.clear();
        self.shared.tx.packets.add(n as u64);
        self.shared.tx.bytes.add(bytes as u64);
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::XdpHints;
    use crate::options::RawOption;

    fn open(given: &[RawOption], pool: Option<Pool>) -> Result<Lport, OpenError> {
        let queue = QueueRequest {
            lport: LportId(3),
            name: "n0".into(),
            qid: 0,
            pool,
            rx_desc: 0,
            tx_desc: 0,
            xdp: XdpHints::default(),
        };
        let options = Options::check(OPTIONS, given).unwrap();
        let lports = NullDriver.open(DeviceRequest { name: "n0".into(), options, queues: vec![queue] })?;
        Ok(lports.into_iter().next().unwrap())
    }

    #[test]
    fn makes_and_swallows_packets_and_counts_both() {
        let mut lport = open(&[RawOption::text("size", "100")], None).unwrap();
        let mut burst = Burst::with_limit(32);
        assert_eq!((lport.rx.rx_burst(&mut burst), burst[0].packet_len(), burst[0].port()), (32, 100, 3));
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
    fn an_exhausted_pool_is_counted_and_a_small_mbuf_refused() {
        let pool = Pool::new(&PoolConfig { size: 8, data_room: 64, ..PoolConfig::default() }).unwrap();
        let mut lport = open(&[], Some(pool.clone())).unwrap();
        let mut burst = Burst::with_limit(32);
        assert_eq!((lport.rx.rx_burst(&mut burst), lport.control.stats().rx_nombuf), (8, 1));
        let error = open(&[RawOption::text("size", "65")], Some(pool)).unwrap_err();
        assert_eq!(error.to_string(), "option `size` is 65, but the mbufs of `pool` hold 64 bytes");
    }
}
