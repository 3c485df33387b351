// SPDX-License-Identifier: EUPL-1.2
//! Clients that write and read while a scenario breaks things, each recording what it was told.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use reqwest::Method;
use tokio::task::JoinHandle;

use crate::{
    history::{Outcome, Recorder},
    http::{Http, outcome},
    wait, world,
};

/// How often a writer sends the same entry before it leaves its outcome unknown.
const ATTEMPTS_MAX: usize = 4;

/// Writers and a reader at work.
pub struct Load {
    /// What they were told.
    pub recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `writers` writers and one linearizable reader over these nodes, each beginning at another node.
    pub fn start(http: &Http, urls: &[String], writers: usize) -> Load {
        let (recorder, stop) = (
            Arc::new(Recorder::default()),
            Arc::new(AtomicBool::new(false)),
        );
        let start = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for _ in 0..writers {
            let client = Writer {
                http: http.clone(),
                urls: urls.to_vec(),
                recorder: recorder.clone(),
                stop: stop.clone(),
            };
            tasks.push(tokio::spawn(
                client.write(start.fetch_add(1, Ordering::Relaxed)),
            ));
        }
        let reader = Writer {
            http: http.clone(),
            urls: urls.to_vec(),
            recorder: recorder.clone(),
            stop: stop.clone(),
        };
        tasks.push(tokio::spawn(reader.read()));
        Load {
            recorder,
            stop,
            tasks,
        }
    }

    /// Waits until so many more entries were acknowledged than when it was called.
    ///
    /// # Panics
    /// If they are not.
    pub async fn progress(&self, entries: usize) {
        let goal = self.recorder.acknowledged() + entries;
        wait::until(
            &format!("{entries} more acknowledged entries"),
            async || (self.recorder.acknowledged() >= goal).then_some(()),
        )
        .await;
    }

    /// Lets each client finish its request, and ends them.
    pub async fn stop(self) -> Arc<Recorder> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let _ = task.await;
        }
        self.recorder
    }
}

struct Writer {
    http: Http,
    urls: Vec<String>,
    recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    async fn write(self, first: usize) {
        let mut turn = first;
        let subject = world::person("load");
        while !self.stopped() {
            let entry = world::access(&subject);
            let line = entry.line();
            for _ in 0..ATTEMPTS_MAX {
                let Some(url) = self.urls.get(turn % self.urls.len()) else {
                    return;
                };
                let began = self.recorder.tick();
                let body = Some(("application/json", line.clone()));
                let answer = self
                    .http
                    .send(
                        Method::POST,
                        &format!("{url}/v1/entries?until=committed"),
                        None,
                        body,
                    )
                    .await;
                let told = outcome(&answer);
                self.recorder.append(&entry.id, began, told.clone());
                if matches!(told, Outcome::Accepted { .. } | Outcome::Refused) {
                    break;
                }
                // Another node may know better; and a node that is down must not be asked in a tight loop.
                turn += 1;
                wait::breathe().await;
            }
        }
    }

    async fn read(self) {
        let mut turn = 0;
        while !self.stopped() {
            let Some(url) = self.urls.get(turn % self.urls.len()) else {
                return;
            };
            turn += 1;
            let began = self.recorder.tick();
            if let Ok(answer) = self
                .http
                .get(&format!("{url}/v1/rules?consistency=linearizable"), None)
                .await
                && answer.status == 200
                && let Some(size) = answer.json()["treeSize"].as_u64()
            {
                self.recorder.read(began, size, None, true);
            }
            let began = self.recorder.tick();
            if let Ok(answer) = self.http.get(&format!("{url}/checkpoint"), None).await
                && answer.status == 200
            {
                let mut lines = answer.text.lines().skip(1);
                if let (Some(Ok(size)), Some(root)) = (lines.next().map(str::parse), lines.next()) {
                    self.recorder
                        .read(began, size, Some(root.to_owned()), false);
                }
            }
            wait::breathe().await;
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
