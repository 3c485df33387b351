// SPDX-License-Identifier: EUPL-1.2
//! The order of a run: a sweep that finds each mode's best number of connections, then rounds in which all take turns, so that whatever the
//! machine does meanwhile meets each of them; last the paced loads, in turns too.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    drive::{self, Paced, Window},
    limits,
    machine::{self, Cpu},
    modes::{Mode, System},
    servers::{
        etcd::Etcd,
        postgres::Postgres,
        visto::{Acks, Until, Visto},
    },
    stats::{Latency, Measured, Spread},
};

/// Sessions of a paced load: more than are ever busy while the server keeps up.
const PACED_SESSIONS: usize = 256;
/// Bytes of the blocks that are synced alone: a value's, and a batch's.
const SYNCED_BYTES: [usize; 2] = [1_000, 100_000];

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) sweep: Window,
    pub(crate) rounds: usize,
    pub(crate) round: Window,
    pub(crate) paced: Window,
    pub(crate) limit: Duration,
    pub(crate) quiet: Duration,
}

/// The systems that take part.
pub(crate) struct Servers {
    pub(crate) etcd: Option<Etcd>,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) visto: Visto,
    /// Entries a second that a mode of Visto was seen to take with so many connections: how many to sign beforehand.
    seen: BTreeMap<(Mode, usize), f64>,
    /// Entries written so far.
    pub(crate) written: BTreeMap<System, u64>,
    pub(crate) cpu: BTreeMap<Mode, Cpu>,
}

/// One mode with one number of connections, in all rounds.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    /// It was the best of the numbers that were tried.
    pub(crate) best: bool,
    pub(crate) rounds: Vec<Measured>,
}

/// A paced load in all rounds.
#[derive(Debug)]
pub(crate) struct PacedSeries {
    pub(crate) mode: Mode,
    pub(crate) rounds: Vec<Paced>,
}

/// The physical limits in all rounds.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) verify_one_core: Vec<f64>,
    pub(crate) verify_all_cores: Vec<f64>,
    /// By the bytes of a block: how often a second, and how long.
    pub(crate) fdatasync: BTreeMap<usize, Vec<(f64, Latency)>>,
}

/// All that a run measures of the systems beside each other.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) sweep: Vec<(Mode, usize, Measured)>,
    pub(crate) series: Vec<Series>,
    pub(crate) limits: Limits,
    pub(crate) paced: Vec<PacedSeries>,
    /// From the answer that an entry is durable to the checkpoint that covers it, and entries that never were while somebody looked.
    pub(crate) publish: Vec<(Latency, u64)>,
}

impl Series {
    pub(crate) fn entries_per_s(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.entries_per_s))
    }

    pub(crate) fn p50_ms(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.latency.p50_ms))
    }

    pub(crate) fn p99_ms(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.latency.p99_ms))
    }

    pub(crate) fn failed(&self) -> u64 {
        self.rounds.iter().map(|round| round.failed).sum()
    }
}

impl PacedSeries {
    pub(crate) fn of(&self, figure: impl Fn(&Paced) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(figure))
    }
}

/// Runs it all.
pub(crate) async fn run(
    servers: &mut Servers,
    plan: &Plan,
    folder: &Path,
) -> Result<Results, String> {
    let mut results = Results::default();
    let modes: Vec<Mode> = Mode::ALL
        .into_iter()
        .filter(|mode| servers.has(mode.system()))
        .collect();
    for mode in &modes {
        eprint!("{:<38}", mode.title());
        for connections in mode.connections() {
            let measured = servers.load(*mode, *connections, plan.sweep, plan).await?;
            eprint!(" {connections}: {:.0}/s", measured.entries_per_s);
            results.sweep.push((*mode, *connections, measured));
        }
        eprintln!();
    }
    results.series = chosen(&results.sweep);
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {} …", plan.rounds);
        results.limits.measure(folder, plan.limit)?;
        for series in &mut results.series {
            let measured = servers
                .load(series.mode, series.connections, plan.round, plan)
                .await?;
            series.rounds.push(measured);
        }
    }
    // Half of what etcd takes at its best; where it takes no part, of what Visto does.
    let best = |mode| {
        let series = results.series.iter().filter(|series| series.mode == mode);
        series
            .filter_map(Series::entries_per_s)
            .map(|spread| spread.median)
            .max_by(f64::total_cmp)
    };
    let per_s = best(Mode::EtcdPut).or(best(Mode::Single)).unwrap_or(1.0) / 2.0;
    for round in 1..=plan.rounds {
        eprintln!(
            "paced at {per_s:.0} entries/s, round {round} of {} …",
            plan.rounds
        );
        servers.paced(&mut results, per_s, plan).await?;
    }
    Ok(results)
}

