// SPDX-License-Identifier: EUPL-1.2
//! What the ledger's core does for each entry, from its bytes to its receipt: one list, timed by `benches/time.rs` and counted by `main.rs`.
//!
//! Inputs are made beforehand and from no chance, so that a run counts the same instructions as the one before.

// A bench: a panic is how it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;
#[allow(dead_code)]
#[path = "../../tests/admission/town.rs"]
mod town;

use std::{collections::BTreeMap, hint::black_box, rc::Rc};

use ledger::{
    admission::{self, Stamp},
    body::Body,
    bytes,
    entry::{SequencedEntry, StoredEntry, SubmittedEntry, VerifiedEntry, Verifier},
    finding::Findings,
    fold::{Given, Pass},
    hash::Hash,
    id::KeyId,
    key::PublicKey,
    merkle::{Frontier, prove_inclusion, verify_inclusion},
    number::EntryIndex,
    receipt::{Receipt, VerifiedNote},
    state_map,
};

use fixture::{Fixture, SIGNER};
use town::{LEDGER, START_MS, key};

/// A function that is hot, with its input.
pub struct Hot {
    /// Its name in reports and in the baseline.
    pub name: &'static str,
    ready: Box<dyn FnMut() -> Box<dyn FnOnce()>>,
}

impl Hot {
    fn new<I: 'static, O>(
        name: &'static str,
        mut input: impl FnMut() -> I + 'static,
        work: impl Fn(I) -> O + 'static,
    ) -> Hot {
        let work = Rc::new(work);
        let ready = move || -> Box<dyn FnOnce()> {
            let (work, input) = (Rc::clone(&work), input());
            Box::new(move || {
                black_box(work(black_box(input)));
            })
        };
        Hot {
            name,
            ready: Box::new(ready),
        }
    }

    /// Makes an input; what it returns does the work once.
    pub fn ready(&mut self) -> Box<dyn FnOnce()> {
        (self.ready)()
    }
}

/// Entries in what is done by the batch: as many as a node verifies in one go.
const BATCH: u64 = 32;
/// Changes, leaves and keys in what is done by many.
const MANY: usize = 64;

/// All of them, in the order in which an entry meets them.
pub fn all() -> Vec<Hot> {
    let mut fixture = Fixture::new();
    let next = fixture.next();
    let batch = fixture.batch(BATCH);
    let fixture = Rc::new(fixture);
    let verified = verify(&next);
    let mut all = bytes_in(&next);
    all.extend(signatures(&next, batch));
    all.extend(admission(&fixture, &verified));
    all.extend(stored(&fixture, &verified));
    all.extend(tree(&fixture));
    all.extend(folded(&fixture));
    all.extend(receipts(&fixture));
    all
}

fn keys() -> BTreeMap<KeyId, PublicKey> {
    let public = key(SIGNER).public();
    BTreeMap::from([(public.key_id(), public)])
}

fn verify(entry: &SubmittedEntry) -> VerifiedEntry {
    ledger::entry::verify(entry.clone(), LEDGER, &keys()).unwrap()
}

/// Reading and writing an entry's bytes, at the door and in the Raft log.
fn bytes_in(entry: &SubmittedEntry) -> Vec<Hot> {
    let (line, encoded) = (Rc::new(entry.to_wire()), Rc::new(entry.encode()));
    let entry = Rc::new(entry.clone());
    let of = move || Rc::clone(&entry);
    vec![
        Hot::new(
            "entry-from-wire",
            move || Rc::clone(&line),
            |line| SubmittedEntry::from_wire(line.as_bytes()).unwrap(),
        ),
        Hot::new("entry-encode", of.clone(), |entry| entry.encode()),
        Hot::new(
            "entry-decode",
            move || Rc::clone(&encoded),
            |bytes| SubmittedEntry::decode(&bytes).unwrap(),
        ),
        Hot::new("body-parse", of.clone(), |entry| {
            Body::parse(entry.payload(), entry.disclosures()).unwrap()
        }),
        Hot::new("pae-hash", of, |entry| {
            Hash::of(&[&bytes::pae(entry.payload())])
        }),
    ]
}

fn signatures(entry: &SubmittedEntry, batch: Vec<SubmittedEntry>) -> Vec<Hot> {
    let (keys, batch) = (Rc::new(keys()), Rc::new(batch));
    let of = {
        let entry = entry.clone();
        move || (Rc::clone(&keys), entry.clone())
    };
    vec![
        Hot::new("signature-verify", of.clone(), |(keys, entry)| {
            let row = &entry.sigs().rows()[0];
            let key = keys[&row.key_id];
            key.verify(entry.pae(), row.signature.ed25519()).unwrap();
        }),
        Hot::new("entry-verify", of.clone(), |(keys, entry)| {
            Verifier::new(LEDGER, &*keys).verify(entry).unwrap()
        }),
        Hot::new(
            "batch-verify",
            move || (of().0, Rc::clone(&batch)),
            |(keys, batch)| {
                let mut verifier = Verifier::new(LEDGER, &*keys);
                for entry in batch.iter() {
                    verifier.verify_signatures(entry).unwrap();
                }
            },
        ),
    ]
}

fn stamp(index: u64) -> Stamp {
    Stamp {
        index: EntryIndex(index),
        accepted_at_ms: START_MS,
        body_salt: [9; 32],
    }
}

