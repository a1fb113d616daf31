//! The hot loops, to be counted: runs one of them a given number of times and does nothing else worth mentioning.
//!
//! ```text
//! cargo bench --package pmd-memif --bench hot_loops -- CASE BURSTS [BEFORE]
//! ```
//!
//! `tests/tests/instruction_counts.rs` runs it under callgrind twice, with different numbers of bursts: the difference is
//! what a packet costs. Every case moves bursts of 32 packets, but `copy-64-single`, which moves as many single ones, and
//! `idle`, which polls as often in vain: starting takes a few thousand instructions more or less each time, which have to be
//! little beside what is counted. Prints the number of packets moved, and the nanoseconds that took.
//! Of a memif pair each end sends back what it receives; in `crossed`, the other end sends it, as a forwarder would, and in
//! `crossed-pools` so, too, but each end receives into a pool of its own.
//! To be timed, a loop is run for BEFORE bursts first, that do not count.
//!
//! `memcpy-1518` is the bound for `copy-1518`, and `memcpy-zero-copy-1518` for `zero-copy-1518`: the copies that those make, from
//! and to memory of the same kind, in the same order. `memcpy-deep-1518` and `memcpy-deep-zero-copy-1518` are the same with 512
//! packets under way, and `memcpy-chain-1518` what a forwarder copies from a ring that is full into one that is kept empty.
//! `memcpy-64` and `memcpy-64-of-32` are the copies of one pair and of 32 pairs by turns, which 64 lports of a thread are.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use pmd_core::deployment::XdpHints;
use pmd_core::drivers::NullDriver;
use pmd_core::{
    Burst, DeviceRequest, Driver, Lport, LportId, Mbuf, Options, Pool, PoolConfig, QueueRequest, RawOption,
};
use pmd_memif::MemifDriver;

const BURST: usize = 32;

/// How much of its rings a memif pair goes round in.
#[derive(Debug, Clone, Copy)]
struct Flight {
    /// Buffers that the client uses of the ring it sends into, and of the one it receives from.
    in_use: [usize; 2],
    /// Packets that lie between the one that is written and the one that is read.
    under_way: usize,
}

/// Either side keeps up.
const KEEPING_UP: Flight = Flight { in_use: [64, 128], under_way: BURST };

/// Half of either ring is under way.
const DEEP: Flight = Flight { in_use: [1024, 1024], under_way: 512 };

/// The client sends more than the server forwards, and keeps up with what it receives.
const OVERLOADED: Flight = Flight { in_use: [1024, 128], under_way: BURST };

