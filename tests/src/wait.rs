// SPDX-License-Identifier: EUPL-1.2
//! Waiting for a condition. The only place in the tests that lets time pass.

use std::time::{Duration, Instant};

/// How long anything may take on a slow machine before a test gives up. Not a judgement of speed: it only ends what hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until the answer is `Some`, with a short pause between two questions.
///
/// # Panics
/// After [`PATIENCE`], naming what was waited for.
pub async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    until_by(Instant::now() + PATIENCE, what, ask).await
}

/// The same, up to another deadline: for what a measurement, and no test, waits for.
///
/// # Panics
/// At the deadline, naming what was waited for.
pub async fn until_by<T>(
    deadline: Instant,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        if Instant::now() > deadline {
            panic!("waited {} s in vain: {what}", start.elapsed().as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A pause between two attempts of a client, as a polite client makes.
pub async fn breathe() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Until a moment that a plan names, such as when the next request of a paced load is due. Not for tests: they wait for a condition.
pub async fn at(moment: Instant) {
    tokio::time::sleep_until(moment.into()).await;
}
