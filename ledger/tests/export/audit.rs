// SPDX-License-Identifier: EUPL-1.2
//! The auditor on the small ledger: what it recomputes, what it cannot, and where it stops.

use std::collections::BTreeMap;

use ledger::{
    audit::{Audit, Damaged, Evidence, Fed, Line, Place, Report, Retired, StartLine},
    base64,
    body::{
        Body, Content, EntryType,
        system::{Erasure, Ground},
    },
    disclosure,
    entry::SubmittedEntry,
    finding::Finding,
    fold::Change,
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    number::{EntryIndex, TreeSize},
    policy::PolicySet,
    retention::{self, Held, Reach},
    state::StateKey,
};

use crate::{
    book::Book,
    story::{self, tell},
};

/// A checkpoint after every so many entries.
const EVERY: u64 = 7;

pub(crate) fn feed(book: &Book) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, accepted) in (0..).zip(&book.town.accepted) {
        let change = Change::of(&accepted.effects);
        let fed = Fed::of(EntryIndex(index), &book.stored(index), Some(change));
        lines.push(Line::Entry(Box::new(fed)));
        let size = TreeSize(index + 1);
        if size.0.is_multiple_of(EVERY) || size == book.size() {
            lines.push(Line::Checkpoint(book.checkpoint_at(size, 3)));
        }
    }
    lines
}

fn replay(policies: PolicySet, lines: &[Line]) -> Result<Report, Evidence> {
    let mut audit = Audit::begin(policies);
    for line in lines {
        // As they travel.
        let line = Line::parse(line.to_json().as_bytes()).unwrap();
        audit.take(&line)?;
    }
    Ok(audit.report().clone())
}

pub(crate) fn fed(lines: &mut [Line], index: u64) -> &mut Fed {
    lines
        .iter_mut()
        .find_map(|line| match line {
            Line::Entry(fed) if fed.index.0 == index => Some(&mut **fed),
            _ => None,
        })
        .unwrap()
}

/// What a server closes while a reader's token could still let somebody in.
fn close_token(fed: &mut Fed) {
    let Some((_, entry)) = &mut fed.body else {
        return;
    };
    let Content::Read(read) = Body::parse(entry.payload(), entry.disclosures())
        .unwrap()
        .content
    else {
        return;
    };
    let mut disclosures = entry.disclosures().to_vec();
    let token = read.token.unwrap().digest;
    disclosures.retain(|text| disclosure::digest(text) != token);
    *entry = SubmittedEntry::new(entry.payload(), entry.sigs().clone(), disclosures).unwrap();
}

fn first(book: &Book, entry_type: EntryType) -> u64 {
    let found = (0..).find(|&index| book.stored(index).meta.entry_type == entry_type);
    found.unwrap()
}

#[test]
fn a_whole_ledger_is_recomputed() {
    let book = tell(20);
    let lines = feed(&book);
    let report = replay(book.policies(), &lines).unwrap();
    let size = book.size().0;
    assert_eq!(
        (report.erased, report.unjudged, report.state_roots),
        (0, 0, 2)
    );
    assert_eq!(report.checkpoints, size / EVERY + 1);
    assert_eq!(report.published, size);
    assert_eq!(report.types.values().sum::<u64>(), size);
    assert_eq!(report.types[&EntryType::Household], 3);
    assert_eq!(
        report.findings,
        BTreeMap::from([(Finding::ConsentWithdrawn, 2)])
    );
    // Without the nodes' word on what changes, it comes to the same.
    let mut silent = lines;
    for line in &mut silent {
        if let Line::Entry(fed) = line {
            fed.change = None;
            close_token(fed);
        }
    }
    assert_eq!(replay(book.policies(), &silent), Ok(report));
}

