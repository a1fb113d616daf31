//! The server's side of one connection.
//!
//! ```text
//!   Accepted --INIT--> Bound --ADD_REGION*, ADD_RING*, CONNECT--> Up
//!      any message that does not belong there, the deadline, EOF: the connection ends
//! ```
//!
//! Regions and rings may come interleaved, a ring after the region that it names. From [`Effect::Bind`] on the
//! interface is taken; whoever owns the connection frees it when the connection ends.

use std::time::Duration;

use super::placement::Rings;
use super::{Attached, FileKind, MAX_LOG2_RING_SIZE, MAX_REGIONS, MAX_RINGS, Mode, Placement, Refusal, SealPolicy};
use crate::message::{AddRegion, AddRing, Direction, Hello, Init, Message, Name, Reason, VERSION};
use crate::secret::Secret;
use crate::shm::CacheLine;

/// What an interface asks of its client.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Name of the interface, for CONNECTED.
    pub(crate) interface: Name,
    /// Mode it must have.
    pub(crate) mode: Mode,
    /// Secret it must send; [`Secret::NONE`] takes any (statement 10).
    pub(crate) secret: Secret,
    /// Seals of its regions.
    pub(crate) seals: SealPolicy,
    /// Bytes that all its regions together may have.
    pub(crate) max_memory: u64,
    /// Cache line that shapes its ring headers.
    pub(crate) cache_line: CacheLine,
}

/// State of an interface for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Availability {
    /// It waits for a client.
    Free,
    /// It has one, or one is in its handshake.
    Busy,
    /// Administratively down.
    AdminDown,
    /// It is a client itself.
    ClientRole,
}

/// The interfaces of one listener.
pub(crate) trait Directory {
    /// The interface with this id.
    fn find(&self, id: u32) -> Option<(Availability, &Rules)>;
}

/// What the owner of the connection has to do before it sends the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The interface with this id is taken by this connection, whose peer has this name.
    Bind { id: u32, name: Name },
    /// Keep the attached descriptor as the next region.
    KeepRegion { size: u64 },
    /// Keep the attached descriptor as the next ring of its direction.
    KeepRing { direction: Direction, placement: Placement, duplicate_of: Option<u16> },
    /// Take the link into service; its peer's interface has this name. Only then send the reply.
    BringUp { interface: Name },
    /// The peer ended the connection, with this reason; it gets no answer (statement 30).
    Ended(Reason),
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Server {
    state: State,
    /// The interface that INIT named, once it was found; also when it was refused then.
    named: Option<u32>,
}

#[derive(Debug)]
enum State {
    Accepted,
    Bound(Offer),
    Up,
    Closed,
}

/// What the client has brought so far, and the rules for it.
#[derive(Debug)]
struct Offer {
    rules: Rules,
    regions: Vec<u64>,
    rings: Rings,
}

/// The greeting of every new connection (statements 1 and 4).
pub(crate) fn hello(app_name: &str) -> Message {
    Message::Hello(Hello {
        name: Name::new(app_name),
        min_version: VERSION,
        max_version: VERSION,
        max_region: MAX_REGIONS - 1,
        max_m2s_ring: MAX_RINGS - 1,
        max_s2m_ring: MAX_RINGS - 1,
        max_log2_ring_size: MAX_LOG2_RING_SIZE,
    })
}

impl Server {
    /// A connection just accepted, to which [`hello`] was sent.
    pub(crate) fn new() -> Self {
        Self { state: State::Accepted, named: None }
    }

    /// The interface this connection is about, as far as that is known.
    pub(crate) fn named(&self) -> Option<u32> {
        self.named
    }

    /// Takes a message with what is known of its first descriptor.
    ///
    /// # Errors
    /// The rule it breaks; the machine takes nothing more after that.
    pub(crate) fn on_message(
        &mut self,
        message: &Message,
        attached: Option<Attached>,
        directory: &impl Directory,
    ) -> Result<(Effect, Option<Message>), Refusal> {
        let step = self.step(message, attached, directory);
        if step.is_err() {
            self.state = State::Closed;
        }
        step
    }

    /// The refusal for a client that did not come this far in time.
    pub(crate) fn on_deadline(&mut self, limit: Duration) -> Refusal {
        let awaited = self.awaited();
        self.state = State::Closed;
        Refusal::Deadline { limit, awaited }
    }

