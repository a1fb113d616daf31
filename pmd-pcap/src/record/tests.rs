//! What is written, and what becomes of it when it cannot be written.

use pmd_core::{Burst, Pool, PoolConfig};

use super::*;
use crate::capture::Capture;

/// A file in memory that holds so many bytes.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Disk {
    fn with_room(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), bytes))))
    }

    fn make_room(&self, bytes: usize) {
        self.0.lock().unwrap().1 += bytes;
    }

    fn capture(&self) -> Capture {
        Capture::parse(self.0.lock().unwrap().0.clone()).unwrap()
    }
}

impl Sink for Disk {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let (file, room) = &mut *self.0.lock().unwrap();
        file.resize(at as usize, 0);
        // As a file system does: what fits is written, and then it fails.
        file.extend(&bytes[..bytes.len().min(*room - file.len())]);
        if file.len() < at as usize + bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn cut_at(&mut self, at: u64) {
        self.0.lock().unwrap().0.truncate(at as usize);
    }
}

fn pool() -> Pool {
    Pool::new(&PoolConfig { size: 256, data_room: 2048, ..PoolConfig::default() }).unwrap()
}

/// `n` packets of `size` bytes, in as many mbufs as they need.
fn packets(pool: &Pool, n: usize, size: usize) -> Burst {
    let mut burst = Burst::new();
    for i in 0..n {
        let mut packet = pool.alloc().unwrap();
        packet.append(size.min(2048)).unwrap().fill(i as u8);
        let mut left = size.saturating_sub(2048);
        while left > 0 {
            let mut segment = pool.alloc().unwrap();
            segment.append(left.min(2048)).unwrap().fill(i as u8);
            packet.chain(segment).unwrap();
            left = left.saturating_sub(2048);
        }
        burst.push(packet).unwrap();
    }
    burst
}

fn recording(disk: &Disk) -> Arc<Recording> {
    Arc::new(Recording::begin("disk".into(), Box::new(disk.clone())).unwrap())
}

#[test]
fn packets_of_two_interfaces_are_read_back_with_everything_said_of_them() {
    let (disk, pool) = (Disk::with_room(1 << 20), pool());
    let recording = recording(&disk);
    let mut tracks = [Direction::Inbound, Direction::Outbound].map(|direction| {
        let interface = recording.interface(&format!("{direction:?}"), "for a test", PACKET_MAX).unwrap();
        recording.track(interface, direction)
    });
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    for (track, size) in tracks.iter_mut().zip([61, 5000]) {
        assert_eq!(track.add(&packets(&pool, 3, size)), 0);
    }
    assert_eq!(disk.capture().len(), 0, "still in the buffers");
    drop(tracks);
    let capture = disk.capture();
    let names: Vec<_> = capture.interfaces().iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["Inbound", "Outbound"]);
    let known: Vec<_> =
        capture.packets().map(|packet| (packet.interface, packet.data.len(), packet.direction)).collect();
    let expected = |interface, size, direction| [(interface, size, direction); 3];
    assert_eq!(known[..3], expected(0, 61, Direction::Inbound));
    assert_eq!(known[3..], expected(1, 5000, Direction::Outbound));
    for (i, packet) in capture.packets().enumerate() {
        assert!(packet.data.iter().all(|byte| usize::from(*byte) == i % 3));
        assert!(packet.time_ns >= before && packet.original as usize == packet.data.len());
    }
    assert_eq!(pool.available(), pool.size());
}

#[test]
fn longer_packets_are_cut_at_the_snap_length() {
    let (disk, pool) = (Disk::with_room(1 << 20), pool());
    let recording = recording(&disk);
    let mut track = recording.track(recording.interface("x", "", 70).unwrap(), Direction::Unknown);
    for size in [69, 70, 71, 5000] {
        assert_eq!(track.add(&packets(&pool, 1, size)), 0);
    }
    drop(track);
    let known: Vec<_> = disk.capture().packets().map(|packet| (packet.data.len(), packet.original)).collect();
    assert_eq!(known, [(69, 69), (70, 70), (70, 71), (70, 5000)]);
}

#[test]
fn a_full_buffer_is_written_without_being_asked() {
    let (disk, pool) = (Disk::with_room(8 << 20), pool());
    let recording = recording(&disk);
    let mut track = recording.track(recording.interface("x", "", PACKET_MAX).unwrap(), Direction::Unknown);
    let capacity = track.buffer.capacity();
    let burst = packets(&pool, 1, 200_000);
    for _ in 0..20 {
        assert_eq!(track.add(&burst), 0);
    }
    assert!(disk.capture().len() >= 18);
    assert_eq!(track.buffer.capacity(), capacity, "it never grows");
    drop(track);
    assert_eq!(disk.capture().len(), 20);
}

#[test]
fn what_a_full_disk_does_not_take_is_counted_and_the_file_stays_whole() {
    let (disk, pool) = (Disk::with_room(1000), pool());
    let recording = recording(&disk);
    let mut track = recording.track(recording.interface("x", "", PACKET_MAX).unwrap(), Direction::Outbound);
    let three = packets(&pool, 3, 60);
    assert_eq!((track.add(&three), track.write(), recording.failure()), (0, 0, None));
    assert_eq!((track.add(&packets(&pool, 100, 60)), track.write()), (0, 100));
    let failure = recording.failure().unwrap();
    assert!(failure.starts_with("cannot record to disk: "), "{failure}");
    assert_eq!((disk.capture().len(), disk.capture().cut()), (3, None));

    disk.make_room(1 << 20);
    assert_eq!((track.add(&three), track.write()), (0, 0));
    assert_eq!((recording.failure(), disk.capture().len()), (None, 6));
}

#[test]
fn a_disk_without_room_for_a_header_is_no_recording() {
    assert!(Recording::begin("disk".into(), Box::new(Disk::with_room(10))).is_err());
    let disk = Disk::with_room(60);
    assert!(recording(&disk).interface("name", "description", 1).is_err());
}

#[test]
fn one_file_has_one_recording_by_whatever_path() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("a"), directory.path().join("b"));
    std::fs::write(&path, "what was there before").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let recordings = Recordings::default();
    assert!(!recordings.contains(&path));
    let first = recordings.open(&path).unwrap();
    assert!(Arc::ptr_eq(&first, &recordings.open(&link).unwrap()) && recordings.contains(&link));
    drop(first.track(first.interface("x", "", 1).unwrap(), Direction::Unknown));
    drop(first);
    assert!(!recordings.contains(&path));
    let capture = Capture::load(&path, 1 << 20).unwrap();
    assert_eq!((capture.len(), capture.interfaces().len(), capture.cut()), (0, 1, None));
}

#[test]
fn what_is_no_file_is_not_recorded_to() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let refused = |path: &std::path::Path| Recordings::default().open(path).unwrap_err().to_string();
    assert!(refused(&pipe).contains("neither a regular file"), "{}", refused(&pipe));
    drop(reader);
    assert!(refused(directory.path()).contains("directory"));
    assert!(refused(&directory.path().join("no/such")).contains("No such file"));
    assert!(refused(std::path::Path::new("/dev/full")).contains("No space"));
    assert!(Recordings::default().open(std::path::Path::new("/dev/null")).is_ok());
}
