//! Drivers from shared objects pass the conformance suite like any other: those of the guide, and one that has threads,
//! lends packets and shares pools.
//!
//! Each is one test, so that it is compiled once. A check that fails says which one it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pmd_core::Driver;
use pmd_core::conformance::{CHECKS, Capabilities, Device, Fixture, Rig, Shape, run};
use pmd_dso::Checking;

use crate::support::{c_driver, rust_driver, try_load};

/// Runs every check on a driver.
fn conforms(fixture: &dyn Fixture) {
    for check in CHECKS {
        println!("{}", check.name);
        run(check.name, fixture);
    }
}

/// Lports that receive what they sent.
struct Loop {
    driver: Arc<dyn Driver>,
    options: &'static [(&'static str, &'static str)],
    uses_pool: bool,
}

impl Fixture for Loop {
    fn capabilities(&self) -> Capabilities {
        Capabilities { uses_pool: self.uses_pool, ..Capabilities::in_memory(Shape::Loop) }
    }

    fn rig(&self, _queues: u16) -> Rig {
        Rig::alone(Device::of(Arc::clone(&self.driver), "loop", self.options))
    }
}

#[test]
fn the_example_in_c_conforms() {
    let directory = tempfile::tempdir().unwrap();
    for (checking, macros) in [(Checking::On, &["CHECKED"][..]), (Checking::Off, &[])] {
        let object = c_driver(directory.path(), "pmd-plugin/examples/loop.c", macros);
        let driver = try_load(&object, checking).unwrap();
        conforms(&Loop { driver: Arc::clone(&driver), options: &[], uses_pool: false });
        conforms(&Loop { driver, options: &[("copy", "yes")], uses_pool: true });
    }
}

#[test]
fn the_example_in_rust_conforms() {
    let directory = tempfile::tempdir().unwrap();
    for checking in [Checking::On, Checking::Off] {
        let driver = try_load(&rust_driver(directory.path(), "pmd-plugin", "loop_rs"), checking).unwrap();
        conforms(&Loop { driver, options: &[], uses_pool: false });
    }
}

/// A memif server and a client, both of the shared object.
struct Memif {
    driver: Arc<dyn Driver>,
    zero_copy: &'static str,
}

impl Fixture for Memif {
    fn capabilities(&self) -> Capabilities {
        let lends = self.zero_copy == "yes";
        Capabilities {
            min_packet: 14,
            interrupts: true,
            uses_pool: true,
            link_follows: true,
            after_held: if lends { 255 } else { usize::MAX },
            ..Capabilities::in_memory(Shape::Pair)
        }
    }

    fn rig(&self, _queues: u16) -> Rig {
        static RIGS: AtomicUsize = AtomicUsize::new(0);
        let socket = format!("pmd-dso-{}-{}", std::process::id(), RIGS.fetch_add(1, Ordering::Relaxed));
        let device = |role| {
            let options = [("role", role), ("socket", socket.as_str()), ("zero-copy", self.zero_copy)];
            Device::of(Arc::clone(&self.driver), role, &options)
        };
        Rig::pair(device("server"), device("client"))
    }
}

#[test]
fn memif_conforms_in_a_shared_object() {
    let directory = tempfile::tempdir().unwrap();
    let driver = try_load(&rust_driver(directory.path(), "pmd-dso", "memif"), Checking::On).unwrap();
    for zero_copy in ["no", "yes"] {
        conforms(&Memif { driver: Arc::clone(&driver), zero_copy });
    }
}
