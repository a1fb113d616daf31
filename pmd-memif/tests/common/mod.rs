//! A device of the driver with its pool, as tests from outside the crate open it.

use std::time::{Duration, Instant};

use pmd_core::deployment::XdpHints;
use pmd_core::{
    DeviceRequest, Driver, Lport, LportId, Mbuf, OpenError, Options, Pool, PoolConfig, QueueRequest, RawOption,
};
use pmd_memif::MemifDriver;

/// One device with its pool.
pub(crate) struct Port {
    /// One per queue.
    pub(crate) lports: Vec<Lport>,
    /// Where it receives into, and what its packets are made of.
    pub(crate) pool: Pool,
}

impl Port {
    /// Opens a memif with these options.
    pub(crate) fn open(name: &str, queues: u16, options: &[(&str, &str)]) -> Result<Self, OpenError> {
        let given: Vec<_> = options.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
        let options = Options::check(MemifDriver.options(), &given).expect("the test's options are right");
        let shareable = MemifDriver.shares_pools(&options);
        let config = PoolConfig { name: name.into(), size: 4096, cache: 64, shareable, ..PoolConfig::default() };
        let pool = Pool::new(&config).unwrap();
        let queue = |qid| QueueRequest {
            lport: LportId(qid),
            name: format!("{name}:{qid}"),
            qid,
            pool: Some(pool.clone()),
            rx_desc: 0,
            tx_desc: 0,
            xdp: XdpHints::default(),
        };
        let request = DeviceRequest { name: name.into(), options, queues: (0..queues).map(queue).collect() };
        Ok(Self { lports: MemifDriver.open(request)?, pool })
    }

    /// A packet of one or more segments.
    pub(crate) fn packet(&self, data: &[u8]) -> Mbuf {
        let mut packet: Option<Mbuf> = None;
        for part in data.chunks(self.pool.data_room()) {
            let mut segment = self.pool.alloc().expect("the pool is large enough");
            segment.append(part.len()).unwrap().copy_from_slice(part);
            match &mut packet {
                None => packet = Some(segment),
                Some(head) => head.chain(segment).unwrap(),
            }
        }
        packet.expect("tests send data")
    }

    /// Closes the device: every mbuf is back.
    pub(crate) fn assert_whole(self) {
        drop(self.lports);
        assert_eq!(self.pool.available(), self.pool.size());
    }
}

/// Waits for a condition; the deadline is for failures only.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::yield_now();
    }
}
