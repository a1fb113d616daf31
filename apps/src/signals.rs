//! SIGINT, SIGTERM and SIGHUP, and waiting for them.
//!
//! The first two ask for a clean stop. Further ones change nothing: some senders, such as timeout(1), send two in a row.
//! SIGHUP asks a program that has a file to read it again; who does not catch it is ended by it.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// The signals, caught.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Set by SIGINT and SIGTERM.
    came: Arc<AtomicBool>,
    /// Set by SIGHUP, cleared by whoever heeds it.
    hangup: Arc<AtomicBool>,
    bell: UnixStream,
    ringer: UnixStream,
}

impl Signals {
    /// Catches SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn catch() -> io::Result<Self> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let signals = Self { came: Arc::default(), hangup: Arc::default(), bell, ringer };
        signals.register(SIGINT, &signals.came)?;
        signals.register(SIGTERM, &signals.came)?;
        Ok(signals)
    }

    /// The same, and SIGHUP.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn catch_with_hangup() -> io::Result<Self> {
        let signals = Self::catch()?;
        signals.register(SIGHUP, &signals.hangup)?;
        Ok(signals)
    }

    /// Has `signal` set `flag`, and then ring.
    fn register(&self, signal: i32, flag: &Arc<AtomicBool>) -> io::Result<()> {
        flag::register(signal, Arc::clone(flag))?;
        pipe::register(signal, self.ringer.try_clone()?)?;
        Ok(())
    }

    /// Whether a stop was asked for.
    pub(crate) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// Whether SIGHUP has come since the last time.
    pub(crate) fn take_hangup(&self) -> bool {
        self.hangup.swap(false, Ordering::Relaxed)
    }

    /// Waits for one, `longest` at most, and says whether a stop was asked for.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        if !self.came() {
            let mut fds = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
            // Rounded up: a wait of less than a millisecond must not become a busy loop.
            let timeout = PollTimeout::try_from(longest + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
            // Interrupted by a signal, ours or another: the caller asks again.
            let _ = poll(&mut fds, timeout);
            // The flags say what came. A signal sets its flag before it rings, so none is lost here.
            let _ = (&self.bell).read(&mut [0; 64]);
        }
        self.came()
    }
}
