// SPDX-License-Identifier: EUPL-1.2
//! One node, end to end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::admission::RowKind;
use ledger::body::Disclosed;
use ledger::body::system::Disclosure;
use ledger::hash::Hash;
use ledger::number::EntryIndex;

use super::*;
use crate::Clock;
use crate::face::{NodeKeys, Tuning};
use crate::net::tests::{self as net, Town};
use crate::peer::service::UNAPPLIED_BYTES_MAX;
use crate::store::view::Direction;
use crate::testbed::{self, consent, genesis, tuning};

const PATIENCE: Duration = Duration::from_secs(60);

/// A ledger of one node in a folder of its own.
struct One {
    dir: tempfile::TempDir,
    address: SocketAddr,
    genesis: SubmittedEntry,
    tuning: Tuning,
}

impl One {
    fn new() -> One {
        let address = testbed::listener().local_addr().unwrap();
        One {
            dir: tempfile::tempdir().unwrap(),
            address,
            genesis: genesis(&[(1, address)].into()),
            tuning: tuning(),
        }
    }

    fn config(&self) -> Config {
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        testbed::config(
            self.dir.path(),
            1,
            listener,
            &self.genesis,
            &[1],
            self.tuning.clone(),
        )
    }

    async fn open(&self) -> Result<Node, Error> {
        testbed::open(|| self.config()).await
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data-1")
    }
}

async fn submit(node: &Node, numbers: std::ops::Range<u64>, until: Until) -> Vec<Outcome> {
    let verified = node.verify(numbers.map(consent).collect()).await.unwrap();
    node.submit(
        verified.into_iter().map(Result::unwrap).collect(),
        until,
        PATIENCE,
    )
    .await
}

