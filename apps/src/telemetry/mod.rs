//! Telemetry: a running `lport run` answers questions on a Unix socket, in DPDK's protocol (telemetry v2), so that
//! dpdk-telemetry.py, its exporter and telegraf work with it unchanged.
//!
//! ```text
//!   place      where the socket is            -> listener   takes it, and gives it back
//!   server     one thread: poll, clients      -> request    a datagram made into a command, its answer into a datagram
//!   commands   DPDK's words and our own       -> what `lport run` has in its hands: runtime and deployment
//!   client     the other end: `lport show`
//! ```
//!
//! 1. [`serve_during`] takes the socket and starts the thread; failing to is a warning, packets are more important.
//! 2. Each request is answered from snapshots: no command touches the hot path or waits for it.
//! 3. When the work is over the thread ends, and the socket file goes.

pub(crate) mod client;
mod commands;
mod listener;
pub(crate) mod place;
mod request;
mod server;

use nix::sys::eventfd::{EfdFlags, EventFd};

pub(crate) use commands::Running;
use listener::Listener;
use place::FilePrefix;

/// Bytes of the largest answer. More than DPDK's 16384, because a memif with many rings has much to tell; less than what
/// a Unix socket carries at once with the kernel's usual limits.
const ANSWER_MAX: usize = 128 << 10;

/// Does `work` while telemetry is served to whoever asks.
pub(crate) fn serve_during<T>(prefix: &FilePrefix, running: &Running<'_>, work: impl FnOnce() -> T) -> T {
    let prepared = Listener::bind(prefix).and_then(|listener| Ok((listener, wake()?)));
    let (listener, wake) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            tracing::warn!("no telemetry: {error}; running without it (`--no-telemetry` silences this)");
            return work();
        }
    };
    tracing::info!("telemetry on {}", listener.path().display());
    std::thread::scope(|scope| {
        // Also when `work` panics: the scope waits for the thread.
        let _stop = StopOnDrop(&wake);
        let serve = || server::serve(&listener, &wake, running);
        if let Err(error) = std::thread::Builder::new().name("telemetry".into()).spawn_scoped(scope, serve) {
            tracing::warn!("no telemetry: {error}");
        }
        work()
    })
}

fn wake() -> std::io::Result<EventFd> {
    Ok(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)
}

struct StopOnDrop<'a>(&'a EventFd);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        // It fails only when it is signalled already.
        let _ = self.0.write(1);
    }
}
