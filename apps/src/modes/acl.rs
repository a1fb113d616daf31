//! `acl-strict` and `acl-permissive`: an access list in front of `fwd`.
//!
//! 1. The file's `acl-rules` make an [`Acl`]: the first rule that matches a packet decides. What none matches is dropped
//!    by `acl-strict` and passes with `acl-permissive`.
//! 2. As with CNDP, whatever is not IPv4 is dropped by both: no rule can be about it.
//! 3. Where the ports of a packet cannot be seen (a later fragment, a header cut short), rules about ports are taken
//!    against it: one that denies matches, one that permits does not.
//! 4. What passes goes the way of [`Forwarder`].

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use pmd_core::{Burst, LportId, Ports, Task, TaskContext};

use super::drops::{ModeDrops, Reason, Tally};
use super::forward::Forwarder;
use super::ip::{self, Header, V4Header};

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Permit,
    Deny,
}

/// Protocols with ports: TCP, UDP, SCTP, each with source and destination in its first four bytes.
pub(crate) const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// A rule: what it says nothing about matches anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AclRule {
    pub(crate) action: Action,
    pub(crate) protocol: Option<u8>,
    pub(crate) source: Option<RangeInclusive<u32>>,
    pub(crate) destination: Option<RangeInclusive<u32>>,
    /// A rule about ports matches packets of protocols [`WITH_PORTS`] only.
    pub(crate) source_ports: Option<RangeInclusive<u16>>,
    pub(crate) destination_ports: Option<RangeInclusive<u16>>,
}

/// An access list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acl {
    /// The first that matches decides.
    pub(crate) rules: Vec<AclRule>,
    /// What happens to packets that no rule matches.
    pub(crate) otherwise: Action,
}

/// What can be seen of a packet's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortsSeen {
    /// Its protocol has none.
    None,
    /// It has, but they are not in the packet.
    Hidden,
    /// Source and destination.
    These(u16, u16),
}

impl PortsSeen {
    #[inline]
    fn of(header: &V4Header, frame: &[u8]) -> Self {
        if !WITH_PORTS.contains(&header.protocol) {
            return Self::None;
        }
        let (start, end) = header.payload;
        match frame[start..end].first_chunk() {
            Some([a, b, c, d]) if !header.is_later_fragment => {
                Self::These(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
            }
            _ => Self::Hidden,
        }
    }
}

impl AclRule {
    #[inline]
    fn matches(&self, header: &V4Header, ports: PortsSeen) -> bool {
        self.protocol.is_none_or(|protocol| protocol == header.protocol)
            && self.source.as_ref().is_none_or(|range| range.contains(&header.source))
            && self.destination.as_ref().is_none_or(|range| range.contains(&header.destination))
            && self.matches_ports(ports)
    }

    #[inline]
    fn matches_ports(&self, ports: PortsSeen) -> bool {
        if self.source_ports.is_none() && self.destination_ports.is_none() {
            return true;
        }
        match ports {
            PortsSeen::None => false,
            PortsSeen::Hidden => self.action == Action::Deny,
            PortsSeen::These(source, destination) => {
                self.source_ports.as_ref().is_none_or(|range| range.contains(&source))
                    && self.destination_ports.as_ref().is_none_or(|range| range.contains(&destination))
            }
        }
    }
}

impl Acl {
    #[inline]
    fn decide(&self, header: &V4Header, frame: &[u8]) -> Action {
        let ports = PortsSeen::of(header, frame);
        self.rules.iter().find(|rule| rule.matches(header, ports)).map_or(self.otherwise, |rule| rule.action)
    }
}

/// The task.
pub(super) struct Filter {
    burst: Burst,
    acl: Arc<Acl>,
    passed: Burst,
    dropped: Burst,
    drops: Arc<ModeDrops>,
    then: Forwarder,
}

impl Filter {
    pub(super) fn new(
        context: &TaskContext<'_>,
        acl: &Arc<Acl>,
        port_map: &HashMap<LportId, LportId>,
        drops: &Arc<ModeDrops>,
    ) -> Self {
        Self {
            burst: Burst::with_limit(context.burst),
            acl: Arc::clone(acl),
            passed: Burst::new(),
            dropped: Burst::new(),
            drops: Arc::clone(drops),
            then: Forwarder::new(context, port_map),
        }
    }

