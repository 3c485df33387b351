// SPDX-License-Identifier: EUPL-1.2
//! Bad histories, each found; and good ones that look odd, each passed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use super::*;

/// A run written down by hand: operations in the order of their ticks.
#[derive(Default)]
struct Run {
    history: History,
    tick: u64,
}

impl Run {
    fn tick(&mut self) -> Tick {
        self.tick += 1;
        Tick(self.tick)
    }

    /// An append that began and ended before the next line of the test.
    fn append(mut self, entry: &str, outcome: Outcome) -> Run {
        let (began, ended) = (self.tick(), self.tick());
        self.history.appends.push(Append {
            entry: entry.into(),
            began,
            ended,
            outcome,
        });
        self
    }

    fn accepted(self, entry: &str, index: u64) -> Run {
        self.append(entry, accepted(entry, index))
    }

    fn read(mut self, size: u64, root: &str) -> Run {
        let (began, ended) = (self.tick(), self.tick());
        self.history.reads.push(Read {
            began,
            ended,
            size,
            root: Some(root.into()),
            linearizable: true,
        });
        self
    }

    fn kept(mut self, entries: &[&str]) -> Run {
        let node = format!("node {}", self.history.kept.len() + 1);
        let entries = (0..)
            .zip(entries)
            .map(|(index, id)| kept(index, id))
            .collect();
        self.history.kept.push(Kept { node, entries });
        self
    }

    fn anomalies(self) -> Vec<Anomaly> {
        self.history.judge().expect_err("a bad history was passed")
    }
}

fn accepted(entry: &str, index: u64) -> Outcome {
    Outcome::Accepted {
        index,
        leaf_hash: format!("leaf of {entry}"),
    }
}

/// `-` stands for an entry that the ledger itself wrote.
fn kept(index: u64, id: &str) -> KeptEntry {
    KeptEntry {
        index,
        entry: (id != "-").then(|| id.into()),
        leaf_hash: format!("leaf of {id}"),
    }
}

#[test]
fn a_good_run_passes_and_is_counted() {
    let run = Run::default()
        .accepted("a", 1)
        .read(2, "r2")
        .append("bad", Outcome::Refused)
        .append("b", Outcome::Unknown)
        .append("c", Outcome::Unknown)
        .accepted("d", 3)
        .read(4, "r4")
        .kept(&["-", "a", "b", "d"])
        .kept(&["-", "a", "b"]);
    let verdict = run.history.judge().unwrap();
    assert_eq!(
        verdict,
        Verdict {
            acknowledged: 2,
            unknown_kept: 1,
            unknown_lost: 1,
            refused: 1,
            reads: 2
        }
    );
}

#[test]
fn an_entry_sent_again_is_one_operation() {
    // The first answer was lost; the second names where the first put it, before an entry that was sent in between.
    let run = Run::default()
        .append("a", Outcome::Unknown)
        .accepted("b", 2)
        .accepted("a", 1)
        .append("a", Outcome::NotWritten)
        .kept(&["-", "a", "b"]);
    assert_eq!(run.history.judge().unwrap().acknowledged, 2);
}

#[test]
fn a_run_that_shows_nothing_fails() {
    let nothing = Run::default()
        .append("a", Outcome::Unknown)
        .kept(&["-"])
        .anomalies();
    assert_eq!(
        nothing,
        [Anomaly::CannotBeJudged("nothing was acknowledged")]
    );
    let nobody = Run::default().accepted("a", 0).anomalies();
    assert_eq!(
        nobody,
        [Anomaly::CannotBeJudged("no node's entries are known")]
    );
}

#[test]
fn a_lost_acknowledgement_is_found() {
    let found = Run::default()
        .accepted("a", 1)
        .accepted("b", 2)
        .kept(&["-", "a"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::Lost {
            entry: "b".into(),
            index: 2
        }]
    );
}

#[test]
fn an_entry_kept_elsewhere_or_otherwise_is_found() {
    let found = Run::default()
        .accepted("a", 1)
        .kept(&["-", "-", "a"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::Changed {
            entry: "a".into(),
            index: 1
        }]
    );
    let mut run = Run::default().accepted("a", 1).kept(&["-", "a"]);
    run.history.kept[0].entries[1].leaf_hash = "another".into();
    assert_eq!(
        run.anomalies(),
        [Anomaly::Changed {
            entry: "a".into(),
            index: 1
        }]
    );
}

#[test]
fn a_gap_is_found() {
    let mut run = Run::default()
        .accepted("a", 1)
        .accepted("b", 3)
        .kept(&["-", "a"]);
    run.history.kept[0].entries.push(kept(3, "b"));
    assert_eq!(
        run.anomalies(),
        [Anomaly::NotDense {
            node: "node 1".into(),
            expected: 2,
            found: 3
        }]
    );
}