#[test]
fn it_goes_on_where_it_was_put_down() {
    let book = tell(20);
    let lines = feed(&book);
    let whole = replay(book.policies(), &lines).unwrap();
    for cut in [0, 1, 5, 17, lines.len() - 1, lines.len()] {
        let mut audit = Audit::begin(book.policies());
        lines[..cut]
            .iter()
            .for_each(|line| audit.take(line).unwrap());
        let bytes = audit.encode();
        let mut audit = Audit::decode(&bytes, book.policies()).unwrap();
        assert_eq!(audit.encode(), bytes);
        // Under another ledger's policy file it does not go on.
        let other = book.policies().with_genesis(Hash([1; 32]));
        assert_eq!(Audit::decode(&bytes, other).is_err(), cut > 0);
        lines[cut..]
            .iter()
            .for_each(|line| audit.take(line).unwrap());
        assert_eq!(audit.report(), &whole, "cut at {cut}");
        let mut broken = bytes.clone();
        broken[bytes.len() / 2] ^= 1;
        assert_eq!(
            Audit::decode(&broken, book.policies()).unwrap_err(),
            Damaged
        );
    }
}

/// Bodies and a person's disclosure are gone: leaves, lists and roots still hold, and it says what it could not judge.
#[test]
fn what_is_erased_is_bridged() {
    let book = tell(20);
    let mut lines = feed(&book);
    // A consent: what was judged by it cannot be judged again. An access, and one person's name in another.
    let consent = first(&book, EntryType::Consent);
    let access = first(&book, EntryType::Access);
    for index in [consent, access] {
        fed(&mut lines, index).body = None;
    }
    let partly = fed(&mut lines, access + 1);
    let (_, entry) = partly.body.as_mut().unwrap();
    let mut disclosures = entry.disclosures().to_vec();
    disclosures.pop();
    *entry = SubmittedEntry::new(entry.payload(), entry.sigs().clone(), disclosures).unwrap();
    let report = replay(book.policies(), &lines).unwrap();
    assert_eq!(report.erased, 3);
    // Two accesses rested on that consent while it was given; after the withdrawal it is known to be withdrawn.
    assert_eq!(report.unjudged, 2);
    assert_eq!(
        (report.state_roots, report.checkpoints),
        (2, book.size().0 / EVERY + 1)
    );

    // None of it was ordered, and the audit says so at its end.
    let mut audit = Audit::begin(book.policies());
    lines.iter().for_each(|line| audit.take(line).unwrap());
    assert_eq!(
        audit.end().unwrap_err().at,
        Place::Entry(EntryIndex(consent))
    );

    // What is told of it is proven by the root: another list, and the root is another.
    let told = fed(&mut lines, access).change.as_mut().unwrap();
    told.lists[0].1 = Hash([9; 32]);
    let evidence = replay(book.policies(), &lines).unwrap_err();
    assert_eq!(evidence.what, "the state root");
    // Of one whose body is there in part, it is told whole.
    fed(&mut lines, access + 1).change = None;
    let evidence = replay(book.policies(), &lines).unwrap_err();
    assert_eq!(evidence.at, Place::Entry(EntryIndex(access + 1)));
}

/// Nobody can hold what an erased entry changed against its body, so it must not be more than its type can change.
#[test]
fn an_erased_entry_is_believed_no_more_than_its_type_allows() {
    let book = tell(20);
    let lines = feed(&book);
    let (consent, access) = (
        first(&book, EntryType::Consent),
        first(&book, EntryType::Access),
    );
    let reach = Reach {
        before: access,
        authority: true,
        types: Vec::new(),
    };
    let node = StateKey::node(NodeNumber(9));
    let early = 0u64.to_be_bytes().to_vec();
    type Tell = Box<dyn Fn(&mut Change)>;
    let lies: [(u64, Tell); 5] = [
        (
            access,
            Box::new(move |change| change.reach = Some(reach.clone())),
        ),
        (
            access,
            Box::new(|change| change.terms.entry_type = EntryType::Note),
        ),
        (
            access,
            Box::new(move |change| change.writes = vec![(node.clone(), Some(vec![1]))]),
        ),
        (
            access,
            Box::new(move |change| {
                let ceased = StateKey::ceased(EntryIndex(consent));
                let late = u64::MAX.to_be_bytes().to_vec();
                change.writes = vec![(ceased, Some(late))];
            }),
        ),
        (
            consent,
            Box::new(move |change| {
                let ceased = StateKey::ceased(EntryIndex(consent));
                change.writes = vec![(ceased, Some(early.clone()))];
            }),
        ),
    ];
    for (index, tell) in lies {
        let mut lines = lines.clone();
        let told = fed(&mut lines, index);
        told.body = None;
        tell(told.change.as_mut().unwrap());
        let evidence = replay(book.policies(), &lines).unwrap_err();
        assert_eq!(
            (evidence.at, evidence.what),
            (
                Place::Entry(EntryIndex(index)),
                "what an erased entry changes"
            )
        );
    }
}

