//! Bursts: of every size, empty and full ones, a device that takes a part.

use super::not_applicable;
use crate::burst::{BURST_MAX, Burst};
use crate::conformance::checked::{receive, send, wait};
use crate::conformance::fixture::{Fixture, Shape};
use crate::conformance::promise;
use crate::conformance::testbed::{Testbed, Way};

/// Bursts of 1, 32 and 256 packets, and of numbers beside those, arrive.
pub(in crate::conformance) fn bursts_of_every_size_arrive_in_order(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    let len = bed.caps.min_packet.max(64);
    for way in bed.ways() {
        for size in [1, 2, 31, 32, 33, 255, BURST_MAX] {
            let packets = bed.packets(&vec![len; 2 * size + 1]);
            bed.carry(way, 0, size, &packets);
        }
    }
    bed.close();
}

/// A burst of nothing, and a burst without room, change nothing.
pub(in crate::conformance) fn an_empty_and_a_full_burst_change_nothing(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    let pool = bed.near.pool.clone();
    let lport = &mut bed.near.lports[0];
    let mut empty = Burst::new();
    let before = lport.control.stats();
    lport.tx.tx_burst(&mut empty);
    let after = lport.control.stats();
    promise::TX_COUNT.require(before == after, || format!("an empty burst changed the counters to {after:?}"));
    for limit in [1, 32, BURST_MAX] {
        let mut full = Burst::with_limit(limit);
        pool.alloc_bulk(&mut full, limit);
        receive(&mut *lport.rx, &*lport.control, &mut full);
    }
    bed.close();
}

/// Received packets come behind those that a burst holds, and within its limit.
pub(in crate::conformance) fn received_packets_are_appended_within_the_limit(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    let count = bed.caps.window.min(40);
    for way in bed.ways() {
        let Some(to) = way.to else { continue };
        if way.tied {
            send_unreceived(&mut bed, way, count);
        }
        let (mut burst, mut received) = (Burst::with_limit(8), 0);
        let patience = bed.caps.patience;
        let side = bed.side(to);
        let (lport, pool) = (&mut side.lports[0], side.pool.clone());
        wait(patience, &promise::RX_COUNT, "all packets are received", || {
            burst.clear();
            pool.alloc_bulk(&mut burst, 3);
            received += receive(&mut *lport.rx, &*lport.control, &mut burst);
            received >= count
        });
    }
    bed.close();
}

/// Sends so many packets, no more than the window, while nobody receives.
pub(super) fn send_unreceived(bed: &mut Testbed, way: Way, count: usize) {
    let Some(from) = way.from else { return };
    warm_up(bed, way);
    let (patience, len) = (bed.caps.patience, bed.caps.min_packet.max(64));
    let mut burst = Burst::new();
    for packet in bed.packets(&vec![len; count]) {
        let mbuf = bed.side(from).pool.alloc_packet(&packet).expect("the pool holds more than a few packets");
        burst.push(mbuf).expect("there is room for a few packets");
    }
    let lport = &mut bed.side(from).lports[0];
    wait(patience, &promise::TX_COUNT, "a few packets are accepted while nobody receives", || {
        send(&mut *lport.tx, &*lport.control, &mut burst);
        lport.tx.flush();
        burst.is_empty()
    });
}

/// Gets both ends to work: the rings of a link are taken, and filled with buffers, at the first bursts.
fn warm_up(bed: &mut Testbed, way: Way) {
    let packets = bed.packets(&[bed.caps.min_packet.max(64); 4]);
    bed.carry(way, 0, 4, &packets);
}

/// A device that nobody receives from refuses packets, and what it refuses stays in the burst in order. Nothing of what it
/// accepted is lost.
pub(in crate::conformance) fn what_a_full_device_refuses_stays_in_the_burst(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    if !bed.caps.backpressure {
        let sink = matches!(bed.caps.shape, Shape::Ends { .. });
        not_applicable(if sink { "a sink never fills" } else { "the device loses what is not received in time" });
    } else {
        for way in bed.tied_ways() {
            fill_and_empty(&mut bed, way);
        }
    }
    bed.close();
}

fn fill_and_empty(bed: &mut Testbed, way: Way) {
    let (Some(from), Some(_)) = (way.from, way.to) else { return };
    let len = bed.caps.min_packet.max(64);
    warm_up(bed, way);
    let pool = bed.side(from).pool.clone();
    let (mut packets, mut burst, mut refused) = (Vec::new(), Burst::new(), false);
    let mut accepted = 0;
    while !refused {
        while burst.len() < 48 {
            let packet = bed.packets(&[len]).remove(0);
            let Some(mbuf) = pool.alloc_packet(&packet) else {
                let why = "the pool is empty before the device is full: give the fixture a larger pool, or say that it \
                           has no `backpressure`";
                promise::TX_REST.broken(why);
            };
            burst.push(mbuf).expect("there is room");
            packets.push(packet);
        }
        let lport = &mut bed.side(from).lports[0];
        let sent = send(&mut *lport.tx, &*lport.control, &mut burst);
        promise::TX_DROPS.require(sent.dropped == 0, || format!("a full device dropped {} packets", sent.dropped));
        accepted += sent.sent;
        refused = sent.sent == 0;
    }
    let mut arrived = Vec::new();
    let mut got = Burst::with_limit(32);
    let patience = bed.caps.patience;
    let of = packets.len();
    wait(patience, &promise::TX_REST, "what was refused goes out when there is room", || {
        bed.receive_at(way, 0, &mut got, &mut arrived);
        let lport = &mut bed.side(from).lports[0];
        accepted += send(&mut *lport.tx, &*lport.control, &mut burst).sent;
        lport.tx.flush();
        arrived.len() >= of
    });
    promise::TX_COUNT.require(accepted == of, || format!("{accepted} packets accepted of {of}"));
    bed.compare(&promise::TX_REST, &packets, &arrived);
}
