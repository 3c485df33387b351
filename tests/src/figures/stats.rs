// SPDX-License-Identifier: EUPL-1.2
//! Medians, spreads and latencies: the few sums that every figure here goes through.

use std::time::Duration;

use serde_json::{Value, json};

/// Median of several rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// None of nothing, or of what is no number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread {
            median: f64::midpoint(low, high),
            min,
            max,
        })
    }

    /// Rounded.
    pub fn json(self) -> Value {
        json!({"median": round(self.median), "min": round(self.min), "max": round(self.max)})
    }
}

/// How long requests took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// Half took no longer.
    pub p50_ms: f64,
    /// Of 100, 99 took no longer.
    pub p99_ms: f64,
    /// How many there were.
    pub count: usize,
}

impl Latency {
    /// Of all that were measured.
    pub fn of(mut latencies: Vec<Duration>) -> Latency {
        latencies.sort_unstable();
        // Nearest rank: the smallest latency that so large a share of the requests did not exceed.
        let at = |share: f64| {
            let rank = (latencies.len() as f64 * share).ceil() as usize;
            latencies
                .get(rank.saturating_sub(1))
                .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        Latency {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            count: latencies.len(),
        }
    }

    /// Rounded.
    pub fn json(self) -> Value {
        json!({"p50_ms": round(self.p50_ms), "p99_ms": round(self.p99_ms), "requests": self.count})
    }
}

/// Two places behind the point: none of these figures is better than that.
pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, 1.0]), None);
        let odd = Spread::of([9.0, 1.0, 4.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (4.0, 1.0, 9.0));
        let even = Spread::of([8.0, 1.0, 4.0, 2.0]).unwrap();
        assert_eq!((even.median, even.min, even.max), (3.0, 1.0, 8.0));
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let latency = Latency::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(
            (latency.p50_ms, latency.p99_ms, latency.count),
            (100.0, 198.0, 200)
        );
        let one = Latency::of(vec![Duration::from_millis(7)]);
        assert_eq!((one.p50_ms, one.p99_ms), (7.0, 7.0));
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }
}