/// A cut moves bases. Who replays follows it: whole entries, put down and taken up, or entries that were erased meanwhile and are told of.
#[test]
fn it_replays_through_a_cut() {
    let mut book = tell(20);
    let cut = story::cut(&mut book);
    let lines = feed(&book);
    let whole = replay(book.policies(), &lines).unwrap();
    assert_eq!((whole.state_roots, whole.erased), (3, 0));
    for place in [3, lines.len() - 9, lines.len() - 2] {
        let mut audit = Audit::begin(book.policies());
        lines[..place]
            .iter()
            .for_each(|line| audit.take(line).unwrap());
        let mut audit = Audit::decode(&audit.encode(), book.policies()).unwrap();
        lines[place..]
            .iter()
            .for_each(|line| audit.take(line).unwrap());
        assert_eq!(audit.report(), &whole, "put down at {place}");
    }
    let mut erased = lines.clone();
    for index in (0..cut).filter(|index| book.is_erased(*index)) {
        fed(&mut erased, index).body = None;
    }
    let report = replay(book.policies(), &erased).unwrap();
    assert_eq!(report.state_roots, 3);
    assert!(report.erased > 20, "{report:?}");

    // Told to be held back by an authority, it would stay. The root shows it.
    let first = (0..cut).find(|index| book.is_erased(*index)).unwrap();
    let told = fed(&mut erased, first).change.as_mut().unwrap();
    told.terms.held = Some(Held {
        by: InstitutionId::parse("ipa:nobody").unwrap(),
        due_ms: None,
    });
    let evidence = replay(book.policies(), &erased).unwrap_err();
    assert_eq!(evidence.what, "the state root");
}

/// What nodes feed after a cut: of the entries that it took, bodies are gone, lists are left, and soon all that was kept of them.
pub(crate) fn retired(book: &Book, cut: u64) -> Vec<Line> {
    let mut lines = feed(book);
    for index in (0..cut).filter(|index| book.is_erased(*index)) {
        retire(&mut lines, index);
    }
    lines
}

/// All that was kept of it is gone.
pub(crate) fn retire(lines: &mut [Line], index: u64) {
    let fed = fed(lines, index);
    (fed.body, fed.change) = (None, None);
}

/// It left its lists, and is about to be forgotten.
fn leave(lines: &mut [Line], index: u64) {
    let fed = fed(lines, index);
    fed.body = None;
    let change = fed.change.as_mut().unwrap();
    change.left = 1;
    change.lists.clear();
}

pub(crate) fn ended(policies: PolicySet, lines: &[Line]) -> Result<Report, Evidence> {
    let mut audit = Audit::begin(policies.clone());
    for line in lines {
        audit.take(line)?;
        // Put down and taken up at every line.
        audit = Audit::decode(&audit.encode(), policies.clone()).unwrap();
    }
    audit.end()?;
    Ok(audit.report().clone())
}

/// From genesis a ledger is replayed after a cut, but for its lists and roots: that is said, and is no lie.
#[test]
fn after_a_cut_it_says_what_it_cannot_replay() {
    let mut book = tell(20);
    let cut = story::cut(&mut book);
    let lines = retired(&book, cut);
    let report = ended(book.policies(), &lines).unwrap();
    let taken: Vec<u64> = (0..cut).filter(|index| book.is_erased(*index)).collect();
    let holds_on = |index: &u64| retention::holds_on(book.stored(*index).meta.entry_type);
    let held = taken.iter().copied().filter(holds_on).count() as u64;
    let roots = |from: u64| {
        let types = (from..book.size().0).map(|index| book.stored(index).meta.entry_type);
        types.filter(|of| *of == EntryType::StateRoot).count() as u64
    };
    assert_eq!(
        report.retired,
        Some(Retired {
            first: EntryIndex(taken[0]),
            count: taken.len() as u64,
            until_ms: book.stored(*taken.last().unwrap()).meta.accepted_at_ms,
            state_roots: roots(taken[0]),
        })
    );
    assert_eq!(report.state_roots + roots(taken[0]), 3);
    assert_eq!(report.erased, taken.len() as u64);
    // Since when a consent held no more, nobody can tell.
    assert!(held > 0);
    assert_eq!(report.untold, held);
    // A household composed anew after one that is gone.
    assert!(report.unjudged > 0);
    assert_eq!(report.published, book.size().0);
    // Before the changes are forgotten it comes to the same, but for what they still tell.
    let mut lines = feed(&book);
    taken.iter().for_each(|index| leave(&mut lines, *index));
    let leaving = ended(book.policies(), &lines).unwrap();
    assert_eq!(
        (leaving.retired, leaving.untold),
        (report.retired, report.untold)
    );
}

