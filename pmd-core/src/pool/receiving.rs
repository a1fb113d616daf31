//! The pool that a queue receives into: its own, or for a while another one.
//!
//! Where every packet goes on, unread, to a queue that sends packets of one pool without a copy, it is received into that pool
//! ([`crate::RxQueue::receive_into`]). The pool is the memory of a link, say, and gone with it; then it is the queue's own again.

use std::ops::Deref;

use super::Pool;

/// The pool that a queue receives into now. For drivers.
#[derive(Debug)]
pub struct RxPool {
    own: Pool,
    now: Pool,
    is_own: bool,
}

impl RxPool {
    /// Its own.
    pub fn new(own: Pool) -> Self {
        Self { now: own.clone(), own, is_own: true }
    }

    /// From now on it is `pool`, if that has as much room in each mbuf as its own, so that what the queue knows of its own is true
    /// of it; otherwise, and for `None`, its own.
    pub fn set(&mut self, pool: Option<Pool>) {
        let fits = |pool: &Pool| pool.data_room() >= self.own.data_room();
        self.now = pool.filter(fits).unwrap_or_else(|| self.own.clone());
        self.is_own = self.now.is_same(&self.own);
    }

    /// Whether it is its own.
    #[inline(always)]
    pub fn is_own(&self) -> bool {
        self.is_own
    }
}

impl Deref for RxPool {
    type Target = Pool;

    #[inline(always)]
    fn deref(&self) -> &Pool {
        &self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PoolConfig;

    #[test]
    fn it_is_its_own_until_it_is_told_one_with_as_much_room() {
        let pool = |data_room| Pool::new(&PoolConfig { size: 4, data_room, ..PoolConfig::default() }).unwrap();
        let (own, small, large) = (pool(256), pool(255), pool(256));
        let mut now = RxPool::new(own.clone());
        for (told, expected) in [
            (Some(&small), &own),
            (Some(&large), &large),
            (Some(&large), &large),
            (Some(&small), &own),
            (Some(&large), &large),
            (None, &own),
        ] {
            now.set(told.cloned());
            assert_eq!((now.is_same(expected), now.is_own()), (true, expected.is_same(&own)), "{told:?}");
        }
    }
}
