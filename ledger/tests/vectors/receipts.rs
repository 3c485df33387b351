// SPDX-License-Identifier: EUPL-1.2
//! Receipts and the C2SP formats under them, and the offline verifier that reads them.

use ledger::bytes::leaf_hash;
use ledger::checkpoint::Checkpoint;
use ledger::cosignature::cosign;
use ledger::entry::SubmittedEntry;
use ledger::hash::Hash;
use ledger::id::NodeNumber;
use ledger::merkle::{self, MemoryNodes, prove_consistency, prove_inclusion};
use ledger::note::{KeyName, Note, SignatureLine, SignatureType, VerifierKey};
use ledger::number::{EntryIndex, TreeSize};
use ledger::policy::{Policy, PolicySet, VerifyError};
use ledger::receipt::{self, Receipt, ReceiptError, VerifiedNote, VerifiedReceipt};
use ledger::tlog_proof::TlogProof;
use proptest::prelude::*;

use crate::file::{Value, bytes, cases, entry, hash, list, number, section, signing_key, text};

/// Log and nodes of the vectors, a majority of them needed.
pub(crate) fn policies() -> PolicySet {
    let case = section("receipt");
    let vkey = |text: &Value| VerifierKey::parse(text.as_str().unwrap()).unwrap();
    let nodes = list(&case["node_vkeys"]);
    let nodes: Vec<_> = (1..).map(NodeNumber).zip(nodes.iter().map(vkey)).collect();
    PolicySet::from(Policy::majority(&vkey(&case["log_vkey"]), &nodes).unwrap())
}

fn submitted(name: &str) -> SubmittedEntry {
    SubmittedEntry::from_wire(text(entry(name), "wire").as_bytes()).unwrap()
}

fn verify(name: &str, receipt: &[u8]) -> Result<VerifiedReceipt, ReceiptError> {
    receipt::verify(&submitted(name), &Receipt::parse(receipt)?, &policies())
}

/// All leaves of the vectors' ledger.
fn tree() -> MemoryNodes {
    MemoryNodes::from_leaf_hashes(cases("entries").iter().map(|case| hash(case, "leaf_hash")))
}

#[test]
fn receipts_are_made_again() {
    let (case, tree) = (section("receipt"), tree());
    let name = |text: String| KeyName::parse(&text).unwrap();
    let origin = name(text(case, "origin").into());
    let checkpoint = Checkpoint {
        origin: origin.clone(),
        size: tree.size(),
        root: tree.root(),
    };
    assert_eq!(tree.size(), TreeSize(number(case, "size")));
    assert_eq!(tree.root(), hash(case, "root"));
    let body = checkpoint.to_text();
    let mut lines = vec![SignatureLine::sign(&origin, &signing_key("log"), &body)];
    let given = Note::parse(text(case, "checkpoint").as_bytes()).unwrap();
    for (number, line) in (1..).zip(&given.signatures()[1..]) {
        let time_s = u64::from_be_bytes(line.signature[..8].try_into().unwrap());
        let node = name(format!("{}/node/{number}", crate::file::ledger()));
        lines.push(cosign(
            &node,
            &signing_key(&format!("cosign-{number}")),
            &body,
            time_s,
        ));
    }
    let note = Note::new(body, lines).unwrap();
    assert_eq!(note.to_string(), text(case, "checkpoint"));
    for proof in list(&case["proofs"]) {
        let entry = entry(text(proof, "entry"));
        let index = EntryIndex(number(entry, "index"));
        let (meta, body_salt) = ledger::bytes::extra_decode(&bytes(proof, "extra")).unwrap();
        let path = prove_inclusion(index, tree.size(), &tree).unwrap();
        let receipt = Receipt {
            index,
            meta,
            body_salt,
            path,
            note: note.clone(),
        };
        assert_eq!(receipt.to_string(), text(proof, "tlog_proof"));
        assert_eq!(
            Receipt::parse(text(proof, "tlog_proof").as_bytes()),
            Ok(receipt)
        );
    }
}

