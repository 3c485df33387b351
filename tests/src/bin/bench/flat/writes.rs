// SPDX-License-Identifier: EUPL-1.2
//! Writes that go on while something else happens, each remembered with its time.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ::tests::wait;
use tokio::task::JoinHandle;

use crate::{
    drive::{Sent, Session},
    servers::visto::{Until, Visto},
};

/// When a write was due, and when it was durable on a majority.
type Written = Arc<Mutex<Vec<(Instant, Instant)>>>;

/// Sessions at work.
pub(super) struct Writes {
    written: Written,
    tasks: Vec<JoinHandle<()>>,
}

impl Writes {
    /// Starts so many sessions with as many entries as they will need, signed before. At a rate, or each as fast as it is answered.
    pub(super) fn start(
        visto: &mut Visto,
        entries: u64,
        sessions: usize,
        per_s: Option<f64>,
    ) -> Writes {
        let prepared = visto.prepare(entries, 1, false);
        let sessions = visto.sessions(sessions, &prepared, Until::Committed, None);
        let (next, start, written) = (
            Arc::new(AtomicU64::new(0)),
            Instant::now(),
            Written::default(),
        );
        let tasks = sessions.into_iter().map(|mut session| {
            let (next, written) = (next.clone(), written.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let mut due = Instant::now();
                    if let Some(per_s) = per_s {
                        let planned = start + Duration::from_secs_f64(number as f64 / per_s);
                        if planned > due {
                            wait::at(planned).await;
                            // The timer's grain is not the server's delay.
                            due = Instant::now();
                        } else {
                            due = planned;
                        }
                    }
                    // The same bytes again are the same entry: one that found no leader is sent until it is there, and the wait counts.
                    loop {
                        match session.request(number).await {
                            Sent::Answered { failed: 0, .. } => break,
                            Sent::Answered { .. } => wait::breathe().await,
                            Sent::Dry => return,
                        }
                    }
                    written.lock().unwrap().push((due, Instant::now()));
                }
            })
        });
        Writes {
            tasks: tasks.collect(),
            written,
        }
    }

    pub(super) fn stop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }

    /// How long those took that were due then.
    pub(super) fn waits(&self, during: &Range<Instant>) -> Vec<Duration> {
        let written = self.written.lock().unwrap();
        let due = written.iter().filter(|(due, _)| during.contains(due));
        due.map(|(due, done)| done.duration_since(*due)).collect()
    }

    /// Writes a second that became durable then; up to the last of all, if none were left before the end.
    pub(super) fn per_s(&self, during: &Range<Instant>) -> f64 {
        let written = self.written.lock().unwrap();
        let done = written.iter().map(|(_, done)| *done);
        let last = done.clone().max().unwrap_or(during.start);
        let seconds = during.end.min(last).saturating_duration_since(during.start);
        let count = done.filter(|done| during.contains(done)).count();
        count as f64 / seconds.as_secs_f64().max(0.001)
    }
}
