//! IP prefixes, and the addresses they hold.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// A network: the addresses that agree in their first `len` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Prefix {
    /// The bits behind `len` are zero.
    network: IpAddr,
    len: u8,
}

impl Prefix {
    /// Longest prefix of the family of `address`, in bits: 32 or 128.
    pub(crate) fn max_len(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    /// The network that `address` lies in; `None` when `len` is larger than [`Self::max_len`].
    pub(crate) fn new(address: IpAddr, len: u8) -> Option<Self> {
        let behind = u32::from(Self::max_len(address).checked_sub(len)?);
        let network = match address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(behind).unwrap_or(0)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(behind).unwrap_or(0)).into(),
        };
        Some(Self { network, len })
    }

    /// Its first address.
    pub(crate) fn network(&self) -> IpAddr {
        self.network
    }

    /// Its addresses, if they are IPv4's.
    pub(crate) fn v4(&self) -> Option<RangeInclusive<u32>> {
        let IpAddr::V4(first) = self.network else { return None };
        let first = first.to_bits();
        Some(first..=first | u32::MAX.checked_shr(self.len.into()).unwrap_or(0))
    }

    /// Its addresses, if they are IPv6's.
    pub(crate) fn v6(&self) -> Option<RangeInclusive<u128>> {
        let IpAddr::V6(first) = self.network else { return None };
        let first = first.to_bits();
        Some(first..=first | u128::MAX.checked_shr(self.len.into()).unwrap_or(0))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, len: u8) -> Option<Prefix> {
        Prefix::new(address.parse().unwrap(), len)
    }

    #[test]
    fn bits_behind_the_length_are_cleared() {
        assert_eq!(prefix("10.1.2.3", 8).unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(prefix("10.1.2.3", 0).unwrap().to_string(), "0.0.0.0/0");
        assert_eq!(prefix("2001:db8::1", 32).unwrap().to_string(), "2001:db8::/32");
    }

    #[test]
    fn ranges_hold_every_address_of_the_network_and_lengths_are_limited() {
        assert_eq!(prefix("10.1.2.3", 24).unwrap().v4(), Some(0x0a01_0200..=0x0a01_02ff));
        assert_eq!(prefix("10.1.2.3", 32).unwrap().v4(), Some(0x0a01_0203..=0x0a01_0203));
        assert_eq!(prefix("0.0.0.0", 0).unwrap().v4(), Some(0..=u32::MAX));
        assert_eq!(prefix("::", 0).unwrap().v6(), Some(0..=u128::MAX));
        assert_eq!(prefix("::1", 128).unwrap().v6(), Some(1..=1));
        assert_eq!((prefix("10.0.0.0", 33), prefix("::", 129)), (None, None));
    }
}
