//! The hot path allocates nothing: two memif devices forward to each other under an allocator that counts.
//!
//! Alone in its file, because the allocator is the whole process's.

use std::time::{Duration, Instant};

use lport_tests::allocations::{self, Counting};
use pmd_core::deployment::XdpHints;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, LportId, Options, Pool, PoolConfig, QueueRequest, RawOption};
use pmd_memif::MemifDriver;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn open(role: &str, socket: &str, zero_copy: &str, pool: &Pool) -> Lport {
    let given = [("role", role), ("socket", socket), ("socket-abstract", "no"), ("zero-copy", zero_copy)];
    let given = given.map(|(key, value)| RawOption::text(key, value));
    let options = Options::check(MemifDriver.options(), &given).unwrap();
    let queue = QueueRequest {
        lport: LportId(0),
        name: role.into(),
        qid: 0,
        pool: Some(pool.clone()),
        rx_desc: 0,
        tx_desc: 0,
        xdp: XdpHints::default(),
    };
    MemifDriver.open(DeviceRequest { name: role.into(), options, queues: vec![queue] }).unwrap().remove(0)
}

/// One round of forwarding everything back from both lports; says how many packets moved.
fn round(lports: &mut [Lport; 2], burst: &mut Burst) -> usize {
    let mut moved = 0;
    for lport in lports {
        moved += lport.rx.rx_burst(burst);
        lport.tx.tx_burst(burst);
        burst.clear();
    }
    moved
}

#[test]
fn forwarding_allocates_nothing() {
    for (zero_copy, size) in [("no", 64), ("no", 5000), ("yes", 64), ("yes", 5000)] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("memif.sock");
        let config = PoolConfig { size: 8192, shareable: zero_copy == "yes", ..PoolConfig::default() };
        let pool = Pool::new(&config).unwrap();
        let socket = socket.to_str().unwrap();
        let mut lports = [open("server", socket, zero_copy, &pool), open("client", socket, zero_copy, &pool)];
        let deadline = Instant::now() + Duration::from_secs(30);
        while !lports.iter().all(|lport| lport.control.link().is_up()) {
            assert!(Instant::now() < deadline, "the link comes up");
            std::thread::yield_now();
        }
        // Enough packets that chains and both directions are busy all the time.
        let mut burst = Burst::new();
        for _ in 0..64 {
            let mut packet = pool.alloc().unwrap();
            packet.append(size.min(2048)).unwrap();
            for _ in 0..size / 2048 {
                let mut next = pool.alloc().unwrap();
                next.append(1000).unwrap();
                packet.chain(next).unwrap();
            }
            burst.push(packet).unwrap();
        }
        lports[1].tx.tx_burst(&mut burst);
        burst.clear();
        for _ in 0..100 {
            round(&mut lports, &mut burst);
        }

        let (allocations, moved) =
            allocations::count(|| (0..1000).map(|_| round(&mut lports, &mut burst)).sum::<usize>());

        assert!(moved >= 1000, "packets circulated: {moved}");
        assert_eq!(allocations, 0, "zero-copy {zero_copy}, {size} bytes");
    }
}
