//! The control thread's loop: waits for sockets, commands and deadlines.
//!
//! 1. epoll reports a socket by its [`Token`]. A listener is accepted from ([`super::arrival`]), a connection is read
//!    ([`super::exchange`]).
//! 2. The eventfd reports commands: interfaces are opened, closed, set up and down.
//! 3. Between events, what is due is served: deadlines of handshakes, retries of clients, listeners that rested.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;

use super::arrival::Listening;
use super::connection::{Connection, End};
use super::interface::{Interface, Interfaces, Key, Token};
use super::{Command, DownReason, Endpoint, InterfaceConfig, LinkId, OpenError, Role, ServerConfig};
use crate::sigbus;

/// The eventfd's number in epoll; interfaces and sockets are numbered from 1.
const WAKE: Token = Token(0);

/// Everything the thread owns.
pub(super) struct Reactor {
    epoll: Epoll,
    wake: Arc<EventFd>,
    inbox: Receiver<Command>,
    last_number: u64,
    pub(super) interfaces: Interfaces,
    pub(super) listeners: BTreeMap<Token, Listening>,
    pub(super) connections: BTreeMap<Token, Connection>,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

impl Reactor {
    pub(super) fn new(wake: Arc<EventFd>, inbox: Receiver<Command>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE.0))?;
        Ok(Self {
            epoll,
            wake,
            inbox,
            last_number: WAKE.0,
            interfaces: Interfaces::default(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
        })
    }

    /// Runs until [`Command::Stop`].
    pub(super) fn run(mut self) {
        sigbus::set_alarm(Some(self.wake.as_fd()));
        self.turn();
        sigbus::set_alarm(None);
    }

