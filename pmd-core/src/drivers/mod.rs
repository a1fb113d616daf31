//! The two reference drivers: what an author of a driver reads first, and what tests use when no device is meant.

mod null;
mod ring;

pub use null::NullDriver;
pub use ring::RingDriver;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_utils::CachePadded;

use crate::lport::{Link, LportControl, LportInfo};
use crate::stats::{Counter, LportStats};

/// What the two halves and the control handle of a reference lport share.
#[derive(Debug, Default)]
struct Shared {
    admin_down: AtomicBool,
    rx: CachePadded<Tally>,
    tx: CachePadded<Tally>,
}

/// Packets and bytes of one direction: written by its queue, read by anyone.
#[derive(Debug, Default)]
struct Tally {
    packets: Counter,
    bytes: Counter,
    nombuf: Counter,
}

impl Shared {
    #[inline(always)]
    fn is_down(&self) -> bool {
        self.admin_down.load(Ordering::Relaxed)
    }

    fn stats(&self) -> LportStats {
        LportStats {
            ipackets: self.rx.packets.get(),
            ibytes: self.rx.bytes.get(),
            rx_nombuf: self.rx.nombuf.get(),
            opackets: self.tx.packets.get(),
            obytes: self.tx.bytes.get(),
            ..LportStats::default()
        }
    }
}

/// The control handle of a reference lport.
struct Control {
    shared: Arc<Shared>,
    driver: &'static str,
    max_packet: u32,
}

impl LportControl for Control {
    fn link(&self) -> Link {
        if self.shared.is_down() { Link::Down("administratively down".into()) } else { Link::Up }
    }

    fn info(&self) -> LportInfo {
        LportInfo { driver: self.driver.into(), mac: None, max_packet: self.max_packet, speed_mbps: 10_000 }
    }

    fn stats(&self) -> LportStats {
        self.shared.stats()
    }

    fn set_admin_up(&self, up: bool) {
        self.shared.admin_down.store(!up, Ordering::Relaxed);
    }
}