/// Nobody hides behind a cut what no cut took, and everything that is there is judged as before.
#[test]
fn no_lie_passes_for_a_cut() {
    let mut book = tell(20);
    let cut = story::cut(&mut book);
    let policies = || book.policies();
    let lines = retired(&book, cut);
    let young = cut - 1;
    assert!(!book.is_erased(young));
    let no_cut = "taken by no cut that a state root holds";
    // Too young for the cut; or told to be gone before a root holds the cut; or there was none.
    let mut lied = lines.clone();
    retire(&mut lied, young);
    let evidence = ended(policies(), &lied).unwrap_err();
    assert_eq!(evidence.at, Place::Entry(EntryIndex(young)));
    assert_eq!(evidence.computed, no_cut);
    // Until a root holds the cut it is not finished; what no cut can have taken is a lie all the same.
    let before_the_root = lines.iter().position(
        |line| matches!(line, Line::Entry(fed) if fed.index.0 > cut && fed.meta.entry_type == EntryType::StateRoot),
    );
    let before_the_root = before_the_root.unwrap();
    let checkpoint = Line::Checkpoint(book.checkpoint_at(TreeSize(cut + 1), 3));
    let cut_at = |lines: &[Line]| {
        let mut lines = lines[..before_the_root].to_vec();
        lines.retain(|line| !matches!(line, Line::Checkpoint(_)));
        lines.push(checkpoint.clone());
        let mut audit = Audit::begin(policies());
        lines.iter().for_each(|line| audit.take(line).unwrap());
        audit
    };
    let audit = cut_at(&lines);
    assert_eq!(audit.end(), Ok(()));
    assert_eq!(audit.waiting(), audit.report().retired.unwrap().count);
    assert_eq!(cut_at(&lied).end().unwrap_err().computed, no_cut);
    let other = tell(20);
    let mut lied = feed(&other);
    let access = first(&other, EntryType::Access);
    retire(&mut lied, access);
    let evidence = ended(other.policies(), &lied).unwrap_err();
    assert_eq!(evidence.computed, no_cut);
    // An order to erase it alone takes it out of no list.
    let mut ordered = tell(20);
    let order = Erasure {
        entries: vec![access],
        subject: None,
        before: None,
        types: Vec::new(),
        ground: Ground::NotNecessary,
    };
    ordered.say(
        Content::Erasure(order),
        Vec::new(),
        "garante",
        &["garante.entry"],
    );
    let mut lied = feed(&ordered);
    retire(&mut lied, access);
    let evidence = ended(ordered.policies(), &lied).unwrap_err();
    assert_eq!(evidence.computed, no_cut);
    // Of what is whole, findings and changes are computed.
    let mut lied = lines.clone();
    fed(&mut lied, young).meta.findings.0 ^= 1 << Finding::Late as u8;
    assert!(ended(policies(), &lied).is_err());
    let mut lied = lines.clone();
    let change = fed(&mut lied, young).change.as_mut().unwrap();
    change.left = 1;
    change.lists.clear();
    let evidence = ended(policies(), &lied).unwrap_err();
    assert_eq!(evidence.what, "what it changes under the state root");
    // What stays is not cut.
    let mut lied = lines;
    let genesis_like = first(&book, EntryType::Delegation);
    retire(&mut lied, genesis_like);
    let evidence = ended(policies(), &lied).unwrap_err();
    assert_eq!(evidence.at, Place::Entry(EntryIndex(genesis_like)));
}

