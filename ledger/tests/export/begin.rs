// SPDX-License-Identifier: EUPL-1.2
//! Audits of the small ledger that begin at a state root: they come to what an audit from genesis comes to, name what no root proves, and
//! believe no start that was tampered with.

use ledger::{
    admission::RowKind,
    audit::{Audit, Beginning, Evidence, Fed, Line, Place, StartLine, Unproven},
    body::{
        Body, Content, EntryType, StreamPlace,
        consent::ConsentEvent,
        governance::{PolicyText, Role},
    },
    bytes::{self, state::StateKey, state::kind},
    finding::Finding,
    hash::Hash,
    number::{EntryIndex, TreeSize},
    policy::PolicySet,
};

use crate::{
    audit::feed,
    book::{Book, of},
    story::{self, Asked, access, consent, tell},
    town::{Saying, person},
};

mod cuts;

const GOVERNORS: [&str; 2] = ["inps.governance", "garante.governance"];

/// A ledger, a start in the middle of it, and what is fed after.
struct Told {
    book: Book,
    start: Vec<StartLine>,
    rest: Vec<Line>,
    /// Where the start is.
    at: u64,
    /// A consent's use before the start, after it, and an exchange told again: after the start.
    again: u64,
}

fn govern(book: &mut Book, content: Content) -> u64 {
    let saying = Saying {
        institution: "inps".to_owned(),
        signers: GOVERNORS.map(str::to_owned).to_vec(),
        refers_to: book.town.governed(),
        ..Saying::default()
    };
    book.say_so(content, Vec::new(), &saying)
}

fn role(granted: bool) -> Content {
    Content::Role(Role {
        institution: of("asl_pv"),
        role: "dpo".to_owned(),
        granted,
    })
}

/// The next entry of a stream: a policy, so that governance has one too.
fn policy(book: &mut Book, n: u64, prev: Hash) -> Hash {
    let saying = Saying {
        institution: "inps".to_owned(),
        signers: GOVERNORS.map(str::to_owned).to_vec(),
        refers_to: book.town.governed(),
        stream: Some(StreamPlace {
            name: "atti".to_owned(),
            n,
            prev,
        }),
        ..Saying::default()
    };
    let text = format!("policy {n}");
    let at = book.say_so(Content::Policy(PolicyText { text }), Vec::new(), &saying);
    bytes::stream_prev(book.town.entry(at).submitted.pae())
}

/// Says an access once more, in an entry of its own.
fn again(book: &mut Book, index: u64) -> u64 {
    let submitted = book.town.entry(index).submitted.clone();
    let body = Body::parse(submitted.payload(), submitted.disclosures()).unwrap();
    let name = body
        .common
        .institution
        .as_str()
        .strip_prefix("ipa:")
        .unwrap();
    let key = format!("{name}.entry");
    let told = submitted.disclosures().to_vec();
    book.say(body.content, told, name, &[key.as_str()])
}

fn asked(consent: Option<&str>) -> Asked<'_> {
    Asked {
        targets: &["dario"],
        consent,
        ..Asked::default()
    }
}

