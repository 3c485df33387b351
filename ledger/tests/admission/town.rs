// SPDX-License-Identifier: EUPL-1.2
//! A ledger in memory with institutions, people and a clock: what tests submit to.

use ledger::{
    admission::{Applied, Effects, LedgerInfo, Stamp, apply, asked, asked_at_door, precheck},
    body::{
        Body, Common, Content, Disclosed, DisclosedValue, Reference, StreamPlace,
        governance::{Genesis, Institution, InstitutionEvent, NewKey, Node, Role},
    },
    bytes,
    entry::{self, Stop, SubmittedEntry, VerifiedEntry},
    hash::Hash,
    id::{EntryId, InstitutionId, NodeNumber},
    key::{KeyUse, SigningKey},
    number::EntryIndex,
    refusal::{Refusal, Refused},
    state::{MemoryState, State, StateError, StateKey, kind, registry},
};

/// 1 June 2026, noon.
pub(crate) const START_MS: u64 = 1_780_315_200_000;
pub(crate) const LEDGER: &str = "test.visto.example";

/// A ledger, its clock, and everything that it accepted.
pub(crate) struct Town {
    pub(crate) ledger: LedgerInfo,
    pub(crate) state: MemoryState,
    pub(crate) now_ms: u64,
    pub(crate) accepted: Vec<Accepted>,
    drawn: u64,
}

/// An entry that was accepted.
pub(crate) struct Accepted {
    pub(crate) submitted: SubmittedEntry,
    pub(crate) effects: Effects,
}

/// What is said around a content.
#[derive(Clone, Default)]
pub(crate) struct Saying {
    pub(crate) institution: String,
    /// Names of keys.
    pub(crate) signers: Vec<String>,
    /// How long before now it happened; negative = ahead.
    pub(crate) ago_ms: i64,
    /// How long before now the id was made.
    pub(crate) id_ago_ms: i64,
    pub(crate) id: Option<EntryId>,
    pub(crate) refers_to: Option<Reference>,
    pub(crate) stream: Option<StreamPlace>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Accepted(u64),
    Known(u64),
    Refused(Refused),
}

impl Town {
    pub(crate) fn new() -> Town {
        let ledger = LedgerInfo {
            name: LEDGER.to_owned(),
            shard: 1,
        };
        Town {
            ledger,
            state: MemoryState::default(),
            now_ms: START_MS,
            accepted: Vec::new(),
            drawn: 0,
        }
    }

