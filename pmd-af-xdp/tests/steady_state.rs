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
fn round(lports: &mut [Lport; 2], burst: &mut Burst) -> usize {
    let mut moved = 0;
    for lport in lports {
        moved += lport.rx.rx_burst(burst);
        lport.tx.tx_burst(burst);
        lport.tx.flush();
        burst.clear();
    }
    moved
}

#[test]
fn forwarding_allocates_nothing() -> Result<()> {
    if !may_make_namespaces()? {
        return Ok(());
    }
    let (left, right) = (Namespace::new()?, Namespace::new()?);
    left.cable("left", &right, "right")?;
    let pool = |chunked| Pool::new(&PoolConfig { size: 8192, chunked, ..PoolConfig::default() });
    // One pool for both ends: packets lie in the right place, or are copied because they are of another pool.
    for (at_left, at_right) in [(pool(true)?, None), (pool(true)?, Some(pool(false)?))] {
        let at_right = at_right.unwrap_or_else(|| at_left.clone());
        let mut lports = [open(&left, "left", &at_left)?, open(&right, "right", &at_right)?];
        wait_until("both links", || Ok(lports.iter().all(|lport| lport.control.link().is_up()).then_some(())))?;
        let strangers = pool(false)?;
        let mut burst = Burst::new();
        for _ in 0..32 {
            let packet = strangers.alloc_packet(&[0xff; 200]).ok_or_else(|| anyhow!("an mbuf"))?;
            burst.push(packet).map_err(|_| anyhow!("room"))?;
        }
        lports[0].tx.tx_burst(&mut burst);
        for _ in 0..200 {
            round(&mut lports, &mut burst);
        }
        let (allocations, moved) =
            allocations::count(|| (0..1000).map(|_| round(&mut lports, &mut burst)).sum::<usize>());
        ensure!(moved >= 1000, "packets circulated: {moved}");
        ensure!(allocations == 0, "{allocations} allocations for {moved} packets");
    }
    Ok(())
}
