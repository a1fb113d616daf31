//! The client's side of one connection.
//!
//! ```text
//!   AwaitHello --HELLO--> Preparing --offer()--> Offering --ACK*--> AwaitConnected --CONNECTED--> Up
//! ```
//!
//! Lock-step: one message per answer (statement 8). The order is INIT, regions, rings S2M, rings M2S, CONNECT.

use std::time::Duration;

use super::{Agreed, MAX_LOG2_RING_SIZE, Mode, Placement, Refusal};
use crate::message::{AddRegion, AddRing, Direction, Hello, Init, Message, Name, Reason, VERSION};
use crate::secret::Secret;

/// What the client asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Interface id on the server's socket.
    pub(crate) id: u32,
    /// What the packets are.
    pub(crate) mode: Mode,
    /// Secret of the interface, or [`Secret::NONE`].
    pub(crate) secret: Secret,
    /// Rings from client to server.
    pub(crate) s2m_rings: u16,
    /// Rings from server to client.
    pub(crate) m2s_rings: u16,
    /// log2 of the slots of every ring, 1 to 14.
    pub(crate) log2_ring_size: u8,
    /// Our application's name.
    pub(crate) app_name: Name,
    /// Our interface's name.
    pub(crate) interface: Name,
}

/// Sizes and places of the memory that was made for what was agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Bytes of each region.
    pub(crate) regions: Vec<u64>,
    /// Rings from client to server.
    pub(crate) s2m: Vec<Placement>,
    /// Rings from server to client.
    pub(crate) m2s: Vec<Placement>,
}

/// The descriptor that goes with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// None.
    Nothing,
    /// The memory of this region.
    Region(usize),
    /// The eventfd of this ring.
    Ring(Direction, usize),
}

/// What the owner of the connection has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Send this.
    Send(Message, Attachment),
    /// Make memory for this and call [`Client::offer`]. The server's application has this name.
    Prepare { agreed: Agreed, server: Name },
    /// Take the link into service; its peer's interface has this name.
    BringUp { interface: Name },
    /// The server ended the connection, with this reason; it gets no answer (statement 30).
    Ended(Reason),
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Client {
    wanted: Wanted,
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitHello,
    Preparing,
    /// `sent` messages after INIT are out; the next ACK calls for one more.
    Offering {
        offer: Offer,
        sent: usize,
    },
    AwaitConnected,
    Up,
    Closed,
}

impl Client {
    /// A connection just made.
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, state: State::AwaitHello }
    }

    /// Takes a message of the server.
    ///
    /// # Errors
    /// The rule it breaks; the machine takes nothing more after that.
    pub(crate) fn on_message(&mut self, message: &Message) -> Result<Effect, Refusal> {
        let step = self.step(message);
        if step.is_err() {
            self.state = State::Closed;
        }
        step
    }

    /// The memory is there: INIT may go out.
    ///
    /// # Errors
    /// Nobody asked for it.
    pub(crate) fn offer(&mut self, offer: Offer) -> Result<Effect, Refusal> {
        if !matches!(self.state, State::Preparing) {
            return Err(Refusal::OutOfState { got: "memory", awaited: self.awaited() });
        }
        self.state = State::Offering { offer, sent: 0 };
        Ok(Effect::Send(Message::Init(self.init()), Attachment::Nothing))
    }

    /// The refusal for a server that did not come this far in time.
    pub(crate) fn on_deadline(&mut self, limit: Duration) -> Refusal {
        let awaited = self.awaited();
        self.state = State::Closed;
        Refusal::Deadline { limit, awaited }
    }

    /// Whether a connection that ends now, without a word, ended because of INIT: libmemif's server acknowledges an id
    /// that it does not have, and closes.
    pub(crate) fn awaits_judgement_of_init(&self) -> bool {
        matches!(self.state, State::Offering { sent: 0 | 1, .. })
    }

    fn step(&mut self, message: &Message) -> Result<Effect, Refusal> {
        match (&mut self.state, message) {
            (State::Closed, _) => Err(self.out_of_state(message)),
            (_, Message::Disconnect { reason, .. }) => {
                self.state = State::Closed;
                Ok(Effect::Ended(*reason))
            }
            (State::AwaitHello, Message::Hello(hello)) => {
                let agreed = agree(&self.wanted, hello)?;
                self.state = State::Preparing;
                Ok(Effect::Prepare { agreed, server: hello.name })
            }
            (State::Offering { offer, sent }, Message::Ack) => {
                let next = offer.message(*sent);
                *sent += 1;
                Ok(next.map_or_else(|| self.connect(), |(message, attachment)| Effect::Send(message, attachment)))
            }
            (State::AwaitConnected, Message::Connected(interface)) => {
                self.state = State::Up;
                Ok(Effect::BringUp { interface: *interface })
            }
            (State::Up, Message::Ack) => Ok(Effect::None),
            _ => Err(self.out_of_state(message)),
        }
    }

    fn connect(&mut self) -> Effect {
        self.state = State::AwaitConnected;
        Effect::Send(Message::Connect(self.wanted.interface), Attachment::Nothing)
    }

    fn init(&self) -> Init {
        Init {
            version: VERSION,
            id: self.wanted.id,
            mode: self.wanted.mode.wire(),
            secret: self.wanted.secret.clone(),
            name: self.wanted.app_name,
        }
    }

    fn out_of_state(&self, message: &Message) -> Refusal {
        Refusal::OutOfState { got: message.kind(), awaited: self.awaited() }
    }

    fn awaited(&self) -> &'static str {
        match self.state {
            State::AwaitHello => "HELLO",
            State::Preparing => "our own memory",
            State::Offering { .. } => "ACK",
            State::AwaitConnected => "CONNECTED",
            State::Up => "DISCONNECT",
            State::Closed => "nothing",
        }
    }
}