/// Copies from either ring into the other one.
const BOTH_WAYS: &[(usize, usize)] = &[(0, 1), (1, 0)];

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (case, numbers) = arguments.split_first().map_or(("", &[][..]), |(case, numbers)| (case.as_str(), numbers));
    let bursts = match numbers.iter().map(|number| number.parse()).collect::<Result<Vec<_>, _>>().as_deref() {
        Ok([count]) => Bursts { before: 0, count: *count },
        Ok([count, before]) => Bursts { before: *before, count: *count },
        _ => return usage(),
    };
    let (back, across) = (|lport| lport, |lport| 1 - lport);
    let (packets, time) = match case {
        "pool" => pool_get_and_put(bursts),
        "null" => null_forward(bursts),
        "copy-64" => memif_loopback(bursts, full(64), [false, false], back),
        "copy-64-single" => memif_loopback(bursts.one_by_one(), Load { size: 64, packets: 1 }, [false, false], back),
        "copy-512" => memif_loopback(bursts, full(512), [false, false], back),
        "copy-1518" => memif_loopback(bursts, full(1518), [false, false], back),
        "zero-copy-64" => memif_loopback(bursts, full(64), [false, true], back),
        "zero-copy-512" => memif_loopback(bursts, full(512), [false, true], back),
        "crossed-512" => memif_loopback(bursts, full(512), [true, true], across),
        "zero-copy-1518" => memif_loopback(bursts, full(1518), [false, true], back),
        "borrow-64" => memif_loopback(bursts, full(64), [true, false], back),
        "borrow-1518" => memif_loopback(bursts, full(1518), [true, false], back),
        "both-64" => memif_loopback(bursts, full(64), [true, true], back),
        "both-1518" => memif_loopback(bursts, full(1518), [true, true], back),
        "crossed-64" => memif_loopback(bursts, full(64), [true, true], across),
        "crossed-1518" => memif_loopback(bursts, full(1518), [true, true], across),
        "crossed-pools-64" => memif_pair(bursts, full(64), [true, true], &[pool(false), pool(true)], across),
        "memcpy-64" => bare_copies(bursts, 64, 1, KEEPING_UP, BOTH_WAYS, 2 * BURST),
        "memcpy-64-of-32" => bare_copies(bursts, 64, 32, KEEPING_UP, BOTH_WAYS, 2 * BURST),
        "memcpy-1518" => bare_copies(bursts, 1518, 1, KEEPING_UP, BOTH_WAYS, 2 * BURST),
        "memcpy-deep-1518" => bare_copies(bursts, 1518, 1, DEEP, BOTH_WAYS, 2 * BURST),
        "memcpy-chain-1518" => bare_copies(bursts, 1518, 1, OVERLOADED, &[(0, 1)], BURST),
        "memcpy-zero-copy-1518" => bare_copies(bursts, 1518, 1, KEEPING_UP, &[(0, 1)], 2 * BURST),
        "memcpy-deep-zero-copy-1518" => bare_copies(bursts, 1518, 1, DEEP, &[(0, 1)], 2 * BURST),
        "idle" => memif_loopback(bursts.one_by_one(), full(0), [false, false], back),
        _ => return usage(),
    };
    println!("{packets} {}", time.as_nanos());
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: hot_loops CASE BURSTS [BEFORE]; \
         cases: pool, null, idle, copy-64-single, crossed-pools-64; copy, zero-copy, borrow, both, crossed with -64, -1518; \
         memcpy with -64, -64-of-32, -1518, -deep-1518, -chain-1518, -zero-copy-1518, -deep-zero-copy-1518"
    );
    ExitCode::from(2)
}

/// How many bursts are moved: some that do not count, then those that do.
#[derive(Debug, Clone, Copy)]
struct Bursts {
    before: usize,
    count: usize,
}

impl Bursts {
    /// As many packets or polls, one at a time.
    fn one_by_one(self) -> Self {
        Self { before: self.before * BURST, count: self.count * BURST }
    }

    /// What `round`, which moves `each` bursts, gives in all rounds that count, and how long they took.
    fn timed(self, each: usize, mut round: impl FnMut() -> usize) -> (usize, Duration) {
        (0..self.before.div_ceil(each)).for_each(|_| _ = round());
        let start = Instant::now();
        let moved = (0..self.count.div_ceil(each)).map(|_| round()).sum();
        (moved, start.elapsed())
    }
}

/// Takes a burst from a pool and gives it back.
fn pool_get_and_put(bursts: Bursts) -> (usize, Duration) {
    let pool = pool(false);
    let mut burst = Burst::with_limit(BURST);
    bursts.timed(1, || {
        let n = pool.alloc_bulk(&mut burst, BURST);
        burst.clear();
        n
    })
}

/// Receives from a null lport and sends to it.
fn null_forward(bursts: Bursts) -> (usize, Duration) {
    let mut lport = open(&NullDriver, "null", &[], &pool(false));
    let mut burst = Burst::with_limit(BURST);
    bursts.timed(1, || {
        lport.rx.rx_burst(&mut burst);
        lport.tx.tx_burst(&mut burst)
    })
}

/// [`memif_pair`] on one pool.
fn memif_loopback(
    bursts: Bursts,
    load: Load,
    zero_copy: [bool; 2],
    sender: impl Fn(usize) -> usize,
) -> (usize, Duration) {
    let pool = pool(zero_copy[1]);
    memif_pair(bursts, load, zero_copy, &[pool.clone(), pool], sender)
}

/// What circulates.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Bytes of a packet.
    size: usize,
    /// Packets in each direction, a burst at most.
    packets: usize,
}

/// Full bursts.
fn full(size: usize) -> Load {
    Load { size, packets: BURST }
}

