// SPDX-License-Identifier: EUPL-1.2
//! Random histories: whatever is submitted, nodes judge alike, from state alone, and the state keeps its promises.

use std::collections::BTreeSet;

use ledger::{
    admission::{Row, RowKind},
    body::{
        Content, StreamPlace,
        access::{
            Access, AccessSubject, Action, CaseRef, EService, Part, Side, SubjectRole, Visibility,
        },
        consent::{Consent, ConsentEvent},
        governance::{Delegation, Key, Role},
        household::{Household, HouseholdKind, Member},
    },
    bytes,
    entry::{self, SubmittedEntry},
    finding::Finding,
    fold::Change,
    hash::Hash,
    number::EntryIndex,
    refusal::Refusal,
    state::{MemoryState, StateKey, kind, registry},
};
use proptest::prelude::*;

use crate::town::{Said, Saying, Town, institution, key, person};

const INSTITUTIONS: [&str; 3] = ["inps", "voghera", "asl"];

/// A step of a history, in small numbers so that steps meet.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Access {
        by: usize,
        speaks: usize,
        provider: bool,
        subjects: u8,
        consent: bool,
        exchange: u8,
        part: u8,
        n: u64,
        sealed: bool,
        ago_h: i64,
    },
    Consent {
        by: usize,
        speaks: usize,
        subject: u8,
        event: usize,
    },
    Household {
        speaks: usize,
        members: u8,
    },
    Delegate {
        controller: usize,
        submitter: usize,
        granted: bool,
        signers: u8,
        stale: bool,
    },
    Grant {
        to: usize,
        granted: bool,
        signers: u8,
    },
    Rotate {
        of: usize,
    },
    Again {
        entry: usize,
    },
    SameId {
        entry: usize,
    },
    Wait {
        hours: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..INSTITUTIONS.len();
    prop_oneof![
        6 => (who.clone(), who.clone(), any::<bool>(), 1..8u8, any::<bool>(), 0..4u8, 0..3u8, (0..4u64, any::<bool>(), 0..40i64)).prop_map(
            |(by, speaks, provider, subjects, consent, exchange, part, (n, sealed, ago_h))| Step::Access {
                by, speaks, provider, subjects, consent, exchange, part, n, sealed, ago_h
            }
        ),
        4 => (who.clone(), who.clone(), 0..3u8, 0..4usize)
            .prop_map(|(by, speaks, subject, event)| Step::Consent { by, speaks, subject, event }),
        1 => (who.clone(), 1..8u8).prop_map(|(speaks, members)| Step::Household { speaks, members }),
        2 => (who.clone(), who.clone(), any::<bool>(), 0..8u8, any::<bool>()).prop_map(
            |(controller, submitter, granted, signers, stale)| Step::Delegate { controller, submitter, granted, signers, stale }
        ),
        1 => (who.clone(), any::<bool>(), 0..8u8).prop_map(|(to, granted, signers)| Step::Grant { to, granted, signers }),
        1 => who.prop_map(|of| Step::Rotate { of }),
        1 => (0..40usize).prop_map(|entry| Step::Again { entry }),
        1 => (0..40usize).prop_map(|entry| Step::SameId { entry }),
        1 => (1..30u64).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// A town and the keys that its institutions sign with now.
pub(crate) struct History {
    pub(crate) town: Town,
    keys: Vec<String>,
}

impl History {
    pub(crate) fn begin() -> History {
        let mut town = Town::new();
        let names = INSTITUTIONS.map(str::to_owned);
        let roles = [("voghera".to_owned(), "registry-anagrafica".to_owned())];
        let genesis = town.genesis(2, &names, &roles, true);
        let saying = Saying {
            institution: "inps".to_owned(),
            signers: vec!["inps.governance".to_owned(), "asl.governance".to_owned()],
            ..Saying::default()
        };
        let submitted = town.sign(Content::Genesis(Box::new(genesis)), Vec::new(), &saying);
        assert_eq!(town.submit(submitted), Said::Accepted(0));
        History {
            town,
            keys: INSTITUTIONS.map(|name| format!("{name}.entry")).to_vec(),
        }
    }

    /// The entry of a step; `None` if it only waits, or has nothing to repeat.
    pub(crate) fn entry(&mut self, step: &Step) -> Option<SubmittedEntry> {
        let mut told = Vec::new();
        let mut saying = Saying::default();
        let content = match step {
            Step::Wait { hours } => {
                self.town.now_ms += hours * 3_600_000;
                return None;
            }
            Step::Again { entry } => {
                return self
                    .town
                    .accepted
                    .get(*entry)
                    .map(|accepted| accepted.submitted.clone());
            }
            Step::SameId { entry } => {
                let common = &self
                    .town
                    .accepted
                    .get(*entry)?
                    .effects
                    .entry
                    .entry()
                    .body()
                    .common;
                saying.id = Some(common.id);
                saying.institution = common
                    .institution
                    .as_str()
                    .trim_start_matches("ipa:")
                    .to_owned();
                saying.signers = vec![self.keys[0].clone()];
                let subject = self.town.seal(person("0"), &mut told);
                Content::Consent(Box::new(consent(subject, ConsentEvent::Withdrawn)))
            }
            Step::Access { by, speaks, .. } => {
                saying.institution = INSTITUTIONS[*speaks].to_owned();
                saying.signers = vec![self.keys[*by].clone()];
                self.access(step, &mut saying, &mut told)
            }
            Step::Consent {
                by,
                speaks,
                subject,
                event,
            } => {
                saying.institution = INSTITUTIONS[*speaks].to_owned();
                saying.signers = vec![self.keys[*by].clone()];
                let subject = self.town.seal(person(&subject.to_string()), &mut told);
                Content::Consent(Box::new(consent(subject, ConsentEvent::ALL[*event])))
            }
            Step::Household { speaks, members } => {
                saying.institution = INSTITUTIONS[*speaks].to_owned();
                saying.signers = vec![self.keys[*speaks].clone()];
                let household = self.town.seal(person("household"), &mut told);
                let members = people(*members)
                    .map(|name| {
                        self.town.seal(
                            Member {
                                person: person(&name),
                                relation: None,
                            },
                            &mut told,
                        )
                    })
                    .collect();
                let valid_from_ms = self.town.now_ms;
                Content::Household(Household {
                    household,
                    kind: HouseholdKind::Anagrafica,
                    members,
                    valid_from_ms,
                })
            }
            Step::Delegate {
                controller,
                submitter,
                granted,
                signers,
                stale,
            } => {
                self.govern(&mut saying, *signers, *stale)?;
                let (controller, submitter) = (
                    institution(INSTITUTIONS[*controller]),
                    institution(INSTITUTIONS[*submitter]),
                );
                Content::Delegation(Delegation {
                    controller,
                    submitter,
                    granted: *granted,
                })
            }
            Step::Grant {
                to,
                granted,
                signers,
            } => {
                self.govern(&mut saying, *signers, false)?;
                Content::Role(Role {
                    institution: institution(INSTITUTIONS[*to]),
                    role: "registry-anagrafica".to_owned(),
                    granted: *granted,
                })
            }
            Step::Rotate { of } => {
                let old = &mut self.keys[*of];
                saying.institution = INSTITUTIONS[*of].to_owned();
                saying.signers = vec![old.clone()];
                let replaces = key(old).key_id();
                old.push('+');
                let new = self
                    .town
                    .new_key(old, ledger::key::KeyUse::Entry, INSTITUTIONS[*of]);
                Content::Key(Key::Rotated { key: new, replaces })
            }
        };
        Some(self.town.sign(content, told, &saying))
    }

    fn govern(&self, saying: &mut Saying, signers: u8, stale: bool) -> Option<()> {
        let voters: Vec<&str> = INSTITUTIONS
            .iter()
            .enumerate()
            .filter(|(bit, _)| signers >> bit & 1 == 1)
            .map(|(_, name)| *name)
            .collect();
        saying.institution = (*voters.first()?).to_owned();
        saying.signers = voters
            .iter()
            .map(|name| format!("{name}.governance"))
            .collect();
        saying.refers_to = if stale {
            Some(self.town.reference(0))
        } else {
            self.town.governed()
        };
        Some(())
    }

    fn access(&mut self, step: &Step, saying: &mut Saying, told: &mut Vec<String>) -> Content {
        let Step::Access {
            provider,
            subjects,
            consent,
            exchange,
            part,
            n,
            sealed,
            ago_h,
            ..
        } = step
        else {
            unreachable!("called for accesses");
        };
        saying.ago_ms = ago_h * 3_600_000;
        saying.stream = (*n > 0).then(|| StreamPlace {
            name: "s".to_owned(),
            n: *n,
            prev: Hash::ZERO,
        });
        let other = institution(if saying.institution == "inps" {
            "voghera"
        } else {
            "inps"
        });
        let own = institution(&saying.institution);
        let (side, consumer, provider) = if *provider {
            (Side::Provider, other, own)
        } else {
            (Side::Consumer, own, other)
        };
        let case = CaseRef {
            protocollo: "1".to_owned(),
            prestazione: None,
            stato: None,
        };
        Content::Access(Box::new(Access {
            side,
            exchange: [*exchange; 16],
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
            user_id: self.town.seal("u".to_owned(), told),
            user_role: "r".to_owned(),
            user_location: self.town.seal("l".to_owned(), told),
            loa: None,
            purpose_id: None,
            purpose: "dpv-ps:SocialWelfareProvision".to_owned(),
            legal_basis: if *consent {
                "dpv-gdpr:A6-1-a"
            } else {
                "dpv-gdpr:A6-1-e"
            }
            .to_owned(),
            legal_reference: Some("L. 328/2000".to_owned()),
            reason: self.town.seal("perché".to_owned(), told),
            case_ref: Some(self.town.seal(case, told)),
            consent_refs: if *consent {
                vec!["r".to_owned()]
            } else {
                Vec::new()
            },
            action: Action::Read,
            outcome: "ok".to_owned(),
            status_code: None,
            data_categories: Vec::new(),
            personal_data_types: Vec::new(),
            subjects: people(*subjects)
                .map(|name| {
                    let subject = AccessSubject {
                        person: person(&name),
                        role: SubjectRole::Target,
                        relation: None,
                    };
                    self.town.seal(subject, told)
                })
                .collect(),
            part: (*part > 0).then(|| Part {
                k: u64::from(*part),
                n: 2,
            }),
            result_count: None,
            emergency: None,
            visibility: if *sealed {
                Visibility::Deferred {
                    until: "2030-01-01".to_owned(),
                    legal_reference: "c.p.p.".to_owned(),
                    authority: None,
                }
            } else {
                Visibility::Visible
            },
            evidence: None,
        }))
    }
}

fn people(bits: u8) -> impl Iterator<Item = String> {
    (0..3u8)
        .filter(move |bit| bits >> bit & 1 == 1)
        .map(|bit| bit.to_string())
}

fn consent(subject: ledger::body::Disclosed<Hash>, event: ConsentEvent) -> Consent {
    let scoped = matches!(event, ConsentEvent::Given | ConsentEvent::Renewed);
    Consent {
        record: "r".to_owned(),
        subject,
        event,
        entity: None,
        purposes: scoped.then(|| vec!["dpv-ps:SocialWelfareProvision".to_owned()]),
        recipients: scoped.then(|| vec!["ipa:voghera".to_owned(), "ipa:inps".to_owned()]),
        data_categories: scoped.then(Vec::new),
        valid_from_ms: scoped.then_some(0),
        valid_until_ms: None,
        notice: None,
        loa: None,
        indication: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// `Town::submit` already judges each entry twice and at the door. Here a whole second node replays what was accepted, and the state,
    /// rows and findings are held against what the entries say.
    #[test]
    fn nodes_agree_and_the_state_keeps_its_promises(steps in proptest::collection::vec(step(), 1..40)) {
        let mut history = History::begin();
        for step in &steps {
            let before = history.town.state.clone();
            let keys = history.keys.clone();
            let Some(submitted) = history.entry(step) else { continue };
            let said = history.town.submit(submitted);
            match &said {
                Said::Accepted(index) => {
                    prop_assert_eq!(*index + 1, history.town.size());
                    let effects = &history.town.entry(*index).effects;
                    let content = &effects.entry.entry().body().content;
                    let governs = matches!(content, Content::Delegation(_) | Content::Role(_) | Content::Key(_));
                    prop_assert_eq!(effects.writes.iter().any(|(key, _)| registry::holds(key)), governs);
                }
                // Nothing is kept of what is refused or known.
                Said::Refused(_) | Said::Known(_) => {
                    prop_assert_eq!(&before, &history.town.state);
                    history.keys = keys;
                }
            }
            match (step, &said) {
                (Step::Again { .. }, Said::Known(_)) => {}
                (Step::Again { .. }, Said::Refused(refused)) => prop_assert_eq!(refused.refusal, Refusal::IdOutOfWindow),
                (Step::Again { .. }, Said::Accepted(_)) => prop_assert!(false, "an entry stands twice"),
                (Step::SameId { .. }, Said::Accepted(_)) => prop_assert!(false, "an id stands twice"),
(Step::Delegate { signers, stale, .. }, Said::Accepted(index)) => {
                    prop_assert!(signers.count_ones() >= 2);
                    let named = history.town.entry(*index).effects.entry.entry().body().common.refers_to;
                    prop_assert!(!stale || named == Some(history.town.reference(0)));
                }
                (Step::Grant { signers, .. }, Said::Accepted(_)) => prop_assert!(signers.count_ones() >= 2),
                _ => {}
            }
        }
        check_rows(&history.town);
        replay(&history.town);
    }
}

/// Rows under the state root are exactly what the entries disclose, or the sealing authority.
fn check_rows(town: &Town) {
    for accepted in &town.accepted {
        let rows: BTreeSet<Row> = accepted.effects.rows.iter().copied().collect();
        assert_eq!(rows.len(), accepted.effects.rows.len(), "a row twice");
        let rooted: BTreeSet<(RowKind, Hash)> = rows
            .iter()
            .filter(|row| row.kind.under_root())
            .map(|row| (row.kind, row.of))
            .collect();
        let body = accepted.effects.entry.entry().body();
        let wanted: BTreeSet<(RowKind, Hash)> = match &body.content {
            Content::Access(access) if access.visibility != Visibility::Visible => {
                [(RowKind::Sealed, bytes::sealed_ref(&body.common.institution))].into()
            }
            Content::Access(access) => access
                .subjects
                .iter()
                .map(|subject| (RowKind::Subject, subject.value.as_ref().unwrap().person))
                .collect(),
            Content::Consent(consent) => {
                [(RowKind::Subject, consent.subject.value.unwrap())].into()
            }
            Content::Household(household) => household
                .members
                .iter()
                .map(|member| (RowKind::Subject, member.value.as_ref().unwrap().person))
                .chain([(RowKind::Household, household.household.value.unwrap())])
                .collect(),
            _ => BTreeSet::new(),
        };
        assert_eq!(rooted, wanted);
        let change = Change::of(&accepted.effects);
        assert_eq!(change.lists, rooted.into_iter().collect::<Vec<_>>());
        let writes = accepted.effects.writes.iter();
        let writes = writes.filter(|(key, _)| key.under_root() || key.for_retention());
        assert_eq!(change.writes, writes.cloned().collect::<Vec<_>>());
        assert_eq!(Change::decode(&change.encode()), Ok(change));
        let findings = accepted.effects.entry.meta().findings;
        for finding in Finding::ALL {
            assert_eq!(
                rows.contains(&Row::finding(finding)),
                findings.contains(finding)
            );
        }
        assert_eq!(rows.contains(&Row::any_finding()), !findings.is_covered());
    }
}

/// Another node, given only what was accepted, comes to the same leaves, findings, rows and state.
fn replay(town: &Town) {
    let mut state = MemoryState::default();
    for (index, accepted) in town.accepted.iter().enumerate() {
        let entry = &accepted.effects.entry;
        let verified = if index == 0 {
            entry::verify(
                accepted.submitted.clone(),
                &town.ledger.name,
                &entry::genesis_keys(&accepted.submitted).unwrap(),
            )
            .unwrap()
        } else {
            entry::verify(
                accepted.submitted.clone(),
                &town.ledger.name,
                &registry::RegisteredKeys(&state),
            )
            .unwrap()
        };
        let stamp = ledger::admission::Stamp {
            index: EntryIndex(index as u64),
            accepted_at_ms: entry.meta().accepted_at_ms,
            body_salt: *entry.body_salt(),
        };
        let ledger::admission::Applied::Accepted(effects) =
            ledger::admission::apply(&state, verified, stamp, &town.ledger).unwrap()
        else {
            panic!("what was accepted is accepted again");
        };
        assert_eq!(
            (effects.entry.leaf_hash(), &effects.writes, &effects.rows),
            (
                entry.leaf_hash(),
                &accepted.effects.writes,
                &accepted.effects.rows
            )
        );
        state.write(&effects.writes);
    }
    assert_eq!(state, town.state);
    for (state_key, _) in state.iter() {
        assert_eq!(
            StateKey::decode(&state_key.encode()).as_ref(),
            Some(state_key)
        );
        // Lists are folded by the store, from rows: admission never writes them.
        assert!(![kind::SUBJECT, kind::HOUSEHOLD, kind::SEALED].contains(&state_key.kind));
    }
}
