//! A device of the driver with its pool, as tests from outside the crate open it.

use std::time::{Duration, Instant};

use pmd_core::{DeviceRequest, Driver, Lport, Mbuf, OpenError, Options, Pool, PoolConfig, RawOption};
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
        let shareable = MemifDriver.shares_pools(&checked(options));
        let config = PoolConfig { name: name.into(), size: 4096, cache: 64, shareable, ..PoolConfig::default() };
        Self::open_on(&Pool::new(&config).unwrap(), name, queues, options)
    }

    /// Opens a memif on a pool that there is.
    pub(crate) fn open_on(pool: &Pool, name: &str, queues: u16, options: &[(&str, &str)]) -> Result<Self, OpenError> {
        let request = DeviceRequest::new(name, checked(options), queues, Some(pool));
        Ok(Self { lports: MemifDriver.open(request)?, pool: pool.clone() })
    }

    /// A packet of one or more segments.
    pub(crate) fn packet(&self, data: &[u8]) -> Mbuf {
        self.pool.alloc_packet(data).expect("the pool is large enough")
    }

    /// Closes the device: every mbuf is back.
    pub(crate) fn assert_whole(self) {
        drop(self.lports);
        assert_eq!(self.pool.available(), self.pool.size());
    }
}

fn checked(options: &[(&str, &str)]) -> Options {
    let given: Vec<_> = options.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
    Options::check(MemifDriver.options(), &given).expect("the test's options are right")
}

/// Waits for a condition; the deadline is for failures only.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::yield_now();
    }
}
