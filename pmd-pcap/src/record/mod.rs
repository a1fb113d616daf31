//! Recording to pcapng files.
//!
//! ```text
//!   queue --add--> Track: buffer of the queue  --write, when full or flushed-->  Recording: the file, behind a lock
//!   queue --add--> Track: buffer of the queue  --------------------------------^
//! ```
//!
//! 1. [`Recordings`] has the files that are being written. Who names one that is open already writes into the same file.
//! 2. [`Recording::track`] adds an interface to the file, and gives a [`Track`]: what one queue writes in one direction.
//! 3. [`Track::add`] copies packets into the track's buffer, each with its time and direction; no system call.
//! 4. A buffer goes to the file as a whole when it is full, when it is flushed, and when its track ends: one lock and one
//!    system call for thousands of packets, on the thread that sends. So packets of different tracks stand in the file in
//!    the order of the writes; their times tell the order in which they came.
//! 5. What cannot be written, on a full disk say, is lost: counted, and the file cut back to its last whole block, so that
//!    it stays readable and writing can be tried again.

mod blocks;
mod files;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pmd_core::Mbuf;

use crate::capture::{Direction, PACKET_MAX};
use blocks::{PACKET_BLOCK_MAX, PacketHead};
pub use files::Recordings;

/// Bytes in a track's buffer from which it is written.
const FULL: usize = 256 << 10;

/// What a recording writes to.
pub(crate) trait Sink: Send {
    /// Writes all of `bytes` at offset `at`, or fails.
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Gives up what lies from offset `at` on, as far as that can be done.
    fn cut_at(&mut self, at: u64);
}

impl Sink for File {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn cut_at(&mut self, at: u64) {
        // A device cannot be cut, and a disk that takes not even that leaves a file with half a block at its end.
        let _ = self.set_len(at);
    }
}

/// A file that is being written, by any number of tracks.
pub struct Recording {
    path: PathBuf,
    file: Mutex<Written>,
}

/// The file and what is in it.
struct Written {
    sink: Box<dyn Sink>,
    /// Bytes of whole blocks.
    length: u64,
    interfaces: u32,
    failure: Option<String>,
}

impl Recording {
    /// Begins a recording: writes the section's header.
    fn begin(path: PathBuf, sink: Box<dyn Sink>) -> io::Result<Self> {
        let mut written = Written { sink, length: 0, interfaces: 0, failure: None };
        let mut header = Vec::new();
        blocks::section(&mut header);
        written.append(&header)?;
        Ok(Self { path, file: Mutex::new(written) })
    }

    /// Adds an interface to the file. Of longer packets than `snap_length` bytes, 1 to [`PACKET_MAX`], only the beginning
    /// is recorded.
    ///
    /// # Errors
    /// What the system says when it cannot be written.
    pub fn interface(&self, name: &str, description: &str, snap_length: u32) -> io::Result<InterfaceNumber> {
        let snap_length = snap_length.clamp(1, PACKET_MAX);
        let mut block = Vec::new();
        blocks::interface(&mut block, name, description, snap_length);
        let mut file = self.file();
        file.append(&block)?;
        file.interfaces += 1;
        Ok(InterfaceNumber { number: file.interfaces - 1, snap_length })
    }

    /// What one queue records of an interface in one direction.
    pub fn track(self: &Arc<Self>, interface: InterfaceNumber, direction: Direction) -> Track {
        let buffer = Vec::with_capacity(FULL + PACKET_BLOCK_MAX);
        Track { recording: Arc::clone(self), buffer, packets: 0, interface, direction }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why the last write failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.file().failure.clone()
    }

    /// Appends whole blocks; `false` when they are lost.
    fn write(&self, blocks: &[u8]) -> bool {
        let mut file = self.file();
        let Err(error) = file.append(blocks) else {
            file.failure = None;
            return true;
        };
        if file.failure.is_none() {
            let path = self.path.display();
            tracing::error!("cannot record to {path}: {error}");
            file.failure = Some(format!("cannot record to {path}: {error}"));
        }
        false
    }

    fn file(&self) -> MutexGuard<'_, Written> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    fn append(&mut self, blocks: &[u8]) -> io::Result<()> {
        let written = self.sink.write_at(blocks, self.length);
        match &written {
            Ok(()) => self.length += blocks.len() as u64,
            Err(_) => self.sink.cut_at(self.length),
        }
        written
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("path", &self.path).finish_non_exhaustive()
    }
}

/// An interface of a recording.
#[derive(Debug, Clone, Copy)]
pub struct InterfaceNumber {
    number: u32,
    snap_length: u32,
}

/// What one queue records: a buffer, and the way from it to the file.
#[derive(Debug)]
pub struct Track {
    recording: Arc<Recording>,
    buffer: Vec<u8>,
    /// Packets in the buffer.
    packets: u64,
    interface: InterfaceNumber,
    direction: Direction,
}

impl Track {
    /// Records packets, all with the time of now. Says how many packets were lost: those of a buffer that was full and
    /// could not be written.
    #[inline]
    #[must_use]
    pub fn add(&mut self, packets: &[Mbuf]) -> u64 {
        if packets.is_empty() {
            return 0;
        }
        let (time_ns, mut lost) = (now_ns(), 0);
        for packet in packets {
            self.add_one(packet, time_ns);
            if self.buffer.len() >= FULL {
                lost += self.write();
            }
        }
        lost
    }

    /// Records packets that may be taken back, as many as there is room for, and appends to `marks` where each ends. Without
    /// room the buffer wants to be written.
    pub(crate) fn stage(&mut self, packets: &[Mbuf], marks: &mut Vec<usize>) {
        let time_ns = now_ns();
        for packet in packets {
            if self.buffer.len() >= FULL {
                return;
            }
            self.add_one(packet, time_ns);
            marks.push(self.buffer.len());
        }
    }

    /// Takes the packets back that were staged behind this mark.
    pub(crate) fn take_back(&mut self, mark: usize, packets: usize) {
        self.buffer.truncate(mark);
        self.packets -= packets as u64;
    }

    /// Where the last packet ends.
    pub(crate) fn mark(&self) -> usize {
        self.buffer.len()
    }

    fn add_one(&mut self, packet: &Mbuf, time_ns: u64) {
        let InterfaceNumber { number: interface, snap_length } = self.interface;
        let original = u32::try_from(packet.packet_len()).unwrap_or(u32::MAX);
        let captured = original.min(snap_length);
        let head = PacketHead { interface, direction: self.direction, time_ns, captured, original };
        blocks::packet(&mut self.buffer, &head, |out| {
            let mut left = captured as usize;
            for segment in packet.segments() {
                let part = &segment[..segment.len().min(left)];
                out.extend_from_slice(part);
                left -= part.len();
            }
        });
        self.packets += 1;
    }

    /// Writes what is in the buffer, and says how many packets were lost because that failed.
    #[must_use]
    pub fn write(&mut self) -> u64 {
        if self.packets == 0 {
            return 0;
        }
        let written = self.recording.write(&self.buffer);
        self.buffer.clear();
        let packets = std::mem::take(&mut self.packets);
        if written { 0 } else { packets }
    }

    /// Whether there is nothing in the buffer.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// The file it is written to.
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }
}

/// Now, in nanoseconds since 1970.
fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

impl Drop for Track {
    fn drop(&mut self) {
        // A failure has been logged; nobody can be told how many packets it cost.
        let _ = self.write();
    }
}
