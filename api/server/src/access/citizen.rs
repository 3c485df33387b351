// SPDX-License-Identifier: EUPL-1.2
//! What a citizen sees of the own entries: the own part, why and from which office, and nobody else.
//!
//! - Of an access: the own ref, the reason, the case if the citizen was asked for (of who was only met in an answer, the case is another's),
//!   and the office. Never another person of the same query, never the evidence: it names the employee.
//! - The office is the institution and the role in clear, and `userLocation` where that is an office of the public register
//!   (`uo:` and the unit's code). ModI means a workstation by it, and whoever knows the workstation knows who sits there: any other stays closed.
//! - Who caused it (`userID`), or from which workstation, only by a decision: a `note` of kind decide that the consumer itself signed
//!   on that access, with the reason, to that person (CJEU C-579/21: the employee's identity is weighed, not given by default).
//! - A household to its members: who belongs. In a person's own list each sees the own membership alone.
//! - Free text and case numbers that go with several persons may speak of any of them: they stay closed unless all are the citizen's own.

use std::collections::BTreeSet;

use ledger::{
    body::{
        Body, Content, Disclosed, Reference,
        access::{Access, SubjectRole},
        household::Household,
        system::NoteOpens,
    },
    finding::{Finding, Findings},
    hash::Hash,
    id::InstitutionId,
};

use super::{Opening, Opens};

/// The persons whose answer it is (one, with the own refs; or those of a household whose lists are opened), and what was decided for them.
#[derive(Clone, Debug, Default)]
pub struct Citizen {
    refs: BTreeSet<Hash>,
    household: Option<Hash>,
    decisions: Vec<Decision>,
}

/// What a note opens, as its signer's institution decided.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The entry that it is about.
    pub target: Reference,
    /// Who decided.
    pub by: InstitutionId,
    /// What.
    pub opens: Vec<NoteOpens>,
}

impl Citizen {
    /// One person, by all refs that `link` entries join.
    pub fn new(refs: impl IntoIterator<Item = Hash>) -> Citizen {
        Citizen {
            refs: refs.into_iter().collect(),
            ..Citizen::default()
        }
    }

    /// A household, and the refs of those members whose lists are opened.
    pub fn of_household(household: Hash, refs: impl IntoIterator<Item = Hash>) -> Citizen {
        Citizen {
            household: Some(household),
            ..Citizen::new(refs)
        }
    }

    /// Takes in what an entry of the citizen's list decides for them; most decide nothing. `signers` are the institutions whose keys signed.
    pub fn hear(&mut self, body: &Body, findings: Findings, signers: &[InstitutionId]) {
        let Content::Note(note) = &body.content else {
            return;
        };
        let Some(target) = body.common.refers_to else {
            return;
        };
        let by = &body.common.institution;
        // Nobody decides for another institution, not even whoever submits for it.
        let own = signers.contains(by) && !findings.contains(Finding::DelegationMissing);
        if own && !note.opens.is_empty() && note.subjects.iter().any(|person| self.is(person)) {
            self.decisions.push(Decision {
                target,
                by: by.clone(),
                opens: note.opens.clone(),
            });
        }
    }

    /// What was decided for them so far.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// How far an entry is opened to them. Whether they may know of it at all is decided before: what is sealed stands in no list of theirs.
    pub fn opening(&self, at: &Reference, body: &Body) -> Opening {
        let mut opened = Vec::new();
        match &body.content {
            Content::Access(access) => self.access(at, access, &mut opened),
            Content::Consent(consent) => self.own([&consent.subject], &mut opened),
            Content::Household(household) => self.composition(household, &mut opened),
            Content::Note(note) => {
                self.own(&note.subjects, &mut opened);
                if note.subjects.iter().all(|person| self.is(person)) {
                    opened.extend(note.text.as_ref().map(|text| text.digest));
                }
            }
            Content::Read(read) => {
                self.own(&read.subjects, &mut opened);
                if read.subjects.iter().all(|person| self.is(person)) {
                    opened.extend(read.case_ref.as_ref().map(|case| case.digest));
                }
            }
            Content::Disclosure(disclosure) => self.own(&disclosure.subjects, &mut opened),
            Content::Release(release) => self.own(&release.subjects, &mut opened),
            Content::Link(link) => self.own([&link.old, &link.new], &mut opened),
            Content::Erasure(order) => self.own(&order.subject, &mut opened),
            // Nothing in these is disclosed.
            _ => {}
        }
        Opening(Opens::Only(opened))
    }

    fn access(&self, at: &Reference, access: &Access, opened: &mut Vec<Hash>) {
        let own = access.subjects.iter().filter_map(|subject| {
            let value = subject.value.as_ref()?;
            (self.refs.contains(&value.person)).then_some((subject.digest, value.role))
        });
        let mut target = false;
        for (digest, role) in own {
            opened.push(digest);
            target |= role == SubjectRole::Target;
        }
        opened.push(access.reason.digest);
        if target {
            opened.extend(access.case_ref.as_ref().map(|case| case.digest));
        }
        let decided = |what| self.decided(at, &access.consumer, what);
        let office = access.user_location.value.as_deref().is_some_and(is_office);
        if office || decided(NoteOpens::UserLocation) {
            opened.push(access.user_location.digest);
        }
        if decided(NoteOpens::UserId) {
            opened.push(access.user_id.digest);
        }
    }

    fn composition(&self, of: &Household, opened: &mut Vec<Hash>) {
        opened.push(of.household.digest);
        let own_household = self.household.is_some() && of.household.value == self.household;
        let members = of.members.iter().filter(|member| {
            own_household
                || member
                    .value
                    .as_ref()
                    .is_some_and(|member| self.refs.contains(&member.person))
        });
        opened.extend(members.map(|member| member.digest));
    }

    fn own<'d>(
        &self,
        persons: impl IntoIterator<Item = &'d Disclosed<Hash>>,
        opened: &mut Vec<Hash>,
    ) {
        let own = persons.into_iter().filter(|person| self.is(person));
        opened.extend(own.map(|person| person.digest));
    }

    fn is(&self, person: &Disclosed<Hash>) -> bool {
        person.value.is_some_and(|of| self.refs.contains(&of))
    }

    fn decided(&self, at: &Reference, by: &InstitutionId, what: NoteOpens) -> bool {
        self.decisions.iter().any(|decision| {
            decision.target == *at && decision.by == *by && decision.opens.contains(&what)
        })
    }
}

/// Whether a location is an office of the public register: `uo:` and a unit's code, 6 or 7 capitals and digits.
fn is_office(location: &str) -> bool {
    location.strip_prefix("uo:").is_some_and(|code| {
        (6..=7).contains(&code.len())
            && code
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests;
