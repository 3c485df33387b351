// SPDX-License-Identifier: EUPL-1.2
//! What is kept of the registry is what the state says, for every view at any time.

use std::collections::BTreeSet;

use ledger::body::governance::{Key, NewKey, Node};
use ledger::body::{Body, Common, Content};
use ledger::id::NodeNumber;
use ledger::key::KeyUse;
use ledger::note::VerifierKey;
use ledger::number::TreeSize;
use ledger::state::{State, StateKey, registry};
use rocksdb::IteratorMode;

use super::*;
use crate::publish::quorum::{CheckpointKeys, Names, Quorum};
use crate::store::keys::state_cf;
use crate::store::view::View;
use crate::testbed::{common, institution, key, new_key};

/// A view that nothing is kept of.
struct Raw<'a>(&'a View);

impl State for Raw<'_> {
    type Error = Error;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(state_cf::STATE, &key.encode())
    }
}

/// Applies entries one after the other and keeps a view of each state.
struct Town {
    log: Log,
    machine: Machine,
    views: Vec<View>,
}

impl Town {
    async fn founded(dir: &Path) -> Town {
        let (log, machine) = open_in(dir).unwrap();
        let views = vec![machine.view().unwrap()];
        let mut town = Town {
            log,
            machine,
            views,
        };
        let peers = [1, 2, 3].map(|node| (node, "127.0.0.1:1".parse().unwrap()));
        town.submit(vec![genesis(&peers.into())]).await;
        town
    }

    async fn submit(&mut self, entries: Vec<SubmittedEntry>) {
        let items = entries
            .iter()
            .map(|entry| BatchItem::new(entry.encode().into(), [1; 32], None));
        let batch = Batch::new(Clock::system().now_ms(), items.collect());
        let entry = RaftEntry {
            log_id: log_id(self.views.len() as u64),
            payload: EntryPayload::Normal(batch),
        };
        fill(&mut self.log, &mut self.machine, vec![entry]).await;
        self.views.push(self.machine.view().unwrap());
        check(&self.views);
    }

    /// An entry that governance signs, after the one before, with a consent on each side.
    async fn govern(&mut self, content: Content) {
        let view = self.machine.view().unwrap();
        let (now_ms, size) = (Clock::system().now_ms(), view.size().0);
        let governance = registry::governance(&Raw(&view)).unwrap().unwrap();
        let body = Body {
            common: Common {
                refers_to: Some(governance.last),
                ..common(now_ms, 1_000 + size)
            },
            content,
        };
        let signed =
            SubmittedEntry::sign(body.to_json().as_bytes(), &[&key("governance")], Vec::new());
        let entries = vec![consent(2 * size), signed.unwrap(), consent(2 * size + 1)];
        self.submit(entries).await;
    }
}

/// Every view, old and new, in this order and the other, so that each is asked before and after the others.
fn check(views: &[View]) {
    let newest = views.last().unwrap();
    let stored = newest.iterate(state_cf::STATE, IteratorMode::Start, None);
    let keys: Vec<StateKey> = stored
        .unwrap()
        .map(|item| StateKey::decode(&item.unwrap().0).unwrap())
        .filter(registry::holds)
        .collect();
    assert!(views.len() < 2 || !keys.is_empty());
    for view in views.iter().chain(views.iter().rev()) {
        for key in &keys {
            assert!(State::get(view, key).unwrap() == Raw(view).get(key).unwrap());
        }
        let read = CheckpointKeys::read(&Raw(view)).unwrap();
        assert_eq!(*view.checkpoint_keys().unwrap(), read);
    }
}

/// At every size, also those to come, the quorum is what the state says of each node and of the log.
fn check_quorums(view: &View) {
    let sizes = 0..view.size().0 + 12;
    sizes.for_each(|size| check_quorum(view, TreeSize(size)));
}