#[test]
fn an_entry_counted_twice_is_found() {
    let found = Run::default()
        .append("x", Outcome::Unknown)
        .accepted("a", 3)
        .kept(&["-", "x", "x", "a"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::Twice {
            node: "node 1".into(),
            entry: "x".into(),
            indexes: (1, 2)
        }]
    );
}

#[test]
fn nodes_that_differ_are_found() {
    let found = Run::default()
        .accepted("a", 1)
        .append("b", Outcome::Unknown)
        .append("c", Outcome::Unknown)
        .kept(&["-", "a", "b", "c"])
        .kept(&["-", "a", "c"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::NodesDiffer {
            nodes: ("node 1".into(), "node 2".into()),
            index: 2
        }]
    );
}

#[test]
fn two_answers_for_one_entry_are_found() {
    let found = Run::default()
        .accepted("a", 1)
        .accepted("a", 2)
        .kept(&["-", "a"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::AnswersDiffer {
            entry: "a".into(),
            indexes: (1, 2)
        }]
    );
}

#[test]
fn refused_and_never_written_entries_must_stand_nowhere() {
    let found = Run::default()
        .accepted("a", 1)
        .append("b", Outcome::Refused)
        .kept(&["-", "a", "b"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::RefusedButKept {
            entry: "b".into(),
            index: 2
        }]
    );
    let found = Run::default()
        .accepted("a", 1)
        .append("b", Outcome::NotWritten)
        .kept(&["-", "a", "b"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::NotWrittenButKept {
            entry: "b".into(),
            index: 2
        }]
    );
    let found = Run::default()
        .accepted("a", 1)
        .kept(&["-", "a", "b"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::Invented {
            entry: "b".into(),
            index: 2
        }]
    );
}

#[test]
fn real_time_order_is_asked_of_acknowledged_and_of_unknown_entries() {
    let found = Run::default()
        .accepted("a", 2)
        .accepted("b", 1)
        .kept(&["-", "b", "a"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::OutOfOrder {
            entry: "b".into(),
            index: 1,
            after: 2
        }]
    );
    let found = Run::default()
        .accepted("a", 2)
        .append("b", Outcome::Unknown)
        .kept(&["-", "b", "a"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::OutOfOrder {
            entry: "b".into(),
            index: 1,
            after: 2
        }]
    );
}

#[test]
fn entries_in_flight_together_may_stand_in_either_order() {
    let mut run = Run::default().kept(&["-", "b", "a"]);
    for (entry, index, began, ended) in [("a", 2, 1, 3), ("b", 1, 2, 4)] {
        let outcome = accepted(entry, index);
        run.history.appends.push(Append {
            entry: entry.into(),
            began: Tick(began),
            ended: Tick(ended),
            outcome,
        });
    }
    assert_eq!(run.history.judge().unwrap().acknowledged, 2);
}

#[test]
fn stale_reads_are_found() {
    let found = Run::default()
        .accepted("a", 1)
        .read(1, "r1")
        .kept(&["-", "a"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::StaleRead {
            size: 1,
            expected: 2
        }]
    );
    // Nothing was acknowledged between them, yet a read may not go back behind another.
    let found = Run::default()
        .accepted("a", 1)
        .read(3, "r3")
        .read(2, "r2")
        .kept(&["-", "a", "-"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::StaleRead {
            size: 2,
            expected: 3
        }]
    );
}

#[test]
fn a_local_read_may_lag_but_not_run_ahead() {
    let mut run = Run::default()
        .accepted("a", 1)
        .read(1, "r1")
        .kept(&["-", "a"]);
    run.history.reads[0].linearizable = false;
    assert!(run.history.judge().is_ok());
    let found = Run::default()
        .read(2, "r2")
        .accepted("a", 1)
        .kept(&["-", "a"])
        .anomalies();
    assert_eq!(
        found,
        [Anomaly::ReadOfTheFuture {
            entry: "a".into(),
            index: 1,
            size: 2
        }]
    );
}

#[test]
fn two_roots_for_one_size_are_found() {
    let found = Run::default()
        .accepted("a", 1)
        .read(2, "r2")
        .read(2, "other")
        .kept(&["-", "a"])
        .anomalies();
    assert_eq!(found, [Anomaly::TwoRoots { size: 2 }]);
}

#[test]
fn ticks_order_what_threads_do() {
    let recorder = Recorder::default();
    let began = recorder.tick();
    recorder.append("a", began, accepted("a", 0));
    assert_eq!(recorder.acknowledged(), 1);
    let history = recorder.finish(Vec::new());
    assert!(history.appends[0].began < history.appends[0].ended);
}
