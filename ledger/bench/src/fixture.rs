// SPDX-License-Identifier: EUPL-1.2
//! A small ledger to work on, the same in every run: four institutions, accesses of the usual size, a published tree.

use ledger::{
    body::{
        Content,
        access::{Access, AccessSubject, Action, CaseRef, EService, Side, SubjectRole, Visibility},
    },
    checkpoint::Checkpoint,
    cosignature,
    entry::SubmittedEntry,
    fold::{Change, MemoryFold},
    hash::Hash,
    id::NodeNumber,
    merkle::{MemoryNodes, prove_inclusion},
    note::{KeyName, Note, SignatureLine, SignatureType, VerifierKey},
    number::{EntryIndex, TreeSize},
    policy::{Policy, PolicySet},
    receipt::Receipt,
    signature::{Sigs, sign_batch},
};

use crate::town::{LEDGER, Said, Saying, Town, institution, key, person};

const INSTITUTIONS: [&str; 3] = ["inps", "c_m109", "asl_pv"];
/// Whose key signs the accesses.
pub(crate) const SIGNER: &str = "inps.entry";
/// Accesses admitted.
const ACCESSES: u64 = 64;
/// Leaves of the tree: those, and as many more as make paths of twelve hashes.
const LEAVES: u64 = 4096;
/// Values under the state root.
const VALUES: u64 = 2000;

/// The small ledger.
pub(crate) struct Fixture {
    pub(crate) town: Town,
    /// The changes of all accesses.
    pub(crate) changes: Vec<Change>,
    pub(crate) tree: MemoryNodes,
    pub(crate) fold: MemoryFold,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let mut town = Town::new();
        let genesis = town.genesis(1, &INSTITUTIONS.map(str::to_owned), &[], true);
        let saying = Saying {
            institution: "inps".to_owned(),
            signers: vec!["inps.governance".to_owned()],
            ..Saying::default()
        };
        let genesis = town.sign(Content::Genesis(Box::new(genesis)), Vec::new(), &saying);
        assert_eq!(town.submit(genesis), Said::Accepted(0));
        for number in 0..ACCESSES {
            let access = access(&mut town, number);
            assert_eq!(town.submit(access), Said::Accepted(number + 1));
        }
        let accepted = town.accepted.iter();
        let changes: Vec<Change> = accepted.map(|it| Change::of(&it.effects)).collect();
        let leaves = changes.iter().map(|change| change.leaf_hash);
        let others = (changes.len() as u64..LEAVES).map(|leaf| Hash::of(&[&leaf.to_be_bytes()]));
        let values = (0..VALUES).map(|value| (Hash::of(&[&value.to_le_bytes()]), vec![7; 80]));
        Fixture {
            tree: MemoryNodes::from_leaf_hashes(leaves.chain(others)),
            fold: MemoryFold::of_values(values.collect()),
            changes,
            town,
        }
    }

    /// An access that is not admitted yet.
    pub(crate) fn next(&mut self) -> SubmittedEntry {
        let number = self.town.size();
        access(&mut self.town, number)
    }

    /// As many accesses that nobody admitted, under one signature.
    pub(crate) fn batch(&mut self, count: u64) -> Vec<SubmittedEntry> {
        let drafts: Vec<SubmittedEntry> = (0..count)
            .map(|number| access(&mut self.town, number))
            .collect();
        let secret = key(SIGNER);
        let paes: Vec<&[u8]> = drafts.iter().map(SubmittedEntry::pae).collect();
        let signatures = sign_batch(&secret, &paes);
        let signed = |(draft, signature): (&SubmittedEntry, _)| {
            let sigs = Sigs::one(secret.key_id(), signature);
            let disclosures = draft.disclosures().to_vec();
            SubmittedEntry::new(draft.payload(), sigs, disclosures).expect("it was signed before")
        };
        drafts.iter().zip(signatures).map(signed).collect()
    }

    /// The receipt of an access.
    pub(crate) fn receipt(&self, index: u64) -> Receipt {
        let entry = &self.town.entry(index).effects.entry;
        let path = prove_inclusion(EntryIndex(index), self.tree.size(), &self.tree);
        Receipt {
            index: EntryIndex(index),
            meta: *entry.meta(),
            body_salt: *entry.body_salt(),
            path: path.expect("the tree is whole"),
            note: self.note(),
        }
    }

    /// The tree, signed by the log and cosigned by two of three nodes.
    fn note(&self) -> Note {
        let text = Checkpoint {
            origin: name(&format!("{LEDGER}/1")),
            size: self.tree.size(),
            root: self.tree.root(),
        }
        .to_text();
        let mut lines = vec![SignatureLine::sign(
            &name(&format!("{LEDGER}/1")),
            &key("log"),
            &text,
        )];
        for (number, of) in (1..).zip(INSTITUTIONS).take(2) {
            let secret = key(&format!("{of}.cosign"));
            let time_s = self.town.now_ms / 1000;
            lines.push(cosignature::cosign(&node(number), &secret, &text, time_s));
        }
        Note::new(text, lines).expect("a note")
    }

    /// Who must have signed it.
    pub(crate) fn policies(&self) -> PolicySet {
        let of = |name, kind, secret: &str| VerifierKey::new(name, kind, key(secret).public());
        let log = of(name(&format!("{LEDGER}/1")), SignatureType::Ed25519, "log");
        let nodes: Vec<(NodeNumber, VerifierKey)> = (1..)
            .zip(INSTITUTIONS)
            .map(|(number, institution)| {
                let secret = format!("{institution}.cosign");
                let key = of(node(number), SignatureType::Cosignature, &secret);
                (NodeNumber(number), key)
            })
            .collect();
        let genesis = Hash::of(&[self.town.entry(0).submitted.pae()]);
        PolicySet::from(Policy::majority(&log, &nodes).expect("a policy")).with_genesis(genesis)
    }

    pub(crate) fn size(&self) -> TreeSize {
        self.tree.size()
    }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).expect("a name")
}

