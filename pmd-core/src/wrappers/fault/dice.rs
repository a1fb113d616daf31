//! What happens to packet number n: a function of the seed and n.
//!
//! The numbers are those of SplitMix64 at the position that n names, so that no state goes forward: asking twice gives the
//! same answer, as when a full device makes us offer a packet again. They are our own, and not a library's, because the
//! same seed has to mean the same faults in later versions, too.

use super::{Impairments, MILLION};

/// Numbers that belong to one packet.
const DRAWS: u64 = 8;

/// Which of them decides what.
const DROP: u64 = 0;
const DUPLICATE: u64 = 1;
const CORRUPT: u64 = 2;
const DELAY: u64 = 3;
const BIT: u64 = 4;

/// The numbers of one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice {
    base: u64,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) drop: bool,
    pub(super) duplicate: bool,
    pub(super) corrupt: bool,
    pub(super) delay: bool,
}

impl Fate {
    /// Whether nothing does.
    #[inline]
    pub(super) fn is_plain(self) -> bool {
        !(self.drop | self.duplicate | self.corrupt | self.delay)
    }
}

impl Dice {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self { base: mix(mix(seed).wrapping_add(stream)) }
    }

    /// The fate of packet `number`.
    #[inline]
    pub(super) fn fate(self, number: u64, impairments: &Impairments) -> Fate {
        let happens = |chance: u32, draw| {
            chance > 0 && ((self.roll(number, draw) >> 32) * u64::from(MILLION)) >> 32 < u64::from(chance)
        };
        Fate {
            drop: happens(impairments.drop, DROP),
            duplicate: happens(impairments.duplicate, DUPLICATE),
            corrupt: happens(impairments.corrupt, CORRUPT),
            delay: happens(impairments.delay, DELAY),
        }
    }

    /// One of `n` things, for packet `number`.
    pub(super) fn choose(self, number: u64, n: usize) -> usize {
        (self.roll(number, BIT) % n as u64) as usize
    }

    fn roll(self, number: u64, draw: u64) -> u64 {
        let position = number.wrapping_mul(DRAWS).wrapping_add(draw);
        mix(self.base.wrapping_add(position.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}

/// SplitMix64's finalizer.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(seed: u64, stream: u64, chance: u32) -> Vec<u64> {
        let (dice, impairments) = (Dice::new(seed, stream), Impairments { drop: chance, ..Impairments::default() });
        (0..20_000).filter(|number| dice.fate(*number, &impairments).drop).collect()
    }

    #[test]
    fn a_seed_is_a_sequence_and_another_one_another() {
        assert_eq!(dropped(7, 0, 1000), dropped(7, 0, 1000));
        assert_ne!(dropped(7, 0, 1000), dropped(8, 0, 1000));
        assert_ne!(dropped(7, 0, 1000), dropped(7, 1, 1000));
        assert_eq!(dropped(1, 0, 1000)[..4], [1260, 1930, 2143, 2265], "in every version");
    }

    #[test]
    fn chances_are_parts_of_a_million() {
        assert_eq!((dropped(3, 0, 0).len(), dropped(3, 0, MILLION).len()), (0, 20_000));
        for (chance, range) in [(1000, 5..50), (100_000, 1800..2200), (500_000, 9700..10_300)] {
            let n = dropped(3, 0, chance).len();
            assert!(range.contains(&n), "{n} of 20000 by a chance of {chance}");
        }
    }

    #[test]
    fn faults_are_independent_of_one_another() {
        let half = MILLION / 2;
        let impairments =
            Impairments { drop: half, duplicate: half, corrupt: half, delay: half, ..Impairments::default() };
        let dice = Dice::new(1, 0);
        let fates: Vec<_> = (0..16_000).map(|number| dice.fate(number, &impairments)).collect();
        let plain = fates.iter().filter(|fate| fate.is_plain()).count();
        assert!((800..1200).contains(&plain), "a sixteenth: {plain}");
        assert_eq!(fates[0], dice.fate(0, &impairments), "asking again changes nothing");
    }
}
