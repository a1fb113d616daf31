//! Getting started: connect, receive, process in place, send.
//!
//! ```text
//! cargo run --release --example echo -- /tmp/memif.sock [packets]
//! ```
//!
//! Opens a memif server on the socket given, swaps the MAC addresses of whatever comes, and sends it back. Ends after so
//! many packets, or when its peer has been there and gone. Try it with DPDK at the other end:
//!
//! ```text
//! dpdk-testpmd -l 0-1 --no-huge -m 256 --no-pci \
//!     --vdev=net_memif,role=client,socket=/tmp/memif.sock,socket-abstract=no -- --auto-start --tx-first --stats-period 1
//! ```

use pmd_core::deployment::XdpHints;
use pmd_core::{
    Burst, DeviceRequest, Driver, Lport, LportId, Mbuf, Options, Pool, PoolConfig, QueueRequest, RawOption,
};
use pmd_memif::MemifDriver;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().ok_or("usage: echo SOCKET [PACKETS]")?;
    let packets = arguments.next().map_or(Ok(u64::MAX), |text| text.parse())?;

    // Where received packets are put.
    let pool = Pool::new(&PoolConfig { name: "echo".into(), size: 4096, ..PoolConfig::default() })?;
    let mut lport = open(&socket, &pool)?;

    let mut burst = Burst::with_limit(32);
    let (mut echoed, mut has_been_up) = (0, false);
    while echoed < packets {
        if lport.rx.rx_burst(&mut burst) == 0 {
            let up = lport.control.link().is_up();
            if has_been_up && !up {
                break;
            }
            has_been_up |= up;
            std::thread::yield_now();
            continue;
        }
        for mbuf in burst.iter_mut() {
            swap_addresses(mbuf);
        }
        echoed += lport.tx.tx_burst(&mut burst) as u64;
        // What the peer had no room for is dropped; keeping it in the burst would try it again.
        burst.clear();
    }

    println!("{echoed} packets echoed, {:?}", lport.control.stats());
    drop((lport, burst));
    println!("{} of {} mbufs are home", pool.available(), pool.size());
    Ok(())
}

/// Opens a memif server with one queue.
fn open(socket: &str, pool: &Pool) -> Result<Lport, Failure> {
    let given = [("role", "server"), ("socket", socket), ("socket-abstract", "no")];
    let given = given.map(|(key, value)| RawOption::text(key, value));
    let options = Options::check(MemifDriver.options(), &given).map_err(|errors| errors[0].to_string())?;
    let queue = QueueRequest {
        lport: LportId(0),
        name: "echo:0".into(),
        qid: 0,
        pool: Some(pool.clone()),
        rx_desc: 0,
        tx_desc: 0,
        xdp: XdpHints::default(),
    };
    let lports = MemifDriver.open(DeviceRequest { name: "echo".into(), options, queues: vec![queue] })?;
    lports.into_iter().next().ok_or_else(|| "one queue makes one lport".into())
}

/// Sends a frame back to where it came from.
fn swap_addresses(mbuf: &mut Mbuf) {
    if let Some(header) = mbuf.data_mut().first_chunk_mut::<12>() {
        let (destination, source) = header.split_at_mut(6);
        destination.swap_with_slice(source);
    }
}
