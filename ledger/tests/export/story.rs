// SPDX-License-Identifier: EUPL-1.2
//! What happens in the small ledger: a family that grows and parts, consents, accesses by hand and in batches, for others and in secret,
//! an erasure, notes and reads.

use ledger::{
    body::{
        Content, StreamPlace,
        access::{Access, AccessSubject, Action, CaseRef, EService, Side, SubjectRole, Visibility},
        consent::{Consent, ConsentEvent},
        governance::Delegation,
        household::{Household, HouseholdKind, Member},
        system::{Erasure, Ground, Note, NoteKind, Read, Reader},
    },
    entry::SubmittedEntry,
    hash::Hash,
    signature::{Sigs, sign_batch},
};

use crate::{
    book::{Book, bound, of},
    town::{Saying, key, named, person},
};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Who is asked for in an access, and what is odd about it.
#[derive(Clone, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) targets: &'a [&'a str],
    pub(crate) incidental: &'a [&'a str],
    pub(crate) consent: Option<&'a str>,
    pub(crate) hidden: bool,
    pub(crate) ago_ms: i64,
    pub(crate) stream: Option<StreamPlace>,
}

/// A ledger in which `accesses` accesses asked for Anna, among all else that happens; rooted.
pub(crate) fn tell(accesses: usize) -> Book {
    let mut book = Book::begin();
    govern(&mut book);
    let long_ago = book.town.now_ms - 300 * DAY_MS;
    household(&mut book, &["anna", "bruno"], long_ago);
    consent(&mut book, "anna", "consenso-1", ConsentEvent::Given);
    for number in 0..accesses {
        book.town.now_ms += 90 * DAY_MS / accesses.max(90) as u64;
        let asked = Asked {
            targets: &["anna"],
            incidental: if number % 4 == 1 { &["bruno"] } else { &[] },
            consent: (number % 5 == 2).then_some("consenso-1"),
            ..Asked::default()
        };
        if number % 10 == 9 {
            // A query in bulk: the neighbour is none of Anna's business.
            let asked = Asked {
                targets: &["anna", "dario", "elsa"],
                ..Asked::default()
            };
            access(&mut book, "inps", "inps.entry", &asked);
        } else if number % 10 == 3 {
            access(&mut book, "c_m109", "coop.entry", &asked);
        } else if number % 10 == 4 {
            batch(&mut book, &asked);
        } else {
            access(&mut book, "asl_pv", "asl_pv.entry", &asked);
        }
        if number == accesses / 2 {
            middle(&mut book);
        }
    }
    end(&mut book);
    book.root();
    book
}

/// More than two years on: one more access, and the authority cuts what is old; rooted.
pub(crate) fn cut(book: &mut Book) -> u64 {
    book.town.now_ms += 800 * DAY_MS;
    let asked = Asked {
        targets: &["anna"],
        ..Asked::default()
    };
    access(book, "asl_pv", "asl_pv.entry", &asked);
    let by = book.cut("garante");
    book.root();
    by
}

/// A cooperative joins and may submit for the municipality.
fn govern(book: &mut Book) {
    let governors = ["inps.governance", "garante.governance"];
    book.say(
        Content::Institution(named("coop")),
        Vec::new(),
        "inps",
        &governors,
    );
    let coop = book
        .town
        .new_key("coop.entry", ledger::key::KeyUse::Entry, "coop");
    let registered = ledger::body::governance::Key::Registered { key: coop };
    book.say(Content::Key(registered), Vec::new(), "inps", &governors);
    let delegation = Delegation {
        controller: of("c_m109"),
        submitter: of("coop"),
        granted: true,
    };
    book.say(
        Content::Delegation(delegation),
        Vec::new(),
        "inps",
        &governors,
    );
}

/// A birth, a neighbour's access, a withdrawal, a secret, and a state root on the way.
fn middle(book: &mut Book) {
    let now = book.town.now_ms;
    household(book, &["anna", "bruno", "carla"], now - HOUR_MS);
    consent(book, "anna", "consenso-1", ConsentEvent::Withdrawn);
    let secret = Asked {
        targets: &["anna"],
        hidden: true,
        ..Asked::default()
    };
    access(book, "garante", "garante.entry", &secret);
    let others = Asked {
        targets: &["dario"],
        incidental: &["elsa"],
        ..Asked::default()
    };
    access(book, "inps", "inps.entry", &others);
    book.root();
}

