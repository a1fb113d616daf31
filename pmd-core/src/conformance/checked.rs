//! Steps of a check whose outcome is checked each time: a burst sent or received, compared with the counters; a wait; and what must
//! be true of an mbuf, of counters, of a pool, of a link.

use std::time::{Duration, Instant};

use super::promise::{self, Promise};
use crate::burst::Burst;
use crate::deployment::LportId;
use crate::lport::{Link, LportControl, RxQueue, TxQueue};
use crate::mbuf::Mbuf;
use crate::pool::Pool;
use crate::stats::LportStats;

/// What became of a burst.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) sent: usize,
    pub(super) dropped: usize,
}

/// Sends a burst; what is counted, what is said and what is left must agree.
pub(super) fn send(tx: &mut dyn TxQueue, control: &dyn LportControl, burst: &mut Burst) -> Sent {
    let before = control.stats();
    let offered: Vec<_> = burst.iter().map(|mbuf| (mbuf.data().as_ptr(), mbuf.packet_len())).collect();
    let said = tx.tx_burst(burst);
    let after = control.stats();
    let left: Vec<_> = burst.iter().map(|mbuf| (mbuf.data().as_ptr(), mbuf.packet_len())).collect();
    promise::TX_REST.require(offered.ends_with(&left), || {
        format!("of {} packets {} were left, but they are not the last ones, in order", offered.len(), left.len())
    });
    let sent = after.opackets.wrapping_sub(before.opackets);
    promise::STATS_TX.require(sent == said as u64, || format!("tx_burst returned {said}, `opackets` grew by {sent}"));
    let dropped = after.oerrors.wrapping_sub(before.oerrors);
    promise::TX_SUM.require(offered.len() as u64 == (said + left.len()) as u64 + dropped, || {
        let offered = offered.len();
        format!("{offered} packets offered, {said} sent, {dropped} dropped, {} left", left.len())
    });
    if dropped == 0 {
        let bytes: usize = offered[..said].iter().map(|(_, len)| len).sum();
        let counted = after.obytes.wrapping_sub(before.obytes);
        promise::STATS_TX_BYTES
            .require(counted == bytes as u64, || format!("{bytes} bytes sent, `obytes` grew by {counted}"));
    }
    Sent { sent: said, dropped: dropped as usize }
}

/// Receives a burst; what is counted, what is said and what has come must agree, and what was in the burst must stay.
pub(super) fn receive(rx: &mut dyn RxQueue, control: &dyn LportControl, burst: &mut Burst) -> usize {
    let before = control.stats();
    let held: Vec<_> = burst.iter().map(|mbuf| mbuf.data().as_ptr()).collect();
    let room = burst.room();
    let said = rx.rx_burst(burst);
    let after = control.stats();
    let kept = burst.iter().zip(&held).filter(|(mbuf, held)| mbuf.data().as_ptr() == **held).count();
    promise::RX_KEEPS.require(kept == held.len(), || format!("of {} packets in the burst {kept} stayed", held.len()));
    let came = burst.len() - held.len();
    promise::RX_COUNT.require(said == came && came <= room, || {
        format!("rx_burst returned {said}, {came} packets were appended, there was room for {room}")
    });
    let counted = after.ipackets.wrapping_sub(before.ipackets);
    promise::STATS_RX.require(counted == came as u64, || format!("{came} packets came, `ipackets` grew by {counted}"));
    let bytes: usize = burst[held.len()..].iter().map(Mbuf::packet_len).sum();
    let counted = after.ibytes.wrapping_sub(before.ibytes);
    promise::STATS_RX_BYTES
        .require(counted == bytes as u64, || format!("{bytes} bytes came, `ibytes` grew by {counted}"));
    came
}

/// Fails unless a received packet carries the number of its lport.
pub(super) fn check_port(mbuf: &Mbuf, lport: LportId) {
    promise::RX_PORT
        .require(mbuf.port() == lport.0, || format!("lport {lport} received a packet marked {}", mbuf.port()));
}

/// All bytes of a packet.
pub(super) fn bytes(mbuf: &Mbuf) -> Vec<u8> {
    let mut data = vec![0; mbuf.packet_len()];
    mbuf.copy_to(&mut data);
    data
}

/// Fails unless every mbuf is back.
pub(super) fn require_whole(pools: &[Pool]) {
    for pool in pools {
        let (available, size) = (pool.available(), pool.size());
        promise::CLOSE.require(available == size, || {
            format!("pool `{}` has {available} of {size} mbufs when everything is closed", pool.name())
        });
    }
}

/// Waits until `done`; fails after so long.
#[track_caller]
pub(super) fn wait(patience: Duration, promise: &Promise, what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !done() {
        promise.require(Instant::now() < end, || format!("not within {patience:?}: {what}"));
        std::thread::yield_now();
    }
}

/// Fails unless no counter has gone back.
pub(super) fn require_monotonic(before: &LportStats, after: &LportStats) {
    for ((name, old), (_, new)) in main_counters(before).into_iter().zip(main_counters(after)) {
        promise::STATS.require(old <= new, || format!("`{name}` went from {old} back to {new}"));
    }
}

/// The counters that every driver has, by name.
pub(super) fn main_counters(stats: &LportStats) -> [(&'static str, u64); 8] {
    [
        ("ipackets", stats.ipackets),
        ("opackets", stats.opackets),
        ("ibytes", stats.ibytes),
        ("obytes", stats.obytes),
        ("imissed", stats.imissed),
        ("ierrors", stats.ierrors),
        ("oerrors", stats.oerrors),
        ("rx_nombuf", stats.rx_nombuf),
    ]
}

/// Why the link is down, which must be said.
pub(super) fn require_down_with_reason(link: &Link) {
    let said = matches!(link, Link::Down(reason) if !reason.trim().is_empty());
    promise::DEAD_LINK.require(said, || format!("the link is {link:?}, but should be down and say why"));
}

/// The first difference between what was sent and what arrived, for people.
pub(super) fn difference(sent: &[Vec<u8>], arrived: &[Vec<u8>]) -> Option<String> {
    let at = (0..sent.len().max(arrived.len())).find(|at| sent.get(*at) != arrived.get(*at))?;
    let of = sent.len();
    let Some(got) = arrived.get(at) else { return Some(format!("{} of {of} packets arrived", arrived.len())) };
    let Some(wanted) = sent.get(at) else {
        return Some(format!("{} packets arrived, {of} were sent", arrived.len()));
    };
    if let Some(other) = sent.iter().position(|packet| packet == got) {
        return Some(format!("packet {other} of {of} arrived where packet {at} should have"));
    }
    if got.len() != wanted.len() {
        return Some(format!("packet {at} of {of} has {} bytes, but was sent with {}", got.len(), wanted.len()));
    }
    let byte = got.iter().zip(wanted).position(|(got, wanted)| got != wanted).unwrap_or_default();
    Some(format!(
        "packet {at} of {of}, {} bytes: byte {byte} is {:#04x}, but was sent as {:#04x}",
        got.len(),
        got[byte],
        wanted[byte]
    ))
}
