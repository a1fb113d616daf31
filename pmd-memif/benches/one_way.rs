//! One way between two threads on a core each: lab.
use pmd_core::deployment::XdpHints;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, LportId, Options, Pool, PoolConfig, QueueRequest, RawOption};
use pmd_memif::MemifDriver;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
const BURST: usize = 32;
fn pin(cpu: usize) {
    let mut set = nix::sched::CpuSet::new();
    set.set(cpu).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).unwrap();
}
fn main() {
    let a: Vec<_> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let (dir, size, ms): (&str, usize, u64) = (&a[0], a[1].parse().unwrap(), a[2].parse().unwrap());
    let zc = a.get(3).map_or("no", |s| s.as_str());
    let (szc, czc) = match zc {
        "c" => ("no", "yes"),
        "s" => ("yes", "no"),
        "b" => ("yes", "yes"),
        _ => ("no", "no"),
    };
    let name = format!("one-way-{}", std::process::id());
    let pools = [pool("s", false), pool("c", czc == "yes")];
    let server = open("server", &[("role", "server"), ("socket", &name), ("zero-copy", szc)], &pools[0]);
    let client = open("client", &[("socket", &name), ("zero-copy", czc)], &pools[1]);
    let (tx, txp, mut rx) =
        if dir == "s2c" { (server, pools[0].clone(), client) } else { (client, pools[1].clone(), server) };
    let txc = tx.control.clone();
    while !tx.control.link().is_up() || !rx.control.link().is_up() {
        std::thread::yield_now();
    }
    let txl = tx.tx;
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn({
            let stop = &stop;
            move || {
                pin(0);
                let mut tx = txl;
                let mut burst = Burst::with_limit(BURST);
                while !stop.load(Ordering::Relaxed) {
                    if burst.len() < BURST {
                        let n = BURST - burst.len();
                        let f = burst.len();
                        txp.alloc_bulk(&mut burst, n);
                        for m in &mut burst[f..] {
                            m.room_mut();
                            m.set_received(size, 0);
                        }
                    }
                    tx.tx_burst(&mut burst);
                }
            }
        });
        pin(1);
        let mut burst = Burst::with_limit(BURST);
        let mut n = 0u64;
        let mut polls = 0u64;
        let mut empty = 0u64;
        let mut start = Instant::now();
        let mut warm = false;
        let mut s0 = 0;
        loop {
            for _ in 0..1000 {
                let k = rx.rx.rx_burst(&mut burst);
                n += k as u64;
                polls += u64::from(k > 0);
                empty += u64::from(k == 0);
                burst.clear();
            }
            let e = start.elapsed().as_millis() as u64;
            if !warm && e > 100 {
                warm = true;
                n = 0;
                polls = 0;
                empty = 0;
                start = Instant::now();
                s0 = full(&rx);
                continue;
            }
            if e >= ms {
                break;
            }
        }
        let t = start.elapsed().as_secs_f64();
        let _ = s0;
        println!(
            "{dir} {size} zc={zc}: {:.1} Mpps  {:.1} pkts/poll, {:.2} empty polls per full one, {:?}",
            n as f64 / t / 1e6,
            n as f64 / polls as f64,
            empty as f64 / polls as f64,
            txc.stats().xstats.iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>()
        );
        stop.store(true, Ordering::Relaxed);
    });
}
fn full(l: &Lport) -> u64 {
    l.control.stats().ipackets
}
fn pool(n: &str, shareable: bool) -> Pool {
    Pool::new(&PoolConfig { name: n.into(), size: 8192, shareable, ..PoolConfig::default() }).unwrap()
}
fn open(name: &str, given: &[(&str, &str)], pool: &Pool) -> Lport {
    let given: Vec<_> = given.iter().map(|(k, v)| RawOption::text(*k, *v)).collect();
    let options = Options::check(MemifDriver.options(), &given).unwrap();
    let queue = QueueRequest {
        lport: LportId(0),
        name: name.into(),
        qid: 0,
        pool: Some(pool.clone()),
        rx_desc: 0,
        tx_desc: 0,
        xdp: XdpHints::default(),
    };
    MemifDriver.open(DeviceRequest { name: name.into(), options, queues: vec![queue] }).unwrap().remove(0)
}
