//! A peer that truncates its files under us takes down its own link, and nothing else (statement 67).
//!
//! Alone in its file, because a handler of SIGBUS is the whole process's.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use pmd_core::deployment::XdpHints;
use pmd_core::{
    Burst, DeviceRequest, Driver, Link, Lport, LportId, Options, Pool, PoolConfig, QueueRequest, RawOption,
};
use pmd_memif::MemifDriver;
use pmd_memif::address::Address;
use pmd_memif::fake::{FakeClient, FakeMemory, FakeRegion, RingPlan, Step};

fn open(socket: &Path, more: &[(&str, &str)], pool: &Pool) -> Lport {
    let socket = socket.to_str().unwrap();
    let common = [("role", "server"), ("socket", socket), ("socket-abstract", "no")];
    let given: Vec<_> = common.iter().chain(more).map(|(key, value)| RawOption::text(*key, *value)).collect();
    let options = Options::check(MemifDriver.options(), &given).unwrap();
    let queue = QueueRequest {
        lport: LportId(0),
        name: "server".into(),
        qid: 0,
        pool: Some(pool.clone()),
        rx_desc: 0,
        tx_desc: 0,
        xdp: XdpHints::default(),
    };
    MemifDriver.open(DeviceRequest { name: "server".into(), options, queues: vec![queue] }).unwrap().remove(0)
}

/// The memory of a copying client, in a file that can be truncated.
fn unsealed() -> FakeMemory {
    let mut memory = FakeMemory::plain(RingPlan::default()).unwrap();
    let region = FakeRegion::unsealed(memory.regions[0].size).unwrap();
    memory.regions[0] = region;
    let rings: Vec<_> = memory.rings.drain(..).map(|ring| ring.message).collect();
    for message in rings {
        memory.add_ring(message).unwrap();
    }
    memory
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::yield_now();
    }
}

#[test]
fn s67_truncated_memory_ends_its_own_link_with_that_reason_and_the_next_client_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::new(&PoolConfig { name: "p".into(), size: 256, ..PoolConfig::default() }).unwrap();
    for zero_copy in ["no", "yes"] {
        let socket = dir.path().join("memif.sock");
        let mut server = open(&socket, &[("seals", "warn"), ("zero-copy", zero_copy)], &pool);
        for round in 0..3 {
            let mut client = FakeClient::connect(&Address::path(&socket).unwrap()).unwrap().with_memory(unsealed());
            client.run(Step::Connected).unwrap();
            let mut burst = Burst::new();
            let up = |server: &Lport| server.control.link().is_up();
            until("link up", || up(&server));
            assert_eq!(server.rx.rx_burst(&mut burst), 0, "the queue has taken its rings");
            nix::unistd::ftruncate(client.memory.regions[0].as_fd(), 0).unwrap();
            until("link down", || {
                server.rx.rx_burst(&mut burst);
                burst.clear();
                !up(&server)
            });
            let Link::Down(reason) = server.control.link() else { panic!("round {round}: the link is up") };
            assert!(reason.contains("truncated a file"), "round {round}: {reason}");
            assert!(client.peer.expect_disconnect().unwrap().contains("truncated a file"));
        }
        drop(server);
        assert_eq!(pool.available(), pool.size());
    }
}
