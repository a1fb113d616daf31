//! What we write is read back by tshark: packets, times, direction, interfaces.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{open_queues, packet, pool};
use pmd_core::Burst;
use pmd_pcap::PcapDriver;

/// The fields of each packet of a file, as tshark sees them.
fn tshark(path: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark runs; `make deps` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn now_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

#[test]
fn tshark_reads_what_we_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcapng");
    let given = [("tx_pcap", path.to_str().unwrap()), ("tx_snaplen", "1000")];
    let mut lports = open_queues(&PcapDriver::default(), &given, None, 2).unwrap();
    let pool = pool(64, 512);
    let before = now_ns();
    for (i, size) in [60, 61, 1000, 1400].into_iter().enumerate() {
        let data = packet(size);
        let mut burst = Burst::new();
        let mut chunks = data.chunks(512).map(|chunk| {
            let mut mbuf = pool.alloc().unwrap();
            mbuf.append(chunk.len()).unwrap().copy_from_slice(chunk);
            mbuf
        });
        let mut whole = chunks.next().unwrap();
        chunks.for_each(|segment| whole.chain(segment).unwrap());
        burst.push(whole).unwrap();
        assert_eq!(lports[i % 2].tx.tx_burst(&mut burst), 1);
        lports[i % 2].tx.flush();
    }
    let after = now_ns();
    drop(lports);

    let fields = ["frame.len", "frame.cap_len", "frame.interface_name", "frame.interface_description"];
    let fields = [&fields[..], &["frame.packet_flags_direction", "frame.time_epoch"]].concat();
    let rows = tshark(&path, &fields);
    let expected = [(60, 60, 0), (61, 61, 1), (1000, 1000, 0), (1400, 1000, 1)];
    assert_eq!(rows.len(), expected.len(), "{rows:?}");
    for (row, (length, captured, queue)) in rows.iter().zip(expected) {
        let name = format!("pcap:{queue}");
        let description = format!("net_pcap device pcap, queue {queue}");
        let direction = u32::from_str_radix(row[4].trim_start_matches("0x"), 16).unwrap();
        assert_eq!((&row[2], &row[3], direction), (&name, &description, 2), "2 is outbound");
        assert_eq!((row[0].parse(), row[1].parse()), (Ok(length), Ok(captured)));
        let (seconds, nanoseconds) = row[5].split_once('.').unwrap();
        assert_eq!(nanoseconds.len(), 9, "{}", row[5]);
        let time: u128 = format!("{seconds}{nanoseconds}").parse().unwrap();
        assert!((before..=after).contains(&time), "{time}");
    }
    let raw = Command::new("tshark").arg("-r").arg(&path).args(["-x", "-Y", "frame.number == 1"]).output().unwrap();
    let first_line: Vec<_> = packet(60)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(String::from_utf8_lossy(&raw.stdout).contains(&first_line.join(" ")));
}
