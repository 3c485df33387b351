// SPDX-License-Identifier: EUPL-1.2
//! Puts a node together.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use ledger::body::Content;
use ledger::body::governance::Genesis;
use ledger::entry::genesis_keys;
use ledger::hash::Hash;
use ledger::id::KeyId;
use ledger::key::KeyUse;
use ledger::number::EntryIndex;
use openraft::{EmptyNode, SnapshotPolicy};
use tokio::time::sleep;

use super::*;
use crate::clock::Offsets;
use crate::net::{Dialing, Ground, Own};
use crate::propose::Proposer;
use crate::raft_types::Raft;
use crate::store::fold::Sizes;
use crate::store::{
    self, db::Resources, log::Log, machine::Machine, verify::VerifyPool, view::read_entry,
};
use crate::tasks::Beside;
use crate::trim::Trimmer;

pub(super) async fn open(config: Config) -> Result<Inner, Error> {
    let genesis = Founding::read(&config.genesis, &config.ledger)?;
    let ledger = LedgerInfo {
        name: config.ledger.clone(),
        shard: genesis.content.shard,
    };
    let fatal = Fatal::new();
    let verifier = VerifyPool::new(&ledger.name);
    let (log, machine) = open_store(&config, &ledger, &genesis, &fatal, &verifier).await?;

    check_keys(&config, &genesis, &machine)?;

    let dialing = Dialing::new(Own {
        node: config.node,
        ledger: &ledger.name,
        genesis: Hash::of(&[genesis.entry.pae()]),
        tls: &config.tls,
        founders: genesis
            .content
            .nodes
            .iter()
            .map(|node| (node.node, node.peer.clone()))
            .collect(),
        configured: config.peers.clone(),
    })?;
    let raft = raft(&config, &dialing, log.clone(), machine.clone()).await?;

    let tuning = &config.tuning;
    let clock = tuning.clock.clone();
    let offsets = Arc::new(Offsets::new(config.node, clock.clone()));
    let stamps = offsets.clone();
    let proposer = Proposer::start(raft.clone(), machine.applied(), tuning, move || {
        stamps.stamp_ms()
    });
    // The listener answers peers with what is put together here, and what is put together here needs the listener's publisher: the first
    // submissions of peers, should they come before the second line below is reached, are told that there is no quorum yet.
    let here: Arc<OnceLock<Here>> = Arc::new(OnceLock::new());
    let submit_here = here.clone();
    let ground = Ground {
        raft: raft.clone(),
        proposer: proposer.clone(),
        log: log.clone(),
        machine: machine.clone(),
        fatal: fatal.clone(),
        clock: clock.clone(),
        offsets: offsets.clone(),
        shard: ledger.shard,
        cosign_key: config.keys.cosign,
        log_keys: config.keys.log,
        publish_interval: tuning.publish_interval,
        publish_gather: tuning.publish_gather,
        fold_sizes: Sizes {
            pass_keys: tuning.fold_pass_keys,
            step_keys: tuning.fold_step_keys,
        },
        submit_here: Arc::new(move |entries, until, deadline| {
            let here = submit_here.get().cloned();
            async move {
                match here {
                    Some(here) => here.submit_bytes(entries, until, deadline).await,
                    None => vec![Outcome::Failed(Failure::NoQuorum); entries.len()],
                }
            }
            .boxed()
        }),
    };
    let net = Net::start(dialing, config.listen_peer, ground)?;
    let published = net.newest();
    let assembled = Here {
        raft: raft.clone(),
        machine: machine.clone(),
        verifier,
        proposer,
        ledger: ledger.clone(),
        clock,
        offsets,
        quorum_lost_after: tuning.election_timeout * 2,
        published: published.clone(),
        caught_up_in: Arc::default(),
    };
    let assembled = here.get_or_init(|| assembled).clone();

    found(&raft, config.node, &genesis).await?;
    tokio::spawn(propose_genesis(
        assembled.clone(),
        genesis,
        config.node,
        fatal.clone(),
    ));
    let pace = Pace {
        interval: tuning.fold_interval,
        pause: tuning.fold_pause,
        entries_max: tuning.fold_entries_max,
    };
    let trimming = Beside::default();
    trimming.start(Trimmer::new(raft, log.clone(), machine, tuning).run());
    Ok(Inner {
        node: config.node,
        ledger,
        receipts: Receipts::new(assembled.machine.clone()),
        here: assembled,
        net,
        node_key: config.keys.node,
        published,
        pace,
        fatal,
        log,
        erasing: Beside::default(),
        trimming,
    })
}

