//! Getting started: connect, receive, process in place, send.
//!
//! ```text
//! cargo run --release --example echo -- /tmp/memif.sock [packets]
//! ```
//!
//! Opens a memif server on the socket given (see `device/mod.rs`), swaps the MAC addresses of whatever comes, and sends it
//! back. Ends after so many packets, or when its peer has been there and gone. Try it with DPDK at the other end:
//!
//! ```text
//! dpdk-testpmd -l 0-1 --no-huge -m 256 --no-pci \
//!     --vdev=net_memif,role=client,socket=/tmp/memif.sock,socket-abstract=no -- --auto-start --tx-first --stats-period 1
//! ```

mod device;

use pmd_core::Burst;

use device::{Failure, open, swap_addresses};

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().ok_or("usage: echo SOCKET [PACKETS]")?;
    let packets = arguments.next().map_or(Ok(u64::MAX), |text| text.parse())?;

    let (mut lports, pool) = open(&socket, &[("role", "server")], 1)?;
    let mut lport = lports.pop().ok_or("one queue makes one lport")?;

    let mut burst = Burst::with_limit(32);
    let (mut echoed, mut has_been_up) = (0, false);
    while echoed < packets {
        if lport.rx.rx_burst(&mut burst) == 0 {
            let up = lport.control.link().is_up();
            if has_been_up && !up {
                break;
            }
            has_been_up |= up;
            std::thread::yield_now();
            continue;
        }
        for mbuf in burst.iter_mut() {
            swap_addresses(mbuf);
        }
        echoed += lport.tx.tx_burst(&mut burst) as u64;
        // What the peer had no room for is dropped; keeping it in the burst would try it again.
        burst.clear();
    }

    println!("{echoed} packets echoed, {:?}", lport.control.stats());
    drop((lport, burst));
    println!("{} of {} mbufs are home", pool.available(), pool.size());
    Ok(())
}
