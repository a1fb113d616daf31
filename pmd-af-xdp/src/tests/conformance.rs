//! The conformance suite: a veth pair with an lport at either end.

use pmd_core::conformance::{Capabilities, Device, Fixture, Refusal, Rig, Shape};
use pmd_core::conformance_tests;

use super::world::World;
use crate::AfXdpDriver;

/// The two ends of a pair in a namespace of its own.
struct Veth {
    /// Whether pools lie in chunks, or anywhere.
    chunked: bool,
}

const QUEUES: u16 = 2;

impl Veth {
    fn device(&self, interface: &str, options: &[(&str, &str)]) -> Device {
        let mut device = Device::new(AfXdpDriver::default(), interface, options);
        device.pool.chunked = self.chunked;
        device
    }
}

impl Fixture for Veth {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            queues: QUEUES,
            link_follows: false,
            // Each queue belongs to one socket.
            opens_twice: Some(false),
            ..Capabilities::of_kernel(Shape::Pair)
        }
    }

    fn rig(&self, _queues: u16) -> Rig {
        let world = World::new().expect("the conformance suite needs its veth pair: run it as root");
        world.pair(QUEUES);
        let mut rig = Rig::pair(self.device("left", &[]), self.device("right", &[]));
        rig.cut = Some(Box::new(|cut| World::ip(&format!("link set right {}", if cut { "down" } else { "up" }))));
        rig
    }

    fn refusals(&self) -> Vec<Refusal> {
        let world = World::new().expect("the conformance suite needs its veth pair: run it as root");
        world.pair(QUEUES);
        let wrong_name = self.device("left", &[("iface", "a/b")]);
        vec![
            Refusal::new(self.device("absent", &[]), &["no interface `absent`", "left"]),
            Refusal::new(wrong_name, &["a/b"]),
            Refusal::new(self.device("left", &[("mode", "zero-copy")]), &["zero copy", "auto"]),
            Refusal { queues: 3, ..Refusal::new(self.device("left", &[]), &["qid", "2", "ethtool -L"]) },
        ]
    }
}

mod chunks {
    use super::*;
    conformance_tests!(Veth { chunked: true });
}

mod unaligned {
    use super::*;
    conformance_tests!(Veth { chunked: false });
}
