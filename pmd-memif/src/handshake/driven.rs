//! Both machines driven by any sequence of messages, and judged independently of them: no sequence panics, and none but a
//! correct one reaches a link. For random walks and for fuzzing.

use super::client::{self, Client, Offer, Wanted};
use super::server::{self, Availability, Directory, Rules, Server};
use super::{Attached, FileKind, Mode, Placement, SealPolicy};
use crate::message::{Direction, Message, Name};
use crate::secret::Secret;
use crate::shm::CacheLine;

/// Hands messages to a server, each with what is attached: `None` is what a correct client attaches. `true` beside a
/// message gives it the index that is next. Says whether the link came up.
pub(crate) fn drive_server(walk: impl Iterator<Item = (Message, bool, Option<Option<FileKind>>)>) -> bool {
    let directory = three();
    let (mut server, mut witness) = (Server::new(), Witness::default());
    let mut up = false;
    for (mut message, numbered, wrong) in walk {
        let was_up = up;
        if numbered {
            witness.number(&mut message);
        }
        match server.on_message(&message, attach(&message, wrong), &directory) {
            Ok((effect, reply)) => {
                witness.see(&effect);
                let brings_up = matches!(effect, server::Effect::BringUp { .. });
                up = up || brings_up;
                let ended = matches!(effect, server::Effect::Ended(_));
                assert!(!was_up || ended, "only DISCONNECT is taken once the link is up");
                assert_eq!(matches!(reply, Some(Message::Connected(_))), brings_up);
                assert_eq!(reply.is_none(), ended);
            }
            Err(refusal) => assert!(!refusal.to_string().is_empty()),
        }
    }
    up
}

/// Hands messages to a client that wants two rings one way and one the other. Says whether the link came up.
pub(crate) fn drive_client(answers: impl Iterator<Item = Message>) -> bool {
    let mut client = client();
    let placement = |offset| Placement { region: 0, offset, log2_size: 1 };
    let offer = Offer { regions: vec![640], s2m: vec![placement(0), placement(160)], m2s: vec![placement(320)] };
    let (mut hellos, mut acks, mut up) = (0, 0, false);
    for answer in answers {
        match client.on_message(&answer) {
            Ok(client::Effect::Prepare { agreed, .. }) => {
                hellos += 1;
                assert!(agreed.s2m_rings <= 2 && agreed.m2s_rings == 1);
                assert!((1..=10).contains(&agreed.log2_ring_size));
                assert!(client.offer(offer.clone()).is_ok());
            }
            Ok(client::Effect::Send(..)) => acks += 1,
            Ok(client::Effect::BringUp { .. }) => {
                assert_eq!((hellos, acks), (1, 5));
                up = true;
            }
            Ok(client::Effect::None | client::Effect::Ended(_)) | Err(_) => {}
        }
    }
    up
}

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

/// Attaches what a correct client would, unless `wrong` says otherwise.
fn attach(message: &Message, wrong: Option<Option<FileKind>>) -> Option<Attached> {
    let right = match message {
        Message::AddRegion(_) => Some(FileKind::Memory { shrink_sealed: true }),
        Message::AddRing(_) => Some(FileKind::Event),
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