fn node(number: u64) -> KeyName {
    name(&format!("{LEDGER}/node/{number}"))
}

/// An access as institutions write them, about one person of its own.
fn access(town: &mut Town, number: u64) -> SubmittedEntry {
    let mut told = Vec::new();
    let exchange = town.draw();
    let case = CaseRef {
        protocollo: "INPS.2026.0012345".to_owned(),
        prestazione: Some("Assegno unico".to_owned()),
        stato: None,
    };
    let subject = AccessSubject {
        person: person(&format!("person {number}")),
        role: SubjectRole::Target,
        relation: None,
    };
    let access = Access {
        side: Side::Consumer,
        exchange: exchange[..16].try_into().expect("16 bytes"),
        consumer: institution("inps"),
        consumer_client_id: None,
        provider: institution("c_m109"),
        eservice: EService {
            eservice_id: "7f3b1a52-0d7e-4b8e-9f2c-5d1c2a7f9e01".to_owned(),
            descriptor_id: None,
            name: Some("Stato di famiglia".to_owned()),
            version: Some("1".to_owned()),
            operation: Some("getFamilyStatus".to_owned()),
        },
        user_id: town.seal("mario.bianchi".to_owned(), &mut told),
        user_role: "istruttore".to_owned(),
        user_location: town.seal("Sede di Voghera".to_owned(), &mut told),
        loa: Some("substantial".to_owned()),
        purpose_id: None,
        purpose: "dpv-ps:SocialBenefits".to_owned(),
        legal_basis: "dpv-gdpr:A6-1-e".to_owned(),
        legal_reference: Some("D.Lgs. 230/2021, art. 6".to_owned()),
        reason: town.seal("Istruttoria della domanda".to_owned(), &mut told),
        case_ref: Some(town.seal(case, &mut told)),
        consent_refs: Vec::new(),
        action: Action::Query,
        outcome: "success".to_owned(),
        status_code: Some(200),
        data_categories: vec!["dpv-pd:FamilyStructure".to_owned()],
        personal_data_types: Vec::new(),
        subjects: vec![town.seal(subject, &mut told)],
        part: None,
        result_count: Some(1),
        emergency: None,
        visibility: Visibility::Visible,
        evidence: None,
    };
    let saying = Saying {
        institution: "inps".to_owned(),
        signers: vec![SIGNER.to_owned()],
        ..Saying::default()
    };
    town.sign(Content::Access(Box::new(access)), told, &saying)
}