async fn ready(node: &Node) {
    let view = async {
        loop {
            let view = node.linearizable(PATIENCE).await.unwrap();
            if view.size().0 > 0 {
                return view;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, view).await.unwrap();
}

/// However long a round may wait: as soon as nothing is under way it begins, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_publishing_waits_until_nothing_is_under_way() {
    let mut one = One::new();
    one.tuning.publish_gather = Duration::from_secs(3600);
    let node = one.open().await.unwrap();
    ready(&node).await;
    let state = |outcomes: Vec<Outcome>| match &outcomes[..] {
        [Outcome::Accepted(accepted)] => accepted.state,
        _ => panic!("{outcomes:?}"),
    };
    for number in 1..20 {
        let outcomes = submit(&node, number..number + 1, Until::Published).await;
        assert_eq!(state(outcomes), Until::Published);
    }
    let busy = node.0.here.proposer.busy();
    // Each goes through Raft by itself: a round that did not wait would not hold them all, however long it takes.
    for number in 20..60 {
        let outcomes = submit(&node, number..number + 1, Until::Committed).await;
        assert_eq!(state(outcomes), Until::Committed);
    }
    drop(busy);
    node.published_at_least(TreeSize(60), PATIENCE)
        .await
        .unwrap();
    let view = node.view().unwrap();
    let checkpoint = |index| {
        let receipt = view.receipt(EntryIndex(index)).unwrap().unwrap();
        receipt.note.to_string()
    };
    assert_eq!(checkpoint(20), checkpoint(59));
    drop(view);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_its_own_go_together_or_not_at_all() {
    let one = One::new();
    let node = one.open().await.unwrap();
    ready(&node).await;
    let handed_out = |of: u8| {
        let (subject, told) = Disclosed::seal(&[of; 16], Hash([of; 32]));
        let content = Content::Disclosure(Disclosure {
            institution: testbed::institution(),
            export_digest: Hash([7; 32]),
            subjects: vec![subject],
            ground: "dpv-gdpr:A15".to_owned(),
        });
        (content, vec![told])
    };
    let write = async |contents| {
        node.write_all_own(contents, Until::Committed, PATIENCE)
            .await
    };
    let size = node.view().unwrap().size().0;
    let good = || (1..4).map(handed_out).collect::<Vec<_>>();
    let places: Vec<u64> = write(good())
        .await
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Accepted(accepted) => accepted.index.0,
            outcome => panic!("{outcome:?}"),
        })
        .collect();
    assert_eq!(places, [size, size + 1, size + 2]);
    assert_eq!(write(vec![]).await, []);
    // A value that its body does not name.
    let mut bad = good();
    bad[2].1.extend(handed_out(9).1);
    let outcomes = write(bad).await;
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(refused) if refused.refusal == Refusal::DisclosureSpare);
    assert!(
        outcomes.len() == 3 && outcomes.iter().all(refused),
        "{outcomes:?}"
    );
    let now = node.linearizable(PATIENCE).await.unwrap().size().0;
    assert_eq!(now, size + 3);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submitted_committed_applied_published_and_still_there_after_a_restart() {
    let one = One::new();
    let node = one.open().await.unwrap();
    ready(&node).await;
    let outcomes = submit(&node, 1..201, Until::Published).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        let Outcome::Accepted(accepted) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (accepted.index, accepted.state, accepted.again),
            (EntryIndex(number as u64 + 1), Until::Published, false)
        );
    }
    let view = node.view().unwrap();
    assert_eq!(view.size(), TreeSize(201));
    let receipt = view.receipt(EntryIndex(7)).unwrap().unwrap();
    let of = ledger::admission::Row::institution(&testbed::institution());
    let rows = view
        .rows(
            RowKind::Institution,
            &of.of,
            0..u64::MAX,
            Direction::Down,
            3,
        )
        .unwrap();
    assert_eq!(rows, [EntryIndex(200), EntryIndex(199), EntryIndex(198)]);
    let (root, size) = (view.root(), view.size());
    drop(view);
    node.shutdown().await;

    let node = one.open().await.unwrap();
    let view = node.linearizable(PATIENCE).await.unwrap();
    assert_eq!((view.root(), view.size()), (root, size));
    assert_eq!(
        view.receipt(EntryIndex(7)).unwrap().unwrap().to_string(),
        receipt.to_string(),
        "an entry keeps its receipt"
    );
    drop(view);
    node.shutdown().await;
    assert!(one.data().join("high-water").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_many_are_those_of_each() {
    let one = One::new();
    let node = one.open().await.unwrap();
    ready(&node).await;
    // Under several checkpoints.
    for first in [1, 31, 61] {
        submit(&node, first..first + 30, Until::Published).await;
    }
    let view = node.view().unwrap();
    let mut indexes: Vec<EntryIndex> = (0..91).map(EntryIndex).collect();
    // Descending, twice and beyond the end, too.
    indexes.extend([90, 3, 40, 3, 500].map(EntryIndex));
    let many = view.receipts(&indexes).unwrap();
    assert_eq!(many.len(), indexes.len());
    for (index, receipt) in indexes.iter().zip(&many) {
        let alone = view
            .receipt(*index)
            .unwrap()
            .map(|receipt| receipt.to_string());
        assert_eq!(receipt.as_ref().map(ToString::to_string), alone, "{index}");
        assert_eq!(alone.is_some(), index.0 <= 90, "{index}");
    }
    // Asked by many at once, by each in an order of its own, and by some who are gone before the answer.
    let asked = (0..100).map(|by| {
        let size = if by % 9 == 0 { 20 } else { by % 4 + 1 };
        let skipped = indexes.iter().cycle().skip(by * 7).copied();
        let indexes: Vec<EntryIndex> = skipped.take(size).collect();
        let node = node.clone();
        tokio::spawn(async move { (node.receipts(indexes.clone()).await, indexes) })
    });
    let asked: Vec<_> = asked.collect();
    for (number, asked) in asked.into_iter().enumerate() {
        if number % 5 == 0 {
            asked.abort();
            continue;
        }
        let (texts, indexes) = asked.await.unwrap();
        let texts = texts.unwrap();
        assert_eq!(texts.len(), indexes.len());
        for (index, text) in indexes.into_iter().zip(texts) {
            let alone = view.receipt(index).unwrap();
            assert_eq!(text, alone.map(|receipt| receipt.to_string()), "{index}");
        }
    }
    drop(view);
    node.shutdown().await;
    // Nothing is remembered of them by the next process: the same ones are made of what is stored.
    let node = one.open().await.unwrap();
    let again = node.view().unwrap().receipts(&indexes).unwrap();
    for (index, (before, again)) in indexes.iter().zip(many.iter().zip(&again)) {
        let [before, again] = [before, again].map(|it| it.as_ref().map(ToString::to_string));
        assert_eq!(before, again, "{index}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_entry_again_gets_its_first_answer_and_another_with_its_id_is_refused() {
    let one = One::new();
    let node = one.open().await.unwrap();
    ready(&node).await;
    let entry = consent(5);
    let verified = node
        .verify(vec![entry.clone(), entry.clone()])
        .await
        .unwrap();
    let both: Vec<_> = verified.into_iter().map(Result::unwrap).collect();
    let outcomes = node.submit(both.clone(), Until::Committed, PATIENCE).await;
    node.published_at_least(TreeSize(2), PATIENCE)
        .await
        .unwrap();
    let logged = node.status().raft_last;
    let later = node.submit(both, Until::Committed, PATIENCE).await;
    assert_eq!(node.status().raft_last, logged, "known at the door");
    let answers: Vec<_> = outcomes
        .iter()
        .chain(&later)
        .map(|outcome| match outcome {
            Outcome::Accepted(accepted) => {
                (accepted.index, accepted.leaf_hash, accepted.accepted_at_ms)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        answers.windows(2).all(|pair| pair[0] == pair[1]),
        "{answers:?}"
    );
    let again: Vec<_> = outcomes
        .iter()
        .chain(&later)
        .map(|outcome| matches!(outcome, Outcome::Accepted(accepted) if accepted.again))
        .collect();
    assert_eq!(again, [false, true, true, true]);
    assert_eq!(node.view().unwrap().size(), TreeSize(2));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_another_genesis_is_not_opened() {
    let mut one = One::new();
    let node = one.open().await.unwrap();
    ready(&node).await;
    node.shutdown().await;
    one.genesis = genesis(&[(1, one.address), (2, one.address)].into());
    let error = one.open().await.err().expect("opened with another genesis");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_this_nodes_are_refused_and_named() {
    let one = One::new();
    type Damage = (&'static str, fn(&mut NodeKeys));
    let damages: [Damage; 3] = [
        ("node key", |keys| keys.node = testbed::key("another")),
        ("cosign key", |keys| keys.cosign = testbed::key("another")),
        ("log key", |keys| keys.log = vec![testbed::key("another")]),
    ];
    let refused = async || {
        for (name, damage) in &damages {
            let config = || {
                let mut config = one.config();
                damage(&mut config.keys);
                config
            };
            let error = testbed::open(config).await.err().expect("opened");
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    };
    // By the genesis before it is applied, and by the registry after.
    refused().await;
    let node = one.open().await.unwrap();
    ready(&node).await;
    node.shutdown().await;
    refused().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_at_the_door_does_not_reach_the_log() {
    let one = One::new();
    let node = one.open().await.unwrap();
    ready(&node).await;
    submit(&node, 1..2, Until::Published).await;
    let quiet = node.status();
    let long_ago = testbed::consent_at(Clock::system().now_ms() - 40 * 86_400_000, 9);
    let verified = node
        .verify(vec![long_ago])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let outcomes = node
        .submit(vec![verified], Until::Committed, PATIENCE)
        .await;
    let [Outcome::Refused(refused)] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert_eq!(refused.refusal, Refusal::IdOutOfWindow);
    assert_eq!(node.status().raft_last, quiet.raft_last);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused_by_name() {
    let one = One::new();
    let node = one.open().await.unwrap();
    ready(&node).await;
    let stranger = SubmittedEntry::sign(consent(1).payload(), &[&testbed::key("stranger")], vec![]);
    let verified = node
        .verify(vec![stranger.unwrap(), consent(2)])
        .await
        .unwrap();
    assert_eq!(
        verified[0].as_ref().unwrap_err().refusal,
        Refusal::KeyUnknown
    );
    assert!(verified[1].is_ok());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_told_and_nothing_of_it_is_written() {
    let mut one = One::new();
    one.tuning.queue_entries_max = 20;
    let node = one.open().await.unwrap();
    ready(&node).await;
    let outcomes = submit(&node, 1..301, Until::Committed).await;
    let accepted = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Accepted(_)))
        .count();
    let overloaded = outcomes
        .iter()
        .filter(|outcome| **outcome == Outcome::Failed(Failure::Overloaded))
        .count();
    assert_eq!(accepted + overloaded, 300, "{outcomes:?}");
    assert!(accepted >= 20 && overloaded > 0);
    assert_eq!(
        node.linearizable(PATIENCE).await.unwrap().size(),
        TreeSize(1 + accepted as u64)
    );
    // What was told to come back later comes in later.
    let again = submit(&node, 301..311, Until::Committed).await;
    assert!(
        again
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Accepted(_))),
        "{again:?}"
    );
    node.shutdown().await;
}

/// A follower that cannot apply neither fills its memory nor stands for election, and takes the rest when it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_takes_no_more_than_it_can_apply() {
    let town = Town::new(3, tuning());
    let nodes = town.open_all().await;
    let leader = net::leader(&nodes).await;
    let slow = nodes.keys().find(|node| **node != leader).unwrap();
    let (leader, slow) = (&nodes[&leader], nodes[slow].clone());
    let size = net::submit(leader, 1..101)
        .await
        .last()
        .unwrap()
        .index
        .size();
    slow.published_at_least(size, PATIENCE).await.unwrap();

    let (release, released) = std::sync::mpsc::channel::<()>();
    let (holds, held) = tokio::sync::oneshot::channel();
    let machine = slow.0.here.machine.clone();
    let holding = std::thread::spawn(move || {
        let _held = machine.hold();
        let _ = holds.send(());
        let _ = released.recv();
    });
    held.await.unwrap();
    let term = leader.status().term;
    let applied = slow.status().raft_applied;
    // Several times what is allowed and one append: all of which the log would hold.
    let unapplied = |node: &Node| node.0.log.bytes_after(applied);
    let mut last = size;
    for first in (0..).map(|round| 1_000 + 200 * round) {
        last = net::submit(leader, first..first + 200)
            .await
            .last()
            .unwrap()
            .index
            .size();
        if unapplied(leader) > 8 * UNAPPLIED_BYTES_MAX {
            break;
        }
    }
    assert!(
        unapplied(&slow) < 5 * UNAPPLIED_BYTES_MAX,
        "{}",
        unapplied(&slow)
    );
    assert_eq!(slow.status().term, term, "it hears the leader");
    assert_eq!(leader.status().term, term);
    release.send(()).unwrap();
    holding.join().unwrap();
    slow.published_at_least(last, PATIENCE).await.unwrap();
    drop(slow);
    net::close(nodes).await;
}

/// What waited in the proposer when the clock was set gets no wrong date, and what comes goes to another leader.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_steps_dates_nothing() {
    let mut town = Town::new(3, tuning());
    let mut nodes = BTreeMap::new();
    let ahead: BTreeMap<u64, Arc<AtomicU64>> = (1..=3).map(|node| (node, Arc::default())).collect();
    for (node, ahead) in &ahead {
        let ahead = ahead.clone();
        town.tuning.clock =
            Clock::from_fn(move || Clock::system().now_ms() + ahead.load(Ordering::Relaxed));
        nodes.insert(*node, town.open(*node).await);
    }
    nodes[&1]
        .published_at_least(TreeSize(1), PATIENCE)
        .await
        .unwrap();
    let size = net::submit(&nodes[&1], 1..2).await[0].index.size();
    for node in nodes.values() {
        node.published_at_least(size, PATIENCE).await.unwrap();
    }
    let leads = net::leader(&nodes).await;
    let leader = &nodes[&leads];
    let mut entries = leader.verify(vec![consent(2), consent(3)]).await.unwrap();
    let mut next = || entries.pop().unwrap().unwrap();
    // Dated ahead, as a batch is that was let in before the step.
    ahead[&leads].store(3_600_000, Ordering::Relaxed);
    let queued = leader.0.here.proposer.submit(next()).unwrap().await;
    assert_eq!(queued, Ok(Outcome::Failed(Failure::NoQuorum)));
    let end = Instant::now() + PATIENCE;
    let refused = leader
        .0
        .here
        .submit(vec![next()], Until::Committed, end)
        .await;
    assert_eq!(refused, [Outcome::Failed(Failure::NoQuorum)]);
    let before = Clock::system().now_ms();
    for (node, number) in [(1, 4), (2, 5), (3, 6)] {
        let accepted = net::submit(&nodes[&node], number..number + 1).await[0];
        let late = accepted.accepted_at_ms.saturating_sub(before);
        assert!(late < PATIENCE.as_millis() as u64, "{late} ms ahead");
    }
    assert_ne!(net::leader(&nodes).await, leads);
    net::close(nodes).await;
}
