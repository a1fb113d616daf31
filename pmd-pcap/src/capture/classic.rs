//! The classic pcap format.
//!
//! ```text
//! file    u32 magic   u16 major  u16 minor   u32 zone   u32 accuracy   u32 snap length   u32 link type
//! packet  u32 seconds   u32 fraction   u32 captured   u32 original   captured bytes
//! ```
//! The magic tells the byte order of everything, and whether fractions are micro- or nanoseconds. The snap length is not
//! gone by: there are files with longer packets.

use super::bytes::{Bytes, Order};
use super::{Capture, Direction, Entry, Interface, PACKET_MAX, Stop};

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
const MICROSECONDS: u32 = 0xA1B2_C3D4;
const NANOSECONDS: u32 = 0xA1B2_3C4D;

/// What the magic says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    order: Order,
    /// Nanoseconds of one unit of a fraction.
    unit: u64,
}

impl Format {
    /// What a file that begins with `magic` is like; `None` when it is no pcap file.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let unit = match Bytes::new(&magic, order).u32(0)? {
                MICROSECONDS => 1000,
                NANOSECONDS => 1,
                _ => return None,
            };
            Some(Self { order, unit })
        })
    }
}

/// Adds everything in the file to `capture`.
pub(super) fn walk(format: Format, bytes: &[u8], capture: &mut Capture) -> Result<(), Stop> {
    let file = Bytes::new(bytes, format.order);
    let cut = || Stop::Cut(bytes.len());
    let (major, link) = (file.u16(4).ok_or_else(cut)?, file.u32(20).ok_or_else(cut)?);
    if major != 2 {
        return Err(Stop::Damaged(4, format!("it is of version {major}, but only version 2 is known")));
    }
    // The upper half tells of frame check sequences, which we do not look for.
    capture.interfaces.push(Interface {
        name: String::new(),
        description: String::new(),
        link_type: (link & 0xFFFF) as u16,
    });
    let mut at = FILE_HEADER;
    while at < bytes.len() {
        let header = file.part(at, PACKET_HEADER).ok_or(Stop::Cut(at))?;
        let entry = entry(Bytes::new(header, format.order), format.unit, at).ok_or(Stop::Cut(at))?;
        if entry.captured > PACKET_MAX {
            let what = format!("a packet claims {} bytes; none has more than {PACKET_MAX}", entry.captured);
            return Err(Stop::Damaged(at, what));
        }
        file.part(entry.at, entry.captured as usize).ok_or(Stop::Cut(at))?;
        capture.index.push(entry);
        at = entry.at + entry.captured as usize;
    }
    Ok(())
}

/// The packet whose header, found at offset `at`, is `header`.
fn entry(header: Bytes<'_>, unit: u64, at: usize) -> Option<Entry> {
    let (seconds, fraction) = (header.u32(0)?, header.u32(4)?);
    Some(Entry {
        at: at + PACKET_HEADER,
        captured: header.u32(8)?,
        original: header.u32(12)?,
        interface: 0,
        direction: Direction::Unknown,
        // 2^32 seconds and 2^32 microseconds are below 2^63 nanoseconds.
        time_ns: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit,
    })
}
