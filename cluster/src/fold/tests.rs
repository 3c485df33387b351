// SPDX-License-Identifier: EUPL-1.2
//! State roots on three nodes in one process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use ledger::admission::RowKind;
use ledger::body::{Content, system::StateRoot};
use ledger::bytes::ListValue;
use ledger::fold::MemoryFold;
use ledger::hash::Hash;
use ledger::id::NodeNumber;
use ledger::merkle::verify_inclusion;
use ledger::number::{EntryIndex, TreeSize};
use ledger::refusal::Refusal;
use ledger::state::StateKey;
use ledger::state_map::{self, verify_absence, verify_presence};
use rocksdb::WriteBatch;
use tokio::time::timeout;

use super::Folded;
use crate::net::tests::{PATIENCE, Town, close, leader, submit, submit_entries, until};
use crate::raft_types::Batch;
use crate::store::keys::state_cf;
use crate::store::view::Direction;
use crate::testbed::{self, consent_at};
use crate::{Clock, Error, ErrorKind, Outcome, Tuning, Until};

mod stall;

fn tuning() -> Tuning {
    Tuning {
        fold_pause: Duration::from_millis(20),
        // Many passes and many steps, also of few entries.
        fold_pass_keys: 40,
        fold_step_keys: 3,
        ..testbed::tuning()
    }
}

/// Whom consent `number` of the testbed is about.
fn person(number: u64) -> Hash {
    Hash::of(&[b"ref", &number.to_be_bytes()])
}

