//! What the ends of a chain leave to a forwarder between them: a bound of its ratio, measured.
//!
//! Nobody forwards more than the thread at the ends gives and takes. How much that could be is measured with each rate:
//!
//! - The generator of our ends never waits. What its link has no room for, it frees; what it made is what the ends could have
//!   moved, and a little more, since packets that are not sent cost less.
//! - testpmd's ends wait where nothing comes. testpmd says how many cycles the bursts that had packets took; their packets, had
//!   there always been some, are what the ends could have moved.
//!
//! A forwarder can cost the ends less, by the state in which it leaves the cache lines of both. It cannot make them wait less
//! than not at all. So the bound of a row is the ends' limit with ours in the middle, over testpmd's rate in the same pair.

use serde::Serialize;

use super::statistics::median;

/// What the ends of a row's chain left, medians over its pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ends {
    /// testpmd's rate in the middle, and ours, as shares of what the ends could have moved then.
    pub used: [f64; 2],
    /// The ratio of a forwarder that takes all they could have moved while ours was in the middle.
    pub most: f64,
}

/// A program in the middle: packets per second that it forwarded, and that the ends could have moved meanwhile.
pub(super) type Middle = [f64; 2];

impl Ends {
    /// Those of pairs of testpmd and ours; `None` without any.
    pub(super) fn of(pairs: &[[Middle; 2]]) -> Option<Self> {
        let over = |of: &dyn Fn(&[Middle; 2]) -> f64| median(&pairs.iter().map(of).collect::<Vec<_>>());
        let used = |which: usize| over(&|pair| pair[which][0] / pair[which][1]);
        // What the clock takes that testpmd reads must not make a bound lower than what was reached.
        let most = over(&|[[theirs, _], [ours, limit]]| limit.max(*ours) / theirs);
        (!pairs.is_empty()).then(|| Self { used: [used(0), used(1)], most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_what_the_ends_could_have_moved_over_what_testpmd_did() {
        let pairs = [[[10.0, 20.0], [18.0, 20.0]], [[5.0, 10.0], [9.0, 11.0]], [[10.0, 12.5], [30.0, 29.0]]];
        let ends = Ends::of(&pairs).unwrap();
        assert_eq!(ends, Ends { used: [0.5, 0.9], most: 2.2 });
        assert_eq!(Ends::of(&pairs[2..]).unwrap().most, 3.0, "what was reached can be reached");
        assert_eq!(Ends::of(&[]), None);
    }
}
