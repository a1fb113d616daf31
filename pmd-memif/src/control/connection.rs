//! One connection on the control thread: its socket, its handshake, and what was shared so far.

use std::io;
use std::time::{Duration, Instant};

use super::interface::{Key, Token};
use super::{DownReason, Memory, Peer};
use crate::handshake::client::{Attachment, Client};
use crate::handshake::server::Server;
use crate::handshake::{Refusal, client};
use crate::message::{Direction, Message};
use crate::socket::{Connection as Socket, Datagram, Received};

/// A connection, from accept or connect to its end.
pub(super) struct Connection {
    /// What has been offered or received; handed over when the link comes up. It is closed before the socket (fields are
    /// dropped in this order), so that a peer that sees the end knows its memory free.
    pub(super) memory: Memory,
    pub(super) socket: Socket,
    pub(super) side: Side,
    /// The interface that it has.
    pub(super) interface: Option<Key>,
    pub(super) peer: Peer,
    pub(super) started: Instant,
    /// Time for the whole handshake, until the link is up.
    pub(super) limit: Option<Duration>,
}

/// Which machine runs the handshake.
pub(super) enum Side {
    Server { machine: Server, listener: Token },
    Client { machine: Client, id: u32 },
}

/// How a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// We end it, and say why.
    Tell(DownReason),
    /// The other end is gone or has had the last word.
    Silent(DownReason),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Tell(DownReason::Refused(refusal))
    }
}

impl Connection {
    /// A connection at its beginning, of no interface yet, without a limit.
    pub(super) fn new(socket: Socket, side: Side, started: Instant) -> io::Result<Self> {
        let credentials = socket.peer_credentials()?;
        let peer = Peer { app_name: String::new(), interface: String::new(), credentials };
        Ok(Self { memory: Memory::default(), socket, side, interface: None, peer, started, limit: None })
    }

    /// Whether it came from this listener and has not named an interface.
    pub(super) fn is_nameless_at(&self, of: Token) -> bool {
        self.interface.is_none() && matches!(self.side, Side::Server { listener, .. } if listener == of)
    }

    /// When its handshake must be finished.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.limit.map(|limit| self.started + limit)
    }

    /// The refusal for a deadline that has passed.
    pub(super) fn on_deadline(&mut self) -> Refusal {
        let limit = self.limit.unwrap_or_default();
        match &mut self.side {
            Side::Server { machine, .. } => machine.on_deadline(limit),
            Side::Client { machine, .. } => machine.on_deadline(limit),
        }
    }

    /// The next message with its descriptors; `None` when there is none now.
    pub(super) fn receive(&self) -> Result<Option<(Message, Datagram)>, End> {
        match self.socket.receive() {
            Ok(Received::Nothing) => Ok(None),
            Ok(Received::Eof) => Err(End::Silent(self.eof())),
            Err(error) => Err(End::Silent(DownReason::Io(error.to_string()))),
            Ok(Received::Datagram(datagram)) => {
                let message = decode(&datagram)?;
                Ok(Some((message, datagram)))
            }
        }
    }

    fn eof(&self) -> DownReason {
        match &self.side {
            Side::Client { machine, id } if machine.awaits_judgement_of_init() => DownReason::EofAfterInit(*id),
            _ => DownReason::Eof,
        }
    }

    /// Sends a message without a descriptor.
    pub(super) fn send(&self, message: &Message) -> Result<(), End> {
        self.send_with(message, Attachment::Nothing)
    }

    /// Sends a message with a descriptor of our own memory. That the peer is gone is for [`Self::receive`] to say.
    pub(super) fn send_with(&self, message: &Message, attachment: Attachment) -> Result<(), End> {
        let fd = match attachment {
            Attachment::Nothing => None,
            Attachment::Region(at) => Some(&self.memory.regions[at].fd),
            Attachment::Ring(Direction::S2m, at) => Some(&self.memory.s2m[at].fd),
            Attachment::Ring(Direction::M2s, at) => Some(&self.memory.m2s[at].fd),
        };
        let fds: Vec<_> = fd.into_iter().map(std::os::fd::AsFd::as_fd).collect();
        match self.socket.send(&message.encode(), &fds) {
            // The peer is gone. Its last words may still wait to be read, then comes the end.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
            Err(error) => Err(End::Silent(DownReason::Io(error.to_string()))),
            Ok(()) => Ok(()),
        }
    }

    /// Tells the peer why this is the end. What it sent and we have not read is taken off the socket first, else the
    /// kernel would report a reset to the peer before our words.
    pub(super) fn say_goodbye(&self, reason: &DownReason) {
        const LEFT_BEHIND: usize = 64;
        let text = match reason {
            DownReason::Refused(refusal) => refusal.to_string(),
            other => other.to_string(),
        };
        for _ in 0..LEFT_BEHIND {
            if !matches!(self.socket.receive(), Ok(Received::Datagram(_))) {
                break;
            }
        }
        // A peer that cannot be told sees the end of the connection.
        let _ = self.socket.send(&Message::disconnect(&text).encode(), &[]);
    }

    /// Sizes and places of our own memory, for the handshake.
    pub(super) fn offer(&self) -> client::Offer {
        let places = |rings: &[super::Ring]| rings.iter().map(|ring| ring.placement).collect();
        client::Offer {
            regions: self.memory.regions.iter().map(|region| region.size).collect(),
            s2m: places(&self.memory.s2m),
            m2s: places(&self.memory.m2s),
        }
    }
}

fn decode(datagram: &Datagram) -> Result<Message, Refusal> {
    if datagram.size != crate::message::SIZE {
        return Err(Refusal::MessageSize(datagram.size));
    }
    if datagram.fds_lost {
        return Err(Refusal::DescriptorsLost);
    }
    Ok(Message::decode(&datagram.bytes)?)
}
