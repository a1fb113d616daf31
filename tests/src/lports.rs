//! Lports in the test's own process: for the tests of drivers, which poll them themselves.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::checksum::{fold, sum};
use pmd_core::{Burst, Link, Lport};

use crate::DEADLINE;

/// Looks at a condition until it gives a value, almost without a pause: lports are polled in it.
///
/// # Errors
/// When it does not within [`DEADLINE`].
pub fn poll_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if start.elapsed() > DEADLINE {
            bail!("{what}: not within {} s", DEADLINE.as_secs());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Waits until the link is up.
///
/// # Errors
/// When it is not in time.
pub fn wait_for_link_up(lport: &Lport) -> Result<()> {
    poll_until("the link", || lport.control.link().is_up().then_some(()))
}

/// Waits until the link is down for a reason with these words in it.
///
/// # Errors
/// When it is not in time.
pub fn wait_for_link_down(lport: &Lport, words: &str) -> Result<()> {
    poll_until(words, || match lport.control.link() {
        Link::Down(reason) if reason.contains(words) => Some(()),
        _ => None,
    })
}

/// The packets of a burst.
pub fn contents(burst: &Burst) -> Vec<Vec<u8>> {
    burst.iter().map(|mbuf| mbuf.segments().flatten().copied().collect()).collect()
}

/// What `lport` receives next.
///
/// # Errors
/// When nothing comes in time.
pub fn receive_one(lport: &mut Lport) -> Result<Vec<u8>> {
    let mut burst = Burst::with_limit(1);
    poll_until("a packet", || (lport.rx.rx_burst(&mut burst) > 0).then_some(()))?;
    Ok(contents(&burst).remove(0))
}

/// Whether the descriptor that wakes `lport`'s owner is readable within `timeout`.
pub fn is_readable(lport: &Lport, timeout: PollTimeout) -> bool {
    let Some(fd) = lport.rx.wake_fd() else { return false };
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) == Ok(1)
}

/// The payload of an IPv4 packet with UDP.
///
/// # Panics
/// When it is none, or its lengths or checksums are wrong.
#[track_caller]
pub fn udp_payload(packet: &[u8]) -> &[u8] {
    let (ip, udp) = packet.split_at(20);
    assert_eq!((ip[0], ip[9]), (0x45, 17));
    assert_eq!(fold(sum(ip)), 0xffff, "the header's checksum");
    assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), packet.len());
    assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len());
    assert_eq!(fold(sum(&ip[12..20]) + 17 + udp.len() as u32 + sum(udp)), 0xffff, "UDP's checksum");
    &udp[8..]
}
