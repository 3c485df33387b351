// SPDX-License-Identifier: EUPL-1.2
//! Medians, spreads and latencies: the few sums that every figure here goes through.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Median of several rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None of nothing, or of what is no number.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
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

    pub(crate) fn json(self) -> Value {
        json!({"median": round(self.median), "min": round(self.min), "max": round(self.max)})
    }
}

/// How long requests took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) count: usize,
}

impl Latency {
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Latency {
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

    pub(crate) fn json(self) -> Value {
        json!({"p50_ms": round(self.p50_ms), "p99_ms": round(self.p99_ms), "requests": self.count})
    }
}

/// One request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) done: Instant,
    pub(crate) latency: Duration,
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
}

/// What one load came to between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) entries_per_s: f64,
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
    pub(crate) latency: Latency,
    /// Seconds that counted.
    pub(crate) seconds: f64,
    /// CPU seconds of this load generator, of those of all cores in that time.
    pub(crate) client_share: f64,
}

impl Measured {
    /// Counts what was answered within the window, whenever it was sent: in a steady load as much enters as leaves.
    pub(crate) fn within(completions: &[Completion], from: Instant, to: Instant) -> Measured {
        let counted: Vec<&Completion> = completions
            .iter()
            .filter(|completion| completion.done >= from && completion.done < to)
            .collect();
        let seconds = to.saturating_duration_since(from).as_secs_f64();
        let accepted: u64 = counted.iter().map(|completion| completion.accepted).sum();
        Measured {
            entries_per_s: if seconds > 0.0 {
                accepted as f64 / seconds
            } else {
                0.0
            },
            accepted,
            failed: counted.iter().map(|completion| completion.failed).sum(),
            latency: Latency::of(
                counted
                    .iter()
                    .map(|completion| completion.latency)
                    .collect(),
            ),
            seconds,
            client_share: 0.0,
        }
    }

    pub(crate) fn json(&self) -> Value {
        let mut value = self.latency.json();
        value["entries_per_s"] = json!(round(self.entries_per_s));
        value["entries_failed"] = json!(self.failed);
        value["seconds"] = json!(round(self.seconds));
        value["client_cpu_share"] = json!(round(self.client_share));
        value
    }
}

/// Two places behind the point: none of these figures is better than that.
pub(crate) fn round(value: f64) -> f64 {
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

    #[test]
    fn only_answers_within_the_window_count() {
        let start = Instant::now();
        let completion = |at_ms: u64, accepted, failed| Completion {
            done: start + Duration::from_millis(at_ms),
            latency: Duration::from_millis(10),
            accepted,
            failed,
        };
        let completions = [
            completion(999, 1_000, 0),
            completion(1_000, 100, 0),
            completion(2_999, 99, 1),
            completion(3_000, 1_000, 0),
        ];
        let second = Duration::from_secs(1);
        let measured = Measured::within(&completions, start + second, start + 3 * second);
        assert_eq!(
            (measured.accepted, measured.failed, measured.latency.count),
            (199, 1, 2)
        );
        assert!((measured.entries_per_s - 99.5).abs() < 1e-9);
        assert!(Measured::within(&completions, start, start).entries_per_s == 0.0);
    }
}
