//! The control plane: one thread for all memif sockets of the process.
//!
//! 1. [`open`] starts the thread "memif-control" with the first interface and hands it the interface.
//! 2. The thread listens, accepts, connects and reconnects, runs the handshakes, and tells each interface's
//!    [`Endpoint`] when its link comes and goes.
//! 3. Dropping the [`Interface`] waits until the thread has let go: the peer has been told, the endpoint is not called
//!    any more, and the socket file of the last interface of a socket is gone.
//! 4. With the last interface the thread ends.
//!
//! The thread owns every socket and every unfinished handshake. Others reach it by commands, and an eventfd wakes it.

mod arrival;
mod backoff;
mod connection;
mod endpoint;
mod exchange;
mod interface;
mod limiter;
mod reactor;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};

pub(crate) use endpoint::{
    ClientConfig, DownReason, EndedBy, Endpoint, InterfaceConfig, Link, LinkId, Memory, Peer, Region, Ring, Role,
    ServerConfig,
};

use crate::listener::ListenError;
use interface::Key;
use reactor::Reactor;

/// An interface in the hands of the control thread. Dropping it closes the interface; never do so from within a call of
/// an [`Endpoint`].
#[derive(Debug)]
pub(crate) struct Interface {
    key: Key,
    user: User,
}

/// Why an interface cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("id {id} on {address} belongs to interface \"{holder}\" already: choose another id or another socket")]
    IdTaken { id: u32, address: String, holder: String },
    #[error("cannot run the memif control thread: {0}")]
    Thread(#[source] io::Error),
}

/// What the thread is asked to do.
enum Command {
    Open { config: Box<InterfaceConfig>, endpoint: Arc<dyn Endpoint>, reply: Sender<Result<Key, OpenError>> },
    Close { key: Key, reply: Sender<()> },
    SetAdminUp { key: Key, up: bool, reply: Sender<()> },
    Disconnect { key: Key, link: LinkId, fault: String },
    Stop,
}

/// Opens an interface. A server listens when this returns; a client has made its first attempt, or makes it now.
///
/// # Errors
/// The server's socket cannot be made, its id is taken on that socket, or the system gives no thread.
pub(crate) fn open(config: InterfaceConfig, endpoint: Arc<dyn Endpoint>) -> Result<Interface, OpenError> {
    let user = User::register().map_err(OpenError::Thread)?;
    let (reply, opened) = channel();
    user.thread.send(Command::Open { config: Box::new(config), endpoint, reply });
    let key = opened.recv().map_err(|_| OpenError::Thread(io::Error::other("it has ended")))??;
    Ok(Interface { key, user })
}

impl Interface {
    /// Ends this link, if the interface still has it, because the peer has broken a rule of the rings. It may connect
    /// anew.
    pub(crate) fn disconnect(&self, link: LinkId, fault: &str) {
        self.user.thread.send(Command::Disconnect { key: self.key, link, fault: fault.to_owned() });
    }

    /// Sets the interface administratively up (as it is at first) or down. Down: a peer is disconnected and none is
    /// accepted or sought. When this returns, that is so: a link that is seen afterwards is none from before.
    pub(crate) fn set_admin_up(&self, up: bool) {
        let (reply, done) = channel();
        self.user.thread.send(Command::SetAdminUp { key: self.key, up, reply });
        // An error means that the thread is gone, and its links with it.
        let _ = done.recv();
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        let (reply, closed) = channel();
        self.user.thread.send(Command::Close { key: self.key, reply });
        // An error means that the thread is gone, and its sockets with it.
        let _ = closed.recv();
    }
}

/// The way to the thread.
#[derive(Debug, Clone)]
struct ThreadHandle {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
}

impl ThreadHandle {
    fn send(&self, command: Command) {
        // A thread that is gone needs no command; whoever awaits a reply sees its end.
        let _ = self.commands.send(command);
        let _ = self.wake.write(1);
    }
}

/// The running thread and how many interfaces it has, or is about to have.
struct Running {
    handle: ThreadHandle,
    thread: JoinHandle<()>,
    users: usize,
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

fn running() -> MutexGuard<'static, Option<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> io::Result<Running> {
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (commands, inbox) = channel();
    let reactor = Reactor::new(Arc::clone(&wake), inbox)?;
    let thread = std::thread::Builder::new().name("memif-control".into()).spawn(move || reactor.run())?;
    Ok(Running { handle: ThreadHandle { commands, wake }, thread, users: 0 })
}

/// One claim on the running thread; the last one that is dropped ends it.
#[derive(Debug)]
struct User {
    thread: ThreadHandle,
}

impl User {
    fn register() -> io::Result<Self> {
        let mut running = running();
        // A thread that died by a panic in an endpoint is replaced; its interfaces stay dead.
        if running.as_ref().is_some_and(|running| running.thread.is_finished()) {
            *running = None;
        }
        let running = match running.as_mut() {
            Some(running) => running,
            None => running.insert(start()?),
        };
        running.users += 1;
        Ok(Self { thread: running.handle.clone() })
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut guard = running();
        let Some(running) = guard.as_mut().filter(|running| Arc::ptr_eq(&running.handle.wake, &self.thread.wake))
        else {
            return;
        };
        running.users -= 1;
        if running.users == 0
            && let Some(last) = guard.take()
        {
            last.handle.send(Command::Stop);
            // An error is a panic that was printed when it happened.
            let _ = last.thread.join();
        }
    }
}
