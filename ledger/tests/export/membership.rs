// SPDX-License-Identifier: EUPL-1.2
//! What of a member's list is a household's: a link at any time, a release when what it releases happened.

use ledger::{
    body::{Content, system::Release},
    export::{Asked, Export, Item, Lie, Opened, Remark, verify},
    hash::Hash,
    number::EntryIndex,
};

use crate::{
    book::{Book, Wanted},
    story::{self, home, tell},
    town::{Saying, person},
};

fn check(book: &Book, export: &Export) -> Result<Vec<Remark>, Lie> {
    verify(export, &book.policies(), Asked::default())
        .map(|verified| verified.remarks().to_vec())
        .map_err(|fault| fault.lie)
}

#[test]
fn a_link_made_after_the_membership_is_followed() {
    let mut book = tell(3);
    let again = person("bruno-again");
    // He has moved out.
    book.link(person("bruno"), again);
    let inside = story::Asked {
        targets: &["bruno-again"],
        ago_ms: 2 * 3_600_000,
        ..story::Asked::default()
    };
    let inside = story::access(&mut book, "inps", "inps.entry", &inside);
    book.root();
    let export = book.export(&Wanted::household(home(), &[]));
    assert!(check(&book, &export).is_ok());
    let of = |export: &Export, of: Hash| export.lists.iter().position(|list| list.head.of == of);
    let at = of(&export, again).unwrap();
    let opened = |item: &Item| matches!(item, Item::Opened(opened) if opened.index.0 == inside);
    assert!(export.lists[at].items.iter().any(opened));
    let mut without = export.clone();
    without.lists.remove(at);
    assert_eq!(check(&book, &without), Err(Lie::Missing));
}

#[test]
fn a_release_counts_when_what_it_releases_does() {
    let mut book = tell(3);
    let mut told = Vec::new();
    for ago_ms in [2 * 3_600_000, 0] {
        let secret = story::Asked {
            targets: &["bruno"],
            hidden: true,
            ago_ms,
            ..story::Asked::default()
        };
        let secret = story::access(&mut book, "garante", "garante.entry", &secret);
        let mut disclosures = Vec::new();
        let release = Release {
            subjects: vec![book.town.seal(person("bruno"), &mut disclosures)],
        };
        let saying = Saying {
            institution: "garante".to_owned(),
            signers: vec!["garante.entry".to_owned()],
            refers_to: Some(book.town.reference(secret)),
            ..Saying::default()
        };
        let release = book.say_so(Content::Release(release), disclosures, &saying);
        told.push((secret, release));
    }
    book.root();
    let [(inside, first), (outside, second)] = told[..] else {
        panic!("two");
    };
    let mut export = book.export(&Wanted::household(home(), &[]));
    let shown = |export: &Export, index: u64| {
        let items = export.lists.iter().flat_map(|list| &list.items);
        let mut opened = items.filter_map(|item| match item {
            Item::Opened(opened) => Some(opened.index.0),
            _ => None,
        });
        opened.any(|opened| opened == index)
    };
    assert!(shown(&export, first) && !shown(&export, second));
    let missing = Remark::ReleasedNotShown(EntryIndex(first));
    assert!(check(&book, &export).unwrap().contains(&missing));
    export.records.push(with_all(&book, inside));
    assert!(!check(&book, &export).unwrap().contains(&missing));
    // Opened all the same: nobody can tell when it was, until the access is shown.
    let whole = book.export(&Wanted::subject(person("bruno")));
    let items = &whole.lists[0].items;
    let second = items
        .iter()
        .find(|item| matches!(item, Item::Opened(opened) if opened.index.0 == second));
    let mut lists = export.lists.iter_mut();
    let list = lists.find(|list| list.head.of == person("bruno")).unwrap();
    *list.items.last_mut().unwrap() = second.unwrap().clone();
    assert!(check(&book, &export).is_ok());
    export.records.push(with_all(&book, outside));
    assert_eq!(check(&book, &export), Err(Lie::OutsideMembership));
}

/// A record with all that it discloses.
fn with_all(book: &Book, index: u64) -> Opened {
    let record = book.record(index);
    let stored = book.stored(index);
    Opened::of(record.index, &stored, |_| true, record.path).unwrap()
}
