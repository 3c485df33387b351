// SPDX-License-Identifier: EUPL-1.2
//! Real folders, real sockets, real Raft at the receiving end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ledger::id::NodeNumber;
use openraft::{RaftSnapshotBuilder, Vote, storage::RaftStateMachine};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    peer::{
        client::Peers, frame::Method, raft_network::Network, rpc, server::Service, tests::Town,
    },
    raft_types::{Raft, TypeConfig},
    store::{
        applied::Applied,
        machine::Machine,
        snapshot::{FILES_MAX, ManifestFile, hash_files},
        tests::{fill, open_in, raft_entries},
    },
};

const TIME: Duration = Duration::from_secs(10);
/// A file of the snapshot that takes more than one window.
const LARGE: &str = "large.sst";
const LARGE_BYTES: u64 = 3 * WINDOW as u64 * CHUNK_BYTES + 7;

fn vote() -> RaftVote {
    Vote::new_committed(1, 1)
}

/// A snapshot to send, and the root in it.
async fn snapshot(dir: &Path) -> (openraft::Snapshot<TypeConfig>, [u8; 32]) {
    let (mut log, mut machine) = open_in(dir).unwrap();
    fill(&mut log, &mut machine, raft_entries(10)).await;
    let mut builder = machine.get_snapshot_builder().await;
    let built = builder.build_snapshot().await.unwrap();
    let whole = *machine.begin_receiving_snapshot().await.unwrap();
    for file in &built.snapshot.manifest().unwrap().files {
        let from = built.snapshot.path().join(&file.name);
        std::fs::copy(from, whole.path().join(&file.name)).unwrap();
    }
    let large: Vec<u8> = (0..LARGE_BYTES).map(|n| ((n * n) >> 7) as u8).collect();
    std::fs::write(whole.path().join(LARGE), large).unwrap();
    let files = hash_files(whole.path(), &Default::default()).unwrap();
    let manifest = Manifest {
        files,
        ..Manifest::clone(&built.snapshot.manifest().unwrap())
    };
    whole.finish(manifest).unwrap();
    let snapshot = openraft::Snapshot {
        meta: built.meta,
        snapshot: Box::new(whole),
    };
    (snapshot, machine.view().unwrap().root().0)
}

/// What a sender has applied, to which nothing is written.
fn idle() -> watch::Receiver<Applied> {
    watch::Sender::new(Applied::nothing()).subscribe()
}

fn offer(snapshot: &openraft::Snapshot<TypeConfig>) -> Offer {
    Offer {
        vote: vote(),
        manifest: Manifest::clone(&snapshot.snapshot.manifest().unwrap()),
    }
}

/// A node that receives.
struct Node {
    dir: TempDir,
    machine: Machine,
    receiver: Arc<Receiver>,
}

impl Node {
    async fn new(peers: Peers) -> Node {
        Node::giving_up_after(TIME, peers).await
    }

    async fn giving_up_after(abandoned: Duration, peers: Peers) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine) = open_in(dir.path()).unwrap();
        let config = Arc::new(openraft::Config::default());
        let raft = Raft::new(
            2,
            config,
            Network::new(peers, machine.applied()),
            log,
            machine.clone(),
        );
        Node {
            dir,
            machine,
            receiver: Arc::new(Receiver::new(raft.await.unwrap()).giving_up_after(abandoned)),
        }
    }

    async fn alone() -> Node {
        Node::new(Town::new().caller(2, &[])).await
    }

    fn root(&self) -> [u8; 32] {
        self.machine.view().unwrap().root().0
    }

    /// Folders below `snapshots/`.
    fn folders(&self) -> usize {
        let items = std::fs::read_dir(self.dir.path().join("snapshots")).unwrap();
        items
            .filter(|item| item.as_ref().unwrap().path().is_dir())
            .count()
    }
}

struct Receiving(Arc<Receiver>);

impl Service for Receiving {
    fn admits(&self, _: NodeNumber) -> bool {
        true
    }

    async fn serve(
        &self,
        _: NodeNumber,
        method: Method,
        body: Bytes,
        _: Duration,
    ) -> Result<Vec<u8>, Denial> {
        match method {
            Method::SnapshotOffer => rpc::answer(&self.0.offer(rpc::question(&body)?).await?),
            Method::SnapshotChunk => rpc::answer(&self.0.chunk(&body).await?),
            Method::SnapshotInstall => rpc::answer(&self.0.install(rpc::question(&body)?).await?),
            _ => Err(Denial::Malformed),
        }
    }
}

