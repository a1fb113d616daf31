//! Medians and quartiles, and what may be chance.

use std::f64::consts::LN_2;

use serde::Serialize;

/// The middle of some values, and how far they scatter; all NaN of none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quartiles {
    /// A quarter of the values is not greater.
    pub low: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters.
    pub high: f64,
}

impl Quartiles {
    /// Those of some values; between two of them in proportion.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self { low: quantile(&sorted, 0.25), median: quantile(&sorted, 0.5), high: quantile(&sorted, 0.75) }
    }
}

/// The middle of some values; the mean of the two in the middle of an even number; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    Quartiles::of(values).median
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    match (sorted.get(place.floor() as usize), sorted.get(place.ceil() as usize)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}

/// How improbable chance has to be for a verdict that rests on how many of some pairs were worse.
pub const CHANCE: f64 = 0.05;

/// How many pairs a verdict takes. With fewer, even all of them worse would be no more improbable than [`CHANCE`].
pub const LEAST_PAIRS: usize = 5;

/// How probable it is that one of two equals is worse in `worse` or more of `pairs` pairs (the sign test).
pub fn chance(worse: usize, pairs: usize) -> f64 {
    // Of the probability that just so many are worse. Itself, beyond 1074 pairs, that of none is no number but 0.
    let mut logarithm = -LN_2 * pairs as f64;
    let mut sum = 0.0;
    for count in 0..=pairs {
        sum += if count >= worse { logarithm.exp() } else { 0.0 };
        logarithm += ((pairs - count) as f64 / (count + 1) as f64).ln();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pairs_prove_little_and_many_of_them_much() {
        for (worse, pairs, probability) in [(0, 4, 1.0), (4, 4, 0.0625), (3, 4, 0.3125), (0, 0, 1.0)] {
            assert!((chance(worse, pairs) - probability).abs() < 1e-12, "{worse} of {pairs}");
        }
        assert!(chance(40, 60) < CHANCE && chance(33, 60) > CHANCE && chance(500, 1000) > 0.5);
    }

    #[test]
    fn chance_is_right_of_more_pairs_than_a_power_of_a_half_can_tell() {
        for (worse, probability) in [(0, 1.0), (1000, 0.508919505573), (1037, 0.051293114327), (1100, 0.000004228545)] {
            assert!((chance(worse, 2000) - probability).abs() < 1e-9, "{worse}: {}", chance(worse, 2000));
        }
    }

    #[test]
    fn fewer_pairs_than_a_verdict_takes_could_always_be_chance() {
        assert!(chance(LEAST_PAIRS, LEAST_PAIRS) <= CHANCE && chance(LEAST_PAIRS - 1, LEAST_PAIRS - 1) > CHANCE);
    }

    #[test]
    fn quartiles_of_odd_and_even_counts() {
        let quartiles = |low, median, high| Quartiles { low, median, high };
        assert_eq!(Quartiles::of(&[5.0, 1.0, 3.0, 2.0, 4.0]), quartiles(2.0, 3.0, 4.0));
        assert_eq!(Quartiles::of(&[4.0, 1.0]), quartiles(1.75, 2.5, 3.25));
        assert_eq!(Quartiles::of(&[7.0]), quartiles(7.0, 7.0, 7.0));
        assert!(median(&[]).is_nan());
    }
}
