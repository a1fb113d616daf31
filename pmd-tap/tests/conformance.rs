//! The conformance suite for both drivers. The far end is the kernel's side of the interface, seen through a packet socket.

use std::sync::OnceLock;

use lport_tests::namespace::{Namespace, may_make_namespaces};
use pmd_af_packet::AfPacketDriver;
use pmd_core::conformance::{Capabilities, Device, Fixture, Frame, Refusal, Rig, Shape};
use pmd_core::conformance_tests;
use pmd_tap::TapDriver;

/// An interface of this driver.
struct Interface {
    driver: TapDriver,
    /// The namespace of devices that are refused.
    kept: OnceLock<Namespace>,
}

impl Interface {
    fn of(driver: TapDriver) -> Self {
        Self { driver, kept: OnceLock::new() }
    }

    fn device(&self, namespace: &Namespace, name: &str) -> Device {
        Device::new(self.driver, name, &[("netns", namespace.name())])
    }
}

fn namespace() -> Namespace {
    Namespace::new().expect("a namespace")
}

impl Fixture for Interface {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            queues: 2,
            spreads: true,
            opens_twice: Some(false),
            untried: vec!["persist"],
            ..Capabilities::of_kernel(Shape::Pair)
        }
    }

    fn skipped(&self) -> Option<String> {
        let may = may_make_namespaces().expect("network namespaces");
        (!may).then(|| "it needs network namespaces".to_owned())
    }

    fn rig(&self, _queues: u16) -> Rig {
        let namespace = namespace();
        let far = [("iface", "port0"), ("netns", namespace.name())];
        let rig = Rig::pair(self.device(&namespace, "port0"), Device::new(AfPacketDriver, "far", &far));
        let name = namespace.name().to_owned();
        let cut = move |cut: bool| {
            let state = if cut { "down" } else { "up" };
            let words = ["-netns", &name, "link", "set", "port0", state];
            let status = std::process::Command::new("ip").args(words).status();
            assert!(status.is_ok_and(|status| status.success()), "the link's state can be set");
        };
        Rig { cut: Some(Box::new(cut)), ..rig.keeping(namespace) }
    }

    fn refusals(&self) -> Vec<Refusal> {
        let namespace = self.kept.get_or_init(namespace);
        let many = Refusal { queues: 257, ..Refusal::new(self.device(namespace, "port0"), &["257", "256"]) };
        vec![
            many,
            Refusal::new(self.device(namespace, "lo"), &["interface lo exists", "iface"]),
            Refusal::new(self.device(namespace, "a-name-too-long-for-it"), &["22 bytes", "15", "iface"]),
        ]
    }
}

mod tap {
    use super::*;
    conformance_tests!(Interface::of(TapDriver::TAP));
}

/// The same with packets that begin with their IP header.
struct IpInterface(Interface);

impl Fixture for IpInterface {
    fn capabilities(&self) -> Capabilities {
        Capabilities { frame: Frame::Ipv4, ..self.0.capabilities() }
    }

    fn skipped(&self) -> Option<String> {
        self.0.skipped()
    }

    fn rig(&self, queues: u16) -> Rig {
        self.0.rig(queues)
    }

    fn refusals(&self) -> Vec<Refusal> {
        self.0.refusals()
    }
}

mod tun {
    use super::*;
    conformance_tests!(IpInterface(Interface::of(TapDriver::TUN)));
}
