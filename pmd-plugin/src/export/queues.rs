//! Queues: bursts passed on.
//!
//! On receive, mbufs of the program are passed as they are. A driver may also give mbufs of its own: of a pool that it
//! made, or lent out of its memory. Those are copied into mbufs of the queue's pool, the program's.
//!
//! On send, the driver gets the program's mbufs. What it leaves in the burst goes to the end of the program's array.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;

use pmd_core::stats::Counter;
use pmd_core::{BURST_MAX, Burst, LportId, Mbuf, Pool, RxQueue, TxQueue};

use super::guard::{Life, caught};
use crate::abi;

/// A receive queue; what C has as `rx`.
pub(super) struct Rx {
    pub(super) queue: Box<dyn RxQueue>,
    pub(super) life: Arc<Life>,
    pub(super) pool: Option<Pool>,
    pub(super) lost: Arc<Lost>,
    pub(super) lport: u16,
}

/// Packets that the driver received into memory of its own, and that no mbuf of the program could be had for.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) packets: Counter,
    pub(super) bytes: Counter,
}

/// A send queue; what C has as `tx`.
pub(super) struct Tx {
    pub(super) queue: Box<dyn TxQueue>,
    pub(super) life: Arc<Life>,
}

/// A queue as C has it.
pub(super) fn boxed<T>(queue: T) -> *mut c_void {
    Box::into_raw(Box::new(queue)).cast()
}

/// # Safety
/// Called by the program: `rx` is the queue's, no other call of it runs, `to` has space for `n`.
pub(super) unsafe extern "C" fn rx_burst(rx: *mut c_void, to: *mut NonNull<abi::Mbuf>, n: u16) -> u16 {
    // SAFETY: passed on from the caller.
    let rx = unsafe { &mut *rx.cast::<Rx>() };
    let n = usize::from(n).min(BURST_MAX);
    if n == 0 {
        return 0;
    }
    let mut burst = Burst::with_limit(n);
    let Rx { queue, life, .. } = rx;
    life.call(0, || queue.rx_burst(&mut burst));
    let received = burst.len().min(n);
    let mut given = 0;
    for mbuf in burst.drain_front(received) {
        if let Some(mbuf) = rx.of_the_program(mbuf) {
            // SAFETY: at most n are given; the caller has space for them.
            unsafe { to.add(given).write(mbuf.into_raw()) };
            given += 1;
        }
    }
    given as u16
}

impl Rx {
    #[inline(always)]
    fn of_the_program(&mut self, mbuf: Mbuf) -> Option<Mbuf> {
        if mbuf.is_foreign() { Some(mbuf) } else { self.copy(&mbuf) }
    }

    #[cold]
    fn copy(&mut self, mbuf: &Mbuf) -> Option<Mbuf> {
        let Some(pool) = &self.pool else {
            let why = "it received into memory of its own, but the lport has no `umem` to copy packets to; name one";
            self.life.end(why.to_owned());
            return None;
        };
        let copy = copy_packet(mbuf, pool, self.lport);
        if copy.is_none() {
            self.lost.packets.add(1);
            self.lost.bytes.add(mbuf.packet_len() as u64);
        }
        copy
    }
}

/// A copy of a packet in mbufs of `pool`; `None` when it has too few.
fn copy_packet(packet: &Mbuf, pool: &Pool, lport: u16) -> Option<Mbuf> {
    let mut copy = pool.alloc()?;
    let mut room = copy.tailroom();
    for mut data in packet.segments() {
        while !data.is_empty() {
            if room == 0 {
                let next = pool.alloc()?;
                room = next.tailroom();
                copy.chain(next).ok()?;
            }
            let n = room.min(data.len());
            copy.append(n)?.copy_from_slice(&data[..n]);
            (data, room) = (&data[n..], room - n);
        }
    }
    copy.set_port(lport);
    Some(copy)
}

