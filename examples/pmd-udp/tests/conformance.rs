//! The conformance suite, on two sockets that send to each other.

use std::sync::atomic::{AtomicU16, Ordering};

use pmd_core::conformance::{Capabilities, Device, Fixture, Refusal, Rig, Shape};
use pmd_udp::UdpDriver;

struct Udp;

impl Fixture for Udp {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            interrupts: true,
            uses_pool: true,
            backpressure: false, // A socket that nobody reads loses what does not fit.
            window: 32,          // So many packets of 1514 bytes fit for certain.
            spreads: true,       // All queues of a device receive from one socket.
            opens_twice: Some(false),
            ..Capabilities::in_memory(Shape::Pair)
        }
    }

    fn rig(&self, _queues: u16) -> Rig {
        let [near, far] = addresses();
        Rig::pair(device(&near, &far), device(&far, &near))
    }

    fn refusals(&self) -> Vec<Refusal> {
        let [near, far] = addresses();
        vec![
            Refusal::new(device(&near, "nowhere"), &["remote", "nowhere", "ADDRESS:PORT"]),
            Refusal::new(device("192.0.2.1:4000", &far), &["local", "192.0.2.1:4000"]),
        ]
    }
}

fn device(local: &str, remote: &str) -> Device {
    Device::new(UdpDriver, "udp", &[("local", local), ("remote", remote)])
}

/// Two addresses that no other rig has, in this process or in another one: of the 16 million loopback addresses.
fn addresses() -> [String; 2] {
    static PORT: AtomicU16 = AtomicU16::new(20_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    [(); 2].map(|()| format!("127.{a}.{b}.{c}:{}", PORT.fetch_add(1, Ordering::Relaxed)))
}

pmd_core::conformance_tests!(Udp);
