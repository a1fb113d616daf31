//! The client's side, step by step.

use std::os::fd::AsFd;

use super::{FakeError, FakeMemory, FakePeer, RingPlan, Step};
use crate::address::Address;
use crate::message::{AddRegion, Hello, Init, Message, Name, VERSION};
use crate::secret::Secret;

/// A client. Change [`Self::init`] and [`Self::memory`] before they are sent to make it say something else.
#[derive(Debug)]
pub struct FakeClient {
    /// The connection.
    pub peer: FakePeer,
    /// What it will ask for: by default id 0, Ethernet, no secret.
    pub init: Init,
    /// What it will share: by default [`RingPlan::default`].
    pub memory: FakeMemory,
    /// The server's HELLO, once it has come.
    pub hello: Option<Hello>,
    pub(super) done: Option<Step>,
}

impl FakeClient {
    /// Connects to a server.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: &Address) -> Result<Self, FakeError> {
        let init = Init { version: VERSION, id: 0, mode: 0, secret: Secret::NONE, name: Name::new("fake client") };
        let memory = FakeMemory::plain(RingPlan::default())?;
        Ok(Self { peer: FakePeer::connect(address)?, init, memory, hello: None, done: None })
    }

    /// Asks for another interface.
    #[must_use]
    pub fn with_id(mut self, id: u32) -> Self {
        self.init.id = id;
        self
    }

    /// Shares something else.
    #[must_use]
    pub fn with_memory(mut self, memory: FakeMemory) -> Self {
        self.memory = memory;
        self
    }

    /// Runs the handshake on from where it is until `until` is done.
    ///
    /// # Errors
    /// The server does anything else than a correct one that accepts us.
    pub fn run(&mut self, until: Step) -> Result<(), FakeError> {
        for step in [Step::Hello, Step::Init, Step::Regions, Step::Rings, Step::Connected] {
            if step <= until && self.done < Some(step) {
                self.take(step)?;
                self.done = Some(step);
            }
        }
        Ok(())
    }

    fn take(&mut self, step: Step) -> Result<(), FakeError> {
        match step {
            Step::Hello => self.await_hello(),
            Step::Init => self.asks(&Message::Init(self.init.clone())),
            Step::Regions => self.share_regions(),
            Step::Rings => self.share_rings(),
            Step::Connected => self.connect_link(),
        }
    }

    fn await_hello(&mut self) -> Result<(), FakeError> {
        let hello = self.peer.expect("HELLO", |message| match message {
            Message::Hello(hello) => Some(hello.clone()),
            _ => None,
        })?;
        self.hello = Some(hello);
        Ok(())
    }

    fn asks(&self, message: &Message) -> Result<(), FakeError> {
        self.peer.send(message, &[])?;
        self.peer.expect_ack()
    }

    fn share_regions(&self) -> Result<(), FakeError> {
        for (index, region) in (0..).zip(&self.memory.regions) {
            let message = Message::AddRegion(AddRegion { index, size: region.size });
            self.peer.send(&message, &[region.as_fd()])?;
            self.peer.expect_ack()?;
        }
        Ok(())
    }

    fn share_rings(&self) -> Result<(), FakeError> {
        for ring in &self.memory.rings {
            self.peer.send(&Message::AddRing(ring.message), &[ring.eventfd.as_fd()])?;
            self.peer.expect_ack()?;
        }
        Ok(())
    }

    fn connect_link(&self) -> Result<(), FakeError> {
        self.peer.send(&Message::Connect(Name::new("fake0")), &[])?;
        self.peer.expect("CONNECTED", |message| matches!(message, Message::Connected(_)).then_some(()))
    }
}