/// A receiving node at a socket, behind a way that ends every connection once so many bytes went to the node.
async fn receiving(cut_after: u64) -> (Town, Node, Peers, Arc<AtomicU64>) {
    let town = Town::new();
    let node = Node::new(town.caller(2, &[])).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = listener.local_addr().unwrap();
    let service = Receiving(node.receiver.clone());
    tokio::spawn(town.serving_as(2, listener, service, CancellationToken::new()));
    let passed = Arc::new(AtomicU64::new(0));
    let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peers = town.caller(1, &[(2, way.local_addr().unwrap())]);
    tokio::spawn(pass(way, behind, passed.clone(), cut_after));
    (town, node, peers, passed)
}

async fn pass(way: TcpListener, to: SocketAddr, passed: Arc<AtomicU64>, cut_after: u64) {
    loop {
        let (from, _) = way.accept().await.unwrap();
        let to = TcpStream::connect(to).await.unwrap();
        let passed = passed.clone();
        tokio::spawn(async move {
            let ((mut asks, mut hears), (mut answers, mut goes)) =
                (from.into_split(), to.into_split());
            let back = tokio::spawn(async move {
                let _ = tokio::io::copy(&mut answers, &mut hears).await;
            });
            let mut bytes = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = asks.read(&mut bytes).await {
                let before = passed.fetch_add(count as u64, Ordering::Relaxed);
                let cut = before < cut_after && before + count as u64 >= cut_after;
                if cut || goes.write_all(&bytes[..count]).await.is_err() {
                    break;
                }
            }
            back.abort();
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_sent_and_installed() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, root) = snapshot(dir.path()).await;
    let (_town, node, peers, _) = receiving(u64::MAX).await;
    let sent = send(&peers, NodeNumber(2), vote(), &snapshot, TIME, &idle()).await;
    assert_eq!(sent.unwrap().vote, vote());
    assert_eq!(node.root(), root);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_a_window_resumes_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, root) = snapshot(dir.path()).await;
    let cut_after = LARGE_BYTES / 2;
    let (_town, node, peers, passed) = receiving(cut_after).await;
    let sent = send(&peers, NodeNumber(2), vote(), &snapshot, TIME, &idle()).await;
    assert_eq!(sent.unwrap().vote, vote());
    assert_eq!(node.root(), root);
    let passed = passed.load(Ordering::Relaxed);
    // What was under way is sent again, and what was written is not.
    let again = WINDOW as u64 * CHUNK_BYTES;
    assert!(passed < LARGE_BYTES + again + LARGE_BYTES / 8, "{passed}");
}

/// Takes so many chunks of the large file after each offer, and no more.
struct Stopping {
    receiver: Arc<Receiver>,
    large: u32,
    /// How much of it is there, and how much is taken until it is offered again.
    taken: watch::Sender<(u64, u64)>,
}

const TAKEN_AT_ONCE: u64 = 4 * CHUNK_BYTES;

impl Service for Stopping {
    fn admits(&self, _: NodeNumber) -> bool {
        true
    }

    async fn serve(
        &self,
        from: NodeNumber,
        method: Method,
        body: Bytes,
        time: Duration,
    ) -> Result<Vec<u8>, Denial> {
        let inner = Receiving(self.receiver.clone());
        match method {
            Method::SnapshotOffer => {
                let answer = self.receiver.offer(rpc::question(&body)?).await?;
                if let OfferAnswer::Have(have) = &answer {
                    let have = have[self.large as usize];
                    self.taken.send_replace((have, have + TAKEN_AT_ONCE));
                }
                rpc::answer(&answer)
            }
            Method::SnapshotChunk => {
                let (head, _) = ChunkHead::split(&body)?;
                let mut taken = self.taken.subscribe();
                let is_large = head.file == self.large;
                if is_large && head.offset >= taken.borrow().1 {
                    // What is taken is written first.
                    let all = taken.wait_for(|(have, taken)| have == taken);
                    all.await.map_err(|_| Denial::Late)?;
                    return Err(Denial::Late);
                }
                let answer = inner.serve(from, method, body, time).await?;
                if is_large {
                    let end = head.offset + head.bytes;
                    self.taken.send_modify(|(have, _)| *have = end.max(*have));
                }
                Ok(answer)
            }
            method => inner.serve(from, method, body, time).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_breaks_again_and_again_arrives_as_long_as_it_gets_further() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, root) = snapshot(dir.path()).await;
    let town = Town::new();
    let node = Node::new(town.caller(2, &[])).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peers = town.caller(1, &[(2, listener.local_addr().unwrap())]);
    let files = &offer(&snapshot).manifest.files;
    let large = files.iter().position(|file| file.name == LARGE).unwrap();
    let service = Stopping {
        receiver: node.receiver.clone(),
        large: large as u32,
        taken: watch::Sender::new((0, 0)),
    };
    tokio::spawn(town.serving_as(2, listener, service, CancellationToken::new()));
    let sent = send(&peers, NodeNumber(2), vote(), &snapshot, TIME, &idle()).await;
    assert_eq!(sent.unwrap().vote, vote());
    assert_eq!(node.root(), root);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_not_installed_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, root) = snapshot(dir.path()).await;
    let (_town, node, peers, _) = receiving(u64::MAX).await;
    let path = snapshot.snapshot.path().join(LARGE);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[LARGE_BYTES as usize / 2] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let sent = send(&peers, NodeNumber(2), vote(), &snapshot, TIME, &idle()).await;
    assert!(sent.is_err());
    assert_ne!(node.root(), root);
    assert_eq!(node.folders(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leaves_the_folder_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, _) = snapshot(dir.path()).await;
    let node = Node::alone().await;
    for name in ["../escape", "a/b", "", ".", "..", LARGE] {
        let mut offer = offer(&snapshot);
        offer.manifest.files[0].name = name.into();
        let denied = node.receiver.offer(offer).await;
        assert_eq!(denied.unwrap_err(), Denial::Malformed, "{name}");
    }
    // Each takes an inode before a byte of it is sent.
    let mut many = offer(&snapshot);
    let file = many.manifest.files[0].clone();
    many.manifest.files = (0..=FILES_MAX)
        .map(|number| ManifestFile {
            name: number.to_string(),
            ..file.clone()
        })
        .collect();
    let denied = node.receiver.offer(many).await;
    assert_eq!(denied.unwrap_err(), Denial::Malformed);
    assert_eq!(node.folders(), 0);
}

/// The bodies of the chunks of the large file, in its order, and its place in the manifest.
fn chunks(offer: &Offer, dir: &Path) -> (usize, Vec<Bytes>) {
    let files = &offer.manifest.files;
    let place = files.iter().position(|file| file.name == LARGE).unwrap();
    let bytes = std::fs::read(dir.join(LARGE)).unwrap();
    let pieces = bytes.chunks(CHUNK_BYTES as usize).enumerate();
    let bodies = pieces.map(|(number, piece)| {
        let head = ChunkHead {
            id: manifest_id(&offer.manifest),
            file: place as u32,
            offset: number as u64 * CHUNK_BYTES,
            bytes: piece.len() as u64,
        };
        postcard::to_extend(&head, Vec::new())
            .map(|head: Vec<u8>| [head.as_slice(), piece].concat().into())
            .unwrap()
    });
    (place, bodies.collect())
}

async fn have(node: &Node, snapshot: &openraft::Snapshot<TypeConfig>, place: usize) -> u64 {
    match node.receiver.offer(offer(snapshot)).await.unwrap() {
        OfferAnswer::Have(have) => have[place],
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_written_in_order_whatever_order_they_come_in() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, _) = snapshot(dir.path()).await;
    let node = Node::alone().await;
    let (place, bodies) = chunks(&offer(&snapshot), snapshot.snapshot.path());
    assert_eq!(have(&node, &snapshot, place).await, 0);
    // Polled in this order: all but the last find that it is not their turn.
    let backwards = bodies[..WINDOW].iter().rev();
    let written = backwards.map(|body| node.receiver.chunk(body));
    for written in futures::future::join_all(written).await {
        written.unwrap();
    }
    // One whose answer was lost is there already.
    node.receiver.chunk(&bodies[1]).await.unwrap();
    let at = WINDOW as u64 * CHUNK_BYTES;
    assert_eq!(have(&node, &snapshot, place).await, at);
    // Nothing that is under way can be so far ahead.
    let ahead = node.receiver.chunk(&bodies[2 * WINDOW + 1]).await;
    assert!(matches!(ahead, Err(Denial::Refused(_))), "{ahead:?}");
    let early = node.receiver.install(offer(&snapshot)).await;
    assert!(matches!(early, Err(Denial::Refused(_))), "{early:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_waits_for_a_lost_one_ends_with_the_next_offer() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, _) = snapshot(dir.path()).await;
    let node = Node::alone().await;
    let (place, bodies) = chunks(&offer(&snapshot), snapshot.snapshot.path());
    have(&node, &snapshot, place).await;
    node.receiver.chunk(&bodies[0]).await.unwrap();
    let waiting = tokio::spawn({
        let (receiver, body) = (node.receiver.clone(), bodies[2].clone());
        async move { receiver.chunk(&body).await }
    });
    // One looks whether anything comes at all.
    while node.receiver.moved.receiver_count() < 2 {
        tokio::task::yield_now().await;
    }
    // It may look at the offer after it was repeated: then it waits on, until the next one.
    let repeat = async {
        let mut offers = tokio::time::interval(Duration::from_millis(20));
        while !waiting.is_finished() {
            offers.tick().await;
            assert_eq!(have(&node, &snapshot, place).await, CHUNK_BYTES);
        }
    };
    tokio::time::timeout(TIME, repeat).await.unwrap();
    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(Denial::Refused(_))), "{ended:?}");
    node.receiver.chunk(&bodies[1]).await.unwrap();
    assert_eq!(have(&node, &snapshot, place).await, 2 * CHUNK_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_offer_takes_the_place_of_the_one_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, _) = snapshot(dir.path()).await;
    let node = Node::alone().await;
    let (place, bodies) = chunks(&offer(&snapshot), snapshot.snapshot.path());
    have(&node, &snapshot, place).await;
    node.receiver.chunk(&bodies[0]).await.unwrap();
    let mut other = offer(&snapshot);
    other.manifest.tree_size += 1;
    let answer = node.receiver.offer(other).await.unwrap();
    assert!(matches!(answer, OfferAnswer::Have(have) if have.iter().all(|have| *have == 0)));
    let stray = node.receiver.chunk(&bodies[1]).await;
    assert!(matches!(stray, Err(Denial::Refused(_))), "{stray:?}");
    // The first folder goes with who verified in it.
    while node.folders() > 1 {
        tokio::task::yield_now().await;
    }
}

/// Whether that many folders are left, before long.
async fn comes_to(node: &Node, folders: usize) {
    let left = async {
        while node.folders() != folders {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIME, left).await.unwrap();
}

/// The bodies of the chunks of all files, as a sender reads them.
fn all_chunks(offer: &Offer, dir: &Path) -> Vec<Bytes> {
    let mut reader = send::Reader::new(dir, &offer.manifest, Vec::new());
    let mut bodies = Vec::new();
    while let (next, Some((_, body))) = reader.next().unwrap() {
        bodies.push(body.into());
        reader = next;
    }
    bodies
}

/// The eraser waits for former folders to go, and nobody comes back to this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_which_nothing_more_comes_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, root) = snapshot(dir.path()).await;
    let soon = Duration::from_millis(200);
    let node = Node::giving_up_after(soon, Town::new().caller(2, &[])).await;
    let (place, bodies) = chunks(&offer(&snapshot), snapshot.snapshot.path());
    have(&node, &snapshot, place).await;
    node.receiver.chunk(&bodies[0]).await.unwrap();
    comes_to(&node, 0).await;
    let stray = node.receiver.chunk(&bodies[1]).await;
    assert!(matches!(stray, Err(Denial::Refused(_))), "{stray:?}");
    // It may come anew.
    assert_eq!(have(&node, &snapshot, place).await, 0);
    for body in all_chunks(&offer(&snapshot), snapshot.snapshot.path()) {
        node.receiver.chunk(&body).await.unwrap();
    }
    node.receiver.install(offer(&snapshot)).await.unwrap();
    assert_eq!(node.root(), root);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_whose_caller_is_gone_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, root) = snapshot(dir.path()).await;
    let node = Node::alone().await;
    let (place, _) = chunks(&offer(&snapshot), snapshot.snapshot.path());
    have(&node, &snapshot, place).await;
    for body in all_chunks(&offer(&snapshot), snapshot.snapshot.path()) {
        node.receiver.chunk(&body).await.unwrap();
    }
    let first = futures::poll!(Box::pin(node.receiver.install(offer(&snapshot))));
    assert!(first.is_pending());
    // The caller is gone, and comes back: nothing is to be sent again.
    assert_eq!(have(&node, &snapshot, place).await, LARGE_BYTES);
    assert_eq!(node.root(), root);
    assert_eq!(node.receiver.install(offer(&snapshot)).await, Ok(vote()));
}

