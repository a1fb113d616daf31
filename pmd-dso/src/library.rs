//! A shared object that has been loaded, and what it may call.
//!
//! 1. [`load`] maps it, compares versions and sizes, and calls its `init` with the table of a [`Library`].
//! 2. The library lives for ever, as the shared object does: mbufs may come back at any time, from any of its threads.
//! 3. It knows the devices that are open, so that a fault which belongs to none of them in particular ends all.
//!
//! This file owns `unsafe`: it maps foreign code, and its functions follow pointers which that code passes.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::os::unix;
use pmd_core::deployment::PageSize;
use pmd_core::{BURST_MAX, Burst, Driver, Pool, Registry};
use pmd_plugin::abi::{self, ABI_VERSION, SYMBOL, Sizes};

use crate::driver::Plugged;
use crate::error::LoadError;
use crate::file;
use crate::table::Table;
use crate::text::{c_string, message};
use crate::tracker::Tracker;

/// Whether mbufs that cross are tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checking {
    /// Drivers are trusted to keep the rules. What they return too much of is cut off all the same.
    Off,
    /// Every mbuf that crosses is tracked; a driver that breaks the rules loses its device.
    On,
}

/// Loads the shared object at `path`, or all `*.so` of a directory, and adds their drivers to `registry`. A file that is
/// loaded already is not loaded again: its driver stays as it was loaded, checked or not.
///
/// # Errors
/// The first file that cannot be loaded, or whose driver has the name of another one. Those before it have been added.
pub fn load(path: &Path, checking: Checking, registry: &mut Registry) -> Result<(), LoadError> {
    for file in file::shared_objects(path)? {
        let driver = load_file(&file, checking)?;
        match registry.get(driver.name()) {
            Some(known) if Arc::ptr_eq(known, &driver) => {}
            Some(_) => {
                let name = driver.name();
                return Err(LoadError::new(&file, format!("a driver called `{name}` is there already: rename one")));
            }
            None => registry.add(driver),
        }
    }
    Ok(())
}

fn load_file(path: &Path, checking: Checking) -> Result<Arc<dyn Driver>, LoadError> {
    static LOADED: Mutex<Vec<(PathBuf, Arc<dyn Driver>)>> = Mutex::new(Vec::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, driver)) = loaded.iter().find(|(known, _)| known == path) {
        return Ok(Arc::clone(driver));
    }
    file::check(path)?;
    let driver: Arc<dyn Driver> = Arc::new(map(path, checking)?);
    loaded.push((path.to_owned(), Arc::clone(&driver)));
    Ok(driver)
}

fn map(path: &Path, checking: Checking) -> Result<Plugged, LoadError> {
    let error = |message: String| LoadError::new(path, message);
    // SAFETY: running foreign code is what was asked for; its constructors run here.
    let object = unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_LOCAL) };
    let object = object.map_err(|failure| error(in_words(&failure, path)))?;
    // SAFETY: the symbol is data; what it is, is looked at below.
    let symbol = unsafe { object.get::<*const abi::Plugin>(SYMBOL) };
    let symbol = symbol.map_err(|_| {
        error(format!("no driver: it has no symbol `{SYMBOL}`; export one with PMD_EXPORT, or export_driver! in Rust"))
    })?;
    let plugin = symbol.into_raw().cast::<abi::Plugin>().cast_const();
    // From here on pointers into it are kept, by whoever.
    std::mem::forget(object);
    // SAFETY: the mapped symbol of that name; every version begins with its number, so no more than that is read of another.
    let init = unsafe { init_of(plugin) }.map_err(error)?;
    let library = Library::new(path, checking);
    // SAFETY: versions and sizes agree, so the function is what the header says; the library lives for ever.
    let table = unsafe { init(library.as_c()).as_ref() };
    let table = table.ok_or_else(|| error("its `init` gave no driver: see the log for why".into()))?;
    // SAFETY: as above; the header has tables valid for ever.
    let table = unsafe { Table::read(table) }.map_err(error)?;
    library.name_driver(&table.name);
    Ok(Plugged::new(table, library))
}

/// The dynamic linker's message, without the path that it begins with.
fn in_words(failure: &libloading::Error, path: &Path) -> String {
    let text = match std::error::Error::source(failure) {
        Some(source) => source.to_string(),
        None => failure.to_string(),
    };
    let text = text.replace(&format!("{}: ", path.display()), "");
    format!("cannot be loaded: {}", text.trim_matches('"'))
}

