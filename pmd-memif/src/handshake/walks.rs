//! Random walks through both machines: nothing panics, and no walk reaches a link except through a correct sequence.
//! PROPTEST_CASES=100000 makes it a soak.

use proptest::prelude::*;

use super::FileKind;
use super::driven::{drive_client, drive_server};
use super::server::hello;
use crate::message::{AddRegion, AddRing, Direction, Hello, Init, Message, Name, VERSION};
use crate::secret::Secret;

/// Mostly values that can be right, now and then anything.
fn ring() -> impl Strategy<Value = AddRing> {
    let direction = prop_oneof![Just(Direction::S2m), Just(Direction::M2s)];
    let index = prop_oneof![9 => 0..3_u16, 1 => any::<u16>()];
    let region = prop_oneof![9 => 0..2_u16, 1 => any::<u16>()];
    let offset = prop_oneof![9 => (0..20_u32).prop_map(|n| n * 160), 1 => any::<u32>()];
    let log2 = prop_oneof![9 => 1..3_u8, 1 => any::<u8>()];
    let header = prop_oneof![9 => Just(0_u16), 1 => any::<u16>()];
    (direction, index, region, offset, log2, header).prop_map(
        |(direction, index, region, offset, log2_ring_size, private_hdr_size)| AddRing {
            direction,
            index,
            region,
            offset,
            log2_ring_size,
            private_hdr_size,
        },
    )
}

fn init() -> impl Strategy<Value = Init> {
    let id = prop_oneof![3 => Just(0_u32), 1 => 1..5_u32];
    let mode = prop_oneof![9 => Just(0_u8), 1 => any::<u8>()];
    let version = prop_oneof![9 => Just(VERSION), 1 => any::<u16>()];
    let secret = prop_oneof![Just(""), Just("psst")].prop_map(|secret| Secret::new(secret).unwrap());
    (id, mode, version, secret).prop_map(|(id, mode, version, secret)| Init {
        version,
        id,
        mode,
        secret,
        name: Name::new("walk"),
    })
}

fn message() -> impl Strategy<Value = Message> {
    let index = prop_oneof![9 => 0..3_u16, 1 => any::<u16>()];
    let size = prop_oneof![9 => Just(4096_u64), 1 => any::<u64>()];
    prop_oneof![
        1 => init().prop_map(Message::Init),
        8 => (index, size).prop_map(|(index, size)| Message::AddRegion(AddRegion { index, size })),
        16 => ring().prop_map(Message::AddRing),
        4 => Just(Message::Connect(Name::new("walk"))),
        1 => Just(Message::Connected(Name::new("walk"))),
        1 => Just(Message::Ack),
        1 => Just(hello("walk")),
        1 => Just(Message::disconnect("walk")),
    ]
}

/// A correct handshake, of which a walk takes the beginning.
fn script() -> [Message; 5] {
    let ring = |direction, offset| {
        let (index, region, log2_ring_size, private_hdr_size) = (0, 0, 1, 0);
        Message::AddRing(AddRing { direction, index, region, offset, log2_ring_size, private_hdr_size })
    };
    let init = Init { version: VERSION, id: 0, mode: 0, secret: Secret::NONE, name: Name::new("walk") };
    [
        Message::Init(init),
        Message::AddRegion(AddRegion { index: 0, size: 4096 }),
        ring(Direction::S2m, 0),
        ring(Direction::M2s, 160),
        Message::Connect(Name::new("walk")),
    ]
}

/// Anything that may be attached.
fn attached() -> impl Strategy<Value = Option<FileKind>> {
    let memory = any::<bool>().prop_map(|shrink_sealed| FileKind::Memory { shrink_sealed });
    proptest::option::of(prop_oneof![memory, Just(FileKind::Event), Just(FileKind::Other)])
}

/// Any HELLO, mostly of our version.
fn greeting() -> impl Strategy<Value = Message> {
    let window = prop_oneof![3 => Just((VERSION, VERSION)), 1 => any::<(u16, u16)>()];
    (window, any::<(u16, u16, u8)>()).prop_map(|((min_version, max_version), (m2s, s2m, log2))| {
        Message::Hello(Hello {
            name: Name::new("walk"),
            min_version,
            max_version,
            max_region: 0,
            max_m2s_ring: m2s,
            max_s2m_ring: s2m,
            max_log2_ring_size: log2,
        })
    })
}

/// What a server may say, right and wrong.
fn answer() -> impl Strategy<Value = Message> {
    prop_oneof![
        1 => greeting(),
        20 => Just(Message::Ack),
        4 => Just(Message::Connected(Name::new("walk"))),
        1 => message(),
    ]
}

proptest! {
    #[test]
    fn server_takes_only_what_is_correct(
        correct in 0..6_usize,
        walk in proptest::collection::vec(
            (message(), proptest::bool::weighted(0.95), proptest::option::weighted(0.05, attached())),
            0..40,
        ),
    ) {
        let start = script().into_iter().take(correct).map(|message| (message, false, None));
        drive_server(start.chain(walk));
    }

    #[test]
    fn client_comes_up_only_after_every_answer(first in greeting(), walk in proptest::collection::vec(answer(), 0..12)) {
        drive_client(std::iter::once(first).chain(walk));
    }
}
