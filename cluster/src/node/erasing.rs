// SPDX-License-Identifier: EUPL-1.2
//! The eraser's place in a node.

use futures::FutureExt;

use super::*;
use crate::erase::{Eraser, Write};

/// How long an `erased` entry may take; it is written again if it did not come in time.
const ERASED_TIME: Duration = Duration::from_secs(10);

impl Node {
    /// Carries out what was ordered erased, from now on. The task holds the node weakly: it ends with it.
    pub(super) fn start_erasing(&self) {
        let weak = Arc::downgrade(&self.0);
        let write: Write = Arc::new(move |erased| {
            let inner = weak.upgrade();
            async move {
                let Some(inner) = inner else {
                    return Outcome::Failed(Failure::ShuttingDown);
                };
                Node(inner)
                    .write_own(
                        Content::Erased(erased),
                        Vec::new(),
                        Until::Committed,
                        ERASED_TIME,
                    )
                    .await
            }
            .boxed()
        });
        let here = &self.0.here;
        let eraser = Eraser {
            node: self.0.node,
            raft: here.raft.clone(),
            log: self.0.log.clone(),
            machine: here.machine.clone(),
            verifier: here.verifier.clone(),
            fatal: self.0.fatal.clone(),
            halt: self.0.erasing.halt(&self.0.fatal),
            clock: here.clock.clone(),
            fold_wanted: self.0.net.fold_wanted.clone(),
            write,
        };
        self.0.erasing.start(eraser.run());
    }
}

#[cfg(test)]
mod tests;
