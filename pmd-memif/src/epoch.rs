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

/// A link comes, goes, and another comes, while queues look whenever they like. `make loom` runs it.
#[cfg(all(test, loom))]
mod models {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// A link with one ring for each of two queues, and its name.
    struct Link {
        name: u32,
        rings: [Mutex<Option<u32>>; 2],
    }

    fn link(name: u32) -> Option<Arc<Link>> {
        Some(Arc::new(Link { name, rings: [Mutex::new(Some(name)), Mutex::new(Some(name))] }))
    }

    /// What a queue does at the beginning of a burst: the ring that it has afterwards.
    fn burst(links: &Epoch<Option<Arc<Link>>>, seen: &mut Seen, queue: usize, ring: &mut Option<u32>) {
        if links.is_news(*seen) {
            let link = links.look(seen, Option::clone);
            *ring = link.as_ref().map(|link| {
                let taken = link.rings[queue].lock().unwrap().take();
                assert_eq!(taken, Some(link.name), "a ring is taken once, by its queue");
                link.name
            });
        }
    }

    #[test]
    fn queues_take_each_ring_once_and_end_with_those_of_the_last_link() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let links = Arc::new(Epoch::new(None));
            let queue = |number| {
                let links = Arc::clone(&links);
                move || {
                    let (mut seen, mut ring) = (Seen::default(), None);
                    (0..2).for_each(|_| burst(&links, &mut seen, number, &mut ring));
                    (seen, ring)
                }
            };
            let other = thread::spawn(queue(1));
            let control = {
                let links = Arc::clone(&links);
                thread::spawn(move || {
                    for state in [link(1), None, link(2)] {
                        links.change(|now| *now = state);
                    }
                })
            };
            let mine = queue(0)();
            let ended = [mine, other.join().unwrap()];
            control.join().unwrap();
            for (number, (mut seen, mut ring)) in ended.into_iter().enumerate() {
                burst(&links, &mut seen, number, &mut ring);
                assert_eq!(ring, Some(2));
                assert!(!links.is_news(seen));
            }
        });
    }
}
