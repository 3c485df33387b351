// SPDX-License-Identifier: EUPL-1.2
//! Bodies of every type, drawn from a seed.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use super::super::{access::*, consent::*, governance::*, household::*, system::*, *};
use crate::{
    id::{KeyId, NodeNumber},
    key::{KeyUse, SigningKey},
};

/// Draws bodies of every type from a seed; keeps the disclosures that it makes.
pub(super) struct Draw {
    pub(super) state: u64,
    pub(super) disclosures: Vec<String>,
}

impl Draw {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| draw(self))
    }

    fn many<T>(&mut self, most: u64, draw: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| draw(self)).collect()
    }

    fn erasure(&mut self) -> Erasure {
        let ground = self.of(Ground::ALL);
        if self.below(2) == 0 {
            return Erasure {
                entries: Vec::new(),
                subject: None,
                before: Some(self.count()),
                types: self
                    .maybe(|draw| Vec::from([draw.of(&[EntryType::Access, EntryType::Read])]))
                    .unwrap_or_default(),
                ground,
            };
        }
        let mut entries = self.some(Self::count);
        entries.sort_unstable();
        entries.dedup();
        Erasure {
            entries,
            subject: self.maybe(Self::person),
            before: None,
            types: Vec::new(),
            ground,
        }
    }

    fn some<T>(&mut self, draw: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..1 + self.below(3)).map(|_| draw(self)).collect()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.next() as u8)
    }

    fn text(&mut self) -> String {
        let pieces = [
            "",
            "a",
            "Verifica dell'ISEE",
            "è così €",
            "\"\\/\n\u{1}",
            "😀",
            "dpv:Purpose",
            "...",
            "\u{2028}",
        ];
        (0..self.below(3)).map(|_| self.of(&pieces)).collect()
    }

    fn hash(&mut self) -> Hash {
        Hash(self.bytes())
    }

    fn count(&mut self) -> u64 {
        let at_most = [1, 1000, 1 << 53];
        let most = self.of(&at_most);
        self.below(most)
    }

    fn number(&mut self) -> u64 {
        1 + self.below(1 << 40)
    }

    fn time(&mut self) -> u64 {
        self.below(crate::time::MS_MAX + 1)
    }

    fn institution(&mut self) -> InstitutionId {
        let all = ["ipa:inps", "ipa:c_m109", "cf:01234567890"];
        InstitutionId::parse(self.of(&all)).unwrap()
    }

    pub(super) fn disclosed<T: DisclosedValue>(&mut self, value: T) -> Disclosed<T> {
        let salt: [u8; 32] = self.bytes();
        let salt_bytes = 16 + self.below(17) as usize;
        let (disclosed, disclosure) = Disclosed::seal(&salt[..salt_bytes], value);
        self.disclosures.push(disclosure);
        disclosed
    }

    fn secret(&mut self) -> Disclosed<String> {
        let value = self.text();
        self.disclosed(value)
    }

    pub(super) fn person(&mut self) -> Disclosed<Hash> {
        let value = self.hash();
        self.disclosed(value)
    }

    pub(super) fn new_key(&mut self, founding: bool) -> NewKey {
        NewKey {
            public_key: SigningKey::from_seed(self.bytes()).public(),
            key_use: self.of(&KeyUse::ALL),
            institution: self.institution(),
            possession: self.bytes(),
            from: if founding {
                None
            } else {
                self.maybe(Self::count)
            },
        }
    }

    fn node(&mut self, founding: bool) -> Node {
        Node {
            node: NodeNumber(self.number()),
            institution: self.institution(),
            node_key: KeyId(self.hash()),
            cosign_key: KeyId(self.hash()),
            peer: self
                .of(&["127.0.0.1:7101", "node-1.example:65535", "[::1]:1"])
                .to_string(),
            added: founding || self.below(2) == 0,
            log_key: if founding {
                None
            } else {
                self.maybe(|d| KeyId(d.hash()))
            },
        }
    }

    fn institution_member(&mut self, founding: bool) -> Institution {
        Institution {
            institution: self.institution(),
            name: self.text(),
            event: if founding {
                InstitutionEvent::Registered
            } else {
                self.of(InstitutionEvent::ALL)
            },
            successor: if founding {
                None
            } else {
                self.maybe(Self::institution)
            },
        }
    }

    fn role(&mut self, founding: bool) -> Role {
        Role {
            institution: self.institution(),
            role: self.of(&["dpo", "authority", "registry-isee"]).to_string(),
            granted: founding || self.below(2) == 0,
        }
    }

    fn access(&mut self) -> Access {
        Access {
            side: self.of(Side::ALL),
            exchange: self.bytes(),
            consumer: self.institution(),
            consumer_client_id: self.maybe(Self::text),
            provider: self.institution(),
            eservice: EService {
                eservice_id: self.text(),
                descriptor_id: self.maybe(Self::text),
                name: self.maybe(Self::text),
                version: self.maybe(Self::text),
                operation: self.maybe(Self::text),
            },
            user_id: self.secret(),
            user_role: self.text(),
            user_location: self.secret(),
            loa: self.maybe(Self::text),
            purpose_id: self.maybe(Self::text),
            purpose: self.text(),
            legal_basis: self.text(),
            legal_reference: self.maybe(Self::text),
            reason: self.secret(),
            case_ref: self.maybe(|d| {
                let value = CaseRef {
                    protocollo: d.text(),
                    prestazione: d.maybe(Self::text),
                    stato: d.maybe(Self::text),
                };
                d.disclosed(value)
            }),
            consent_refs: self.many(2, Self::text),
            action: self.of(Action::ALL),
            outcome: self.text(),
            status_code: self.maybe(Self::count),
            data_categories: self.many(2, Self::text),
            personal_data_types: self.many(2, Self::text),
            subjects: self.some(|d| {
                let value = AccessSubject {
                    person: d.hash(),
                    role: d.of(SubjectRole::ALL),
                    relation: d.maybe(Self::text),
                };
                d.disclosed(value)
            }),
            part: self.maybe(|d| Part {
                k: d.count(),
                n: d.count(),
            }),
            result_count: self.maybe(Self::count),
            emergency: self.maybe(|d| Emergency {
                reason: d.text(),
                until_ms: d.time(),
            }),
            visibility: match self.below(3) {
                0 => Visibility::Visible,
                1 => Visibility::Deferred {
                    until: crate::time::format_date(self.time()),
                    legal_reference: self.text(),
                    authority: self.maybe(Self::institution),
                },
                _ => Visibility::Hidden {
                    legal_reference: self.text(),
                    authority: self.institution(),
                },
            },
            evidence: self.maybe(|d| Evidence {
                tracking_evidence_digest: d.maybe(Self::hash),
                voucher_jti: d.maybe(Self::text),
                request_digest: d.maybe(Self::hash),
                response_digest: d.maybe(Self::hash),
                correlation_id: d.maybe(Self::text),
                traceparent: d.maybe(Self::text),
                jws: d.maybe(Self::secret),
                jwk_thumbprint: d.maybe(Self::hash),
            }),
        }
    }

    fn consent(&mut self) -> Consent {
        let event = self.of(ConsentEvent::ALL);
        let whole =
            matches!(event, ConsentEvent::Given | ConsentEvent::Renewed) || self.below(2) == 0;
        Consent {
            record: self.text(),
            subject: self.person(),
            event,
            entity: self.maybe(|d| d.of(ConsentEntity::ALL)),
            purposes: whole.then(|| self.many(2, Self::text)),
            recipients: whole.then(|| self.many(2, Self::text)),
            data_categories: whole.then(|| self.many(2, Self::text)),
            valid_from_ms: whole.then(|| self.time()),
            valid_until_ms: self.maybe(Self::time),
            notice: self.maybe(|d| Notice {
                uri: d.text(),
                version: d.text(),
                sha256: d.hash(),
                language: d.text(),
            }),
            loa: self.maybe(Self::text),
            indication: self.maybe(Self::text),
        }
    }

    fn content(&mut self, entry_type: EntryType) -> Content {
        match entry_type {
            EntryType::Genesis => Content::Genesis(Box::new(Genesis {
                shard: self.number(),
                k: self.number(),
                rules: self.next() as u16,
                institutions: self.many(2, |d| d.institution_member(true)),
                keys: self.many(2, |d| d.new_key(true)),
                nodes: self.many(2, |d| d.node(true)),
                roles: self.many(2, |d| d.role(true)),
                oprf_key: self.maybe(Self::hash),
                test: self.below(2) == 0,
                previous: self.maybe(Self::text),
            })),
            EntryType::Access => Content::Access(Box::new(self.access())),
            EntryType::Consent => Content::Consent(Box::new(self.consent())),
            EntryType::Household => Content::Household(Household {
                household: self.person(),
                kind: self.of(HouseholdKind::ALL),
                members: self.some(|d| {
                    let value = Member {
                        person: d.hash(),
                        relation: d.maybe(Self::text),
                    };
                    d.disclosed(value)
                }),
                valid_from_ms: self.time(),
            }),
            EntryType::Institution => Content::Institution(self.institution_member(false)),
            EntryType::Key => Content::Key(match self.below(3) {
                0 => Key::Registered {
                    key: self.new_key(false),
                },
                1 => Key::Rotated {
                    key: self.new_key(false),
                    replaces: KeyId(self.hash()),
                },
                _ => Key::Revoked {
                    key_id: KeyId(self.hash()),
                    until: self.maybe(Self::count),
                    reason: self.text(),
                },
            }),
            EntryType::Role => Content::Role(self.role(false)),
            EntryType::Delegation => Content::Delegation(Delegation {
                controller: self.institution(),
                submitter: self.institution(),
                granted: self.below(2) == 0,
            }),
            EntryType::Node => Content::Node(self.node(false)),
            EntryType::Policy => Content::Policy(PolicyText { text: self.text() }),
            EntryType::Rules => Content::Rules(Rules {
                oprf_key: self.maybe(Self::hash),
                rules: self.next() as u16,
            }),
            EntryType::Note => Content::Note({
                let mut note = Note {
                    kind: self.of(NoteKind::ALL),
                    text: self.maybe(Self::secret),
                    subjects: self.many(2, Self::person),
                    opens: Vec::new(),
                };
                if note.kind == NoteKind::Decide && note.text.is_some() && !note.subjects.is_empty()
                {
                    let opened = self.below(NoteOpens::ALL.len() as u64 + 1) as usize;
                    note.opens = NoteOpens::ALL[..opened].to_vec();
                }
                note
            }),
            EntryType::Read => Content::Read(Read {
                institution: self.institution(),
                reader: {
                    let value = Reader {
                        person: self.text(),
                        role: self.text(),
                    };
                    self.disclosed(value)
                },
                token: self.maybe(Self::secret),
                purpose: self.text(),
                case_ref: self.maybe(Self::secret),
                route: self.text(),
                count: self.count(),
                tree_size: self.count(),
                subjects: self.many(2, Self::person),
                export_digest: self.maybe(Self::hash),
            }),
            EntryType::Disclosure => Content::Disclosure(Disclosure {
                institution: self.institution(),
                export_digest: self.hash(),
                subjects: self.some(Self::person),
                ground: self.text(),
            }),
            EntryType::Erasure => Content::Erasure(self.erasure()),
            EntryType::Erased => Content::Erased(Erased {
                node: NodeNumber(self.number()),
                erasure: self.count(),
                through: self.count(),
                done: self.count(),
                spared: self.count(),
            }),
            EntryType::Release => Content::Release(Release {
                subjects: self.some(Self::person),
            }),
            EntryType::Link => Content::Link(Link {
                old: self.person(),
                new: self.person(),
                proof: self.text(),
            }),
            EntryType::StateRoot => Content::StateRoot(StateRoot {
                size: self.count(),
                version: self.count(),
                root: self.hash(),
                previous: self.hash(),
            }),
        }
    }

    pub(super) fn body(&mut self, entry_type: EntryType) -> Body {
        let must_refer = matches!(entry_type, EntryType::Note | EntryType::Release);
        let refers_to = |d: &mut Self| Reference {
            index: EntryIndex(d.count()),
            leaf: d.hash(),
        };
        Body {
            common: Common {
                ledger: self.text(),
                id: EntryId::from_parts(self.below(1 << 48), &self.bytes()),
                institution: self.institution(),
                occurred_at_ms: self.time(),
                refers_to: if must_refer {
                    Some(refers_to(self))
                } else {
                    self.maybe(refers_to)
                },
                stream: self.maybe(|d| StreamPlace {
                    name: d.text(),
                    n: d.number(),
                    prev: d.hash(),
                }),
            },
            content: self.content(entry_type),
        }
    }
}
