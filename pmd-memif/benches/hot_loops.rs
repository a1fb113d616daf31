//! The hot loops, to be counted: runs one of them a given number of times and does nothing else worth mentioning.
//!
//! ```text
//! cargo bench --package pmd-memif --bench hot_loops -- CASE BURSTS
//! ```
//!
//! `tests/tests/instruction_counts.rs` runs it under callgrind twice, with different numbers of bursts: the difference is
//! what a packet costs. Every case moves bursts of 32 packets. Prints the number of packets moved.

use std::process::ExitCode;

use pmd_core::deployment::XdpHints;
use pmd_core::drivers::NullDriver;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, LportId, Options, Pool, PoolConfig, QueueRequest, RawOption};
use pmd_memif::MemifDriver;

const BURST: usize = 32;

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [case, bursts] = arguments.as_slice() else { return usage() };
    let Ok(bursts) = bursts.parse() else { return usage() };
    let packets = match case.as_str() {
        "pool" => pool_get_and_put(bursts),
        "null" => null_forward(bursts),
        "copy-64" => memif_loopback(bursts, 64, ["no", "no"]),
        "copy-1518" => memif_loopback(bursts, 1518, ["no", "no"]),
        "zero-copy-64" => memif_loopback(bursts, 64, ["no", "yes"]),
        "zero-copy-1518" => memif_loopback(bursts, 1518, ["no", "yes"]),
        "borrow-64" => memif_loopback(bursts, 64, ["yes", "no"]),
        "borrow-1518" => memif_loopback(bursts, 1518, ["yes", "no"]),
        "idle" => memif_loopback(16 * bursts, 0, ["no", "no"]),
        _ => return usage(),
    };
    println!("{packets}");
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: hot_loops CASE BURSTS; cases: pool, null, idle; copy, zero-copy, borrow with -64 or -1518");
    ExitCode::from(2)
}

/// Takes a burst from a pool and gives it back.
fn pool_get_and_put(bursts: usize) -> usize {
    let pool = pool(false);
    let mut burst = Burst::with_limit(BURST);
    (0..bursts)
        .map(|_| {
            let n = pool.alloc_bulk(&mut burst, BURST);
            burst.clear();
            n
        })
        .sum()
}

/// Receives from a null lport and sends to it.
fn null_forward(bursts: usize) -> usize {
    let mut lport = open(&NullDriver, "null", &[], &pool(false));
    let mut burst = Burst::with_limit(BURST);
    (0..bursts)
        .map(|_| {
            lport.rx.rx_burst(&mut burst);
            lport.tx.tx_burst(&mut burst)
        })
        .sum()
}

/// A memif server and a memif client in one process, joined to each other; a burst in each direction circulates. Counts a
/// packet each time it has been sent and received; `size` 0 sends none: a burst is then an idle poll of both. `zero_copy` is
/// what the server and the client are told.
fn memif_loopback(bursts: usize, size: usize, zero_copy: [&str; 2]) -> usize {
    let name = format!("hot-loops-{}", std::process::id());
    let pool = pool(zero_copy[1] == "yes");
    let options = [("role", "server"), ("socket", &*name), ("zero-copy", zero_copy[0])];
    let server = open(&MemifDriver, "server", &options, &pool);
    let client = open(&MemifDriver, "client", &[("socket", &name), ("zero-copy", zero_copy[1])], &pool);
    let mut lports = [server, client];
    let mut burst = Burst::with_limit(BURST);
    while !lports.iter().all(|lport| lport.control.link().is_up()) {
        // Asleep rather than spinning: how often one looks must not show in the count.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // Polled once, both have taken their rings and the client has posted its buffers.
    poll(&mut lports, &mut burst);
    if size > 0 {
        for lport in &mut lports {
            pool.alloc_bulk(&mut burst, BURST);
            for mbuf in burst.iter_mut() {
                let len = mbuf.append(size).map_or(0, |data| data.len());
                assert_eq!(len, size, "the packet fits an mbuf");
            }
            lport.tx.tx_burst(&mut burst);
        }
    }
    let moved = (0..bursts.div_ceil(2)).map(|_| poll(&mut lports, &mut burst)).sum();
    if size > 0 { moved } else { bursts }
}

fn poll(lports: &mut [Lport; 2], burst: &mut Burst) -> usize {
    let mut moved = 0;
    for lport in lports {
        moved += lport.rx.rx_burst(burst);
        if !burst.is_empty() {
            lport.tx.tx_burst(burst);
            burst.clear();
        }
    }
    moved
}

fn pool(shareable: bool) -> Pool {
    let config = PoolConfig { name: "hot".into(), size: 8192, shareable, ..PoolConfig::default() };
    Pool::new(&config).expect("there is memory for 8192 mbufs")
}

fn open(driver: &dyn Driver, name: &str, given: &[(&str, &str)], pool: &Pool) -> Lport {
    let given: Vec<_> = given.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
    let options = Options::check(driver.options(), &given).expect("the options are right");
    let queue = QueueRequest {
        lport: LportId(0),
        name: name.into(),
        qid: 0,
        pool: Some(pool.clone()),
        rx_desc: 0,
        tx_desc: 0,
        xdp: XdpHints::default(),
    };
    let request = DeviceRequest { name: name.into(), options, queues: vec![queue] };
    driver.open(request).expect("the device opens").remove(0)
}