    fn step(
        &mut self,
        message: &Message,
        attached: Option<Attached>,
        directory: &impl Directory,
    ) -> Result<(Effect, Option<Message>), Refusal> {
        match (&mut self.state, message) {
            (State::Closed, _) => Err(self.out_of_state(message)),
            (_, Message::Disconnect { reason, .. }) => {
                self.state = State::Closed;
                Ok((Effect::Ended(*reason), None))
            }
            (State::Accepted, Message::Init(init)) => {
                let effect = self.bind(init, directory)?;
                Ok((effect, Some(Message::Ack)))
            }
            (State::Bound(offer), Message::AddRegion(region)) => {
                Ok((offer.add_region(region, attached)?, Some(Message::Ack)))
            }
            (State::Bound(offer), Message::AddRing(ring)) => Ok((offer.add_ring(ring, attached)?, Some(Message::Ack))),
            (State::Bound(offer), Message::Connect(interface)) => {
                if offer.rings.is_empty() {
                    return Err(Refusal::NoRings);
                }
                let connected = Message::Connected(offer.rules.interface);
                self.state = State::Up;
                Ok((Effect::BringUp { interface: *interface }, Some(connected)))
            }
            _ => Err(self.out_of_state(message)),
        }
    }

    fn bind(&mut self, init: &Init, directory: &impl Directory) -> Result<Effect, Refusal> {
        if init.version != VERSION {
            return Err(Refusal::Version(init.version));
        }
        let (availability, rules) = directory.find(init.id).ok_or(Refusal::UnknownId(init.id))?;
        self.named = Some(init.id);
        check_access(init, availability, rules)?;
        self.state = State::Bound(Offer { rules: rules.clone(), regions: Vec::new(), rings: Rings::default() });
        Ok(Effect::Bind { id: init.id, name: init.name })
    }

    fn out_of_state(&self, message: &Message) -> Refusal {
        Refusal::OutOfState { got: message.kind(), awaited: self.awaited() }
    }

    fn awaited(&self) -> &'static str {
        match self.state {
            State::Accepted => "INIT",
            State::Bound(_) => "ADD_REGION, ADD_RING or CONNECT",
            State::Up => "DISCONNECT",
            State::Closed => "nothing",
        }
    }
}

/// The secret comes before availability, so that a stranger learns nothing about the interface.
fn check_access(init: &Init, availability: Availability, rules: &Rules) -> Result<(), Refusal> {
    if availability == Availability::ClientRole {
        return Err(Refusal::ClientRole(init.id));
    }
    if !rules.secret.is_none() && init.secret != rules.secret {
        return Err(if init.secret.is_none() { Refusal::SecretMissing } else { Refusal::SecretWrong });
    }
    if init.mode != rules.mode.wire() {
        return Err(Refusal::ModeMismatch { theirs: init.mode, ours: rules.mode });
    }
    match availability {
        Availability::Free => Ok(()),
        Availability::AdminDown => Err(Refusal::AdminDown(init.id)),
        Availability::Busy | Availability::ClientRole => Err(Refusal::Busy(init.id)),
    }
}

impl Offer {
    fn add_region(&mut self, region: &AddRegion, attached: Option<Attached>) -> Result<Effect, Refusal> {
        let AddRegion { index, size } = *region;
        if usize::from(index) != self.regions.len() {
            return Err(Refusal::RegionIndex { got: index, next: self.regions.len() });
        }
        if index >= MAX_REGIONS {
            return Err(Refusal::TooManyRegions(index));
        }
        self.check_memory(index, attached.ok_or(Refusal::RegionWithoutFd(index))?, size)?;
        self.regions.push(size);
        Ok(Effect::KeepRegion { size })
    }

    fn check_memory(&self, index: u16, file: Attached, size: u64) -> Result<(), Refusal> {
        let FileKind::Memory { shrink_sealed } = file.kind else { return Err(Refusal::NotMemory(index)) };
        if !shrink_sealed && self.rules.seals == SealPolicy::Require {
            return Err(Refusal::NotSealed(index));
        }
        if size == 0 {
            return Err(Refusal::EmptyRegion(index));
        }
        if size > file.size {
            return Err(Refusal::RegionBeyondFile { index, size, file: file.size });
        }
        let left = self.rules.max_memory.saturating_sub(self.regions.iter().sum());
        if size > left {
            return Err(Refusal::RegionTooLarge { index, size, left });
        }
        Ok(())
    }