#[test]
fn receipts_hold() {
    for proof in list(&section("receipt")["proofs"]) {
        let (name, receipt) = (text(proof, "entry"), text(proof, "tlog_proof"));
        let (verified, entry) = (verify(name, receipt.as_bytes()).unwrap(), entry(name));
        assert_eq!(verified.index(), EntryIndex(number(entry, "index")));
        assert_eq!(verified.leaf_hash(), hash(entry, "leaf_hash"));
        assert_eq!(
            verified.meta().accepted_at_ms,
            number(entry, "accepted_at_ms")
        );
        assert_eq!(
            u64::from(verified.meta().findings.0),
            number(entry, "findings")
        );
        assert_eq!(verified.checkpoint().cosignatures().len(), 3);
        let (earliest, latest) = verified.cosigned_between_s().unwrap();
        assert_eq!(latest - earliest, 2);
        let submitted = submitted(name);
        let body = ledger::body::Body::parse(submitted.payload(), submitted.disclosures()).unwrap();
        assert_eq!(verified.agree_with(&body), Ok(()));
        let mut foreign = body;
        foreign.common.ledger.push('x');
        assert_eq!(verified.agree_with(&foreign), Err(ReceiptError::Ledger));
    }
}

#[test]
fn refused_receipts() {
    let mut count = 0;
    for case in cases("refuse")
        .iter()
        .filter(|case| case["kind"] == "receipt")
    {
        let result = verify(text(case, "entry"), text(case, "input").as_bytes());
        assert!(result.is_err(), "{}", text(case, "name"));
        count += 1;
    }
    assert_eq!(count, 15);
}

#[test]
fn no_byte_of_a_receipt_changes_unseen() {
    let case = &list(&section("receipt")["proofs"])[2];
    let (entry, policies) = (submitted(text(case, "entry")), policies());
    let original = text(case, "tlog_proof").as_bytes();
    let holds = |bytes: &[u8]| {
        Receipt::parse(bytes).is_ok_and(|it| receipt::verify(&entry, &it, &policies).is_ok())
    };
    assert!(holds(original));
    for at in 0..original.len() {
        let mut others = vec![b' ', b'\n', b'0', b'A', b'=', b'/', 0, 0xff];
        others.extend((0..8).map(|bit| original[at] ^ (1 << bit)));
        for other in others.into_iter().filter(|other| *other != original[at]) {
            let mut changed = original.to_vec();
            changed[at] = other;
            assert!(!holds(&changed), "byte {at} as {other:#04x}");
        }
        // Whole lines may go as long as a quorum stays.
        assert!(
            original[..at].ends_with(b"\n") || !holds(&original[..at]),
            "cut at {at}"
        );
        assert!(
            !holds(&[&original[..at], &original[at + 1..]].concat()),
            "without byte {at}"
        );
    }
}

