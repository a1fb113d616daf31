//! SIGINT and SIGTERM, and waiting for them.
//!
//! Each asks for a clean stop. Further ones change nothing: some senders, such as timeout(1), send two in a row.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

/// The two signals, caught.
#[derive(Debug)]
pub(crate) struct Signals {
    came: Arc<AtomicBool>,
    bell: UnixStream,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn catch() -> io::Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        let (bell, ringer) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&came))?;
            pipe::register(signal, ringer.try_clone()?)?;
        }
        Ok(Self { came, bell })
    }

    /// Whether one has come.
    pub(crate) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// Waits for one, `longest` at most, and says whether one has come.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        if !self.came() {
            let mut fds = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
            // Rounded up: a wait of less than a millisecond must not become a busy loop.
            let timeout = PollTimeout::try_from(longest + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
            // Interrupted by a signal, ours or another: the caller asks again.
            let _ = poll(&mut fds, timeout);
        }
        self.came()
    }
}
