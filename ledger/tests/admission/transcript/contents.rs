// SPDX-License-Identifier: EUPL-1.2
//! What the steps of a transcript say: the content of a submission, made from its arguments.

use ledger::{
    admission::{Row, RowKind},
    body::{
        Content,
        access::{
            Access, AccessSubject, Action, CaseRef, EService, Emergency, Part, Side, SubjectRole,
            Visibility,
        },
        consent::{Consent, ConsentEntity, ConsentEvent},
        governance::{
            Delegation, Institution, InstitutionEvent, Key, Node, PolicyText, Role, Rules,
        },
        household::{Household, HouseholdKind, Member},
        system::{
            Disclosure, Erased, Erasure, Ground, Link, Note, NoteKind, NoteOpens, Read, Reader,
            Release, StateRoot,
        },
    },
    bytes::{self, CodeKind},
    hash::Hash,
    id::NodeNumber,
    key::KeyUse,
    oprf::{Blinding, Evaluated, LinkProof, OprfSecretKey},
};

use super::{Args, Teller, told};
use crate::town::{START_MS, Saying, institution, key, person};

impl Teller {
    pub(super) fn genesis(&mut self, args: &mut Args<'_>) -> String {
        let institutions = args.list("of");
        let roles: Vec<_> = args.list("roles").iter().map(|role| pair(role)).collect();
        let mut genesis = self.town.genesis(
            args.number("k").unwrap_or(2),
            &institutions,
            &roles,
            !args.flag("live"),
        );
        genesis.oprf_key = args.text("oprf").map(|name| oprf_public(&name));
        for change in args.list("but") {
            match change.as_str() {
                "no-log-key" => genesis.keys.retain(|key| key.key_use != KeyUse::Log),
                "two-log-keys" => {
                    genesis
                        .keys
                        .push(self.town.new_key("log2", KeyUse::Log, &institutions[0]))
                }
                "no-nodes" => genesis.nodes.clear(),
                "no-cosign-keys" => genesis.keys.retain(|key| key.key_use != KeyUse::Cosign),
                "a-key-twice" => genesis.keys.push(genesis.keys[0].clone()),
                "a-node-twice" => genesis.nodes[1].node = NodeNumber(1),
                "one-cosign-key-for-two" => {
                    genesis.nodes[1] = Node {
                        node: NodeNumber(2),
                        ..genesis.nodes[0].clone()
                    }
                }
                "a-stranger-s-key" => genesis.keys.push(self.town.new_key(
                    "stranger.entry",
                    KeyUse::Entry,
                    "stranger",
                )),
                "possession-of-another-use" => {
                    genesis.keys[0].possession = self
                        .town
                        .new_key("inps.entry", KeyUse::Token, "inps")
                        .possession;
                }
                "possession-for-another-ledger" => {
                    let message = bytes::possession_message(
                        "real.visto.example",
                        KeyUse::Entry,
                        &institution("inps"),
                    );
                    genesis.keys[0].possession = key("inps.entry").sign(&message);
                }
                "shard-2" => genesis.shard = 2,
                "previous" => genesis.previous = Some("test.visto.example/0\n".to_owned()),
                other => panic!("unknown change {other}"),
            }
        }
        let mut signers = args.list("by");
        if signers.is_empty() {
            signers = institutions
                .iter()
                .map(|name| format!("{name}.governance"))
                .collect();
        }
        let speaker = args.text("for").unwrap_or_else(|| institutions[0].clone());
        let saying = Saying {
            institution: speaker,
            signers,
            ..Saying::default()
        };
        let submitted = self
            .town
            .sign(Content::Genesis(Box::new(genesis)), Vec::new(), &saying);
        told(self.town.submit(submitted), &self.town)
    }

