//! The hot path allocates nothing: two lports at the ends of a cable, under an allocator that counts.

use anyhow::{Result, anyhow, ensure};
use lport_tests::Namespace;
use lport_tests::allocations::{self, Counting};
use lport_tests::namespace::may_make_namespaces;
use lport_tests::process::wait_until;
use pmd_af_xdp::AfXdpDriver;
use pmd_core::{Burst, DeviceRequest, Driver, Lport, Options, Pool, PoolConfig, RawOption};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn open(namespace: &Namespace, interface: &str, pool: &Pool) -> Result<Lport> {
    let driver = AfXdpDriver::default();
    let given = [RawOption::text("netns", namespace.name())];
    let options = Options::check(driver.options(), &given).map_err(|errors| anyhow!("{errors:?}"))?;
    Ok(driver.open(DeviceRequest::new(interface, options, 1, Some(pool)))?.remove(0))
}

/// Whatever comes goes back, from both ends; says how many packets moved.
fn turn_round(lports: &mut [Lport; 2], burst: &mut Burst) -> usize {
    let mut moved = 0;
    for lport in lports {
        moved += lport.rx.rx_burst(burst);
        lport.tx.tx_burst(burst);
        lport.tx.flush();
        burst.clear();
    }
    moved
}

/// Sends packets of a pool that is nobody's umem, which are copied; says how many have come.
fn send_strangers(lports: &mut [Lport; 2], strangers: &Pool, burst: &mut Burst) -> usize {
    for _ in 0..16 {
        strangers.alloc_packet(&[0xff; 200]).map(|packet| burst.push(packet));
    }
    lports[0].tx.tx_burst(burst);
    lports[0].tx.flush();
    burst.clear();
    let moved = lports[1].rx.rx_burst(burst);
    burst.clear();
    moved
}

#[test]
fn forwarding_allocates_nothing() -> Result<()> {
    if !may_make_namespaces()? {
        return Ok(());
    }
    let (left, right) = (Namespace::new()?, Namespace::new()?);
    left.cable("left", &right, "right")?;
    let pool = || Pool::new(&PoolConfig { size: 8192, chunked: true, ..PoolConfig::default() });
    let (own, strangers) = (pool()?, pool()?);
    let mut lports = [open(&left, "left", &own)?, open(&right, "right", &own)?];
    wait_until("both links", || Ok(lports.iter().all(|lport| lport.control.link().is_up()).then_some(())))?;
    let mut burst = Burst::new();
    let mut check = |round: &mut dyn FnMut(&mut [Lport; 2], &mut Burst) -> usize| {
        for _ in 0..200 {
            round(&mut lports, &mut burst);
        }
        let (allocations, moved) =
            allocations::count(|| (0..1000).map(|_| round(&mut lports, &mut burst)).sum::<usize>());
        ensure!(moved >= 1000, "packets moved: {moved}");
        ensure!(allocations == 0, "{allocations} allocations for {moved} packets");
        Ok(())
    };
    check(&mut |lports, burst| send_strangers(lports, &strangers, burst))?;
    // What is still on its way circulates from now on.
    check(&mut |lports, burst| {
        if own.in_use() < 4200 {
            lports[0].tx.alloc_burst(burst, 4);
            burst.iter_mut().for_each(|packet| packet.append(100).into_iter().for_each(|data| data.fill(0xff)));
            lports[0].tx.tx_burst(burst);
            burst.clear();
        }
        turn_round(lports, burst)
    })
}
