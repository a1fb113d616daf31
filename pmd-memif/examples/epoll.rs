//! Receiving in an event loop of one's own: the thread sleeps until a packet comes, or a line on the standard input.
//!
//! ```text
//! cargo run --release --example epoll -- /tmp/memif.sock
//! ```
//!
//! 1. The queue's descriptor goes into an epoll set, beside whatever else the program waits for.
//! 2. Before it sleeps, the program polls until nothing comes, and arms the queue: from then on the peer interrupts. Arming
//!    looks once more; when it answers `false`, a packet came meanwhile, and there is no time to sleep.
//! 3. Awake, it disarms the queue, which polls again undisturbed.
//!
//! The descriptor is readable also when the link has come or gone. With the option `rx-mode=interrupt` step 2 and 3 shrink to
//! polling until nothing comes; every burst then costs the peer a system call, whether we sleep or not. Ends with the standard input. Try it with DPDK at the
//! other end:
//!
//! ```text
//! dpdk-testpmd -l 0-1 --no-huge -m 256 --no-pci \
//!     --vdev=net_memif,role=client,socket=/tmp/memif.sock,socket-abstract=no -- --auto-start --tx-first --stats-period 1
//! ```

mod device;

use std::io::{Read, stdin};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use pmd_core::{Burst, Lport};

use device::{Failure, open, swap_addresses};

const PACKETS: u64 = 0;
const INPUT: u64 = 1;

fn main() -> Result<(), Failure> {
    let socket = std::env::args().nth(1).ok_or("usage: epoll SOCKET")?;
    let (mut lports, pool) = open(&socket, &[("role", "server")], 1)?;
    let mut lport = lports.pop().ok_or("one queue makes one lport")?;

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    // A memif queue keeps its descriptor for life; with drivers that do not, this belongs behind each `arm`.
    let wake = lport.rx.wake_fd().ok_or("a memif queue can be slept on")?;
    epoll.add(wake, EpollEvent::new(EpollFlags::EPOLLIN, PACKETS))?;
    epoll.add(stdin(), EpollEvent::new(EpollFlags::EPOLLIN, INPUT))?;

    let (mut echoed, mut wakes) = (0, 0);
    loop {
        echoed += echo_all(&mut lport);
        if !lport.rx.arm() {
            continue;
        }
        let ready = wait(&epoll)?;
        lport.rx.disarm();
        wakes += u64::from(ready.contains(&PACKETS));
        if ready.contains(&INPUT) && stdin().read(&mut [0; 256])? == 0 {
            break;
        }
    }

    println!("{echoed} packets echoed, woken {wakes} times");
    drop(lport);
    println!("{} of {} mbufs are home", pool.available(), pool.size());
    Ok(())
}

/// Sends back whatever there is, and says how many packets it was.
fn echo_all(lport: &mut Lport) -> usize {
    let mut burst = Burst::with_limit(32);
    let mut echoed = 0;
    while lport.rx.rx_burst(&mut burst) > 0 {
        burst.iter_mut().for_each(swap_addresses);
        echoed += lport.tx.tx_burst(&mut burst);
        burst.clear();
    }
    echoed
}

/// Sleeps until something happens, and says what.
fn wait(epoll: &Epoll) -> Result<Vec<u64>, Errno> {
    let mut events = [EpollEvent::empty(); 2];
    match epoll.wait(&mut events, EpollTimeout::NONE) {
        Ok(count) => Ok(events[..count].iter().map(EpollEvent::data).collect()),
        Err(Errno::EINTR) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}