/// Statements 5 to 7. The limits are the highest index, so one more ring than the number (0xFFFF: 65536).
fn agree(wanted: &Wanted, hello: &Hello) -> Result<Agreed, Refusal> {
    if !(hello.min_version..=hello.max_version).contains(&VERSION) {
        return Err(Refusal::VersionWindow { min: hello.min_version, max: hello.max_version });
    }
    let log2_ring_size = wanted.log2_ring_size.min(hello.max_log2_ring_size).min(MAX_LOG2_RING_SIZE);
    if log2_ring_size == 0 {
        return Err(Refusal::RingLimit);
    }
    Ok(Agreed {
        s2m_rings: wanted.s2m_rings.min(hello.max_s2m_ring.saturating_add(1)),
        m2s_rings: wanted.m2s_rings.min(hello.max_m2s_ring.saturating_add(1)),
        log2_ring_size,
    })
}

impl Offer {
    /// The `n`th message after INIT; none when CONNECT is due.
    fn message(&self, n: usize) -> Option<(Message, Attachment)> {
        if let Some(&size) = self.regions.get(n) {
            let region = AddRegion { index: index(n), size };
            return Some((Message::AddRegion(region), Attachment::Region(n)));
        }
        let n = n - self.regions.len();
        if let Some(ring) = self.s2m.get(n) {
            return Some(add_ring(Direction::S2m, n, ring));
        }
        let n = n - self.s2m.len();
        self.m2s.get(n).map(|ring| add_ring(Direction::M2s, n, ring))
    }
}

fn add_ring(direction: Direction, n: usize, ring: &Placement) -> (Message, Attachment) {
    let message = AddRing {
        direction,
        index: index(n),
        region: ring.region,
        offset: ring.offset,
        log2_ring_size: ring.log2_size,
        private_hdr_size: 0,
    };
    (Message::AddRing(message), Attachment::Ring(direction, n))
}