    pub(super) fn content(&mut self, kind: &str, args: &mut Args<'_>) -> (Content, Vec<String>) {
        let mut told = Vec::new();
        let content = match kind {
            "access" => Content::Access(Box::new(self.access(args, &mut told))),
            "consent" => Content::Consent(Box::new(self.consent(args, &mut told))),
            "household" => {
                let household = self.person(&args.text("ref").unwrap());
                let members = args.list("members");
                Content::Household(Household {
                    household: self.town.seal(household, &mut told),
                    kind: HouseholdKind::parse(&args.text("kind").unwrap_or("anagrafica".into()))
                        .unwrap(),
                    members: members
                        .iter()
                        .map(|name| {
                            let member = Member {
                                person: self.person(name),
                                relation: None,
                            };
                            self.town.seal(member, &mut told)
                        })
                        .collect(),
                    valid_from_ms: START_MS
                        .checked_add_signed(args.duration("from").unwrap_or(0))
                        .unwrap(),
                })
            }
            "note" => Content::Note(Note {
                kind: NoteKind::parse(&args.text("kind").unwrap_or("dispute".into())).unwrap(),
                text: args
                    .text("text")
                    .map(|text| self.town.seal(text, &mut told)),
                subjects: self.people(&args.list("subjects"), &mut told),
                opens: args
                    .list("opens")
                    .iter()
                    .map(|word| NoteOpens::parse(word).unwrap())
                    .collect(),
            }),
            "read" => {
                let reader = Reader {
                    person: "dpo-1".to_owned(),
                    role: "dpo".to_owned(),
                };
                Content::Read(Read {
                    institution: institution(&args.text("reader").unwrap()),
                    reader: self.town.seal(reader, &mut told),
                    token: None,
                    purpose: "dpv:DataSubjectRightsManagement".to_owned(),
                    case_ref: None,
                    route: "/v1/accesses/search".to_owned(),
                    count: 1,
                    tree_size: self.town.size(),
                    subjects: self.people(&args.list("subjects"), &mut told),
                    export_digest: None,
                })
            }
            "disclosure" => Content::Disclosure(Disclosure {
                institution: institution(&args.text("reader").unwrap()),
                export_digest: Hash::ZERO,
                subjects: self.people(&args.list("subjects"), &mut told),
                ground: "Art. 15 GDPR".to_owned(),
            }),
            "erasure" => {
                let before = args.number("before");
                let entries = args.list("entries");
                Content::Erasure(Erasure {
                    entries: match (before, entries.is_empty()) {
                        (Some(_), _) => vec![],
                        (None, true) => vec![1],
                        (None, false) => entries.iter().map(|at| at.parse().unwrap()).collect(),
                    },
                    subject: args.text("subject").map(|name| {
                        let person = self.person(&name);
                        self.town.seal(person, &mut told)
                    }),
                    before,
                    types: vec![],
                    ground: Ground::NotNecessary,
                })
            }
            "erased" => Content::Erased(Erased {
                node: NodeNumber(args.number("node").unwrap()),
                erasure: args.number("order").unwrap_or(1),
                through: 1,
                done: 1,
                spared: 0,
            }),
            "release" => Content::Release(Release {
                subjects: self.people(&args.list("subjects"), &mut told),
            }),
            "link" => {
                let (old, new) = (
                    self.person(&args.text("old").unwrap()),
                    self.person(&args.text("new").unwrap()),
                );
                Content::Link(Link {
                    old: self.town.seal(old, &mut told),
                    new: self.town.seal(new, &mut told),
                    proof: link_proof(&args.list("proof")),
                })
            }
            "state-root" => Content::StateRoot(StateRoot {
                size: args.number("size").unwrap(),
                version: args.number("version").unwrap(),
                root: Hash::of(&[b"root", args.text("root").unwrap().as_bytes()]),
                previous: match args.text("previous").unwrap().as_str() {
                    "empty" => Hash(*b"SPARSE_MERKLE_PLACEHOLDER_HASH__"),
                    name => Hash::of(&[b"root", name.as_bytes()]),
                },
            }),
            "institution" => Content::Institution(Institution {
                institution: institution(&args.text("name").unwrap()),
                name: args.text("called").unwrap_or("Ente".into()),
                event: InstitutionEvent::parse(&args.text("event").unwrap_or("registered".into()))
                    .unwrap(),
                successor: args.text("successor").map(|name| institution(&name)),
            }),
            "key" => Content::Key(self.key(args)),
            "role" => Content::Role(Role {
                institution: institution(&args.text("name").unwrap()),
                role: args.text("role").unwrap(),
                granted: !args.flag("revoked"),
            }),
            "delegation" => Content::Delegation(Delegation {
                controller: institution(&args.text("controller").unwrap()),
                submitter: institution(&args.text("submitter").unwrap()),
                granted: !args.flag("revoked"),
            }),
            "node" => {
                let owner = args.text("owner").unwrap();
                let key_id = |name: Option<String>, key_use: &str| {
                    key(&name.unwrap_or(format!("{owner}.{key_use}"))).key_id()
                };
                Content::Node(Node {
                    node: NodeNumber(args.number("number").unwrap()),
                    node_key: key_id(args.text("node-key"), "node"),
                    cosign_key: key_id(args.text("cosign-key"), "cosign"),
                    institution: institution(&owner),
                    peer: "127.0.0.9:7400".to_owned(),
                    added: !args.flag("removed"),
                    log_key: args.text("log-key").map(|name| key(&name).key_id()),
                })
            }
            "policy" => Content::Policy(PolicyText {
                text: args.text("text").unwrap(),
            }),
            "rules" => Content::Rules(Rules {
                oprf_key: args.text("oprf").map(|name| oprf_public(&name)),
                rules: u16::try_from(args.number("number").unwrap()).unwrap(),
            }),
            other => panic!("unknown step {other}"),
        };
        (content, told)
    }

