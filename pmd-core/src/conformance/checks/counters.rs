//! Counters: those of both ends agree, an idle device counts nothing, an empty pool is counted and passes.

use super::not_applicable;
use crate::burst::Burst;
use crate::conformance::checked::{main_counters, receive, require_monotonic, send, wait};
use crate::conformance::fixture::Fixture;
use crate::conformance::promise;
use crate::conformance::testbed::{End, Testbed, Way};

/// What one end has sent the other has received, in packets and in bytes, and no counter of trouble has moved.
pub(in crate::conformance) fn statistics_of_both_ends_add_up(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let before: Vec<_> = bed.lports().map(|lport| lport.control.stats()).collect();
        let (min, max) = (bed.caps.min_packet.max(bed.caps.pads_to), bed.largest(way).min(1514));
        let lens: Vec<_> = (0..500).map(|i| min + (i * 37) % (max - min + 1)).collect();
        let packets = bed.packets(&lens);
        bed.carry(way, 0, 32, &packets);
        let after: Vec<_> = bed.lports().map(|lport| lport.control.stats()).collect();
        let (count, bytes) = (lens.len() as u64, lens.iter().sum::<usize>() as u64);
        let sum = |field: fn(&crate::LportStats) -> u64| {
            after.iter().map(field).sum::<u64>().wrapping_sub(before.iter().map(field).sum())
        };
        if way.from.is_some() {
            let sent = (sum(|stats| stats.opackets), sum(|stats| stats.obytes));
            promise::STATS_TX
                .require(sent == (count, bytes), || format!("sent {count} packets of {bytes} bytes, counted {sent:?}"));
        }
        if way.to.is_some() && way.tied && !bed.caps.noise {
            let got = (sum(|stats| stats.ipackets), sum(|stats| stats.ibytes));
            promise::STATS_RX.require(got == (count, bytes), || {
                format!("received {count} packets of {bytes} bytes, counted {got:?}")
            });
        }
        let trouble = [sum(|stats| stats.oerrors), sum(|stats| stats.ierrors), sum(|stats| stats.imissed)];
        promise::STATS_IDLE.require(bed.caps.noise || trouble == [0; 3], || {
            format!("nothing went wrong, but `oerrors`, `ierrors` and `imissed` grew by {trouble:?}")
        });
        for (old, new) in before.iter().zip(&after) {
            require_monotonic(old, new);
        }
    }
    bed.close();
}

/// Polling an idle device changes no counter.
pub(in crate::conformance) fn idle_changes_no_counter(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    let receives = bed.ways().iter().any(|way| way.to == Some(End::Near) && !way.tied);
    let noise = bed.caps.noise;
    let len = bed.caps.min_packet.max(64);
    for way in bed.ways() {
        let packets = bed.packets(&[len; 8]);
        bed.carry(way, 0, 8, &packets);
    }
    let lport = &mut bed.near.lports[0];
    let before = lport.control.stats();
    let mut burst = Burst::new();
    for _ in 0..200 {
        if !receives {
            let n = lport.rx.rx_burst(&mut burst);
            promise::RX_WHOLE.require(n == 0 || noise, || format!("{n} packets came that nobody sent"));
            burst.clear();
        }
        lport.tx.tx_burst(&mut burst);
        lport.tx.flush();
    }
    let after = lport.control.stats();
    for ((name, old), (_, new)) in main_counters(&before).into_iter().zip(main_counters(&after)) {
        let ours = !noise || name.starts_with('o');
        promise::STATS_IDLE.require(!ours || old == new, || format!("`{name}` went from {old} to {new} while idle"));
    }
    bed.close();
}

/// A device whose pool is empty says so in `rx_nombuf` and receives again when mbufs are back.
pub(in crate::conformance) fn an_empty_pool_is_counted_and_passes(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    let ways: Vec<_> = bed.ways().into_iter().filter(|way| way.to == Some(End::Near)).collect();
    if !bed.caps.uses_pool || ways.is_empty() {
        not_applicable("the device takes no mbufs of its pool");
    } else {
        ways.into_iter().for_each(|way| starve(&mut bed, way));
    }
    bed.close();
}

fn starve(bed: &mut Testbed, way: Way) {
    let len = bed.caps.min_packet.max(64);
    let packets = bed.packets(&[len; 8]);
    bed.carry(way, 0, 8, &packets);
    // Packets to be sent come from elsewhere, so that the pool can be empty.
    let elsewhere = bed.another_pool(1024, 2048);
    let pool = bed.near.pool.clone();
    let mut held: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    let counted = |bed: &Testbed| bed.near.lports[0].control.stats().rx_nombuf;
    let before = counted(bed);
    let (patience, mut out, mut got) = (bed.caps.patience, Burst::new(), Burst::with_limit(32));
    wait(patience, &promise::RX_NOMBUF, "`rx_nombuf` counts a pool without mbufs", || {
        if let Some(from) = way.from.filter(|_| way.tied) {
            let packet = bed.packets(&[len]).remove(0);
            if out.is_empty()
                && let Some(mbuf) = elsewhere.alloc_packet(&packet)
            {
                out.push(mbuf).expect("the burst is empty");
            }
            let lport = &mut bed.side(from).lports[0];
            send(&mut *lport.tx, &*lport.control, &mut out);
            lport.tx.flush();
        }
        let lport = &mut bed.near.lports[0];
        receive(&mut *lport.rx, &*lport.control, &mut got);
        held.extend(got.drain_front(got.len()));
        held.extend(pool.alloc());
        counted(bed) > before
    });
    held.clear();
    out.clear();
    // What waited meanwhile comes first; then the way is clear again.
    bed.settle(way);
    let packets = bed.packets(&[len; 64]);
    bed.carry(way, 0, 16, &packets);
}
