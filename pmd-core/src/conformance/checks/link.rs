//! The link: set down and up by the application, cut and joined from outside.

use std::sync::Arc;
use std::time::Instant;

use super::not_applicable;
use crate::burst::Burst;
use crate::conformance::checked::{require_down_with_reason, require_monotonic};
use crate::conformance::fixture::Fixture;
use crate::conformance::promise::{self, Promise};
use crate::conformance::testbed::Testbed;

/// Setting any lport of a device down stops all its queues; setting it up starts them again, and counters go on.
pub(in crate::conformance) fn admin_down_stops_the_whole_device_and_up_starts_it(fixture: &dyn Fixture) {
    let queues = fixture.capabilities().queues;
    let mut bed = Testbed::open(fixture, queues);
    carry_a_little(&mut bed);
    bed.about = promise::ADMIN_UP;
    for round in 0..2 {
        let which = if round == 0 { bed.near.lports.len() - 1 } else { 0 };
        let before: Vec<_> = bed.near.lports.iter().map(|lport| lport.control.stats()).collect();
        bed.near.lports[which].control.set_admin_up(false);
        wait_until_dead(&mut bed, &promise::ADMIN);
        require_dead(&mut bed, &promise::ADMIN_DOWN);
        bed.near.lports[which].control.set_admin_up(true);
        bed.wait_for_links();
        for (lport, before) in bed.near.lports.iter().zip(&before) {
            require_monotonic(before, &lport.control.stats());
            let up = lport.control.link().is_up();
            promise::ADMIN_UP.require(up, || format!("lport {} is {:?}", lport.name, lport.control.link()));
        }
        carry_a_little(&mut bed);
    }
    // Saying it twice is saying it once.
    for up in [false, false, true, true] {
        bed.near.lports[0].control.set_admin_up(up);
    }
    bed.wait_for_links();
    carry_a_little(&mut bed);
    bed.close();
}

/// A link that is cut from outside is said to be down, with the reason; it comes back when it can.
pub(in crate::conformance) fn a_lost_link_is_said_and_comes_back(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    match (bed.cut.take(), bed.far.as_ref().filter(|_| bed.caps.link_follows)) {
        (Some(cut), _) => cut_and_join(&mut bed, cut),
        (None, Some(far)) => {
            let control = Arc::clone(&far.lports[0].control);
            cut_and_join(&mut bed, Box::new(move |cut| control.set_admin_up(!cut)));
        }
        (None, None) => not_applicable("nothing but the device itself can cut the link"),
    }
    bed.close();
}

fn cut_and_join(bed: &mut Testbed, mut cut: Box<dyn FnMut(bool) + Send>) {
    carry_a_little(bed);
    for _ in 0..2 {
        let before = bed.near.lports[0].control.stats();
        cut(true);
        wait_until_dead(bed, &promise::DEAD_LINK);
        require_dead(bed, &promise::DEAD_LINK);
        cut(false);
        bed.wait_for_links();
        require_monotonic(&before, &bed.near.lports[0].control.stats());
        carry_a_little(bed);
    }
}

/// Takes a few packets along every way, on every queue.
fn carry_a_little(bed: &mut Testbed) {
    for way in bed.ways() {
        for queue in 0..bed.near.lports.len() {
            let packets = bed.packets(&[bed.caps.min_packet.max(64); 8]);
            bed.carry(way, queue, 8, &packets);
        }
    }
}

/// Waits until every queue says that it is down and neither takes nor yields a packet.
pub(super) fn wait_until_dead(bed: &mut Testbed, promise: &Promise) {
    let (patience, pool) = (bed.caps.patience, bed.near.pool.clone());
    let end = Instant::now() + patience;
    for lport in &mut bed.near.lports {
        loop {
            let mut burst = Burst::new();
            let (link, received) = (lport.control.link(), lport.rx.rx_burst(&mut burst));
            burst.clear();
            pool.alloc_bulk(&mut burst, 1);
            let sent = lport.tx.tx_burst(&mut burst);
            if !link.is_up() && received == 0 && sent == 0 && !burst.is_empty() {
                break;
            }
            promise.require(Instant::now() < end, || {
                let (name, left) = (&lport.name, burst.len());
                format!("after {patience:?} lport {name} is {link:?}; received {received}, of 1 offered sent {sent} and left {left}")
            });
            std::thread::yield_now();
        }
    }
}

/// A dead link is dead for good: nothing is taken, nothing comes, the reason is said.
fn require_dead(bed: &mut Testbed, promise: &Promise) {
    let pool = bed.near.pool.clone();
    for lport in &mut bed.near.lports {
        require_down_with_reason(&lport.control.link());
        let (before, mut burst, mut got) = (lport.control.stats(), Burst::new(), Burst::new());
        pool.alloc_bulk(&mut burst, 8);
        let offered = burst.len();
        for _ in 0..100 {
            let (sent, received) = (lport.tx.tx_burst(&mut burst), lport.rx.rx_burst(&mut got));
            promise.require(sent == 0 && received == 0 && burst.len() == offered, || {
                let left = burst.len();
                format!("{sent} packets were sent and {received} received; of {offered} offered {left} were left")
            });
            lport.tx.flush();
        }
        let after = lport.control.stats();
        promise.require(before.oerrors == after.oerrors, || "packets were dropped instead of left in the burst".into());
    }
}
