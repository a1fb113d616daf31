//! Packets: of every length, in several segments, too long ones, empty ones; whose they are and how they are marked.

use super::not_applicable;
use crate::burst::Burst;
use crate::conformance::checked::{bytes, wait};
use crate::conformance::fixture::Fixture;
use crate::conformance::loan::Loan;
use crate::conformance::promise;
use crate::conformance::testbed::{End, Testbed, Way};
use crate::deployment::LportId;
use crate::mbuf::Mbuf;
use crate::pool::Pool;

/// Lengths around which buffers, mbufs and frames end.
const BOUNDARIES: [usize; 12] = [1, 22, 60, 64, 128, 256, 1024, 1514, 2048, 4096, 9018, 65535];

/// Packets of every length from the shortest to the largest arrive unchanged.
pub(in crate::conformance) fn packets_of_every_length_arrive_unchanged(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let (min, max) = (bed.caps.min_packet, bed.largest(way));
        let room = bed.near.pool.data_room();
        let around = BOUNDARIES.into_iter().chain([min, max, room]);
        let mut lens: Vec<_> = around.flat_map(|len| [len.saturating_sub(1), len, len + 1]).collect();
        lens.retain(|len| (min..=max).contains(len));
        lens.sort_unstable();
        lens.dedup();
        let packets = bed.packets(&lens);
        bed.carry(way, 0, 4, &packets);
    }
    bed.close();
}

/// Packets in several segments arrive as what they are, or are dropped and counted by a device that cannot send them.
pub(in crate::conformance) fn chains_are_sent_whole_or_dropped(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let Some(from) = way.from else { continue };
        let chains = bed.caps.chains;
        if !chains && from != End::Near {
            continue;
        }
        let (pool, min, max) = (bed.side(from).pool.clone(), bed.caps.min_packet.max(64), bed.largest(way));
        let lens: Vec<_> =
            [min, 200, 1000, 1514, 3000, 9000].into_iter().filter(|len| (min..=max).contains(len)).collect();
        let packets = bed.packets(&lens);
        let parts = [1, 14, 3, 100, 777];
        let carried = bed.carry_mbufs(way, 0, 4, packets.len(), |i| chain(&pool, &packets[i], &parts));
        if chains {
            promise::TX_DROPS.require(carried.dropped == 0, || format!("{} chains were dropped", carried.dropped));
            if way.tied && way.to.is_some() {
                bed.compare(&promise::RX_WHOLE, &packets, &carried.arrived);
            }
        } else {
            promise::TX_DROPS.require(carried.sent == 0, || {
                format!("{} chains were sent by a device that is said to carry none", carried.sent)
            });
        }
    }
    bed.close();
}

/// A packet in segments of these lengths, in turn.
fn chain(pool: &Pool, data: &[u8], parts: &[usize]) -> Mbuf {
    let (mut rest, mut head) = (data, None::<Mbuf>);
    for part in parts.iter().cycle() {
        let (now, then) = rest.split_at((*part).min(rest.len()));
        let segment = pool.alloc_packet(now).expect("the pool holds a few chains");
        match &mut head {
            None => head = Some(segment),
            Some(head) => drop(head.chain(segment)),
        }
        rest = then;
        if rest.is_empty() {
            break;
        }
    }
    head.expect("data is not empty")
}

/// Packets longer than the lport carries, and empty ones, are dropped and counted; those between them arrive, and nothing
/// arrives truncated.
pub(in crate::conformance) fn packets_that_cannot_be_sent_are_dropped_and_counted(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let Some(from) = way.from else { continue };
        let max = bed.side(from).lports[0].control.info().max_packet as usize;
        promise::MAX_PACKET.require(max >= bed.caps.min_packet, || format!("the largest packet has {max} bytes"));
        let good = bed.packets(&[bed.caps.min_packet.max(64); 6]);
        let mut bad = vec![0];
        if max < 1 << 20 {
            bad.extend([max + 1, max + 1, 2 * max]);
        } else {
            not_applicable("packets of any length are carried");
        }
        let pool = bed.side(from).pool.clone();
        let wide = bed.another_pool(64, 65536);
        // good, bad, good, bad, ..., good
        let count = good.len() + bad.len();
        let make = |i: usize| match i % 2 {
            1 if i / 2 < bad.len() => one_piece(&wide, &pool, bad[i / 2]),
            _ => pool.alloc_packet(&good[i - (i / 2 + i % 2).min(bad.len())]).expect("the pool holds a few packets"),
        };
        let carried = bed.carry_mbufs(way, 0, 16, count, make);
        let too_long = bad.len() - 1;
        promise::TX_DROPS.require((too_long..=bad.len()).contains(&carried.dropped), || {
            let (dropped, sent) = (carried.dropped, carried.sent);
            format!("{too_long} too long packets and an empty one among {count}: {dropped} dropped, {sent} sent")
        });
        if way.tied && way.to.is_some() {
            let arrived: Vec<_> = carried.arrived.into_iter().filter(|packet| !packet.is_empty()).collect();
            bed.compare(&promise::TX_DROPS, &good, &arrived);
        }
    }
    bed.close();
}

