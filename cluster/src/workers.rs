// SPDX-License-Identifier: EUPL-1.2
//! Threads that compute, one a core, for the whole process.
//!
//! rayon did this before. Its threads look for more work for a while before they sleep, and with a batch every few milliseconds a node spent a
//! tenth of its time on that. These sleep at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use parking_lot::{Condvar, Mutex};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    more: Condvar,
}

impl Queue {
    fn work(&self) {
        loop {
            let mut jobs = self.jobs.lock();
            let job = loop {
                match jobs.pop_front() {
                    Some(job) => break job,
                    None => self.more.wait(&mut jobs),
                }
            };
            drop(jobs);
            // A job that broke must not take the thread with it: who waits for it finds its channel closed, and apply does the work itself.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a computing job broke; the panic's own message says where");
            }
        }
    }
}

/// So many threads there are.
pub(crate) fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn queue() -> &'static Queue {
    static QUEUE: OnceLock<&'static Queue> = OnceLock::new();
    QUEUE.get_or_init(|| {
        let queue: &'static Queue = Box::leak(Box::default());
        for _ in 0..count() {
            std::thread::spawn(|| queue.work());
        }
        queue
    })
}

/// Runs a job on one of them, after all that wait already.
pub(crate) fn run(job: impl FnOnce() + Send + 'static) {
    let queue = queue();
    queue.jobs.lock().push_back(Box::new(job));
    queue.more.notify_one();
}

/// Runs a job as soon as a thread is free: what is in the Raft log goes before what stands at the door.
pub(crate) fn run_first(job: impl FnOnce() + Send + 'static) {
    let queue = queue();
    queue.jobs.lock().push_front(Box::new(job));
    queue.more.notify_one();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    #[test]
    fn jobs_that_break_take_no_thread_along() {
        for _ in 0..2 * super::count() {
            super::run(|| std::panic::resume_unwind(Box::new("broken")));
        }
        let (done, seen) = mpsc::channel();
        super::run_first(move || done.send(()).unwrap());
        seen.recv().unwrap();
    }

    #[test]
    fn every_job_is_run_once() {
        let (done, seen) = mpsc::channel();
        for number in 0..1000 {
            let done = done.clone();
            super::run(move || done.send(number).unwrap());
        }
        drop(done);
        let mut seen: Vec<i32> = seen.iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }
}
