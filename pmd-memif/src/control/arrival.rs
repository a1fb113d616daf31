//! How connections begin: accepted from a listener, or made by a client.

use std::collections::btree_map::Entry;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::connection::{Connection, End, Side};
use super::interface::{Key, Token};
use super::limiter::Limiter;
use super::reactor::Reactor;
use super::{DownReason, InterfaceConfig, ServerConfig};
use crate::address::Address;
use crate::handshake::Refusal;
use crate::handshake::client::Client;
use crate::handshake::server::{Server, hello};
use crate::listener::{ListenError, Listener};
use crate::socket::Connection as Socket;

/// Connections of one listener that have not named an interface yet. One more, and the oldest has to go: a live client
/// sends INIT within microseconds, so the oldest is the least likely to be one.
pub(super) const MAX_NAMELESS: usize = 64;

/// Clients accepted before others get their turn.
const TURN: usize = 64;

/// How long a listener rests when the process has no file descriptors left.
const REST: Duration = Duration::from_millis(100);

/// A listener and the interfaces' address that it serves.
pub(super) struct Listening {
    pub(super) listener: Listener,
    pub(super) address: Address,
    /// While it rests, epoll does not watch it.
    pub(super) paused_until: Option<Instant>,
    limiter: Limiter,
}

impl Listening {
    pub(super) fn open(address: &Address, server: &ServerConfig) -> Result<Self, ListenError> {
        let listener = match server.inherited {
            Some(fd) => Listener::inherit(fd, address)?,
            None => Listener::bind(address, server.file)?,
        };
        Ok(Self { listener, address: address.clone(), paused_until: None, limiter: Limiter::default() })
    }

    /// A client was refused before it had named an interface of ours. One that only looked whether somebody listens is
    /// not worth a warning.
    pub(super) fn turned_away(&mut self, reason: &DownReason, pid: i32, now: Instant) {
        if matches!(reason, DownReason::Refused(_)) {
            self.warn(&format!("{}: client with pid {pid}: {reason}", self.address), now);
        }
    }

    fn warn(&mut self, text: &str, now: Instant) {
        if self.limiter.allows(text, now) {
            tracing::warn!("{text}");
        }
    }
}