/// The whole check at once, step by step as the byte specification tells it: what the two halves are held against.
fn whole(
    entry: &SubmittedEntry,
    receipt: &Receipt,
    policies: &PolicySet,
) -> Result<(EntryIndex, Hash), ReceiptError> {
    use ledger::bytes;
    let verified = policies
        .verify(&receipt.note)
        .map_err(ReceiptError::Checkpoint)?;
    let checkpoint = verified.checkpoint();
    let keys = policies.at_size(checkpoint.size).unwrap().keys();
    for line in receipt.note.signatures() {
        let near = |key: &&VerifierKey| {
            let (name, id) = (*key.name() == line.name, key.key_id() == line.key_id);
            name != id && key.signature_type().signature_bytes() == line.signature.len()
        };
        let known = |key: &&VerifierKey| *key.name() == line.name && key.key_id() == line.key_id;
        if !keys.iter().any(|key| known(&key)) && keys.iter().any(|key| near(&key)) {
            return Err(ReceiptError::Line);
        }
    }
    let genesis = policies.genesis();
    if receipt.index.0 == 0 && genesis.is_some_and(|it| it != Hash::of(&[entry.pae()])) {
        return Err(ReceiptError::Genesis);
    }
    let salt = &receipt.body_salt;
    let meta = bytes::meta_commit(&bytes::meta_salt(salt), &receipt.meta);
    let body = bytes::body_commit(salt, entry.pae(), &entry.sigs().encode());
    let leaf = leaf_hash(&bytes::leaf(&meta, &body));
    let led = merkle::verify_inclusion(receipt.index, checkpoint.size, leaf, &receipt.path);
    if led.map_err(ReceiptError::Proof)? != checkpoint.root {
        return Err(ReceiptError::Proof(merkle::ProofError::OtherRoot));
    }
    if receipt.meta.first_key != entry.sigs().first() {
        return Err(ReceiptError::Meta);
    }
    Ok((receipt.index, leaf))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Notes are opened once and kept, as a provider does; whatever is spoiled, the halves say what the whole says.
    #[test]
    fn a_kept_note_and_a_receipt_say_what_the_whole_check_says(
        of in 0_usize..4, shown_for in 0_usize..4, under in 0_usize..4, spoil in 0_u8..12,
        at in any::<prop::sample::Index>(), bit in 0_u8..8, named in any::<bool>(),
    ) {
        let section = section("receipt");
        let proofs = list(&section["proofs"]);
        let proof = |at: usize| &proofs[at % proofs.len()];
        let receipt = |at| Receipt::parse(text(proof(at), "tlog_proof").as_bytes()).unwrap();
        let entry = submitted(text(proof(shown_for), "entry"));
        let first = submitted(text(proof(0), "entry"));
        let mut set = policies();
        if named {
            set = set.with_genesis(Hash::of(&[first.pae()]));
        }
        let mut it = receipt(of);
        let flip = |bytes: &mut [u8]| bytes[at.index(bytes.len())] ^= 1 << bit;
        let mut lines = it.note.signatures().to_vec();
        let place = at.index(lines.len());
        match spoil {
            0 => flip(&mut it.body_salt),
            1 if !it.path.is_empty() => {
                let place = at.index(it.path.len());
                flip(&mut it.path[place].0);
            }
            2 => it.index.0 ^= 1 << bit,
            3 => it.meta.findings.0 ^= 1 << bit,
            4 => flip(&mut it.meta.first_key.0.0),
            5 => flip(&mut lines[place].signature),
            6 => lines[place].key_id.0[0] ^= 1 << bit,
            7 => lines[place].name = KeyName::parse("w.example").unwrap(),
            8 if lines.len() > 1 => drop(lines.remove(place)),
            9 => lines.reverse(),
            _ => {}
        }
        it.note = Note::new(it.note.text().into(), lines).unwrap();
        let expected = whole(&entry, &it, &set);
        let plain = |it: VerifiedReceipt| (it.index(), it.leaf_hash());
        prop_assert_eq!(receipt::verify(&entry, &it, &set).map(plain), expected);
        match VerifiedNote::open(&it.note, &set) {
            Ok(note) => prop_assert_eq!(it.verify_in(&note, &entry).map(plain), expected),
            Err(error) => prop_assert_eq!(Err(error), expected),
        }
        // Under a note kept from another receipt it holds if and only if that is the same note, byte by byte.
        let kept = VerifiedNote::open(&receipt(under).note, &set).unwrap();
        let judged = it.verify_in(&kept, &entry).map(plain);
        if it.note == receipt(under).note {
            prop_assert_eq!(judged, expected);
        } else {
            prop_assert_eq!(judged, Err(ReceiptError::OtherNote));
        }
    }
}

