//! What `include/pmd.h` says, in Rust: the meaning of each field stands there. `tests/header.rs` compares the two.
//!
//! A function pointer that may be null, because a driver may leave it out or have forgotten it, is an `Option`.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;

pub use pmd_core::raw::Header as Mbuf;

/// Changes whenever anything here changes its meaning or its place.
pub const ABI_VERSION: u32 = 1;

/// Room for an error or a reason, with its zero byte.
pub const TEXT_MAX: usize = 512;

/// `queue_count`: as many as the device is told.
pub const QUEUES_AS_TOLD: i32 = -1;

/// `queue_count`: it cannot be asked.
pub const QUEUES_UNKNOWN: i32 = -2;

/// Most xstats of an lport.
pub const XSTATS_MAX: usize = 256;

/// The exported symbol.
pub const SYMBOL: &str = "pmd_plugin";

/// [`Driver::flags`]: each queue must have a pool.
pub const NEEDS_POOL: u32 = 1;

/// Kinds of [`Opt`].
pub mod kind {
    /// Yes or no.
    pub const BOOL: u32 = 1;
    /// A whole number.
    pub const INT: u32 = 2;
    /// Text.
    pub const TEXT: u32 = 3;
    /// One of some words.
    pub const CHOICE: u32 = 4;
    /// An Ethernet address.
    pub const MAC: u32 = 5;
}