/// A memif server and a memif client in one process, joined to each other; a burst in each direction circulates. Counts a
/// packet each time it has been sent and received; `size` 0 sends none: what is counted are then polls that find nothing. `zero_copy` is
/// what the server and the client are told, `pools` what they receive into, `sender` says which of the two sends what one of them
/// has received.
fn memif_pair(
    bursts: Bursts,
    Load { size, packets }: Load,
    zero_copy: [bool; 2],
    pools: &[Pool; 2],
    sender: impl Fn(usize) -> usize,
) -> (usize, Duration) {
    let name = format!("hot-loops-{}", std::process::id());
    let [of_server, of_client] = zero_copy.map(|yes| ("zero-copy", if yes { "yes" } else { "no" }));
    let server = open(&MemifDriver, "server", &[("role", "server"), ("socket", &name), of_server], &pools[0]);
    let client = open(&MemifDriver, "client", &[("socket", &name), of_client], &pools[1]);
    let mut lports = [server, client];
    let mut burst = Burst::with_limit(BURST);
    while !lports.iter().all(|lport| lport.control.link().is_up()) {
        // Asleep rather than spinning: how often one looks must not show in the count.
        std::thread::sleep(Duration::from_millis(1));
    }
    // Polled once, both have taken their rings and the client has posted its buffers.
    poll(&mut lports, &mut burst, &sender);
    if size > 0 {
        for (lport, pool) in lports.iter_mut().zip(pools) {
            pool.alloc_bulk(&mut burst, packets);
            for mbuf in burst.iter_mut() {
                let len = mbuf.append(size).map_or(0, |data| data.len());
                assert_eq!(len, size, "the packet fits an mbuf");
            }
            lport.tx.tx_burst(&mut burst);
        }
    }
    if size == 0 {
        return bursts.timed(2, || poll(&mut lports, &mut burst, &sender) + 2);
    }
    bursts.timed(2, || poll(&mut lports, &mut burst, &sender))
}

/// Copies bursts of packets of `size` bytes out of one ring of buffers into the same few mbufs, and from these into another ring,
/// each of the `ways`, from and to, and does so with each of the `pairs` of rings by turns: what memif pairs do with memory, without
/// all the rest. A copying pair does so both ways; of one with a zero-copy client only the server copies. Each time round a pair
/// counts as `moved` packets, so that a packet has as many copies as in what this is the bound for.
fn bare_copies(
    bursts: Bursts,
    size: usize,
    pairs: usize,
    flight: Flight,
    ways: &[(usize, usize)],
    moved: usize,
) -> (usize, Duration) {
    let Flight { in_use, under_way } = flight;
    // Buffers in shared memory, as a memif's are.
    let (regions, mbufs) = (pool(true), pool(false));
    let mut pairs: Vec<_> = (0..pairs).map(|_| in_use.map(|count| taken(&regions, count, size))).collect();
    let mut hot = taken(&mbufs, BURST, size);
    let (mut turn, mut place) = (0, 0);
    bursts.timed(moved / BURST, || {
        let rings = &mut pairs[turn];
        for &(from, to) in ways {
            let source = &rings[from][place % in_use[from]..];
            for (mbuf, slot) in hot.iter_mut().zip(source) {
                mbuf.data_mut().copy_from_slice(slot.data());
            }
            for (mbuf, slot) in hot.iter().zip(&mut rings[to][(place + under_way) % in_use[to]..]).rev() {
                slot.data_mut().copy_from_slice(mbuf.data());
            }
        }
        turn = (turn + 1) % pairs.len();
        if turn == 0 {
            place += BURST;
        }
        moved
    })
}

/// Mbufs of a pool with `size` bytes of data each.
fn taken(pool: &Pool, count: usize, size: usize) -> Vec<Mbuf> {
    let take = || {
        let mut mbuf = pool.alloc().expect("the pool has so many");
        mbuf.append(size).expect("the packet fits an mbuf");
        mbuf
    };
    (0..count).map(|_| take()).collect()
}

fn poll(lports: &mut [Lport; 2], burst: &mut Burst, sender: impl Fn(usize) -> usize) -> usize {
    let mut moved = 0;
    for lport in 0..2 {
        moved += lports[lport].rx.rx_burst(burst);
        if !burst.is_empty() {
            lports[sender(lport)].tx.tx_burst(burst);
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
