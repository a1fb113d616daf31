//! The conformance suite for drivers: both roles, with and without copies, at either side of a link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pmd_core::conformance::{Capabilities, Device, Fixture, Refusal, Rig, Shape, Wrapped};
use pmd_core::conformance_tests;
use pmd_core::wrappers::FaultInjector;
use pmd_memif::MemifDriver;

/// A memif whose near end has this role; the far end has the other one.
struct Memif {
    role: &'static str,
    /// `zero-copy` of the near and of the far end.
    zero_copy: [&'static str; 2],
}

impl Memif {
    fn is_server(&self) -> bool {
        self.role == "server"
    }

    fn device(name: &str, socket: &str, role: &str, zero_copy: &str) -> Device {
        Device::new(MemifDriver, name, &[("role", role), ("socket", socket), ("zero-copy", zero_copy)])
    }
}

/// An abstract socket's name, and a path, that nobody else has.
fn socket() -> (String, tempfile::TempDir) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let dir = tempfile::tempdir().expect("a directory for the test");
    let name = format!("memif-{}.sock", NEXT.fetch_add(1, Ordering::Relaxed));
    (dir.path().join(name).display().to_string(), dir)
}

impl Fixture for Memif {
    fn capabilities(&self) -> Capabilities {
        let ring = 1024;
        let borrows = self.zero_copy[usize::from(!self.is_server())] == "yes";
        Capabilities {
            interrupts: true,
            uses_pool: true,
            link_follows: true,
            after_held: if borrows { ring } else { usize::MAX },
            // A second client may be opened; its link stays down.
            opens_twice: self.is_server().then_some(false),
            ..Capabilities::in_memory(Shape::Pair)
        }
    }

    fn rig(&self, _queues: u16) -> Rig {
        let (socket, dir) = socket();
        let other = if self.is_server() { "client" } else { "server" };
        let near = Self::device("near", &socket, self.role, self.zero_copy[0]);
        Rig::pair(near, Self::device("far", &socket, other, self.zero_copy[1])).keeping(dir)
    }

    fn refusals(&self) -> Vec<Refusal> {
        let (socket, _) = socket();
        let mut inject = Self::device("near", &socket, self.role, "no");
        inject.options.push(pmd_core::RawOption::text("mode", "punt-inject"));
        let file = [("role", "server"), ("socket", "/no/such/directory/memif.sock"), ("socket-abstract", "no")];
        let many =
            Refusal { queues: 256, ..Refusal::new(Self::device("near", &socket, self.role, "no"), &["256", "255"]) };
        vec![
            Refusal::new(inject, &["mode", "punt-inject", "ethernet"]),
            Refusal::new(Device::new(MemifDriver, "near", &file), &["/no/such/directory"]),
            many,
        ]
    }
}

mod server {
    use super::*;
    conformance_tests!(Memif { role: "server", zero_copy: ["no", "no"] });
}

mod client {
    use super::*;
    conformance_tests!(Memif { role: "client", zero_copy: ["no", "no"] });
}

mod zero_copy_client {
    use super::*;
    conformance_tests!(Memif { role: "client", zero_copy: ["yes", "no"] });
}

mod borrowing_server {
    use super::*;
    conformance_tests!(Memif { role: "server", zero_copy: ["yes", "no"] });
}

mod borrowing_server_of_a_zero_copy_client {
    use super::*;
    conformance_tests!(Memif { role: "server", zero_copy: ["yes", "yes"] });
}

mod zero_copy_client_of_a_borrowing_server {
    use super::*;
    conformance_tests!(Memif { role: "client", zero_copy: ["yes", "yes"] });
}

/// Borrowed packets on their way through a wrapper.
struct Wrapping(Memif);

impl Fixture for Wrapping {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn rig(&self, queues: u16) -> Rig {
        let mut rig = self.0.rig(queues);
        rig.near.driver = Arc::new(Wrapped::new(rig.near.driver, FaultInjector, &[("seed", "1")]));
        rig
    }
}

mod wrapped_borrowing_server_of_a_zero_copy_client {
    use super::*;
    conformance_tests!(Wrapping(Memif { role: "server", zero_copy: ["yes", "yes"] }));
}