/// A packet of `len` bytes, in one piece if an mbuf of `wide` holds it.
fn one_piece(wide: &Pool, pool: &Pool, len: usize) -> Mbuf {
    let from = if len <= wide.data_room() { wide } else { pool };
    from.alloc_packet(&vec![0xee; len]).expect("the pools hold a few packets")
}

/// Packets out of any pool are sent, also those with all their headroom used up, and those that are lent, out of none.
pub(in crate::conformance) fn packets_of_any_pool_are_sent(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    let foreign = bed.another_pool(512, 2048);
    let mut loans = Vec::new();
    for way in bed.ways() {
        let Some(from) = way.from else { continue };
        let own = bed.side(from).pool.clone();
        let len = bed.largest(way).min(700).max(bed.caps.min_packet);
        let packets = bed.packets(&vec![len; 60]);
        let mut loan = Loan::of(packets.clone());
        let make = |i: usize| match i % 4 {
            0 => own.alloc_packet(&packets[i]).expect("the pool holds a few packets"),
            1 => foreign.alloc_packet(&packets[i]).expect("the pool holds a few packets"),
            2 => behind_no_headroom(&foreign, &packets[i]),
            _ => loan.lend(i),
        };
        let carried = bed.carry_mbufs(way, 0, 8, packets.len(), make);
        promise::TX_POOLS.require(carried.dropped == 0, || format!("{} packets were dropped", carried.dropped));
        if way.tied && way.to.is_some() {
            bed.compare(&promise::TX_POOLS, &packets, &carried.arrived);
        }
        loans.push(loan);
    }
    bed.close();
    promise::CLOSE.require(loans.iter().all(Loan::is_back), || "a lent packet is out when everything is closed".into());
}

/// Packets written into mbufs that the queue itself gave arrive in order, also among others and when some of those mbufs were
/// dropped instead.
pub(in crate::conformance) fn packets_built_in_place_are_sent(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let Some(from) = way.from else { continue };
        let len = bed.caps.min_packet.max(64);
        let packets = bed.packets(&[len; 4]);
        bed.carry(way, 0, 4, &packets);
        if bed.side(from).lports[0].tx.alloc_burst(&mut Burst::new(), 1).is_none() {
            not_applicable("the queue has no memory to build packets in");
            continue;
        }
        for lost in [false, true] {
            let given = given(&mut bed, from, 12);
            let packets = bed.packets(&vec![len; given.len() + 1]);
            let pool = bed.side(from).pool.clone();
            let mut built: Vec<_> =
                given.into_iter().zip(&packets).map(|(mbuf, data)| Some(fill(mbuf, data))).collect();
            built.push(pool.alloc_packet(&packets[packets.len() - 1]));
            let kept = |i: &usize| !lost || i % 3 != 1;
            let sent: Vec<_> = (0..packets.len()).filter(kept).collect();
            let mut going: Vec<_> = sent.iter().map(|i| built[*i].take()).collect();
            drop(built);
            let make = |i: usize| going[i].take().expect("each is sent once");
            let carried = bed.carry_mbufs(way, 0, 8, sent.len(), make);
            let promise = if lost { promise::TX_IN_PLACE_LOST } else { promise::TX_IN_PLACE };
            promise.require(carried.dropped == 0, || format!("{} packets were dropped", carried.dropped));
            if way.tied && way.to.is_some() {
                let wanted: Vec<_> = sent.iter().map(|i| packets[*i].clone()).collect();
                bed.compare(&promise, &wanted, &carried.arrived);
            }
        }
    }
    bed.close();
}