macro_rules! c_structs {
    ($($(#[$meta:meta])* $c_name:literal $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[allow(missing_docs)] // The header says it.
            #[derive(Debug, Clone, Copy)]
            pub struct $name { $(pub $field: $type,)* }
        )*

        /// Size of each structure, and the offset of each field, by their names in C.
        pub const LAYOUT: &[(&str, usize, &[(&str, usize)])] = &[
            $(($c_name, size_of::<$name>(), &[$((stringify!($field), std::mem::offset_of!($name, $field)),)*]),)*
            ("pmd_mbuf", size_of::<Mbuf>(), &Mbuf::OFFSETS),
        ];
    };
}

c_structs! {
    /// A pool of mbufs.
    "pmd_pool" Pool {
        name: *const c_char,
        size: u64,
        memory_len: u64,
        memory: *mut u8,
        data_room: u32,
        file: i32,
        page: u64,
    }

    /// What the program does for drivers.
    "pmd_host" Host {
        alloc_bulk: unsafe extern "C" fn(*mut Pool, *mut NonNull<Mbuf>, u16) -> u16,
        free_bulk: unsafe extern "C" fn(*const Host, *const NonNull<Mbuf>, u32),
        available: unsafe extern "C" fn(*const Pool) -> u64,
        pool_ref: unsafe extern "C" fn(*mut Pool),
        pool_unref: unsafe extern "C" fn(*mut Pool),
        log: unsafe extern "C" fn(*const Host, u32, *const c_char),
    }

    /// A row of a driver's table of options.
    "pmd_option" Opt {
        name: *const c_char,
        kind: u32,
        reserved: u32,
        min: u64,
        max: u64,
        words: *const *const c_char,
        default_text: *const c_char,
        help: *const c_char,
    }

    /// The value of an option.
    "pmd_value" Value {
        name: *const c_char,
        kind: u32,
        given: u32,
        number: u64,
        text: *const c_char,
    }

    /// All values of a device.
    "pmd_values" Values {
        values: *const Value,
        count: u32,
        reserved: u32,
    }

    /// A queue of a device to be opened.
    "pmd_queue" Queue {
        name: *const c_char,
        pool: *mut Pool,
        rx_desc: u32,
        tx_desc: u32,
        lport: u16,
        qid: u16,
        reserved: u32,
        rx: *mut c_void,
        tx: *mut c_void,
    }

    /// A device to be opened.
    "pmd_request" Request {
        name: *const c_char,
        options: Values,
        queues: *mut Queue,
        queue_count: u32,
        reserved: u32,
    }

    /// What an lport is.
    #[derive(Default)]
    "pmd_info" Info {
        max_packet: u32,
        speed_mbps: u32,
        mac: [u8; 6],
        has_mac: u8,
        reserved: u8,
    }

    /// Counters of an lport.
    #[derive(Default)]
    "pmd_stats" Stats {
        ipackets: u64,
        opackets: u64,
        ibytes: u64,
        obytes: u64,
        imissed: u64,
        ierrors: u64,
        oerrors: u64,
        rx_nombuf: u64,
    }

    /// One more counter.
    "pmd_xstat" Xstat {
        name: *const c_char,
        value: u64,
    }

    /// Where checks tell what they found.
    "pmd_problems" Problems {
        report: unsafe extern "C" fn(*const Problems, *const c_char, *const c_char, u32),
    }

    /// A driver.
    "pmd_driver" Driver {
        name: *const c_char,
        summary: *const c_char,
        options: *const Opt,
        option_count: u32,
        flags: u32,
        open: Option<unsafe extern "C" fn(*const Request, *mut c_char) -> *mut c_void>,
        close: Option<unsafe extern "C" fn(*mut c_void)>,
        rx_burst: Option<unsafe extern "C" fn(*mut c_void, *mut NonNull<Mbuf>, u16) -> u16>,
        tx_burst: Option<unsafe extern "C" fn(*mut c_void, *mut NonNull<Mbuf>, u16, *mut u16) -> u16>,
        rx_renumber: Option<unsafe extern "C" fn(*mut c_void, u16)>,
        link: Option<unsafe extern "C" fn(*mut c_void, u32, *mut c_char) -> c_int>,
        info: Option<unsafe extern "C" fn(*mut c_void, u32, *mut Info)>,
        stats: Option<unsafe extern "C" fn(*mut c_void, u32, *mut Stats)>,
        xstats: Option<unsafe extern "C" fn(*mut c_void, u32, *mut Xstat, u32) -> u32>,
        set_admin: Option<unsafe extern "C" fn(*mut c_void, c_int)>,
        rx_close: Option<unsafe extern "C" fn(*mut c_void)>,
        tx_close: Option<unsafe extern "C" fn(*mut c_void)>,
        tx_flush: Option<unsafe extern "C" fn(*mut c_void)>,
        rx_arm: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
        rx_disarm: Option<unsafe extern "C" fn(*mut c_void)>,
        rx_wake_fd: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
        check: Option<unsafe extern "C" fn(*const Values, u32, *const Problems)>,
        check_machine: Option<unsafe extern "C" fn(*const c_char, *const Values, *const Problems)>,
        shares_pools: Option<unsafe extern "C" fn(*const Values) -> c_int>,
        claim: Option<unsafe extern "C" fn(*const Values, *mut c_char) -> c_int>,
        queue_count: Option<unsafe extern "C" fn(*const c_char, *const Values, *mut c_char) -> i32>,
    }

    /// Sizes of all structures.
    #[derive(PartialEq, Eq)]
    "pmd_sizes" Sizes {
        plugin: u32,
        driver: u32,
        host: u32,
        mbuf: u32,
        pool: u32,
        option: u32,
        value: u32,
        values: u32,
        queue: u32,
        request: u32,
        info: u32,
        stats: u32,
        xstat: u32,
        problems: u32,
    }

    /// The exported symbol.
    "pmd_plugin" Plugin {
        abi_version: u32,
        sizes: Sizes,
        reserved: u32,
        init: Option<unsafe extern "C" fn(*const Host) -> *const Driver>,
    }
}

const _: () = assert!(size_of::<usize>() == 8, "the header is for 64-bit machines");

impl Sizes {
    /// Those of this version.
    pub const HERE: Self = Self {
        plugin: size_of::<Plugin>() as u32,
        driver: size_of::<Driver>() as u32,
        host: size_of::<Host>() as u32,
        mbuf: size_of::<Mbuf>() as u32,
        pool: size_of::<Pool>() as u32,
        option: size_of::<Opt>() as u32,
        value: size_of::<Value>() as u32,
        values: size_of::<Values>() as u32,
        queue: size_of::<Queue>() as u32,
        request: size_of::<Request>() as u32,
        info: size_of::<Info>() as u32,
        stats: size_of::<Stats>() as u32,
        xstat: size_of::<Xstat>() as u32,
        problems: size_of::<Problems>() as u32,
    };

    /// Each with its name.
    pub fn named(&self) -> [(&'static str, u32); 14] {
        [
            ("pmd_plugin", self.plugin),
            ("pmd_driver", self.driver),
            ("pmd_host", self.host),
            ("pmd_mbuf", self.mbuf),
            ("pmd_pool", self.pool),
            ("pmd_option", self.option),
            ("pmd_value", self.value),
            ("pmd_values", self.values),
            ("pmd_queue", self.queue),
            ("pmd_request", self.request),
            ("pmd_info", self.info),
            ("pmd_stats", self.stats),
            ("pmd_xstat", self.xstat),
            ("pmd_problems", self.problems),
        ]
    }
}

impl Plugin {
    /// The symbol of a driver that `init` gives.
    pub const fn new(init: unsafe extern "C" fn(*const Host) -> *const Driver) -> Self {
        Self { abi_version: ABI_VERSION, sizes: Sizes::HERE, reserved: 0, init: Some(init) }
    }
}
