//! What every example begins with: opening a memif device. And what they all do with a packet.

use pmd_core::deployment::XdpHints;
use pmd_core::{DeviceRequest, Driver, Lport, LportId, Mbuf, Options, Pool, PoolConfig, QueueRequest, RawOption};
use pmd_memif::MemifDriver;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// Opens a memif on a socket file: one lport for each queue, and the pool that they receive into. `options` are those
/// of `lport drivers`.
pub(crate) fn open(socket: &str, options: &[(&str, &str)], queues: u16) -> Result<(Vec<Lport>, Pool), Failure> {
    let socket = [("socket", socket), ("socket-abstract", "no")];
    let given: Vec<_> = socket.iter().chain(options).map(|(key, value)| RawOption::text(*key, *value)).collect();
    let options = Options::check(MemifDriver.options(), &given).map_err(|errors| errors[0].to_string())?;

    // A zero-copy client shares its pools with its peer; every other pool lies in private memory.
    let shareable = MemifDriver.shares_pools(&options);
    let pool = Pool::new(&PoolConfig { name: "packets".into(), size: 4096, shareable, ..PoolConfig::default() })?;
    let queue = |qid| QueueRequest {
        lport: LportId(qid),
        name: format!("memif:{qid}"),
        qid,
        pool: Some(pool.clone()),
        rx_desc: 0,
        tx_desc: 0,
        xdp: XdpHints::default(),
    };
    let queues = (0..queues).map(queue).collect();
    let lports = MemifDriver.open(DeviceRequest { name: "memif".into(), options, queues })?;
    Ok((lports, pool))
}

/// Sends a frame back to where it came from.
pub(crate) fn swap_addresses(mbuf: &mut Mbuf) {
    if let Some(header) = mbuf.data_mut().first_chunk_mut::<12>() {
        let (destination, source) = header.split_at_mut(6);
        destination.swap_with_slice(source);
    }
}
