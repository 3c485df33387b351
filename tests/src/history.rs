// SPDX-License-Identifier: EUPL-1.2
//! Judges what the clients of a run saw against what the nodes kept.
//!
//! Every accepted append returns a dense index, so no search for a possible order is needed: the index *is* the order, and the judge
//! only compares it with real time. Four rules, all in O(n log n):
//!
//! 1. **dense and agreed**: each node keeps the indexes 0, 1, 2 … with one entry each, no entry twice, and all nodes keep the same;
//! 2. **kept as acknowledged**: an entry that a client was told of stands at that index with that leaf hash; a refused one stands nowhere;
//!    an unknown outcome stands once or not at all; nothing stands there that nobody sent;
//! 3. **real time**: if the answer for A came before B was first sent, A stands before B;
//! 4. **reads**: a linearizable read covers all that was acknowledged, and all that was read, before it began; no read shows what was
//!    sent only after it ended; one tree size has one root.
//!
//! A run in which nothing was acknowledged cannot be judged and fails.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Collects a run's operations, from any number of threads.
#[derive(Default)]
pub struct Recorder {
    clock: AtomicU64,
    history: Mutex<History>,
}

/// A place in the order of beginnings and ends that the recorder saw. Not a time: it needs no clock and never ties.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tick(pub u64);

/// All that is known of a run.
#[derive(Clone, Default, Debug)]
pub struct History {
    /// Attempts to append, one for each request sent. The same entry may be sent again.
    pub appends: Vec<Append>,
    /// Reads of the ledger's size, with the root if it was told.
    pub reads: Vec<Read>,
    /// What each node keeps at the end.
    pub kept: Vec<Kept>,
}

/// One request to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// The entry's own id, unique in the run.
    pub entry: String,
    /// Taken before the request was sent.
    pub began: Tick,
    /// Taken after the answer, or the lack of one, was certain.
    pub ended: Tick,
    /// What the client was told.
    pub outcome: Outcome,
}

/// What a client was told of its append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Accepted now or before, at this index.
    Accepted {
        /// Its place.
        index: u64,
        /// Its leaf hash, as text.
        leaf_hash: String,
    },
    /// A rule said no: it must stand nowhere, unless another attempt at the same entry was not refused.
    Refused,
    /// The node said that it certainly was not written (no quorum, too busy).
    NotWritten,
    /// No answer, or one that says unknown.
    Unknown,
}

/// One read of the ledger's size.
#[derive(Clone, Debug)]
pub struct Read {
    /// Taken before the request was sent.
    pub began: Tick,
    /// Taken after the answer came.
    pub ended: Tick,
    /// The tree size that the answer reflects.
    pub size: u64,
    /// The root at that size, if told.
    pub root: Option<String>,
    /// Whether the read promised to cover all that was acknowledged before it.
    pub linearizable: bool,
}

/// What one node keeps.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Whose it is, for the report.
    pub node: String,
    /// In the order that the node gave them.
    pub entries: Vec<KeptEntry>,
}

/// One entry as a node keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptEntry {
    /// Its place.
    pub index: u64,
    /// Its id; absent for what the ledger itself writes (genesis, reads, state roots) and for what was there before the run.
    pub entry: Option<String>,
    /// Its leaf hash, as text.
    pub leaf_hash: String,
}

/// What a good run amounts to. Printed by the scenarios, so that a run that tested nothing shows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Verdict {
    /// Entries acknowledged.
    pub acknowledged: usize,
    /// Entries whose outcome stayed unknown and that stand in the ledger.
    pub unknown_kept: usize,
    /// Entries whose outcome stayed unknown and that do not.
    pub unknown_lost: usize,
    /// Entries refused.
    pub refused: usize,
    /// Reads judged.
    pub reads: usize,
}

