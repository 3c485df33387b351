// SPDX-License-Identifier: EUPL-1.2
//! The auditor where an entry that is there was judged by what is gone: a node that says so honestly is no liar, and nothing else passes
//! with it.

use ledger::{
    audit::{Audit, Evidence, Line, Place, Report},
    body::{
        Content, StreamPlace,
        consent::ConsentEvent,
        system::{Erasure, Ground, Note, NoteKind, Release},
    },
    bytes,
    finding::Finding,
    fold::Change,
    hash::Hash,
    number::EntryIndex,
    state::{StateKey, kind},
};

use crate::{
    audit::{ended, fed, feed, retire, retired},
    book::Book,
    story::{self, Asked, access, consent, tell},
    town::{Saying, named, person},
};

const YEAR_MS: u64 = 365 * 24 * 3_600_000;
type Tell<'a> = &'a dyn Fn(&mut Change);

const CHANGES: &str = "what it changes under the state root";

fn anna() -> Asked<'static> {
    Asked {
        targets: &["anna"],
        ..Asked::default()
    }
}

fn place(book: &Book, name: &str, n: u64, before: Option<u64>) -> Option<StreamPlace> {
    let prev = before.map(|at| bytes::stream_prev(book.town.entry(at).submitted.pae()));
    Some(StreamPlace {
        name: name.to_owned(),
        n,
        prev: prev.unwrap_or(Hash::ZERO),
    })
}

fn told(lines: &mut [Line], index: u64) -> &mut Change {
    fed(lines, index).change.as_mut().unwrap()
}

/// The audit after one more lie about the change of one entry.
fn lied(
    book: &Book,
    lines: &[Line],
    index: u64,
    tell: impl Fn(&mut Change),
) -> Result<Report, Evidence> {
    let mut lines = lines.to_vec();
    tell(told(&mut lines, index));
    ended(book.policies(), &lines)
}

