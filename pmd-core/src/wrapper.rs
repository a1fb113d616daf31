//! Wrappers: what goes around an lport of any driver, to disturb, record or show the packets that pass.
//!
//! ```text
//!   device <--> first wrapper <--> second wrapper <--> the thread that owns the lport
//! ```
//!
//! 1. A program registers wrappers by name in its [`crate::Registry`], as it does drivers.
//! 2. A deployment lists the wrappers of an lport ([`crate::deployment::QueueSpec::wrap`]), the one next to the device
//!    first. The runtime puts them around the lport when its device is open.
//! 3. A wrapper takes an [`Lport`] and gives another one: both queues and the control handle pass everything on that is not
//!    the wrapper's business. It keeps the promises of the traits: mbufs have one owner, what is not accepted stays in the
//!    burst, counters add up.
//!
//! An lport without wrappers does not know that there are any. Code may also wrap an lport by itself, without a registry:
//! the wrappers of [`crate::wrappers`] are open for that.

use std::sync::Arc;

use crate::burst::Burst;
use crate::details::Details;
use crate::driver::OpenError;
use crate::lport::{Link, Lport, LportControl, LportInfo, TxQueue};
use crate::options::{OptionError, OptionSpec, Options};
use crate::stats::LportStats;

/// Something that goes around an lport.
pub trait Wrapper: Send + Sync {
    /// The name files use, `fault`.
    fn name(&self) -> &str;

    /// One line for people.
    fn summary(&self) -> &str;

    /// The options it takes.
    fn options(&self) -> &[OptionSpec];

    /// Checks what the table cannot express.
    ///
    /// # Errors
    /// Every problem found, each at the option it is about.
    fn check(&self, _options: &Options) -> Result<(), Vec<OptionError>> {
        Ok(())
    }

    /// Wraps an lport.
    ///
    /// # Errors
    /// When the wrapper lacks something: a file that it cannot write.
    fn wrap(&self, lport: Lport, options: &Options) -> Result<Lport, OpenError>;
}

/// A control handle that is another one, but for its counters.
pub struct WithStats<F> {
    inner: Arc<dyn LportControl>,
    change: F,
}

impl<F: Fn(&mut LportStats) + Send + Sync> WithStats<F> {
    /// The handle `inner`, whose counters `change` changes.
    pub fn new(inner: Arc<dyn LportControl>, change: F) -> Self {
        Self { inner, change }
    }
}

impl<F: Fn(&mut LportStats) + Send + Sync> LportControl for WithStats<F> {
    fn link(&self) -> Link {
        self.inner.link()
    }

    fn info(&self) -> LportInfo {
        self.inner.info()
    }

    fn stats(&self) -> LportStats {
        let mut stats = self.inner.stats();
        (self.change)(&mut stats);
        stats
    }

    fn details(&self) -> Details {
        self.inner.details()
    }

    fn set_admin_up(&self, up: bool) {
        self.inner.set_admin_up(up);
    }
}

impl<F> std::fmt::Debug for WithStats<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WithStats").finish_non_exhaustive()
    }
}

/// What became of the packets that [`send_front`] offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// How many were sent.
    pub sent: usize,
    /// How many are gone: those, and what the driver dropped because it can never be sent.
    pub gone: usize,
}

/// Offers the first `n` packets of `burst` to a queue, and no others. What it did not accept is at the front of `burst`
/// again. `scratch` is empty before and after.
///
/// # Panics
/// When `burst` holds fewer than `n`, or `scratch` is not empty.
pub fn send_front(tx: &mut dyn TxQueue, burst: &mut Burst, n: usize, scratch: &mut Burst) -> Taken {
    if n == burst.len() {
        let sent = tx.tx_burst(burst);
        return Taken { sent, gone: n - burst.len() };
    }
    assert!(scratch.is_empty(), "packets of an earlier burst were left behind");
    for packet in burst.drain_front(n) {
        let pushed = scratch.push(packet);
        debug_assert!(pushed.is_ok(), "as many as a burst holds");
    }
    let sent = tx.tx_burst(scratch);
    let gone = n - scratch.len();
    if gone < n {
        // Together no more than `burst` held before.
        burst.move_to(scratch);
        scratch.move_to(burst);
    }
    Taken { sent, gone }
}
