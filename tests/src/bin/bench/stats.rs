// SPDX-License-Identifier: EUPL-1.2
//! What one load came to.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) use ::tests::figures::stats::{Latency, Spread, round};

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

#[cfg(test)]
mod tests {
    use super::*;

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
