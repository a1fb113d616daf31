//! SIGINT and SIGTERM, and waiting for them.
//!
//! The first one asks for a clean stop. A second one, of somebody who will not wait, ends the program at once.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
            // In this order: the first signal finds the flag down, the second one up.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&came))?;
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
        // A timeout of zero would mean for ever.
        let longest = longest.max(Duration::from_micros(1));
        if !self.came() && self.bell.set_read_timeout(Some(longest)).is_ok() {
            match (&self.bell).read(&mut [0; 8]) {
                Ok(_) => {}
                Err(error) => debug_assert!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
                    "{error}"
                ),
            }
        }
        self.came()
    }
}
