//! The conformance suite for the driver: on both ends of a veth pair, in two network namespaces.

use std::sync::{Arc, OnceLock};

use lport_tests::namespace::{Namespace, may_make_namespaces};
use pmd_af_packet::AfPacketDriver;
use pmd_core::conformance::{Capabilities, Device, Fixture, Refusal, Rig, Shape};
use pmd_core::conformance_tests;

/// A cable with a device of the driver at either end.
#[derive(Default)]
struct Cable {
    /// The namespaces of devices that are refused.
    kept: OnceLock<(Namespace, Namespace)>,
}

fn device(namespace: &Namespace, iface: &str, options: &[(&str, &str)]) -> Device {
    let place = [("iface", iface), ("netns", namespace.name())];
    Device::new(AfPacketDriver, iface, &[&place, options].concat())
}

fn namespaces() -> (Namespace, Namespace) {
    let make = || Namespace::new().expect("a namespace");
    let (left, right) = (make(), make());
    left.cable("left", &right, "right").expect("a cable");
    (left, right)
}

impl Fixture for Cable {
    fn capabilities(&self) -> Capabilities {
        Capabilities { queues: 2, spreads: true, opens_twice: Some(true), ..Capabilities::of_kernel(Shape::Pair) }
    }

    fn skipped(&self) -> Option<String> {
        let may = may_make_namespaces().expect("network namespaces");
        (!may).then(|| "it needs network namespaces".to_owned())
    }

    fn rig(&self, _queues: u16) -> Rig {
        let (left, right) = namespaces();
        let rig = Rig::pair(device(&left, "left", &[]), device(&right, "right", &[]));
        let ends = Arc::new((left, right));
        let to_cut = Arc::clone(&ends);
        let cut = move |cut: bool| {
            let (left, right) = &*to_cut;
            let state = if cut { "down" } else { "up" };
            right.ip(&format!("link set right {state}")).expect("the link's state can be set");
            if !cut {
                right.wait_until_up("right").and_then(|()| left.wait_until_up("left")).expect("a link");
            }
        };
        Rig { cut: Some(Box::new(cut)), ..rig.keeping(ends) }
    }

    fn refusals(&self) -> Vec<Refusal> {
        let (left, _) = self.kept.get_or_init(namespaces);
        let many = Refusal { queues: 257, ..Refusal::new(device(left, "left", &[]), &["257", "256"]) };
        vec![
            many,
            Refusal::new(device(left, "absent", &[]), &["absent", "there are: lo"]),
            Refusal::new(Device::new(AfPacketDriver, "a-name-too-long-for-it", &[]), &["22 bytes", "15", "iface"]),
            Refusal::new(device(left, "left", &[("blocksz", "5000")]), &["5000", "multiple of the page size"]),
        ]
    }
}

conformance_tests!(Cable::default());