    fn add_ring(&mut self, ring: &AddRing, attached: Option<Attached>) -> Result<Effect, Refusal> {
        let AddRing { direction, index, region, offset, log2_ring_size: log2_size, .. } = *ring;
        let eventfd = attached.ok_or(Refusal::RingWithoutFd { direction, index })?;
        if eventfd.kind != FileKind::Event {
            return Err(Refusal::NotEventFd { direction, index });
        }
        let duplicate_of = self.rings.add(ring, &self.regions, self.rules.cache_line)?;
        Ok(Effect::KeepRing { direction, placement: Placement { region, offset, log2_size }, duplicate_of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Attached = Attached { kind: FileKind::Memory { shrink_sealed: true }, size: 4096 };
    const EVENT: Attached = Attached { kind: FileKind::Event, size: 0 };

    /// Interface 5 with the state and rules that a test wants.
    struct One(Availability, Rules);

    impl Directory for One {
        fn find(&self, id: u32) -> Option<(Availability, &Rules)> {
            (id == 5).then_some((self.0, &self.1))
        }
    }

    fn one(change: impl FnOnce(&mut Rules)) -> One {
        let mut rules = Rules {
            interface: Name::new("if5"),
            mode: Mode::Ethernet,
            secret: Secret::NONE,
            seals: SealPolicy::Require,
            max_memory: 1 << 20,
            cache_line: CacheLine::B64,
        };
        change(&mut rules);
        One(Availability::Free, rules)
    }

    fn init(secret: &str) -> Init {
        Init { version: VERSION, id: 5, mode: 0, secret: Secret::new(secret).unwrap(), name: Name::new("app") }
    }

    fn region(index: u16, size: u64) -> Message {
        Message::AddRegion(AddRegion { index, size })
    }

    fn ring(direction: Direction, index: u16, offset: u32) -> Message {
        Message::AddRing(AddRing { direction, index, region: 0, offset, log2_ring_size: 1, private_hdr_size: 0 })
    }

    /// A server that has taken INIT.
    fn bound(directory: &One) -> Server {
        let mut server = Server::new();
        let step = server.on_message(&Message::Init(init("")), None, directory);
        assert_eq!(step, Ok((Effect::Bind { id: 5, name: Name::new("app") }, Some(Message::Ack))));
        server
    }

    /// A server that has taken one region of 4096 bytes, too.
    fn with_region(directory: &One) -> Server {
        let mut server = bound(directory);
        let step = server.on_message(&region(0, 4096), Some(MEMORY), directory);
        assert_eq!(step, Ok((Effect::KeepRegion { size: 4096 }, Some(Message::Ack))));
        server
    }

    fn refusal(server: &mut Server, message: &Message, attached: Option<Attached>, directory: &One) -> Refusal {
        server.on_message(message, attached, directory).expect_err("a refusal")
    }

    fn refused_init(init: Init, directory: &One) -> Refusal {
        refusal(&mut Server::new(), &Message::Init(init), None, directory)
    }

    #[test]
    fn s4_hello_carries_highest_indices_and_log2_14() {
        let Message::Hello(hello) = hello("app") else { panic!("a HELLO") };
        assert_eq!((hello.min_version, hello.max_version), (0x0200, 0x0200));
        assert_eq!((hello.max_s2m_ring, hello.max_m2s_ring, hello.max_region), (254, 254, 255));
        assert_eq!(hello.max_log2_ring_size, 14);
    }

    #[test]
    fn s29_whole_handshake_acks_everything_and_answers_connect_with_connected_only() {
        let directory = one(|_| ());
        let mut server = with_region(&directory);
        for (direction, offset) in [(Direction::S2m, 0), (Direction::M2s, 160)] {
            let placement = Placement { region: 0, offset, log2_size: 1 };
            assert_eq!(
                server.on_message(&ring(direction, 0, offset), Some(EVENT), &directory),
                Ok((Effect::KeepRing { direction, placement, duplicate_of: None }, Some(Message::Ack)))
            );
        }
        assert_eq!(
            server.on_message(&Message::Connect(Name::new("peer0")), None, &directory),
            Ok((Effect::BringUp { interface: Name::new("peer0") }, Some(Message::Connected(Name::new("if5")))))
        );
    }

    #[test]
    fn s10_without_a_secret_any_is_taken() {
        let directory = one(|_| ());
        assert!(Server::new().on_message(&Message::Init(init("garbage")), None, &directory).is_ok());
    }

    #[test]
    fn s12_wrong_or_missing_secret_is_refused() {
        let directory = one(|rules| rules.secret = Secret::new("psst").unwrap());
        assert_eq!(refused_init(init(""), &directory), Refusal::SecretMissing);
        assert_eq!(refused_init(init("pssT"), &directory), Refusal::SecretWrong);
        assert_eq!(refused_init(init("psst2"), &directory), Refusal::SecretWrong);
        assert!(Server::new().on_message(&Message::Init(init("psst")), None, &directory).is_ok());
    }

    #[test]
    fn s12_a_stranger_does_not_learn_whether_the_interface_is_taken() {
        let One(_, rules) = one(|rules| rules.secret = Secret::new("psst").unwrap());
        assert_eq!(refused_init(init("guess"), &One(Availability::Busy, rules)), Refusal::SecretWrong);
    }

    #[test]
    fn s13_unknown_id_and_wrong_role_are_refused() {
        assert_eq!(refused_init(Init { id: 6, ..init("") }, &one(|_| ())), Refusal::UnknownId(6));
        let One(_, rules) = one(|_| ());
        assert_eq!(refused_init(init(""), &One(Availability::ClientRole, rules)), Refusal::ClientRole(5));
    }

    #[test]
    fn s14_taken_interface_is_refused_by_name() {
        let One(_, rules) = one(|_| ());
        let mut server = Server::new();
        let directory = One(Availability::Busy, rules);
        assert_eq!(refusal(&mut server, &Message::Init(init("")), None, &directory), Refusal::Busy(5));
        assert_eq!(server.named(), Some(5));
    }

    #[test]
    fn s16_mode_mismatch_is_refused() {
        for (mode, text) in [(1, "ip"), (2, "punt/inject (not supported)"), (77, "unknown")] {
            let refusal = refused_init(Init { mode, ..init("") }, &one(|_| ()));
            assert_eq!(refusal, Refusal::ModeMismatch { theirs: mode, ours: Mode::Ethernet });
            assert_eq!(refusal.to_string(), format!("mode {text} does not match ours, ethernet"));
        }
    }

    #[test]
    fn version_of_init_must_be_ours() {
        let refusal = refused_init(Init { version: 0x0300, ..init("") }, &one(|_| ()));
        assert_eq!(refusal.to_string(), "version 3.0 is not ours, 2.0");
    }

    #[test]
    fn s15_deadline_names_what_was_awaited() {
        let text = bound(&one(|_| ())).on_deadline(Duration::from_secs(2)).to_string();
        assert_eq!(text, "handshake not finished within 2000 ms, awaiting ADD_REGION, ADD_RING or CONNECT");
    }

    #[test]
    fn s17_region_and_ring_need_a_descriptor() {
        let directory = one(|_| ());
        assert_eq!(refusal(&mut bound(&directory), &region(0, 4096), None, &directory), Refusal::RegionWithoutFd(0));
        assert_eq!(
            refusal(&mut with_region(&directory), &ring(Direction::M2s, 0, 0), None, &directory),
            Refusal::RingWithoutFd { direction: Direction::M2s, index: 0 }
        );
    }

    #[test]
    fn descriptors_of_the_wrong_kind_are_refused() {
        let directory = one(|_| ());
        for kind in [FileKind::Other, FileKind::Event] {
            let file = Attached { kind, size: 4096 };
            assert_eq!(refusal(&mut bound(&directory), &region(0, 1), Some(file), &directory), Refusal::NotMemory(0));
        }
        for kind in [FileKind::Other, MEMORY.kind] {
            let file = Attached { kind, size: 4096 };
            assert_eq!(
                refusal(&mut with_region(&directory), &ring(Direction::S2m, 0, 0), Some(file), &directory),
                Refusal::NotEventFd { direction: Direction::S2m, index: 0 }
            );
        }
    }

    #[test]
    fn unsealed_memory_is_refused_unless_waived() {
        let file = Attached { kind: FileKind::Memory { shrink_sealed: false }, size: 4096 };
        let strict = one(|_| ());
        assert_eq!(refusal(&mut bound(&strict), &region(0, 1), Some(file), &strict), Refusal::NotSealed(0));
        let waived = one(|rules| rules.seals = SealPolicy::Waive);
        assert!(bound(&waived).on_message(&region(0, 1), Some(file), &waived).is_ok());
    }

    #[test]
    fn s21_region_index_is_the_number_already_added() {
        let directory = one(|_| ());
        assert_eq!(
            refusal(&mut with_region(&directory), &region(0, 1), Some(MEMORY), &directory),
            Refusal::RegionIndex { got: 0, next: 1 }
        );
        assert_eq!(
            refusal(&mut bound(&directory), &region(65535, 1), Some(MEMORY), &directory),
            Refusal::RegionIndex { got: 65535, next: 0 }
        );
    }

    #[test]
    fn s21_at_most_256_regions() {
        let directory = one(|_| ());
        let mut server = bound(&directory);
        for index in 0..256 {
            assert!(server.on_message(&region(index, 1), Some(MEMORY), &directory).is_ok());
        }
        assert_eq!(refusal(&mut server, &region(256, 1), Some(MEMORY), &directory), Refusal::TooManyRegions(256));
    }

    #[test]
    fn s24_region_size_is_positive_within_the_file_and_within_the_limit() {
        let directory = one(|rules| rules.max_memory = 6000);
        assert_eq!(refusal(&mut bound(&directory), &region(0, 0), Some(MEMORY), &directory), Refusal::EmptyRegion(0));
        assert_eq!(
            refusal(&mut bound(&directory), &region(0, 4097), Some(MEMORY), &directory),
            Refusal::RegionBeyondFile { index: 0, size: 4097, file: 4096 }
        );
        assert_eq!(
            refusal(&mut with_region(&directory), &region(1, 1905), Some(MEMORY), &directory),
            Refusal::RegionTooLarge { index: 1, size: 1905, left: 1904 }
        );
        assert!(with_region(&directory).on_message(&region(1, 1904), Some(MEMORY), &directory).is_ok());
    }

    #[test]
    fn s28_messages_out_of_state_are_refused() {
        let directory = one(|_| ());
        let connected = Message::Connected(Name::new(""));
        let mut up = with_region(&directory);
        assert!(up.on_message(&ring(Direction::S2m, 0, 0), Some(EVENT), &directory).is_ok());
        assert!(up.on_message(&Message::Connect(Name::new("")), None, &directory).is_ok());
        let cases = [
            (Server::new(), hello("client"), "INIT"),
            (Server::new(), Message::Ack, "INIT"),
            (Server::new(), region(0, 1), "INIT"),
            (Server::new(), connected.clone(), "INIT"),
            (Server::new(), Message::Connect(Name::new("")), "INIT"),
            (bound(&directory), Message::Init(init("")), "ADD_REGION, ADD_RING or CONNECT"),
            (bound(&directory), connected, "ADD_REGION, ADD_RING or CONNECT"),
            (up, ring(Direction::S2m, 1, 160), "DISCONNECT"),
        ];
        for (mut server, message, awaited) in cases {
            let got = message.kind();
            assert_eq!(refusal(&mut server, &message, Some(MEMORY), &directory), Refusal::OutOfState { got, awaited });
            assert_eq!(
                refusal(&mut server, &Message::Init(init("")), None, &directory),
                Refusal::OutOfState { got: "INIT", awaited: "nothing" },
                "nothing is taken after a refusal"
            );
        }
    }

    #[test]
    fn connect_without_rings_is_refused() {
        let directory = one(|_| ());
        let connect = Message::Connect(Name::new(""));
        assert_eq!(refusal(&mut with_region(&directory), &connect, None, &directory), Refusal::NoRings);
    }

    #[test]
    fn s30_disconnect_ends_without_an_answer() {
        let directory = one(|_| ());
        for mut server in [Server::new(), bound(&directory), with_region(&directory)] {
            let step = server.on_message(&Message::disconnect("bye"), None, &directory);
            assert_eq!(step, Ok((Effect::Ended(Reason::new("bye")), None)));
        }
    }
}
