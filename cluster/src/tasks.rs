// SPDX-License-Identifier: EUPL-1.2
//! Tasks that work beside a node until it stops.

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};
use crate::store::fatal::Fatal;

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

    /// What its work on threads of its own asks.
    pub(crate) fn halt(&self, fatal: &Fatal) -> Halt {
        Halt {
            stop: self.stop.clone(),
            fatal: fatal.clone(),
        }
    }

    /// Ends it between two steps. A step that is under way on a thread of its own ends where it next asks for a [`Halt`].
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

/// Asked between two steps of long work on a thread of its own, which nobody can take back: whether it is to end.
#[derive(Clone)]
pub(crate) struct Halt {
    stop: CancellationToken,
    fatal: Fatal,
}

impl Halt {
    /// # Errors
    /// What stopped the node; `ShuttingDown` if it is only to end.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.fatal.check()?;
        match self.stop.is_cancelled() {
            true => Err(Error::new(ErrorKind::ShuttingDown, "the node ends")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
impl Halt {
    /// Of a node that goes on.
    pub(crate) fn never() -> Halt {
        Halt {
            stop: CancellationToken::new(),
            fatal: Fatal::new(),
        }
    }

    /// The node ends.
    pub(crate) fn ask(&self) {
        self.stop.cancel();
    }
}