fn told() -> Told {
    let mut book = tell(20);
    let prev = policy(&mut book, 1, Hash::ZERO);
    // A gap, and a fork.
    policy(&mut book, 4, prev);
    policy(&mut book, 4, prev);
    govern(&mut book, role(true));
    consent(&mut book, "dario", "consenso-2", ConsentEvent::Given);
    consent(&mut book, "elsa", "consenso-3", ConsentEvent::Given);
    book.link(person("anna"), person("anna-2"));
    let first = access(&mut book, "inps", "inps.entry", &asked(None));
    book.root();
    // Behind the root and before the start.
    consent(&mut book, "dario", "consenso-4", ConsentEvent::Given);
    govern(&mut book, role(false));
    let published = book.size();
    consent(&mut book, "elsa", "consenso-3", ConsentEvent::Withdrawn);
    let start = book.start(published);
    let at = book.size().0;
    for record in ["consenso-2", "consenso-4"] {
        access(&mut book, "asl_pv", "asl_pv.entry", &asked(Some(record)));
    }
    let withdrawn = Asked {
        targets: &["elsa"],
        consent: Some("consenso-3"),
        ..Asked::default()
    };
    access(&mut book, "asl_pv", "asl_pv.entry", &withdrawn);
    let again = again(&mut book, first);
    book.town.now_ms += 150 * 86_400_000;
    consent(&mut book, "dario", "consenso-2", ConsentEvent::Given);
    access(
        &mut book,
        "asl_pv",
        "asl_pv.entry",
        &asked(Some("consenso-2")),
    );
    govern(&mut book, role(true));
    book.root();
    let rest = rest(&book, at);
    Told {
        book,
        start,
        rest,
        at,
        again,
    }
}

fn rest(book: &Book, at: u64) -> Vec<Line> {
    let lines = feed(book).into_iter();
    let before = |line: &Line| !matches!(line, Line::Entry(fed) if fed.index.0 == at);
    lines.skip_while(before).collect()
}

fn begin(policies: PolicySet, start: &[StartLine]) -> Result<Audit, Evidence> {
    let mut beginning = Beginning::new(policies);
    for line in start {
        // As they travel.
        let parsed = StartLine::parse(line.to_json().as_bytes()).unwrap();
        assert_eq!(parsed, *line);
        beginning.take(parsed)?;
    }
    beginning.end()
}

fn replay(policies: PolicySet, start: &[StartLine], rest: &[Line]) -> Result<Audit, Evidence> {
    let mut audit = begin(policies, start)?;
    rest.iter().try_for_each(|line| audit.take(line))?;
    audit.end()?;
    Ok(audit)
}

fn ranges(audit: &Audit, table: Unproven) -> Vec<u64> {
    let ranges = audit.report().not_recomputed.get(&table);
    let ranges = ranges.into_iter().flatten();
    ranges.flat_map(|(from, to)| *from..*to).collect()
}

#[test]
fn it_comes_to_what_genesis_comes_to() {
    let told = told();
    let audit = replay(told.book.policies(), &told.start, &told.rest).unwrap();
    let mut whole = Audit::begin(told.book.policies());
    let lines = feed(&told.book);
    lines.iter().for_each(|line| whole.take(line).unwrap());
    assert_eq!(audit.state_root(), whole.state_root());
    assert_eq!(audit.size(), whole.size());
    let report = audit.report();
    assert_eq!(report.published, told.book.size().0);
    assert_eq!(
        report.types.values().sum::<u64>(),
        told.book.size().0 - told.at
    );
    assert_eq!(report.findings[&Finding::ExchangeAgain], 1);
    assert_eq!(report.findings[&Finding::ConsentWithdrawn], 1);
    // The first two uses: one of a consent that the root knows, one of one behind it. The withdrawal needs no scope, and what was given
    // again after the start is known whole.
    let at = told.at;
    assert_eq!(ranges(&audit, Unproven::Consents), [at, at + 1]);
    assert_eq!(ranges(&audit, Unproven::Links), [0; 0]);
    // What three entries between root and start changed, two of them not opened, the next root proves, and it is behind these.
    assert_eq!(ranges(&audit, Unproven::Changes), [at, at + 1, at + 2]);
    assert_eq!(told.again, at + 3);
    assert_eq!(
        ranges(&audit, Unproven::Exchanges),
        [at, at + 1, at + 2, at + 3]
    );
    assert_eq!(ranges(&audit, Unproven::Ids), [at, at + 1, at + 2, at + 3]);
    assert_eq!(report.not_recomputed_count, 4);
    let beyond = audit.beyond().unwrap();
    assert_eq!(beyond.size(), TreeSize(at));
    let first = told.book.stored(at).meta.accepted_at_ms;
    let last = told.book.stored(at + 4).meta.accepted_at_ms;
    for table in [Unproven::Ids, Unproven::Exchanges] {
        let until = beyond.until(table).unwrap();
        assert!(first < until && until <= last, "{table:?}");
    }
    // From genesis nothing rests on anybody's word.
    assert!(whole.report().not_recomputed.is_empty() && whole.beyond().is_none());
}