/// The `init` of a symbol of this version.
///
/// # Safety
/// `plugin` leads to the version of a mapped symbol, and to all of it if the version is ours.
unsafe fn init_of(
    plugin: *const abi::Plugin,
) -> Result<unsafe extern "C" fn(*const abi::Host) -> *const abi::Driver, String> {
    // SAFETY: passed on from the caller.
    let version = unsafe { (&raw const (*plugin).abi_version).read() };
    if version != ABI_VERSION {
        return Err(format!(
            "it speaks version {version} of the driver interface, but this program speaks version {ABI_VERSION}: compile \
             it again with the pmd.h (or the crate pmd-plugin) of this program"
        ));
    }
    // SAFETY: as above; the sizes lie behind the version in every symbol of this version.
    let sizes = unsafe { (&raw const (*plugin).sizes).read() };
    for ((name, theirs), (_, ours)) in sizes.named().into_iter().zip(Sizes::HERE.named()) {
        if theirs != ours {
            return Err(format!(
                "its `struct {name}` has {theirs} bytes, but this program's has {ours}: compile it again with the pmd.h of \
                 this program, unchanged"
            ));
        }
    }
    // SAFETY: as above, and it has the size of ours.
    unsafe { (*plugin).init }.ok_or_else(|| format!("`init` of its symbol `{SYMBOL}` is a null pointer"))
}

/// What a shared object may call, and what it has open.
#[repr(C)]
pub(crate) struct Library {
    table: abi::Host,
    file: String,
    driver: OnceLock<String>,
    tracker: Option<Tracker>,
    open: Mutex<Vec<Arc<Fault>>>,
}

/// What a device's driver did that it must not: the first thing, if anything.
#[derive(Debug, Default)]
pub(crate) struct Fault(OnceLock<String>);

impl Fault {
    /// Why the device is down for good.
    #[inline(always)]
    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

impl Library {
    fn new(path: &Path, checking: Checking) -> &'static Self {
        let table = abi::Host { alloc_bulk, free_bulk, available, pool_ref, pool_unref, log };
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let tracker = (checking == Checking::On).then(Tracker::default);
        Box::leak(Box::new(Self { table, file, driver: OnceLock::new(), tracker, open: Mutex::default() }))
    }

    fn as_c(&'static self) -> *const abi::Host {
        (&raw const *self).cast()
    }

    fn name_driver(&self, name: &str) {
        // Once: a library has one driver.
        let _ = self.driver.set(name.to_owned());
    }

    /// The driver's name.
    pub(crate) fn driver(&self) -> &str {
        self.driver.get().unwrap_or(&self.file)
    }

    /// The tracker, if drivers are checked.
    #[inline(always)]
    pub(crate) fn tracker(&self) -> Option<&Tracker> {
        self.tracker.as_ref()
    }

    /// A device is about to be opened.
    pub(crate) fn opening(&self) -> Arc<Fault> {
        let fault = Arc::<Fault>::default();
        self.open().push(Arc::clone(&fault));
        fault
    }

    /// A device is closed, or was not opened after all. With the last one the driver must have given everything back.
    pub(crate) fn closed(&self, fault: &Arc<Fault>) {
        let mut open = self.open();
        open.retain(|known| !Arc::ptr_eq(known, fault));
        let Some(tracker) = self.tracker() else { return };
        if fault.reason().is_some() {
            tracker.distrust();
        }
        if open.is_empty() {
            let left = tracker.last_closed();
            if left > 0 {
                tracing::warn!(
                    "driver `{}` did not give back {left} mbufs when its last device was closed",
                    self.driver()
                );
            }
        }
    }

    /// The driver did `what`, which it must not: the device is down for good.
    pub(crate) fn blame(&self, fault: &Fault, what: &str) {
        let reason = format!("driver `{}` of {}: {what}", self.driver(), self.file);
        if fault.0.set(reason).is_ok() {
            tracing::error!("{}; its device is down for good", fault.reason().unwrap_or_default());
        }
    }

