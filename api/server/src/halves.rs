// SPDX-License-Identifier: EUPL-1.2
//! Work on a list, at both of its halves at once: a page that reads and shows fifty entries is there in little more than half the time where a
//! core is free.

use std::sync::{Arc, LazyLock, mpsc};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::problem::Fault;

/// So few are done in the time that it takes to wake another thread for half of them.
const ALONE_MAX: usize = 8;

/// Threads that take a second half at a time: on half of the cores, since more would only take the submissions' time.
static HELPERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores / 2))
});

/// What `work` makes of a list, in its order. Another thread takes the second half, unless enough of them do that for others, or none came to it
/// by the time that the first is done. For threads that may block.
///
/// # Errors
/// Those of the work; `internal` if it panicked on the other thread.
pub(crate) fn in_halves<T, R, F>(items: Vec<T>, work: F) -> Result<Vec<R>, Fault>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(Vec<T>) -> Result<Vec<R>, Fault> + Send + Sync + 'static,
{
    if items.len() <= ALONE_MAX {
        return work(items);
    }
    match (Handle::try_current(), HELPERS.clone().try_acquire_owned()) {
        (Ok(runtime), Ok(helper)) => halved(items, work, &runtime, helper),
        _ => work(items),
    }
}

fn halved<T, R, F>(
    mut items: Vec<T>,
    work: F,
    runtime: &Handle,
    helper: impl Send + 'static,
) -> Result<Vec<R>, Fault>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(Vec<T>) -> Result<Vec<R>, Fault> + Send + Sync + 'static,
{
    let (second, work) = (items.split_off(items.len() / 2), Arc::new(work));
    // What the other thread needs, all of it: whoever takes it out leaves nothing behind of what was asked for.
    let left = Arc::new(Mutex::new(Some((second, work.clone()))));
    let (done, other) = mpsc::channel();
    runtime.spawn_blocking({
        let left = left.clone();
        move || {
            let _helper = helper;
            let taken = left.lock().take();
            if let Some((items, work)) = taken {
                let made = work(items);
                drop(work);
                // Whoever asked may have failed at the first half, and be gone.
                let _ = done.send(made);
            }
        }
    });
    let first = work(items);
    // Not waited for unless it is under way: were it, threads that all wait for a free one would wait for ever.
    let left = left.lock().take();
    let mut made = first?;
    made.extend(match left {
        Some((items, work)) => work(items)?,
        None => other.recv().map_err(Fault::internal)??,
    });
    Ok(made)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Barrier;

    use super::*;

    fn doubled(items: Vec<u32>) -> Result<Vec<u32>, Fault> {
        Ok(items.into_iter().map(|item| item * 2).collect())
    }

    /// With a helper, whoever else may have those that there are.
    fn both<R: Send + 'static>(
        items: Vec<u32>,
        work: impl Fn(Vec<u32>) -> Result<Vec<R>, Fault> + Send + Sync + 'static,
    ) -> Result<Vec<R>, Fault> {
        halved(items, work, &Handle::current(), ())
    }

    fn runtime(blocking_threads: usize) -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.max_blocking_threads(blocking_threads);
        builder.build().unwrap()
    }

    async fn on_a_blocking_thread<R: Send + 'static>(
        work: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    #[test]
    fn what_is_made_stands_in_the_order_of_what_was_given() {
        let runtime = runtime(2);
        for count in [0, 1, 8, 9, 50, 51] {
            let given: Vec<u32> = (0..count).collect();
            let expected: Vec<u32> = given.iter().map(|item| item * 2).collect();
            let asked = given.clone();
            let made = runtime.block_on(on_a_blocking_thread(|| both(asked, doubled)));
            assert_eq!(made.unwrap(), expected);
            assert_eq!(in_halves(given, doubled).unwrap(), expected, "no runtime");
        }
    }

    #[test]
    fn both_halves_are_worked_at_together() {
        let together = Barrier::new(2);
        let work = move |items| {
            together.wait();
            doubled(items)
        };
        let made = on_a_blocking_thread(|| both((0..50).collect(), work));
        assert_eq!(runtime(2).block_on(made).unwrap().len(), 50);
    }

    #[test]
    fn with_no_thread_free_it_does_all_itself() {
        let made = on_a_blocking_thread(|| both((0..50).collect(), doubled));
        assert_eq!(runtime(1).block_on(made).unwrap().len(), 50);
    }

    #[test]
    fn an_error_of_either_half_and_a_panic_of_the_other_are_told() {
        // Together, so that it is the other thread that comes to the second.
        for bad in [3, 40] {
            let together = Barrier::new(2);
            let work = move |items: Vec<u32>| {
                together.wait();
                match items.contains(&bad) {
                    true => Err(Fault::NotFound),
                    false => doubled(items),
                }
            };
            let made = on_a_blocking_thread(move || both((0..50).collect(), work));
            let fault = runtime(2).block_on(made).unwrap_err();
            assert_eq!(fault.code(), Fault::NotFound.code());
        }
        let together = Barrier::new(2);
        let work = move |items: Vec<u32>| {
            together.wait();
            assert!(!items.contains(&40), "told to");
            doubled(items)
        };
        let made = on_a_blocking_thread(move || both((0..50).collect(), work));
        let fault = runtime(2).block_on(made).unwrap_err();
        assert_eq!(fault.code(), Fault::Internal.code());
    }
}
