//! The pcapng format: sections of blocks.
//!
//! ```text
//! block   u32 type   u32 length   body, padded to 32 bits   u32 length again
//! option  u16 code   u16 length   value, padded to 32 bits
//! ```
//! 1. A Section Header Block sets the byte order, and forgets the interfaces of the section before it.
//! 2. Interface Description Blocks number the section's interfaces from 0, each with the unit of its times.
//! 3. Packets are in Enhanced, Simple and (obsolete) Packet Blocks. All other blocks are stepped over.
//!
//! Options that are malformed are as if they were not there, with those behind them: a packet can be played without.

use super::bytes::{Bytes, Order};
use super::{Capture, Direction, Entry, Interface, PACKET_MAX, Stop};

/// Type of a Section Header Block: the first bytes of a file, in either byte order.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0A, 0x0D, 0x0D, 0x0A];

const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: [u8; 4] = [0x1A, 0x2B, 0x3C, 0x4D];

/// Longest block, as in Wireshark. What claims to be longer is damage, and not a file that was cut.
const BLOCK_MAX: usize = 16 << 20;

/// Bytes of a block around its body.
const FRAME: usize = 12;

/// What is in force at some place of the file.
struct Section {
    order: Order,
    interfaces: Vec<Source>,
}

/// An interface of the section, as far as its packets depend on it.
struct Source {
    /// Position in [`Capture::interfaces`].
    number: u32,
    snap_length: u32,
    clock: Clock,
}

/// The times of an interface.
#[derive(Clone, Copy)]
struct Clock {
    /// `if_tsresol`: the power of 10, or, with the highest bit, of 2, that a second has units.
    resolution: u8,
    /// `if_tsoffset`: seconds to be added.
    offset: i64,
}

/// Adds everything in the file to `capture`.
pub(super) fn walk(bytes: &[u8], capture: &mut Capture) -> Result<(), Stop> {
    let mut section = Section { order: Order::Little, interfaces: Vec::new() };
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(&SECTION_HEADER) {
            section.order = byte_order(bytes, at)?;
        }
        let (kind, body) = block(Bytes::new(bytes, section.order), at)?;
        let damaged = |what: &str| Stop::Damaged(at, what.to_owned());
        match kind {
            SECTION => {
                check_version(body).ok_or_else(|| damaged("a section of a version that is not known"))?;
                section.interfaces.clear();
            }
            INTERFACE => {
                let read = interface(body, capture).ok_or_else(|| damaged("an interface without a link type"))?;
                section.interfaces.push(read);
            }
            OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                let entry = packet(kind, body, at + 8, &section, capture).map_err(|what| Stop::Damaged(at, what))?;
                capture.index.push(entry);
            }
            _ => {}
        }
        at += body.bytes.len() + FRAME;
    }
    Ok(())
}

/// The byte order of the section whose header is at `at`.
fn byte_order(bytes: &[u8], at: usize) -> Result<Order, Stop> {
    let mut magic: [u8; 4] = bytes[at..].get(8..12).and_then(|magic| magic.try_into().ok()).ok_or(Stop::Cut(at))?;
    if magic == BYTE_ORDER_MAGIC {
        return Ok(Order::Big);
    }
    magic.reverse();
    if magic == BYTE_ORDER_MAGIC {
        return Ok(Order::Little);
    }
    Err(Stop::Damaged(at + 8, "a section header without its byte-order magic".to_owned()))
}

/// Type and body of the block at `at`.
fn block(file: Bytes<'_>, at: usize) -> Result<(u32, Bytes<'_>), Stop> {
    let (kind, length) = (file.u32(at).ok_or(Stop::Cut(at))?, file.u32(at + 4).ok_or(Stop::Cut(at))? as usize);
    if !(FRAME..=BLOCK_MAX).contains(&length) || !length.is_multiple_of(4) {
        let what = format!("a block claims {length} bytes, which is not a multiple of 4 from {FRAME} to {BLOCK_MAX}");
        return Err(Stop::Damaged(at, what));
    }
    let body = file.part(at + 8, length - FRAME).ok_or(Stop::Cut(at))?;
    let again = file.u32(at + length - 4).ok_or(Stop::Cut(at))? as usize;
    if again != length {
        let what = format!("a block is {length} bytes long by its beginning, but {again} by its end");
        return Err(Stop::Damaged(at, what));
    }
    Ok((kind, Bytes::new(body, file.order)))
}

fn check_version(body: Bytes<'_>) -> Option<()> {
    (body.u16(4)? == 1).then_some(())
}