/// What an earlier build kept names nobody's terms, so that a cut could be hidden in it: no line of it is read, and the cause is named.
#[test]
fn what_an_earlier_build_kept_is_no_line() {
    let book = tell(20);
    let mut lines = feed(&book);
    let now = fed(&mut lines, 3).change.clone().unwrap().encode();
    let earlier = [&[1], &now[1..]].concat();
    let line = Line::Entry(Box::new(fed(&mut lines, 3).clone())).to_json();
    let told = |change: &[u8]| base64::url_encode(change);
    let line = line.replace(&told(&now), &told(&earlier));
    let why = Line::parse(line.as_bytes()).unwrap_err().to_string();
    assert!(why.contains("version 1, by an earlier build"), "{why}");
    let start = format!("{{\"held\":\"{}\"}}", told(&earlier));
    assert_eq!(
        StartLine::parse(start.as_bytes()).unwrap_err().to_string(),
        why
    );
}

/// Nothing fed, and a feed that ends where nobody published it, are no whole ledger.
#[test]
fn it_ends_where_the_ledger_is_published() {
    let book = tell(20);
    let lines = feed(&book);
    let ends = |lines: &[Line]| {
        let mut audit = Audit::begin(book.policies());
        lines.iter().for_each(|line| audit.take(line).unwrap());
        audit.end().map_err(|evidence| evidence.what)
    };
    assert_eq!(ends(&lines), Ok(()));
    assert_eq!(ends(&[]), Err("the end"));
    assert_eq!(ends(&lines[..3]), Err("the end"));
    assert_eq!(ends(&lines[..lines.len() - 1]), Err("the end"));
}

/// An order excuses what it can have taken, and nothing else that it names.
#[test]
fn an_order_excuses_what_it_may_take() {
    let missing = |index: u64, entries: Vec<u64>, before: Option<u64>, who: &str| {
        let mut book = tell(20);
        let order = Erasure {
            entries,
            subject: None,
            before,
            types: Vec::new(),
            ground: Ground::NotNecessary,
        };
        let key = format!("{who}.entry");
        book.say(Content::Erasure(order), Vec::new(), who, &[key.as_str()]);
        let mut lines = feed(&book);
        fed(&mut lines, index).body = None;
        let mut audit = Audit::begin(book.policies());
        lines.iter().for_each(|line| audit.take(line).unwrap());
        let bytes = audit.encode();
        let audit = Audit::decode(&bytes, book.policies()).unwrap();
        (audit.end().is_ok(), audit.report().untold)
    };
    let book = tell(20);
    let access = first(&book, EntryType::Access);
    let consent = first(&book, EntryType::Consent);
    // Neither a consent nor what is young goes with a cut.
    for index in [access, consent] {
        assert_eq!(
            missing(index, Vec::new(), Some(index + 1), "asl_pv"),
            (false, 0)
        );
    }
    // The authority may ask; whether another may, only the body could tell.
    assert_eq!(missing(access, vec![access], None, "garante"), (true, 0));
    assert_eq!(missing(access, vec![access], None, "inps"), (true, 1));
}

/// One erasure excuses what was judged by it, and nothing else.
#[test]
fn an_erasure_excuses_no_other_lie() {
    type Tell = fn(&mut Fed);
    let lies: &[Tell] = &[
        |note| note.meta.findings.0 ^= 1 << Finding::Late as u8,
        |note| note.meta.findings.0 ^= 1 << Finding::DelegationMissing as u8,
        |note| note.meta.findings.0 ^= 1 << 31,
        |note| note.meta.rules += 1,
        |note| note.meta.first_key.0.0[0] ^= 1,
    ];
    let book = tell(20);
    let mut good = feed(&book);
    let consent = first(&book, EntryType::Consent);
    fed(&mut good, consent).body = None;
    let report = replay(book.policies(), &good).unwrap();
    assert_eq!(report.unjudged_at.len() as u64, report.unjudged);
    let at = (consent..).find(|&index| book.stored(index).meta.entry_type == EntryType::Access);
    let at = at.unwrap();
    for (place, tell) in lies.iter().enumerate() {
        let mut lines = good.clone();
        let lied = fed(&mut lines, at);
        tell(lied);
        // The change that goes with the lie, so that nothing but the judgement contradicts it.
        let leaf_hash = lied.leaf_hash();
        lied.change.as_mut().unwrap().leaf_hash = leaf_hash;
        let evidence = replay(book.policies(), &lines).unwrap_err();
        assert_eq!(
            (evidence.at, evidence.what),
            (Place::Entry(EntryIndex(at)), "what its leaf says"),
            "lie {place}: {evidence}"
        );
    }
}

