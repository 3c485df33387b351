// SPDX-License-Identifier: EUPL-1.2
//! Lies that an exporter could tell, each with the name that the verifier must give it. Whoever lies here has the whole ledger at hand,
//! but no key and no second root.

use ledger::{
    body::EntryType,
    bytes::ListValue,
    export::{Erased, Export, Item, Lie, List, NotOpened, Why, Withheld},
    hash::Hash,
    number::EntryIndex,
    state::StateKey,
};

use crate::{
    book::{Book, Wanted},
    story::home,
    town::person,
};

/// Changes an export of the ledger.
type Tell = fn(&Book, &mut Export);

/// What is told, how the verifier must call it, and the lie.
pub(crate) const ABOUT_ANNA: &[(&str, Lie, Tell)] = &[
    ("an-item-left-out", Lie::Missing, |_, export| {
        items(export).remove(3);
    }),
    ("the-last-item-left-out", Lie::Missing, |_, export| {
        items(export).pop();
    }),
    ("all-items-left-out", Lie::Missing, |_, export| {
        items(export).clear()
    }),
    (
        "an-item-left-out-and-another-twice",
        Lie::Added,
        |_, export| {
            let again = items(export)[4].clone();
            items(export)[3] = again;
        },
    ),
    ("an-item-twice", Lie::Added, |_, export| {
        let again = items(export)[4].clone();
        items(export).insert(4, again);
    }),
    ("a-withheld-item-more", Lie::Added, |_, export| {
        items(export).push(withheld(Hash([7; 32])));
    }),
    (
        "an-item-replaced-by-a-made-up-one",
        Lie::Changed,
        |_, export| {
            items(export)[5] = withheld(Hash([7; 32]));
        },
    ),
    (
        "two-items-in-each-others-place",
        Lie::Reordered,
        |_, export| items(export).swap(4, 5),
    ),
    (
        "an-item-of-another-person",
        Lie::Anothers,
        |book, export| {
            let other = book.export(&Wanted::subject(person("dario")));
            let item = other.lists[0]
                .items
                .iter()
                .rfind(|item| !names_anna(book, item));
            items(export)[5] = item.unwrap().clone();
        },
    ),
    (
        "the-list-of-another-person",
        Lie::Missing,
        |book, export| {
            export.lists = book.export(&Wanted::subject(person("dario"))).lists;
        },
    ),
    ("a-second-list", Lie::Anothers, |book, export| {
        export
            .lists
            .extend(book.export(&Wanted::subject(person("dario"))).lists);
    }),
    ("the-list-twice", Lie::Added, |_, export| {
        let list = export.lists[0].clone();
        export.lists.push(list);
    }),
    ("no-list", Lie::Missing, |_, export| export.lists.clear()),
    (
        "the-empty-list-of-somebody-unknown",
        Lie::Changed,
        |book, export| {
            let mut nobody = book
                .export(&Wanted::subject(person("nobody")))
                .lists
                .remove(0);
            nobody.head.of = export.lists[0].head.of;
            export.lists[0] = nobody;
        },
    ),
    ("a-shorter-list-value", Lie::Changed, |_, export| {
        let list = &mut export.lists[0];
        list.items.pop();
        let value = list.head.value.as_mut().unwrap();
        value.count -= 1;
    }),
    (
        "a-base-that-hides-the-beginning",
        Lie::Changed,
        |_, export| {
            let list = &mut export.lists[0];
            list.items.remove(0);
            list.head.value.as_mut().unwrap().base_count += 1;
        },
    ),
    ("a-list-value-of-nothing", Lie::Changed, |_, export| {
        export.lists[0].head.value = Some(ListValue::EMPTY);
        items(export).clear();
    }),
    (
        "a-withheld-disclosure-that-names-the-person",
        Lie::Anothers,
        |book, export| {
            let own = book
                .stored(opened(export).index.0)
                .parse_body()
                .unwrap()
                .unwrap();
            let digests: Vec<Hash> = match own.content {
                ledger::body::Content::Access(access) => access
                    .subjects
                    .iter()
                    .map(|subject| subject.digest)
                    .collect(),
                _ => panic!("an access"),
            };
            change(export, |disclosures| {
                disclosures.retain(|text| !digests.contains(&ledger::disclosure::digest(text)));
            });
        },
    ),
    ("another-entrys-disclosure", Lie::Changed, |book, export| {
        let more = book.stored(opened(export).index.0 + 1).disclosures[0]
            .text()
            .to_owned();
        change(export, |disclosures| disclosures.push(more));
    }),
    ("a-changed-disclosure", Lie::Changed, |_, export| {
        change(export, |disclosures| {
            let changed = if disclosures[0].starts_with('A') {
                "B"
            } else {
                "A"
            };
            disclosures[0].replace_range(..1, changed);
        });
    }),
    ("a-later-time", Lie::Changed, |_, export| {
        opened(export).meta.accepted_at_ms += 1
    }),
    ("a-finding-forgotten", Lie::Changed, |_, export| {
        opened(export).meta.findings.0 ^= 1
    }),
    ("another-rule-set", Lie::Changed, |_, export| {
        opened(export).meta.rules += 1
    }),
    ("another-salt", Lie::Changed, |_, export| {
        opened(export).body_salt[0] ^= 1
    }),
    ("another-index", Lie::Changed, |_, export| {
        opened(export).index.0 += 1
    }),
    ("another-path", Lie::Changed, |_, export| {
        opened(export).path[0].0[0] ^= 1
    }),
    ("a-shorter-path", Lie::Changed, |_, export| {
        opened(export).path.pop();
    }),
    ("another-entrys-envelope", Lie::Changed, |book, export| {
        opened(export).entry = book.record(1).entry;
    }),
    (
        "an-open-entry-said-to-be-erased",
        Lie::Changed,
        |book, export| {
            let by = export.records.last().unwrap().index;
            say_erased(book, export, by);
        },
    ),
    (
        "a-young-entry-said-to-have-gone-by-its-age",
        Lie::Changed,
        |book, export| {
            let cut = newest(book, export, EntryType::Erasure);
            export.records.push(book.record(cut));
            say_erased(book, export, EntryIndex(cut));
        },
    ),
    ("an-erasure-without-its-order", Lie::Missing, |_, export| {
        export
            .records
            .retain(|record| record.index == EntryIndex(0));
    }),
    ("an-erasure-on-another-ground", Lie::Changed, |_, export| {
        for item in items(export) {
            if let Item::Erased(erased) = item {
                erased.ground = Some("objection".to_owned());
            }
        }
    }),
    (
        "an-erased-entry-at-another-time",
        Lie::Changed,
        |_, export| {
            for item in items(export) {
                if let Item::Erased(erased) = item {
                    erased.meta.accepted_at_ms -= 1;
                }
            }
        },
    ),
    ("no-fact-of-a-key", Lie::Unproven, |_, export| {
        export
            .facts
            .retain(|fact| fact.key.kind != ledger::state::kind::KEY);
    }),
    ("no-fact-of-a-delegation", Lie::Unproven, |_, export| {
        export
            .facts
            .retain(|fact| fact.key.kind != ledger::state::kind::DELEGATION);
    }),
    (
        "another-key-under-a-keys-name",
        Lie::Changed,
        |_, export| {
            let mut keys = export
                .facts
                .iter()
                .filter(|fact| fact.key.kind == ledger::state::kind::KEY);
            let (first, second) = (keys.next().unwrap().clone(), keys.next().unwrap().clone());
            let at = export.facts.iter().position(|fact| *fact == first).unwrap();
            export.facts[at].value = second.value;
        },
    ),
    ("a-fact-denied", Lie::Changed, |_, export| {
        export.facts[0].value = None;
    }),
    ("a-fact-twice", Lie::Malformed, |_, export| {
        let fact = export.facts[0].clone();
        export.facts.push(fact);
    }),
    ("a-fact-under-no-root", Lie::Malformed, |_, export| {
        export.facts[0].key = StateKey::governance();
    }),
    ("another-persons-consent", Lie::Anothers, |book, export| {
        export
            .facts
            .push(book.fact(StateKey::consent(&person("dario"), "consenso-9")));
    }),
    ("the-note-signed-by-too-few", Lie::Policy, |book, export| {
        export.head.checkpoint = book.checkpoint(2);
    }),
    ("another-ledgers-origin", Lie::Changed, |_, export| {
        export.head.origin = ledger::note::KeyName::parse("other.visto.example/1").unwrap();
    }),
    (
        "an-entry-that-is-no-state-root",
        Lie::Changed,
        |book, export| {
            export.head.state_root = book.record(1);
        },
    ),
    ("another-state-root", Lie::Changed, |book, export| {
        let older = newest(book, export, EntryType::StateRoot);
        export.head.state_root = book.record(older);
    }),
    ("another-persons-ref", Lie::Missing, |_, export| {
        export.head.about.of = person("dario");
    }),
];