/// Bruno moves out and is asked for once more; Carla is asked for; a note, a read, an erasure.
fn end(book: &mut Book) {
    book.town.now_ms += DAY_MS;
    let now = book.town.now_ms;
    household(book, &["anna", "carla"], now - HOUR_MS);
    for name in ["bruno", "carla", CODE] {
        let asked = Asked {
            targets: &[name],
            ..Asked::default()
        };
        access(book, "inps", "inps.entry", &asked);
    }
    let gone = Asked {
        targets: &["anna", "bruno"],
        ago_ms: 2 * HOUR_MS as i64,
        ..Asked::default()
    };
    let gone = access(book, "c_m109", "c_m109.entry", &gone);
    let noted = book.town.reference(gone);
    let mut told = Vec::new();
    let note = Note {
        kind: NoteKind::Dispute,
        text: Some(
            book.town
                .seal("Non risulta alcuna mia domanda.".to_owned(), &mut told),
        ),
        subjects: vec![book.town.seal(person("anna"), &mut told)],
        opens: Vec::new(),
    };
    let saying = Saying {
        institution: "c_m109".to_owned(),
        signers: vec!["c_m109.entry".to_owned()],
        refers_to: Some(noted),
        ..Saying::default()
    };
    book.say_so(Content::Note(note), told, &saying);
    read(book);
    let erasure = Erasure {
        entries: vec![gone],
        subject: None,
        before: None,
        types: Vec::new(),
        ground: Ground::NotNecessary,
    };
    let by = book.say(
        Content::Erasure(erasure),
        Vec::new(),
        "c_m109",
        &["c_m109.entry"],
    );
    book.erase(gone, by);
    // And a cut by age, for which nothing here is old enough.
    let cut = Erasure {
        entries: Vec::new(),
        subject: None,
        before: Some(by),
        types: Vec::new(),
        ground: Ground::RetentionEnded,
    };
    let cut = Content::Erasure(cut);
    book.say(cut, Vec::new(), "c_m109", &["c_m109.entry"]);
}

/// A privacy officer looked.
fn read(book: &mut Book) {
    let mut told = Vec::new();
    let reader = Reader {
        person: "dpo-1".to_owned(),
        role: "dpo".to_owned(),
    };
    let read = Read {
        institution: of("garante"),
        reader: book.town.seal(reader, &mut told),
        token: Some(book.town.seal("a.b.c".to_owned(), &mut told)),
        purpose: "dpv:DataSubjectRightsManagement".to_owned(),
        case_ref: None,
        route: "/v1/exports".to_owned(),
        count: 3,
        tree_size: book.size().0,
        subjects: vec![book.town.seal(person("anna"), &mut told)],
        export_digest: None,
    };
    book.say(Content::Read(read), told, "inps", &["inps.node"]);
}

/// Who belongs to the one household of the story from a time on.
pub(crate) fn household(book: &mut Book, members: &[&str], valid_from_ms: u64) -> u64 {
    let mut told = Vec::new();
    let said = Household {
        household: book.town.seal(person("household"), &mut told),
        kind: HouseholdKind::Anagrafica,
        members: members
            .iter()
            .map(|name| {
                let member = Member {
                    person: person(name),
                    relation: None,
                };
                book.town.seal(member, &mut told)
            })
            .collect(),
        valid_from_ms,
    };
    book.say(Content::Household(said), told, "c_m109", &["c_m109.entry"])
}

/// A person's consent for the health authority.
pub(crate) fn consent(book: &mut Book, who: &str, record: &str, event: ConsentEvent) -> u64 {
    let mut told = Vec::new();
    let given = matches!(event, ConsentEvent::Given | ConsentEvent::Renewed);
    let said = Consent {
        record: record.to_owned(),
        subject: book.town.seal(person(who), &mut told),
        event,
        entity: None,
        purposes: given.then(|| vec!["dpv-ps:SocialBenefits".to_owned()]),
        recipients: given.then(|| vec!["ipa:asl_pv".to_owned()]),
        data_categories: given.then(|| vec!["dpv-pd:FamilyStructure".to_owned()]),
        valid_from_ms: given.then_some(book.town.now_ms - HOUR_MS),
        valid_until_ms: None,
        notice: None,
        loa: None,
        indication: None,
    };
    book.say(
        Content::Consent(Box::new(said)),
        told,
        "c_m109",
        &["c_m109.entry"],
    )
}

