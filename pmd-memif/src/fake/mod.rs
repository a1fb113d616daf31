//! A fake peer: either side of a memif link, under the full control of a test.
//!
//! It speaks the protocol correctly as far as it is asked to, and can send any message, any bytes and any descriptors at
//! any time. For the tests of this driver, and for those of anything that talks memif.
//!
//! 1. [`FakeListener::accept`] or [`FakePeer::connect`] makes a connection.
//! 2. [`FakeClient`] and [`FakeServer`] run a correct handshake up to a [`Step`]; from there on the test goes its own
//!    way with [`FakePeer::send`] and [`FakePeer::receive`].
//!    Presets do what real peers do differently ([`FakeMemory::cndp`], [`FakeClient::dirty_init`] and others).
//! 3. Dropping the peer closes the connection without a word, as a crash would.
//!
//! Everything that waits has a deadline ([`FakePeer::TIMEOUT`]) and fails with [`FakeError::Timeout`] after it.
//!
//! ```
//! use pmd_memif::address::Address;
//! use pmd_memif::fake::{FakeClient, FakeListener, FakeServer, Step};
//!
//! let address = Address::abstract_name(format!("doc-fake-{}", std::process::id()))?;
//! let listener = FakeListener::bind(&address)?;
//! let mut client = FakeClient::connect(&address)?;
//! std::thread::scope(|scope| {
//!     let server = scope.spawn(|| FakeServer::accept(&listener)?.run(Step::Connected));
//!     client.run(Step::Connected)?;
//!     server.join().expect("no panic")
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod memory;
mod quirks;
mod server;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use client::FakeClient;
pub use memory::{FakeMemory, FakeRegion, FakeRing, RingPlan};
pub use quirks::dirty;
pub use server::FakeServer;

use crate::address::Address;
use crate::listener::{FileOptions, Listener};
use crate::message::{Message, SIZE};
use crate::socket::{Connection, Received};

/// How far a handshake is run. Each step includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// HELLO has been sent, or received.
    Hello,
    /// INIT has been acknowledged.
    Init,
    /// All regions have been acknowledged.
    Regions,
    /// All rings have been acknowledged.
    Rings,
    /// CONNECTED has been sent, or received: the link is up.
    Connected,
}

