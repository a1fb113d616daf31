//! Whether a server lends the packets of a ring, or copies them when it receives them.
//!
//! Who can send from one pool only (a memif client that exports it, an AF_XDP socket) copies what was lent into that pool. So
//! the packet is copied all the same, and lending only adds to it. Copied at once, into that very pool, it is sent from where
//! it lies. Whoever copies tells the lender. So:
//!
//! 1. Packets are lent.
//! 2. When of [`TRIAL`] packets at least half were copied into the pool that is received into, lending is suspended.
//! 3. After [`COPIED`] packets they are lent again: whether it is still so shows in nothing else.
//!
//! That costs a trial's packets in two hundred their detour.

/// Packets that are judged together: more than lie between a receiver and a sender in other threads.
pub(crate) const TRIAL: u32 = 512;

/// Packets that are copied between two trials.
pub(crate) const COPIED: u32 = 200 * TRIAL;

/// The decision for a ring.
#[derive(Debug)]
pub(crate) struct Lending {
    is_suspended: bool,
    /// Packets until that is thought over.
    left: u32,
    /// Packets copied by others when this trial began.
    before: u64,
}

impl Lending {
    /// Packets are lent, for now.
    pub(crate) fn new() -> Self {
        Self { is_suspended: false, left: TRIAL, before: 0 }
    }

    /// Whether packets are to be copied as soon as nothing is out.
    #[inline(always)]
    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// So many packets were lent (or could not be); `copied` tells how many others have copied into our pool so far.
    #[inline(always)]
    pub(crate) fn lent(&mut self, packets: usize, copied: impl FnOnce() -> u64) {
        if self.is_over(packets) {
            let copied = copied();
            let suspended = copied.saturating_sub(self.before) >= u64::from(TRIAL / 2);
            self.begin(suspended, copied);
        }
    }

    /// So many packets were copied here; `copied` as above.
    #[inline(always)]
    pub(crate) fn copied(&mut self, packets: usize, copied: impl FnOnce() -> u64) {
        if self.is_over(packets) {
            self.begin(false, copied());
        }
    }

    #[inline(always)]
    fn is_over(&mut self, packets: usize) -> bool {
        self.left = self.left.saturating_sub(packets as u32);
        self.left == 0
    }

    #[cold]
    fn begin(&mut self, suspended: bool, copied: u64) {
        *self = Self { is_suspended: suspended, left: if suspended { COPIED } else { TRIAL }, before: copied };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_suspended_while_half_of_what_is_lent_in_a_trial_is_copied_by_others() {
        let mut lending = Lending::new();
        let mut copied = 0;
        for (copies, suspended) in [(0, false), (TRIAL / 2 - 1, false), (TRIAL / 2, true), (TRIAL, true), (0, false)] {
            copied += u64::from(copies);
            for _ in 0..TRIAL / 32 {
                assert!(!lending.is_suspended());
                lending.lent(32, || copied);
            }
            assert_eq!(lending.is_suspended(), suspended, "{copies}");
            let mut left = if suspended { COPIED } else { 0 };
            while lending.is_suspended() {
                lending.copied(32, || copied);
                left -= 32;
            }
            assert_eq!(left, 0);
        }
    }

    #[test]
    fn what_was_copied_before_a_trial_or_into_another_pool_does_not_count() {
        let mut lending = Lending::new();
        for copied in [TRIAL / 4, TRIAL / 2, 0] {
            lending.lent(TRIAL as usize, || copied.into());
            assert!(!lending.is_suspended(), "{copied}");
        }
        lending.lent(TRIAL as usize, || (TRIAL / 2).into());
        assert!(lending.is_suspended());
    }
}
