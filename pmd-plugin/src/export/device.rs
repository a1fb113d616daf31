//! Devices: opened, asked, closed.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use pmd_core::{
    DeviceRequest, Link, Lport, LportControl, LportId, LportInfo, LportStats, OpenError, OptionError, QueueRequest,
};

use super::exported;
use super::guard::{Life, caught};
use super::pool::Pools;
use super::queues::{Lost, Rx, Tx};
use super::text::{c_string, read, write};
use super::{options, queues};
use crate::abi;

/// An open device; what C has as `device`.
struct Device {
    life: Arc<Life>,
    lports: Vec<Control>,
}

/// What the device knows of one of its lports.
struct Control {
    control: Arc<dyn LportControl>,
    lost: Arc<Lost>,
    /// The names of xstats that were ever asked for: they stay valid while the device lives.
    names: Mutex<Vec<(&'static str, CString)>>,
}

/// # Safety
/// Called by the program, with a request and space for an error.
pub(super) unsafe extern "C" fn open(request: *const abi::Request, error: *mut c_char) -> *mut c_void {
    // SAFETY: the program keeps the header's promises.
    let opened = caught(|| unsafe { try_open(&*request) });
    let opened = opened.unwrap_or_else(|panic| Err(OpenError(format!("the driver panicked: {panic}"))));
    match opened {
        Ok(device) => Box::into_raw(device).cast(),
        Err(why) => {
            // SAFETY: as above.
            unsafe { write(error, &why.0) };
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// As [`open`].
unsafe fn try_open(request: &abi::Request) -> Result<Box<Device>, OpenError> {
    let in_words = |errors: Vec<OptionError>| {
        OpenError(errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("; "))
    };
    // SAFETY: passed on from the caller, who owns the queues until we return.
    let (options, queues) = unsafe {
        let queues = std::slice::from_raw_parts_mut(request.queues, request.queue_count as usize);
        (options::options(&request.options).map_err(in_words)?, queues)
    };
    let mut pools = Pools::default();
    // SAFETY: as above.
    let wanted =
        queues.iter().map(|queue| unsafe { queue_request(queue, &mut pools) }).collect::<Result<Vec<_>, _>>()?;
    let receive_into: Vec<_> = wanted.iter().map(|queue| queue.pool.clone()).collect();
    // SAFETY: a string of the program.
    let name = unsafe { read(request.name) };
    let lports = exported().driver.open(DeviceRequest { name, options, queues: wanted })?;
    if lports.len() != queues.len() {
        let (given, asked) = (lports.len(), queues.len());
        return Err(OpenError(format!("the driver gave {given} lports for {asked} queues: a mistake of its author")));
    }
    let life = Arc::new(Life::default());
    let mut device = Box::new(Device { life: Arc::clone(&life), lports: Vec::new() });
    for ((queue, lport), pool) in queues.iter_mut().zip(lports).zip(receive_into) {
        let Lport { rx, tx, control, .. } = lport;
        let lost = Arc::<Lost>::default();
        let rx = Rx { queue: rx, life: Arc::clone(&life), pool, lost: Arc::clone(&lost), lport: queue.lport };
        queue.rx = queues::boxed(rx);
        queue.tx = queues::boxed(Tx { queue: tx, life: Arc::clone(&life) });
        device.lports.push(Control { control, lost, names: Mutex::default() });
    }
    Ok(device)
}

/// # Safety
/// The queue is one of a request.
unsafe fn queue_request(queue: &abi::Queue, pools: &mut Pools) -> Result<QueueRequest, OpenError> {
    // SAFETY: passed on from the caller.
    let (name, pool) = unsafe { (read(queue.name), pools.of(queue.pool)?) };
    let (lport, qid) = (LportId(queue.lport), queue.qid);
    Ok(QueueRequest { lport, name, qid, pool, rx_desc: queue.rx_desc, tx_desc: queue.tx_desc, xdp: Default::default() })
}

/// # Safety
/// Called by the program, once, with what [`open`] gave.
pub(super) unsafe extern "C" fn close(device: *mut c_void) {
    // SAFETY: passed on from the caller: it is a box that nobody else has any more.
    let device = unsafe { Box::from_raw(device.cast::<Device>()) };
    if let Err(panic) = caught(|| drop(device)) {
        tracing::error!("the driver panicked when its device was closed: {panic}");
    }
}

/// Asks lport number `queue` of a device.
///
/// # Safety
/// `device` is what [`open`] gave, and not closed; the program names queues that the device has.
unsafe fn ask<'a, T>(device: *mut c_void, queue: u32, otherwise: T, ask: impl FnOnce(&'a Control) -> T) -> T {
    // SAFETY: passed on from the caller; devices are shared and never changed.
    let device: &'a Device = unsafe { &*device.cast() };
    match device.lports.get(queue as usize) {
        Some(control) => device.life.call(otherwise, || ask(control)),
        None => otherwise,
    }
}

/// # Safety
/// As [`ask`], with space for a reason.
pub(super) unsafe extern "C" fn link(device: *mut c_void, queue: u32, why: *mut c_char) -> c_int {
    // SAFETY: passed on from the caller.
    let (link, death) = unsafe {
        let link = ask(device, queue, Link::Down(String::new()), |lport| lport.control.link());
        (link, (*device.cast::<Device>()).life.death())
    };
    match link {
        Link::Up => 1,
        Link::Down(reason) => {
            // SAFETY: passed on from the caller.
            unsafe { write(why, death.unwrap_or(&reason)) };
            0
        }
    }
}

/// # Safety
/// As [`ask`], with space for an answer.
pub(super) unsafe extern "C" fn info(device: *mut c_void, queue: u32, to: *mut abi::Info) {
    let nothing = LportInfo { driver: String::new(), mac: None, max_packet: 0, speed_mbps: 0 };
    // SAFETY: passed on from the caller.
    unsafe {
        let LportInfo { mac, max_packet, speed_mbps, .. } = ask(device, queue, nothing, |lport| lport.control.info());
        let has_mac = u8::from(mac.is_some());
        to.write(abi::Info { max_packet, speed_mbps, mac: mac.unwrap_or_default(), has_mac, reserved: 0 });
    }
}

/// # Safety
/// As [`ask`], with space for an answer.
pub(super) unsafe extern "C" fn stats(device: *mut c_void, queue: u32, to: *mut abi::Stats) {
    // SAFETY: passed on from the caller.
    unsafe {
        if let Some(stats) = ask(device, queue, None, |lport| Some(lport.stats())) {
            to.write(stats);
        }
    }
}

impl Control {
    /// The driver's counters; but what was lost between it and the program was not received.
    fn stats(&self) -> abi::Stats {
        let LportStats { ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf, .. } =
            self.control.stats();
        let (packets, bytes) = (self.lost.packets.get(), self.lost.bytes.get());
        abi::Stats {
            ipackets: ipackets.saturating_sub(packets),
            ibytes: ibytes.saturating_sub(bytes),
            imissed: imissed + packets,
            rx_nombuf: rx_nombuf + packets,
            opackets,
            obytes,
            ierrors,
            oerrors,
        }
    }
}

/// # Safety
/// As [`ask`], with space for `n` answers.
pub(super) unsafe extern "C" fn xstats(device: *mut c_void, queue: u32, to: *mut abi::Xstat, n: u32) -> u32 {
    let write = |lport: &Control| {
        let stats = lport.control.stats();
        let mut names = lport.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = 0;
        for (name, value) in stats.xstats.into_iter().take(n as usize) {
            let position = names.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                names.push((name, c_string(name)));
                names.len() - 1
            });
            // SAFETY: fewer than `n` have been written. The text of a CString stays where it is when the vector moves.
            unsafe { to.add(written).write(abi::Xstat { name: names[position].1.as_ptr(), value }) };
            written += 1;
        }
        written as u32
    };
    // SAFETY: passed on from the caller.
    unsafe { ask(device, queue, 0, write) }
}

/// # Safety
/// As [`ask`].
pub(super) unsafe extern "C" fn set_admin(device: *mut c_void, up: c_int) {
    // SAFETY: passed on from the caller. One lport's control sets the whole device.
    unsafe { ask(device, 0, (), |lport| lport.control.set_admin_up(up != 0)) };
}