    /// Moves the burst that `ingress` received to `passed`, but for what is dropped.
    fn filter(&mut self, ingress: LportId) {
        let mut tally = Tally::default();
        for packet in self.burst.drain_front(self.burst.len()) {
            let verdict = match ip::read(&packet) {
                Ok(Header::V4(header)) => match self.acl.decide(&header, packet.data()) {
                    Action::Permit => Ok(()),
                    Action::Deny => Err(Reason::Denied),
                },
                Ok(Header::V6(_)) => Err(Reason::NotIp),
                Err(reason) => Err(reason),
            };
            // Both are as large as the burst that was received.
            let _ = match verdict {
                Ok(()) => self.passed.push(packet),
                Err(reason) => {
                    tally.add(reason);
                    self.dropped.push(packet)
                }
            };
        }
        if !self.dropped.is_empty() {
            self.dropped.clear();
            self.drops.add(ingress, &tally);
        }
    }
}

impl Task for Filter {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        let mut moved = 0;
        while let Some(position) = ports.rx_next(&mut self.burst) {
            moved += self.burst.len();
            self.filter(ports.id(position));
            self.then.send(ports, position, &mut self.passed);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: AclRule = AclRule {
        action: Action::Permit,
        protocol: None,
        source: None,
        destination: None,
        source_ports: None,
        destination_ports: None,
    };

    const UDP: V4Header = V4Header {
        source: 0x0a00_0001,
        destination: 0x0b00_0001,
        protocol: 17,
        ttl: 64,
        is_later_fragment: false,
        payload: (0, 4),
    };

    fn decide(rules: &[AclRule], otherwise: Action, header: &V4Header) -> Action {
        // Ports 1000 and 53.
        Acl { rules: rules.to_vec(), otherwise }.decide(header, &[0x03, 0xe8, 0x00, 0x35])
    }

    #[test]
    fn the_first_match_decides_and_without_one_the_mode() {
        let to = |last: u32| Some(0x0b00_0000..=last);
        let deny = AclRule { action: Action::Deny, destination: to(0x0b00_0001), ..ANY };
        let permit = AclRule { destination: to(0x0bff_ffff), ..ANY };
        assert_eq!(decide(&[deny.clone(), permit.clone()], Action::Permit, &UDP), Action::Deny);
        assert_eq!(decide(&[permit.clone(), deny.clone()], Action::Deny, &UDP), Action::Permit);
        let elsewhere = V4Header { destination: 1, ..UDP };
        for otherwise in [Action::Permit, Action::Deny] {
            assert_eq!(decide(&[deny.clone(), permit.clone()], otherwise, &elsewhere), otherwise);
        }
    }

    #[test]
    fn every_field_must_match() {
        let exact = AclRule {
            protocol: Some(17),
            source: Some(0x0a00_0001..=0x0a00_0001),
            destination: Some(0x0b00_0000..=0x0b00_00ff),
            source_ports: Some(1000..=2000),
            destination_ports: Some(53..=53),
            ..ANY
        };
        assert_eq!(decide(std::slice::from_ref(&exact), Action::Deny, &UDP), Action::Permit);
        let others = [
            AclRule { protocol: Some(6), ..exact.clone() },
            AclRule { source: Some(0..=1), ..exact.clone() },
            AclRule { destination: Some(0..=1), ..exact.clone() },
            AclRule { source_ports: Some(0..=999), ..exact.clone() },
            AclRule { destination_ports: Some(54..=65535), ..exact },
        ];
        for other in others {
            assert_eq!(decide(std::slice::from_ref(&other), Action::Deny, &UDP), Action::Deny, "{other:?}");
        }
    }

    #[test]
    fn ports_that_cannot_be_seen_count_against_the_packet() {
        let dns = AclRule { destination_ports: Some(53..=53), ..ANY };
        let no_dns = AclRule { action: Action::Deny, ..dns.clone() };
        for hidden in [V4Header { is_later_fragment: true, ..UDP }, V4Header { payload: (0, 3), ..UDP }] {
            assert_eq!(decide(std::slice::from_ref(&dns), Action::Deny, &hidden), Action::Deny);
            assert_eq!(decide(std::slice::from_ref(&no_dns), Action::Permit, &hidden), Action::Deny);
        }
        let icmp = V4Header { protocol: 1, ..UDP };
        assert_eq!(decide(&[dns], Action::Deny, &icmp), Action::Deny, "no rule about ports matches it");
        assert_eq!(decide(&[no_dns], Action::Permit, &icmp), Action::Permit, "no rule about ports matches it");
    }
}
