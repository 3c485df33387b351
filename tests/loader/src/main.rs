// SPDX-License-Identifier: EUPL-1.2
//! `visto-load`: fills the data folders of the nodes of a test ledger with the entries on stdin, one a line as `POST /v1/entries` takes them.
//!
//! ```text
//! visto-load --ledger NAME --genesis FILE --build FOLDER --log SEED --node N NODE-SEED COSIGN-SEED DATA [--node …] < entries.ndjson
//! ```
//!
//! Keys are seeds in hex: a test ledger's keys are no secrets. The nodes must not run, and their folders be empty; [`cluster::load`] says how
//! they are filled. Prints the number of entries. What is refused ends it, with the line.
// A tool of the tests: a panic is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, stdin};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use cluster::NodeKeys;
use cluster::load::{Loader, Member};
use ledger::entry::SubmittedEntry;
use ledger::id::NodeNumber;
use ledger::key::SigningKey;

/// Entries of one raft_entry.
const BATCH: usize = 500;
/// As many as a running node lets wait before it folds.
const FOLD_ENTRIES: u64 = 200_000;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut ledger, mut genesis, mut build) = (String::new(), None, PathBuf::new());
    let (mut log, mut nodes) = (None, Vec::new());
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().expect("a value after each flag");
        match flag.as_str() {
            "--ledger" => ledger = value(),
            "--genesis" => genesis = Some(std::fs::read(value()).expect("the genesis file")),
            "--build" => build = value().into(),
            "--log" => log = Some(value()),
            "--node" => nodes.push((value(), value(), value(), value())),
            other => panic!("{other}: no such flag"),
        }
    }
    let log = log.expect("--log");
    let members = nodes.into_iter().map(|(node, own, cosign, data)| Member {
        node: NodeNumber(node.parse().expect("a node's number")),
        data: data.into(),
        keys: NodeKeys {
            node: key(&own),
            cosign: key(&cosign),
            log: vec![key(&log)],
        },
    });
    let genesis = entry(&genesis.expect("--genesis"));
    let mut loader = Loader::create(&build, &ledger, genesis, members.collect())
        .await
        .expect("a ledger");

    let (send, batches) = sync_channel(4);
    let reading = std::thread::spawn(move || {
        let mut lines = stdin().lock().split(b'\n');
        loop {
            let lines = lines.by_ref().take(BATCH).map(|line| line.expect("stdin"));
            let batch: Vec<SubmittedEntry> = lines.map(|line| entry(&line)).collect();
            if batch.is_empty() || send.send(batch).is_err() {
                return;
            }
        }
    });
    let mut folded = 0;
    while let Ok(batch) = batches.recv() {
        loader.append(&batch).await.expect("accepted entries");
        if loader.size() >= folded + FOLD_ENTRIES {
            loader.fold().await.expect("a fold");
            folded = loader.size();
        }
    }
    reading.join().expect("lines that are entries");
    println!("{}", loader.finish().await.expect("the nodes' folders"));
}

fn entry(line: &[u8]) -> SubmittedEntry {
    SubmittedEntry::from_wire(line).expect("an entry")
}

fn key(seed: &str) -> SigningKey {
    let byte =
        |at: usize| -> Option<u8> { u8::from_str_radix(seed.get(2 * at..2 * at + 2)?, 16).ok() };
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let bytes = bytes.expect("a seed in hex");
    SigningKey::from_seed(bytes.try_into().expect("32 bytes"))
}
