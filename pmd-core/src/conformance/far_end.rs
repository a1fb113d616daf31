//! A far end out of two closures, for devices whose other end is no lport: a kernel's interface, a file.

use std::sync::Arc;

use crate::burst::Burst;
use crate::deployment::LportId;
use crate::device::{DeviceControl, DeviceState, QueueCounters};
use crate::lport::{Lport, LportInfo, RxQueue, TxQueue};
use crate::pool::Pool;

/// An lport that sends with `send`, which says whether it took the packet, and receives with `receive`, which returns a
/// packet if one is there. Neither blocks. `max_packet` is in bytes.
pub fn far_end(
    queue: u16,
    pool: &Pool,
    max_packet: u32,
    send: impl FnMut(&[u8]) -> bool + Send + 'static,
    receive: impl FnMut() -> Option<Vec<u8>> + Send + 'static,
) -> Lport {
    let (state, counters) = (DeviceState::up(), Arc::new(QueueCounters::default()));
    let info = LportInfo { driver: "far end".into(), mac: None, max_packet, speed_mbps: 0 };
    let (state_of_rx, counters_of_rx, pool) = (Arc::clone(&state), Arc::clone(&counters), pool.clone());
    let rx = EndRx { state: state_of_rx, counters: counters_of_rx, pool, receive, port: queue };
    let (state_of_tx, counters_of_tx) = (Arc::clone(&state), Arc::clone(&counters));
    let tx = EndTx { state: state_of_tx, counters: counters_of_tx, send, max_packet: max_packet as usize };
    Lport {
        id: LportId(queue),
        name: format!("far:{queue}"),
        rx: Box::new(rx),
        tx: Box::new(tx),
        control: Arc::new(DeviceControl::new(state, counters, info)),
    }
}

struct EndRx<F> {
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
    pool: Pool,
    receive: F,
    port: u16,
}

impl<F: FnMut() -> Option<Vec<u8>> + Send> RxQueue for EndRx<F> {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let (mut n, mut bytes) = (0, 0);
        while self.state.is_up()
            && burst.room() > 0
            && let Some(data) = (self.receive)()
        {
            let Some(mut mbuf) = self.pool.alloc_packet(&data) else {
                self.counters.rx.nombuf.add(1);
                break;
            };
            mbuf.set_port(self.port);
            let pushed = burst.push(mbuf);
            debug_assert!(pushed.is_ok(), "the burst has room");
            (n, bytes) = (n + 1, bytes + data.len());
        }
        self.counters.rx.add(n, bytes);
        n
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport.0;
    }
}

struct EndTx<F> {
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
    send: F,
    max_packet: usize,
}

impl<F: FnMut(&[u8]) -> bool + Send> TxQueue for EndTx<F> {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        if !self.state.is_up() {
            return 0;
        }
        let (mut taken, mut sent, mut bytes) = (0, 0, 0);
        for mbuf in burst.iter() {
            let mut data = vec![0; mbuf.packet_len()];
            mbuf.copy_to(&mut data);
            if (1..=self.max_packet).contains(&data.len()) {
                if !(self.send)(&data) {
                    break;
                }
                (sent, bytes) = (sent + 1, bytes + data.len());
            }
            taken += 1;
        }
        burst.free_front(taken);
        self.counters.tx.add(sent, bytes);
        self.counters.tx.errors.add((taken - sent) as u64);
        sent
    }
}