    pub(super) fn key(&mut self, args: &mut Args<'_>) -> Key {
        let name = args.text("name").unwrap();
        if args.flag("revoked") {
            return Key::Revoked {
                key_id: key(&name).key_id(),
                until: args.number("until"),
                reason: "lost".to_owned(),
            };
        }
        let (owner, key_use) = (
            args.text("owner").unwrap(),
            KeyUse::parse(&args.text("use").unwrap()).unwrap(),
        );
        let mut new = self.town.new_key(&name, key_use, &owner);
        new.from = args.number("from");
        if let Some(other) = args.text("possession-by") {
            new.possession = key(&other).sign(&bytes::possession_message(
                crate::town::LEDGER,
                key_use,
                &institution(&owner),
            ));
        }
        match args.text("replaces") {
            Some(old) => Key::Rotated {
                key: new,
                replaces: key(&old).key_id(),
            },
            None => Key::Registered { key: new },
        }
    }

    pub(super) fn access(&mut self, args: &mut Args<'_>, told: &mut Vec<String>) -> Access {
        let side = Side::parse(&args.text("side").unwrap_or("consumer".into())).unwrap();
        let consumer = institution(&args.text("consumer").unwrap_or("voghera".into()));
        let provider = institution(&args.text("provider").unwrap_or("inps".into()));
        let operator = args.text("operator").unwrap_or("as-0147".into());
        self.labels.insert(
            Row::operator(&consumer, &operator),
            format!("{consumer} {operator}"),
        );
        let exchange = args
            .text("exchange")
            .map_or_else(|| self.town.draw(), |name| Hash::of(&[name.as_bytes()]).0);
        let exchange: [u8; 16] = exchange[..16].try_into().unwrap();
        self.labels
            .insert(Row::exchange(&exchange), "this exchange".to_owned());
        let consent_refs = args.list("consents");
        let subjects = args.list("subjects");
        for name in &subjects {
            let (name, _) = pair(name);
            for record in &consent_refs {
                self.labels.insert(
                    Row::consent_use(&person(&name), record),
                    format!("{name} {record}"),
                );
            }
        }
        let special = args.flag("special-data");
        Access {
            side,
            exchange,
            consumer,
            consumer_client_id: None,
            provider,
            eservice: EService {
                eservice_id: "isee".to_owned(),
                descriptor_id: None,
                name: None,
                version: None,
                operation: None,
            },
            user_id: self.town.seal(operator, told),
            user_role: "assistente-sociale".to_owned(),
            user_location: self.town.seal("ufficio32".to_owned(), told),
            loa: None,
            purpose_id: None,
            purpose: args.text("purpose").map_or(
                "dpv-ps:SocialWelfareEligibilityAssessment".into(),
                |purpose| curie("dpv-ps", &purpose),
            ),
            legal_basis: format!("dpv-gdpr:{}", args.text("basis").unwrap_or("A6-1-e".into())),
            legal_reference: (!args.flag("no-reference"))
                .then(|| "DPCM 159/2013, art. 11".to_owned()),
            reason: self.town.seal("Verifica ISEE".to_owned(), told),
            case_ref: (!args.flag("no-case")).then(|| {
                let case = CaseRef {
                    protocollo: "2026/004512".to_owned(),
                    prestazione: None,
                    stato: None,
                };
                self.town.seal(case, told)
            }),
            consent_refs,
            action: Action::Query,
            outcome: "ok".to_owned(),
            status_code: Some(200),
            data_categories: args
                .list_or("categories", &["Income"])
                .iter()
                .map(|category| curie("dpv-pd", category))
                .collect(),
            personal_data_types: if special {
                vec!["GDPR_ART_9".to_owned()]
            } else {
                Vec::new()
            },
            subjects: subjects
                .iter()
                .map(|name| {
                    let (name, role) = pair(name);
                    let role = if role.is_empty() {
                        SubjectRole::Target
                    } else {
                        SubjectRole::parse(&role).unwrap()
                    };
                    let subject = AccessSubject {
                        person: self.person(&name),
                        role,
                        relation: None,
                    };
                    self.town.seal(subject, told)
                })
                .collect(),
            part: args.text("part").map(|part| {
                let (k, n) = pair(&part);
                Part {
                    k: k.parse().unwrap(),
                    n: n.parse().unwrap(),
                }
            }),
            result_count: None,
            emergency: args.flag("emergency").then(|| Emergency {
                reason: "allontanamento".to_owned(),
                until_ms: self.town.now_ms + 86_400_000,
            }),
            visibility: self.visibility(args),
            evidence: None,
        }
    }

