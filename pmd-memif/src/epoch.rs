//! A state that one thread changes now and then, and that many look at before every burst: links, and the queues that
//! serve them.
//!
//! 1. Whoever changes the state does so under its lock, and the epoch's number changes with it.
//! 2. Whoever follows compares the number with the one it has [`Seen`]: one load, no lock.
//! 3. When they differ, it looks at the state under the lock, and remembers the number that belongs to what it saw.
//!
//! So a follower that has seen the latest number has seen the latest state, and one that looks while the state changes
//! either sees the new one or will look again.

use std::sync::PoisonError;

use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

/// The state, and its number.
#[derive(Debug)]
pub(crate) struct Epoch<S> {
    /// Changes whenever the state does, under the lock. It wraps: nobody sleeps through 2^32 changes.
    number: AtomicU32,
    state: Mutex<S>,
}

/// Which state a follower has seen last; by default none, which is how every state begins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen(u32);

impl<S> Epoch<S> {
    /// The first state, which nobody needs to look at.
    pub(crate) fn new(state: S) -> Self {
        Self { number: AtomicU32::new(0), state: Mutex::new(state) }
    }

    /// The state, for what is no change to those who follow it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state; everybody who follows it will look.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        self.number.fetch_add(1, Ordering::Release);
        result
    }

    /// Whether the state has changed since it was seen.
    #[inline(always)]
    pub(crate) fn is_news(&self, seen: Seen) -> bool {
        self.number.load(Ordering::Acquire) != seen.0
    }

    /// Looks at the state of now.
    pub(crate) fn look<R>(&self, seen: &mut Seen, look: impl FnOnce(&S) -> R) -> R {
        let state = self.lock();
        *seen = Seen(self.number.load(Ordering::Acquire));
        look(&state)
    }
}
