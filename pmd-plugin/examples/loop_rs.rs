//! `net_loop_rs`: each lport receives what it sent. A driver in Rust as a shared object; `loop.c` is the same in C.
//!
//! ```sh
//! cargo build --release --package pmd-plugin --example loop_rs
//! lport drivers -d target/release/examples/libloop_rs.so
//! ```
//!
//! Only the last line makes it one: everything above could stand in any crate.

use std::sync::Arc;

use pmd_core::device::bytes_of;
use pmd_core::{
    Burst, DeviceControl, DeviceRequest, DeviceState, Driver, Lport, LportId, LportInfo, Mbuf, OpenError, OptionSpec,
    QueueCounters, RxQueue, TxQueue,
};
use rtrb::{Consumer, Producer, RingBuffer};

const OPTIONS: &[OptionSpec] = &[OptionSpec::int("size", 1, 65536, "1024", "packets the ring can hold")];

const MAX_PACKET: u32 = 9216;

struct LoopDriver;

impl Driver for LoopDriver {
    fn name(&self) -> &str {
        "net_loop_rs"
    }

    fn summary(&self) -> &str {
        "each lport receives what it sent (the example in Rust)"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn needs_pool(&self) -> bool {
        false
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let size = device.options.int("size").unwrap_or(1024) as usize;
        let state = DeviceState::up();
        let lport = |queue: pmd_core::QueueRequest| {
            let (to, from) = RingBuffer::new(size);
            let (counters, lport) = (Arc::<QueueCounters>::default(), queue.lport);
            let info =
                LportInfo { driver: "net_loop_rs".into(), mac: None, max_packet: MAX_PACKET, speed_mbps: 10_000 };
            Lport {
                id: lport,
                name: queue.name,
                rx: Box::new(Rx { from, state: Arc::clone(&state), counters: Arc::clone(&counters), lport }),
                tx: Box::new(Tx { to, state: Arc::clone(&state), counters: Arc::clone(&counters) }),
                control: Arc::new(DeviceControl::new(Arc::clone(&state), counters, info)),
            }
        };
        Ok(device.queues.into_iter().map(lport).collect())
    }
}

struct Rx {
    from: Consumer<Mbuf>,
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
    lport: LportId,
}

impl RxQueue for Rx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.state.is_up() {
            return 0;
        }
        let first = burst.len();
        while burst.room() > 0
            && let Ok(mut mbuf) = self.from.pop()
        {
            mbuf.set_port(self.lport.0);
            burst.push(mbuf).expect("there is room");
        }
        let n = burst.len() - first;
        self.counters.rx.add(n, bytes_of(&burst[first..]));
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.lport = lport;
    }

    fn arm(&mut self) -> bool {
        self.from.is_empty()
    }
}

struct Tx {
    to: Producer<Mbuf>,
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
}

impl TxQueue for Tx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.state.is_up() {
            return 0;
        }
        let (mut sent, mut bytes, mut dropped) = (0, 0, 0);
        while let Some(mbuf) = burst.first() {
            let len = mbuf.packet_len();
            if len == 0 || len > MAX_PACKET as usize {
                burst.free_front(1);
                dropped += 1;
            } else if self.to.is_full() {
                break;
            } else {
                let pushed = burst.drain_front(1).next().map(|mbuf| self.to.push(mbuf));
                debug_assert!(matches!(pushed, Some(Ok(()))), "the ring has room");
                (sent, bytes) = (sent + 1, bytes + len);
            }
        }
        self.counters.tx.add(sent, bytes);
        self.counters.tx.errors.add(dropped);
        sent
    }
}

pmd_plugin::export_driver!(LoopDriver);