#[test]
fn a_consent_renewed_after_one_that_a_cut_took() {
    let mut book = tell(5);
    let given = consent(&mut book, "anna", "lungo", ConsentEvent::Given);
    book.town.now_ms += YEAR_MS;
    let renewed = consent(&mut book, "anna", "lungo", ConsentEvent::Renewed);
    book.town.now_ms += YEAR_MS;
    let cut = story::cut(&mut book);
    assert!(book.is_erased(given) && !book.is_erased(renewed));
    let lines = retired(&book, cut);
    let report = ended(book.policies(), &lines).unwrap();
    assert!(report.unjudged_at.contains(&renewed));
    let ceased = StateKey::ceased(EntryIndex(given));
    let found = told(&mut lines.clone(), renewed).writes.clone();
    assert!(found.iter().any(|(key, _)| *key == ceased));

    let key = person("anna");
    let lies: [(&str, Tell<'_>); 6] = [
        ("another list", &|change| change.lists[0].1 = Hash([9; 32])),
        ("no list", &|change| change.lists.clear()),
        ("left", &|change| change.left = 1),
        ("ceased before it came", &|change| {
            let early = 1u64.to_be_bytes().to_vec();
            for (key, value) in &mut change.writes {
                if key.kind == kind::CEASED {
                    *value = Some(early.clone());
                }
            }
        }),
        ("another consent", &|change| {
            let write = change
                .writes
                .iter_mut()
                .find(|(key, _)| key.kind == kind::CONSENT);
            write.unwrap().0 = StateKey::consent(&key, "altro");
        }),
        ("a node", &|change| {
            let node = StateKey::node(ledger::id::NodeNumber(9));
            change.writes.push((node, Some(vec![1])));
        }),
    ];
    for (what, tell) in lies {
        let evidence = lied(&book, &lines, renewed, tell).expect_err(what);
        assert_eq!(evidence.what, CHANGES, "{what}");
    }
    // Of an access nothing ceases.
    let young = cut - 1;
    let evidence = lied(&book, &lines, young, |change| {
        let late = u64::MAX.to_be_bytes().to_vec();
        change.writes.push((ceased.clone(), Some(late)));
    });
    assert_eq!(evidence.unwrap_err().what, CHANGES);
}

/// What stays for ever, and the orders, stand in streams whose numbers before a cut took.
#[test]
fn numbers_of_a_stream_that_a_cut_took() {
    let mut book = tell(5);
    let mut before = None;
    for n in 1..=2 {
        let asked = Asked {
            stream: place(&book, "main", n, before),
            ..anna()
        };
        before = Some(access(&mut book, "garante", "garante.entry", &asked));
    }
    let asked = Asked {
        stream: place(&book, "orders", 1, None),
        ..anna()
    };
    let first_order = access(&mut book, "garante", "garante.entry", &asked);
    book.town.now_ms += YEAR_MS;
    let govern = |book: &mut Book, name: &str, n: u64| {
        let governors = ["garante.governance", "inps.governance"];
        let saying = Saying {
            institution: "garante".to_owned(),
            signers: governors.map(str::to_owned).to_vec(),
            refers_to: book.town.governed(),
            stream: place(book, "main", n, before),
            ..Saying::default()
        };
        book.say_so(Content::Institution(named(name)), Vec::new(), &saying)
    };
    // A number told twice, and the next one.
    let forked = govern(&mut book, "doppio", 2);
    let joined = govern(&mut book, "nuovo", 3);
    for (at, finding) in [(forked, Some(Finding::StreamFork)), (joined, None)] {
        assert_eq!(book.stored(at).meta.findings, finding.into_iter().collect());
    }
    book.town.now_ms += 2 * YEAR_MS;
    let gone = access(&mut book, "inps", "inps.entry", &anna());
    let kept = access(&mut book, "inps", "inps.entry", &anna());
    let order = Erasure {
        entries: vec![gone],
        subject: None,
        before: None,
        types: Vec::new(),
        ground: Ground::NotNecessary,
    };
    let saying = Saying {
        institution: "garante".to_owned(),
        signers: vec!["garante.entry".to_owned()],
        stream: place(&book, "orders", 2, Some(first_order)),
        ..Saying::default()
    };
    let order = book.say_so(Content::Erasure(order), Vec::new(), &saying);
    let cut = book.cut("garante");
    book.root();
    assert!(!book.is_erased(gone) && !book.is_erased(joined));
    let mut lines = retired(&book, cut);
    fed(&mut lines, gone).body = None;
    let report = ended(book.policies(), &lines).unwrap();
    for at in [forked, joined, order] {
        assert!(report.unjudged_at.contains(&at), "{at}");
    }
    // It names that one, and no other.
    let mut other = lines.clone();
    fed(&mut other, kept).body = None;
    let evidence = ended(book.policies(), &other).unwrap_err();
    assert_eq!(evidence.at, Place::Entry(EntryIndex(kept)));
    assert_eq!(evidence.computed, "named by no order to erase it");
    let lies: [(&str, Tell<'_>); 3] = [
        ("another number", &|change| {
            let write = change
                .writes
                .iter_mut()
                .find(|(key, _)| key.kind == kind::STREAM);
            write.unwrap().1.as_mut().unwrap()[7] ^= 1;
        }),
        ("another institution", &|change| {
            let write = change
                .writes
                .iter_mut()
                .find(|(key, _)| key.kind == kind::INSTITUTION);
            write.unwrap().1 = None;
        }),
        ("a list", &|change| {
            change
                .lists
                .push((ledger::admission::RowKind::Subject, person("anna")));
        }),
    ];
    for (what, tell) in lies {
        let evidence = lied(&book, &lines, joined, tell).expect_err(what);
        assert_eq!(evidence.what, CHANGES, "{what}");
    }
    for bit in [Finding::Late, Finding::DelegationMissing] {
        for at in [forked, joined, order] {
            let mut lines = lines.clone();
            let lied = fed(&mut lines, at);
            lied.meta.findings.0 ^= 1 << bit as u8;
            let leaf_hash = lied.leaf_hash();
            lied.change.as_mut().unwrap().leaf_hash = leaf_hash;
            let evidence = ended(book.policies(), &lines).unwrap_err();
            assert_eq!(evidence.what, "what its leaf says");
        }
    }
}

/// A note and an order about an entry that is sealed are sealed with it, also when that is gone.
#[test]
fn what_is_about_a_sealed_entry_that_is_gone() {
    let mut book = tell(5);
    let secret = Asked {
        hidden: true,
        ..anna()
    };
    let gone = access(&mut book, "garante", "garante.entry", &secret);
    let stays = access(&mut book, "garante", "garante.entry", &secret);
    let open = access(&mut book, "garante", "garante.entry", &anna());
    let on_gone = note(&mut book, gone);
    let on_note = note(&mut book, on_gone);
    let on_stays = note(&mut book, stays);
    let on_open = note(&mut book, open);
    let order = |book: &mut Book, entries: Vec<u64>, whose: Option<&str>| {
        let mut disclosures = Vec::new();
        let order = Erasure {
            entries,
            subject: whose.map(|of| book.town.seal(person(of), &mut disclosures)),
            before: None,
            types: Vec::new(),
            ground: Ground::NotNecessary,
        };
        book.say(
            Content::Erasure(order),
            disclosures,
            "garante",
            &["garante.entry"],
        )
    };
    let about = order(&mut book, vec![gone], Some("anna"));
    order(&mut book, vec![gone], None);
    book.root();
    let mut lines = feed(&book);
    fed(&mut lines, gone).body = None;
    let mut audit = Audit::begin(book.policies());
    lines.iter().for_each(|line| audit.take(line).unwrap());
    assert_eq!(audit.end(), Ok(()));
    assert_eq!(audit.report().unjudged_at, [on_gone, on_note, about]);

    let sealed = told(&mut lines, on_gone).lists.clone();
    let anna = vec![(ledger::admission::RowKind::Subject, person("anna"))];
    assert_ne!(sealed, anna);
    let elsa = vec![(ledger::admission::RowKind::Subject, person("elsa"))];
    let lies = [
        (on_gone, elsa.clone()),
        (on_gone, Vec::new()),
        (on_gone, [anna.clone(), sealed.clone()].concat()),
        (about, elsa),
        (on_stays, anna),
        (on_open, sealed),
    ];
    for (index, lists) in lies {
        let evidence = lied(&book, &lines, index, |change| change.lists = lists.clone());
        assert_eq!(evidence.unwrap_err().what, CHANGES, "{index}: {lists:?}");
    }
    // Told to stand where it is computed to, it is no longer what the next one is told to be sealed with.
    let open = vec![(ledger::admission::RowKind::Subject, person("anna"))];
    let evidence = lied(&book, &lines, on_gone, |change| change.lists = open.clone());
    assert_eq!(evidence.unwrap_err().at, Place::Entry(EntryIndex(on_note)));
    let evidence = lied(&book, &lines, on_note, |change| change.lists = open.clone());
    assert_eq!(evidence.unwrap_err().what, "the state root");
    // All of it retired, too.
    book.town.now_ms += 3 * YEAR_MS;
    let cut = story::cut(&mut book);
    let mut lines = retired(&book, cut);
    retire(&mut lines, gone);
    ended(book.policies(), &lines).unwrap();
}

/// After a release that is gone, nobody can tell from whom an entry is kept.
#[test]
fn what_is_about_an_entry_whose_release_is_gone() {
    let mut book = tell(5);
    let secret = Asked {
        hidden: true,
        ..anna()
    };
    let at = access(&mut book, "garante", "garante.entry", &secret);
    let sealed = note(&mut book, at);
    let mut disclosures = Vec::new();
    let release = Release {
        subjects: vec![book.town.seal(person("anna"), &mut disclosures)],
    };
    let saying = Saying {
        institution: "garante".to_owned(),
        signers: vec!["garante.entry".to_owned()],
        refers_to: Some(book.town.reference(at)),
        ..Saying::default()
    };
    let release = book.say_so(Content::Release(release), disclosures, &saying);
    let open = note(&mut book, at);
    let order = Erasure {
        entries: vec![release],
        subject: None,
        before: None,
        types: Vec::new(),
        ground: Ground::NotNecessary,
    };
    book.say(
        Content::Erasure(order),
        Vec::new(),
        "garante",
        &["garante.entry"],
    );
    book.root();
    let mut lines = feed(&book);
    fed(&mut lines, release).body = None;
    let report = ended(book.policies(), &lines).unwrap();
    assert_eq!(report.unjudged_at, [open]);
    // A note from before the release is sealed, and computed to be.
    let list = told(&mut lines, open).lists.clone();
    let evidence = lied(&book, &lines, sealed, |change| change.lists = list.clone());
    assert_eq!(evidence.unwrap_err().what, CHANGES);
}

fn note(book: &mut Book, on: u64) -> u64 {
    let mut disclosures = Vec::new();
    let note = Note {
        kind: NoteKind::Dispute,
        text: None,
        subjects: vec![book.town.seal(person("anna"), &mut disclosures)],
        opens: Vec::new(),
    };
    let saying = Saying {
        institution: "garante".to_owned(),
        signers: vec!["garante.entry".to_owned()],
        refers_to: Some(book.town.reference(on)),
        ..Saying::default()
    };
    book.say_so(Content::Note(note), disclosures, &saying)
}
