//! The receiving end of a socket: the kernel, or the device, writes into our mbufs.
//!
//! 1. Empty mbufs are posted in the fill ring by the address of their buffers.
//! 2. What comes in the rx ring says which buffer it lies in, in any order, and where: the mbuf is taken back, given its
//!    length, and handed on. No byte is copied here.
//! 3. At the end of each burst empty mbufs are posted for those that went; when the pool is empty, fewer are with the kernel
//!    for a while.
//! 4. System calls: none, unless the kernel asks to be woken (zero copy, when it had run out of buffers), or we are to poll
//!    the device for it (`busy_poll`): then one for each burst that finds nothing.

use pmd_core::{BURST_MAX, Burst, Mbuf};

use crate::rings::{Consumer, Producer};
use crate::socket::{Socket, WithKernel};
use crate::sys::ring::Descriptor;
use crate::umem::offset_of;

/// What became of a burst.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RxTally {
    pub(crate) packets: usize,
    pub(crate) bytes: usize,
    /// Descriptors that name no buffer of ours, or bytes beyond it.
    pub(crate) errors: usize,
    /// Whether the pool had too few mbufs.
    pub(crate) nombuf: bool,
    pub(crate) wakeups: u64,
}

/// The receiving end. The rings are unmapped before the socket goes: they would keep it open.
#[derive(Debug)]
pub(crate) struct RxEnd {
    received: Consumer<Descriptor>,
    fill: Producer<u64>,
    /// How many mbufs the kernel is to have.
    buffers: usize,
    /// Mbufs on their way into the fill ring.
    fresh: Box<Burst>,
    posted: WithKernel,
}

