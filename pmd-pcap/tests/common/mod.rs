//! Files and lports for the tests.

#![allow(dead_code, reason = "each test program uses its part")]

use pmd_core::{Burst, DeviceRequest, Driver, Lport, OpenError, Options, Pool, PoolConfig, RawOption};
use pmd_pcap::PcapDriver;

/// A little-endian classic file of Ethernet packets, each with its time in microseconds.
pub(crate) fn classic(packets: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    file.extend(words(&[0xA1B2_C3D4, 0x0004_0002, 0, 0, 65535, 1]));
    for (time, data) in packets {
        let length = data.len() as u32;
        file.extend(words(&[time / 1_000_000, time % 1_000_000, length, length]));
        file.extend(data);
    }
    file
}

/// A packet of so many bytes, no two of which are alike.
pub(crate) fn packet(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 + i / 256 + size) as u8).collect()
}

pub(crate) fn pool(size: usize, data_room: usize) -> Pool {
    Pool::new(&PoolConfig { size, data_room, ..PoolConfig::default() }).unwrap()
}

pub(crate) fn options(given: &[(&str, &str)]) -> Options {
    let given: Vec<_> = given.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
    Options::check(PcapDriver::default().options(), &given).unwrap()
}

/// A device of so many queues.
pub(crate) fn open_queues(
    driver: &PcapDriver,
    given: &[(&str, &str)],
    pool: Option<&Pool>,
    queues: u16,
) -> Result<Vec<Lport>, OpenError> {
    driver.open(DeviceRequest::new("pcap", options(given), queues, pool))
}

/// A device of one queue.
pub(crate) fn open(driver: &PcapDriver, given: &[(&str, &str)], pool: Option<&Pool>) -> Result<Lport, OpenError> {
    Ok(open_queues(driver, given, pool, 1)?.remove(0))
}

/// Everything that the lport receives until it receives nothing.
pub(crate) fn received(lport: &mut Lport) -> Vec<Vec<u8>> {
    let (mut all, mut burst) = (Vec::new(), Burst::with_limit(32));
    while lport.rx.rx_burst(&mut burst) > 0 {
        all.extend(burst.iter().map(|mbuf| mbuf.segments().flatten().copied().collect::<Vec<u8>>()));
        burst.clear();
    }
    all
}