/// An access by an institution, signed with a named key.
pub(crate) fn access(book: &mut Book, consumer: &str, signer: &str, asked: &Asked<'_>) -> u64 {
    let submitted = draft(book, consumer, signer, asked);
    book.admit(submitted)
}

/// Three accesses signed at once; the last two are about others.
fn batch(book: &mut Book, asked: &Asked<'_>) {
    let others = Asked {
        targets: &["elsa"],
        ..Asked::default()
    };
    let drafts: Vec<SubmittedEntry> = [asked, &others, &others]
        .into_iter()
        .map(|asked| draft(book, "inps", "inps.entry", asked))
        .collect();
    let secret = key("inps.entry");
    let paes: Vec<&[u8]> = drafts.iter().map(SubmittedEntry::pae).collect();
    let signatures = sign_batch(&secret, &paes);
    for (draft, signature) in drafts.iter().zip(signatures) {
        let sigs = Sigs::one(secret.key_id(), signature);
        let disclosures = draft.disclosures().to_vec();
        let signed = SubmittedEntry::new(draft.payload(), sigs, disclosures).unwrap();
        book.admit(signed);
    }
}

fn draft(book: &mut Book, consumer: &str, signer: &str, asked: &Asked<'_>) -> SubmittedEntry {
    let mut told = Vec::new();
    let exchange = book.town.draw();
    let town = &mut book.town;
    let targets = asked.targets.iter().map(|name| (name, SubjectRole::Target));
    let incidental = asked
        .incidental
        .iter()
        .map(|name| (name, SubjectRole::Incidental));
    let subjects = targets
        .chain(incidental)
        .map(|(name, role)| AccessSubject {
            person: refer(name),
            role,
            relation: None,
        })
        .collect::<Vec<_>>();
    let case = CaseRef {
        protocollo: "INPS.2026.0012345".to_owned(),
        prestazione: Some("Assegno unico".to_owned()),
        stato: None,
    };
    let access = Access {
        side: Side::Consumer,
        exchange: exchange[..16].try_into().unwrap(),
        consumer: of(consumer),
        consumer_client_id: None,
        provider: of("c_m109"),
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
        legal_basis: if asked.consent.is_some() {
            "dpv-gdpr:A6-1-a"
        } else {
            "dpv-gdpr:A6-1-e"
        }
        .to_owned(),
        legal_reference: Some("D.Lgs. 230/2021, art. 6".to_owned()),
        reason: town.seal("Istruttoria della domanda".to_owned(), &mut told),
        case_ref: Some(town.seal(case, &mut told)),
        consent_refs: asked.consent.map(ToOwned::to_owned).into_iter().collect(),
        action: Action::Query,
        outcome: "success".to_owned(),
        status_code: Some(200),
        data_categories: vec!["dpv-pd:FamilyStructure".to_owned()],
        personal_data_types: Vec::new(),
        subjects: subjects
            .into_iter()
            .map(|subject| town.seal(subject, &mut told))
            .collect(),
        part: None,
        result_count: Some(1),
        emergency: None,
        visibility: if asked.hidden {
            Visibility::Hidden {
                legal_reference: "c.p.p., art. 329".to_owned(),
                authority: of("garante"),
            }
        } else {
            Visibility::Visible
        },
        evidence: None,
    };
    let saying = Saying {
        institution: consumer.to_owned(),
        signers: vec![signer.to_owned()],
        ago_ms: asked.ago_ms,
        stream: asked.stream.clone(),
        ..Saying::default()
    };
    town.sign(Content::Access(Box::new(access)), told, &saying)
}

/// The tax code of a person whose ref is drawn as a real one.
pub(crate) const CODE: &str = "RSSMRA80A01H501U";

/// The ref of a name, or of [`CODE`].
fn refer(name: &str) -> Hash {
    if name == CODE {
        bound(CODE).0
    } else {
        person(name)
    }
}

/// The ref of the one household of the story.
pub(crate) fn home() -> Hash {
    person("household")
}