/// The genesis, read once.
pub(crate) struct Founding {
    pub(crate) entry: VerifiedEntry,
    pub(crate) content: Genesis,
}

impl Founding {
    pub(crate) fn read(genesis: &SubmittedEntry, ledger: &str) -> Result<Founding, Error> {
        let refused = |refused: Refused| {
            Error::with_source(ErrorKind::Config, "the genesis is not valid", refused)
        };
        let keys = genesis_keys(genesis).map_err(refused)?;
        let entry =
            ledger::entry::verify(genesis.clone(), ledger, &keys).map_err(|stop| match stop {
                ledger::entry::Stop::Refused(at) => refused(at),
                ledger::entry::Stop::Failed(never) => match never {},
            })?;
        match &entry.body().content {
            Content::Genesis(content) => Ok(Founding {
                content: (**content).clone(),
                entry,
            }),
            _ => Err(Error::new(
                ErrorKind::Config,
                "the genesis is an entry of another type",
            )),
        }
    }

    /// What stands where a leader's stamp and salt would: both follow from the bytes, so that a policy can name entry 0 before any node runs,
    /// and nothing in a genesis needs hiding.
    pub(crate) fn stamp_ms(&self) -> u64 {
        self.entry.body().common.occurred_at_ms
    }

    pub(crate) fn salt(&self) -> [u8; 32] {
        Hash::of(&[self.entry.pae(), &self.entry.submitted().sigs().encode()]).0
    }
}

async fn open_store(
    config: &Config,
    ledger: &LedgerInfo,
    genesis: &Founding,
    fatal: &Fatal,
    verifier: &VerifyPool,
) -> Result<(Log, Machine), Error> {
    let tuning = &config.tuning;
    let options = store::Options {
        resources: Resources {
            cache_bytes: tuning.cache_bytes,
            write_buffer_bytes: tuning.write_buffer_bytes,
            background_bytes_per_s: tuning.background_bytes_per_s,
        },
        tail_bytes: tuning.tail_bytes,
        scrub_bytes: tuning.scrub_bytes,
    };
    let (dir, node, ledger) = (config.data.clone(), config.node.0, ledger.clone());
    let pae = Hash::of(&[genesis.entry.pae()]);
    let (fatal, verifier) = (fatal.clone(), verifier.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let (log, machine) = store::open(&dir, node, ledger, &options, &fatal, &verifier)?;
        // What the log no longer has must be in the state: an apply that began behind the gap would make another ledger.
        let applied = machine.applied().borrow().raft_log_id.map(|id| id.index);
        if log.purged() > applied {
            return Err(Error::corrupt(format!(
                "{}: the Raft log is purged through {}, but the state ends before: replace this node",
                dir.display(),
                log.purged().unwrap_or_default(),
            )));
        }
        if let Some(first) = read_entry(&machine.state(), EntryIndex(0))?
            && let Some(submitted) = first.submitted()
            && Hash::of(&[submitted.pae()]) != pae
        {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{} holds a ledger of another genesis", dir.display()),
            ));
        }
        Ok((log, machine))
    });
    opened.await.unwrap_or_else(|error| {
        Err(Error::with_source(
            ErrorKind::Io,
            "opening the store was cut short",
            error,
        ))
    })
}

/// The key files hold the keys that the registry knows for this node: a damaged or swapped file is noticed before anything is signed with it.
/// A node whose `node` entry is not applied here yet cannot be checked: before it, other keys may have been in force.
fn check_keys(config: &Config, genesis: &Founding, machine: &Machine) -> Result<(), Error> {
    let view = machine.view()?;
    let size = view.size();
    let mut wanted: Vec<(&str, KeyId, Vec<KeyId>)> = Vec::new();
    let (node, cosign) = (config.keys.node.key_id(), config.keys.cosign.key_id());
    let log: Vec<KeyId> = config.keys.log.iter().map(SigningKey::key_id).collect();
    if size == TreeSize::EMPTY {
        let founder = genesis
            .content
            .nodes
            .iter()
            .find(|own| own.node == config.node);
        if let Some(own) = founder {
            wanted.push(("node", own.node_key, vec![node]));
            wanted.push(("cosign", own.cosign_key, vec![cosign]));
            let mut keys = genesis.content.keys.iter();
            let log_key = keys.find(|key| key.key_use == KeyUse::Log);
            wanted.extend(log_key.map(|key| ("log", key.public_key.key_id(), log)));
        }
    } else if let Some(own) = registry::node(&view, config.node)?
        && own.removed.is_none()
    {
        let current = |id| registry::current_key(&view, id, size.next_index());
        wanted.push(("node", current(&own.node_key)?, vec![node]));
        wanted.push(("cosign", current(&own.cosign_key)?, vec![cosign]));
        let log_key = registry::log_key_at(&view, size)?;
        wanted.extend(log_key.map(|key| ("log", key, log)));
    }
    match wanted
        .into_iter()
        .find(|(_, wanted, held)| !held.contains(wanted))
    {
        None => Ok(()),
        Some((which, wanted, _)) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "the {which} key of node {} is not {wanted}, the one registered: its file is damaged, of another node, or ahead of a rotation \
                 that this node has not applied",
                config.node.0
            ),
        )),
    }
}

