// SPDX-License-Identifier: EUPL-1.2
//! The ratios that a run is judged by, each with its target. A ratio whose other side took no part has no value, and says why.

use serde_json::{Value, json};

use crate::{
    drive::Paced,
    modes::Mode,
    run::{Results, Series},
    stats::{Spread, round},
};

/// Voters that each verify every signature, on the same cores.
const VOTERS: f64 = 3.0;
/// A paced load that was served less than this share of was too much.
const SERVED_MIN: f64 = 0.95;

/// Which side of the target is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    AtLeast,
    AtMost,
    Below,
}

/// One figure with its target.
#[derive(Clone, Debug)]
pub(crate) struct Ratio {
    pub(crate) name: &'static str,
    /// What stands against what, in words.
    pub(crate) meaning: &'static str,
    pub(crate) value: Option<f64>,
    /// The same ratio in each round, where each side has one.
    pub(crate) spread: Option<Spread>,
    /// Against the peer's best number of connections, where the target names another.
    pub(crate) against_best: Option<f64>,
    pub(crate) bound: Bound,
    pub(crate) target: f64,
    /// Why there is no value.
    pub(crate) reason: Option<String>,
    /// What must be known beside the value.
    pub(crate) notes: Vec<String>,
}

impl Ratio {
    pub(crate) fn reached(&self) -> Option<bool> {
        self.value.map(|value| match self.bound {
            Bound::AtLeast => value >= self.target,
            Bound::AtMost => value <= self.target,
            Bound::Below => value < self.target,
        })
    }

    pub(crate) fn target_text(&self) -> String {
        let sign = match self.bound {
            Bound::AtLeast => "≥",
            Bound::AtMost => "≤",
            Bound::Below => "<",
        };
        format!("{sign} {}", self.target)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "value": self.value.map(rounded),
            "spread": self.spread.map(|spread| json!({"min": rounded(spread.min), "max": rounded(spread.max)})),
            "against_best": self.against_best.map(rounded),
            "target": self.target,
            "bound": match self.bound {
                Bound::AtLeast => "at least",
                Bound::AtMost => "at most",
                Bound::Below => "below",
            },
            "reached": self.reached(),
            "reason": self.reason,
            "notes": self.notes,
            "meaning": self.meaning,
        })
    }
}

/// All ratios of a run, in the order of their targets.
pub(crate) fn ratios(results: &Results) -> Vec<Ratio> {
    let etcd_64 = rate(results, Mode::EtcdPut, Some(64));
    let etcd_best = rate(results, Mode::EtcdPut, None);
    let batch = rate(results, Mode::Batch, None);
    let single = rate(results, Mode::Single, Some(64));
    let verified = results.limits.verify_all_cores.iter();
    let limit: Rounds = Ok(Side {
        rounds: verified.map(|per_s| per_s / VOTERS).collect(),
        notes: Vec::new(),
    });
    let mut all = vec![
        of(
            "batch_vs_etcd_put",
            "Visto's requests of 100 signed as a batch, entries/s ÷ etcd's single puts/s at 64 connections",
            &batch,
            &etcd_64,
            (Bound::AtLeast, 4.0),
        ),
        of(
            "batch_vs_etcd_txn",
            "the same ÷ etcd's puts/s in transactions of 64",
            &batch,
            &rate(results, Mode::EtcdTxn, None),
            (Bound::AtLeast, 1.0),
        ),
        of(
            "batch_vs_postgres_chain",
            "the same ÷ PostgreSQL's rows/s with a hash chain, 100 a statement",
            &batch,
            &rate(results, Mode::ChainedRows, None),
            (Bound::AtLeast, 1.0),
        ),
        of(
            "entry_signed_vs_limit",
            "Visto's requests of 100, each entry signed, entries/s ÷ strict verifications/s on all cores ÷ 3 voters",
            &rate(results, Mode::Signed, None),
            &limit,
            (Bound::AtLeast, 0.5),
        ),
        of(
            "single_vs_etcd_put",
            "Visto, one entry a request with its receipt in the answer, 64 connections ÷ etcd's single puts/s at 64 connections",
            &single,
            &etcd_64,
            (Bound::AtLeast, 1.0),
        ),
        of(
            "commit_p99_vs_etcd_p99",
            "Visto's p99 until an entry is durable on a majority ÷ etcd's p99, one a request, both at half of etcd's best puts/s",
            &paced_p99(results, Mode::Single),
            &paced_p99(results, Mode::EtcdPut),
            (Bound::AtMost, 1.0),
        ),
        publish_delay(results),
    ];
    for (name, above) in [
        ("batch_vs_etcd_put", &batch),
        ("single_vs_etcd_put", &single),
    ] {
        let against = median_of(above).zip(median_of(&etcd_best));
        for ratio in all.iter_mut().filter(|ratio| ratio.name == name) {
            ratio.against_best = against.map(|(above, below)| above / below);
        }
    }
    all
}