#[test]
fn it_goes_on_where_it_was_put_down() {
    let told = told();
    let policies = || told.book.policies();
    let whole = replay(policies(), &told.start, &told.rest).unwrap();
    for cut in [0, 1, 4, told.rest.len()] {
        let mut audit = begin(policies(), &told.start).unwrap();
        let take = |audit: &mut Audit, lines: &[Line]| {
            lines.iter().for_each(|line| audit.take(line).unwrap());
        };
        take(&mut audit, &told.rest[..cut]);
        let bytes = audit.encode();
        let mut audit = Audit::decode(&bytes, policies()).unwrap();
        assert_eq!(audit.encode(), bytes);
        take(&mut audit, &told.rest[cut..]);
        assert_eq!(
            (audit.report(), audit.beyond()),
            (whole.report(), whole.beyond())
        );
    }
}

type Tamper = fn(&mut Vec<StartLine>);
type TamperOf = fn(&mut Vec<StartLine>, u8);

fn place(start: &[StartLine], of_kind: u8) -> usize {
    let found = start.iter().position(|line| match line {
        StartLine::Value(key, _) => key.kind == of_kind,
        _ => false,
    });
    found.unwrap_or_else(|| panic!("no value of kind {of_kind:#x}"))
}

fn value(start: &mut [StartLine], of_kind: u8) -> (&mut StateKey, &mut Vec<u8>) {
    let at = place(start, of_kind);
    let StartLine::Value(key, value) = &mut start[at] else {
        panic!("a value");
    };
    (key, value)
}

fn records(start: &[StartLine], of_type: EntryType) -> Vec<usize> {
    let lines = start.iter().enumerate();
    lines
        .filter(|(_, line)| match line {
            StartLine::Record(fed, _) => fed.meta.entry_type == of_type,
            _ => false,
        })
        .map(|(at, _)| at)
        .collect()
}

fn changes(start: &[StartLine]) -> Vec<usize> {
    let lines = start.iter().enumerate();
    lines
        .filter(|(_, line)| matches!(line, StartLine::Change(_)))
        .map(|(at, _)| at)
        .collect()
}

/// As a liar would: the count at the end is right.
fn recount(start: &mut [StartLine]) {
    let lines = start.len() as u64 - 1;
    if let Some(StartLine::End(told)) = start.last_mut() {
        *told = lines;
    }
}

const UNDER_ROOT: [u8; 11] = [
    kind::SUBJECT,
    kind::HOUSEHOLD,
    kind::KEY,
    kind::INSTITUTION,
    kind::ROLE,
    kind::CONSENT,
    kind::STREAM,
    kind::NODE,
    kind::RULES,
    kind::DELEGATION,
    kind::POLICY,
];

/// Each value under the root, changed, left out, made up, out of order.
#[test]
fn no_value_under_the_root_can_be_told_otherwise() {
    let told = told();
    for of_kind in UNDER_ROOT.into_iter().chain([kind::SEALED]) {
        let lies: [(&str, TamperOf); 4] = [
            ("changed", |start, of_kind| {
                let (_, value) = value(start, of_kind);
                // Still of its form: an index, a count, a number.
                let at = if of_kind == kind::KEY { 50 } else { 7 };
                value[at] ^= 1;
            }),
            ("left out", |start, of_kind| {
                start.remove(place(start, of_kind));
            }),
            ("added", |start, of_kind| {
                let at = place(start, of_kind);
                let StartLine::Value(key, value) = start[at].clone() else {
                    panic!("a value");
                };
                let mut key = key;
                key.name.push(b'x');
                start.insert(at + 1, StartLine::Value(key, value));
            }),
            ("named otherwise", |start, of_kind| {
                let (key, _) = value(start, of_kind);
                key.name.push(0);
            }),
        ];
        for (how, lie) in lies {
            let mut start = told.start.clone();
            lie(&mut start, of_kind);
            recount(&mut start);
            let evidence = replay(told.book.policies(), &start, &told.rest)
                .expect_err(&format!("kind {of_kind:#x} {how}"));
            assert!(
                matches!(evidence.at, Place::Start(_)),
                "kind {of_kind:#x} {how}: {evidence}"
            );
        }
    }
}