/// Everything about a fold that can be recomputed is.
fn assert_holds(folded: &Folded, persons: std::ops::Range<u64>) {
    let (view, of, published) = (folded.view(), folded.state_root(), folded.published());
    // The entry says what the fold says, and stands under the published checkpoint.
    let entry = view.entry(of.index).unwrap().unwrap();
    let body = entry.parse_body().unwrap().unwrap();
    let Content::StateRoot(stated) = body.content else {
        panic!("entry {} is no state root", of.index)
    };
    assert_eq!(
        (stated.size, stated.version, stated.root),
        (of.size.0, of.version, of.root)
    );
    let proven = [of.index, EntryIndex(0), EntryIndex(of.index.0 / 2)];
    let entries = view.entries(&proven).unwrap();
    let paths = folded.inclusions(&proven).unwrap();
    assert_eq!(paths.first(), folded.inclusion(of.index).ok().as_ref());
    assert_eq!(paths.len(), proven.len());
    for ((index, entry), path) in proven.into_iter().zip(entries).zip(paths) {
        let leaf_hash = entry.unwrap().leaf_hash();
        let root = verify_inclusion(index, published.size, leaf_hash, &path);
        assert_eq!(root, Ok(published.root));
    }
    // Lists are the rows below its size, item by item.
    for number in persons {
        let of_person = person(number);
        let rows = view.rows(
            RowKind::Subject,
            &of_person,
            0..of.size.0,
            Direction::Up,
            1000,
        );
        let mut list = ListValue::EMPTY;
        for index in rows.unwrap() {
            let entry = view.entry(index).unwrap().unwrap();
            list = list.with(&entry.item(&of_person));
        }
        let key = StateKey::subject(&of_person);
        let (value, proof) = folded.prove(&key).unwrap();
        if list == ListValue::EMPTY {
            assert_eq!(value, None);
            verify_absence(&stated.root, &key.hash(), &proof).unwrap();
        } else {
            let value = value.unwrap();
            assert_eq!(value, list.encode());
            verify_presence(&stated.root, &key.hash(), &value, &proof).unwrap();
        }
    }
    // The same from the stored changes, folded in memory.
    let mut memory = MemoryFold::new();
    let indexes: Vec<_> = (0..of.size.0).map(EntryIndex).collect();
    for (index, change) in indexes.iter().zip(view.changes(&indexes).unwrap()) {
        let change = change.unwrap();
        assert_eq!(change.index, *index);
        memory.apply(&change);
    }
    let beyond = view.size().next_index();
    assert_eq!(view.change(beyond).unwrap(), None);
    assert_eq!(memory.root(), of.root);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_folds_the_same_and_proves_it() {
    let town = Town::new(3, tuning());
    let nodes = town.open_all().await;
    assert!(nodes[&1].folded().unwrap().is_none());
    let mut roots: BTreeMap<u64, BTreeSet<Hash>> = BTreeMap::new();
    for round in 0..3 {
        for (number, node) in &nodes {
            let first = round * 1000 + number * 100;
            submit(node, first..first + 30).await;
            // Whom the entries before were about, again.
            let now_ms = Clock::system().now_ms();
            let again = (first..first + 10).map(|number| consent_at(now_ms + 1 + round, number));
            submit_entries(node, again.collect()).await;
        }
        let size = nodes[&1].linearizable(PATIENCE).await.unwrap().size();
        for node in nodes.values() {
            let folded = node.fold(PATIENCE).await.unwrap();
            assert!(folded.covers(size));
            let of = folded.state_root();
            roots.entry(of.version).or_default().insert(of.root);
            assert_holds(&folded, 90..round * 1000 + 340);
        }
    }
    assert!(roots.len() >= 3, "{roots:?}");
    assert!(roots.values().all(|roots| roots.len() == 1), "{roots:?}");
    // Nothing but the state root came after it: it is not followed by another.
    let newest = nodes[&1].fold(PATIENCE).await.unwrap().state_root();
    assert_eq!(nodes[&1].fold(PATIENCE).await.unwrap().state_root(), newest);
    let status = nodes[&1].status();
    assert_eq!(
        (status.folded_size, status.state_root_version),
        (newest.size, newest.version)
    );
    close(nodes).await;
}

/// Also: an old fold stays readable to who holds it, while the next one overwrites it.
#[tokio::test(flavor = "multi_thread")]
async fn all_who_ask_share_a_fold() {
    let pause = Duration::from_secs(1);
    let town = Town::new(
        3,
        Tuning {
            fold_pause: pause,
            ..tuning()
        },
    );
    let nodes = town.open_all().await;
    submit(&nodes[&1], 1..20).await;
    let first = nodes[&1].fold(PATIENCE).await.unwrap();
    submit(&nodes[&1], 20..40).await;
    let asked = (0..30).map(|asker| nodes[&(1 + asker % 3)].fold(PATIENCE));
    let versions: BTreeSet<u64> = join_all(asked)
        .await
        .into_iter()
        .map(|folded| folded.unwrap().state_root().version)
        .collect();
    assert_eq!(versions, [first.state_root().version + 1].into());
    assert_holds(&first, 1..45);
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_stated_by_itself_when_something_changed() {
    let interval = Duration::from_millis(100);
    let town = Town::new(
        3,
        Tuning {
            fold_interval: interval,
            ..tuning()
        },
    );
    let nodes = town.open_all().await;
    submit(&nodes[&2], 1..5).await;
    let seen = until(|| {
        let folded = nodes[&3].folded().unwrap()?;
        folded.covers(TreeSize(5)).then_some(folded)
    });
    assert_holds(&seen.await.unwrap(), 1..6);
    close(nodes).await;
}

/// The leader goes while it folds: the next one states the root of what the first one ordered.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_states_what_the_last_one_ordered() {
    let town = Town::new(
        3,
        Tuning {
            fold_step_keys: 1,
            ..tuning()
        },
    );
    let mut nodes = town.open_all().await;
    submit(&nodes[&1], 1..400).await;
    let first = leader(&nodes).await;
    let raft = nodes[&first].raft().clone();
    raft.client_write(Batch::of_fold()).await.unwrap();
    let mut folds = nodes[&first].machine().folds();
    let begun = folds.wait_for(|folds| folds.under_way || folds.done.version > 0);
    timeout(PATIENCE, begun).await.unwrap().unwrap();
    nodes.remove(&first).unwrap().shutdown().await;
    let others = nodes.values().map(|node| {
        until(|| {
            node.folded()
                .unwrap()
                .filter(|folded| folded.state_root().version == 1)
        })
    });
    for folded in join_all(others).await {
        let folded = folded.unwrap();
        assert_eq!(folded.state_root().size, TreeSize(400));
        assert_holds(&folded, 1..410);
    }
    // Stopped in the middle, it goes on from there and agrees.
    nodes.insert(first, town.open(first).await);
    submit(&nodes[&first], 400..410).await;
    let folded = nodes[&first].fold(PATIENCE).await.unwrap();
    assert!(folded.covers(TreeSize(411)));
    assert_holds(&folded, 1..420);
    close(nodes).await;
}

/// Changes one person's folded list on one node: its next root differs. That node stops and says so, whether it leads or not; the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_folds_another_root_stops() {
    for tamper_with_leader in [false, true] {
        let town = Town::new(3, tuning());
        let mut nodes = town.open_all().await;
        submit(&nodes[&1], 1..20).await;
        nodes[&1].fold(PATIENCE).await.unwrap();
        let leading = leader(&nodes).await;
        let bad = nodes
            .keys()
            .copied()
            .find(|node| (*node == leading) == tamper_with_leader)
            .unwrap();
        let done = nodes[&bad].machine().folds();
        timeout(
            PATIENCE,
            done.clone().wait_for(|folds| folds.done.version == 1),
        )
        .await
        .unwrap()
        .unwrap();
        let db = nodes[&bad].machine().state();
        let key = StateKey::subject(&person(7)).hash();
        let value = db.get(state_cf::FOLDED, key.as_bytes()).unwrap().unwrap();
        let mut list = ListValue::decode(&value).unwrap();
        list.head.0[5] ^= 1;
        let mut write = WriteBatch::default();
        write.put_cf(
            db.cf(state_cf::FOLDED).unwrap(),
            key.as_bytes(),
            list.encode(),
        );
        db.write(write, false).unwrap();
        drop(db);

        let now_ms = Clock::system().now_ms() + 1;
        submit_entries(&nodes[&bad], vec![consent_at(now_ms, 7)]).await;
        let asker = nodes.keys().copied().find(|node| *node != bad).unwrap();
        let stopping = nodes.remove(&bad).unwrap();
        // As the process does: it ends when the node says that it must.
        let stopped = async {
            let error = timeout(PATIENCE, stopping.fatal()).await.unwrap();
            assert!(stopping.folded().is_err());
            stopping.shutdown().await;
            error
        };
        let (folded, error) = tokio::join!(nodes[&asker].fold(PATIENCE), stopped);
        let folded = folded.unwrap();
        assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
        let of = folded.state_root();
        for part in [
            format!("state root {} of size {}", of.version, of.size),
            of.root.to_string(),
            "this node folded".to_owned(),
        ] {
            assert!(error.to_string().contains(&part), "{part:?} in {error}");
        }
        // Two of three go on.
        for number in nodes.keys() {
            submit(&nodes[number], number * 100..number * 100 + 5).await;
            let folded = nodes[number].fold(PATIENCE).await.unwrap();
            assert_holds(&folded, 1..20);
        }
        close(nodes).await;
    }
}