/// A figure in each round, with what must be known beside it.
#[derive(Clone, Debug)]
struct Side {
    rounds: Vec<f64>,
    notes: Vec<String>,
}

/// One side of a ratio, or why there is none.
type Rounds = Result<Side, String>;

/// Entries a second in each round: with the named number of connections, or the best.
fn rate(results: &Results, mode: Mode, connections: Option<usize>) -> Rounds {
    let series: Option<&Series> = results.series.iter().find(|series| {
        series.mode == mode && connections.map_or(series.best, |named| series.connections == named)
    });
    match series {
        None => Err(format!("{} took no part", mode.title())),
        Some(series) if series.rounds.is_empty() => {
            Err(format!("{}: no round was finished", mode.title()))
        }
        Some(series) => {
            let failed = series.failed();
            let note = format!("{}: {failed} entries failed", mode.title());
            Ok(Side {
                rounds: series
                    .rounds
                    .iter()
                    .map(|round| round.entries_per_s)
                    .collect(),
                notes: Vec::from_iter((failed > 0).then_some(note)),
            })
        }
    }
}

fn paced_p99(results: &Results, mode: Mode) -> Rounds {
    let series = results.paced.iter().find(|series| series.mode == mode);
    let Some(series) = series.filter(|series| !series.rounds.is_empty()) else {
        return Err(format!("{} was not measured at a paced load", mode.title()));
    };
    let median = |figure: fn(&Paced) -> f64| series.of(figure).map_or(0.0, |spread| spread.median);
    let (asked, served) = (
        median(|paced| paced.asked_per_s),
        median(|paced| paced.served_per_s),
    );
    let mut notes = Vec::new();
    if served < SERVED_MIN * asked {
        notes.push(format!(
            "{} served {served:.0} of {asked:.0} entries/s: what waits grows with the length of the run",
            mode.title()
        ));
    }
    let failed: u64 = series.rounds.iter().map(|paced| paced.failed).sum();
    if failed > 0 {
        notes.push(format!("{}: {failed} entries failed", mode.title()));
    }
    Ok(Side {
        rounds: series
            .rounds
            .iter()
            .map(|paced| paced.latency.p99_ms)
            .collect(),
        notes,
    })
}

/// Ratio of the medians, with the ratios of each round as its spread.
fn of(
    name: &'static str,
    meaning: &'static str,
    above: &Rounds,
    below: &Rounds,
    (bound, target): (Bound, f64),
) -> Ratio {
    let mut ratio = Ratio {
        name,
        meaning,
        value: None,
        spread: None,
        against_best: None,
        bound,
        target,
        reason: None,
        notes: Vec::new(),
    };
    match (above, below) {
        (Err(reason), _) | (_, Err(reason)) => ratio.reason = Some(reason.clone()),
        (Ok(upper), Ok(lower)) => {
            ratio.notes = [&upper.notes[..], &lower.notes[..]].concat();
            match (median_of(above), median_of(below)) {
                (Some(above), Some(below)) if below > 0.0 => {
                    ratio.value = Some(above / below);
                    let rounds = upper.rounds.iter().zip(&lower.rounds);
                    ratio.spread = Spread::of(
                        rounds
                            .filter(|(_, below)| **below > 0.0)
                            .map(|(above, below)| above / below),
                    );
                }
                _ => ratio.reason = Some("nothing was written by the other side".into()),
            }
        }
    }
    ratio
}

