// SPDX-License-Identifier: EUPL-1.2
//! The latch for errors that a node must not outlive.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind};

/// Once closed it stays closed: after a failed write or fsync RocksDB may resume by itself and make the failed write durable later, so
/// nothing may be written, and nothing promised, after the first error. The process exits, naming it.
#[derive(Clone)]
pub(crate) struct Fatal(Arc<watch::Sender<Option<Error>>>);

impl Fatal {
    pub(crate) fn new() -> Fatal {
        Fatal(Arc::new(watch::Sender::new(None)))
    }

    /// Latches the error; the first one stays. Returns the one latched.
    pub(crate) fn latch(&self, error: Error) -> Error {
        self.0.send_if_modified(|latched| {
            let first = latched.is_none();
            if first {
                tracing::error!(%error, "fatal: this node stops");
                *latched = Some(error.clone());
            }
            first
        });
        self.0.borrow().clone().unwrap_or(error)
    }

    /// Latches damage that a read found: other reads would meet it again, or pass it by unseen. A read that failed otherwise may be tried again.
    pub(crate) fn stop_if_damaged<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        read.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => self.latch(error),
            _ => error,
        })
    }

    /// Fails with the latched error, if there is one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &*self.0.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Resolves when an error is latched.
    pub(crate) async fn wait(&self) -> Error {
        let mut latched = self.0.subscribe();
        match latched
            .wait_for(Option::is_some)
            .await
            .map(|error| error.clone())
        {
            Ok(Some(error)) => error,
            // The sender lives in self.
            _ => std::future::pending().await,
        }
    }
}
