//! Capture files in the classic pcap format: how real contents go into testpmd (as a source of packets) and come out.
//!
//! A file is a header of 24 bytes, then for each packet a header of 16 bytes and its contents:
//! ```text
//! u32 magic   u16 major  u16 minor   u32 zone   u32 accuracy   u32 snapshot length   u32 link type
//! u32 seconds   u32 fraction   u32 captured length   u32 original length   contents
//! ```
//! We write little-endian with microseconds and read little-endian with either resolution (testpmd writes nanoseconds).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const MAGIC_MICROSECONDS: u32 = 0xA1B2_C3D4;
const MAGIC_NANOSECONDS: u32 = 0xA1B2_3C4D;
const VERSION: (u16, u16) = (2, 4);
const SNAPSHOT_LENGTH: u32 = 65535;
const LINK_TYPE_ETHERNET: u32 = 1;
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// Writes `packets` to a new file, all with time 0.
///
/// # Errors
/// When the file cannot be written or a packet has more than 65535 bytes.
pub fn write(path: &Path, packets: &[Vec<u8>]) -> Result<()> {
    let mut file = Vec::with_capacity(FILE_HEADER + packets.iter().map(|p| PACKET_HEADER + p.len()).sum::<usize>());
    file.extend(MAGIC_MICROSECONDS.to_le_bytes());
    file.extend(VERSION.0.to_le_bytes());
    file.extend(VERSION.1.to_le_bytes());
    for word in [0, 0, SNAPSHOT_LENGTH, LINK_TYPE_ETHERNET] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let length = u32::try_from(packet.len()).ok().filter(|&length| length <= SNAPSHOT_LENGTH);
        let length = length.with_context(|| format!("{} bytes, but a packet has at most 65535", packet.len()))?;
        for word in [0, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
}

/// The packets of a file, in order.
///
/// # Errors
/// When it cannot be read, is not such a file, is cut short, or holds a packet that was not captured wholly.
pub fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&file).with_context(|| format!("{} is no whole capture file", path.display()))
}

fn parse(file: &[u8]) -> Result<Vec<Vec<u8>>> {
    let magic = word(file, 0)?;
    ensure!([MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].contains(&magic), "unknown magic {magic:#x}");
    let mut packets = Vec::new();
    let mut at = FILE_HEADER;
    while at < file.len() {
        let (captured, original) = (word(file, at + 8)?, word(file, at + 12)?);
        ensure!(captured == original, "only {captured} of {original} bytes captured at offset {at}");
        let start = at + PACKET_HEADER;
        at = start + usize::try_from(captured)?;
        let Some(packet) = file.get(start..at) else { bail!("cut short at offset {start}") };
        packets.push(packet.to_vec());
    }
    Ok(packets)
}

fn word(file: &[u8], at: usize) -> Result<u32> {
    let bytes = file.get(at..at + 4).with_context(|| format!("cut short at offset {at}"))?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_cut_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pcap");
        let packets = crate::packets::frames(7, 10, &[60, 9000]);
        write(&path, &packets).unwrap();
        assert_eq!(read(&path).unwrap(), packets);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("cut short"));
    }
}