/// # Safety
/// Called by the program: `tx` is the queue's, no other call of it runs, `mbufs` holds `n` mbufs, and those that are taken
/// are ours.
pub(super) unsafe extern "C" fn tx_burst(
    tx: *mut c_void,
    mbufs: *mut NonNull<abi::Mbuf>,
    n: u16,
    dropped: *mut u16,
) -> u16 {
    // SAFETY: passed on from the caller.
    let Tx { queue, life } = unsafe { &mut *tx.cast::<Tx>() };
    let n = usize::from(n).min(BURST_MAX);
    if life.death().is_some() {
        return 0;
    }
    let mut burst = Burst::new();
    // SAFETY: the burst has space for `n`. Until we return, the mbufs and their array are nobody else's.
    let given = unsafe {
        mbufs.copy_to_nonoverlapping(burst.as_raw().as_ptr(), n);
        burst.grow(n);
        std::slice::from_raw_parts_mut(mbufs, n)
    };
    let sent = life.call(0, || queue.tx_burst(&mut burst));
    let left = burst.len();
    // SAFETY: a burst's first `left` pointers are written.
    let rest = unsafe { std::slice::from_raw_parts(burst.as_raw().as_ptr(), left) };
    let as_it_was = left == 0 || is_in_order_of(rest, given);
    if !as_it_was {
        life.end("it left other packets in a burst than it was given to send".to_owned());
    }
    if life.death().is_some() {
        // Which of them are still in the burst is not known: so all are taken, and those that are there, freed.
        return n as u16;
    }
    given[n - left..].copy_from_slice(rest);
    burst.forget_front(left);
    // SAFETY: passed on from the caller.
    unsafe { dropped.write((n - left).saturating_sub(sent) as u16) };
    (n - left) as u16
}

/// Whether `rest` is what is left of `all` when some are taken out.
fn is_in_order_of<T: PartialEq>(rest: &[T], all: &[T]) -> bool {
    let mut all = all.iter();
    rest.iter().all(|one| all.any(|other| other == one))
}

/// # Safety
/// Called by the program, once, with what `open` gave.
pub(super) unsafe extern "C" fn rx_close(rx: *mut c_void) {
    // SAFETY: passed on from the caller: it is a box that nobody else has any more.
    close(unsafe { Box::from_raw(rx.cast::<Rx>()) });
}

/// # Safety
/// Called by the program, once, with what `open` gave.
pub(super) unsafe extern "C" fn tx_close(tx: *mut c_void) {
    // SAFETY: passed on from the caller: it is a box that nobody else has any more.
    close(unsafe { Box::from_raw(tx.cast::<Tx>()) });
}

fn close<T>(queue: Box<T>) {
    if let Err(panic) = caught(|| drop(queue)) {
        tracing::error!("the driver panicked when a queue was closed: {panic}");
    }
}

/// # Safety
/// As [`tx_burst`].
pub(super) unsafe extern "C" fn tx_flush(tx: *mut c_void) {
    // SAFETY: passed on from the caller.
    let Tx { queue, life } = unsafe { &mut *tx.cast::<Tx>() };
    life.call((), || queue.flush());
}

/// # Safety
/// As [`rx_burst`].
pub(super) unsafe extern "C" fn rx_renumber(rx: *mut c_void, lport: u16) {
    // SAFETY: passed on from the caller.
    let rx = unsafe { &mut *rx.cast::<Rx>() };
    rx.lport = lport;
    let Rx { queue, life, .. } = rx;
    life.call((), || queue.renumber(LportId(lport)));
}

/// # Safety
/// As [`rx_burst`].
pub(super) unsafe extern "C" fn rx_arm(rx: *mut c_void) -> c_int {
    // SAFETY: passed on from the caller.
    let Rx { queue, life, .. } = unsafe { &mut *rx.cast::<Rx>() };
    c_int::from(life.call(true, || queue.arm()))
}

/// # Safety
/// As [`rx_burst`].
pub(super) unsafe extern "C" fn rx_disarm(rx: *mut c_void) {
    // SAFETY: passed on from the caller.
    let Rx { queue, life, .. } = unsafe { &mut *rx.cast::<Rx>() };
    life.call((), || queue.disarm());
}

/// # Safety
/// As [`rx_burst`].
pub(super) unsafe extern "C" fn rx_wake_fd(rx: *mut c_void) -> c_int {
    // SAFETY: passed on from the caller.
    let Rx { queue, life, .. } = unsafe { &*rx.cast::<Rx>() };
    life.call(-1, || queue.wake_fd().map_or(-1, |fd| fd.as_raw_fd()))
}
