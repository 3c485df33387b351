// SPDX-License-Identifier: EUPL-1.2
//! Where an entry waits: how long each stage of its way takes on this node, as the histogram `visto_stage_seconds`.
//!
//! Observed once for each unit of work and not for each entry: what shares a Raft batch shares its time. No lock is taken for it.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::Histogram;

/// A stage, in the order in which an entry passes them; folding is beside that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Bytes, signatures and disclosures: once for each request at the door, waiting for a core included, and once for each core that
    /// took a share of a batch from the leader.
    Verify,
    /// The wait in the leader's proposer: once for each batch, of the submission that waited longest.
    Queue,
    /// From the hand-over by Raft until the Raft log is fsynced here: once for each hand-over.
    Append,
    /// At the leader, from the proposal of a batch until it is committed.
    Replicate,
    /// From committed until the state that holds a batch can be read.
    Apply,
    /// One fold, from its begin to its end.
    Fold,
    /// From applied until published here: once for each checkpoint, of the entry that waited longest.
    Publish,
}

impl Stage {
    /// Counts one unit of work that took so long.
    pub(crate) fn took(self, time: Duration) {
        let all = &*HISTOGRAMS;
        let histogram = match self {
            Stage::Verify => &all.verify,
            Stage::Queue => &all.queue,
            Stage::Append => &all.append,
            Stage::Replicate => &all.replicate,
            Stage::Apply => &all.apply,
            Stage::Fold => &all.fold,
            Stage::Publish => &all.publish,
        };
        histogram.record(time);
    }
}

/// Looked up once: whoever shows metrics installs its recorder before it opens a node.
static HISTOGRAMS: LazyLock<Histograms> = LazyLock::new(|| {
    let of = |stage: &'static str| metrics::histogram!("visto_stage_seconds", "stage" => stage);
    Histograms {
        verify: of("verify"),
        queue: of("queue"),
        append: of("append"),
        replicate: of("replicate"),
        apply: of("apply"),
        fold: of("fold"),
        publish: of("publish"),
    }
});

struct Histograms {
    verify: Histogram,
    queue: Histogram,
    append: Histogram,
    replicate: Histogram,
    apply: Histogram,
    fold: Histogram,
    publish: Histogram,
}