fn check_quorum(view: &View, size: TreeSize) {
    let (state, names) = (Raw(view), Names::new(LEDGER, 1).unwrap());
    let leaving = BTreeSet::from([NodeNumber(2)]);
    let quorum = Quorum::at(&view.checkpoint_keys().unwrap(), &names, size, &leaving);
    let id = |key: Option<&VerifierKey>| key.map(|key| key.public().key_id());
    let log = registry::log_key_at(&state, size).unwrap();
    assert_eq!(id(quorum.log.as_ref()), log);
    let nodes = registry::nodes(&state).unwrap();
    let asked: BTreeSet<NodeNumber> = quorum.asked().collect();
    for record in &nodes {
        let (node, is_in_force) = (record.node, record.in_force_at(size));
        assert_eq!(quorum.is_in_force(node), is_in_force, "{node:?} at {size}");
        assert_eq!(
            asked.contains(&node),
            is_in_force || leaving.contains(&node)
        );
        let current = registry::current_key(&state, &record.cosign_key, EntryIndex(size.0));
        let key = quorum.key(node);
        assert_eq!(id(key), asked.contains(&node).then(|| current.unwrap()));
        let name = key.map(|key| key.name().clone());
        assert!(name.is_none() || name == names.node(node));
    }
    assert!(asked.len() <= nodes.len());
}

fn registered(name: &str, key_use: KeyUse) -> Content {
    let key = new_key(name, key_use);
    Content::Key(Key::Registered { key })
}

fn rotated(old: &str, new: &str, key_use: KeyUse, from: Option<u64>) -> Content {
    let key = NewKey {
        from,
        ..new_key(new, key_use)
    };
    let replaces = crate::testbed::key(old).key_id();
    Content::Key(Key::Rotated { key, replaces })
}

fn node(number: u64, added: bool, log_key: Option<&str>) -> Content {
    Content::Node(Node {
        node: NodeNumber(number),
        institution: institution(),
        node_key: key(&format!("node {number}")).key_id(),
        cosign_key: key(&format!("cosign {number}")).key_id(),
        peer: "127.0.0.1:1".to_owned(),
        added,
        log_key: log_key.map(|name| key(name).key_id()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_the_registry_is_what_the_state_says() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut town = Town::founded(ours.path()).await;
    town.submit(vec![consent(1), consent(2)]).await;
    town.govern(rotated("cosign 1", "cosign 1b", KeyUse::Cosign, None))
        .await;
    let soon = Some(town.machine.view().unwrap().size().0 + 9);
    town.govern(rotated("cosign 1b", "cosign 1c", KeyUse::Cosign, soon))
        .await;
    town.govern(registered("node 4", KeyUse::Node)).await;
    town.govern(registered("cosign 4", KeyUse::Cosign)).await;
    town.govern(node(4, true, None)).await;
    town.govern(registered("log 2", KeyUse::Log)).await;
    town.govern(node(2, false, Some("log 2"))).await;
    let soon = Some(town.machine.view().unwrap().size().0 + 6);
    town.govern(rotated("log 2", "log 3", KeyUse::Log, soon))
        .await;
    // A key that replaces itself stands outside the chain of governance.
    let content = rotated("entry", "entry 2", KeyUse::Entry, None);
    let body = Body {
        common: common(Clock::system().now_ms(), 3),
        content,
    };
    let alone = SubmittedEntry::sign(body.to_json().as_bytes(), &[&key("entry")], Vec::new());
    town.submit(vec![alone.unwrap()]).await;
    town.views.iter().for_each(check_quorums);

    // Another database with another registry takes the place of one of which much is kept.
    town.machine.flush().unwrap();
    let mut builder = town.machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();
    let mut other = Town::founded(theirs.path()).await;
    let (meta, received) = super::snapshots::send(&mut town.machine, &mut other.machine).await;
    let installed = other.machine.install_snapshot(&meta, Box::new(received));
    installed.await.unwrap();
    let sizes = |machine: &Machine| machine.view().unwrap().size();
    assert_eq!(sizes(&other.machine), sizes(&town.machine));
    other.views.push(other.machine.view().unwrap());
    check(&other.views);
}