/// A sender that was away meanwhile made a newer snapshot, and most files are the same.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_verified_for_another_snapshot_are_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, root) = snapshot(dir.path()).await;
    let node = Node::alone().await;
    let mut former = offer(&snapshot);
    former.manifest.tree_size += 1;
    let (place, bodies) = chunks(&former, snapshot.snapshot.path());
    node.receiver.offer(former.clone()).await.unwrap();
    for body in &bodies {
        node.receiver.chunk(body).await.unwrap();
    }
    // The same name with another content is another file.
    let mut other = former.clone();
    other.manifest.files[place].sha256[0] ^= 1;
    let answer = node.receiver.offer(other).await.unwrap();
    assert!(matches!(answer, OfferAnswer::Have(have) if have[place] == 0));
    comes_to(&node, 1).await;

    node.receiver.offer(former.clone()).await.unwrap();
    for body in &bodies {
        node.receiver.chunk(body).await.unwrap();
    }
    assert_eq!(have(&node, &snapshot, place).await, LARGE_BYTES);
    comes_to(&node, 1).await;
    for body in all_chunks(&offer(&snapshot), snapshot.snapshot.path()) {
        node.receiver.chunk(&body).await.unwrap();
    }
    node.receiver.install(offer(&snapshot)).await.unwrap();
    assert_eq!(node.root(), root);
}