/// The map is damaged where a proof is asked for: nothing is answered, and the node stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_root_does_not_vouch_for_is_not_served() {
    let town = Town::new(1, tuning());
    let nodes = town.open_all().await;
    submit(&nodes[&1], 1..20).await;
    nodes[&1].fold(PATIENCE).await.unwrap();
    let db = nodes[&1].machine().state();
    let key = StateKey::subject(&person(7)).hash();
    let mut write = WriteBatch::default();
    write.delete_cf(db.cf(state_cf::FOLDED).unwrap(), key.as_bytes());
    db.write(write, false).unwrap();
    let folded = nodes[&1].folded().unwrap().unwrap();
    folded.prove(&StateKey::subject(&person(8))).unwrap();
    let error: Error = folded.prove(&StateKey::subject(&person(7))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(nodes[&1].fatal().await.kind(), ErrorKind::Corrupt);
    drop((folded, db));
    close(nodes).await;
}

/// What is stated is what was ordered, or it is refused: on the leader and everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_states_a_root_that_was_not_ordered() {
    let town = Town::new(3, tuning());
    let nodes = town.open_all().await;
    submit(&nodes[&1], 1..10).await;
    let last = nodes[&2].fold(PATIENCE).await.unwrap().state_root();
    let state = |size, version, previous| StateRoot {
        size,
        version,
        root: Hash([9; 32]),
        previous,
    };
    let size = nodes[&2].view().unwrap().size().0;
    for root in [
        // Well-formed, in order, of a size that nobody was told to fold.
        state(size, last.version + 1, last.root),
        state(last.size.0 + 1, last.version + 1, last.root),
        state(size, last.version, state_map::EMPTY),
        state(last.size.0, last.version, last.root),
    ] {
        let content = Content::StateRoot(root.clone());
        let outcome = nodes[&2]
            .write_own(content, vec![], Until::Committed, PATIENCE)
            .await;
        assert!(
            matches!(&outcome, Outcome::Refused(refused) if refused.refusal == Refusal::StateRoot),
            "{root:?}: {outcome:?}"
        );
    }
    submit(&nodes[&3], 10..20).await;
    let folded = nodes[&3].fold(PATIENCE).await.unwrap();
    assert_eq!(folded.state_root().version, last.version + 1);
    assert!(nodes.values().all(|node| node.status().healthy));
    close(nodes).await;
}