/// Of each mode its best number of connections, and the one that the targets name.
fn chosen(sweep: &[(Mode, usize, Measured)]) -> Vec<Series> {
    let mut series = Vec::new();
    for mode in Mode::ALL {
        let best = sweep
            .iter()
            .filter(|(of, _, _)| *of == mode)
            .max_by(|a, b| a.2.entries_per_s.total_cmp(&b.2.entries_per_s))
            .map(|(_, connections, _)| *connections);
        let Some(best) = best else { continue };
        let mut all = vec![best];
        all.extend(mode.named_connections().filter(|named| *named != best));
        all.sort_unstable();
        series.extend(all.into_iter().map(|connections| Series {
            mode,
            connections,
            best: connections == best,
            rounds: Vec::new(),
        }));
    }
    series
}

impl Servers {
    pub(crate) fn new(etcd: Option<Etcd>, postgres: Option<Postgres>, visto: Visto) -> Servers {
        Servers {
            etcd,
            postgres,
            visto,
            seen: BTreeMap::new(),
            written: BTreeMap::new(),
            cpu: BTreeMap::new(),
        }
    }

    fn has(&self, system: System) -> bool {
        match system {
            System::Etcd => self.etcd.is_some(),
            System::Postgres => self.postgres.is_some(),
            System::Visto => true,
        }
    }

    fn pids(&self) -> Vec<u32> {
        let mut pids = self.visto.pids();
        pids.extend(self.etcd.iter().flat_map(Etcd::pids));
        pids.extend(self.postgres.iter().map(Postgres::pid));
        pids
    }

    /// One closed load.
    pub(crate) async fn load(
        &mut self,
        mode: Mode,
        connections: usize,
        window: Window,
        plan: &Plan,
    ) -> Result<Measured, String> {
        let pids = self.pids();
        let measured = match (mode, &mut self.etcd, &self.postgres) {
            (Mode::EtcdPut | Mode::EtcdTxn, Some(etcd), _) => {
                let sessions = etcd.sessions(connections, mode.per_request()).await?;
                machine::quiet(&pids, plan.quiet).await;
                drive::closed(sessions, window).await
            }
            (Mode::PlainRow | Mode::PlainRows, _, Some(postgres)) => {
                let sessions = postgres
                    .sessions(connections, false, mode.per_request())
                    .await?;
                machine::quiet(&pids, plan.quiet).await;
                drive::closed(sessions, window).await
            }
            (Mode::ChainedRow | Mode::ChainedRows, _, Some(postgres)) => {
                let sessions = postgres
                    .sessions(connections, true, mode.per_request())
                    .await?;
                machine::quiet(&pids, plan.quiet).await;
                let measured = drive::closed(sessions, window).await;
                postgres.check_chain().await?;
                measured
            }
            (Mode::Single | Mode::Signed | Mode::Batch, _, _) => {
                self.load_visto(mode, connections, window, plan, &pids)
                    .await
            }
            _ => return Err(format!("{}: takes no part", mode.title())),
        };
        *self.written.entry(mode.system()).or_default() += measured.accepted;
        Ok(measured)
    }

    /// Signs enough requests for the whole load, sends them, and does it once more with more of them where they ran out.
    async fn load_visto(
        &mut self,
        mode: Mode,
        connections: usize,
        window: Window,
        plan: &Plan,
        pids: &[u32],
    ) -> Measured {
        let key = (mode, connections);
        let guess = match mode {
            Mode::Single => (connections as f64 * 400.0).min(10_000.0),
            Mode::Signed => (connections as f64 * 4_000.0).min(15_000.0),
            _ => (connections as f64 * 4_000.0).min(30_000.0),
        };
        let mut per_s = self.seen.get(&key).map_or(guess, |seen| seen * 1.5);
        let seconds = (window.warm_up + window.length).as_secs_f64();
        loop {
            let requests = (per_s * seconds / mode.per_request() as f64).ceil() as u64
                + 2 * connections as u64;
            let prepared = self
                .visto
                .prepare(requests, mode.per_request(), mode == Mode::Batch);
            let sessions = self
                .visto
                .sessions(connections, &prepared, Until::Receipt, None);
            machine::quiet(pids, plan.quiet).await;
            let before = self.visto.cpu();
            let measured = drive::closed(sessions, window).await;
            let spent = machine::difference(&before, &self.visto.cpu());
            let dry = measured.seconds < 0.7 * window.length.as_secs_f64();
            if dry {
                per_s *= 3.0;
                continue;
            }
            self.seen.insert(key, measured.entries_per_s.max(100.0));
            let cpu = self.cpu.entry(mode).or_default();
            for (who, seconds) in spent {
                *cpu.entry(who).or_default() += seconds;
            }
            return measured;
        }
    }