#[test]
fn any_two_cosignatures_make_the_quorum_and_strangers_pass() {
    let case = &list(&section("receipt")["proofs"])[2];
    let (entry, policies) = (submitted(text(case, "entry")), policies());
    let receipt = Receipt::parse(text(case, "tlog_proof").as_bytes()).unwrap();
    let with = |lines: Vec<SignatureLine>| {
        let note = Note::new(receipt.note.text().into(), lines).unwrap();
        receipt::verify(
            &entry,
            &Receipt {
                note,
                ..receipt.clone()
            },
            &policies,
        )
    };
    let [log, one, two, three] = receipt.note.signatures() else {
        panic!("four lines")
    };
    let lines =
        |lines: &[&SignatureLine]| lines.iter().map(|line| (*line).clone()).collect::<Vec<_>>();
    for pair in [[one, two], [two, three], [three, one]] {
        assert!(with(lines(&[log, pair[0], pair[1]])).is_ok());
    }
    let few = ReceiptError::Checkpoint(VerifyError::Quorum { cosigned: 1 });
    assert_eq!(with(lines(&[log, one])), Err(few));
    assert_eq!(
        with(lines(&[log, one, one])),
        Err(few),
        "a node counts once"
    );
    // A witness that the policy does not know yet, and a later type of signature under a known name.
    let stranger = cosign(
        &KeyName::parse("w.example").unwrap(),
        &signing_key("inps"),
        "x\n",
        1,
    );
    let long = SignatureLine {
        signature: vec![1; 2428],
        key_id: stranger.key_id,
        ..one.clone()
    };
    assert!(with(lines(&[log, one, two, &stranger, &long])).is_ok());
    let renamed = SignatureLine {
        name: stranger.name.clone(),
        ..three.clone()
    };
    assert_eq!(
        with(lines(&[log, one, two, &renamed])),
        Err(ReceiptError::Line)
    );
}

#[test]
fn the_policy_of_the_tree_s_size_decides() {
    let case = &list(&section("receipt")["proofs"])[0];
    let entry = submitted(text(case, "entry"));
    let receipt = Receipt::parse(text(case, "tlog_proof").as_bytes()).unwrap();
    let good = policies();
    let (_, policy) = &good.policies()[0];
    let other = Policy::parse(b"quorum none\n").unwrap();
    let judge = |set: PolicySet| receipt::verify(&entry, &receipt, &set).map(|it| it.index());
    let later = |size| {
        good.clone()
            .with_policy_from(TreeSize(size), other.clone())
            .unwrap()
    };
    assert_eq!(judge(later(8)), Ok(EntryIndex(0)));
    assert!(judge(later(7)).is_err());
    let from_8 = [b"# visto: from size 8\n".to_vec(), policy.format()].concat();
    let none = ReceiptError::Checkpoint(VerifyError::NoPolicy);
    assert_eq!(judge(PolicySet::parse(&from_8).unwrap()), Err(none));
    // The first entry is held against the genesis that the file names.
    let genesis = Hash::of(&[entry.pae()]);
    assert_eq!(judge(good.clone().with_genesis(genesis)), Ok(EntryIndex(0)));
    assert_eq!(
        judge(good.with_genesis(Hash::ZERO)),
        Err(ReceiptError::Genesis)
    );
}

#[test]
fn a_foreign_implementation_s_proof_holds() {
    let case = section("interop");
    let leaves: Vec<_> = (0..7)
        .map(|n| leaf_hash(format!("visto-leaf-{n}").as_bytes()))
        .collect();
    let tree = MemoryNodes::from_leaf_hashes(leaves.iter().copied());
    let small = merkle::root(TreeSize(3), &tree).unwrap();
    assert_eq!(small.to_base64(), text(case, "root_3_b64"));
    assert_eq!(
        leaves[0].to_base64(),
        "Qmk9xePo2jhR4IWsKGWPpaA/GPDF82kALJdZq46BlMA="
    );
    let path = prove_inclusion(EntryIndex(2), TreeSize(7), &tree).unwrap();
    let lines: Vec<_> = path.iter().map(Hash::to_base64).collect();
    assert_eq!(
        lines,
        list(&case["path_2_b64"])
            .iter()
            .map(|line| line.as_str().unwrap())
            .collect::<Vec<_>>()
    );
    let proof = prove_consistency(TreeSize(3), TreeSize(7), &tree).unwrap();
    let lines: Vec<_> = proof.iter().map(Hash::to_base64).collect();
    assert_eq!(
        lines,
        [
            "bYzFfACafUmgb96Qn4xm125l1EGB9OLxwwQWSx0ZGiw=",
            "m8OeCfmoBXUVjVhuhEslLJCfqTFujtnSbCyDdRbSjZk=",
            "xDt0foTsJdXRQPqwX+OU2Xh6tVNKcXDjjLWwd1ffGwc=",
            "OP9IB9et6KjBcPXHcfCcyZW2f6s8UIcyvlMTEfHglsw=",
        ]
    );
    let note = Note::parse(text(case, "checkpoint").as_bytes()).unwrap();
    let file = format!(
        "c2sp.org/tlog-proof@v1\nindex 2\n{}\n\n{note}",
        text_lines(&path)
    );
    let proof = TlogProof::parse(file.as_bytes()).unwrap();
    assert_eq!(
        proof,
        TlogProof {
            extra: None,
            index: EntryIndex(2),
            path,
            note
        }
    );
    assert_eq!(proof.to_string(), file);
    let policy = format!(
        "log {}\nwitness w {}\nquorum w\n",
        text(case, "log_vkey"),
        text(case, "witness_vkey")
    );
    let verified = Policy::parse(policy.as_bytes())
        .unwrap()
        .verify(&proof.note)
        .unwrap();
    let led = merkle::verify_inclusion(
        proof.index,
        verified.checkpoint().size,
        leaves[2],
        &proof.path,
    );
    assert_eq!(led, Ok(verified.checkpoint().root));
    assert_eq!(verified.cosignatures()[0].time_s, 1_700_000_000);
    let log = VerifierKey::parse(text(case, "log_vkey")).unwrap();
    assert_eq!(log.signature_type(), SignatureType::Ed25519);
    assert_eq!(
        Receipt::parse(file.as_bytes()),
        Err(ReceiptError::Extra),
        "a proof is not yet a receipt"
    );
}

