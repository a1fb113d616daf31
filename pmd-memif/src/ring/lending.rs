//! Whether a server lends the packets of a ring, or copies them when it receives them.
//!
//! With `zero-copy=yes` it may lend all of them. Where who receives them passes them on unread, it may do so in any case, but lends
//! only large ones, of [`LARGE`] bytes and more: smaller ones are copied twice in less time.
//!
//! Who can send from one pool only (a memif client that exports it, an AF_XDP socket) copies what was lent into that pool. So
//! the packet is copied all the same, and lending only adds to it. Copied at once, into that very pool, it is sent from where
//! it lies. Whoever copies tells the lender. So:
//!
//! 1. Packets are lent.
//! 2. When of [`TRIAL`] packets at least half were copied into the pool that is received into, lending is suspended.
//! 3. After [`COPIED`] packets they are lent again: whether it is still so shows in nothing else.
//! 4. How large packets are, where it matters, is judged after each trial's packets by the last burst.
//!
//! That costs a trial's packets in two hundred their detour.

/// Packets that are judged together: more than lie between a receiver and a sender in other threads.
pub(crate) const TRIAL: u32 = 512;

/// Packets that are copied between two trials.
pub(crate) const COPIED: u32 = 200 * TRIAL;

/// Mean bytes of a burst's packets from which on they are large.
pub(crate) const LARGE: u64 = 256;

/// Mean bytes that no packets have.
const NEVER: u64 = u64::MAX;

/// The decision for a ring.
#[derive(Debug)]
pub(crate) struct Lending {
    /// Mean bytes of a burst from which on packets are lent: [`LARGE`] while they are passed on unread.
    from: u64,
    /// The same while they are not: 0 or [`NEVER`].
    from_else: u64,
    is_suspended: bool,
    /// Packets until that is thought over.
    left: u32,
    /// Packets copied by others when this trial began.
    before: u64,
}

impl Lending {
    /// Packets are lent, for now.
    pub(crate) fn of_all() -> Self {
        Self { from: 0, from_else: 0, is_suspended: false, left: TRIAL, before: 0 }
    }

    /// Packets will be lent if they turn out to be large, as they are passed on unread.
    pub(crate) fn of_large() -> Self {
        Self { from: LARGE, from_else: NEVER, is_suspended: true, left: TRIAL, before: 0 }
    }

    /// Whether packets are passed on unread, from the next one on. Nothing is out.
    pub(crate) fn set_passed_on(&mut self, passed_on: bool) {
        let from = if passed_on { LARGE } else { self.from_else };
        *self = Self { from, is_suspended: from > 0, left: TRIAL, ..*self };
    }

    /// Whether packets are to be copied as soon as nothing is out.
    #[inline(always)]
    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// So many packets, of so many `bytes`, were lent (or could not be); `copied` tells how many others have copied into our pool
    /// so far.
    #[inline(always)]
    pub(crate) fn lent(&mut self, packets: usize, bytes: u64, copied: impl FnOnce() -> u64) {
        if self.is_over(packets) {
            let copied = copied();
            let in_vain = copied.saturating_sub(self.before) >= u64::from(TRIAL / 2);
            self.begin(if in_vain { COPIED } else { TRIAL }, in_vain || self.are_small(packets, bytes), copied);
        }
    }

    /// So many packets were copied here; `bytes` and `copied` as above.
    #[inline(always)]
    pub(crate) fn copied(&mut self, packets: usize, bytes: u64, copied: impl FnOnce() -> u64) {
        if self.is_over(packets) {
            self.begin(TRIAL, self.are_small(packets, bytes), copied());
        }
    }

    fn are_small(&self, packets: usize, bytes: u64) -> bool {
        bytes / (packets.max(1) as u64) < self.from
    }

    #[inline(always)]
    fn is_over(&mut self, packets: usize) -> bool {
        self.left = self.left.saturating_sub(packets as u32);
        self.left == 0
    }

    #[cold]
    fn begin(&mut self, left: u32, is_suspended: bool, before: u64) {
        *self = Self { is_suspended, left, before, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_suspended_while_half_of_what_is_lent_in_a_trial_is_copied_by_others() {
        let mut lending = Lending::of_all();
        let mut copied = 0;
        for (copies, suspended) in [(0, false), (TRIAL / 2 - 1, false), (TRIAL / 2, true), (TRIAL, true), (0, false)] {
            copied += u64::from(copies);
            for _ in 0..TRIAL / 32 {
                assert!(!lending.is_suspended());
                lending.lent(32, 0, || copied);
            }
            assert_eq!(lending.is_suspended(), suspended, "{copies}");
            let mut left = if suspended { COPIED } else { 0 };
            while lending.is_suspended() {
                lending.copied(32, 0, || copied);
                left -= 32;
            }
            assert_eq!(left, 0);
        }
    }

    #[test]
    fn what_was_copied_before_passing_on_ended_does_not_count() {
        let mut lending = Lending::of_all();
        lending.lent(TRIAL as usize, 0, || TRIAL.into());
        [true, false].into_iter().for_each(|passed_on| lending.set_passed_on(passed_on));
        lending.lent(TRIAL as usize, 0, || TRIAL.into());
        assert!(!lending.is_suspended());
    }

    #[test]
    fn what_was_copied_before_a_trial_or_into_another_pool_does_not_count() {
        let mut lending = Lending::of_all();
        for copied in [TRIAL / 4, TRIAL / 2, 0] {
            lending.lent(TRIAL as usize, 0, || copied.into());
            assert!(!lending.is_suspended(), "{copied}");
        }
        lending.lent(TRIAL as usize, 0, || (TRIAL / 2).into());
        assert!(lending.is_suspended());
    }
}
