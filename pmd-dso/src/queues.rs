//! Queues of a shared object: one call per burst.
//!
//! Unchecked, a driver reads and writes the burst's own array of pointers. Checked, it gets a copy, with some entries behind
//! it that it must not touch, and what it says is compared with what the tracker knows.
//!
//! Numbers are cut off at what was asked for, always, and who returns more loses its device: the array was written beyond
//! its end.
//!
//! This file owns `unsafe`: it calls the driver's functions, with arrays of mbufs that change owners in them.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use pmd_core::{BURST_MAX, Burst, LportId, RxQueue, TxQueue};
use pmd_plugin::abi;

use crate::device::Device;
use crate::tracker::{Nonsense, Tracker};

/// Entries behind a checked array that nobody may write.
const FENCE: usize = 256;

/// An array of pointers for a checked driver.
struct Fenced(Box<[Option<NonNull<abi::Mbuf>>; BURST_MAX + FENCE]>);

impl Fenced {
    fn new() -> Self {
        Self(Box::new([None; BURST_MAX + FENCE]))
    }

    /// The array for a call: `heads` in front, nothing behind.
    fn with(&mut self, heads: &[NonNull<abi::Mbuf>]) -> *mut NonNull<abi::Mbuf> {
        self.0.fill(None);
        for (entry, head) in self.0.iter_mut().zip(heads) {
            *entry = Some(*head);
        }
        self.0.as_mut_ptr().cast()
    }

    fn is_written_from(&self, n: usize) -> bool {
        self.0[n..].iter().any(Option::is_some)
    }
}

/// A receive queue.
pub(crate) struct Rx {
    device: Arc<Device>,
    queue: *mut c_void,
    /// There is one when the driver is checked.
    array: Option<Fenced>,
}

// SAFETY: the header lets queues move between threads.
unsafe impl Send for Rx {}

impl Rx {
    pub(crate) fn new(device: Arc<Device>, queue: *mut c_void) -> Self {
        let array = device.library.tracker().map(|_| Fenced::new());
        Self { device, queue, array }
    }

    fn trusting(&mut self, burst: &mut Burst, room: usize) -> usize {
        let len = burst.len();
        // SAFETY: the driver's function and queue; a burst has space for `room` pointers behind its `len`, and what the
        // driver writes there are mbufs that it gives up: in this it is trusted.
        unsafe {
            let to = burst.as_raw().add(len).as_ptr();
            let said = usize::from((self.device.functions.rx_burst)(self.queue, to, room as u16));
            burst.grow(said.min(room));
            said
        }
    }

    fn checking(&mut self, burst: &mut Burst, room: usize, tracker: &Tracker) -> usize {
        let array = self.array.as_mut().expect("made with the tracker");
        // SAFETY: the driver's function and queue; the array has more space than `room`.
        let said = unsafe { (self.device.functions.rx_burst)(self.queue, array.with(&[]), room as u16) };
        let said = usize::from(said);
        let received = &array.0[..said.min(room)];
        complain(&self.device, "rx_burst returned", &tracker.take_back_all(received, burst));
        if said <= room && array.is_written_from(room) {
            self.device.blame(&format!("rx_burst wrote more than the {room} entries that it was asked for"));
        }
        said
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        if let Some(close) = self.device.functions.more.rx_close {
            // SAFETY: the driver's function and queue, for the last time.
            unsafe { close(self.queue) };
        }
    }
}