    fn turn(&mut self) {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let ready = match self.epoll.wait(&mut events, self.pause()) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(errno) => {
                    tracing::error!("memif control thread ends: epoll_wait: {errno}");
                    return;
                }
            };
            for event in &events[..ready] {
                match Token(event.data()) {
                    WAKE if self.obey() == Flow::Stop => return,
                    WAKE => {}
                    token if self.listeners.contains_key(&token) => self.accept_from(token),
                    token => self.read_from(token),
                }
            }
            self.serve_what_is_due(Instant::now());
        }
    }

    pub(super) fn next_token(&mut self) -> Token {
        self.last_number += 1;
        Token(self.last_number)
    }

    pub(super) fn watch(&self, socket: &impl AsFd, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token.0))?)
    }

    pub(super) fn unwatch(&self, socket: &impl AsFd) {
        // It is about to be closed, or to rest; a socket that epoll does not know needs nothing.
        let _ = self.epoll.delete(socket.as_fd());
    }

    /// Time until something is due, rounded up to milliseconds.
    fn pause(&self) -> EpollTimeout {
        let handshakes = self.connections.values().filter_map(Connection::deadline);
        let retries = self.interfaces.0.values().filter_map(|interface| interface.retry_at);
        let rests = self.listeners.values().filter_map(|listening| listening.paused_until);
        let Some(next) = handshakes.chain(retries).chain(rests).min() else { return EpollTimeout::NONE };
        let pause = next.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        EpollTimeout::try_from(pause).unwrap_or(EpollTimeout::MAX)
    }

    fn serve_what_is_due(&mut self, now: Instant) {
        for token in due(&self.connections, now, Connection::deadline) {
            if let Some(mut connection) = self.connections.remove(&token) {
                let refusal = connection.on_deadline();
                self.end(token, connection, refusal.into());
            }
        }
        for key in due(&self.interfaces.0, now, |interface| interface.retry_at) {
            self.connect(key, now);
        }
        for token in due(&self.listeners, now, |listening| listening.paused_until) {
            self.resume(token);
        }
    }

    fn obey(&mut self) -> Flow {
        // Read before the commands, so that one that comes meanwhile wakes us again.
        let _ = self.wake.read();
        self.end_links_without_memory();
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Open { config, endpoint, reply }) => {
                    // Whoever asked waits for the answer.
                    let _ = reply.send(self.open(*config, endpoint));
                }
                Ok(Command::Close { key, reply }) => {
                    self.close(key);
                    let _ = reply.send(());
                }
                Ok(Command::SetAdminUp { key, up, reply }) => {
                    self.set_admin_up(key, up);
                    let _ = reply.send(());
                }
                Ok(Command::Disconnect { key, link, fault }) => self.end_link(key, link, fault),
                Err(TryRecvError::Empty) => return Flow::Continue,
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Flow::Stop,
            }
        }
    }

    /// SIGBUS rings as well, when a peer has truncated its memory (`crate::sigbus`).
    fn end_links_without_memory(&mut self) {
        let lost = |interface: &Interface| interface.taken_by.is_some() && interface.endpoint().has_lost_memory();
        let keys: Vec<_> =
            self.interfaces.0.iter().filter(|(_, interface)| lost(interface)).map(|(key, _)| *key).collect();
        for key in keys {
            self.disconnect(key, DownReason::Fault("truncated a file that is mapped here".to_owned()));
        }
    }

    pub(super) fn open(&mut self, config: InterfaceConfig, endpoint: Arc<dyn Endpoint>) -> Result<Key, OpenError> {
        if let Role::Server(server) = &config.role {
            self.check_id(&config)?;
            self.listen(&config, server)?;
        }
        let key = Key(self.next_token().0);
        let address = config.address.clone();
        let now = Instant::now();
        let mut interface = Interface::new(config, endpoint);
        interface.retry_now(now);
        let is_client = interface.is_client();
        self.interfaces.0.insert(key, interface);
        if is_client {
            self.connect(key, now);
        } else {
            self.wake_clients_of(&address, now);
        }
        Ok(key)
    }

    fn check_id(&self, config: &InterfaceConfig) -> Result<(), OpenError> {
        let at_address = self.interfaces.at(&config.address);
        let holder = at_address.servers().find(|(_, other)| other.config.id == config.id);
        match holder {
            None => Ok(()),
            Some((_, holder)) => Err(OpenError::IdTaken {
                id: config.id,
                address: config.address.to_string(),
                holder: holder.config.name.clone(),
            }),
        }
    }

    fn listen(&mut self, config: &InterfaceConfig, server: &ServerConfig) -> Result<(), OpenError> {
        if self.listeners.values().any(|listening| listening.address == config.address) {
            return Ok(());
        }
        let listening = Listening::open(&config.address, server)?;
        let token = self.next_token();
        self.watch(&listening.listener, token).map_err(OpenError::Thread)?;
        self.listeners.insert(token, listening);
        tracing::info!("{}: listening on {}", config.name, config.address);
        Ok(())
    }

    fn close(&mut self, key: Key) {
        self.disconnect(key, DownReason::Closed);
        let Some(interface) = self.interfaces.0.remove(&key) else { return };
        let address = interface.config.address;
        if self.interfaces.at(&address).servers().next().is_none() {
            self.close_listener(&address);
        }
    }

    fn set_admin_up(&mut self, key: Key, up: bool) {
        let Some(interface) = self.interfaces.0.get_mut(&key) else { return };
        interface.admin_up = up;
        interface.retry_now(Instant::now());
        if !up {
            self.disconnect(key, DownReason::AdminDown);
        }
    }

    /// Ends a link for a fault; an interface that has another one by now keeps that.
    fn end_link(&mut self, key: Key, link: LinkId, fault: String) {
        if self.interfaces.0.get(&key).is_some_and(|interface| interface.taken_by == Some(Token(link.0))) {
            self.disconnect(key, DownReason::Fault(fault));
        }
    }

    /// Ends the connection that an interface has, by our own wish.
    fn disconnect(&mut self, key: Key, reason: DownReason) {
        let taken_by = self.interfaces.0.get(&key).and_then(|interface| interface.taken_by);
        if let Some(token) = taken_by
            && let Some(connection) = self.connections.remove(&token)
        {
            self.end(token, connection, End::Tell(reason));
        }
    }
}

/// The keys of all that is due.
fn due<K: Copy + Ord, V>(all: &BTreeMap<K, V>, now: Instant, at: impl Fn(&V) -> Option<Instant>) -> Vec<K> {
    all.iter().filter(|(_, item)| at(item).is_some_and(|at| at <= now)).map(|(key, _)| *key).collect()
}