fn text_lines(path: &[Hash]) -> String {
    path.iter()
        .map(Hash::to_base64)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_ledger_that_contradicts_its_entry_is_not_believed() {
    let entry = submitted("consent-given");
    let body = ledger::body::Body::parse(entry.payload(), entry.disclosures()).unwrap();
    let good = receipt_alone(&entry, |_| {});
    assert_eq!(good.unwrap().agree_with(&body), Ok(()));
    let other_key = receipt_alone(&entry, |meta| meta.first_key.0 = Hash::ZERO);
    assert_eq!(other_key, Err(ReceiptError::Meta));
    let other_type = receipt_alone(&entry, |meta| {
        meta.entry_type = ledger::body::EntryType::Household;
    });
    assert_eq!(
        other_type.unwrap().agree_with(&body),
        Err(ReceiptError::Type)
    );
}

/// What the receipt of an entry alone in its tree proves, where log and nodes sign whatever `meta` says.
fn receipt_alone(
    entry: &SubmittedEntry,
    change: impl Fn(&mut ledger::bytes::Meta),
) -> Result<VerifiedReceipt, ReceiptError> {
    use ledger::bytes;
    let extra = bytes_of_first_proof();
    let (mut meta, body_salt) = bytes::extra_decode(&extra).unwrap();
    meta.first_key = entry.sigs().first();
    meta.entry_type = ledger::body::EntryType::Consent;
    change(&mut meta);
    let meta_commit = bytes::meta_commit(&bytes::meta_salt(&body_salt), &meta);
    let body_commit = bytes::body_commit(&body_salt, entry.pae(), &entry.sigs().encode());
    let root = leaf_hash(&bytes::leaf(&meta_commit, &body_commit));
    let origin = KeyName::parse(text(section("receipt"), "origin")).unwrap();
    let text = Checkpoint {
        origin: origin.clone(),
        size: TreeSize(1),
        root,
    }
    .to_text();
    let mut lines = vec![SignatureLine::sign(&origin, &signing_key("log"), &text)];
    for node in 1..=2 {
        let name = KeyName::parse(&format!("{}/node/{node}", crate::file::ledger())).unwrap();
        lines.push(cosign(
            &name,
            &signing_key(&format!("cosign-{node}")),
            &text,
            1,
        ));
    }
    let note = Note::new(text, lines).unwrap();
    let receipt = Receipt {
        index: EntryIndex(0),
        meta,
        body_salt,
        path: vec![],
        note,
    };
    receipt::verify(entry, &receipt, &policies())
}

fn bytes_of_first_proof() -> Vec<u8> {
    bytes(&list(&section("receipt")["proofs"])[0], "extra")
}