    /// 32 bytes that look random, the same in each run.
    pub(crate) fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        Hash::of(&[b"town", &self.drawn.to_be_bytes()]).0
    }

    pub(crate) fn seal<T: DisclosedValue>(
        &mut self,
        value: T,
        disclosures: &mut Vec<String>,
    ) -> Disclosed<T> {
        let salt = self.draw();
        let (sealed, disclosure) = Disclosed::seal(&salt[..16], value);
        disclosures.push(disclosure);
        sealed
    }

    pub(crate) fn size(&self) -> u64 {
        self.accepted.len() as u64
    }

    /// Signs a content.
    pub(crate) fn sign(
        &mut self,
        content: Content,
        disclosures: Vec<String>,
        saying: &Saying,
    ) -> SubmittedEntry {
        let random = self.draw();
        let ten: [u8; 10] = random[..10].try_into().unwrap();
        let before = |ago: i64| self.now_ms.checked_add_signed(-ago).unwrap();
        let common = Common {
            ledger: self.ledger.name.clone(),
            id: saying
                .id
                .unwrap_or_else(|| EntryId::from_parts(before(saying.id_ago_ms), &ten)),
            institution: institution(&saying.institution),
            occurred_at_ms: before(saying.ago_ms),
            refers_to: saying.refers_to,
            stream: saying.stream.clone(),
        };
        let payload = Body { common, content }.to_json();
        let keys: Vec<SigningKey> = saying.signers.iter().map(|name| key(name)).collect();
        SubmittedEntry::sign(
            payload.as_bytes(),
            &keys.iter().collect::<Vec<_>>(),
            disclosures,
        )
        .unwrap()
    }

    /// Submits: verified, looked at at the door, applied twice (a second node must do the same), and written.
    pub(crate) fn submit(&mut self, submitted: SubmittedEntry) -> Said {
        let verified = match self.verify(submitted.clone()) {
            Ok(verified) => verified,
            Err(refused) => return Said::Refused(refused),
        };
        let stamp = Stamp {
            index: EntryIndex(self.size()),
            accepted_at_ms: self.now_ms,
            body_salt: self.draw(),
        };
        let at_door = Told {
            state: &self.state,
            asked: asked_at_door(&verified, self.now_ms),
        };
        let door = precheck(&at_door, &verified, stamp.index, self.now_ms, &self.ledger).unwrap();
        let told = Told {
            state: &self.state,
            asked: asked(&verified, stamp.accepted_at_ms),
        };
        let again = apply(&told, verified.clone(), stamp, &self.ledger).unwrap();
        let applied = apply(&self.state, verified, stamp, &self.ledger).unwrap();
        match (applied, again) {
            (Applied::Accepted(effects), Applied::Accepted(again)) => {
                assert_eq!(door, Ok(None), "the door refuses what is accepted");
                assert_eq!(
                    (&effects.writes, &effects.rows, &effects.entry),
                    (&again.writes, &again.rows, &again.entry)
                );
                self.state.write(&effects.writes);
                self.accepted.push(Accepted {
                    submitted,
                    effects: *effects,
                });
                Said::Accepted(stamp.index.0)
            }
            (Applied::Known { index }, Applied::Known { .. }) => {
                assert_eq!(door, Ok(Some(index)), "the door does not know it");
                Said::Known(index.0)
            }
            (Applied::Refused(refused), Applied::Refused(_)) => {
                assert_eq!(door, Err(refused.clone()), "door and place refuse alike");
                Said::Refused(refused)
            }
            _ => panic!("two nodes part"),
        }
    }

    pub(crate) fn verify(&self, submitted: SubmittedEntry) -> Result<VerifiedEntry, Refused> {
        if self.accepted.is_empty() {
            match entry::genesis_keys(&submitted) {
                Ok(keys) => {
                    return entry::verify(submitted, &self.ledger.name, &keys).map_err(refused);
                }
                // Another type: judged with the keys of a registry that is empty yet.
                Err(refused) if refused.refusal == Refusal::Genesis => {}
                Err(refused) => return Err(refused),
            }
        }
        entry::verify(
            submitted,
            &self.ledger.name,
            &registry::RegisteredKeys(&self.state),
        )
        .map_err(refused)
    }

    /// An accepted entry.
    pub(crate) fn entry(&self, index: u64) -> &Accepted {
        let found = self.accepted.get(usize::try_from(index).unwrap());
        found.unwrap_or_else(|| panic!("no entry {index} of {}", self.accepted.len()))
    }

    /// Index and leaf of an accepted entry.
    pub(crate) fn reference(&self, index: u64) -> Reference {
        let leaf = self.entry(index).effects.entry.leaf_hash();
        Reference {
            index: EntryIndex(index),
            leaf,
        }
    }

    /// What the next governance entry must refer to.
    pub(crate) fn governed(&self) -> Option<Reference> {
        registry::governance(&self.state)
            .unwrap()
            .map(|governance| governance.last)
    }

    /// A genesis in which each institution has one key of each use, a node, and a vote. The first holds the log key.
    pub(crate) fn genesis(
        &self,
        k: u64,
        institutions: &[String],
        roles: &[(String, String)],
        test: bool,
    ) -> Genesis {
        let mut keys = Vec::new();
        let mut nodes = Vec::new();
        for (place, name) in institutions.iter().enumerate() {
            for key_use in [
                KeyUse::Entry,
                KeyUse::Token,
                KeyUse::Governance,
                KeyUse::Node,
                KeyUse::Cosign,
            ] {
                keys.push(self.new_key(&format!("{name}.{}", key_use.as_str()), key_use, name));
            }
            nodes.push(Node {
                node: NodeNumber(place as u64 + 1),
                institution: institution(name),
                node_key: key(&format!("{name}.node")).key_id(),
                cosign_key: key(&format!("{name}.cosign")).key_id(),
                peer: format!("127.0.0.{}:7400", place + 1),
                added: true,
                log_key: None,
            });
        }
        keys.push(self.new_key("log", KeyUse::Log, &institutions[0]));
        Genesis {
            shard: 1,
            k,
            rules: 1,
            institutions: institutions.iter().map(|name| named(name)).collect(),
            keys,
            nodes,
            roles: roles
                .iter()
                .map(|(name, role)| Role {
                    institution: institution(name),
                    role: role.clone(),
                    granted: true,
                })
                .collect(),
            oprf_key: None,
            test,
            previous: None,
        }
    }

    /// A key with its proof of possession for this ledger.
    pub(crate) fn new_key(&self, name: &str, key_use: KeyUse, owner: &str) -> NewKey {
        let secret = key(name);
        let owner = institution(owner);
        let possession = secret.sign(&bytes::possession_message(
            &self.ledger.name,
            key_use,
            &owner,
        ));
        NewKey {
            public_key: secret.public(),
            key_use,
            institution: owner,
            possession,
            from: None,
        }
    }
}

pub(crate) fn named(name: &str) -> Institution {
    Institution {
        institution: institution(name),
        name: format!("Ente {name}"),
        event: InstitutionEvent::Registered,
        successor: None,
    }
}

fn refused<E: std::fmt::Debug>(stop: Stop<E>) -> Refused {
    match stop {
        Stop::Refused(refused) => refused,
        Stop::Failed(error) => panic!("{error:?}"),
    }
}

/// The key of a name, such as `inps.entry`.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(Hash::of(&[b"key", name.as_bytes()]).0)
}

pub(crate) fn institution(name: &str) -> InstitutionId {
    InstitutionId::parse(&format!("ipa:{name}"))
        .unwrap_or_else(|| panic!("{name} is no institution"))
}

/// The ref of a person, household or record by name.
pub(crate) fn person(name: &str) -> Hash {
    Hash::of(&[b"ref", name.as_bytes()])
}

/// A state of which nobody asks for what an entry alone asks for, unless that was told before.
struct Told<'a> {
    state: &'a MemoryState,
    asked: Vec<StateKey>,
}

impl State for Told<'_> {
    type Error = StateError;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        let alone = matches!(key.kind, kind::ENTRY_ID | kind::EXCHANGE);
        assert!(!alone || self.asked.contains(key), "{key:?} was not told");
        self.state.get(key)
    }
}
