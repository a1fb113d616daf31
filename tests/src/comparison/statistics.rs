//! Medians, spreads, and what may be chance.

/// The middle of some rates; the mean of the two in the middle of an even number; NaN of none.
pub fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// The distance from the slowest to the fastest, as a share of the median; NaN of none.
pub fn spread(rates: &[f64]) -> f64 {
    let (slowest, fastest) =
        rates.iter().fold((f64::MAX, f64::MIN), |(low, high), &rate| (low.min(rate), high.max(rate)));
    (fastest - slowest) / median(rates)
}

/// How improbable chance has to be for a verdict that rests on how many of some pairs were worse.
pub const CHANCE: f64 = 0.05;

/// How probable it is that one of two equals is worse in `worse` or more of `pairs` pairs (the sign test).
pub fn chance(worse: usize, pairs: usize) -> f64 {
    let mut probability = 0.5_f64.powi(i32::try_from(pairs).unwrap_or(i32::MAX));
    let mut sum = 0.0;
    for count in 0..=pairs {
        sum += if count >= worse { probability } else { 0.0 };
        probability *= (pairs - count) as f64 / (count + 1) as f64;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pairs_prove_little_and_many_of_them_much() {
        assert_eq!([chance(0, 4), chance(4, 4), chance(3, 4), chance(0, 0)], [1.0, 0.0625, 0.3125, 1.0]);
        assert!(chance(40, 60) < CHANCE && chance(33, 60) > CHANCE && chance(500, 1000) > 0.5);
    }

    #[test]
    fn medians_and_spreads_of_odd_and_even_counts() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), spread(&[3.0, 1.0, 2.0])), (2.0, 1.0));
        assert_eq!((median(&[4.0, 1.0]), spread(&[4.0, 1.0])), (2.5, 1.2));
        assert!(median(&[]).is_nan() && spread(&[]).is_nan());
    }
}
