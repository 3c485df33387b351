// SPDX-License-Identifier: EUPL-1.2
//! Puts together what speaks with peers: first the dialing side, which Raft needs, then, over Raft and the store, the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use ledger::{
    hash::Hash,
    id::NodeNumber,
    key::SigningKey,
    note::{SignatureType, VerifierKey},
    number::TreeSize,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    PeerTls,
    clock::{Clock, Offsets},
    error::{Error, ErrorKind},
    face::Published,
    fold::{
        leader::Leader,
        worker::{Newest, Wanted, Worker},
    },
    membership::Membership,
    peer::{
        client::{Addresses, CallError, Peers},
        frame::ClusterId,
        raft_network::Network,
        server,
        service::{NodeService, Roster, SubmitHere},
        snapshot::Receiver,
        tls::Identity,
    },
    propose::Proposer,
    publish::{
        cosigner::Cosigner,
        delay,
        keeper::{Keeper, Memory},
        publisher::Publisher,
        quorum::Names,
    },
    raft_types::Raft,
    store::{applied::Applied, fatal::Fatal, fold::Sizes, log::Log, machine::Machine},
};

/// Who this node is, and where its peers are.
pub(crate) struct Own<'a> {
    pub(crate) node: NodeNumber,
    pub(crate) ledger: &'a str,
    /// SHA-256 of the genesis entry's PAE, as policies have it.
    pub(crate) genesis: Hash,
    pub(crate) tls: &'a PeerTls,
    /// The genesis's nodes and their addresses: known before anything is applied.
    pub(crate) founders: BTreeMap<NodeNumber, String>,
    /// The operator's addresses, which win.
    pub(crate) configured: BTreeMap<NodeNumber, String>,
}

/// The dialing side.
pub(crate) struct Dialing {
    identity: Arc<Identity>,
    cluster: ClusterId,
    addresses: Arc<Addresses>,
    roster: Arc<Roster>,
    pub(crate) peers: Peers,
    stop: CancellationToken,
}

impl Dialing {
    /// Loads the certificates; connects to nobody yet. Needs a tokio runtime.
    pub(crate) fn new(own: Own<'_>) -> Result<Dialing, Error> {
        let identity = Identity::load(own.tls, own.ledger, own.node).map_err(|error| {
            Error::with_source(
                ErrorKind::Config,
                "the identity towards peers cannot be used",
                error,
            )
        })?;
        let identity = Arc::new(identity);
        let cluster = ClusterId::new(own.ledger, own.genesis);
        let addresses = Arc::new(Addresses::new(own.configured));
        let roster = Arc::new(Roster::default());
        roster.set(own.founders.keys().copied().collect(), BTreeSet::new());
        addresses.register(own.founders);
        let stop = CancellationToken::new();
        let peers = Peers::new(
            identity.clone(),
            cluster.clone(),
            addresses.clone(),
            stop.clone(),
        );
        Ok(Dialing {
            identity,
            cluster,
            addresses,
            roster,
            peers,
            stop,
        })
    }

    /// For `Raft::new`, with what is applied here.
    pub(crate) fn network(&self, applied: watch::Receiver<Applied>) -> Network {
        Network::new(self.peers.clone(), applied)
    }
}

/// What the rest stands on.
pub(crate) struct Ground {
    pub(crate) raft: Raft,
    pub(crate) proposer: Proposer,
    pub(crate) log: Log,
    pub(crate) machine: Machine,
    pub(crate) fatal: Fatal,
    pub(crate) clock: Clock,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) shard: u64,
    pub(crate) cosign_key: SigningKey,
    pub(crate) log_keys: Vec<SigningKey>,
    pub(crate) publish_interval: Duration,
    pub(crate) publish_gather: Duration,
    pub(crate) submit_here: SubmitHere,
    pub(crate) fold_sizes: Sizes,
}