/// One way in which the run broke a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Anomaly {
    /// Nothing was acknowledged, or no node's entries are known.
    CannotBeJudged(&'static str),
    /// Rule 1: an index is missing or comes twice.
    NotDense {
        node: String,
        expected: u64,
        found: u64,
    },
    /// Rule 1: one entry at two indexes.
    Twice {
        node: String,
        entry: String,
        indexes: (u64, u64),
    },
    /// Rule 1: two nodes keep different entries at one index.
    NodesDiffer { nodes: (String, String), index: u64 },
    /// Rule 2: two answers for one entry differ.
    AnswersDiffer { entry: String, indexes: (u64, u64) },
    /// Rule 2: an acknowledged entry is not kept.
    Lost { entry: String, index: u64 },
    /// Rule 2: it is kept, but not as acknowledged.
    Changed { entry: String, index: u64 },
    /// Rule 2: a refused entry is kept.
    RefusedButKept { entry: String, index: u64 },
    /// Rule 2: an entry that certainly was not written is kept.
    NotWrittenButKept { entry: String, index: u64 },
    /// Rule 2: nobody sent it.
    Invented { entry: String, index: u64 },
    /// Rule 3: it was sent after the answer for another, and stands before it.
    OutOfOrder {
        entry: String,
        index: u64,
        after: u64,
    },
    /// Rule 4: a linearizable read does not cover what was acknowledged or read before it.
    StaleRead { size: u64, expected: u64 },
    /// Rule 4: a read shows an entry that was sent only later.
    ReadOfTheFuture {
        entry: String,
        index: u64,
        size: u64,
    },
    /// Rule 4: two roots for one size.
    TwoRoots { size: u64 },
}

impl Recorder {
    /// The next tick. Take one before a request is sent and one after its answer.
    pub fn tick(&self) -> Tick {
        // Sequentially consistent: if one thread saw an end before another took a beginning, the numbers say so.
        Tick(self.clock.fetch_add(1, Ordering::SeqCst))
    }

    /// Adds an append whose answer has come (or certainly will not).
    pub fn append(&self, entry: &str, began: Tick, outcome: Outcome) {
        let ended = self.tick();
        let append = Append {
            entry: entry.to_owned(),
            began,
            ended,
            outcome,
        };
        self.history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .appends
            .push(append);
    }

    /// Adds a read whose answer has come.
    pub fn read(&self, began: Tick, size: u64, root: Option<String>, linearizable: bool) {
        let ended = self.tick();
        let read = Read {
            began,
            ended,
            size,
            root,
            linearizable,
        };
        self.history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reads
            .push(read);
    }

    /// Number of entries acknowledged so far: what a scenario waits for before it breaks something.
    pub fn acknowledged(&self) -> usize {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history
            .appends
            .iter()
            .filter(|a| matches!(a.outcome, Outcome::Accepted { .. }))
            .count()
    }

    /// The smallest tree that holds every acknowledged entry.
    pub fn covering_size(&self) -> u64 {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let sizes = history.appends.iter().map(|append| match append.outcome {
            Outcome::Accepted { index, .. } => index + 1,
            _ => 0,
        });
        sizes.max().unwrap_or_default()
    }

    /// What was recorded, with what the nodes keep.
    pub fn finish(&self, kept: Vec<Kept>) -> History {
        let mut history = self
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        history.kept = kept;
        history
    }
}

impl History {
    /// Judges the run.
    ///
    /// # Errors
    /// Every anomaly found; each alone means that the ledger broke a promise, or that the run proves nothing.
    pub fn judge(&self) -> Result<Verdict, Vec<Anomaly>> {
        let mut judge = Judge {
            history: self,
            anomalies: Vec::new(),
        };
        let verdict = judge.run();
        if judge.anomalies.is_empty() {
            Ok(verdict)
        } else {
            Err(judge.anomalies)
        }
    }
}

struct Judge<'a> {
    history: &'a History,
    anomalies: Vec<Anomaly>,
}

/// All attempts at one entry, as one operation: it began with the first and was acknowledged with the first acceptance.
struct Operation {
    began: Tick,
    acknowledged: Option<(Tick, u64, String)>,
    /// At least one attempt ended without a certain answer.
    unknown: bool,
    refused: bool,
}