    /// One round of the paced loads: etcd, Visto entry by entry, Visto in signed batches at the same entries a second.
    async fn paced(
        &mut self,
        results: &mut Results,
        per_s: f64,
        plan: &Plan,
    ) -> Result<(), String> {
        let (window, pids) = (plan.paced, self.pids());
        if let Some(etcd) = &mut self.etcd {
            let sessions = etcd.sessions(PACED_SESSIONS, 1).await?;
            machine::quiet(&pids, plan.quiet).await;
            let paced = drive::paced(sessions, per_s, 1, window).await;
            results.keep(Mode::EtcdPut, paced);
        }
        let seconds = (window.warm_up + window.length).as_secs_f64();
        for mode in [Mode::Single, Mode::Batch] {
            let per_request = mode.per_request();
            let requests_per_s = per_s / per_request as f64;
            let requests = (requests_per_s * seconds).ceil() as u64 + 1;
            let prepared = self.visto.prepare(requests, per_request, per_request > 1);
            let acks: Acks = Arc::new(Mutex::default());
            let sessions =
                self.visto
                    .sessions(PACED_SESSIONS, &prepared, Until::Committed, Some(&acks));
            machine::quiet(&pids, plan.quiet).await;
            let watch = self.visto.watch();
            let paced = drive::paced(sessions, requests_per_s, per_request, window).await;
            results.keep(mode, paced);
            let newest = acks.lock().unwrap().iter().map(|(_, index)| *index).max();
            if let Some(newest) = newest {
                self.visto.cluster.published(1, newest + 1).await;
            }
            *self.written.entry(System::Visto).or_default() += acks.lock().unwrap().len() as u64;
            let (delays, unseen) = watch.delays(&acks).await;
            if mode == Mode::Single {
                results.publish.push((Latency::of(delays), unseen));
            }
        }
        Ok(())
    }
}

impl Results {
    fn keep(&mut self, mode: Mode, paced: Paced) {
        if !self.paced.iter().any(|series| series.mode == mode) {
            self.paced.push(PacedSeries {
                mode,
                rounds: Vec::new(),
            });
        }
        for series in &mut self.paced {
            if series.mode == mode {
                series.rounds.push(paced);
            }
        }
    }
}

impl Limits {
    fn measure(&mut self, folder: &Path, duration: Duration) -> Result<(), String> {
        let cores = machine::cores() as usize;
        self.verify_one_core.push(limits::verify_rate(duration, 1));
        self.verify_all_cores
            .push(limits::verify_rate(duration, cores));
        for bytes in SYNCED_BYTES {
            let synced = limits::fdatasync(folder, bytes, duration)
                .map_err(|error| format!("fdatasync in {}: {error}", folder.display()))?;
            self.fdatasync.entry(bytes).or_default().push(synced);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_number_of_connections_is_taken_and_the_named_one_beside_it() {
        let at = |mode, connections, entries_per_s| {
            let measured = Measured {
                entries_per_s,
                ..Measured::default()
            };
            (mode, connections, measured)
        };
        let sweep = [
            at(Mode::EtcdPut, 1, 1_000.0),
            at(Mode::EtcdPut, 64, 9_000.0),
            at(Mode::EtcdPut, 256, 13_000.0),
            at(Mode::Single, 64, 2_000.0),
            at(Mode::Single, 16, 1_000.0),
            at(Mode::Batch, 4, 5_000.0),
            at(Mode::Batch, 64, 4_000.0),
        ];
        let chosen: Vec<(Mode, usize, bool)> = chosen(&sweep)
            .iter()
            .map(|series| (series.mode, series.connections, series.best))
            .collect();
        assert_eq!(
            chosen,
            [
                (Mode::EtcdPut, 64, false),
                (Mode::EtcdPut, 256, true),
                (Mode::Single, 64, true),
                (Mode::Batch, 4, true),
            ]
        );
    }
}
