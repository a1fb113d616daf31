//! Ends: what becomes of packets, queues and handles when a device is closed, in whatever order and under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::burst::Burst;
use crate::conformance::checked::{bytes, require_whole};
use crate::conformance::fixture::Fixture;
use crate::conformance::halves::Parked;
use crate::conformance::promise;
use crate::conformance::testbed::{Testbed, open, pool_of};
use crate::lport::{Lport, LportControl};
use crate::pool::Pool;

/// Devices closed with packets on their way return every mbuf, whichever end and whichever half goes first.
pub(in crate::conformance) fn closing_in_any_order_returns_every_mbuf(fixture: &dyn Fixture) {
    for first in [First::Near, First::Far, First::Senders, First::Receivers] {
        let mut bed = Testbed::open(fixture, 1);
        carry_and_leave_some(&mut bed);
        let far = bed.far.take();
        let (mut near, mut far) =
            (std::mem::take(&mut bed.near.lports), far.map(|side| side.lports).unwrap_or_default());
        match first {
            First::Near => {
                near.clear();
                far.iter_mut().for_each(|lport| use_alone(lport, &bed.near.pool));
            }
            First::Far => {
                far.clear();
                near.iter_mut().for_each(|lport| use_alone(lport, &bed.near.pool));
            }
            First::Senders => {
                near.iter_mut().chain(&mut far).for_each(|lport| lport.tx = Box::new(Parked));
                near.iter_mut().chain(&mut far).for_each(drain);
            }
            First::Receivers => {
                near.iter_mut().chain(&mut far).for_each(|lport| lport.rx = Box::new(Parked));
                let pool = bed.near.pool.clone();
                near.iter_mut().chain(&mut far).for_each(|lport| send_some(lport, &pool));
            }
        }
        drop((near, far));
        bed.close();
    }
}

/// What is closed first.
#[derive(Clone, Copy)]
enum First {
    Near,
    Far,
    Senders,
    Receivers,
}

/// Sends more than is received, along every way.
fn carry_and_leave_some(bed: &mut Testbed) {
    let len = bed.caps.min_packet.max(64);
    for way in bed.ways() {
        let packets = bed.packets(&[len; 16]);
        bed.carry(way, 0, 8, &packets);
        let Some(from) = way.from else { continue };
        let pool = bed.side(from).pool.clone();
        send_some(&mut bed.side(from).lports[0], &pool);
    }
}

/// Sends what goes at once of a few packets.
fn send_some(lport: &mut Lport, pool: &Pool) {
    let mut burst = Burst::new();
    for i in 0..40 {
        burst.push(pool.alloc_packet(&[i; 64]).expect("the pool holds a few packets")).expect("there is room");
    }
    lport.tx.tx_burst(&mut burst);
    lport.tx.flush();
}

fn drain(lport: &mut Lport) {
    let mut burst = Burst::new();
    for _ in 0..20 {
        lport.rx.rx_burst(&mut burst);
        burst.clear();
    }
}

/// Uses an lport whose other end is gone.
fn use_alone(lport: &mut Lport, pool: &Pool) {
    drain(lport);
    send_some(lport, pool);
    drain(lport);
}

/// Control handles may outlive the queues by any time, and are answered.
pub(in crate::conformance) fn control_handles_outlive_their_queues(fixture: &dyn Fixture) {
    let queues = fixture.capabilities().queues;
    let mut bed = Testbed::open(fixture, queues);
    carry_and_leave_some(&mut bed);
    let before = bed.near.lports[0].control.stats();
    let controls: Vec<_> = bed.near.lports.drain(..).map(|lport| lport.control).collect();
    let details: Vec<_> = controls.iter().map(|control| format!("{:?}", control.details())).collect();
    promise::DETAILS.require(details.windows(2).all(|pair| pair[0] == pair[1]), || details.join(" and "));
    for control in &controls {
        let _ = (control.link(), control.info(), control.stats());
        control.set_admin_up(false);
        control.set_admin_up(true);
    }
    promise::STATS.require(controls[0].stats().opackets >= before.opackets, || "counters have gone back".into());
    drop(controls);
    bed.close();
}

/// Packets that were received outlive their device, and may be dropped on any thread.
pub(in crate::conformance) fn received_packets_outlive_their_device(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    let len = bed.caps.min_packet.max(64);
    let mut held = Vec::new();
    for way in bed.ways() {
        let Some(to) = way.to else { continue };
        let packets = bed.packets(&[len; 8]);
        bed.carry(way, 0, 8, &packets);
        if let Some(from) = way.from {
            let pool = bed.side(from).pool.clone();
            send_some(&mut bed.side(from).lports[0], &pool);
        }
        let mut burst = Burst::with_limit(8);
        for _ in 0..100 {
            bed.side(to).lports[0].rx.rx_burst(&mut burst);
        }
        held.extend(burst.drain_front(burst.len()).map(|mbuf| (bytes(&mbuf), mbuf)));
    }
    let pools = bed.pools();
    drop((std::mem::take(&mut bed.near.lports), bed.far.take()));
    thread::spawn(move || {
        for (data, mbuf) in held {
            promise::RX_OWNED.require(bytes(&mbuf) == data, || "a packet changed when its device was closed".into());
        }
    })
    .join()
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    require_whole(&pools);
    bed.close();
}

/// A device may be closed while its other end is under load on another thread; the same device can then be opened again.
pub(in crate::conformance) fn closing_under_load_loses_nothing_and_opens_again(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let packets = bed.packets(&[bed.caps.min_packet.max(64); 8]);
        bed.carry(way, 0, 8, &packets);
    }
    let other_end = bed.far.take();
    let stop = Arc::new(AtomicBool::new(false));
    let load = other_end.map(|mut side| {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                send_some(&mut side.lports[0], &side.pool);
                drain(&mut side.lports[0]);
            }
        })
    });
    let controls: Vec<_> = bed.near.lports.iter().map(|lport| Arc::clone(&lport.control)).collect();
    let watch = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                controls.iter().for_each(ask);
            }
        })
    };
    for round in 0..8 {
        for lport in &mut bed.near.lports {
            send_some(lport, &bed.near.pool);
            drain(lport);
        }
        if round == 6 {
            bed.near.lports.clear();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for thread in load.into_iter().chain([watch]) {
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    require_whole(&bed.pools());
    let pool = pool_of(&bed.device);
    match open(&bed.device, 1, Some(&pool)) {
        Ok(mut lports) => lports.iter_mut().for_each(drain),
        Err(error) => promise::CLOSE.broken(&format!("closed, but it cannot be opened again: {error}")),
    }
    require_whole(&[pool]);
    bed.close();
}

/// Asks a control handle for everything.
fn ask(control: &Arc<dyn LportControl>) {
    let _ = (control.link(), control.info(), control.stats(), control.details());
    thread::yield_now();
}
