//! The server's side, step by step.

use std::fs::File;
use std::os::fd::OwnedFd;

use super::{Arrived, FakeError, FakeListener, FakePeer, Step};
use crate::handshake::server::hello;
use crate::message::{AddRegion, AddRing, Hello, Init, Message, Name};

/// A server with one client. It believes everything. Change [`Self::hello`] before it is sent to make it say something
/// else.
#[derive(Debug)]
pub struct FakeServer {
    /// The connection.
    pub peer: FakePeer,
    /// What it greets with; by default what our own servers say.
    pub hello: Message,
    /// The client's INIT, once it has come.
    pub init: Option<Init>,
    /// The regions that came.
    pub regions: Vec<(AddRegion, File)>,
    /// The rings that came, with their eventfds.
    pub rings: Vec<(AddRing, OwnedFd)>,
    /// A message that was received but belongs to a later step.
    pending: Option<Arrived>,
    done: Option<Step>,
}

impl FakeServer {
    /// Waits for a client. HELLO is not sent yet.
    ///
    /// # Errors
    /// None comes.
    pub fn accept(listener: &FakeListener) -> Result<Self, FakeError> {
        Ok(Self {
            peer: listener.accept()?,
            hello: hello("fake server"),
            init: None,
            regions: Vec::new(),
            rings: Vec::new(),
            pending: None,
            done: None,
        })
    }

    /// Greets with other limits.
    #[must_use]
    pub fn with_hello(mut self, change: impl FnOnce(&mut Hello)) -> Self {
        if let Message::Hello(hello) = &mut self.hello {
            change(hello);
        }
        self
    }

    /// Runs the handshake on from where it is until `until` is done. [`Step::Regions`] ends when something else than a
    /// region came, [`Step::Rings`] when something else than a ring came; that is not answered yet.
    ///
    /// # Errors
    /// The client does anything else than a correct one.
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
            Step::Hello => self.peer.send(&self.hello, &[]),
            Step::Init => self.await_init(),
            Step::Regions => self.take_regions(),
            Step::Rings => self.take_rings(),
            Step::Connected => self.await_connect(),
        }
    }

    fn await_init(&mut self) -> Result<(), FakeError> {
        let arrived = self.next()?;
        let Message::Init(init) = arrived.message else { return Err(unexpected(arrived, "INIT")) };
        self.init = Some(init);
        self.acknowledge()
    }

    fn take_regions(&mut self) -> Result<(), FakeError> {
        while let Some((region, fd)) = self.next_shared(|message| match message {
            Message::AddRegion(region) => Some(*region),
            _ => None,
        })? {
            self.regions.push((region, File::from(fd)));
            self.acknowledge()?;
        }
        Ok(())
    }

    fn take_rings(&mut self) -> Result<(), FakeError> {
        while let Some((ring, fd)) = self.next_shared(|message| match message {
            Message::AddRing(ring) => Some(*ring),
            _ => None,
        })? {
            self.rings.push((ring, fd));
            self.acknowledge()?;
        }
        Ok(())
    }

    /// The next message with its descriptor if `pick` takes it, else `None`, and the message is left for later.
    fn next_shared<T>(&mut self, pick: impl FnOnce(&Message) -> Option<T>) -> Result<Option<(T, OwnedFd)>, FakeError> {
        let mut arrived = self.next()?;
        match (pick(&arrived.message), arrived.fds.is_empty()) {
            (Some(picked), false) => Ok(Some((picked, arrived.fds.swap_remove(0)))),
            _ => {
                self.pending = Some(arrived);
                Ok(None)
            }
        }
    }

    fn await_connect(&mut self) -> Result<(), FakeError> {
        let arrived = self.next()?;
        if !matches!(arrived.message, Message::Connect(_)) {
            return Err(unexpected(arrived, "CONNECT"));
        }
        self.peer.send(&Message::Connected(Name::new("fake0")), &[])
    }

    fn acknowledge(&self) -> Result<(), FakeError> {
        self.peer.send(&Message::Ack, &[])
    }

    fn next(&mut self) -> Result<Arrived, FakeError> {
        self.pending.take().map_or_else(|| self.peer.receive(), Ok)
    }
}

fn unexpected(arrived: Arrived, awaited: &str) -> FakeError {
    FakeError::Unexpected { got: Box::new(arrived.message), awaited: awaited.into() }
}
