//! A namespace with lports in it, and packets for and from its stack.

use std::net::UdpSocket;

use anyhow::{Result, anyhow};
use lport_tests::lports::poll_until;
use lport_tests::namespace::may_make_namespaces;
use lport_tests::{DEADLINE, Namespace};
use pmd_core::netns::Netns;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, Options, Pool, PoolConfig, RawOption};
use pmd_tap::TapDriver;

/// A namespace, and the pool of the lports in it.
pub(crate) struct Place {
    pub(crate) namespace: Namespace,
    pub(crate) pool: Pool,
}

impl Place {
    /// Made if this machine lets us, or if not, and that is allowed, `None`.
    pub(crate) fn new() -> Result<Option<Self>> {
        if !may_make_namespaces()? {
            return Ok(None);
        }
        let config = PoolConfig { name: "packets".into(), size: 1024, ..PoolConfig::default() };
        Ok(Some(Self { namespace: Namespace::new()?, pool: Pool::new(&config)? }))
    }

    /// The lports of the device `name`, one per queue.
    pub(crate) fn open(
        &self,
        driver: TapDriver,
        name: &str,
        queues: u16,
        given: &[(&str, &str)],
    ) -> Result<Vec<Lport>> {
        let netns = [("netns", self.namespace.name())];
        let raw: Vec<_> = netns.iter().chain(given).map(|(key, value)| RawOption::text(*key, *value)).collect();
        let options = Options::check(driver.options(), &raw).map_err(|errors| anyhow!("{errors:?}"))?;
        Ok(driver.open(DeviceRequest::new(name, options, queues, Some(&self.pool)))?)
    }

    /// The one lport of the device `name`.
    pub(crate) fn open_one(&self, driver: TapDriver, name: &str, given: &[(&str, &str)]) -> Result<Lport> {
        Ok(self.open(driver, name, 1, given)?.remove(0))
    }

    /// A socket of the namespace's stack that sends to 192.0.2.2, port 5000.
    pub(crate) fn socket(&self) -> Result<UdpSocket> {
        let netns = Netns::Name(self.namespace.name().to_owned());
        let socket = netns.make(|| UdpSocket::bind("192.0.2.1:4000"))?;
        socket.connect("192.0.2.2:5000")?;
        socket.set_read_timeout(Some(DEADLINE))?;
        Ok(socket)
    }

    /// Has the stack know the MAC address of 192.0.2.2 on `interface`.
    pub(crate) fn add_neighbour(&self, interface: &str) -> Result<()> {
        self.namespace.ip(&format!("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev {interface}")).map(drop)
    }

    /// Sends all `packets` from `lport`.
    pub(crate) fn send(&self, lport: &mut Lport, packets: &[Vec<u8>]) -> Result<()> {
        let mut burst = Burst::new();
        for packet in packets {
            burst
                .push(self.pool.alloc_packet(packet).ok_or_else(|| anyhow!("the pool is empty"))?)
                .expect("few packets");
        }
        poll_until("the burst to be sent", || {
            lport.tx.tx_burst(&mut burst);
            burst.is_empty().then_some(())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.pool.available(), self.pool.size(), "every mbuf has come home");
        }
    }
}

/// The same packet to the other direction: addresses and ports of IPv4 and UDP swapped, checksums as they are.
pub(crate) fn reply(ip: &[u8]) -> Vec<u8> {
    let mut reply = ip.to_vec();
    reply[12..16].copy_from_slice(&ip[16..20]);
    reply[16..20].copy_from_slice(&ip[12..16]);
    reply[20..22].copy_from_slice(&ip[22..24]);
    reply[22..24].copy_from_slice(&ip[20..22]);
    reply
}