/// As [`ABOUT_ANNA`], of her household, where Bruno's list stays closed.
pub(crate) const ABOUT_HOME: &[(&str, Lie, Tell)] = &[
    ("a-members-list-left-out", Lie::Missing, |_, export| {
        export.lists.pop();
    }),
    ("a-closed-member-forgotten", Lie::Missing, |_, export| {
        export.not_opened.clear()
    }),
    ("a-stranger-among-the-closed", Lie::Anothers, |_, export| {
        export.not_opened.push(NotOpened {
            of: person("dario"),
            why: "adult-without-mandate".to_owned(),
        });
    }),
    ("a-strangers-list", Lie::Anothers, |book, export| {
        export
            .lists
            .extend(book.export(&Wanted::subject(person("dario"))).lists);
    }),
    ("the-households-list-left-out", Lie::Missing, |_, export| {
        export.lists.remove(0);
    }),
    ("a-composition-left-out", Lie::Missing, |_, export| {
        export.lists[0].items.remove(1);
    }),
    ("a-composition-withheld", Lie::Missing, |book, export| {
        let Item::Opened(opened) = export.lists[0].items[1].clone() else {
            panic!("opened");
        };
        let item = book.stored(opened.index.0).item(&home());
        export.lists[0].items[1] = withheld(item);
    }),
    ("a-member-not-disclosed", Lie::Missing, |_, export| {
        let Item::Opened(opened) = &mut export.lists[0].items[1] else {
            panic!("opened");
        };
        let mut disclosures = opened.entry.disclosures().to_vec();
        disclosures.pop();
        reclose(opened, disclosures);
    }),
];