/// What the rest of a start is made of, told otherwise.
#[test]
fn no_start_can_be_tampered_with() {
    let lies: &[(&str, Tamper)] = &[
        ("its size", |start| head(start).size.0 += 1),
        ("the index of a change", |start| head(start).size.0 -= 1),
        ("its size", |start| {
            // The next one with another number of peaks.
            let peaks = |size: &u64| size.count_ones();
            let folded = head(start).folded.0;
            let other = (folded..).find(|size| peaks(size) != peaks(&folded));
            head(start).folded.0 = other.unwrap();
        }),
        ("its size", |start| {
            head(start).peaks.pop();
        }),
        ("the root of the tree", |start| {
            head(start).peaks[0].0[0] ^= 1
        }),
        ("its signatures", |start| {
            let size = TreeSize(told().start_published());
            head(start).checkpoint = told().book.checkpoint_at(size, 2);
        }),
        ("the root of the tree", |start| {
            // Another ledger of the same nodes.
            let size = TreeSize(told().start_published());
            head(start).checkpoint = tell(40).checkpoint_at(size, 3);
        }),
        ("its checkpoint", |start| {
            // Of a tree that does not reach the state root.
            let size = TreeSize(head(start).folded.0 - 1);
            head(start).checkpoint = told().book.checkpoint_at(size, 3);
        }),
        ("its state root", |start| {
            let size = head(start).folded;
            head(start).checkpoint = told().book.checkpoint_at(size, 3);
        }),
        ("its order", |start| {
            let head = start[0].clone();
            start.insert(1, head);
        }),
        ("the root of the tree", |start| {
            let at = changes(start)[0];
            change(start, at).leaf_hash.0[0] ^= 1;
        }),
        ("the index of a change", |start| {
            let at = changes(start)[0];
            start.remove(at);
        }),
        ("the index of a change", |start| {
            let at = changes(start)[1];
            start.swap(at, at + 1);
        }),
        ("the index of a change", |start| {
            let at = *changes(start).last().unwrap();
            let mut more = start[at].clone();
            if let StartLine::Change(change) = &mut more {
                change.index.0 += 1;
            }
            start.insert(at + 1, more);
        }),
        ("its size", |start| {
            let at = *changes(start).last().unwrap();
            start.remove(at);
        }),
        ("the scope of a consent", |start| {
            // A consent behind the root: what it writes.
            let at = changes(start)[1];
            change(start, at).writes[0].1 = None;
        }),
        ("what it changes under the state root", |start| {
            let at = changes(start)[2];
            change(start, at).writes.clear();
        }),
        ("the state root", |start| {
            // Which lists a change folds into only the next root proves.
            let at = changes(start)[1];
            change(start, at).lists[0].1.0[0] ^= 1;
        }),
        ("the registry", |start| {
            let at = *records(start, EntryType::Role).last().unwrap();
            start.remove(at);
        }),
        ("the registry", |start| {
            // Granted and revoked: the state is the same without both.
            for at in records(start, EntryType::Role).into_iter().rev() {
                start.remove(at);
            }
        }),
        ("the registry", |start| {
            // The first of its chain stands before: whoever follows names what is not there.
            let at = *records(start, EntryType::Policy).last().unwrap();
            start.truncate(at);
            start.extend(told().start.into_iter().skip(at + 1).filter(|line| {
                !matches!(line, StartLine::Record(fed, _) if fed.meta.entry_type != EntryType::StateRoot)
            }));
        }),
        ("an entry", |start| {
            let at = records(start, EntryType::Delegation)[0];
            start.remove(at);
        }),
        ("an entry", |start| {
            let at = records(start, EntryType::Key)[0];
            record(start, at).meta.accepted_at_ms += 1;
        }),
        ("an entry", |start| {
            let at = records(start, EntryType::Key)[0];
            record(start, at).body = None;
        }),
        ("the order of entries", |start| {
            let at = records(start, EntryType::StateRoot)[0];
            start.swap(at, at + 1);
        }),
        ("an entry", |start| {
            let at = records(start, EntryType::Key)[0];
            if let StartLine::Record(_, path) = &mut start[at] {
                path.pop();
            }
        }),
        ("an entry", |start| {
            // One that is in the tree, and none of the registry.
            let told = told();
            let index = (0..).find(|at| told.book.stored(*at).meta.entry_type == EntryType::Access);
            let index = index.unwrap();
            let at = records(start, EntryType::Policy)[0];
            let line = told.record(index);
            start.insert(at, line);
        }),
        ("the first entry", |start| {
            let at = records(start, EntryType::Genesis)[0];
            start.remove(at);
        }),
        ("its state root", |start| {
            let at = records(start, EntryType::StateRoot)[0];
            start.remove(at);
        }),
        ("the state root", |start| {
            // An older root.
            let told = told();
            let older =
                (0..).find(|at| told.book.stored(*at).meta.entry_type == EntryType::StateRoot);
            let at = records(start, EntryType::StateRoot)[0];
            start.remove(at);
            let line = told.record(older.unwrap());
            start.insert(records(start, EntryType::Policy)[0], line);
        }),
        ("the scope of a consent", |start| {
            start.remove(place(start, kind::CONSENT_FOLD));
        }),
        ("the scope of a consent", |start| {
            // Of another event.
            value(start, kind::CONSENT_FOLD).1[0] = 1;
        }),
        ("the scope of a consent", |start| {
            let at = place(start, kind::CONSENT_FOLD);
            let mut more = start[at].clone();
            if let StartLine::Value(key, _) = &mut more {
                key.name.push(b'x');
            }
            start.insert(at + 1, more);
        }),
        ("a value", |start| {
            // Told after the start.
            value(start, kind::EXCHANGE).1[0] = 1;
        }),
        ("a value", |start| {
            value(start, kind::SEALED_ENTRY).0.name[0] = 1;
        }),
        ("a value", |start| {
            value(start, kind::ERASURE).1.pop();
        }),
        ("a value", |start| {
            value(start, kind::LINK).1.pop();
        }),
        ("a value", |start| {
            let key = StateKey::erasures_of(EntryIndex(0));
            let at = place(start, kind::CEASED);
            start.insert(at, StartLine::Value(key, vec![1]));
        }),
        ("a value", |start| {
            value(start, kind::CEASED).1.pop();
        }),
        ("a value", |start| {
            value(start, kind::CEASED).0.name[0] = 1;
        }),
        ("a value", |start| {
            value(start, kind::COMPOSITION).1.pop();
        }),
        ("what stands in lists", |start| {
            let at = held(start)[2];
            start.remove(at);
        }),
        ("what stands in lists", |start| {
            let at = held(start)[2];
            start.swap(at, at + 1);
        }),
        ("what stands in lists", |start| {
            let at = held(start)[2];
            stands(start, at).meta_salt = Hash::ZERO;
        }),
        ("what stands in lists", |start| {
            let at = held(start)[2];
            stands(start, at).lists[0].1 = Hash([9; 32]);
        }),
        ("what stands in lists", |start| {
            let last = *held(start).last().unwrap();
            stands(start, last).index = EntryIndex(1_000);
        }),
        ("the number of lists", |start| {
            // One person's list, whole.
            let list = (RowKind::Subject, person("carla"));
            start.retain_mut(|line| match line {
                StartLine::Held(change) => {
                    change.lists.retain(|other| *other != list);
                    !change.lists.is_empty()
                }
                _ => true,
            });
        }),
        ("the order of values", |start| {
            let at = place(start, kind::EXCHANGE);
            start.swap(at, at + 1);
        }),
        ("its number of lines", |start| {
            let last = start.len() - 1;
            start[last] = StartLine::End(7);
        }),
        ("its end", |start| {
            start.pop();
        }),
        ("its order", |start| {
            let end = start.last().unwrap().clone();
            start.push(end);
        }),
    ];
    let told = told();
    let mut otherwise = Vec::new();
    for (number, (what, lie)) in lies.iter().enumerate() {
        let mut start = told.start.clone();
        lie(&mut start);
        if !matches!(*what, "its number of lines" | "its end") {
            recount(&mut start);
        }
        match replay(told.book.policies(), &start, &told.rest) {
            Ok(_) => otherwise.push(format!("lie {number}: {what}: believed")),
            Err(evidence) if evidence.what == *what => {}
            Err(evidence) => otherwise.push(format!("lie {number}: {what}: {evidence}")),
        }
    }
    assert!(otherwise.is_empty(), "{otherwise:#?}");
}