/// What went otherwise than a test wanted.
#[derive(Debug, thiserror::Error)]
pub enum FakeError {
    /// Nothing came.
    #[error("nothing came within {} s, awaiting {awaited}", FakePeer::TIMEOUT.as_secs())]
    Timeout {
        /// What was awaited.
        awaited: String,
    },
    /// The connection ended.
    #[error("the peer closed the connection, awaiting {awaited}")]
    Closed {
        /// What was awaited.
        awaited: String,
    },
    /// Something else came.
    #[error("{got:?} came, awaiting {awaited}")]
    Unexpected {
        /// What came.
        got: Box<Message>,
        /// What was awaited.
        awaited: String,
    },
    /// Something came that is no message.
    #[error("a datagram of {size} bytes and type {kind} came, awaiting {awaited}")]
    NoMessage {
        /// Its size.
        size: usize,
        /// Its first two bytes.
        kind: u16,
        /// What was awaited.
        awaited: String,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The listener failed.
    #[error("{0}")]
    Listen(String),
}

impl From<Errno> for FakeError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct FakePeer {
    connection: Connection,
}

/// A message as it came, with its descriptors.
#[derive(Debug)]
pub struct Arrived {
    /// The message.
    pub message: Message,
    /// Its bytes, also those without a meaning.
    pub bytes: [u8; SIZE],
    /// What was attached.
    pub fds: Vec<OwnedFd>,
}

impl FakePeer {
    /// How long anything may take.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Connects; retries while nobody listens, and while the backlog is full.
    ///
    /// # Errors
    /// Those of connect(2), once [`Self::TIMEOUT`] is over.
    pub fn connect(address: &Address) -> Result<Self, FakeError> {
        let deadline = Instant::now() + Self::TIMEOUT;
        loop {
            match Connection::connect(address) {
                Ok(connection) => return Ok(Self { connection }),
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Connects, or fails at once.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn try_connect(address: &Address) -> Result<Self, FakeError> {
        Ok(Self { connection: Connection::connect(address)? })
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<(), FakeError> {
        self.send_bytes(&message.encode(), fds)
    }

    /// Sends any bytes as one datagram.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), FakeError> {
        Ok(self.connection.send(bytes, fds)?)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// None comes, or the connection ends.
    pub fn receive(&self) -> Result<Arrived, FakeError> {
        self.receive_for("a message")
    }

    /// Waits for ACK.
    ///
    /// # Errors
    /// Anything else happens.
    pub fn expect_ack(&self) -> Result<(), FakeError> {
        self.expect("ACK", |message| matches!(message, Message::Ack).then_some(()))
    }

    /// Waits for DISCONNECT and then the end of the connection; gives the text.
    ///
    /// # Errors
    /// Anything else happens.
    pub fn expect_disconnect(&self) -> Result<String, FakeError> {
        let text = self.expect("DISCONNECT", |message| match message {
            Message::Disconnect { reason, .. } => Some(reason.to_string()),
            _ => None,
        })?;
        self.expect_closed()?;
        Ok(text)
    }

    /// Waits for the end of the connection, without another message.
    ///
    /// # Errors
    /// A message comes, or nothing happens.
    pub fn expect_closed(&self) -> Result<(), FakeError> {
        let awaited = "the end of the connection";
        match self.receive_for(awaited) {
            Err(FakeError::Closed { .. }) => Ok(()),
            Err(other) => Err(other),
            Ok(arrived) => Err(FakeError::Unexpected { got: Box::new(arrived.message), awaited: awaited.into() }),
        }
    }

    /// Waits for a message that `pick` takes.
    fn expect<T>(&self, awaited: &str, pick: impl FnOnce(&Message) -> Option<T>) -> Result<T, FakeError> {
        let arrived = self.receive_for(awaited)?;
        let picked = pick(&arrived.message);
        picked.ok_or_else(|| FakeError::Unexpected { got: Box::new(arrived.message), awaited: awaited.into() })
    }

    fn receive_for(&self, awaited: &str) -> Result<Arrived, FakeError> {
        let deadline = Instant::now() + Self::TIMEOUT;
        loop {
            match self.connection.receive()? {
                Received::Nothing => wait_readable(&self.connection, deadline, awaited)?,
                Received::Eof => return Err(FakeError::Closed { awaited: awaited.into() }),
                Received::Datagram(datagram) => {
                    let (size, bytes, fds) = (datagram.size, datagram.bytes, datagram.fds);
                    return match Message::decode(&bytes) {
                        Ok(message) if size == SIZE => Ok(Arrived { message, bytes, fds }),
                        _ => {
                            let kind = u16::from_le_bytes([bytes[0], bytes[1]]);
                            Err(FakeError::NoMessage { size, kind, awaited: awaited.into() })
                        }
                    };
                }
            }
        }
    }
}

impl AsFd for FakePeer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct FakeListener {
    listener: Listener,
}

impl FakeListener {
    /// Listens at `address`.
    ///
    /// # Errors
    /// The address is taken or cannot be made.
    pub fn bind(address: &Address) -> Result<Self, FakeError> {
        let listener = Listener::bind(address, FileOptions::default());
        Ok(Self { listener: listener.map_err(|error| FakeError::Listen(error.to_string()))? })
    }

    /// Waits for a client. Nothing is sent to it.
    ///
    /// # Errors
    /// None comes.
    pub fn accept(&self) -> Result<FakePeer, FakeError> {
        let deadline = Instant::now() + FakePeer::TIMEOUT;
        loop {
            match self.listener.accept() {
                Ok(connection) => return Ok(FakePeer { connection }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_readable(&self.listener, deadline, "a client")?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn wait_readable(socket: &impl AsFd, deadline: Instant, awaited: &str) -> Result<(), FakeError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(0) => Err(FakeError::Timeout { awaited: awaited.into() }),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
