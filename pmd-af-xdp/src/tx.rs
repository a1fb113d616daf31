//! The sending end of a socket: the kernel, or the device, reads out of our mbufs.
//!
//! 1. A packet in the umem's pool, in one segment, is posted where it lies. One from elsewhere, or a chain, is copied into
//!    an mbuf of the pool first.
//! 2. The kernel is told, by one system call per burst, if it asks for that: in copy mode always, in zero-copy mode when it
//!    is not at it already. In copy mode the kernel may take only some per call; then there is a call for every so many.
//! 3. What was sent comes back in the completion ring, in any order, and returns to the pool in bulk.
//!
//! There are never more mbufs posted than the rings have entries, so neither can overflow. The kernel does not give back a
//! descriptor that it refuses: so whatever it could refuse is sorted out before.

use nix::errno::Errno;
use pmd_core::pool::Posted;
use pmd_core::{BURST_MAX, Burst, Mbuf};

use crate::rings::{Consumer, Producer};
use crate::socket::WithKernel;
use crate::sys::ring::Descriptor;
use crate::umem::{Shape, offset_of};

/// Most packets that a kernel before 6.17 sends in one system call in copy mode.
const KERNEL_BATCH: usize = 32;

/// What became of a burst.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TxTally {
    pub(crate) packets: usize,
    pub(crate) bytes: usize,
    /// Packets that were dropped because they can never be sent: empty, or too long.
    pub(crate) errors: usize,
    pub(crate) copied: usize,
    pub(crate) nombuf: bool,
    pub(crate) full: bool,
    pub(crate) wakeups: u64,
    /// Wake-ups that the kernel refused.
    pub(crate) refused: u64,
}

/// The sending end. The rings are unmapped before the socket goes: they would keep it open.
#[derive(Debug)]
pub(crate) struct TxEnd {
    tx: Producer<Descriptor>,
    completion: Consumer<u64>,
    shape: Shape,
    force_wakeup: bool,
    /// The interface took nothing when it was last woken: until it does, nothing more is accepted.
    is_stuck: bool,
    /// Copies on their way into the ring.
    copies: Box<Burst>,
    /// Mbufs on their way home.
    done: Box<Burst>,
    posted: WithKernel,
}

/// What is to be done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Sent from where it lies.
    InPlace,
    /// Sent as a copy.
    Copied,
    /// Never sent.
    Dropped,
}

impl Fate {
    #[inline(always)]
    fn of(mbuf: &Mbuf, max_packet: usize, posted: &Posted, shape: Shape) -> Self {
        let len = mbuf.packet_len();
        if len == 0 || len > max_packet {
            Self::Dropped
        } else if posted.accepts(mbuf) && shape.can_send(mbuf) {
            Self::InPlace
        } else {
            Self::Copied
        }
    }
}

impl TxEnd {
    /// An end that has sent nothing yet.
    pub(crate) fn new(
        posted: WithKernel,
        shape: Shape,
        tx: Producer<Descriptor>,
        completion: Consumer<u64>,
        force_wakeup: bool,
    ) -> Self {
        let (copies, done) = (Box::new(Burst::new()), Box::new(Burst::new()));
        Self { tx, completion, shape, force_wakeup, is_stuck: false, copies, done, posted }
    }

    /// Sends the leading mbufs of `burst`, as many as fit, and takes them out of it. Packets of more than `max_packet` bytes
    /// are dropped.
    #[inline]
    pub(crate) fn send(&mut self, burst: &mut Burst, max_packet: usize, tally: &mut TxTally) {
        self.reclaim();
        if self.is_stuck {
            self.wake(tally);
            if self.is_stuck {
                return;
            }
        }
        let taken = self.plan(burst, max_packet, tally);
        self.post(burst, taken, max_packet, tally);
        if tally.packets > 0 {
            self.tx.publish();
            self.wake(tally);
        }
    }

    /// Takes back what was sent, and pushes out what the kernel has not taken.
    pub(crate) fn flush(&mut self, tally: &mut TxTally) {
        self.reclaim();
        if self.tx.pending() > 0 {
            self.wake(tally);
        }
    }

    /// Adds up to `n` empty mbufs of the umem's pool to `burst`, and says how many: what they hold is sent from there.
    pub(crate) fn alloc_burst(&self, burst: &mut Burst, n: usize) -> usize {
        self.posted.pool().alloc_bulk(burst, n)
    }

    /// How many leading mbufs are taken: as long as there are descriptors, and mbufs for copies, which are made here.
    #[inline(always)]
    fn plan(&mut self, burst: &[Mbuf], max_packet: usize, tally: &mut TxTally) -> usize {
        let mut free = self.tx.size().saturating_sub(self.posted.len());
        for (i, mbuf) in burst.iter().enumerate() {
            let fate = Fate::of(mbuf, max_packet, &self.posted, self.shape);
            if fate == Fate::Dropped {
                continue;
            }
            if free == 0 {
                tally.full = true;
                return i;
            }
            if fate == Fate::Copied && !self.copy(mbuf) {
                tally.nombuf = true;
                return i;
            }
            free -= 1;
        }
        burst.len()
    }

