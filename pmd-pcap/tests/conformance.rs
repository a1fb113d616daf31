//! The conformance suite: a file that is played for ever into a file that is recorded, and recordings that are read while
//! they are written.

mod common;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{classic, packet};
use pmd_core::Driver;
use pmd_core::conformance::{Capabilities, Device, Far, Fixture, Refusal, Rig, Shape, Wrapped, far_end};
use pmd_core::drivers::RingDriver;
use pmd_pcap::capture::{Capture, PACKET_MAX};
use pmd_pcap::{PcapDriver, PcapTap};

fn device(options: &[(&str, &str)]) -> Device {
    Device::new(PcapDriver::default(), "pcap", options)
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

fn refusals() -> Vec<Refusal> {
    let two = Refusal { queues: 2, ..Refusal::new(device(&[("rx_pcap", "/x.pcap")]), &["rx_pcap", "{queue}"]) };
    vec![
        two,
        Refusal::new(device(&[("rx_pcap", "/no/such.pcap")]), &["/no/such.pcap", "No such file"]),
        Refusal::new(device(&[("rx_pcap", "/")]), &["directory", "regular files"]),
        Refusal::new(device(&[("tx_pcap", "/no/such/x.pcapng")]), &["/no/such/x.pcapng"]),
        Refusal::new(device(&[("rx_speed", "fast")]), &["rx_speed", "fast", "0.001", "1000"]),
    ]
}

/// Plays for ever and records.
struct PlaysAndRecords;

impl Fixture for PlaysAndRecords {
    fn capabilities(&self) -> Capabilities {
        let shape = Shape::Ends { source: true, sink: true };
        Capabilities {
            interrupts: true,
            uses_pool: true,
            opens_twice: Some(true),
            // They would make files of every name in the working directory.
            untried: vec!["tx_pcap"],
            ..Capabilities::in_memory(shape)
        }
    }

    fn rig(&self, _queues: u16) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let packets: Vec<_> = [60, 1500, 2048, 2049, 9000].iter().map(|size| (0, packet(*size))).collect();
        for queue in 0..2 {
            std::fs::write(directory.path().join(format!("in-{queue}.pcap")), classic(&packets)).unwrap();
        }
        let (rx, tx) = (path(directory.path(), "in-{queue}.pcap"), path(directory.path(), "out.pcapng"));
        let options = [("rx_pcap", rx.as_str()), ("infinite_rx", "yes"), ("tx_pcap", tx.as_str())];
        Rig::alone(device(&options)).keeping(directory)
    }

    fn refusals(&self) -> Vec<Refusal> {
        refusals()
    }
}

/// Records; the other end reads the file.
struct Records;

impl Fixture for Records {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            interrupts: true,
            // A file takes everything.
            backpressure: false,
            min_packet: 0,
            untried: vec!["tx_pcap"],
            ..Capabilities::in_memory(Shape::Outwards)
        }
    }

    fn rig(&self, queues: u16) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let tx = path(directory.path(), "out-{queue}.pcapng");
        let files: Vec<_> = (0..queues).map(|queue| directory.path().join(format!("out-{queue}.pcapng"))).collect();
        let far = Far::Made(Box::new(move |pool| {
            let ends = files.into_iter().zip(0..);
            ends.map(|(file, queue)| far_end(queue, pool, PACKET_MAX, |_| false, reader(file))).collect()
        }));
        Rig { far, ..Rig::alone(device(&[("tx_pcap", &tx)])).keeping(directory) }
    }
}

/// Packets of a file that is being written.
fn reader(path: PathBuf) -> impl FnMut() -> Option<Vec<u8>> {
    let (mut read, mut size, mut waiting) = (0, 0, VecDeque::new());
    move || {
        let now = std::fs::metadata(&path).ok()?.len();
        if now > size {
            let capture = Capture::load(&path, u64::MAX).ok()?;
            waiting.extend((read..capture.len()).map(|position| capture.packet(position).data.to_vec()));
            (read, size) = (capture.len(), now);
        }
        waiting.pop_front()
    }
}

/// A pair of rings, the near one with a tap.
struct TappedRing;

impl Fixture for TappedRing {
    fn capabilities(&self) -> Capabilities {
        Capabilities::in_memory(Shape::Pair)
    }

    fn rig(&self, _queues: u16) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let file = path(directory.path(), "tap.pcapng");
        let ring: Arc<dyn Driver> = Arc::new(RingDriver::default());
        let options = [("ring", "r"), ("size", "300")];
        let near = Wrapped::new(Arc::clone(&ring), PcapTap::default(), &[("file", &file)]);
        Rig::pair(Device::of(Arc::new(near), "near", &options), Device::of(ring, "far", &options)).keeping(directory)
    }
}

mod tapped_ring {
    use super::*;
    pmd_core::conformance_tests!(TappedRing);
}

mod plays_and_records {
    use super::*;
    pmd_core::conformance_tests!(PlaysAndRecords);
}

mod records {
    use super::*;
    pmd_core::conformance_tests!(Records);
}