/// Mbufs that a sending queue gave, `n` at most.
fn given(bed: &mut Testbed, from: End, n: usize) -> Vec<Mbuf> {
    let mut burst = Burst::with_limit(n + 1);
    let pool = bed.side(from).pool.clone();
    burst.push(pool.alloc().expect("the pool holds one mbuf")).expect("the burst is empty");
    let tx = &mut bed.side(from).lports[0].tx;
    let said = tx.alloc_burst(&mut burst, n).unwrap_or_default();
    let added = burst.len() - 1;
    promise::TX_IN_PLACE.require(said == added && added <= n, || format!("{added} mbufs were added, {said} said"));
    let empty = burst[1..].iter().all(|mbuf| mbuf.packet_len() == 0);
    promise::TX_IN_PLACE.require(empty, || "an mbuf to build a packet in holds data already".into());
    burst.drain_front(1 + added).skip(1).collect()
}

/// Writes a packet into an empty mbuf.
fn fill(mut mbuf: Mbuf, data: &[u8]) -> Mbuf {
    let room = mbuf.tailroom();
    match mbuf.append(data.len()) {
        Some(place) => place.copy_from_slice(data),
        None => promise::TX_IN_PLACE.broken(&format!("an mbuf to build packets in holds {room} bytes")),
    }
    mbuf
}

/// A packet that begins where its mbuf's buffer does.
fn behind_no_headroom(pool: &Pool, data: &[u8]) -> Mbuf {
    let mut mbuf = pool.alloc().expect("the pool holds a few packets");
    let headroom = mbuf.headroom();
    mbuf.prepend(headroom).expect("the headroom is there");
    mbuf.append(data.len().saturating_sub(headroom)).expect("there is room");
    let cut = mbuf.packet_len() - data.len();
    assert!(mbuf.trim(cut), "cannot cut {cut} bytes");
    mbuf.data_mut().copy_from_slice(data);
    mbuf
}

/// Received packets may be kept, read and written while others come; nobody else writes into them.
pub(in crate::conformance) fn received_packets_belong_to_whoever_holds_them(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let Some((mut mbuf, data)) = hold_one(&mut bed, way) else { continue };
        let (len, count) = (bed.caps.min_packet.max(64), 300.min(bed.caps.after_held / 8));
        for round in 0..4 {
            let packets = bed.packets(&vec![len; count]);
            bed.carry(way, 0, 32, &packets);
            promise::RX_OWNED.require(bytes(&mbuf) == data, || format!("a packet held changed in round {round}"));
        }
        mbuf.data_mut().fill(0xa5);
        let packets = bed.packets(&vec![len; count]);
        bed.carry(way, 0, 32, &packets);
        let kept = mbuf.data().iter().all(|byte| *byte == 0xa5);
        promise::RX_OWNED.require(kept, || "bytes written into a packet held have changed".into());
    }
    bed.close();
}

/// A queue that is told that its packets are passed on unread delivers what it delivered before; and what it delivers when it is
/// told otherwise belongs to whoever holds it.
pub(in crate::conformance) fn packets_passed_on_arrive_unchanged(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let Some(to) = way.to else { continue };
        let (min, max, count) = (bed.caps.min_packet, bed.largest(way), 240.min(bed.caps.after_held / 8));
        let lens: Vec<_> = [64, 300, 1514].map(|len: usize| len.clamp(min, max)).repeat(count / 3);
        for passed_on in [true, false, true] {
            bed.side(to).lports.iter_mut().for_each(|lport| lport.rx.set_passed_on(passed_on));
            let packets = bed.packets(&lens);
            bed.carry(way, 0, 32, &packets);
        }
        bed.side(to).lports.iter_mut().for_each(|lport| lport.rx.set_passed_on(false));
        let Some((mbuf, data)) = hold_one(&mut bed, way) else { continue };
        let packets = bed.packets(&lens);
        bed.carry(way, 0, 32, &packets);
        promise::RX_PASSED_ON.require(bytes(&mbuf) == data, || "a packet held afterwards changed".into());
    }
    bed.close();
}