    /// Copies a packet into one mbuf of the pool; `false` when there is none.
    #[cold]
    fn copy(&mut self, packet: &Mbuf) -> bool {
        let Some(mut copy) = self.posted.pool().alloc() else { return false };
        // The longest packet fits: the driver's `max_packet` sees to that.
        let Some(room) = copy.append(packet.packet_len()) else { return false };
        packet.copy_to(room);
        self.posted.pool().tell_lender(packet, 1);
        self.copies.push(copy).is_ok()
    }

    /// Posts the first `taken` mbufs, or their copies, as [`Self::plan`] has decided.
    #[inline(always)]
    fn post(&mut self, burst: &mut Burst, taken: usize, max_packet: usize, tally: &mut TxTally) {
        let Self { tx, posted, shape, copies, .. } = self;
        tally.copied += copies.len();
        let mut copied = copies.drain_front(copies.len());
        for mbuf in burst.drain_front(taken) {
            let packet = match Fate::of(&mbuf, max_packet, posted, *shape) {
                Fate::InPlace => mbuf,
                Fate::Copied => copied.next().unwrap_or(mbuf),
                Fate::Dropped => {
                    tally.errors += 1;
                    continue;
                }
            };
            let (headroom, length) = (packet.headroom(), packet.len());
            if let Ok(buffer) = posted.post(packet) {
                tx.push(Descriptor { address: (buffer + headroom) as u64, length: length as u32, options: 0 });
                tally.packets += 1;
                tally.bytes += length;
            }
        }
    }

    /// Returns the mbufs of sent packets to their pool.
    fn reclaim(&mut self) {
        loop {
            let n = self.completion.available(BURST_MAX);
            if n == 0 {
                return;
            }
            for _ in 0..n {
                // An address that was never posted frees nothing.
                if let Some((mbuf, _)) = self.posted.take(offset_of(self.completion.pop())) {
                    let pushed = self.done.push(mbuf);
                    debug_assert!(pushed.is_ok(), "there is room");
                }
            }
            self.completion.release();
            self.done.clear();
        }
    }

