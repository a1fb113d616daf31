//! Random walks through both machines: nothing panics, and no walk reaches a link except through a correct sequence.
//! PROPTEST_CASES=100000 makes it a soak.

use proptest::prelude::*;

use super::client::{self, Client, Offer, Wanted};
use super::server::{self, Availability, Directory, Rules, Server, hello};
use super::{Attached, FileKind, Mode, Placement, SealPolicy};
use crate::message::{AddRegion, AddRing, Direction, Hello, Init, Message, Name, VERSION};
use crate::secret::Secret;
use crate::shm::CacheLine;

/// Three interfaces: 0 is free, 1 has a secret, 2 is taken.
struct Three(Rules, Rules);

impl Directory for Three {
    fn find(&self, id: u32) -> Option<(Availability, &Rules)> {
        match id {
            0 => Some((Availability::Free, &self.0)),
            1 => Some((Availability::Free, &self.1)),
            2 => Some((Availability::Busy, &self.0)),
            _ => None,
        }
    }
}

fn three() -> Three {
    let rules = |secret| Rules {
        interface: Name::new("walk"),
        mode: Mode::Ethernet,
        secret: Secret::new(secret).unwrap(),
        seals: SealPolicy::Require,
        max_memory: 1 << 20,
        cache_line: CacheLine::B64,
    };
    Three(rules(""), rules("psst"))
}

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
    proptest::option::of(prop_oneof![memory, Just(FileKind::Anonymous), Just(FileKind::Other)])
}

/// Attaches what a correct client would, unless `wrong` says otherwise.
fn attach(message: &Message, wrong: Option<Option<FileKind>>) -> Option<Attached> {
    let right = match message {
        Message::AddRegion(_) => Some(FileKind::Memory { shrink_sealed: true }),
        Message::AddRing(_) => Some(FileKind::Anonymous),
        _ => None,
    };
    wrong.unwrap_or(right).map(|kind| Attached { kind, size: 8192 })
}

/// What the server has taken, judged independently of it.
#[derive(Default)]
struct Witness {
    bound: bool,
    regions: Vec<u64>,
    /// Direction, region, first byte, first byte after.
    rings: Vec<(Direction, u16, u64, u64)>,
}

impl Witness {
    /// Gives the message the index that is next, as a correct client would.
    fn number(&self, message: &mut Message) {
        let next = |count: usize| u16::try_from(count).unwrap();
        match message {
            Message::AddRegion(region) => region.index = next(self.regions.len()),
            Message::AddRing(ring) => {
                ring.index = next(self.rings.iter().filter(|taken| taken.0 == ring.direction).count());
            }
            _ => {}
        }
    }

    /// Checks one effect against everything before it.
    fn see(&mut self, effect: &server::Effect) {
        match effect {
            server::Effect::Bind { .. } => {
                assert!(!self.bound, "bound twice");
                self.bound = true;
            }
            server::Effect::KeepRegion { size } => {
                assert!(self.bound && (1..=8192).contains(size));
                self.regions.push(*size);
            }
            server::Effect::KeepRing { direction, placement, duplicate_of } => {
                self.see_ring(*direction, placement, *duplicate_of);
            }
            server::Effect::BringUp { .. } => assert!(self.bound && !self.rings.is_empty()),
            server::Effect::Ended(_) => {}
        }
    }

    fn see_ring(&mut self, direction: Direction, placement: &Placement, duplicate_of: Option<u16>) {
        let first = u64::from(placement.offset);
        let end = first + 128 + 16 * 2_u64.pow(placement.log2_size.into());
        assert!(self.bound && end <= self.regions[usize::from(placement.region)]);
        let ring = (direction, placement.region, first, end);
        match duplicate_of {
            Some(_) => assert!(self.rings.contains(&ring)),
            None => {
                let apart =
                    |other: &(Direction, u16, u64, u64)| other.1 != ring.1 || other.3 <= first || end <= other.2;
                assert!(self.rings.iter().all(apart), "{ring:?} among {:?}", self.rings);
            }
        }
        self.rings.push(ring);
    }
}

fn client() -> Client {
    Client::new(Wanted {
        id: 0,
        mode: Mode::Ethernet,
        secret: Secret::NONE,
        s2m_rings: 2,
        m2s_rings: 1,
        log2_ring_size: 10,
        app_name: Name::new("walk"),
        interface: Name::new("walk"),
    })
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
        let directory = three();
        let (mut server, mut witness) = (Server::new(), Witness::default());
        let start = script().into_iter().take(correct).map(|message| (message, false, None));
        let mut up = false;
        for (mut message, numbered, wrong) in start.chain(walk) {
            let was_up = up;
            if numbered {
                witness.number(&mut message);
            }
            match server.on_message(&message, attach(&message, wrong), &directory) {
                Ok((effect, reply)) => {
                    witness.see(&effect);
                    up = up || matches!(effect, server::Effect::BringUp { .. });
                    let ended = matches!(effect, server::Effect::Ended(_));
                    prop_assert!(!was_up || ended, "only DISCONNECT is taken once the link is up");
                    let connected = matches!(reply, Some(Message::Connected(_)));
                    prop_assert_eq!(connected, matches!(effect, server::Effect::BringUp { .. }));
                    prop_assert_eq!(reply.is_none(), ended);
                }
                Err(refusal) => prop_assert!(!refusal.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn client_comes_up_only_after_every_answer(first in greeting(), walk in proptest::collection::vec(answer(), 0..12)) {
        let mut client = client();
        let placement = |offset| Placement { region: 0, offset, log2_size: 1 };
        let offer = Offer { regions: vec![640], s2m: vec![placement(0), placement(160)], m2s: vec![placement(320)] };
        let (mut hellos, mut acks) = (0, 0);
        for answer in std::iter::once(first).chain(walk) {
            match client.on_message(&answer) {
                Ok(client::Effect::Prepare { agreed, .. }) => {
                    hellos += 1;
                    prop_assert!(agreed.s2m_rings <= 2 && agreed.m2s_rings == 1);
                    prop_assert!((1..=10).contains(&agreed.log2_ring_size));
                    prop_assert!(client.offer(offer.clone()).is_ok());
                }
                Ok(client::Effect::Send(..)) => acks += 1,
                Ok(client::Effect::BringUp { .. }) => prop_assert_eq!((hellos, acks), (1, 5)),
                Ok(client::Effect::None | client::Effect::Ended(_)) | Err(_) => {}
            }
        }
    }
}
