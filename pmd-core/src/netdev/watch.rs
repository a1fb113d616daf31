//! Watching an interface: a thread that sleeps until the kernel says that some interface has changed.
//!
//! 1. The kernel's announcements are subscribed to first, and the state is asked for afterwards: no change is missed.
//! 2. An announcement is only a reason to ask again. What it says is not read: it may be about another interface, or one of
//!    many that were lost.
//! 3. The driver is told of the state it has not heard of yet, and may ask to be called again after a while, to try again
//!    what failed.
//! 4. Dropping the [`Watch`] wakes the thread and waits for its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use super::{Netdev, NetdevState};

/// A watch on an interface; ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Stop {
    is_set: AtomicBool,
    bell: EventFd,
}

impl Watch {
    /// Calls `changed` with the state of `netdev` whenever it is another than the last time (`first` to begin with), and
    /// when the time has passed that it answered: on a thread of its own. `None` is an interface that is not there.
    ///
    /// # Errors
    /// When the system has no more file descriptors or threads, or the namespace is gone.
    pub fn start(
        netdev: Arc<Netdev>,
        first: Option<NetdevState>,
        changed: impl FnMut(Option<&NetdevState>) -> Option<Duration> + Send + 'static,
    ) -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let stop = Arc::new(Stop { is_set: AtomicBool::new(false), bell });
        let announcements = netdev.within(subscribe)?;
        let watching = Watching { netdev, announcements, last: first, stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new().name("netdev-watch".into()).spawn(|| watching.run(changed))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.is_set.store(true, Ordering::Relaxed);
        // Fails only when the bell rings already.
        let _ = self.stop.bell.write(1);
        if let Some(thread) = self.thread.take() {
            // A panic of the driver's has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn subscribe() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, libc::RTMGRP_LINK as u32))?;
    Ok(socket)
}

struct Watching {
    netdev: Arc<Netdev>,
    announcements: OwnedFd,
    last: Option<NetdevState>,
    stop: Arc<Stop>,
}

impl Watching {
    fn run(mut self, mut changed: impl FnMut(Option<&NetdevState>) -> Option<Duration>) {
        let mut again = None;
        while !self.stop.is_set.load(Ordering::Relaxed) {
            // What the kernel does not tell has not changed.
            let now = self.netdev.state().unwrap_or_else(|_| self.last.clone());
            if now != self.last || again.is_some() {
                again = changed(now.as_ref());
                self.last = now;
            }
            self.sleep(again);
        }
    }

    fn sleep(&self, longest: Option<Duration>) {
        let timeout = longest.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        let mut fds =
            [&self.stop.bell.as_fd(), &self.announcements.as_fd()].map(|fd| PollFd::new(*fd, PollFlags::POLLIN));
        // A signal ends the sleep like anything else.
        let _ = poll(&mut fds, timeout);
        let mut text = [0; 4096];
        // Until nothing is left; when some were lost (ENOBUFS) the rest is still to be read.
        while !matches!(recv(self.announcements.as_raw_fd(), &mut text, MsgFlags::empty()), Err(errno) if errno != Errno::ENOBUFS)
        {
        }
    }
}