/// A cut after the start: what stood in lists before it leaves them, as it does for who replays from genesis.
#[test]
fn it_follows_a_cut() {
    let mut told = told();
    story::cut(&mut told.book);
    told.rest = rest(&told.book, told.at);
    let audit = replay(told.book.policies(), &told.start, &told.rest).unwrap();
    assert_eq!(audit.report().state_roots, 3);
    // Told to be of a type that stays.
    let notes: Vec<usize> = held(&told.start);
    let mut start = told.start.clone();
    let first = notes
        .into_iter()
        .find(|at| stands(&mut start, *at).terms.entry_type == EntryType::Household);
    stands(&mut start, first.unwrap()).terms.entry_type = EntryType::Link;
    let evidence = replay(told.book.policies(), &start, &told.rest).unwrap_err();
    assert_eq!(evidence.what, "the state root");
}

fn held(start: &[StartLine]) -> Vec<usize> {
    let places = start.iter().enumerate();
    places
        .filter(|(_, line)| matches!(line, StartLine::Held(_)))
        .map(|(at, _)| at)
        .collect()
}

fn stands(start: &mut [StartLine], at: usize) -> &mut ledger::fold::Change {
    match &mut start[at] {
        StartLine::Held(change) => change,
        other => panic!("{other:?} stands in no list"),
    }
}

