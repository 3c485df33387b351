// SPDX-License-Identifier: EUPL-1.2
//! Tasks that work beside a node until it stops.

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One task, if it was started. Ends at the latest with its owner.
#[derive(Default)]
pub(crate) struct Beside {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Beside {
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let task = tokio::spawn(async move {
            stop.run_until_cancelled(work).await;
        });
        *self.task.lock() = Some(task);
    }

    /// Ends it between two steps; a step that is under way on a thread of its own ends by itself.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
