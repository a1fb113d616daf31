//! Devices of a shared object: opened, asked from any thread, closed with the last of their queues and handles.
//!
//! This file owns `unsafe`: it calls the driver's functions, and shares its handle between threads.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pmd_core::{DeviceRequest, Link, Lport, LportControl, LportInfo, LportStats, OpenError, QueueRequest};
use pmd_plugin::abi;

use crate::library::{Fault, Library, PoolHandle};
use crate::options::Values;
use crate::queues::{Rx, Tx};
use crate::table::{Functions, Table};
use crate::text::{NAME_MAX, Space, c_string, for_ever};

/// An open device. Dropped by the last of its queues and control handles, it closes itself.
pub(crate) struct Device {
    pub(crate) functions: Functions,
    pub(crate) library: &'static Library,
    fault: Arc<Fault>,
    admin_down: AtomicBool,
    handle: *mut c_void,
    /// What its driver receives into: alive until it is closed.
    _pools: Vec<Arc<PoolHandle>>,
}

// SAFETY: the handle is passed to functions that any thread may call at any time; the last owner closes it.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// Whether no packet is to be asked for or sent now.
    #[inline(always)]
    pub(crate) fn is_down(&self) -> bool {
        self.admin_down.load(Ordering::Relaxed) || self.fault.reason().is_some()
    }

    /// The driver did `what`, which it must not.
    #[cold]
    pub(crate) fn blame(&self, what: &str) {
        self.library.blame(&self.fault, what);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the driver's own handle, for the last time: every queue is closed.
        unsafe { (self.functions.close)(self.handle) };
        self.library.closed(&self.fault);
    }
}

/// Opens a device.
///
/// # Errors
/// What the driver says.
pub(crate) fn open(
    table: &Table,
    library: &'static Library,
    request: DeviceRequest,
    values: &Values,
) -> Result<Vec<Lport>, OpenError> {
    let (pools, mut queues, names) = for_c(&request.queues, library);
    let (name, count) = (c_string(&request.name), queues.len() as u32);
    let (options, array) = (values.as_c(), queues.as_mut_ptr());
    let in_c = abi::Request { name: name.as_ptr(), options, queues: array, queue_count: count, reserved: 0 };
    let fault = library.opening();
    let mut error = Space::new();
    // SAFETY: the driver's function, with a request and space for an error that are valid during the call.
    let handle = unsafe { (table.functions.open)(&raw const in_c, error.as_mut_ptr()) };
    drop(names);
    if handle.is_null() {
        library.closed(&fault);
        let why = match error.text() {
            why if why.is_empty() => "its driver gave no reason".to_owned(),
            why => why,
        };
        return Err(OpenError(why));
    }
    let device = Arc::new(Device {
        functions: table.functions,
        library,
        fault,
        admin_down: AtomicBool::new(false),
        handle,
        _pools: pools,
    });
    let lport = |((position, queue), opened): ((u32, QueueRequest), &abi::Queue)| Lport {
        id: queue.lport,
        name: queue.name,
        rx: Box::new(Rx::new(Arc::clone(&device), opened.rx)),
        tx: Box::new(Tx::new(Arc::clone(&device), opened.tx)),
        control: Arc::new(Control { device: Arc::clone(&device), position }),
    };
    Ok((0..).zip(request.queues).zip(&queues).map(lport).collect())
}

/// The queues of a request in C, the pools they name (one handle for each), and the names that they point to.
fn for_c(wanted: &[QueueRequest], library: &'static Library) -> (Vec<Arc<PoolHandle>>, Vec<abi::Queue>, Vec<CString>) {
    let mut pools: Vec<Arc<PoolHandle>> = Vec::new();
    let mut queues = Vec::new();
    let names: Vec<_> = wanted.iter().map(|queue| c_string(&queue.name)).collect();
    for (queue, name) in wanted.iter().zip(&names) {
        let pool = queue.pool.as_ref().map(|pool| {
            let known = pools.iter().find(|known| known.is_of(pool)).map(PoolHandle::as_c);
            known.unwrap_or_else(|| {
                pools.push(PoolHandle::new(pool.clone(), library));
                pools[pools.len() - 1].as_c()
            })
        });
        queues.push(abi::Queue {
            name: name.as_ptr(),
            pool: pool.unwrap_or(std::ptr::null_mut()),
            rx_desc: queue.rx_desc,
            tx_desc: queue.tx_desc,
            lport: queue.lport.0,
            qid: queue.qid,
            reserved: 0,
            rx: std::ptr::null_mut(),
            tx: std::ptr::null_mut(),
        });
    }
    (pools, queues, names)
}

/// The control handle of an lport.
struct Control {
    device: Arc<Device>,
    /// Of its queue in the request.
    position: u32,
}

impl LportControl for Control {
    fn link(&self) -> Link {
        let device = &self.device;
        if let Some(reason) = device.fault.reason() {
            return Link::Down(reason.to_owned());
        }
        if device.admin_down.load(Ordering::Relaxed) {
            return Link::Down("administratively down".into());
        }
        let mut why = Space::new();
        // SAFETY: the driver's function and handle, with space for a reason.
        if unsafe { (device.functions.link)(device.handle, self.position, why.as_mut_ptr()) } != 0 {
            return Link::Up;
        }
        Link::Down(match why.text() {
            why if why.is_empty() => "its driver gives no reason".to_owned(),
            why => why,
        })
    }

    fn info(&self) -> LportInfo {
        let mut info = abi::Info::default();
        // SAFETY: the driver's function and handle, with space for an answer.
        unsafe { (self.device.functions.info)(self.device.handle, self.position, &raw mut info) };
        LportInfo {
            driver: self.device.library.driver().to_owned(),
            mac: (info.has_mac != 0).then_some(info.mac),
            max_packet: info.max_packet,
            speed_mbps: info.speed_mbps,
        }
    }

    fn stats(&self) -> LportStats {
        let mut stats = abi::Stats::default();
        // SAFETY: the driver's function and handle, with space for an answer.
        unsafe { (self.device.functions.stats)(self.device.handle, self.position, &raw mut stats) };
        let abi::Stats { ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf } = stats;
        let xstats = self.xstats();
        LportStats { ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf, xstats }
    }

    fn set_admin_up(&self, up: bool) {
        let device = &self.device;
        device.admin_down.store(!up, Ordering::Relaxed);
        if let Some(set_admin) = device.functions.more.set_admin {
            // SAFETY: the driver's function and handle.
            unsafe { set_admin(device.handle, c_int::from(up)) };
        }
    }
}

impl Control {
    fn xstats(&self) -> Vec<(&'static str, u64)> {
        let Some(xstats) = self.device.functions.more.xstats else { return Vec::new() };
        let mut space = [abi::Xstat { name: std::ptr::null(), value: 0 }; abi::XSTATS_MAX];
        // SAFETY: the driver's function and handle, with space for as many answers.
        let n = unsafe { xstats(self.device.handle, self.position, space.as_mut_ptr(), abi::XSTATS_MAX as u32) };
        let named = |xstat: &abi::Xstat| {
            if xstat.name.is_null() {
                return None;
            }
            // SAFETY: the driver's names end, and stay valid.
            let name = unsafe { CStr::from_ptr(xstat.name) }.to_str().ok().filter(|name| name.len() <= NAME_MAX)?;
            Some((for_ever(name)?, xstat.value))
        };
        space.iter().take(n as usize).filter_map(named).collect()
    }
}