/// Two refs have a record of one name: had they been joined before the start, the one's would count for the other.
#[test]
fn uses_that_a_link_could_judge_otherwise_are_named() {
    let mut book = tell(5);
    for who in ["dario", "elsa"] {
        consent(&mut book, who, "consenso-2", ConsentEvent::Given);
    }
    book.root();
    let start = book.start(book.size());
    let at = book.size().0;
    let used = asked(Some("consenso-2"));
    access(&mut book, "asl_pv", "asl_pv.entry", &used);
    book.link(person("anna"), person("anna-2"));
    let audit = replay(book.policies(), &start, &rest(&book, at)).unwrap();
    assert_eq!(ranges(&audit, Unproven::Links), [at, at + 1]);
}

/// The last of governance left out breaks no chain; the root names what it wrote.
#[test]
fn the_registry_is_whole() {
    let book = tell(5);
    let mut start = book.start(book.size());
    assert!(begin(book.policies(), &start).is_ok());
    start.remove(records(&start, EntryType::Delegation)[0]);
    recount(&mut start);
    let evidence = begin(book.policies(), &start).unwrap_err();
    assert_eq!(evidence.what, "the registry", "{evidence}");
}

/// What nothing proves is caught where an entry contradicts it, and the evidence says what it rests on; else the entry is named.
#[test]
fn what_no_root_proves_is_caught_or_named() {
    let told = told();
    let policies = || told.book.policies();
    // The exchange that is told again was told before: without it the finding is another.
    let mut start = told.start.clone();
    start.retain(|line| !matches!(line, StartLine::Value(key, _) if key.kind == kind::EXCHANGE));
    recount(&mut start);
    let evidence = replay(policies(), &start, &told.rest).unwrap_err();
    assert_eq!(
        (evidence.at, evidence.what),
        (Place::Entry(EntryIndex(told.again)), "what its leaf says")
    );
    assert!(evidence.computed.ends_with("exchanges"), "{evidence}");
    // Nobody uses a consent for more than it allows, so that nobody sees that it is told to allow more: the uses are named.
    let mut start = told.start.clone();
    let dario = StateKey::consent_fold(&person("dario"), "consenso-2");
    for line in &mut start {
        if let StartLine::Value(key, value) = line
            && *key == dario
        {
            let narrow = ledger::consent::ConsentState::decode(value).unwrap();
            let wide = ledger::consent::ConsentState {
                data_categories: [
                    narrow.data_categories.clone(),
                    vec!["dpv-pd:Health".to_owned()],
                ]
                .concat(),
                ..narrow
            };
            *value = wide.encode();
        }
    }
    let audit = replay(policies(), &start, &told.rest).unwrap();
    assert_eq!(ranges(&audit, Unproven::Consents), [told.at, told.at + 1]);
    // And one that allows less is caught.
    for line in &mut start {
        if let StartLine::Value(key, value) = line
            && *key == dario
        {
            let wide = ledger::consent::ConsentState::decode(value).unwrap();
            *value = ledger::consent::ConsentState {
                data_categories: Vec::new(),
                ..wide
            }
            .encode();
        }
    }
    let evidence = replay(policies(), &start, &told.rest).unwrap_err();
    assert_eq!(evidence.at, Place::Entry(EntryIndex(told.at)));
}