impl RxEnd {
    /// An end that keeps `buffers` mbufs with the kernel, as far as the fill ring and the pool go.
    pub(crate) fn new(posted: WithKernel, received: Consumer<Descriptor>, fill: Producer<u64>, buffers: usize) -> Self {
        let (fresh, buffers) = (Box::new(Burst::new()), buffers.min(fill.size()));
        let mut end = Self { received, fill, buffers, fresh, posted };
        end.refill(&mut RxTally::default());
        end
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &Socket {
        self.posted.socket()
    }

    /// Whether no packet waits; buffers are posted first, so that one can come.
    pub(crate) fn is_idle(&mut self, tally: &mut RxTally) -> bool {
        self.refill(tally);
        self.wake(tally);
        self.received.is_empty()
    }

    /// Adds received packets to `burst`, up to its limit.
    #[inline]
    pub(crate) fn receive(&mut self, port: u16, burst: &mut Burst, tally: &mut RxTally) {
        let room = burst.room();
        let mut available = self.received.available(room);
        if available == 0 && room > 0 {
            self.wake(tally);
            available = self.received.available(room);
        }
        for _ in 0..available {
            let descriptor = self.received.pop();
            match self.take(descriptor, port) {
                Some(mbuf) => {
                    tally.packets += 1;
                    tally.bytes += descriptor.length as usize;
                    let pushed = burst.push(mbuf);
                    debug_assert!(pushed.is_ok(), "the burst has room");
                }
                None => tally.errors += 1,
            }
        }
        if available > 0 {
            self.received.release();
        }
        self.refill(tally);
    }

    /// The mbuf that a descriptor names, filled as it says.
    #[inline(always)]
    fn take(&mut self, descriptor: Descriptor, port: u16) -> Option<Mbuf> {
        let (mut mbuf, at) = self.posted.take(offset_of(descriptor.address))?;
        mbuf.set_received_at(at, descriptor.length as usize, port).ok()?;
        Some(mbuf)
    }

    /// Posts empty mbufs until the kernel has as many as it is to have, or the pool is empty.
    #[inline]
    fn refill(&mut self, tally: &mut RxTally) {
        let mut missing = self.buffers.saturating_sub(self.posted.len());
        if missing == 0 {
            return;
        }
        while missing > 0 {
            let wanted = missing.min(BURST_MAX);
            let got = self.posted.pool().alloc_bulk(&mut self.fresh, wanted);
            for mbuf in self.fresh.drain_front(got) {
                // An mbuf fresh from the pool is always taken.
                if let Ok(offset) = self.posted.post(mbuf) {
                    self.fill.push(offset as u64);
                }
            }
            missing -= got;
            if got < wanted {
                tally.nombuf = true;
                break;
            }
        }
        self.fill.publish();
    }

    /// Has the kernel receive, if it waits for that.
    #[inline]
    fn wake(&mut self, tally: &mut RxTally) {
        if self.socket().busy_poll() || self.fill.needs_wakeup() {
            tally.wakeups += 1;
            // It fails when there is nothing (EAGAIN), and when the interface is down or gone, which the watch tells.
            let _ = self.socket().xsk().receive();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ring::Ring;
    use crate::umem::{Shape, Umem};
    use pmd_core::{Pool, PoolConfig};

    /// An end, and the kernel's side of its rings.
    struct Bench {
        end: RxEnd,
        pool: Pool,
        rx: Producer<Descriptor>,
        fill: Consumer<u64>,
    }

    fn bench(size: usize, buffers: usize) -> Option<Bench> {
        let pool = Pool::new(&PoolConfig { size, chunked: true, cache: 0, ..PoolConfig::default() }).unwrap();
        let umem = Umem::new(pool.clone(), Shape::of(&pool, false).unwrap());
        let posted = WithKernel::new(Socket::unbound(&umem)?, &umem);
        let ((rx, kernel_rx), (fill, kernel_fill)) = (Ring::pair(16), Ring::pair(32));
        let end = RxEnd::new(posted, Consumer::new(rx), Producer::new(fill), buffers);
        Some(Bench { end, pool, rx: Producer::new(kernel_rx), fill: Consumer::new(kernel_fill) })
    }

    impl Bench {
        fn receive(&mut self, limit: usize) -> (Burst, RxTally) {
            let (mut burst, mut tally) = (Burst::with_limit(limit), RxTally::default());
            self.end.receive(5, &mut burst, &mut tally);
            (burst, tally)
        }

        /// What the kernel does with a packet: takes a buffer and tells where it put it.
        fn deliver(&mut self, address: u64, length: u32) {
            self.rx.push(Descriptor { address, length, options: 0 });
            self.rx.publish();
        }

        fn take_buffers(&mut self) -> Vec<u64> {
            let n = self.fill.available(1000);
            let addresses = (0..n).map(|_| self.fill.pop()).collect();
            self.fill.release();
            addresses
        }
    }

    #[test]
    fn packets_are_the_mbufs_that_the_kernel_filled_in_whatever_order() {
        let Some(mut bench) = bench(64, 16) else { return };
        let buffers = bench.take_buffers();
        assert_eq!((buffers.len(), bench.pool.available()), (16, 48));
        for address in [buffers[7], buffers[2]] {
            bench.deliver(address + 256, 60);
        }
        let (burst, tally) = bench.receive(32);
        assert_eq!(tally, RxTally { packets: 2, bytes: 120, ..RxTally::default() });
        let places: Vec<_> = burst.iter().map(|mbuf| bench.pool.segment().offset_of(mbuf.data()).unwrap()).collect();
        assert_eq!(places, [buffers[7] as usize + 256, buffers[2] as usize + 256]);
        assert_eq!((burst[0].port(), burst[0].headroom(), burst[0].len()), (5, 256, 60));
        assert_eq!(bench.take_buffers().len(), 2, "others take their places");
        drop((burst, bench.end));
        assert_eq!(bench.pool.available(), 64, "what the kernel still had comes home with the socket");
    }

    #[test]
    fn a_descriptor_of_nonsense_is_counted_and_gives_nothing() {
        let Some(mut bench) = bench(64, 16) else { return };
        let buffers = bench.take_buffers();
        bench.deliver(buffers[0] + 256, 60);
        bench.deliver(buffers[0] + 256, 60); // twice
        bench.deliver(1 << 40, 60); // outside
        bench.deliver(buffers[1] + 4000, 97); // beyond the end of its buffer
        bench.deliver(u64::MAX, u32::MAX);
        let (burst, tally) = bench.receive(32);
        assert_eq!((burst.len(), tally.packets, tally.errors), (1, 1, 4));
        drop((burst, bench.end));
        assert_eq!(bench.pool.available(), 64);
    }

    #[test]
    fn a_burst_takes_no_more_than_its_limit_and_the_rest_waits() {
        let Some(mut bench) = bench(64, 16) else { return };
        for address in bench.take_buffers() {
            bench.deliver(address + 256, 64);
        }
        assert_eq!(bench.receive(10).0.len(), 10);
        assert!(!bench.end.is_idle(&mut RxTally::default()));
        assert_eq!(bench.receive(10).0.len(), 6);
        assert!(bench.end.is_idle(&mut RxTally::default()));
    }

    #[test]
    fn an_empty_pool_is_counted_and_filled_up_from_later() {
        let Some(mut bench) = bench(20, 16) else { return };
        let held: Vec<_> = std::iter::from_fn(|| bench.pool.alloc()).collect();
        let buffers = bench.take_buffers();
        bench.deliver(buffers[0] + 256, 64);
        let (burst, tally) = bench.receive(32);
        assert_eq!((burst.len(), tally.nombuf, bench.take_buffers().len()), (1, true, 0));
        drop((burst, held));
        assert!(!bench.receive(32).1.nombuf);
        assert_eq!(bench.take_buffers().len(), 1);
    }
}
