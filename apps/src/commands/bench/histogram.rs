//! Latencies, in an HDR histogram: two significant digits and more of every value from a nanosecond to a minute.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Longest latency that is told apart from longer ones, in nanoseconds.
const HIGHEST: u64 = 60_000_000_000;

/// What was measured; made when the first value comes.
#[derive(Clone, Default)]
pub(super) struct Histogram(Option<hdrhistogram::Histogram<u64>>);

/// What is shown of it, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    /// How many packets.
    pub(super) samples: u64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
}

impl Histogram {
    /// Adds a value.
    #[inline]
    pub(super) fn record(&mut self, latency: Duration) {
        let histogram = self.0.get_or_insert_with(|| {
            // The bounds and the digits are right, so it is made.
            hdrhistogram::Histogram::new_with_bounds(1, HIGHEST, 3).expect("bounds of a histogram")
        });
        histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(HIGHEST));
    }

    /// The values that are shown; zeros without samples.
    pub(super) fn percentiles(&self) -> Percentiles {
        let Some(histogram) = &self.0 else { return Percentiles::default() };
        let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            samples: histogram.len(),
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.percentiles().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_values() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|us| histogram.record(Duration::from_micros(us)));
        let Percentiles { samples, p50_us, p99_us, p999_us, max_us } = histogram.percentiles();
        assert_eq!(samples, 1000);
        for (value, expected) in [(p50_us, 500.0), (p99_us, 990.0), (p999_us, 999.0), (max_us, 1000.0)] {
            assert!((value - expected).abs() <= expected / 500.0, "{value} is not {expected}");
        }
    }

    #[test]
    fn nothing_measured_is_zeros_and_an_hour_is_the_longest_that_is_told() {
        assert_eq!(Histogram::default().percentiles(), Percentiles::default());
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_secs(3600));
        let percentiles = histogram.percentiles();
        assert!(percentiles.samples == 1 && percentiles.max_us >= 59e6, "{percentiles:?}");
    }
}
