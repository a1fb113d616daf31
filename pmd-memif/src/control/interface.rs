//! An interface as the control thread sees it: what it is, who has it, and when to try again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::limiter::Limiter;
use super::{DownReason, Endpoint, InterfaceConfig, Link, Role, ServerConfig};
use crate::address::Address;
use crate::handshake::SealPolicy;
use crate::handshake::client::Wanted;
use crate::handshake::server::{Availability, Directory, Rules};
use crate::message::Name;
use crate::shm::CacheLine;

/// Number of an interface in this process; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) u64);

/// Number of a socket in this process; never used again, so that a late event cannot reach a newer socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token(pub(super) u64);

/// One interface.
pub(super) struct Interface {
    pub(super) config: InterfaceConfig,
    endpoint: Arc<dyn Endpoint>,
    rules: Rules,
    pub(super) admin_up: bool,
    /// The connection that has this interface, in its handshake or up. Claimed at INIT (server) or connect (client).
    pub(super) taken_by: Option<Token>,
    up_since: Option<Instant>,
    backoff: Backoff,
    /// Client without a connection: when to try next.
    pub(super) retry_at: Option<Instant>,
    limiter: Limiter,
    /// Why the server could not be reached, as far as that has been logged.
    waiting: Option<DownReason>,
}

impl Interface {
    pub(super) fn new(config: InterfaceConfig, endpoint: Arc<dyn Endpoint>) -> Self {
        Self {
            rules: rules(&config),
            config,
            endpoint,
            admin_up: true,
            taken_by: None,
            up_since: None,
            backoff: Backoff::default(),
            retry_at: None,
            limiter: Limiter::default(),
            waiting: None,
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self.config.role, Role::Client(_))
    }

    /// Whether a client of this user may connect.
    pub(super) fn admits(&self, uid: u32) -> bool {
        match &self.config.role {
            Role::Server(ServerConfig { allowed_uids: Some(allowed), .. }) => allowed.contains(&uid),
            _ => true,
        }
    }

    /// What a client asks its server for; `None` for a server.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let Role::Client(client) = &self.config.role else { return None };
        Some(Wanted {
            id: self.config.id,
            mode: self.config.mode,
            secret: self.config.secret.clone(),
            s2m_rings: client.s2m_rings,
            m2s_rings: client.m2s_rings,
            log2_ring_size: client.log2_ring_size,
            app_name: Name::new(&self.config.app_name),
            interface: Name::new(&self.config.name),
        })
    }

    pub(super) fn endpoint(&self) -> &dyn Endpoint {
        &*self.endpoint
    }

    /// Takes the link into service.
    pub(super) fn bring_up(&mut self, link: Link, now: Instant) -> Result<(), String> {
        let peer = link.peer.clone();
        self.endpoint.up(link)?;
        self.up_since = Some(now);
        self.waiting = None;
        let name = &self.config.name;
        let pid = peer.credentials.pid;
        tracing::info!("{name}: link up with \"{}\" of \"{}\" (pid {pid})", peer.interface, peer.app_name);
        Ok(())
    }

    /// The connection that has this interface has ended.
    pub(super) fn lost(&mut self, reason: &DownReason, now: Instant) {
        self.taken_by = None;
        match self.up_since.take() {
            Some(since) => {
                tracing::info!("{}: link down: {reason}", self.config.name);
                self.endpoint.down(reason);
                let pause = self.backoff.after_link(now.duration_since(since));
                self.retry_after(pause, now);
            }
            None => self.attempt_failed(reason, now),
        }
    }

    /// A peer that does not have this interface was refused, or ours could not be reached. What we end ourselves is no
    /// failure.
    pub(super) fn turned_away(&mut self, reason: &DownReason, now: Instant) {
        if matches!(reason, DownReason::Closed | DownReason::AdminDown) {
            return;
        }
        self.log(reason, now);
        self.endpoint.refused(reason);
    }

    /// To wait for a server is normal: that is told once, until there was a link.
    fn log(&mut self, reason: &DownReason, now: Instant) {
        let name = &self.config.name;
        match reason {
            DownReason::Unreachable { .. } if self.waiting.as_ref() == Some(reason) => {}
            DownReason::Unreachable { .. } => {
                tracing::info!("{name}: {reason}");
                self.waiting = Some(reason.clone());
            }
            _ if self.limiter.allows(&reason.to_string(), now) => tracing::warn!("{name}: {reason}"),
            _ => {}
        }
    }

    /// A client's attempt has failed.
    pub(super) fn attempt_failed(&mut self, reason: &DownReason, now: Instant) {
        self.turned_away(reason, now);
        let pause = self.backoff.after_failure();
        self.retry_after(pause, now);
    }

    /// Something has changed: a client without a connection tries again now.
    pub(super) fn retry_now(&mut self, now: Instant) {
        self.backoff.reset();
        self.retry_after(Duration::ZERO, now);
    }

    fn retry_after(&mut self, pause: Duration, now: Instant) {
        let wanted = self.is_client() && self.admin_up && self.taken_by.is_none();
        self.retry_at = wanted.then_some(now + pause);
    }

    fn availability(&self) -> Availability {
        match (&self.config.role, self.admin_up, self.taken_by) {
            (Role::Client(_), ..) => Availability::ClientRole,
            (_, false, _) => Availability::AdminDown,
            (_, true, Some(_)) => Availability::Busy,
            (_, true, None) => Availability::Free,
        }
    }
}

fn rules(config: &InterfaceConfig) -> Rules {
    let common = Rules {
        interface: Name::new(&config.name),
        mode: config.mode,
        secret: config.secret.clone(),
        seals: SealPolicy::Require,
        max_memory: 0,
        cache_line: CacheLine::B64,
    };
    match &config.role {
        Role::Server(server) => {
            Rules { seals: server.seals, max_memory: server.max_memory, cache_line: server.cache_line, ..common }
        }
        // Only shown to a client that mistakes this one for a server.
        Role::Client(_) => common,
    }
}

/// All interfaces of the process, of both roles.
#[derive(Default)]
pub(super) struct Interfaces(pub(super) BTreeMap<Key, Interface>);

impl Interfaces {
    /// The interfaces behind one address, as its listener offers them.
    pub(super) fn at<'a>(&'a self, address: &'a Address) -> AtAddress<'a> {
        AtAddress { interfaces: self, address }
    }
}

/// The interfaces with one address. A server is found before a client with the same id: together they are a loopback
/// pair.
pub(super) struct AtAddress<'a> {
    interfaces: &'a Interfaces,
    address: &'a Address,
}

impl AtAddress<'_> {
    fn all(&self) -> impl Iterator<Item = (Key, &Interface)> {
        let here = |(_, interface): &(&Key, &Interface)| interface.config.address == *self.address;
        self.interfaces.0.iter().filter(here).map(|(key, interface)| (*key, interface))
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = (Key, &Interface)> {
        self.all().filter(|(_, interface)| !interface.is_client())
    }

    /// The interface that INIT with this id means.
    pub(super) fn meant(&self, id: u32) -> Option<(Key, &Interface)> {
        self.all().filter(|(_, interface)| interface.config.id == id).min_by_key(|(_, interface)| interface.is_client())
    }
}

impl Directory for AtAddress<'_> {
    fn find(&self, id: u32) -> Option<(Availability, &Rules)> {
        self.meant(id).map(|(_, interface)| (interface.availability(), &interface.rules))
    }
}