/// Retention cuts what is old after a start: what the start told of it leads to the same lists, and the root is named as resting on that.
#[test]
fn a_cut_after_the_start_is_followed() {
    let (book, start, at) = cut_later();
    let lines = rest(&book, at);
    let audit = replay(book.policies(), &start, &lines).unwrap();
    let mut whole = Audit::begin(book.policies());
    let all = feed(&book);
    all.iter().for_each(|line| whole.take(line).unwrap());
    assert_eq!(audit.state_root(), whole.state_root());
    assert_eq!(audit.report().state_roots, 2);
    let root = (at..).find(|at| book.stored(*at).meta.entry_type == EntryType::StateRoot);
    assert_eq!(ranges(&audit, Unproven::Terms), [root.unwrap()]);
    assert!(ranges(&whole, Unproven::Terms).is_empty());
    // Put down before the cut, it still knows what stands in lists.
    let mut audit = begin(book.policies(), &start).unwrap();
    for line in &lines {
        audit = Audit::decode(&audit.encode(), book.policies()).unwrap();
        audit.take(line).unwrap();
    }
    assert_eq!(audit.state_root(), whole.state_root());
}

/// What stands in lists leads to their heads. Whose it is and how old nothing proves: the cut's root shows it.
#[test]
fn what_stands_in_lists_is_caught_or_leads_to_another_root() {
    let (book, start, at) = cut_later();
    let lines = rest(&book, at);
    let lies: &[(&str, Tamper)] = &[
        ("what stands in lists", |start| {
            stands(start, 4).meta_salt.0[0] ^= 1;
        }),
        ("what stands in lists", |start| {
            stands(start, 4).leaf_hash.0[0] ^= 1;
        }),
        ("what stands in lists", |start| {
            stands(start, 4).lists[0].1.0[0] ^= 1;
        }),
        ("what stands in lists", |start| {
            stands(start, 4).lists.pop();
        }),
        ("what stands in lists", |start| {
            start.remove(4);
        }),
        ("what stands in lists", |start| {
            let more = start[4].clone();
            start.insert(5, more);
        }),
        ("what stands in lists", |start| start.swap(4, 5)),
        ("the number of lists", |start| {
            start.retain(|line| !matches!(line, StartLine::Held(_)));
        }),
        ("the state root", |start| {
            stands(start, 2).terms.entry_type = EntryType::Link;
        }),
        ("a time of acceptance", |start| {
            stands(start, 2).accepted_at_ms += 1_000 * 86_400_000;
        }),
        ("a time of acceptance", |start| {
            stands(start, 4).accepted_at_ms = 0;
        }),
    ];
    for (number, (what, lie)) in lies.iter().enumerate() {
        let mut start = start.clone();
        lie(&mut start);
        recount(&mut start);
        let evidence =
            replay(book.policies(), &start, &lines).expect_err(&format!("lie {number}: {what}"));
        assert_eq!(evidence.what, *what, "lie {number}: {evidence}");
        let by_the_start = evidence.computed.ends_with("tells of: terms");
        assert_eq!(by_the_start, *what == "the state root", "{evidence}");
    }
}