fn interface(body: Bytes<'_>, capture: &mut Capture) -> Option<Source> {
    let mut interface = Interface { name: String::new(), description: String::new(), link_type: body.u16(0)? };
    let mut clock = Clock { resolution: 6, offset: 0 };
    for (code, value) in options(body, 8) {
        match (code, value.bytes) {
            (2, name) => interface.name = String::from_utf8_lossy(name).into_owned(),
            (3, text) => interface.description = String::from_utf8_lossy(text).into_owned(),
            (9, [resolution]) => clock.resolution = *resolution,
            (14, _) => clock.offset = value.i64(0).unwrap_or(0),
            _ => {}
        }
    }
    let number = u32::try_from(capture.interfaces.len()).ok()?;
    capture.interfaces.push(interface);
    Some(Source { number, snap_length: body.u32(4)?, clock })
}

/// The packet of a block whose body lies at offset `start` of the file.
fn packet(kind: u32, body: Bytes<'_>, start: usize, section: &Section, capture: &Capture) -> Result<Entry, String> {
    let short = || format!("a packet block of {} bytes, too few for what is in front of a packet", body.bytes.len());
    let interface = match kind {
        SIMPLE_PACKET => 0,
        OBSOLETE_PACKET => usize::from(body.u16(0).ok_or_else(short)?),
        _ => body.u32(0).ok_or_else(short)? as usize,
    };
    let count = section.interfaces.len();
    let source = section.interfaces.get(interface);
    let source = source.ok_or_else(|| format!("a packet of interface {interface}, but there are {count} so far"))?;
    let entry = if kind == SIMPLE_PACKET {
        let last = capture.index.last().map_or(0, |entry| entry.time_ns);
        simple(body, start, source, last)
    } else {
        enhanced(body, start, source)
    };
    let entry = entry.ok_or_else(short)?;
    if entry.captured > PACKET_MAX {
        return Err(format!("a packet claims {} bytes; none has more than {PACKET_MAX}", entry.captured));
    }
    match body.part(entry.at - start, entry.captured as usize) {
        Some(_) => Ok(entry),
        None => Err(format!("a packet claims {} bytes, more than its block holds", entry.captured)),
    }
}

/// A packet without a time: it gets that of the packet before it.
fn simple(body: Bytes<'_>, start: usize, source: &Source, time_ns: u64) -> Option<Entry> {
    let original = body.u32(0)?;
    let limit = if source.snap_length == 0 { u32::MAX } else { source.snap_length };
    let (interface, direction) = (source.number, Direction::Unknown);
    Some(Entry { at: start + 4, captured: original.min(limit), original, interface, direction, time_ns })
}

/// A packet of an Enhanced or an obsolete Packet Block: they differ only in how they name their interface.
fn enhanced(body: Bytes<'_>, start: usize, source: &Source) -> Option<Entry> {
    let time = u64::from(body.u32(4)?) << 32 | u64::from(body.u32(8)?);
    let (captured, original) = (body.u32(12)?, body.u32(16)?);
    let behind = 20 + (captured as usize).next_multiple_of(4);
    let flags = options(body, behind).find_map(|(code, value)| if code == 2 { value.u32(0) } else { None });
    Some(Entry {
        at: start + 20,
        captured,
        original,
        interface: source.number,
        direction: match flags.unwrap_or(0) & 3 {
            1 => Direction::Inbound,
            2 => Direction::Outbound,
            _ => Direction::Unknown,
        },
        time_ns: source.clock.ns(time),
    })
}

/// The options of a block, from offset `at` of its body.
fn options(body: Bytes<'_>, mut at: usize) -> impl Iterator<Item = (u16, Bytes<'_>)> {
    std::iter::from_fn(move || {
        let (code, length) = (body.u16(at)?, usize::from(body.u16(at + 2)?));
        let value = body.part(at + 4, length)?;
        at += 4 + length.next_multiple_of(4);
        (code != 0).then_some((code, Bytes::new(value, body.order)))
    })
}

impl Clock {
    /// A time of this clock in nanoseconds since 1970; what lies before or behind 64 bits of them is the nearest that
    /// does not.
    fn ns(self, time: u64) -> u64 {
        let (time, power) = (u128::from(time), u32::from(self.resolution & 0x7F));
        let ns = match (self.resolution & 0x80 != 0, power) {
            // 2^64 times 10^9 is below 2^94.
            (true, _) => (time * 1_000_000_000) >> power,
            (false, 0..=9) => time * 10_u128.pow(9 - power),
            (false, _) => 10_u128.checked_pow(power - 9).map_or(0, |units| time / units),
        };
        // Both are far below 2^127.
        let ns = ns as i128 + i128::from(self.offset) * 1_000_000_000;
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}
