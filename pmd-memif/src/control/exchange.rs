//! What a message does: the machine of its connection decides, the effect is carried out, the reply is sent.
//!
//! Whatever ends a connection comes back as an [`End`] to [`Reactor::end`], the one place where connections end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use super::connection::{Connection, End, Side};
use super::interface::{Key, Token};
use super::reactor::Reactor;
use super::{DownReason, Link, LinkId, Region, Ring};
use crate::handshake::{Refusal, client, server};
use crate::message::{Message, Name, Reason};
use crate::socket::{inspect, set_nonblocking};

impl Reactor {
    /// Reads one message of a connection. It leaves the table meanwhile, and does not return if it ends.
    ///
    /// One only, then others get their turn: a peer that answers fast would keep us to itself, and its links would come up
    /// one after the other. DPDK's zero-copy clients of one process need them to come up together: the first one that is up
    /// closes the memory that the others have still to send.
    pub(super) fn read_from(&mut self, token: Token) {
        let Some(mut connection) = self.connections.remove(&token) else { return };
        let taken = match connection.receive() {
            Ok(Some((message, datagram))) => self.take(token, &mut connection, &message, datagram.fds),
            Ok(None) => Ok(()),
            Err(end) => Err(end),
        };
        match taken {
            Ok(()) => _ = self.connections.insert(token, connection),
            Err(end) => self.end(token, connection, end),
        }
    }

    /// Every descriptor that the handshake does not keep is closed at the end of this (statement 18).
    fn take(
        &mut self,
        token: Token,
        connection: &mut Connection,
        message: &Message,
        fds: Vec<OwnedFd>,
    ) -> Result<(), End> {
        match &mut connection.side {
            Side::Server { machine, listener } => {
                let Some(listening) = self.listeners.get(listener) else {
                    return Err(End::Tell(DownReason::Closed));
                };
                let directory = self.interfaces.at(&listening.address);
                let attached = fds.first().map(|fd| inspect(fd.as_fd()));
                let (effect, reply) = machine.on_message(message, attached, &directory)?;
                self.do_for_server(token, connection, effect, fds.into_iter().next())?;
                reply.map_or(Ok(()), |reply| connection.send(&reply))
            }
            Side::Client { machine, .. } => {
                let effect = machine.on_message(message)?;
                self.do_for_client(token, connection, effect)
            }
        }
    }

    fn do_for_server(
        &mut self,
        token: Token,
        connection: &mut Connection,
        effect: server::Effect,
        fd: Option<OwnedFd>,
    ) -> Result<(), End> {
        match (effect, fd) {
            (server::Effect::Bind { id, name }, _) => self.bind(token, connection, id, &name),
            (server::Effect::KeepRegion { size }, Some(fd)) => {
                connection.memory.regions.push(Region { fd, size });
                Ok(())
            }
            (server::Effect::KeepRing { direction, placement, duplicate_of }, Some(fd)) => {
                set_nonblocking(fd.as_fd()).map_err(|error| End::Tell(DownReason::Io(error.to_string())))?;
                connection.memory.rings_mut(direction).push(Ring { placement, fd, duplicate_of });
                Ok(())
            }
            (server::Effect::BringUp { interface }, _) => self.bring_up(token, connection, &interface),
            (server::Effect::Ended(reason), _) => Err(ended(&reason)),
            // The machine keeps nothing that did not come.
            (server::Effect::KeepRegion { .. } | server::Effect::KeepRing { .. }, None) => Ok(()),
        }
    }

    fn do_for_client(&mut self, token: Token, connection: &mut Connection, effect: client::Effect) -> Result<(), End> {
        match effect {
            client::Effect::None => Ok(()),
            client::Effect::Send(message, attachment) => connection.send_with(&message, attachment),
            client::Effect::Prepare { agreed, server } => {
                connection.peer.app_name = server.to_string();
                let endpoint = connection.interface.and_then(|key| self.interfaces.0.get(&key));
                let Some(interface) = endpoint else { return Err(End::Tell(DownReason::Closed)) };
                connection.memory =
                    interface.endpoint().prepare(agreed, &connection.peer).map_err(Refusal::Endpoint)?;
                let offer = connection.offer();
                let Side::Client { machine, .. } = &mut connection.side else { return Ok(()) };
                let init = machine.offer(offer)?;
                self.do_for_client(token, connection, init)
            }
            client::Effect::BringUp { interface } => self.bring_up(token, connection, &interface),
            client::Effect::Ended(reason) => Err(ended(&reason)),
        }
    }

    /// The interface belongs to this connection from now on (statement 14).
    fn bind(&mut self, token: Token, connection: &mut Connection, id: u32, app_name: &Name) -> Result<(), End> {
        let key = self.meant(connection, id);
        let interface = key.and_then(|key| self.interfaces.0.get_mut(&key));
        let Some(interface) = interface else { return Err(Refusal::UnknownId(id).into()) };
        let uid = connection.peer.credentials.uid;
        if !interface.admits(uid) {
            return Err(Refusal::UserNotAllowed(uid).into());
        }
        interface.taken_by = Some(token);
        connection.interface = key;
        connection.limit = Some(interface.config.handshake_timeout);
        connection.peer.app_name = app_name.to_string();
        Ok(())
    }

    /// The interface that this id means on the connection's listener.
    fn meant(&self, connection: &Connection, id: u32) -> Option<Key> {
        let Side::Server { listener, .. } = &connection.side else { return None };
        let address = &self.listeners.get(listener)?.address;
        self.interfaces.at(address).meant(id).map(|(key, _)| key)
    }

    fn bring_up(&mut self, token: Token, connection: &mut Connection, interface: &Name) -> Result<(), End> {
        connection.peer.interface = interface.to_string();
        let (id, peer) = (LinkId(token.0), connection.peer.clone());
        let link = Link { id, peer, memory: std::mem::take(&mut connection.memory) };
        let holder = connection.interface.and_then(|key| self.interfaces.0.get_mut(&key));
        let Some(holder) = holder else { return Err(End::Tell(DownReason::Closed)) };
        holder.bring_up(link, Instant::now()).map_err(Refusal::Endpoint)?;
        connection.limit = None;
        Ok(())
    }

    /// Ends a connection that was taken out of the table: tells the peer, the interface, and closes everything.
    pub(super) fn end(&mut self, token: Token, connection: Connection, end: End) {
        self.unwatch(&connection.socket);
        let reason = match end {
            End::Tell(reason) => {
                connection.say_goodbye(&reason);
                reason
            }
            End::Silent(reason) => reason,
        };
        let now = Instant::now();
        let (listener, named) = match &connection.side {
            Side::Server { machine, listener } => {
                (Some(*listener), machine.named().and_then(|id| self.meant(&connection, id)))
            }
            Side::Client { .. } => (None, None),
        };
        let (interface, peer) = (connection.interface.or(named), connection.peer.credentials);
        // Closed before the endpoint hears of it, so that what it finds then is final.
        drop(connection);
        match interface.and_then(|key| self.interfaces.0.get_mut(&key)) {
            Some(interface) if interface.taken_by == Some(token) => interface.lost(&reason, now),
            Some(interface) => interface.turned_away(&reason, now),
            None => {
                if let Some(listening) = listener.and_then(|token| self.listeners.get_mut(&token)) {
                    listening.turned_away(&reason, peer.pid, now);
                }
            }
        }
    }
}

fn ended(reason: &Reason) -> End {
    End::Silent(DownReason::Peer(reason.to_string()))
}