/// What a whole export of Bruno, who moved out, would show beside the household's.
pub(crate) fn opened_outside(book: &Book, export: &mut Export) {
    let whole = book.export(&Wanted::subject(person("bruno")));
    let list = export
        .lists
        .iter_mut()
        .find(|list| list.head.of == person("bruno"));
    list.unwrap().items = whole.lists[0].items.clone();
}

fn items(export: &mut Export) -> &mut Vec<Item> {
    let List { items, .. } = &mut export.lists[0];
    items
}

fn withheld(item: Hash) -> Item {
    Item::Withheld(Withheld {
        item,
        why: Some(Why::Restricted),
    })
}

/// An opened access in the middle of the list.
fn opened(export: &mut Export) -> &mut ledger::export::Opened {
    items(export)
        .iter_mut()
        .skip(4)
        .find_map(|item| match item {
            Item::Opened(opened) if opened.meta.entry_type == ledger::body::EntryType::Access => {
                Some(&mut **opened)
            }
            _ => None,
        })
        .unwrap()
}

fn change(export: &mut Export, change: impl FnOnce(&mut Vec<String>)) {
    let opened = opened(export);
    let mut disclosures = opened.entry.disclosures().to_vec();
    change(&mut disclosures);
    reclose(opened, disclosures);
}

fn reclose(opened: &mut ledger::export::Opened, disclosures: Vec<String>) {
    let (payload, sigs) = (opened.entry.payload().to_vec(), opened.entry.sigs().clone());
    opened.entry = ledger::entry::SubmittedEntry::new(&payload, sigs, disclosures).unwrap();
}

fn names_anna(book: &Book, item: &Item) -> bool {
    let Item::Opened(opened) = item else {
        return false;
    };
    let body = book.stored(opened.index.0).parse_body().unwrap().unwrap();
    ledger::export::persons(&body).contains(&person("anna"))
}

/// The newest entry of a type before the state root.
fn newest(book: &Book, export: &Export, entry_type: EntryType) -> u64 {
    let mut before = 0..export.head.state_root.index.0;
    let newest = before.rfind(|index| book.stored(*index).meta.entry_type == entry_type);
    newest.unwrap()
}

/// Calls the sixth item erased by this order.
fn say_erased(book: &Book, export: &mut Export, by: EntryIndex) {
    let Item::Opened(opened) = items(export)[5].clone() else {
        panic!("opened");
    };
    let stored = book.stored(opened.index.0);
    let erased = Erased::of(opened.index, &stored, opened.path, by, None, None);
    items(export)[5] = Item::Erased(Box::new(erased));
}