/// A node's key signs whatever its holder likes; only what the leader folded itself gets into the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_false_root_of_the_size_ordered_is_refused_at_the_door() {
    let town = Town::new(
        3,
        Tuning {
            fold_step_keys: 1,
            ..tuning()
        },
    );
    let nodes = town.open_all().await;
    submit(&nodes[&1], 1..400).await;
    let leading = leader(&nodes).await;
    let raft = nodes[&leading].raft().clone();
    raft.client_write(Batch::of_fold()).await.unwrap();
    let order = nodes[&leading].machine().folds().borrow().ordered.unwrap();
    let other = nodes.keys().copied().find(|node| *node != leading).unwrap();
    let mut tried = 0;
    // While the leader folds, and when it is done.
    while nodes[&leading].machine().folds().borrow().open().is_some() || tried == 0 {
        for from in [leading, other] {
            let root = StateRoot {
                size: order.size,
                version: order.version,
                root: Hash([9; 32]),
                previous: state_map::EMPTY,
            };
            let content = Content::StateRoot(root);
            let outcome = nodes[&from]
                .write_own(content, vec![], Until::Committed, PATIENCE)
                .await;
            assert!(
                matches!(&outcome, Outcome::Refused(refused) if refused.refusal == Refusal::StateRoot),
                "{outcome:?}"
            );
            tried += 1;
        }
    }
    let folded = nodes[&other].fold(PATIENCE).await.unwrap();
    assert_eq!(folded.state_root().version, order.version);
    assert_holds(&folded, 1..410);
    assert!(nodes.values().all(|node| node.status().healthy));
    close(nodes).await;
}

/// Else nobody who asks after it would get a fold.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_cannot_want_more_folded_than_there_is() {
    let town = Town::new(3, tuning());
    let nodes = town.open_all().await;
    submit(&nodes[&1], 1..10).await;
    let leading = leader(&nodes).await;
    let other = nodes.keys().copied().find(|node| *node != leading).unwrap();
    let peers = nodes[&other].peers();
    let asked = peers.want_fold(NodeNumber(leading), TreeSize(u64::MAX), PATIENCE);
    asked.await.unwrap_err();
    let folded = nodes[&other].fold(PATIENCE).await.unwrap();
    assert_holds(&folded, 1..10);
    close(nodes).await;
}