fn admission(fixture: &Rc<Fixture>, entry: &VerifiedEntry) -> Vec<Hot> {
    let of = {
        let (fixture, entry) = (Rc::clone(fixture), entry.clone());
        move || (Rc::clone(&fixture), entry.clone())
    };
    vec![
        Hot::new("admission-precheck", of.clone(), |(fixture, entry)| {
            let town = &fixture.town;
            let next = EntryIndex(town.size());
            admission::precheck(&town.state, &entry, next, START_MS, &town.ledger)
                .unwrap()
                .unwrap()
        }),
        Hot::new("admission-apply", of, |(fixture, entry)| {
            let town = &fixture.town;
            let stamp = stamp(town.size());
            match admission::apply(&town.state, entry, stamp, &town.ledger).unwrap() {
                admission::Applied::Accepted(effects) => effects,
                other => panic!("not accepted: {other:?}"),
            }
        }),
    ]
}

/// The leaf of an entry, and what a node keeps of it.
fn stored(fixture: &Fixture, entry: &VerifiedEntry) -> Vec<Hot> {
    let index = fixture.town.size();
    let sequence = move |entry: VerifiedEntry| {
        let Stamp {
            index,
            accepted_at_ms,
            body_salt,
        } = stamp(index);
        SequencedEntry::new(entry, index, accepted_at_ms, Findings(0), 1, body_salt)
    };
    let sequenced = sequence(entry.clone());
    let encoded = Rc::new(sequenced.clone().into_stored().encode());
    let entry = entry.clone();
    vec![
        Hot::new("leaf", move || entry.clone(), sequence),
        Hot::new(
            "stored-encode",
            move || sequenced.clone(),
            |entry| entry.into_stored().encode(),
        ),
        Hot::new(
            "stored-decode",
            move || Rc::clone(&encoded),
            |of| StoredEntry::decode(&of.text, &of.bytes).unwrap(),
        ),
    ]
}

fn tree(fixture: &Rc<Fixture>) -> Vec<Hot> {
    let of = {
        let fixture = Rc::clone(fixture);
        move || Rc::clone(&fixture)
    };
    let proof = {
        let fixture = Rc::clone(fixture);
        move || {
            let index = EntryIndex(MANY as u64 / 2);
            let path = prove_inclusion(index, fixture.size(), &fixture.tree).unwrap();
            (Rc::clone(&fixture), index, path)
        }
    };
    vec![
        Hot::new(
            "tree-append",
            {
                let of = of.clone();
                move || {
                    let fixture = of();
                    let frontier = Frontier::read(fixture.size(), &fixture.tree).unwrap();
                    (fixture, frontier)
                }
            },
            |(fixture, mut frontier)| {
                let mut written = 0;
                for change in fixture.changes.iter().take(MANY) {
                    frontier.append(change.leaf_hash, |level, _, _| written += u64::from(level));
                }
                (frontier.root(), written)
            },
        ),
        Hot::new("tree-prove", of, |fixture| {
            let index = EntryIndex(MANY as u64 / 2);
            prove_inclusion(index, fixture.size(), &fixture.tree).unwrap()
        }),
        Hot::new("tree-verify", proof, |(fixture, index, path)| {
            let leaf = fixture.changes[MANY / 2].leaf_hash;
            verify_inclusion(index, fixture.size(), leaf, &path).unwrap()
        }),
    ]
}

fn folded(fixture: &Rc<Fixture>) -> Vec<Hot> {
    let of = {
        let fixture = Rc::clone(fixture);
        move || Rc::clone(&fixture)
    };
    let changed = (0..MANY as u64).map(|number| {
        // Every other one is there already.
        let key = Hash::of(&[&(number * 997 % 4000).to_le_bytes()]);
        (key, Some(Hash::of(&[b"value", &number.to_be_bytes()])))
    });
    let changed: Rc<BTreeMap<Hash, Option<Hash>>> = Rc::new(changed.collect());
    vec![
        Hot::new(
            "state-map-update",
            {
                let of = of.clone();
                move || (of(), Rc::clone(&changed))
            },
            |(fixture, changed)| state_map::update(&changed, &fixture.fold).unwrap(),
        ),
        Hot::new("list-fold", of, |fixture| {
            let given = Given::default();
            let mut pass = Pass::new(None, usize::MAX, &given);
            for change in fixture.changes.iter().take(MANY) {
                pass.add(change, &fixture.fold).unwrap();
            }
            pass.step(usize::MAX, &fixture.fold).unwrap()
        }),
    ]
}

fn receipts(fixture: &Rc<Fixture>) -> Vec<Hot> {
    let index = MANY as u64 / 2;
    let receipt = Rc::new(fixture.receipt(index));
    let text = Rc::new(receipt.to_string());
    let policies = Rc::new(fixture.policies());
    let note = Rc::new(VerifiedNote::open(&receipt.note, &policies).unwrap());
    let entry = Rc::new(fixture.town.entry(index).submitted.clone());
    let of = {
        let receipt = Rc::clone(&receipt);
        move || Rc::clone(&receipt)
    };
    vec![
        Hot::new("receipt-format", of.clone(), |receipt| receipt.to_string()),
        Hot::new(
            "receipt-parse",
            move || Rc::clone(&text),
            |text| Receipt::parse(text.as_bytes()).unwrap(),
        ),
        Hot::new(
            "checkpoint-open",
            {
                let of = of.clone();
                move || (of(), Rc::clone(&policies))
            },
            |(receipt, policies)| VerifiedNote::open(&receipt.note, &policies).unwrap(),
        ),
        Hot::new(
            "receipt-verify",
            move || (of(), Rc::clone(&entry), Rc::clone(&note)),
            |(receipt, entry, note)| receipt.verify_in(&note, &entry).unwrap(),
        ),
    ]
}
