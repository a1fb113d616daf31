//! What a memif device tells of itself: as much as VPP's `show memif`, and both sides' last words with their times.
//!
//! The names are a promise to those who read them as JSON; `docs/telemetry.md` lists them. Times are whole seconds of UNIX
//! time.

use std::time::{SystemTime, UNIX_EPOCH};

use pmd_core::Details;
use pmd_core::details::Value;

use crate::control::{Peer, Role};
use crate::counters;
use crate::device::{Device, End, Ends, OpenDevice, Snapshot};
use crate::message::Direction;
use crate::queue::RxMode;
use crate::shm::CacheLine;
use crate::view::{RegionView, RingView};

/// Everything of a device, at one moment.
pub(crate) fn of(open: &OpenDevice) -> Details {
    let (device, config) = (open.device(), open.config());
    let now = device.snapshot();
    let view = now.link.as_ref().map(|link| link.view());
    let is_client = matches!(config.role, Role::Client(_));
    let rings = view.map(|view| view.rings.iter().map(|ring| of_ring(ring, is_client)).collect::<Vec<_>>());
    let regions = view.map(|view| view.regions.iter().zip(0..).map(of_region).collect::<Vec<_>>());
    Details::new()
        .with("interface", config.name.as_str())
        .with("role", if is_client { "client" } else { "server" })
        .with("id", config.id)
        .with("mode", config.mode.to_string())
        .with("socket", config.address.to_string())
        .with("secret", !config.secret.is_none())
        .with("zero_copy", device.settings.borrows || !device.settings.exports.pools.is_empty())
        .with("rx_mode", rx_mode(device.settings.rx_mode))
        .with("cache_line", if device.settings.line == CacheLine::B128 { 128_u64 } else { 64 })
        .with("link", of_link(&now))
        .with("peer", now.peer.as_ref().map(of_peer))
        .with("last_end", of_ends(&now.ends))
        .with("counts", of_counts(device))
        .with("regions", regions.unwrap_or_default())
        .with("rings", rings.unwrap_or_default())
        .with("queues", device.counters.iter().zip(0..).map(|queue| of_queue(queue, device)).collect::<Vec<_>>())
}

fn rx_mode(mode: RxMode) -> &'static str {
    match mode {
        RxMode::Polling => "polling",
        RxMode::Interrupt => "interrupt",
        RxMode::Adaptive => "adaptive",
    }
}

fn of_link(now: &Snapshot) -> Details {
    let is_up = now.link.is_some();
    Details::new()
        .with("up", is_up)
        .with("down_because", (!is_up).then(|| now.down.clone()))
        .with("since", now.changed.map(unix_seconds))
}

fn of_peer(peer: &Peer) -> Details {
    Details::new()
        .with("application", peer.app_name.as_str())
        .with("interface", peer.interface.as_str())
        .with("pid", u32::try_from(peer.credentials.pid).ok())
        .with("uid", peer.credentials.uid)
        .with("gid", peer.credentials.gid)
}

fn of_ends(ends: &Ends) -> Details {
    let end = |end: &End| Details::new().with("reason", end.reason.as_str()).with("unix_time", unix_seconds(end.at));
    Details::new().with("by_us", ends.by_us.as_ref().map(end)).with("by_peer", ends.by_peer.as_ref().map(end))
}

fn of_counts(device: &Device) -> Details {
    counters::of_link(&device.link_counters).iter().fold(Details::new(), |tree, (name, n)| tree.with(name, *n))
}

fn of_region((region, index): (&RegionView, u64)) -> Details {
    Details::new()
        .with("index", index)
        .with("size", region.size)
        .with("kind", region.kind)
        .with("seals", region.seals.clone())
}

fn of_ring(ring: &RingView, is_client: bool) -> Details {
    let is_sent_on = (ring.direction == Direction::S2m) == is_client;
    Details::new()
        .with("direction", if is_sent_on { "tx" } else { "rx" })
        .with("ring", if ring.direction == Direction::S2m { "s2m" } else { "m2s" })
        .with("index", ring.index)
        .with("region", ring.place.region)
        .with("offset", ring.place.offset)
        .with("size", ring.size.get())
        .with("head", ring.words.head())
        .with("tail", ring.words.tail())
        .with("flags", ring.words.flags())
        .with("interrupts", ring.interrupts())
        .with("buffer_size", ring.buffer_size)
}

fn of_queue((queue, index): (&counters::QueueCounters, u64), device: &Device) -> Details {
    let stats = counters::stats(queue, &device.link_counters);
    let own = Details::new()
        .with("queue", index)
        .with("rx_packets", stats.ipackets)
        .with("rx_bytes", stats.ibytes)
        .with("rx_nombuf", stats.rx_nombuf)
        .with("tx_packets", stats.opackets)
        .with("tx_bytes", stats.obytes);
    counters::of_queue(queue).iter().fold(own, |tree, (name, n)| tree.with(name, *n))
}

/// Clocks before 1970 are shown as 0.
fn unix_seconds(time: SystemTime) -> Value {
    Value::Number(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
