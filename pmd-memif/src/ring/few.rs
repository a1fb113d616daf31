//! Few of a client's buffers, for packets to another process: two halves of [`HALF`] buffers each.
//!
//! 1. Buffers have numbers, which go up by one per slot: packets under way lie in buffers that follow each other. To rewind is to
//!    give the next slot the first buffer.
//! 2. That is done when at most [`HALF`] packets are under way, and none of them lies in the first half.
//! 3. Until those have been consumed, no packet goes beyond the first half: they may lie there. Then all is as it was before.
//! 4. Who cannot wait for that goes on with the buffers behind them, as if nothing had been rewound.
//!
//! It is not done in the last buffers, a ring's size of them: who goes on there would come round to the first half while its
//! packets may be under way.

use super::RingSize;

/// Buffers of half of the few: several bursts, and what is on its way to a peer that keeps up.
const HALF: u16 = 64;

/// Where the numbers of a client's buffers begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Few {
    /// The slot whose buffer has number 0, free-running.
    first: u16,
    /// The slot, free-running, since which numbers have gone up by one.
    since: u16,
    /// While packets from before may be under way, after a rewinding: the number that the slot would have had without.
    before: Option<u16>,
    /// The last number to rewind from: too small for any, where there are few buffers anyway.
    last: u16,
    /// The mask of all numbers.
    mask: u16,
}

impl Few {
    /// Of so many `buffers`, a power of two, for a ring of `size` slots.
    pub(crate) fn new(size: RingSize, buffers: usize) -> Self {
        let last = buffers.saturating_sub(size.get().into()) as u16;
        Self { first: 0, since: 0, before: None, last, mask: buffers.saturating_sub(1) as u16 }
    }

    /// Whether there are more buffers than few.
    pub(crate) fn is_possible(&self) -> bool {
        self.last >= 2 * HALF
    }

    /// The slot whose buffer has number 0, free-running.
    #[inline(always)]
    pub(crate) fn first(&self) -> u16 {
        self.first
    }

    /// Rewinds where nothing is under way: `filled` is the next slot.
    #[inline(always)]
    pub(crate) fn rewind_all(&mut self, filled: u16) {
        self.first = filled;
    }

    /// Whether packets from before a rewinding may be under way, so that [`Self::room`] must be asked.
    #[inline(always)]
    pub(crate) fn is_limited(&self) -> bool {
        self.before.is_some()
    }

    /// How many slots may be filled from `filled` on, as far as buffers go: `wanted` at least. Rewinds if that can be, and
    /// `few` are to be used. `look` says how many packets are under way; asked only where that matters.
    pub(crate) fn room(&mut self, filled: u16, wanted: u16, few: bool, look: impl FnOnce() -> u16) -> u16 {
        let since = filled.wrapping_sub(self.since);
        if self.is_limited() {
            if since + wanted <= HALF {
                return HALF - since;
            }
            if look() > since {
                self.leave(filled);
            }
            self.before = None;
            return u16::MAX;
        }
        let number = filled.wrapping_sub(self.first) & self.mask;
        if few && wanted <= HALF && (2 * HALF..=self.last).contains(&number) && look() <= since.min(HALF) {
            (self.first, self.since, self.before) = (filled, filled, Some(number));
            return HALF;
        }
        u16::MAX
    }

    /// From the slot `next` on, the buffers behind the packets of before the rewinding, if there may be any.
    pub(crate) fn leave(&mut self, next: u16) {
        if let Some(number) = self.before.take() {
            (self.first, self.since) = (next.wrapping_sub(number), next);
        }
    }
}

// Arithmetic by the hundred thousand packets: nothing that miri could find.
#[cfg(all(test, not(miri)))]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A sending end without memory: numbers of slots and buffers alone.
    struct Sender {
        few: Few,
        size: u16,
        buffers: usize,
        filled: u16,
        /// The buffers of the packets under way.
        under_way: VecDeque<usize>,
    }

    impl Sender {
        fn new(log2: u8, buffers: usize, filled: u16) -> Self {
            let size = RingSize::from_log2(log2);
            let mut few = Few::new(size, buffers);
            few.rewind_all(filled);
            Self { few, size: size.get(), buffers, filled, under_way: VecDeque::new() }
        }

        /// Sends what there is room for of so many packets.
        fn send(&mut self, wanted: u16, few: bool) {
            if few || self.few.is_limited() {
                let room = self.few.room(self.filled, wanted, few, || self.under_way.len() as u16);
                assert!(room >= wanted, "{room} of {wanted}");
            }
            for _ in 0..wanted.min(self.size - self.under_way.len() as u16) {
                let buffer = usize::from(self.filled.wrapping_sub(self.few.first())) % self.buffers;
                assert!(!self.under_way.contains(&buffer), "buffer {buffer} is under way: {:?}", self.few);
                self.under_way.push_back(buffer);
                self.filled = self.filled.wrapping_add(1);
            }
        }

        fn consume(&mut self, packets: usize) {
            self.under_way.drain(..packets.min(self.under_way.len()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_buffer_is_taken_whose_packet_is_under_way(
            (log2, spare) in (5..=9_u8, 1..=3_u8),
            filled: u16,
            most in 1..=70_u16,
            // Each several times: how many are sent and consumed, whether few are wanted, and whether it is left.
            steps in prop::collection::vec((1..40, 0..=1_u16, 0..=3_usize, any::<bool>(), 0..20), 1..60),
        ) {
            let mut sender = Sender::new(log2, 1 << (log2 + spare), filled);
            for (times, sent, consumed, few, leave) in steps {
                for _ in 0..times {
                    sender.send(sent * most, few);
                    sender.consume(consumed * usize::from(most) / 2);
                    if leave == 0 {
                        sender.few.leave(sender.filled);
                    }
                }
            }
        }
    }

    #[test]
    fn few_are_used_by_who_wants_few_while_the_peer_keeps_up() {
        for (few, used) in [(true, 2 * HALF), (false, 2048)] {
            let mut sender = Sender::new(10, 2048, 0);
            let mut buffers = std::collections::BTreeSet::new();
            for burst in 0..1000 {
                sender.send(32, few);
                if burst > 100 {
                    buffers.extend(sender.under_way.iter().copied());
                }
                sender.consume(32);
            }
            assert_eq!(buffers.len(), usize::from(used));
        }
    }

    #[test]
    fn who_does_not_keep_up_gets_all_of_them() {
        let mut sender = Sender::new(10, 2048, 0);
        let mut buffers = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            sender.send(32, true);
            buffers.extend(sender.under_way.iter().copied());
            sender.consume(if sender.under_way.len() > 900 { 32 } else { 1 });
        }
        assert!(sender.under_way.len() > 800 && buffers.len() > 2000, "{} buffers", buffers.len());
    }
}
