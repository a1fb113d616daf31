//! A capture file in memory: its bytes, and an index of the packets in them.
//!
//! 1. [`Capture::load`] reads the whole file, up to a limit, and nothing but a regular file: what is played is played from
//!    memory, and cannot change or vanish under the player.
//! 2. [`Capture::parse`] recognises the format by its first word (`classic`, `pcapng`) and walks over the file once. Every
//!    length is compared with what is left of the file before it is used; the index takes at most two bytes per byte of
//!    the file.
//! 3. A file that contradicts itself is refused at the offset of the contradiction. One that merely ends too early, as
//!    when its writer was killed, keeps its whole packets and says so ([`Capture::cut`]).
//!
//! Our own parser, because what a player needs of the formats is small, and what it needs of a parser is not what the
//! crates give: offsets in messages, a file's end told from damage, `if_tsresol` and `if_tsoffset` in both byte orders, the
//! obsolete Packet Block, directions, and no way to read on behind an error for ever.

mod bytes;
mod classic;
mod pcapng;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Most bytes of a packet that a capture file may hold, as in Wireshark. What claims to be longer is damage.
pub const PACKET_MAX: u32 = 262_144;

/// The link type of Ethernet.
pub const ETHERNET: u16 = 1;

/// A capture file in memory.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    bytes: Vec<u8>,
    index: Vec<Entry>,
    interfaces: Vec<Interface>,
    cut: Option<String>,
}

/// Where a packet lies in the file, and what is known of it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    at: usize,
    captured: u32,
    original: u32,
    interface: u32,
    direction: Direction,
    time_ns: u64,
}

/// An interface that packets of the file were captured on. Classic pcap has one, without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `if_name`, empty when the file does not say it.
    pub name: String,
    /// `if_description`, likewise.
    pub description: String,
    /// What its packets begin with; [`ETHERNET`] is 1.
    pub link_type: u16,
}

/// Which way a packet went, seen from its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// The file does not say.
    #[default]
    Unknown,
    /// It was received.
    Inbound,
    /// It was sent.
    Outbound,
}

/// A packet of a capture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'c> {
    /// What was captured of it.
    pub data: &'c [u8],
    /// Its length on the wire: more than was captured when it was cut off at a snap length.
    pub original: u32,
    /// Nanoseconds since 1970, UTC.
    pub time_ns: u64,
    /// Position in [`Capture::interfaces`].
    pub interface: usize,
    /// Which way it went.
    pub direction: Direction,
}

/// Why a capture file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is a directory, a pipe, a device.
    #[error("it is {0}; only regular files can be played, because they are loaded wholly before the first packet")]
    NotAFile(&'static str),
    /// It is larger than the caller wants to load.
    #[error("it has {bytes} bytes, more than the {limit} that may be loaded")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// There is no memory for it.
    #[error("there is no memory for its {0} bytes")]
    NoMemory(u64),
    /// It has another format.
    #[error("it is no capture file: {0}")]
    NotACapture(String),
    /// It contradicts itself.
    #[error("it is damaged at byte {at}, behind {packets} whole packets: {what}")]
    Damaged {
        /// Offset of what is wrong.
        at: usize,
        /// Number of packets before it.
        packets: usize,
        /// What is wrong.
        what: String,
    },
}

/// What stopped the walk over a file.
enum Stop {
    /// The file ends within something, at this offset.
    Cut(usize),
    /// It contradicts itself, at this offset.
    Damaged(usize, String),
}

impl Capture {
    /// Loads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, is too large, or is no sound capture file.
    pub fn load(path: &Path, limit: u64) -> Result<Self, CaptureError> {
        Self::parse(read(path, limit)?)
    }

    /// Reads a file's contents.
    ///
    /// # Errors
    /// When they are no sound capture file.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, CaptureError> {
        let mut capture = Self::default();
        let walked = match bytes.first_chunk() {
            Some(&pcapng::SECTION_HEADER) => pcapng::walk(&bytes, &mut capture),
            Some(magic) => match classic::Format::of(*magic) {
                Some(format) => classic::walk(format, &bytes, &mut capture),
                None => return Err(CaptureError::NotACapture(unknown_format(*magic))),
            },
            None if bytes.is_empty() => return Err(CaptureError::NotACapture("it is empty".into())),
            None => return Err(CaptureError::NotACapture(format!("it has only {} bytes", bytes.len()))),
        };
        match walked {
            Ok(()) => {}
            Err(Stop::Cut(at)) if capture.interfaces.is_empty() => {
                return Err(CaptureError::NotACapture(format!("it ends within its header, at byte {at}")));
            }
            Err(Stop::Cut(at)) => {
                let (packets, rest) = (capture.index.len(), bytes.len() - at);
                capture.cut = Some(format!("it ends too early: {rest} bytes behind packet {packets} are no whole one"));
            }
            Err(Stop::Damaged(at, what)) => {
                return Err(CaptureError::Damaged { at, packets: capture.index.len(), what });
            }
        }
        capture.bytes = bytes;
        Ok(capture)
    }

    /// Number of packets.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it has no packet.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The interfaces, in the order of the file.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// What is missing at its end, if it ends too early.
    pub fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    /// The packet at `position`, from 0, in the order of the file.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    pub fn packet(&self, position: usize) -> Packet<'_> {
        let Entry { at, captured, original, interface, direction, time_ns } = self.index[position];
        let data = &self.bytes[at..at + captured as usize];
        Packet { data, original, time_ns, interface: interface as usize, direction }
    }

    /// All packets, in the order of the file.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        (0..self.len()).map(|position| self.packet(position))
    }

    /// Keeps the packets that `wanted` accepts.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&Packet<'_>) -> bool) {
        let keep: Vec<_> = self.packets().map(|packet| wanted(&packet)).collect();
        let mut keep = keep.into_iter();
        self.index.retain(|_| keep.next().unwrap_or(false));
    }
}

/// The contents of a regular file of at most `limit` bytes.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CaptureError> {
    // Without O_NONBLOCK, opening a pipe would wait for a writer before we can see that it is one.
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(CaptureError::NotAFile(if metadata.is_dir() { "a directory" } else { "a pipe or a device" }));
    }
    let size = metadata.len();
    if size > limit {
        return Err(CaptureError::TooLarge { bytes: size, limit });
    }
    let no_memory = |_| CaptureError::NoMemory(size);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(size).map_err(|_| CaptureError::NoMemory(size))?).map_err(no_memory)?;
    // As large as it was when we looked: it may be growing.
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unknown_format(magic: [u8; 4]) -> String {
    match magic {
        [0x1F, 0x8B, ..] => "it is compressed; unpack it with gunzip first".into(),
        [0x28, 0xB5, 0x2F, 0xFD] => "it is compressed; unpack it with unzstd first".into(),
        [a, b, c, d] => {
            format!("it begins with the bytes {a:02x} {b:02x} {c:02x} {d:02x}, and neither pcap nor pcapng does")
        }
    }
}