    /// As [`Self::blame`], where it cannot be told which device it was about.
    fn blame_all(&self, what: &str) {
        self.open().iter().for_each(|fault| self.blame(fault, what));
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Fault>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pool as a device's driver has it.
#[repr(C)]
pub(crate) struct PoolHandle {
    table: abi::Pool,
    pool: Pool,
    library: &'static Library,
    _name: CString,
}

// SAFETY: the table is never changed, and its pointers lead to what the handle keeps alive.
unsafe impl Send for PoolHandle {}
// SAFETY: as above.
unsafe impl Sync for PoolHandle {}

impl PoolHandle {
    pub(crate) fn new(pool: Pool, library: &'static Library) -> Arc<Self> {
        use std::os::fd::AsRawFd;
        let name = c_string(pool.name());
        let segment = pool.segment();
        let table = abi::Pool {
            name: name.as_ptr(),
            size: pool.size() as u64,
            memory_len: segment.len() as u64,
            memory: segment.base().as_ptr(),
            data_room: pool.data_room() as u32,
            file: segment.file().map_or(-1, |file| file.as_raw_fd()),
            page: match segment.page() {
                PageSize::Small => 4 << 10,
                PageSize::Huge2M => 2 << 20,
                PageSize::Huge1G => 1 << 30,
            },
        };
        Arc::new(Self { table, pool, library, _name: name })
    }

    /// Whether it is a handle on this pool.
    pub(crate) fn is_of(&self, pool: &Pool) -> bool {
        self.pool.is_same(pool)
    }

    /// As the driver gets it.
    pub(crate) fn as_c(self: &Arc<Self>) -> *mut abi::Pool {
        Arc::as_ptr(self).cast_mut().cast()
    }
}

unsafe extern "C" fn alloc_bulk(pool: *mut abi::Pool, mbufs: *mut NonNull<abi::Mbuf>, n: u16) -> u16 {
    // SAFETY: drivers pass a pool that they were given, and space for n mbufs.
    let handle = unsafe { &*pool.cast::<PoolHandle>() };
    let mut burst = Burst::new();
    let n = handle.pool.alloc_bulk(&mut burst, usize::from(n));
    let taken = burst.as_raw().as_ptr();
    // SAFETY: a burst's first `n` pointers are written; n is at most what was asked for.
    let heads = unsafe {
        mbufs.copy_from_nonoverlapping(taken, n);
        std::slice::from_raw_parts(taken, n)
    };
    if let Some(tracker) = handle.library.tracker() {
        tracker.give(heads);
    }
    burst.forget_front(n);
    n as u16
}

unsafe extern "C" fn free_bulk(host: *const abi::Host, mbufs: *const NonNull<abi::Mbuf>, n: u32) {
    if n == 0 {
        return;
    }
    // SAFETY: drivers pass the table that they were given, which is a library's, and n pointers; null ones do happen.
    let (library, heads) = unsafe {
        let heads = std::slice::from_raw_parts(mbufs.cast::<Option<NonNull<abi::Mbuf>>>(), n as usize);
        (&*host.cast::<Library>(), heads)
    };
    let mut burst = Burst::new();
    for chunk in heads.chunks(BURST_MAX) {
        match library.tracker() {
            Some(tracker) => {
                for nonsense in tracker.take_back_all(chunk, &mut burst) {
                    library.blame_all(&format!("free_bulk got {nonsense}"));
                }
            }
            None => {
                // SAFETY: the driver owns them and gives them up; a burst has space for a chunk.
                unsafe {
                    burst.as_raw().as_ptr().copy_from_nonoverlapping(chunk.as_ptr().cast(), chunk.len());
                    burst.grow(chunk.len());
                }
            }
        }
        burst.clear();
    }
}

unsafe extern "C" fn available(pool: *const abi::Pool) -> u64 {
    // SAFETY: drivers pass a pool that they were given.
    unsafe { &*pool.cast::<PoolHandle>() }.pool.available() as u64
}

unsafe extern "C" fn pool_ref(pool: *mut abi::Pool) {
    // SAFETY: as above; it comes from an Arc.
    unsafe { Arc::increment_strong_count(pool.cast_const().cast::<PoolHandle>()) };
}

unsafe extern "C" fn pool_unref(pool: *mut abi::Pool) {
    // SAFETY: as above; the reference that `pool_ref` took.
    unsafe { Arc::decrement_strong_count(pool.cast_const().cast::<PoolHandle>()) };
}

unsafe extern "C" fn log(host: *const abi::Host, level: u32, text: *const c_char) {
    // SAFETY: drivers pass the table that they were given, and text that ends.
    let (library, text) = unsafe { (&*host.cast::<Library>(), message(text)) };
    let driver = library.driver();
    match level {
        1 => tracing::error!("{driver}: {text}"),
        2 => tracing::warn!("{driver}: {text}"),
        3 => tracing::info!("{driver}: {text}"),
        _ => tracing::debug!("{driver}: {text}"),
    }
}
