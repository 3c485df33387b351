// SPDX-License-Identifier: EUPL-1.2
//! How long what is applied here waits until it is published here. It watches; nothing waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{face::Published, stage::Stage, store::machine::Machine};

/// Watches until `stop`.
pub(crate) async fn watch(
    machine: Machine,
    mut newest: watch::Receiver<Option<Arc<Published>>>,
    stop: CancellationToken,
) {
    let mut applied = machine.applied();
    // When that was applied is not known any more.
    let mut waiting = Waiting::new(applied.borrow_and_update().tree_size);
    let watching = async {
        loop {
            let changed = tokio::select! {
                // What is applied is noted before what is published, which it precedes.
                biased;
                changed = applied.changed() => changed,
                changed = newest.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            waiting.applied(applied.borrow_and_update().tree_size, Instant::now());
            let published = newest
                .borrow_and_update()
                .as_ref()
                .map_or(0, |newest| newest.size.0);
            if let Some(since) = waiting.published(published) {
                Stage::Publish.took(since.elapsed());
            }
        }
    };
    stop.run_until_cancelled(watching).await;
}

/// Sizes that were applied and are not published, and when each was.
struct Waiting {
    sizes: VecDeque<(u64, Instant)>,
    applied: u64,
}

impl Waiting {
    fn new(applied: u64) -> Waiting {
        Waiting {
            sizes: VecDeque::new(),
            applied,
        }
    }

    fn applied(&mut self, size: u64, now: Instant) {
        if size <= self.applied {
            return;
        }
        self.applied = size;
        let full = self.sizes.len() >= SIZES_MAX;
        match self.sizes.back_mut() {
            // While nothing is published, what comes is counted with what waits longer.
            Some(last) if full => last.0 = size,
            _ => self.sizes.push_back((size, now)),
        }
    }

    /// Since when the first of what is published by this size has waited; none if it publishes nothing that was seen applied.
    fn published(&mut self, size: u64) -> Option<Instant> {
        let mut first = None;
        while let Some((_, since)) = self.sizes.pop_front_if(|(waits, _)| *waits <= size) {
            first.get_or_insert(since);
        }
        first
    }
}

const SIZES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_published_waited_since_it_was_applied() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut waiting = Waiting::new(10);
        assert_eq!(waiting.published(10), None, "applied before it was watched");
        waiting.applied(12, at(1));
        waiting.applied(12, at(2));
        waiting.applied(15, at(3));
        waiting.applied(20, at(4));
        assert_eq!(waiting.published(11), None);
        assert_eq!(waiting.published(15), Some(at(1)));
        assert_eq!(waiting.published(15), None);
        assert_eq!(waiting.published(99), Some(at(4)));
    }

    #[test]
    fn what_waits_is_bounded_and_the_longest_wait_is_told() {
        let start = Instant::now();
        let mut waiting = Waiting::new(0);
        for size in 1..=5000 {
            waiting.applied(size, start + Duration::from_millis(size));
        }
        assert_eq!(waiting.sizes.len(), SIZES_MAX);
        assert_eq!(
            waiting.published(SIZES_MAX as u64),
            Some(start + Duration::from_millis(1))
        );
        let last = start + Duration::from_millis(SIZES_MAX as u64);
        assert_eq!(waiting.published(5000), Some(last));
    }
}