fn publish_delay(results: &Results) -> Ratio {
    let p99 = results.publish.iter().map(|(latency, _)| latency.p99_ms);
    let spread = Spread::of(p99);
    let unseen: u64 = results.publish.iter().map(|(_, unseen)| unseen).sum();
    let mut ratio = Ratio {
        name: "publish_delay_p99_ms",
        meaning: "from the answer that an entry is durable to a served checkpoint that covers it, p99 in ms, at the same paced load",
        value: spread.map(|spread| spread.median),
        spread,
        against_best: None,
        bound: Bound::Below,
        target: 250.0,
        reason: spread
            .is_none()
            .then(|| "no paced load was measured".to_owned()),
        notes: Vec::new(),
    };
    if unseen > 0 {
        ratio.value = None;
        ratio.reason = Some(format!("{unseen} entries stood under no checkpoint"));
    }
    ratio
}

fn median_of(rounds: &Rounds) -> Option<f64> {
    let side = rounds.as_ref().ok()?;
    Spread::of(side.rounds.iter().copied()).map(|spread| spread.median)
}

/// Small ratios keep three places.
fn rounded(value: f64) -> f64 {
    if value < 10.0 {
        (value * 1000.0).round() / 1000.0
    } else {
        round(value)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        run::PacedSeries,
        stats::{Latency, Measured},
    };

    pub(crate) fn series(mode: Mode, connections: usize, best: bool, rounds: &[f64]) -> Series {
        Series {
            mode,
            connections,
            best,
            rounds: rounds
                .iter()
                .map(|entries_per_s| Measured {
                    entries_per_s: *entries_per_s,
                    ..Measured::default()
                })
                .collect(),
        }
    }

    fn paced(mode: Mode, p99_ms: &[u64]) -> PacedSeries {
        PacedSeries {
            mode,
            rounds: p99_ms
                .iter()
                .map(|ms| Paced {
                    asked_per_s: 100.0,
                    served_per_s: 100.0,
                    latency: Latency::of(vec![Duration::from_millis(*ms)]),
                    failed: 0,
                    unserved: 0,
                })
                .collect(),
        }
    }

    /// A run of three rounds of which all is known.
    pub(crate) fn known() -> Results {
        let mut results = Results {
            series: vec![
                series(Mode::EtcdPut, 64, false, &[900.0, 1_000.0, 1_100.0]),
                series(Mode::EtcdPut, 256, true, &[2_000.0, 2_000.0, 2_000.0]),
                series(Mode::EtcdTxn, 16, true, &[8_000.0, 4_000.0, 5_000.0]),
                series(Mode::ChainedRows, 1, true, &[4_000.0, 4_000.0, 4_000.0]),
                series(Mode::Single, 64, true, &[500.0, 500.0, 600.0]),
                series(Mode::Signed, 4, true, &[3_000.0, 3_000.0, 3_000.0]),
                series(Mode::Batch, 4, true, &[4_500.0, 4_000.0, 3_000.0]),
            ],
            paced: vec![
                paced(Mode::EtcdPut, &[10, 20, 30]),
                paced(Mode::Single, &[40, 10, 20]),
            ],
            publish: vec![(Latency::of(vec![Duration::from_millis(100)]), 0)],
            ..Results::default()
        };
        results.limits.verify_all_cores = vec![30_000.0, 36_000.0, 40_000.0];
        results
    }

    fn get(results: &Results, name: &str) -> Ratio {
        let all = ratios(results);
        all.into_iter().find(|ratio| ratio.name == name).unwrap()
    }

    #[test]
    fn a_ratio_is_of_the_medians_and_its_spread_of_the_rounds() {
        let results = known();
        let put = get(&results, "batch_vs_etcd_put");
        assert_eq!((put.value, put.reached()), (Some(4.0), Some(true)));
        assert_eq!(put.against_best, Some(2.0));
        let spread = put.spread.unwrap();
        assert_eq!((spread.max, spread.median), (5.0, 4.0));
        let txn = get(&results, "batch_vs_etcd_txn");
        assert_eq!((txn.value, txn.reached()), (Some(0.8), Some(false)));
        let chain = get(&results, "batch_vs_postgres_chain");
        assert_eq!((chain.value, chain.reached()), (Some(1.0), Some(true)));
        // 36 000 on all cores, three voters.
        let limit = get(&results, "entry_signed_vs_limit");
        assert_eq!((limit.value, limit.reached()), (Some(0.25), Some(false)));
        let single = get(&results, "single_vs_etcd_put");
        assert_eq!((single.value, single.against_best), (Some(0.5), Some(0.25)));
        let commit = get(&results, "commit_p99_vs_etcd_p99");
        assert_eq!((commit.value, commit.reached()), (Some(1.0), Some(true)));
        let publish = get(&results, "publish_delay_p99_ms");
        assert_eq!(
            (publish.value, publish.reached()),
            (Some(100.0), Some(true))
        );
    }

    #[test]
    fn a_peer_that_took_no_part_leaves_no_ratio_but_a_reason() {
        let mut results = known();
        results.series.retain(|series| {
            !matches!(
                series.mode,
                Mode::EtcdPut | Mode::EtcdTxn | Mode::ChainedRows
            )
        });
        results.paced.retain(|series| series.mode != Mode::EtcdPut);
        for name in [
            "batch_vs_etcd_put",
            "batch_vs_etcd_txn",
            "batch_vs_postgres_chain",
            "single_vs_etcd_put",
            "commit_p99_vs_etcd_p99",
        ] {
            let ratio = get(&results, name);
            assert_eq!((ratio.value, ratio.reached()), (None, None), "{name}");
            assert!(ratio.reason.is_some(), "{name}");
            let json = ratio.json();
            assert!(json["value"].is_null() && json["reached"].is_null());
            assert!(json["reason"].is_string());
        }
        assert!(get(&results, "entry_signed_vs_limit").value.is_some());
        // And of a run that measured nothing at all.
        assert!(
            ratios(&Results::default())
                .iter()
                .all(|ratio| ratio.value.is_none() && ratio.reason.is_some())
        );
    }

    #[test]
    fn what_failed_or_was_not_served_is_said_beside_the_value() {
        let mut results = known();
        assert!(ratios(&results).iter().all(|ratio| ratio.notes.is_empty()));
        results.paced[1].rounds[0].served_per_s = 10.0;
        assert!(
            get(&results, "commit_p99_vs_etcd_p99").notes.is_empty(),
            "one slow round of three"
        );
        results.paced[1].rounds[1].served_per_s = 94.0;
        let commit = get(&results, "commit_p99_vs_etcd_p99");
        assert!(
            commit.notes[0].contains("served 94 of 100"),
            "{:?}",
            commit.notes
        );
        results.series[6].rounds[2].failed = 7;
        let batch = get(&results, "batch_vs_etcd_txn");
        assert!(batch.value.is_some() && batch.notes[0].contains("7 entries failed"));
    }

    #[test]
    fn an_entry_that_was_never_published_is_not_passed_over() {
        let mut results = known();
        results.publish.push((Latency::default(), 1));
        let publish = get(&results, "publish_delay_p99_ms");
        assert_eq!((publish.value, publish.reached()), (None, None));
        assert!(publish.reason.unwrap().contains("1 entries"));
    }
}
