//! Medians and spreads.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads_of_odd_and_even_counts() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), spread(&[3.0, 1.0, 2.0])), (2.0, 1.0));
        assert_eq!((median(&[4.0, 1.0]), spread(&[4.0, 1.0])), (2.5, 1.2));
        assert!(median(&[]).is_nan() && spread(&[]).is_nan());
    }
}