/// All that speaks with peers, running.
pub(crate) struct Net {
    node: NodeNumber,
    pub(crate) peers: Peers,
    keeper: Arc<Keeper>,
    offsets: Arc<Offsets>,
    pub(crate) fold_wanted: Wanted,
    pub(crate) folded: watch::Receiver<Option<Newest>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Net {
    /// Listens, publishes, follows the registry. Blocks on disk for a moment.
    pub(crate) fn start(
        dialing: Dialing,
        listener: TcpListener,
        ground: Ground,
    ) -> Result<Net, Error> {
        let Dialing {
            identity,
            cluster,
            addresses,
            roster,
            peers,
            stop,
        } = dialing;
        let Ground {
            raft,
            proposer,
            log,
            machine,
            fatal,
            clock,
            offsets,
            shard,
            cosign_key,
            log_keys,
            publish_interval,
            publish_gather,
            submit_here,
            fold_sizes,
        } = ground;
        let node = identity.node;
        let names = Names::new(&identity.ledger, shard).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("{:?} cannot name a log", identity.ledger),
            )
        })?;
        let listen = || {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        let listener = listen().map_err(|error| Error::io("listen for peers", error))?;

        let own_name = names
            .node(node)
            .ok_or_else(|| Error::new(ErrorKind::Config, "this node cannot be named"))?;
        let own_key = VerifierKey::new(own_name, SignatureType::Cosignature, cosign_key.public());
        let tasks = TaskTracker::new();
        let memory = Memory {
            own_key,
            log: log.clone(),
            fatal: fatal.clone(),
        };
        let keeper = Arc::new(Keeper::open(machine.clone(), memory, tasks.clone())?);
        let fold_wanted = Wanted::default();
        let cosigner = Arc::new(Cosigner::new(
            node,
            names.clone(),
            cosign_key,
            clock.clone(),
            log.clone(),
            machine.clone(),
        ));
        let service = NodeService {
            own: node,
            raft: raft.clone(),
            log,
            machine: machine.clone(),
            fatal: fatal.clone(),
            tasks: tasks.clone(),
            clock,
            offsets: offsets.clone(),
            cosigner: cosigner.clone(),
            receiver: Receiver::new(raft.clone()),
            roster: roster.clone(),
            addresses,
            submit_here,
            fold_wanted: fold_wanted.clone(),
        };
        let publisher = Publisher {
            node,
            names,
            log_keys,
            cosigner,
            keeper: keeper.clone(),
            peers: peers.clone(),
            raft: raft.clone(),
            proposer,
            machine: machine.clone(),
            tasks: tasks.clone(),
            interval: publish_interval,
            gather: publish_gather,
        };
        let (newest_folded, folded) = watch::channel(None);
        let worker = Worker {
            machine: machine.clone(),
            fatal,
            tasks: tasks.clone(),
            sizes: fold_sizes,
            newest: newest_folded,
        };
        let membership = Membership {
            own: node,
            raft,
            machine: machine.clone(),
            tasks: tasks.clone(),
            peers: peers.clone(),
            roster,
            offsets: offsets.clone(),
        };
        tasks.spawn(server::serve(
            listener,
            identity,
            cluster,
            Arc::new(service),
            stop.clone(),
        ));
        tasks.spawn(keeper.clone().follow(stop.clone()));
        tasks.spawn(delay::watch(machine, keeper.newest(), stop.clone()));
        tasks.spawn(publisher.run(stop.clone()));
        tasks.spawn(membership.run(stop.clone()));
        tasks.spawn(worker.run(stop.clone()));
        tasks.close();
        Ok(Net {
            node,
            peers,
            keeper,
            offsets,
            fold_wanted,
            folded,
            stop,
            tasks,
        })
    }

    /// The newest published checkpoint, and its successors as they come.
    pub(crate) fn newest(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.keeper.newest()
    }

    /// This node's clock minus the median of the voters', milliseconds, if known.
    pub(crate) fn clock_offset_ms(&self) -> Option<i64> {
        self.offsets.offset_ms()
    }

    /// The root that each of these nodes computed at a size: `None` from one that has not applied so much, an error's text from one that
    /// does not answer.
    pub(crate) async fn roots(
        &self,
        nodes: impl IntoIterator<Item = NodeNumber>,
        size: TreeSize,
        time: Duration,
    ) -> BTreeMap<NodeNumber, Result<Option<Hash>, CallError>> {
        let asked = nodes.into_iter().filter(|node| *node != self.node);
        let answers =
            asked.map(|node| async move { (node, self.peers.root(node, size, time).await) });
        futures::future::join_all(answers)
            .await
            .into_iter()
            .collect()
    }

    /// Orders folds and states their roots while this node leads.
    pub(crate) fn lead_folds(&self, leader: Leader) {
        self.tasks.spawn(leader.run(self.stop.clone()));
    }

    /// Ends all tasks and connections. When it returns nothing here holds the store any more.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod peer_tests;
#[cfg(test)]
pub(crate) mod tests;
