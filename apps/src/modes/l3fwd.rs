//! `l3fwd`: IPv4 and IPv6 routing by a fixed table.
//!
//! 1. [`Routes`] is the table that the file's `l3fwd-fib-rules` make: longest prefix match, then the next hop.
//! 2. Of each packet of a burst the header is checked, the route looked up, one hop taken off, and the Ethernet header
//!    rewritten: to the next hop's address, from the egress lport's own.
//! 3. The burst leaves sorted by egress, one call per lport. What cannot be routed is dropped in bulk and counted by
//!    reason at the lport that received it. No ICMP messages are sent.

use std::sync::Arc;

use pmd_core::{Burst, LportId, Mbuf, Ports, Task, TaskContext};

use super::drops::{ModeDrops, Reason, Tally};
use super::ip::{self, Header};
use super::lpm::Lpm;
use super::macs::{MAC, set_macs};
use super::prefix::Prefix;
use super::sorter::Sorter;

/// Where packets of a route go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// The lport they leave through.
    pub(crate) lport: LportId,
    /// Who is to receive them there.
    pub(crate) mac: [u8; MAC],
}

/// A routing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routes {
    v4: Lpm<u32>,
    v6: Lpm<u128>,
    /// What the tables' numbers mean.
    hops: Vec<NextHop>,
}

impl Routes {
    /// The table of these routes. Of two with one prefix the first holds.
    pub(crate) fn new(routes: &[(Prefix, NextHop)]) -> Self {
        let numbered = || routes.iter().zip(0..);
        Self {
            v4: Lpm::new(numbered().filter_map(|((prefix, _), hop)| Some((prefix.v4()?, hop)))),
            v6: Lpm::new(numbered().filter_map(|((prefix, _), hop)| Some((prefix.v6()?, hop)))),
            hops: routes.iter().map(|(_, hop)| *hop).collect(),
        }
    }

    /// The position of the next hop for a packet with this header.
    ///
    /// # Errors
    /// [`Reason::TtlExpired`] or [`Reason::NoRoute`].
    #[inline]
    fn hop(&self, header: &Header) -> Result<usize, Reason> {
        let (hops_left, found) = match header {
            Header::V4(header) => (header.ttl, self.v4.lookup(header.destination)),
            Header::V6(header) => (header.hop_limit, self.v6.lookup(header.destination)),
        };
        if hops_left <= 1 {
            return Err(Reason::TtlExpired);
        }
        found.map(|hop| hop as usize).ok_or(Reason::NoRoute)
    }
}

/// A next hop with all that is written into packets.
struct Rewrite {
    egress: LportId,
    destination: [u8; MAC],
    source: [u8; MAC],
}

/// The task.
pub(super) struct L3Forward {
    burst: Burst,
    routes: Arc<Routes>,
    /// By position of the next hop.
    rewrites: Vec<Rewrite>,
    sorter: Sorter,
    dropped: Burst,
    drops: Arc<ModeDrops>,
}

impl L3Forward {
    pub(super) fn new(context: &TaskContext<'_>, routes: &Arc<Routes>, drops: &Arc<ModeDrops>) -> Self {
        let rewrite = |hop: &NextHop| {
            let own = context.control(hop.lport).and_then(|control| control.info().mac);
            Rewrite { egress: hop.lport, destination: hop.mac, source: own.unwrap_or(stand_in(hop.lport)) }
        };
        Self {
            burst: Burst::with_limit(context.burst),
            rewrites: routes.hops.iter().map(rewrite).collect(),
            routes: Arc::clone(routes),
            sorter: Sorter::new(context.deployment.lports().len()),
            dropped: Burst::new(),
            drops: Arc::clone(drops),
        }
    }

    /// Sends the burst that `ingress` received on its ways.
    fn forward(&mut self, ports: &mut Ports, ingress: LportId) {
        let mut tally = Tally::default();
        for mut packet in self.burst.drain_front(self.burst.len()) {
            match route(&self.routes, &self.rewrites, &mut packet) {
                Ok(egress) => self.sorter.add(egress, packet),
                Err(reason) => {
                    tally.add(reason);
                    // As large as the burst that was received.
                    let _ = self.dropped.push(packet);
                }
            }
        }
        if !self.dropped.is_empty() {
            self.dropped.clear();
            self.drops.add(ingress, &tally);
        }
        self.sorter.send(ports);
    }
}

impl Task for L3Forward {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        let mut moved = 0;
        while let Some(position) = ports.rx_next(&mut self.burst) {
            moved += self.burst.len();
            self.forward(ports, ports.id(position));
        }
        moved
    }
}

/// Makes a packet one for its next hop, and says where it leaves.
#[inline]
fn route(routes: &Routes, rewrites: &[Rewrite], packet: &mut Mbuf) -> Result<LportId, Reason> {
    let header = ip::read(packet)?;
    let rewrite = &rewrites[routes.hop(&header)?];
    let frame = packet.data_mut();
    match header {
        Header::V4(header) => header.take_hop(frame),
        Header::V6(header) => header.take_hop(frame),
    }
    set_macs(frame, rewrite.destination, rewrite.source);
    Ok(rewrite.egress)
}

/// The address of an lport whose driver gives it none: locally administered, and its number.
fn stand_in(lport: LportId) -> [u8; MAC] {
    let [high, low] = lport.0.to_be_bytes();
    [2, 0, 0, 0, high, low]
}