    pub(super) fn visibility(&mut self, args: &mut Args<'_>) -> Visibility {
        let legal_reference = "art. 329 c.p.p.".to_owned();
        let authority = args.text("authority").map(|name| institution(&name));
        let sealed_for = authority.clone();
        let visibility = match args.text("seal").as_deref() {
            None => return Visibility::Visible,
            Some("deferred") => Visibility::Deferred {
                until: args.text("until").unwrap_or("2027-06-30".to_owned()),
                legal_reference,
                authority,
            },
            Some("hidden") => Visibility::Hidden {
                legal_reference,
                authority: authority.unwrap(),
            },
            Some(other) => panic!("unknown seal {other}"),
        };
        for name in sealed_for
            .into_iter()
            .chain([institution("inps"), institution("voghera")])
        {
            let row = Row {
                kind: RowKind::Sealed,
                of: bytes::sealed_ref(&name),
            };
            self.labels.insert(row, name.to_string());
        }
        visibility
    }

    pub(super) fn consent(&mut self, args: &mut Args<'_>, told: &mut Vec<String>) -> Consent {
        let (record, subject) = (args.text("record").unwrap(), args.text("subject").unwrap());
        self.labels.insert(
            Row::consent(&person(&subject), &record),
            format!("{subject} {record}"),
        );
        let event = ConsentEvent::parse(&args.text("event").unwrap()).unwrap();
        let scoped = matches!(event, ConsentEvent::Given | ConsentEvent::Renewed);
        let person = self.person(&subject);
        let after_start = |time: i64| START_MS.checked_add_signed(time).unwrap();
        Consent {
            record,
            subject: self.town.seal(person, told),
            event,
            entity: args
                .text("entity")
                .map(|entity| ConsentEntity::parse(&entity).unwrap()),
            purposes: scoped.then(|| {
                args.list_or("purposes", &["SocialWelfareEligibilityAssessment"])
                    .iter()
                    .map(|purpose| curie("dpv-ps", purpose))
                    .collect()
            }),
            recipients: scoped.then(|| {
                args.list_or("recipients", &["voghera"])
                    .iter()
                    .map(|name| institution(name).to_string())
                    .collect()
            }),
            data_categories: scoped.then(|| {
                args.list_or("categories", &["Income"])
                    .iter()
                    .map(|of| curie("dpv-pd", of))
                    .collect()
            }),
            valid_from_ms: scoped.then(|| after_start(args.duration("from").unwrap_or(0))),
            valid_until_ms: args.duration("until").map(after_start),
            notice: None,
            loa: None,
            indication: None,
        }
    }

    pub(super) fn people(
        &mut self,
        names: &[String],
        told: &mut Vec<String>,
    ) -> Vec<ledger::body::Disclosed<Hash>> {
        names
            .iter()
            .map(|name| {
                let person = self.person(name);
                self.town.seal(person, told)
            })
            .collect()
    }

    pub(super) fn person(&mut self, name: &str) -> Hash {
        let of = person(name);
        self.labels.insert(
            Row {
                kind: RowKind::Subject,
                of,
            },
            name.to_owned(),
        );
        self.labels.insert(
            Row {
                kind: RowKind::Household,
                of,
            },
            name.to_owned(),
        );
        of
    }
}

fn curie(prefix: &str, name: &str) -> String {
    // Names with a dot bring their own prefix: `dpv.LegalCompliance`.
    name.split_once('.').map_or_else(
        || format!("{prefix}:{name}"),
        |(prefix, name)| format!("{prefix}:{name}"),
    )
}

fn pair(text: &str) -> (String, String) {
    let (a, b) = text.split_once('.').unwrap_or((text, ""));
    (a.to_owned(), b.to_owned())
}

/// The key of pseudonyms of that name.
fn oprf(name: &str) -> OprfSecretKey {
    OprfSecretKey::derive(&Hash::of(&[b"oprf", name.as_bytes()]).0).unwrap()
}

/// Its public half; `nothing` is no element of the group.
fn oprf_public(name: &str) -> Hash {
    match name {
        "nothing" => Hash::ZERO,
        name => Hash(*oprf(name).public().as_bytes()),
    }
}

/// `key.code` twice: what evaluated which code, blinded alike for equal codes. A word without proof where there is none.
fn link_proof(evaluations: &[String]) -> String {
    let [old, new] = evaluations else {
        return "proof".to_owned();
    };
    let evaluated = |evaluation: &str| {
        let (key, code) = pair(evaluation);
        let random = Hash::of(&[code.as_bytes()]).0;
        let blinding = Blinding::new(CodeKind::IdAnpr, &code, &random).unwrap();
        let answer = oprf(&key).evaluate(&[blinding.blinded()], &random).unwrap();
        Evaluated {
            blinded: blinding.blinded(),
            evaluated: answer.evaluated[0],
            proof: answer.proof,
        }
    };
    LinkProof {
        old: evaluated(old),
        new: evaluated(new),
    }
    .to_text()
}