impl Reactor {
    /// Takes the clients that wait.
    pub(super) fn accept_from(&mut self, token: Token) {
        for _ in 0..TURN {
            let Some(listening) = self.listeners.get(&token) else { return };
            match listening.listener.accept() {
                Ok(socket) => self.greet(token, socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_about_one_client(&error) => {}
                Err(error) => return self.rest(token, &error),
            }
        }
    }

    /// Sends HELLO at once (statement 1).
    fn greet(&mut self, listener: Token, socket: Socket) {
        let Some(listening) = self.listeners.get(&listener) else { return };
        let at_address = self.interfaces.at(&listening.address);
        let Some((_, first)) = at_address.servers().next() else { return };
        let app_name = first.config.app_name.clone();
        // The interface's own limit counts as soon as INIT has named it.
        let limit = at_address.servers().map(|(_, server)| server.config.handshake_timeout).max();
        let side = Side::Server { machine: Server::new(), listener };
        // A client that cannot be asked for or greeted needs no more.
        let Ok(mut connection) = Connection::new(socket, side, Instant::now()) else { return };
        connection.limit = limit;
        if connection.send(&hello(&app_name)).is_ok() {
            self.admit(connection);
            self.bound_nameless(listener);
        }
    }

    fn admit(&mut self, connection: Connection) -> Option<Token> {
        let token = self.next_token();
        if let Err(error) = self.watch(&connection.socket, token) {
            tracing::warn!("memif: cannot watch a connection: {error}");
            return None;
        }
        self.connections.insert(token, connection);
        Some(token)
    }

    fn bound_nameless(&mut self, listener: Token) {
        let all = self.connections.iter().filter(|(_, connection)| connection.is_nameless_at(listener));
        let all: Vec<Token> = all.map(|(token, _)| *token).collect();
        let excess = all.len().saturating_sub(MAX_NAMELESS);
        for token in &all[..excess] {
            // Its INIT may have come while others were accepted.
            self.read_from(*token);
            if let Entry::Occupied(oldest) = self.connections.entry(*token)
                && oldest.get().is_nameless_at(listener)
            {
                let oldest = oldest.remove();
                self.end(*token, oldest, Refusal::Crowded.into());
            }
        }
    }

    /// Without file descriptors, accept fails for as long as epoll reports the listener: let it rest instead of spinning.
    fn rest(&mut self, token: Token, error: &io::Error) {
        let Some(listening) = self.listeners.get_mut(&token) else { return };
        let now = Instant::now();
        let text =
            format!("{}: cannot accept a client, next try in {} ms: {error}", listening.address, REST.as_millis());
        listening.warn(&text, now);
        listening.paused_until = Some(now + REST);
        if let Some(listening) = self.listeners.get(&token) {
            self.unwatch(&listening.listener);
        }
    }

    /// Ends the rest of a listener.
    pub(super) fn resume(&mut self, token: Token) {
        let Some(listening) = self.listeners.get(&token) else { return };
        match self.watch(&listening.listener, token) {
            Ok(()) => {
                if let Some(listening) = self.listeners.get_mut(&token) {
                    listening.paused_until = None;
                }
            }
            Err(error) => self.rest(token, &error),
        }
    }

    /// Closes a listener that no interface needs, with the clients that have not named one.
    pub(super) fn close_listener(&mut self, address: &Address) {
        let Some(token) = self.listeners.iter().find(|(_, it)| it.address == *address).map(|(token, _)| *token) else {
            return;
        };
        if let Some(listening) = self.listeners.remove(&token) {
            self.unwatch(&listening.listener);
        }
        let orphans = self
            .connections
            .iter()
            .filter(|(_, connection)| matches!(connection.side, Side::Server { listener, .. } if listener == token));
        let orphans: Vec<Token> = orphans.map(|(token, _)| *token).collect();
        for orphan in orphans {
            if let Some(connection) = self.connections.remove(&orphan) {
                self.end(orphan, connection, End::Tell(DownReason::Closed));
            }
        }
    }

    /// One attempt of a client to reach its server.
    pub(super) fn connect(&mut self, key: Key, now: Instant) {
        let Some(interface) = self.interfaces.0.get_mut(&key) else { return };
        interface.retry_at = None;
        let Some(machine) = interface.wanted().map(Client::new) else { return };
        let connection = match attempt(&interface.config, machine, key, now) {
            Ok(connection) => connection,
            Err(error) => {
                let address = interface.config.address.to_string();
                let reason = DownReason::Unreachable { address, cause: unreachable_cause(&error) };
                return interface.attempt_failed(&reason, now);
            }
        };
        let token = self.admit(connection);
        if let Some(interface) = self.interfaces.0.get_mut(&key) {
            interface.taken_by = token;
            if token.is_none() {
                interface.attempt_failed(&DownReason::Io("epoll".into()), now);
            }
        }
    }

    /// A server has just begun to listen: clients of this process need not wait for their next attempt.
    pub(super) fn wake_clients_of(&mut self, address: &Address, now: Instant) {
        for interface in self.interfaces.0.values_mut() {
            if interface.config.address == *address {
                interface.retry_now(now);
            }
        }
    }
}

fn attempt(config: &InterfaceConfig, machine: Client, key: Key, now: Instant) -> io::Result<Connection> {
    let socket = Socket::connect(&config.address)?;
    let side = Side::Client { machine, id: config.id };
    let mut connection = Connection::new(socket, side, now)?;
    connection.interface = Some(key);
    connection.limit = Some(config.handshake_timeout);
    Ok(connection)
}

/// What an error of connect(2) means for a memif.
fn unreachable_cause(error: &io::Error) -> String {
    let meaning = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "no server listens there yet",
        io::ErrorKind::WouldBlock => "too many clients wait for that server",
        io::ErrorKind::PermissionDenied => "no permission: the socket file must be writable for this user",
        _ if error.raw_os_error() == Some(Errno::EPROTOTYPE as i32) => "that socket is not of memif's kind (SEQPACKET)",
        _ => return error.to_string(),
    };
    meaning.to_owned()
}

/// Errors of accept(2) that say nothing about the next client.
fn is_about_one_client(error: &io::Error) -> bool {
    const PASSING: [Errno; 4] = [Errno::ECONNABORTED, Errno::EINTR, Errno::EPERM, Errno::EPROTO];
    error.raw_os_error().is_some_and(|raw| PASSING.contains(&Errno::from_raw(raw)))
}
