//! A packet in one line: addresses, protocols, ports. What is not there is not shown; nothing is believed.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88A8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
const ARP: u16 = 0x0806;

/// Most VLAN tags that are looked behind.
const TAGS_MAX: usize = 2;

/// An Ethernet frame, or its beginning.
pub(super) struct Summary<'p>(pub(super) &'p [u8]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((destination, rest)) = self.0.split_first_chunk() else { return f.write_str("too short") };
        let Some((source, rest)) = rest.split_first_chunk() else { return f.write_str("too short") };
        write!(f, "{} > {}", Mac(source), Mac(destination))?;
        payload(f, rest, TAGS_MAX)
    }
}

struct Mac<'p>(&'p [u8; 6]);

impl fmt::Display for Mac<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What begins with an EtherType.
fn payload(f: &mut fmt::Formatter<'_>, frame: &[u8], tags: usize) -> fmt::Result {
    let Some((ether_type, rest)) = word(frame) else { return Ok(()) };
    match ether_type {
        VLAN | QINQ if tags > 0 => {
            let Some((tag, rest)) = word(rest) else { return f.write_str(", VLAN") };
            write!(f, ", VLAN {}", tag & 0xFFF)?;
            payload(f, rest, tags - 1)
        }
        IPV4 => ipv4(f, rest),
        IPV6 => ipv6(f, rest),
        ARP => f.write_str(", ARP"),
        0..=1500 => f.write_str(", LLC"),
        _ => write!(f, ", EtherType 0x{ether_type:04x}"),
    }
}

fn ipv4(f: &mut fmt::Formatter<'_>, packet: &[u8]) -> fmt::Result {
    let Some(header) = packet.first_chunk::<20>() else { return f.write_str(", IPv4") };
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let behind = packet.get(usize::from(header[0] & 0xF) * 4..).unwrap_or_default();
    // Of a later fragment we do not see the ports.
    let first = u16::from_be_bytes([header[6], header[7]]) & 0x1FFF == 0;
    transport(f, header[9], &address(12), &address(16), if first { behind } else { &[] })?;
    write!(f, ", ttl {}", header[8])
}

fn ipv6(f: &mut fmt::Formatter<'_>, packet: &[u8]) -> fmt::Result {
    let Some((header, behind)) = packet.split_first_chunk::<40>() else { return f.write_str(", IPv6") };
    let address = |at: usize| {
        let bytes: [u8; 16] = std::array::from_fn(|i| header[at + i]);
        format!("[{}]", Ipv6Addr::from(bytes))
    };
    transport(f, header[6], &address(8), &address(24), behind)?;
    write!(f, ", hop limit {}", header[7])
}

fn transport(
    f: &mut fmt::Formatter<'_>,
    protocol: u8,
    source: &dyn fmt::Display,
    destination: &dyn fmt::Display,
    segment: &[u8],
) -> fmt::Result {
    let name = match protocol {
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        58 => "ICMPv6",
        132 => "SCTP",
        _ => "",
    };
    if name.is_empty() {
        write!(f, ", protocol {protocol} ")?;
    } else {
        write!(f, ", {name} ")?;
    }
    let ports = if matches!(protocol, 6 | 17 | 132) { word(segment) } else { None };
    match ports.and_then(|(from, rest)| Some((from, word(rest)?.0))) {
        Some((from, to)) => write!(f, "{source}:{from} > {destination}:{to}"),
        None => write!(f, "{source} > {destination}"),
    }
}

/// The next 16 bits and what is behind them.
fn word(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xFE];

    fn shown(parts: &[&[u8]]) -> String {
        let shown = Summary(&[&[&MACS[..]], parts].concat().concat()).to_string();
        shown.strip_prefix("02:00:00:00:00:fe > 02:00:00:00:00:01").unwrap().to_owned()
    }

    fn ip4(protocol: u8, fragment: u8) -> Vec<u8> {
        vec![0x46, 0, 0, 0, 0, 0, 0, fragment, 63, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 1]
    }

    #[test]
    fn what_is_known_is_shown() {
        assert_eq!(shown(&[&[8, 6]]), ", ARP");
        assert_eq!(shown(&[&[0x88, 0xB5]]), ", EtherType 0x88b5");
        assert_eq!(shown(&[&[0, 50]]), ", LLC");
        let udp = [0, 9, 0, 53];
        assert_eq!(shown(&[&[8, 0], &ip4(17, 0), &udp]), ", UDP 10.0.0.1:9 > 10.0.0.2:53, ttl 63");
        assert_eq!(shown(&[&[8, 0], &ip4(17, 1), &udp]), ", UDP 10.0.0.1 > 10.0.0.2, ttl 63", "a later fragment");
        assert_eq!(shown(&[&[8, 0], &ip4(1, 0), &udp]), ", ICMP 10.0.0.1 > 10.0.0.2, ttl 63");
        assert_eq!(shown(&[&[8, 0], &ip4(47, 0)]), ", protocol 47 10.0.0.1 > 10.0.0.2, ttl 63");
        let tagged = shown(&[&[0x81, 0, 0xE0, 5], &[8, 0], &ip4(6, 0), &udp]);
        assert_eq!(tagged, ", VLAN 5, TCP 10.0.0.1:9 > 10.0.0.2:53, ttl 63");
        let mut ip6 = vec![0x60, 0, 0, 0, 0, 0, 17, 9];
        ip6.extend([[0; 15], [0; 15]].concat());
        ip6.extend([0, 1]);
        assert_eq!(shown(&[&[0x86, 0xDD], &ip6, &udp]), ", UDP [::]:9 > [::1]:53, hop limit 9");
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore)]
        fn anything_has_a_summary_of_one_line(
            head in prop::sample::select(vec![vec![8, 0], vec![0x86, 0xDD], vec![0x81, 0], vec![]]),
            bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let frame = [&MACS[..], &head, &bytes].concat();
            let shown = Summary(&frame).to_string();
            prop_assert!(!shown.is_empty() && !shown.contains('\n'));
            prop_assert!(!Summary(&bytes).to_string().is_empty());
        }
    }
}