/// What a lying cluster could tell, and what the auditor must stop at.
#[test]
fn it_stops_at_the_first_lie() {
    type Tell = fn(&Book, &mut Vec<Line>);
    let lies: &[(&str, Tell)] = &[
        ("the root of the tree", |book, lines| {
            // Another salt than the leaf was made with.
            let note = fed(lines, first(book, EntryType::Note));
            note.body.as_mut().unwrap().0[0] ^= 1;
            note.change = None;
        }),
        ("what its leaf says", |book, lines| {
            fed(lines, first(book, EntryType::Note)).meta.findings.0 = 1 << 6;
        }),
        ("what its leaf says", |book, lines| {
            fed(lines, first(book, EntryType::Access)).meta.rules = 2;
        }),
        ("the time of acceptance", |book, lines| {
            fed(lines, first(book, EntryType::Note)).meta.accepted_at_ms = 1;
        }),
        ("the index", |book, lines| {
            let index = first(book, EntryType::Note);
            lines.retain(|line| !matches!(line, Line::Entry(fed) if fed.index.0 == index));
        }),
        ("the index", |_, lines| lines.swap(3, 4)),
        ("an entry", |book, lines| {
            // Another signer's key under the same bytes.
            let access = first(book, EntryType::Access);
            let (salt, other) = fed(lines, access + 1).body.clone().unwrap();
            let (_, entry) = fed(lines, access).body.clone().unwrap();
            let forged = SubmittedEntry::new(
                entry.payload(),
                other.sigs().clone(),
                entry.disclosures().to_vec(),
            );
            fed(lines, access).body = Some((salt, forged.unwrap()));
        }),
        ("what it changes under the state root", |book, lines| {
            let access = first(book, EntryType::Access);
            fed(lines, access).change.as_mut().unwrap().lists.pop();
        }),
        ("its signatures", |book, lines| {
            let size = book.size();
            *lines.last_mut().unwrap() = Line::Checkpoint(book.checkpoint_at(size, 2));
        }),
        ("its place", |book, lines| {
            let size = TreeSize(book.size().0 - 1);
            *lines.last_mut().unwrap() = Line::Checkpoint(book.checkpoint_at(size, 3));
        }),
        ("the root of the tree", |book, lines| {
            // Another ledger of the same nodes: one of the two is a fork.
            let other = tell(21).checkpoint_at(book.size(), 3);
            *lines.last_mut().unwrap() = Line::Checkpoint(other);
        }),
    ];
    let book = tell(20);
    let good = feed(&book);
    for (what, tell) in lies {
        let mut lines = good.clone();
        tell(&book, &mut lines);
        let evidence = replay(book.policies(), &lines).expect_err(what);
        assert_eq!(evidence.what, *what, "{evidence}");
    }
}

/// A node folds wrongly, and signs the root: entry by entry all is well, and the root gives it away.
#[test]
fn a_wrong_state_root_is_caught() {
    let mut book = tell(5);
    let index = book.root_wrongly();
    let evidence = replay(book.policies(), &feed(&book)).unwrap_err();
    assert_eq!(
        (evidence.at, evidence.what),
        (Place::Entry(EntryIndex(index)), "the state root")
    );
}

#[test]
fn another_ledger_is_none_of_its_business() {
    let book = tell(3);
    let other = book.policies().with_genesis(Hash([1; 32]));
    let evidence = replay(other, &feed(&book)).unwrap_err();
    assert_eq!(
        (evidence.at, evidence.what),
        (Place::Entry(EntryIndex(0)), "the genesis")
    );
}