/// A queue that is told another pool may receive into it, and brings nothing there but the packet; told its own again, it lets go
/// of the other.
pub(in crate::conformance) fn what_is_received_into_another_pool_is_the_packet_alone(fixture: &dyn Fixture) {
    const MARK: u8 = 0x5c;
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let Some(to) = way.to else { continue };
        let (min, max, count) = (bed.caps.min_packet, bed.largest(way), 240.min(bed.caps.after_held / 8));
        let lens: Vec<_> = [64, 300, 1514].map(|len: usize| len.clamp(min, max)).repeat(count / 3);
        let data_room = bed.side(to).pool.data_room();
        let another = bed.another_pool(1024, data_room);
        let mut all: Vec<_> = std::iter::from_fn(|| another.alloc()).collect();
        all.iter_mut().for_each(|mbuf| mbuf.room_mut().fill(MARK));
        drop(all);
        // Longer packets go before, which the device's memory may still hold.
        let packets = bed.packets(&lens);
        bed.carry(way, 0, 32, &packets);
        bed.side(to).lports.iter_mut().for_each(|lport| lport.rx.receive_into(Some(another.clone())));
        let mut held = hold_one(&mut bed, way);
        if let Some((mbuf, _)) = &mut held
            && another.segment().offset_of(mbuf.data()).is_some()
        {
            let behind = mbuf.append(mbuf.tailroom()).map_or(&[][..], |behind| behind);
            let foreign = behind.iter().find(|byte| ![MARK, 0].contains(byte));
            promise::RX_INTO.require(foreign.is_none(), || format!("there is a byte {foreign:x?} behind a packet"));
        }
        drop(held);
        let packets = bed.packets(&lens);
        bed.carry(way, 0, 32, &packets);
        bed.side(to).lports.iter_mut().for_each(|lport| lport.rx.receive_into(None));
        let packets = bed.packets(&lens);
        bed.carry(way, 0, 32, &packets);
        let kept = another.in_use();
        promise::RX_INTO_OWN.require(kept == 0, || format!("{kept} mbufs of another pool are still out"));
    }
    bed.close();
}

/// Receives one packet and keeps it, with a copy of its bytes.
fn hold_one(bed: &mut Testbed, way: Way) -> Option<(Mbuf, Vec<u8>)> {
    let to = way.to?;
    let (patience, len) = (bed.caps.patience, bed.caps.min_packet.max(100));
    let packet = bed.packets(&[len]).remove(0);
    let mut out = Burst::new();
    if let Some(from) = way.from {
        out.push(bed.side(from).pool.alloc_packet(&packet)?).ok()?;
    }
    let mut got = Burst::with_limit(1);
    let (noise, frame) = (bed.caps.noise, bed.caps.frame);
    wait(patience, &promise::RX_WHOLE, "one packet arrives", || {
        if let Some(from) = way.from {
            let lport = &mut bed.side(from).lports[0];
            lport.tx.tx_burst(&mut out);
            lport.tx.flush();
        }
        bed.side(to).lports[0].rx.rx_burst(&mut got);
        if noise && way.tied && got.iter().any(|mbuf| frame.number(mbuf.data()).is_none()) {
            got.clear();
        }
        !got.is_empty()
    });
    let mbuf = got.pop()?;
    let data = bytes(&mbuf);
    Some((mbuf, data))
}

/// Received packets carry the number of their lport, also after it has got another one.
pub(in crate::conformance) fn received_packets_carry_their_lports_number(fixture: &dyn Fixture) {
    let mut bed = Testbed::open(fixture, 1);
    for way in bed.ways() {
        let Some(to) = way.to else { continue };
        for number in [LportId(7), LportId(0), LportId(u16::MAX)] {
            let lport = &mut bed.side(to).lports[0];
            lport.rx.renumber(number);
            lport.id = number;
            let Some((mbuf, _)) = hold_one(&mut bed, way) else { continue };
            promise::RX_RENUMBER.require(mbuf.port() == number.0, || {
                format!("renumbered to {number}, but a packet received afterwards carries {}", mbuf.port())
            });
        }
    }
    bed.close();
}
