//! `net_udp`: packets as UDP datagrams between two programs.
//!
//! 1. open binds one socket to `local`; both halves of all its lports share it.
//! 2. tx_burst gathers a packet into a buffer and sends it to `remote`; rx_burst takes the other way, into mbufs of the
//!    queue's pool. A system call a packet: that is what this device costs.
//! 3. The socket is closed with the last of the halves.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use pmd_core::{
    Burst, DeviceControl, DeviceRequest, DeviceState, Driver, Lport, LportId, LportInfo, OpenError, OptionError,
    OptionSpec, Options, Pool, QueueCounters, RxQueue, TxQueue,
};

const ETHERNET_HEADER: usize = 14;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::text("local", 63, "127.0.0.1:0", "address and port to receive on, port 0 for any"),
    OptionSpec::text("remote", 63, "", "address and port to send to"),
    OptionSpec::int("mtu", 68, 9000, "1500", "bytes a packet may have behind its Ethernet header"),
];

/// The driver.
#[derive(Debug, Clone, Copy)]
pub struct UdpDriver;

impl Driver for UdpDriver {
    fn name(&self) -> &str {
        "net_udp"
    }

    fn summary(&self) -> &str {
        "packets as UDP datagrams between two programs"
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn check(&self, options: &Options, _queues: usize) -> Result<(), Vec<OptionError>> {
        let errors: Vec<_> = ["local", "remote"].iter().filter_map(|key| address(options, key).err()).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn open(&self, device: DeviceRequest) -> Result<Vec<Lport>, OpenError> {
        let refused = |error: OptionError| OpenError(error.message);
        let local = address(&device.options, "local").map_err(refused)?;
        let remote = address(&device.options, "remote").map_err(refused)?;
        let max_packet = device.options.int("mtu").unwrap_or(1500) as usize + ETHERNET_HEADER;
        let cannot = |error| OpenError(format!("option `local` is {local}, which cannot be had: {error}"));
        let socket = UdpSocket::bind(local).map_err(cannot)?;
        socket.set_nonblocking(true).map_err(cannot)?;
        let (socket, state) = (Arc::new(socket), DeviceState::up());
        let open_queue = |queue: pmd_core::QueueRequest| {
            let (pool, counters) = (queue.need_pool()?, Arc::new(QueueCounters::default()));
            let info = LportInfo { driver: "net_udp".into(), max_packet: max_packet as u32, ..LportInfo::default() };
            let half = Half { socket: Arc::clone(&socket), state: Arc::clone(&state), counters: Arc::clone(&counters) };
            Ok(Lport {
                id: queue.lport,
                name: queue.name,
                rx: Box::new(UdpRx { half: half.clone(), pool, port: queue.lport, buffer: vec![0; 65536] }),
                tx: Box::new(UdpTx { half, remote, buffer: vec![0; max_packet] }),
                control: Arc::new(DeviceControl::new(Arc::clone(&state), counters, info)),
            })
        };
        device.queues.into_iter().map(open_queue).collect()
    }
}

fn address(options: &Options, key: &str) -> Result<SocketAddr, OptionError> {
    let text = options.text(key);
    let wrong =
        |_| OptionError::value(key, format!("option `{key}` is {text:?}, but takes ADDRESS:PORT, 10.0.0.1:4000"));
    text.parse().map_err(wrong)
}

/// What both halves of an lport have.
#[derive(Clone)]
struct Half {
    socket: Arc<UdpSocket>,
    state: Arc<DeviceState>,
    counters: Arc<QueueCounters>,
}

struct UdpRx {
    half: Half,
    pool: Pool,
    port: LportId,
    buffer: Vec<u8>,
}

impl RxQueue for UdpRx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let (mut packets, mut bytes) = (0, 0);
        while self.half.state.is_up() && burst.room() > 0 {
            let Ok(len) = self.half.socket.recv(&mut self.buffer) else { break };
            let Some(mut mbuf) = self.pool.alloc_packet(&self.buffer[..len]) else {
                self.half.counters.rx.nombuf.add(1); // The packet is lost.
                break;
            };
            mbuf.set_port(self.port.0);
            burst.push(mbuf).expect("the burst has room");
            (packets, bytes) = (packets + 1, bytes + len);
        }
        self.half.counters.rx.add(packets, bytes);
        packets
    }

    fn renumber(&mut self, lport: LportId) {
        self.port = lport;
    }

    // Readable as long as the socket holds a packet: whatever the moment, sleeping on it is safe, and `arm` has nothing to do.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.half.socket.as_fd())
    }
}

struct UdpTx {
    half: Half,
    remote: SocketAddr,
    buffer: Vec<u8>,
}

impl TxQueue for UdpTx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let (mut taken, mut sent, mut bytes) = (0, 0, 0);
        for mbuf in burst.iter().take_while(|_| self.half.state.is_up()) {
            let len = mbuf.packet_len();
            if (1..=self.buffer.len()).contains(&len) {
                mbuf.copy_to(&mut self.buffer);
                match self.half.socket.send_to(&self.buffer[..len], self.remote) {
                    Ok(_) => (sent, bytes) = (sent + 1, bytes + len),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(_) => {} // It can never be sent: taken, and not sent.
                }
            }
            taken += 1;
        }
        burst.free_front(taken);
        self.half.counters.tx.add(sent, bytes);
        self.half.counters.tx.errors.add((taken - sent) as u64);
        sent
    }
}
