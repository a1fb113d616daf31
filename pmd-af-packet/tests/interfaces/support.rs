//! A cable between two namespaces with lports at its ends, and frames to send through it.

use anyhow::{Result, anyhow};
use lport_tests::Namespace;
use lport_tests::lports::{contents, poll_until};
use lport_tests::namespace::may_make_namespaces;
use pmd_af_packet::AfPacketDriver;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, Options, Pool, PoolConfig, RawOption};

/// Addresses of frames that no stack answers: both are nobody's.
const ADDRESSES: [u8; 12] = [0x02, 0, 0, 0, 0, 0xaa, 0x02, 0, 0, 0, 0, 0xbb];

/// Two namespaces, with an interface each, `left` and `right`, joined by a cable.
pub(crate) struct Cable {
    pub(crate) left: Namespace,
    pub(crate) right: Namespace,
    pub(crate) pool: Pool,
}

impl Cable {
    /// Made if this machine lets us, or if not, and that is allowed, `None`.
    pub(crate) fn new() -> Result<Option<Self>> {
        if !may_make_namespaces()? {
            return Ok(None);
        }
        let (left, right) = (Namespace::new()?, Namespace::new()?);
        left.cable("left", &right, "right")?;
        let config = PoolConfig { name: "packets".into(), size: 4096, ..PoolConfig::default() };
        Ok(Some(Self { left, right, pool: Pool::new(&config)? }))
    }

    /// The lports of the interface at the left end, one per queue.
    pub(crate) fn open_left(&self, queues: u16, options: &[(&str, &str)]) -> Result<Vec<Lport>> {
        open(&self.left, "left", queues, options, &self.pool)
    }

    /// The same at the right end.
    pub(crate) fn open_right(&self, queues: u16, options: &[(&str, &str)]) -> Result<Vec<Lport>> {
        open(&self.right, "right", queues, options, &self.pool)
    }

    /// One lport at either end.
    pub(crate) fn open_both(&self) -> Result<(Lport, Lport)> {
        Ok((only(self.open_left(1, &[])?), only(self.open_right(1, &[])?)))
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.pool.available(), self.pool.size(), "every mbuf has come home");
        }
    }
}

pub(crate) fn only(lports: Vec<Lport>) -> Lport {
    lports.into_iter().next().expect("one lport")
}

pub(crate) fn open(
    namespace: &Namespace,
    iface: &str,
    queues: u16,
    options: &[(&str, &str)],
    pool: &Pool,
) -> Result<Vec<Lport>> {
    let given = [("iface", iface), ("netns", namespace.name())];
    let raw: Vec<_> = given.iter().chain(options).map(|(key, value)| RawOption::text(*key, *value)).collect();
    let options = Options::check(AfPacketDriver.options(), &raw).map_err(|errors| anyhow!("{errors:?}"))?;
    Ok(AfPacketDriver.open(DeviceRequest::new("device", options, queues, Some(pool)))?)
}

/// A frame of `len` bytes with the number `id` in it.
pub(crate) fn frame(len: usize, id: u16) -> Vec<u8> {
    let mut frame = ADDRESSES.to_vec();
    // An EtherType for experiments.
    frame.extend_from_slice(&[0x88, 0xb5]);
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend((frame.len()..len).map(|i| (i * 7 + usize::from(id)) as u8));
    frame
}

/// Sends all `frames` from `lport`.
pub(crate) fn send(lport: &mut Lport, pool: &Pool, frames: &[Vec<u8>]) -> Result<()> {
    let mut burst = Burst::new();
    for chunk in frames.chunks(64) {
        for frame in chunk {
            burst.push(pool.alloc_packet(frame).ok_or_else(|| anyhow!("the pool is empty"))?).expect("room for 64");
        }
        poll_until("the burst to be sent", || {
            lport.tx.tx_burst(&mut burst);
            burst.is_empty().then_some(())
        })?;
    }
    Ok(())
}

/// What `lport` receives until it is `count` packets.
pub(crate) fn receive(lport: &mut Lport, count: usize) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    let mut burst = Burst::with_limit(32);
    poll_until(&format!("{count} packets"), || {
        lport.rx.rx_burst(&mut burst);
        all.extend(contents(&burst));
        burst.clear();
        (all.len() >= count).then_some(())
    })?;
    Ok(all)
}

/// The value of the counter `name` of an lport.
pub(crate) fn counter(lport: &Lport, name: &str) -> u64 {
    let stats = lport.control.stats();
    stats.xstats.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("there is no {name}")).1
}