impl<'a> Judge<'a> {
    fn run(&mut self) -> Verdict {
        let operations = self.operations();
        let Some(kept) = self.agreed() else {
            self.anomalies
                .push(Anomaly::CannotBeJudged("no node's entries are known"));
            return Verdict::default();
        };
        let verdict = self.kept_as_told(&operations, &kept);
        if verdict.acknowledged == 0 {
            self.anomalies
                .push(Anomaly::CannotBeJudged("nothing was acknowledged"));
        }
        self.real_time(&operations, &kept);
        self.one_root_per_size();
        verdict
    }

    fn operations(&mut self) -> BTreeMap<&'a str, Operation> {
        let mut operations: BTreeMap<&'a str, Operation> = BTreeMap::new();
        let mut in_order: Vec<&Append> = self.history.appends.iter().collect();
        in_order.sort_by_key(|a| a.ended);
        for append in in_order {
            let operation = operations.entry(&append.entry).or_insert(Operation {
                began: append.began,
                acknowledged: None,
                unknown: false,
                refused: false,
            });
            operation.began = operation.began.min(append.began);
            match &append.outcome {
                Outcome::Accepted { index, leaf_hash } => match &operation.acknowledged {
                    None => {
                        operation.acknowledged = Some((append.ended, *index, leaf_hash.clone()))
                    }
                    Some((_, first, hash)) if first != index || hash != leaf_hash => {
                        let anomaly = Anomaly::AnswersDiffer {
                            entry: append.entry.clone(),
                            indexes: (*first, *index),
                        };
                        self.anomalies.push(anomaly);
                    }
                    Some(_) => {}
                },
                Outcome::Refused => operation.refused = true,
                Outcome::NotWritten => {}
                Outcome::Unknown => operation.unknown = true,
            }
        }
        operations
    }

    /// Rule 1. The longest node's entries, after each node was found dense and equal to it as far as it goes.
    fn agreed(&mut self) -> Option<Vec<KeptEntry>> {
        let longest = self.history.kept.iter().max_by_key(|k| k.entries.len())?;
        for kept in &self.history.kept {
            let mut seen: HashMap<&str, u64> = HashMap::new();
            for (expected, entry) in (0..).zip(&kept.entries) {
                if entry.index != expected {
                    self.anomalies.push(Anomaly::NotDense {
                        node: kept.node.clone(),
                        expected,
                        found: entry.index,
                    });
                    break;
                }
                if let Some(id) = &entry.entry
                    && let Some(first) = seen.insert(id, entry.index)
                {
                    let indexes = (first, entry.index);
                    self.anomalies.push(Anomaly::Twice {
                        node: kept.node.clone(),
                        entry: id.clone(),
                        indexes,
                    });
                }
            }
            if let Some(differing) = kept
                .entries
                .iter()
                .zip(&longest.entries)
                .find(|(a, b)| a != b)
            {
                let nodes = (longest.node.clone(), kept.node.clone());
                self.anomalies.push(Anomaly::NodesDiffer {
                    nodes,
                    index: differing.0.index,
                });
            }
        }
        Some(longest.entries.clone())
    }

    /// Rule 2.
    fn kept_as_told(
        &mut self,
        operations: &BTreeMap<&str, Operation>,
        kept: &[KeptEntry],
    ) -> Verdict {
        let places: HashMap<&str, &KeptEntry> = kept
            .iter()
            .filter_map(|k| Some((k.entry.as_deref()?, k)))
            .collect();
        let mut verdict = Verdict {
            reads: self.history.reads.len(),
            ..Verdict::default()
        };
        for (&entry, operation) in operations {
            let place = places.get(entry);
            let name = entry.to_owned();
            match (&operation.acknowledged, place) {
                (Some((_, index, _)), None) => self.anomalies.push(Anomaly::Lost {
                    entry: name,
                    index: *index,
                }),
                (Some((_, index, leaf_hash)), Some(place)) => {
                    verdict.acknowledged += 1;
                    if place.index != *index || place.leaf_hash != *leaf_hash {
                        self.anomalies.push(Anomaly::Changed {
                            entry: name,
                            index: *index,
                        });
                    }
                }
                (None, Some(_)) if operation.unknown => verdict.unknown_kept += 1,
                (None, None) if operation.unknown => verdict.unknown_lost += 1,
                (None, None) if operation.refused => verdict.refused += 1,
                (None, None) => {}
                (None, Some(place)) if operation.refused => {
                    self.anomalies.push(Anomaly::RefusedButKept {
                        entry: name,
                        index: place.index,
                    });
                }
                (None, Some(place)) => self.anomalies.push(Anomaly::NotWrittenButKept {
                    entry: name,
                    index: place.index,
                }),
            }
        }
        for (entry, place) in places {
            if !operations.contains_key(entry) {
                self.anomalies.push(Anomaly::Invented {
                    entry: entry.to_owned(),
                    index: place.index,
                });
            }
        }
        verdict
    }

    /// Rules 3 and 4, in one sweep over all beginnings and ends in their order.
    fn real_time(&mut self, operations: &BTreeMap<&str, Operation>, kept: &[KeptEntry]) {
        enum Event<'a> {
            Sent { entry: &'a str, index: u64 },
            Acknowledged { index: u64 },
            ReadBegan { size: u64 },
            ReadEnded { size: u64, linearizable: bool },
        }
        let mut events: Vec<(Tick, Event<'_>)> = Vec::new();
        for place in kept {
            let Some(entry) = place.entry.as_deref() else {
                continue;
            };
            let Some(operation) = operations.get(entry) else {
                continue;
            };
            events.push((
                operation.began,
                Event::Sent {
                    entry,
                    index: place.index,
                },
            ));
            if let Some((ended, index, _)) = &operation.acknowledged {
                events.push((*ended, Event::Acknowledged { index: *index }));
            }
        }
        for read in &self.history.reads {
            if read.linearizable {
                events.push((read.began, Event::ReadBegan { size: read.size }));
            }
            events.push((
                read.ended,
                Event::ReadEnded {
                    size: read.size,
                    linearizable: read.linearizable,
                },
            ));
        }
        events.sort_by_key(|(tick, _)| *tick);

        let mut acknowledged_max: Option<u64> = None;
        // Least size that a linearizable read which begins now must show, and greatest that any read has shown.
        let (mut covered, mut shown) = (0, 0);
        for (_, event) in events {
            match event {
                Event::Sent { entry, index } => {
                    if let Some(after) = acknowledged_max.filter(|max| *max >= index) {
                        self.anomalies.push(Anomaly::OutOfOrder {
                            entry: entry.to_owned(),
                            index,
                            after,
                        });
                    }
                    if index < shown {
                        self.anomalies.push(Anomaly::ReadOfTheFuture {
                            entry: entry.to_owned(),
                            index,
                            size: shown,
                        });
                    }
                }
                Event::Acknowledged { index } => {
                    acknowledged_max = acknowledged_max.max(Some(index));
                    covered = covered.max(index + 1);
                }
                Event::ReadBegan { size } => {
                    if size < covered {
                        self.anomalies.push(Anomaly::StaleRead {
                            size,
                            expected: covered,
                        });
                    }
                }
                Event::ReadEnded { size, linearizable } => {
                    shown = shown.max(size);
                    if linearizable {
                        covered = covered.max(size);
                    }
                }
            }
        }
    }

    fn one_root_per_size(&mut self) {
        let mut roots: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for read in &self.history.reads {
            if let Some(root) = &read.root {
                roots.entry(read.size).or_default().insert(root);
            }
        }
        let doubled = roots.into_iter().filter(|(_, roots)| roots.len() > 1);
        self.anomalies
            .extend(doubled.map(|(size, _)| Anomaly::TwoRoots { size }));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged and kept, {} unknown of which {} kept, {} refused, {} reads",
            self.acknowledged,
            self.unknown_kept + self.unknown_lost,
            self.unknown_kept,
            self.refused,
            self.reads
        )
    }
}

#[cfg(test)]
mod tests;