/// Our own offers stay far below 65536 of anything; a larger index could only be refused by the server.
fn index(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::server;

    fn wanted() -> Wanted {
        Wanted {
            id: 7,
            mode: Mode::Ip,
            secret: Secret::NONE,
            s2m_rings: 2,
            m2s_rings: 3,
            log2_ring_size: 10,
            app_name: Name::new("app"),
            interface: Name::new("memif7"),
        }
    }

    fn hello(change: impl FnOnce(&mut Hello)) -> Message {
        let Message::Hello(mut hello) = server::hello("srv") else { panic!("a HELLO") };
        change(&mut hello);
        Message::Hello(hello)
    }

    fn agreed(wanted: Wanted, hello: &Message) -> Result<Agreed, Refusal> {
        match Client::new(wanted).on_message(hello)? {
            Effect::Prepare { agreed, .. } => Ok(agreed),
            other => panic!("Prepare, not {other:?}"),
        }
    }

    fn placement(region: u16, offset: u32) -> Placement {
        Placement { region, offset, log2_size: 10 }
    }

    fn offer() -> Offer {
        Offer { regions: vec![4096, 8192], s2m: vec![placement(0, 0)], m2s: vec![placement(0, 512), placement(1, 0)] }
    }

    /// A client to which everything up to the `acks`th ACK has happened, and its last effect.
    fn after(acks: usize) -> (Client, Effect) {
        let mut client = Client::new(wanted());
        client.on_message(&hello(|_| ())).unwrap();
        let mut effect = client.offer(offer()).unwrap();
        for _ in 0..acks {
            effect = client.on_message(&Message::Ack).unwrap();
        }
        (client, effect)
    }

    #[test]
    fn s5_version_window_must_include_2_0() {
        for (min, max, accepted) in
            [(0x0200, 0x0200, true), (0x0100, 0x0300, true), (0x0201, 0x0300, false), (0x0100, 0x01ff, false)]
        {
            let hello = hello(|hello| (hello.min_version, hello.max_version) = (min, max));
            assert_eq!(agreed(wanted(), &hello).is_ok(), accepted, "{min:#x} to {max:#x}");
        }
        let inverted = hello(|hello| (hello.min_version, hello.max_version) = (0x0300, 0x0100));
        assert_eq!(agreed(wanted(), &inverted), Err(Refusal::VersionWindow { min: 0x0300, max: 0x0100 }));
    }

    #[test]
    fn s6_ring_limits_are_highest_indices_without_overflow() {
        for (limit, wanted_rings, rings) in
            [(0, 2, 1), (1, 2, 2), (1, 255, 2), (254, 255, 255), (0xffff, 255, 255), (0xffff, 1, 1)]
        {
            let wanted = Wanted { s2m_rings: wanted_rings, m2s_rings: 1, ..wanted() };
            let agreed = agreed(wanted, &hello(|hello| hello.max_s2m_ring = limit)).unwrap();
            assert_eq!((agreed.s2m_rings, agreed.m2s_rings), (rings, 1));
        }
        let uneven = hello(|hello| (hello.max_s2m_ring, hello.max_m2s_ring) = (0, 1));
        let agreed = agreed(wanted(), &uneven).unwrap();
        assert_eq!((agreed.s2m_rings, agreed.m2s_rings), (1, 2));
    }

    #[test]
    fn s7_ring_size_is_the_smaller_of_both() {
        for (limit, log2) in [(14, 10), (10, 10), (4, 4), (255, 10), (1, 1)] {
            let hello = hello(|hello| hello.max_log2_ring_size = limit);
            assert_eq!(agreed(wanted(), &hello).unwrap().log2_ring_size, log2);
        }
        let hello = hello(|hello| hello.max_log2_ring_size = 0);
        assert_eq!(agreed(wanted(), &hello), Err(Refusal::RingLimit));
    }

    #[test]
    fn s8_everything_is_offered_in_order_one_message_per_ack() {
        let (mut client, first) = after(0);
        let mut sent = vec![first];
        for _ in 0..6 {
            sent.push(client.on_message(&Message::Ack).unwrap());
        }
        let ring = |direction, index, region, offset| {
            Message::AddRing(AddRing { direction, index, region, offset, log2_ring_size: 10, private_hdr_size: 0 })
        };
        let init = Init { version: 0x0200, id: 7, mode: 1, secret: Secret::NONE, name: Name::new("app") };
        let expected = [
            (Message::Init(init), Attachment::Nothing),
            (Message::AddRegion(AddRegion { index: 0, size: 4096 }), Attachment::Region(0)),
            (Message::AddRegion(AddRegion { index: 1, size: 8192 }), Attachment::Region(1)),
            (ring(Direction::S2m, 0, 0, 0), Attachment::Ring(Direction::S2m, 0)),
            (ring(Direction::M2s, 0, 0, 512), Attachment::Ring(Direction::M2s, 0)),
            (ring(Direction::M2s, 1, 1, 0), Attachment::Ring(Direction::M2s, 1)),
            (Message::Connect(Name::new("memif7")), Attachment::Nothing),
        ];
        assert_eq!(sent, expected.map(|(message, attachment)| Effect::Send(message, attachment)));
        assert_eq!(
            client.on_message(&Message::Connected(Name::new("if7"))),
            Ok(Effect::BringUp { interface: Name::new("if7") })
        );
        assert_eq!(client.on_message(&Message::Ack), Ok(Effect::None), "a late ACK does no harm");
    }

    #[test]
    fn s9_without_a_secret_24_zero_bytes_are_sent() {
        let (_, Effect::Send(init, _)) = after(0) else { panic!("INIT") };
        assert_eq!(init.encode()[9..33], [0; 24]);
    }

    #[test]
    fn s28_messages_out_of_state_are_refused() {
        let connected = Message::Connected(Name::new(""));
        let (offering, awaits_connected) = (after(1).0, after(6).0);
        let cases = [
            (Client::new(wanted()), Message::Ack, "HELLO"),
            (Client::new(wanted()), connected.clone(), "HELLO"),
            (offering, connected, "ACK"),
            (after(2).0, hello(|_| ()), "ACK"),
            (awaits_connected, Message::Ack, "CONNECTED"),
            (after(3).0, Message::Connect(Name::new("")), "ACK"),
        ];
        for (mut client, message, awaited) in cases {
            let got = message.kind();
            assert_eq!(client.on_message(&message), Err(Refusal::OutOfState { got, awaited }));
            assert!(client.on_message(&hello(|_| ())).is_err(), "nothing is taken after a refusal");
        }
    }

    #[test]
    fn an_ack_while_our_memory_is_made_is_refused() {
        let mut client = Client::new(wanted());
        client.on_message(&hello(|_| ())).unwrap();
        assert!(matches!(client.on_message(&Message::Ack), Err(Refusal::OutOfState { .. })));
        assert!(client.offer(offer()).is_err());
    }

    #[test]
    fn silence_after_init_is_about_init() {
        assert!(!Client::new(wanted()).awaits_judgement_of_init());
        assert!(after(0).0.awaits_judgement_of_init());
        assert!(after(1).0.awaits_judgement_of_init());
        assert!(!after(2).0.awaits_judgement_of_init());
    }

    #[test]
    fn s30_disconnect_ends_without_an_answer() {
        for mut client in [Client::new(wanted()), after(0).0, after(6).0] {
            assert_eq!(client.on_message(&Message::disconnect("no")), Ok(Effect::Ended(Reason::new("no"))));
        }
    }
}
