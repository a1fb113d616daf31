//! Medians and quartiles.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_odd_and_even_counts() {
        let quartiles = |low, median, high| Quartiles { low, median, high };
        assert_eq!(Quartiles::of(&[5.0, 1.0, 3.0, 2.0, 4.0]), quartiles(2.0, 3.0, 4.0));
        assert_eq!(Quartiles::of(&[4.0, 1.0]), quartiles(1.75, 2.5, 3.25));
        assert_eq!(Quartiles::of(&[7.0]), quartiles(7.0, 7.0, 7.0));
        assert!(median(&[]).is_nan());
    }
}
