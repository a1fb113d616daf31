//! Several queues on several threads: one interface, one lport for each queue, one thread for each lport.
//!
//! ```text
//! cargo run --release --example queues -- /tmp/memif.sock 2
//! ```
//!
//! 1. Opens a memif server with so many queues. They come and go with one link.
//! 2. Each lport moves to a thread, which alone polls it and sends back what comes. No thread waits for another; the pool
//!    keeps mbufs at hand for each of them.
//! 3. The main thread keeps the control handles: link state and counters may be asked for from anywhere, meanwhile.
//!
//! Ends when its peer has been there and gone. Try it with DPDK at the other end:
//!
//! ```text
//! dpdk-testpmd -l 0-2 --no-huge -m 256 --no-pci \
//!     --vdev=net_memif,role=client,socket=/tmp/memif.sock,socket-abstract=no -- \
//!     --rxq=2 --txq=2 --nb-cores=2 --auto-start --tx-first --stats-period 1
//! ```

mod device;

use std::sync::Arc;
use std::thread;

use pmd_core::{Burst, Lport, LportControl};

use device::{Failure, open, swap_addresses};

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: queues SOCKET QUEUES";
    let socket = arguments.next().ok_or(usage)?;
    let queues = arguments.next().ok_or(usage)?.parse()?;

    let (lports, pool) = open(&socket, &[("role", "server")], queues)?;
    let controls: Vec<Arc<dyn LportControl>> = lports.iter().map(|lport| Arc::clone(&lport.control)).collect();
    let threads: Vec<_> = lports.into_iter().map(|lport| thread::spawn(move || echo(lport))).collect();
    for (queue, thread) in threads.into_iter().enumerate() {
        let echoed = thread.join().map_err(|_| "a thread panicked")?;
        println!("queue {queue}: {echoed} packets echoed, {} received", controls[queue].stats().ipackets);
    }
    drop(controls);
    println!("{} of {} mbufs are home", pool.available(), pool.size());
    Ok(())
}

/// Sends back what one queue receives, until the link has been up and is down. Says how many packets it was.
fn echo(mut lport: Lport) -> usize {
    let mut burst = Burst::with_limit(32);
    let (mut echoed, mut has_been_up) = (0, false);
    loop {
        if lport.rx.rx_burst(&mut burst) == 0 {
            let up = lport.control.link().is_up();
            if has_been_up && !up {
                return echoed;
            }
            has_been_up |= up;
            thread::yield_now();
            continue;
        }
        burst.iter_mut().for_each(swap_addresses);
        echoed += lport.tx.tx_burst(&mut burst);
        burst.clear();
    }
}