    /// Has the kernel send, if it waits for that.
    #[inline]
    fn wake(&mut self, tally: &mut TxTally) {
        if !self.force_wakeup && !self.tx.needs_wakeup() {
            return;
        }
        // As many calls as a ring full of packets can take, for a kernel that sends a few per call.
        for _ in 0..=self.tx.size() / KERNEL_BATCH {
            let before = self.tx.pending();
            tally.wakeups += 1;
            match self.posted.socket().xsk().send() {
                Ok(()) => {
                    self.is_stuck = false;
                    return;
                }
                // More than it sends at a time; or no memory for more now, and `flush` comes back to it.
                Err(Errno::EAGAIN | Errno::EINTR) if self.tx.pending() < before => self.reclaim(),
                Err(Errno::EAGAIN | Errno::EINTR | Errno::EBUSY | Errno::ENOBUFS) => return,
                Err(_) => {
                    tally.refused += 1;
                    self.is_stuck = true;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Socket;
    use crate::sys::ring::Ring;
    use crate::umem::Umem;
    use pmd_core::conformance::Loan;
    use pmd_core::{Pool, PoolConfig};

    /// An end, and the kernel's side of its rings. The kernel asks for no wake-ups.
    struct Bench {
        end: TxEnd,
        pool: Pool,
        tx: Consumer<Descriptor>,
        completion: Producer<u64>,
    }

    const MAX: usize = 1518;

    fn pool(size: usize, data_room: usize) -> Pool {
        Pool::new(&PoolConfig { size, data_room, chunked: true, cache: 0, ..PoolConfig::default() }).unwrap()
    }

    fn bench(size: usize) -> Option<Bench> {
        let pool = pool(size, 2048);
        let umem = Umem::new(pool.clone(), Shape::of(&pool, false).unwrap());
        let posted = WithKernel::new(Socket::unbound(&umem)?, &umem);
        let ((tx, kernel_tx), (completion, kernel_completion)) = (Ring::pair(16), Ring::pair(16));
        let end = TxEnd::new(posted, umem.shape(), Producer::new(tx), Consumer::new(completion), false);
        Some(Bench { end, pool, tx: Consumer::new(kernel_tx), completion: Producer::new(kernel_completion) })
    }

    impl Bench {
        fn send(&mut self, burst: &mut Burst) -> TxTally {
            let mut tally = TxTally::default();
            self.end.send(burst, MAX, &mut tally);
            tally
        }

        fn take(&mut self) -> Vec<Descriptor> {
            let n = self.tx.available(1000);
            let descriptors = (0..n).map(|_| self.tx.pop()).collect();
            self.tx.release();
            descriptors
        }

        fn complete(&mut self, addresses: impl IntoIterator<Item = u64>) {
            addresses.into_iter().for_each(|address| self.completion.push(address));
            self.completion.publish();
        }
    }

    fn burst_of(pool: &Pool, lengths: &[usize]) -> Burst {
        let mut burst = Burst::new();
        for length in lengths {
            burst.push(pool.alloc_packet(&vec![*length as u8; *length]).unwrap()).unwrap();
        }
        burst
    }

    #[test]
    fn packets_of_the_pool_are_posted_where_they_lie_and_come_back_in_any_order() {
        let Some(mut bench) = bench(32) else { return };
        let mut burst = burst_of(&bench.pool, &[60, 61, 62]);
        let places: Vec<_> =
            burst.iter().map(|mbuf| bench.pool.segment().offset_of(mbuf.data()).unwrap() as u64).collect();
        let tally = bench.send(&mut burst);
        assert_eq!(tally, TxTally { packets: 3, bytes: 183, ..TxTally::default() });
        let sent = bench.take();
        assert_eq!(
            sent.iter().map(|d| (d.address, d.length)).collect::<Vec<_>>(),
            [(places[0], 60), (places[1], 61), (places[2], 62)]
        );
        assert_eq!(bench.pool.available(), 29);
        bench.complete([places[2], places[0], places[0], 1 << 50]);
        bench.end.flush(&mut TxTally::default());
        assert_eq!(bench.pool.available(), 31, "nothing is freed twice, and no nonsense");
        drop(bench.end);
        assert_eq!(bench.pool.available(), 32);
    }

    #[test]
    fn strangers_and_chains_are_copied_and_go_home_at_once() {
        let Some(mut bench) = bench(32) else { return };
        let other = pool(8, 64);
        let mut burst = burst_of(&other, &[60, 100]);
        let mut chain = bench.pool.alloc_packet(&[1; 20]).unwrap();
        chain.chain(bench.pool.alloc_packet(&[2; 20]).unwrap()).unwrap();
        burst.push(chain).unwrap();
        let tally = bench.send(&mut burst);
        assert_eq!((tally.packets, tally.bytes, tally.copied, burst.len()), (3, 200, 3, 0));
        assert_eq!((other.available(), bench.pool.available()), (8, 29));
        assert_eq!(bench.take().iter().map(|d| d.length).collect::<Vec<_>>(), [60, 100, 40]);
    }

    #[test]
    fn who_lent_packets_is_told_that_they_were_copied_into_the_pool_of_the_umem() {
        let Some(mut bench) = bench(32) else { return };
        let mut loan = Loan::of(vec![vec![7; 60]; 3]);
        let mut burst = Burst::new();
        (0..3).for_each(|number| burst.push(loan.lend(number)).unwrap());
        assert_eq!((bench.send(&mut burst).copied, burst.len(), loan.is_back()), (3, 0, true));
        assert_eq!(loan.copied_into(&bench.pool), 3);
    }

    #[test]
    fn what_can_never_be_sent_is_dropped_and_in_nobodys_way() {
        let Some(mut bench) = bench(32) else { return };
        let mut burst = burst_of(&bench.pool, &[0, MAX + 1, 60, MAX]);
        let tally = bench.send(&mut burst);
        assert_eq!((tally.packets, tally.errors, burst.len()), (2, 2, 0));
        assert_eq!(bench.take().len(), 2);
    }

    #[test]
    fn a_full_ring_takes_no_more_until_something_has_been_sent_and_come_back() {
        let Some(mut bench) = bench(64) else { return };
        let mut burst = burst_of(&bench.pool, &[60; 20]);
        let tally = bench.send(&mut burst);
        assert_eq!((tally.packets, tally.full, burst.len()), (16, true, 4));
        let sent = bench.take();
        assert_eq!(bench.send(&mut burst).packets, 0, "taken is not yet sent");
        bench.complete(sent[..3].iter().map(|descriptor| descriptor.address));
        assert_eq!((bench.send(&mut burst).packets, burst.len()), (3, 1));
    }

    #[test]
    fn without_an_mbuf_for_a_copy_the_packet_waits() {
        let Some(mut bench) = bench(4) else { return };
        let other = pool(8, 2048);
        let mut burst = burst_of(&other, &[60; 6]);
        let tally = bench.send(&mut burst);
        assert_eq!((tally.packets, tally.nombuf, burst.len()), (4, true, 2));
        let sent = bench.take();
        bench.complete(sent.iter().map(|descriptor| descriptor.address));
        assert_eq!((bench.send(&mut burst).packets, burst.len()), (2, 0));
    }
}