/// A start, and more than two years later a cut.
fn cut_later() -> (Book, Vec<StartLine>, u64) {
    let mut book = tell(20);
    let start = book.start(book.size());
    let at = book.size().0;
    story::cut(&mut book);
    (book, start, at)
}

/// An older root of the same ledger is a start like any other, and the later one follows from it.
#[test]
fn an_older_root_is_an_older_start() {
    let mut book = tell(10);
    let start = book.start(book.size());
    let at = book.size().0;
    access(&mut book, "inps", "inps.entry", &asked(None));
    book.root();
    let lines = rest(&book, at);
    let audit = replay(book.policies(), &start, &lines).unwrap();
    assert_eq!(audit.report().state_roots, 2);
    // With entries left out after it, it is no start of this ledger.
    let later = rest(&book, at + 1);
    let evidence = replay(book.policies(), &start, &later).unwrap_err();
    assert_eq!(evidence.what, "the index");
}

#[test]
fn another_ledgers_start_is_none() {
    let told = told();
    let other = told.book.policies().with_genesis(Hash([1; 32]));
    let evidence = replay(other, &told.start, &told.rest).unwrap_err();
    assert_eq!(evidence.what, "the genesis");
    // The same founders, another story: its start and this one's entries.
    let mut book = tell(7);
    let start = book.start(book.size());
    while book.size().0 < told.at {
        access(&mut book, "inps", "inps.entry", &asked(None));
    }
    book.root();
    let start = if book.size().0 == told.at {
        book.start(book.size())
    } else {
        start
    };
    assert!(replay(book.policies(), &start, &told.rest).is_err());
}

impl Told {
    fn start_published(&self) -> u64 {
        // One entry after the checkpoint.
        self.at - 1
    }

    /// An entry with its path.
    fn record(&self, index: u64) -> StartLine {
        self.book.told_record(index, &self.start)
    }
}

fn head(start: &mut [StartLine]) -> &mut ledger::audit::Head {
    match &mut start[0] {
        StartLine::Head(head) => head,
        _ => panic!("no head"),
    }
}

fn change(start: &mut [StartLine], at: usize) -> &mut ledger::fold::Change {
    match &mut start[at] {
        StartLine::Change(change) => change,
        _ => panic!("no change"),
    }
}

fn record(start: &mut [StartLine], at: usize) -> &mut Fed {
    match &mut start[at] {
        StartLine::Record(fed, _) => fed,
        _ => panic!("no record"),
    }
}