impl RxQueue for Rx {
    fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let (before, room) = (burst.len(), burst.room());
        if room == 0 || self.device.is_down() {
            return 0;
        }
        let said = match self.device.library.tracker() {
            None => self.trusting(burst, room),
            Some(tracker) => self.checking(burst, room, tracker),
        };
        if said > room {
            self.device.blame(&format!("rx_burst returned {said} packets, but was asked for {room}"));
        }
        burst.len() - before
    }

    fn renumber(&mut self, lport: LportId) {
        // SAFETY: the driver's function and queue.
        unsafe { (self.device.functions.rx_renumber)(self.queue, lport.0) };
    }

    fn arm(&mut self) -> bool {
        // SAFETY: the driver's function and queue.
        self.device.is_down() || self.device.functions.more.rx_arm.is_none_or(|arm| unsafe { arm(self.queue) } != 0)
    }

    fn disarm(&mut self) {
        if let Some(disarm) = self.device.functions.more.rx_disarm {
            // SAFETY: the driver's function and queue.
            unsafe { disarm(self.queue) };
        }
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the driver's function and queue.
        let fd = unsafe { self.device.functions.more.rx_wake_fd?(self.queue) };
        // SAFETY: the header has the driver keep it open until the queue is armed or closed, which needs it mutably.
        (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
    }
}

/// A send queue.
pub(crate) struct Tx {
    device: Arc<Device>,
    queue: *mut c_void,
    /// There is one when the driver is checked.
    array: Option<Fenced>,
}

// SAFETY: the header lets queues move between threads.
unsafe impl Send for Tx {}

impl Tx {
    pub(crate) fn new(device: Arc<Device>, queue: *mut c_void) -> Self {
        let array = device.library.tracker().map(|_| Fenced::new());
        Self { device, queue, array }
    }

    /// Returns what the driver says that it took, and dropped.
    fn trusting(&mut self, burst: &mut Burst, n: usize) -> (usize, usize) {
        let mut dropped = 0;
        // SAFETY: the driver's function and queue; a burst has `n` pointers to mbufs. Those at the end are left to us, in
        // which the driver is trusted; the others are its own.
        let said = unsafe {
            (self.device.functions.tx_burst)(self.queue, burst.as_raw().as_ptr(), n as u16, &raw mut dropped)
        };
        let said = usize::from(said);
        burst.forget_front(said.min(n));
        (said, usize::from(dropped))
    }

    fn checking(&mut self, burst: &mut Burst, n: usize, tracker: &Tracker) -> (usize, usize) {
        let array = self.array.as_mut().expect("made with the tracker");
        // SAFETY: a burst's first `n` pointers are mbufs.
        let offered = unsafe { std::slice::from_raw_parts(burst.as_raw().as_ptr(), n) }.to_vec();
        let offer = tracker.offer(&offered);
        burst.forget_front(n);
        let mut dropped = 0;
        // SAFETY: the driver's function and queue; the array has more space than `n`.
        let said =
            unsafe { (self.device.functions.tx_burst)(self.queue, array.with(&offered), n as u16, &raw mut dropped) };
        let said = usize::from(said);
        let nonsense = tracker.settle(offer, &array.0[said.min(n)..n], burst);
        complain(&self.device, "tx_burst left", &nonsense);
        (said, usize::from(dropped))
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(close) = self.device.functions.more.tx_close {
            // SAFETY: the driver's function and queue, for the last time.
            unsafe { close(self.queue) };
        }
    }
}

impl TxQueue for Tx {
    fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let n = burst.len();
        if n == 0 || self.device.is_down() {
            return 0;
        }
        let (said, dropped) = match self.device.library.tracker() {
            None => self.trusting(burst, n),
            Some(tracker) => self.checking(burst, n, tracker),
        };
        if said > n {
            self.device.blame(&format!("tx_burst says that it took {said} packets, but was given {n}"));
        }
        said.min(n).saturating_sub(dropped)
    }

    fn flush(&mut self) {
        if let Some(flush) = self.device.functions.more.tx_flush {
            // SAFETY: the driver's function and queue.
            unsafe { flush(self.queue) };
        }
    }
}

/// Blames the device for the first nonsense.
fn complain(device: &Device, what: &str, nonsense: &[Nonsense]) {
    if let Some(nonsense) = nonsense.first() {
        device.blame(&format!("{what} {nonsense}"));
    }
}
