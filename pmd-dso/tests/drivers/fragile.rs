//! A driver in Rust for tests: its option `does` says what goes wrong.

use std::sync::Arc;

use pmd_core::deployment::DeviceSpec;
use pmd_core::{
    Burst, DeviceControl, DeviceRequest, DeviceState, Driver, Lport, LportInfo, MachineProblem, OpenError, OptionError,
    OptionSpec, Options, Pool, PoolConfig, QueueCount, QueueRequest, RxQueue, TxQueue,
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::choice(
        "does",
        &[
            "nothing",
            "open-panics",
            "rx-panics",
            "tx-panics",
            "link-panics",
            "close-panics",
            "own-pool",
            "own-tails",
            "own-heads",
            "tx-swaps",
            "tx-takes-last",
            "late",
        ],
        "what goes wrong",
    ),
    OptionSpec::int("queues", 1, 8, "1", "how many queues it may have"),
];

#[derive(Debug)]
struct Fragile;

impl Driver for Fragile {
    fn name(&self) -> &str {
        "net_fragile"
    }

    fn summary(&self) -> &str {
        "for tests"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn needs_pool(&self) -> bool {
        false
    }

    fn check(&self, options: &Options, queues: usize) -> Result<(), Vec<OptionError>> {
        let most = options.int("queues").unwrap_or(1);
        if queues as u64 <= most {
            return Ok(());
        }
        Err(vec![OptionError::value("queues", format!("option `queues` is {most}, but there are {queues}"))])
    }

    fn claim(&self, options: &Options) -> Option<String> {
        (options.int("queues") == Some(3)).then(|| "three queues".to_owned())
    }

    fn check_machine(&self, device: &DeviceSpec, options: &Options) -> Vec<MachineProblem> {
        let message = format!("nothing does `{}` on {} here", options.text("does"), device.name);
        vec![MachineProblem { option: "does", message, fatal: true }]
    }

    fn queue_count(&self, device: &str, options: &Options) -> QueueCount {
        match device {
            "all" => QueueCount::Has(options.int("queues").unwrap_or(1) as u16),
            "any" => QueueCount::AsTold,
            other => QueueCount::Unknown(format!("there is no {other}")),
        }
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let does = device.options.text("does").to_owned();
        assert!(does != "open-panics", "open went wrong");
        tracing::warn!(does, "opening");
        device.queues.into_iter().map(|queue| open_queue(&does, queue)).collect()
    }
}

fn open_queue(does: &str, queue: QueueRequest) -> Result<Lport, OpenError> {
    let own = Pool::new(&PoolConfig { size: 64, ..PoolConfig::default() });
    let own = own.map_err(|error| OpenError(error.to_string()))?;
    let pool = queue.pool.unwrap_or_else(|| own.clone());
    let pools = match does {
        "own-pool" => [&own, &own],
        "own-tails" => [&pool, &own],
        "own-heads" => [&own, &pool],
        _ => [&pool, &pool],
    };
    let info =
        LportInfo { driver: "net_fragile".into(), mac: Some([2, 0, 0, 0, 0, 1]), max_packet: 9000, speed_mbps: 1 };
    let control = Control { inner: DeviceControl::new(DeviceState::up(), Arc::default(), info), does: does.to_owned() };
    Ok(Lport {
        id: queue.lport,
        name: queue.name,
        rx: Box::new(Rx { does: does.to_owned(), pools: pools.map(Pool::clone) }),
        tx: Box::new(Tx { does: does.to_owned(), pool }),
        control: Arc::new(control),
    })
}

/// Makes packets of 200 bytes in two segments, each from a pool.
struct Rx {
    does: String,
    pools: [Pool; 2],
}

impl RxQueue for Rx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let before = burst.len();
        while burst.room() > 0 {
            let (Some(mut head), Some(mut tail)) = (self.pools[0].alloc(), self.pools[1].alloc()) else { break };
            head.append(100).expect("room").fill(1);
            tail.append(100).expect("room").fill(2);
            head.chain(tail).expect("two segments");
            burst.push(head).expect("room");
        }
        assert!(self.does != "rx-panics", "rx went wrong");
        burst.len() - before
    }

    fn renumber(&mut self, _lport: pmd_core::LportId) {}
}

struct Tx {
    does: String,
    pool: Pool,
}

impl TxQueue for Tx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let n = burst.len();
        match self.does.as_str() {
            "tx-panics" => {
                burst.free_front(1);
                panic!("tx went wrong");
            }
            "tx-swaps" => {
                let other = self.pool.alloc().expect("an mbuf");
                burst.pop();
                burst.push(other).expect("room");
                return 0;
            }
            "tx-takes-last" => {
                burst.pop();
                return 1;
            }
            // A thread of the driver's frees them after the device is closed.
            "late" => {
                let late: Vec<_> = burst.drain_front(n).collect();
                std::thread::spawn(move || {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    drop(late);
                });
            }
            _ => burst.clear(),
        }
        n
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        assert!(self.does != "close-panics", "close went wrong");
    }
}

struct Control {
    inner: DeviceControl,
    does: String,
}

impl pmd_core::LportControl for Control {
    fn link(&self) -> pmd_core::Link {
        assert!(self.does != "link-panics", "link went wrong");
        self.inner.link()
    }

    fn info(&self) -> LportInfo {
        self.inner.info()
    }

    fn stats(&self) -> pmd_core::LportStats {
        pmd_core::LportStats { imissed: 7, xstats: vec![("odd", 1), ("even", 2)], ..self.inner.stats() }
    }

    fn set_admin_up(&self, up: bool) {
        self.inner.set_admin_up(up);
    }
}

pmd_plugin::export_driver!(Fragile);
