//! Without copies: the buffers that the peer filled go straight back to it, with a VLAN tag put in front.
//!
//! ```text
//! cargo run --release --example swap -- /tmp/memif.sock
//! ```
//!
//! 1. Connects as a zero-copy client: the pool's memory is shared, and the server writes packets into our mbufs.
//! 2. What is received is an mbuf of the pool, with headroom before the packet. The addresses move four bytes to the front,
//!    swapped, and the tag fills the gap; the rest of the packet stays where it is.
//! 3. What is sent is posted where it lies. The mbuf leaves the burst, and returns to the pool when the server has read it:
//!    a later send notices, or `flush`.
//!
//! Ends when the server has been there and gone. Start the server first:
//!
//! ```text
//! dpdk-testpmd -l 0-1 --no-huge -m 256 --no-pci \
//!     --vdev=net_memif,role=server,socket=/tmp/memif.sock,socket-abstract=no -- --auto-start --tx-first --stats-period 1
//! ```

mod device;

use pmd_core::{Burst, Mbuf};

use device::{Failure, open, swap_addresses};

/// 802.1Q, VLAN 7.
const TAG: [u8; 4] = [0x81, 0x00, 0x00, 0x07];

/// Destination and source address.
const ADDRESSES: usize = 12;

fn main() -> Result<(), Failure> {
    let socket = std::env::args().nth(1).ok_or("usage: swap SOCKET")?;
    let (mut lports, pool) = open(&socket, &[("role", "client"), ("zero-copy", "yes")], 1)?;
    let mut lport = lports.pop().ok_or("one queue makes one lport")?;

    let mut burst = Burst::with_limit(32);
    let (mut swapped, mut has_been_up) = (0, false);
    loop {
        if lport.rx.rx_burst(&mut burst) == 0 {
            // Nothing to send, so nothing would bring back what the server has read.
            lport.tx.flush();
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
            push_tag(mbuf);
        }
        swapped += lport.tx.tx_burst(&mut burst);
        // What the server had no room for.
        burst.clear();
    }

    println!("{swapped} packets sent back in the buffers they came in");
    drop((lport, burst));
    println!("{} of {} mbufs are home", pool.available(), pool.size());
    Ok(())
}

/// Puts the tag behind the addresses, which move into the headroom. A frame without addresses, or an mbuf without
/// headroom, stays as it is.
fn push_tag(mbuf: &mut Mbuf) {
    if mbuf.len() < ADDRESSES || mbuf.prepend(TAG.len()).is_none() {
        return;
    }
    let data = mbuf.data_mut();
    data.copy_within(TAG.len()..TAG.len() + ADDRESSES, 0);
    data[ADDRESSES..ADDRESSES + TAG.len()].copy_from_slice(&TAG);
}