async fn raft(
    config: &Config,
    dialing: &Dialing,
    log: Log,
    machine: Machine,
) -> Result<Raft, Error> {
    let tuning = &config.tuning;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let raft_config = openraft::Config {
        cluster_name: config.ledger.clone(),
        heartbeat_interval: millis(tuning.heartbeat),
        // openraft waits for the lease of the silent leader, which is the greater of these, and then for a time between the two: together one
        // and a half to two times the timeout.
        election_timeout_min: millis(tuning.election_timeout / 2),
        election_timeout_max: millis(tuning.election_timeout),
        // A snapshot is the whole ledger: sending it takes as long as it takes, and peers see to its progress.
        install_snapshot_timeout: millis(Duration::from_secs(24 * 3600)),
        max_payload_entries: 64,
        // The trimmer and the eraser ask for each, after a flush.
        snapshot_policy: SnapshotPolicy::Never,
        replication_lag_threshold: tuning.raft_snapshot_after.max(1).saturating_mul(2),
        // Never by itself: the trimmer purges, by bytes.
        max_in_snapshot_log_to_keep: u64::MAX,
        ..openraft::Config::default()
    };
    let raft_config = raft_config.validate().map_err(|error| {
        Error::with_source(ErrorKind::Config, "Raft's times do not fit together", error)
    })?;
    Raft::new(
        config.node.0,
        Arc::new(raft_config),
        dialing.network(machine.applied()),
        log,
        machine,
    )
    .await
    .map_err(|error| Error::with_source(ErrorKind::Raft, "Raft did not start", error))
}

/// The lowest founder founds the Raft group, once: what it writes for that is the same on every attempt.
async fn found(raft: &Raft, own: NodeNumber, genesis: &Founding) -> Result<(), Error> {
    let founders: BTreeMap<u64, EmptyNode> = genesis
        .content
        .nodes
        .iter()
        .map(|node| (node.node.0, EmptyNode::new()))
        .collect();
    if founders.keys().next() != Some(&own.0) {
        return Ok(());
    }
    let failed =
        |error| Error::with_source(ErrorKind::Raft, "the Raft group was not founded", error);
    if raft
        .is_initialized()
        .await
        .map_err(|error| failed(openraft::AnyError::new(&error)))?
    {
        return Ok(());
    }
    raft.initialize(founders)
        .await
        .map_err(|error| failed(openraft::AnyError::new(&error)))
}

/// Whoever leads a ledger without entries proposes entry 0. Two leaders may both do so: the second finds it there.
async fn propose_genesis(here: Here, genesis: Founding, own: NodeNumber, fatal: Fatal) {
    let mut applied = here.machine.applied();
    let mut server = here.raft.server_metrics();
    loop {
        if applied.borrow_and_update().tree_size > 0 || fatal.check().is_err() {
            return;
        }
        let leads = server.borrow_and_update().current_leader == Some(own.0);
        if leads
            && let Ok(answer) = here.proposer.submit_genesis(
                genesis.entry.clone(),
                genesis.stamp_ms(),
                genesis.salt(),
            )
        {
            match answer.await {
                Ok(Outcome::Refused(refused)) => {
                    fatal.latch(Error::with_source(
                        ErrorKind::Config,
                        "the ledger refuses its genesis",
                        refused,
                    ));
                    return;
                }
                Ok(Outcome::Accepted(_)) => return,
                // Not written, or not known whether: look again.
                _ => sleep(LEADER_PAUSE).await,
            }
            continue;
        }
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return },
            changed = server.changed() => if changed.is_err() { return },
        }
    }
}
