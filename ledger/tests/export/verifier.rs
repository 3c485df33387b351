// SPDX-License-Identifier: EUPL-1.2
//! The verifier: what it says of exports that hold, and how it calls each lie.

use std::collections::BTreeMap;

use ledger::{
    admission::RowKind,
    body::{
        Content, EntryType,
        system::{Erasure, Ground, Release},
    },
    bytes,
    entry::SubmittedEntry,
    export::{
        Asked, Bound, Export, Fault, Item, Lie, Opened, Remark, Verified, Why, Withheld, verify,
    },
    finding::Finding,
    hash::Hash,
    number::{EntryIndex, TreeSize},
    policy::PolicySet,
};
use proptest::prelude::*;

use crate::{
    book::{Book, Wanted},
    lies::{self, ABOUT_ANNA, ABOUT_HOME},
    story::{self, CODE, access, home, tell},
    town::{Saying, person},
};

fn check(book: &Book, export: &Export) -> Result<Verified, Fault> {
    verify(export, &book.policies(), Asked::default())
}

#[test]
fn a_persons_export_is_complete() {
    let book = tell(20);
    let export = book.export(&Wanted::subject(person("anna")));
    let verified = check(&book, &export).unwrap();
    let [list] = verified.lists() else {
        panic!("one list");
    };
    assert_eq!((list.kind, list.of), (RowKind::Subject, person("anna")));
    // 20 accesses, three compositions, two events of a consent, a note, a read; and one access erased.
    assert_eq!((list.count, list.opened, list.erased), (28, 27, 1));
    assert!(list.withheld.is_empty());
    let (all, covered, by_finding) = verified.accesses();
    assert_eq!((all, covered), (21, 19));
    assert_eq!(by_finding, BTreeMap::from([(Finding::ConsentWithdrawn, 2)]));
    assert_eq!(verified.size(), TreeSize(export.head.state_root.index.0));
    let said = verified.facts();
    assert!(said[0].starts_with(&format!(
        "Complete as of size {}, time 2026-",
        verified.size()
    )));
    assert!(said[1].contains("nobody logged"));
}

#[test]
fn an_order_about_a_person_stands_in_their_list() {
    let mut book = tell(5);
    let asked = story::Asked {
        targets: &["anna", "bruno"],
        ..story::Asked::default()
    };
    let gone = access(&mut book, "inps", "inps.entry", &asked);
    let mut told = Vec::new();
    let order = Erasure {
        entries: vec![gone],
        subject: Some(book.town.seal(person("anna"), &mut told)),
        before: None,
        types: Vec::new(),
        ground: Ground::NotNecessary,
    };
    let by = book.say(Content::Erasure(order), told, "inps", &["inps.entry"]);
    book.erase(gone, by);
    book.root();
    let export = book.export(&Wanted::subject(person("anna")));
    let verified = check(&book, &export).unwrap();
    assert_eq!(verified.lists()[0].erased, 2);
    let last = export.lists[0].items.last();
    assert!(matches!(last, Some(Item::Opened(opened)) if opened.index.0 == by));
}

#[test]
fn nobody_is_proven_to_be_in_no_entry() {
    let book = tell(5);
    let export = book.export(&Wanted::subject(person("nobody")));
    let verified = check(&book, &export).unwrap();
    assert_eq!((verified.lists()[0].count, verified.opened()), (0, 0));
}

#[test]
fn a_household_follows_its_members() {
    let book = tell(20);
    let export = book.export(&Wanted::household(home(), &[]));
    let verified = check(&book, &export).unwrap();
    let of = |name: &str| {
        let lists = verified.lists();
        lists
            .iter()
            .find(|list| list.of == person(name))
            .unwrap()
            .clone()
    };
    // Bruno was asked for after he had moved out: that is none of this household's.
    let outside = BTreeMap::from([(Some(Why::OutsideMembership), 1)]);
    assert_eq!(of("bruno").withheld, outside);
    assert!(of("bruno").opened > 0);
    assert_eq!((of("carla").opened, of("carla").withheld.len()), (3, 0));
    let left = verified
        .spells()
        .iter()
        .filter(|spell| spell.until_ms.is_some());
    assert_eq!(
        left.map(|spell| spell.person).collect::<Vec<_>>(),
        [person("bruno")]
    );

    let export = book.export(&Wanted::household(home(), &[person("bruno")]));
    let verified = check(&book, &export).unwrap();
    assert_eq!(verified.not_opened()[0].of, person("bruno"));
    assert!(
        verified
            .facts()
            .iter()
            .any(|fact| fact.starts_with("NOT IN HERE"))
    );
    assert_eq!(verified.remarks(), [] as [Remark; 0]);
}

#[test]
fn every_lie_is_called_by_its_name() {
    let book = tell(20);
    let told = [
        (Wanted::subject(person("anna")), ABOUT_ANNA),
        (Wanted::household(home(), &[person("bruno")]), ABOUT_HOME),
    ];
    for (wanted, lies) in told {
        let good = book.export(&wanted);
        check(&book, &good).unwrap();
        for (name, lie, tell) in lies {
            let mut export = good.clone();
            tell(&book, &mut export);
            assert_ne!(export, good, "{name} changes nothing");
            let fault = check(&book, &export).expect_err(name);
            assert_eq!(fault.lie, *lie, "{name}: {fault}");
        }
    }
}

#[test]
fn what_happened_outside_of_the_membership_stays_closed() {
    let book = tell(20);
    let mut export = book.export(&Wanted::household(home(), &[]));
    lies::opened_outside(&book, &mut export);
    export.facts = book
        .export(&Wanted::subject(person("bruno")))
        .facts
        .into_iter()
        .chain(export.facts)
        .fold(Vec::new(), |mut facts, fact| {
            if !facts.contains(&fact) {
                facts.push(fact);
            }
            facts
        });
    assert_eq!(
        check(&book, &export).unwrap_err().lie,
        Lie::OutsideMembership
    );
}

/// The body is gone, so whose it was cannot be proven; that an order takes such entries can.
#[test]
fn an_order_excuses_only_what_it_fits() {
    let cut = |types: &[EntryType], gone: fn(&Book) -> u64, years: u64| {
        let mut book = tell(3);
        book.town.now_ms += years * 365 * 86_400_000;
        let order = Erasure {
            entries: Vec::new(),
            subject: None,
            before: Some(book.size().0),
            types: types.to_vec(),
            ground: Ground::NotNecessary,
        };
        let gone = gone(&book);
        let order = Content::Erasure(order);
        let by = book.say(order, Vec::new(), "c_m109", &["c_m109.entry"]);
        book.erase(gone, by);
        book.root();
        let export = book.export(&Wanted::subject(person("anna")));
        check(&book, &export)
            .map(|verified| verified.facts())
            .map_err(|fault| fault.lie)
    };
    let access = |book: &Book| first_of(book, EntryType::Access);
    let consent = |book: &Book| first_of(book, EntryType::Consent);
    let said = cut(&[], access, 3).unwrap();
    let word = "is the exporter's word";
    assert!(said.iter().any(|fact| {
        fact.starts_with("2 entries are shown as erased by ipa:c_m109's order")
            && fact.contains(word)
    }));
    assert!(cut(&[EntryType::Access], access, 3).is_ok());
    assert_eq!(cut(&[EntryType::Note], access, 3), Err(Lie::Changed));
    assert_eq!(cut(&[], access, 1), Err(Lie::Changed), "too young");
    // Whether it held no more for so long, the body said.
    assert!(cut(&[], consent, 3).is_ok());
    assert_eq!(cut(&[], consent, 1), Err(Lie::Changed), "too young");
    let household = |book: &Book| first_of(book, EntryType::Household);
    assert_eq!(cut(&[EntryType::Consent], household, 3), Err(Lie::Changed));
}

/// The first entry of a type in Anna's list.
fn first_of(book: &Book, entry_type: EntryType) -> u64 {
    let export = book.export(&Wanted::subject(person("anna")));
    let mut items = export.lists[0].items.iter();
    let index = items.find_map(|item| match item {
        Item::Opened(opened) if opened.meta.entry_type == entry_type => Some(opened.index.0),
        _ => None,
    });
    index.unwrap()
}

/// A release stands in the person's list in the place of the access: what it released must be here too, and name the person.
#[test]
fn what_was_released_is_shown_or_said_to_be_missing() {
    let mut book = tell(3);
    let secret = crate::story::Asked {
        targets: &["anna"],
        hidden: true,
        ..Default::default()
    };
    let secret = crate::story::access(&mut book, "garante", "garante.entry", &secret);
    let mut told = Vec::new();
    let release = Release {
        subjects: vec![book.town.seal(person("anna"), &mut told)],
    };
    let saying = Saying {
        institution: "garante".to_owned(),
        signers: vec!["garante.entry".to_owned()],
        refers_to: Some(book.town.reference(secret)),
        ..Saying::default()
    };
    let release = book.say_so(Content::Release(release), told, &saying);
    book.root();
    let mut export = book.export(&Wanted::subject(person("anna")));
    let missing = [Remark::ReleasedNotShown(EntryIndex(release))];
    let verified = check(&book, &export).unwrap();
    assert_eq!(verified.remarks(), missing);
    let said = format!("NOT SHOWN: what entry {release} released is not in here.");
    assert!(verified.facts().contains(&said));

    export.records.push(book.record(secret));
    let verified = check(&book, &export).unwrap();
    assert_eq!(verified.remarks(), missing, "it names nobody");

    let stored = book.stored(secret);
    let record = export.records.pop().unwrap();
    let record = Opened::of(record.index, &stored, |_| true, record.path);
    export.records.push(record.unwrap());
    let verified = check(&book, &export).unwrap();
    assert_eq!(verified.remarks(), [] as [Remark; 0]);
}

/// A member who had the disclosure erased is not known any more; without the order it was left out.
#[test]
fn an_erased_member_leaves_the_membership_partial() {
    let mut book = tell(3);
    let composition = first_of(&book, EntryType::Household);
    let mut told = Vec::new();
    let order = Erasure {
        entries: vec![composition],
        subject: Some(book.town.seal(person("bruno"), &mut told)),
        before: None,
        types: Vec::new(),
        ground: Ground::NotNecessary,
    };
    let order = Content::Erasure(order);
    let by = book.say(order, told, "c_m109", &["c_m109.entry"]);
    book.root();
    let mut export = book.export(&Wanted::household(home(), &[person("bruno")]));
    assert_eq!(check(&book, &export).unwrap().remarks(), []);
    let opened = export.lists[0]
        .items
        .iter_mut()
        .find_map(|item| match item {
            Item::Opened(opened) if opened.index.0 == composition => Some(opened),
            _ => None,
        });
    let entry = &mut opened.unwrap().entry;
    let mut disclosures = entry.disclosures().to_vec();
    disclosures.pop();
    *entry = SubmittedEntry::new(entry.payload(), entry.sigs().clone(), disclosures).unwrap();
    assert_eq!(check(&book, &export).unwrap_err().lie, Lie::Missing);
    export.records.push(book.record(by));
    let verified = check(&book, &export).unwrap();
    let composition = EntryIndex(composition);
    let by = EntryIndex(by);
    assert_eq!(
        verified.remarks(),
        [
            Remark::MembershipPartial,
            Remark::MemberErased { composition, by }
        ]
    );
}

#[test]
fn a_withheld_item_folds_and_is_counted_by_its_reason() {
    let book = tell(20);
    let mut export = book.export(&Wanted::subject(person("anna")));
    let Item::Opened(opened) = export.lists[0].items[6].clone() else {
        panic!("opened");
    };
    let item = book.stored(opened.index.0).item(&person("anna"));
    export.lists[0].items[6] = Item::Withheld(ledger::export::Withheld { item, why: None });
    let verified = check(&book, &export).unwrap();
    assert_eq!(verified.withheld(), BTreeMap::from([(None, 1)]));
    assert!(
        verified
            .facts()
            .iter()
            .any(|fact| fact.contains("no reason is given"))
    );
    assert_eq!(verified.remarks(), [Remark::LinksPartial]);
}

#[test]
fn an_older_root_is_named() {
    let mut book = tell(20);
    let wanted = Wanted::subject(person("anna"));
    let old = book.export(&wanted);
    let size = old.head.state_root.index.size();
    let asked = |at_least| Asked {
        at_least: Some(at_least),
        ..Asked::default()
    };
    let policies = book.policies();
    let covered = TreeSize(size.0 - 1);
    assert!(verify(&old, &policies, asked(covered)).is_ok());
    assert_eq!(
        verify(&old, &policies, asked(size)).unwrap_err().lie,
        Lie::OldRoot
    );

    crate::story::access(
        &mut book,
        "inps",
        "inps.entry",
        &crate::story::Asked {
            targets: &["anna"],
            ..Default::default()
        },
    );
    book.root();
    let new = book.export(&wanted);
    let since = |old: &Export, new: &Export| {
        let asked = Asked {
            since: Some(old),
            ..Asked::default()
        };
        verify(new, &policies, asked).map_err(|fault| fault.lie)
    };
    assert!(since(&old, &new).is_ok());
    assert!(since(&new, &new).is_ok());
    assert_eq!(since(&new, &old), Err(Lie::OldRoot));
    let other = book.export(&Wanted::subject(person("dario")));
    assert_eq!(since(&old, &other), Err(Lie::Anothers));
    let mut broken = old.clone();
    broken.lists[0].items.pop();
    assert_eq!(
        since(&broken, &new),
        Err(Lie::Missing),
        "the earlier one must hold too"
    );
}

/// A cut moved bases: what is left still goes on from the earlier export, and what is gone is said not to be compared.
#[test]
fn a_list_that_retention_shortened_goes_on() {
    let wanted = Wanted::subject(person("anna"));
    let mut book = tell(20);
    let old = book.export(&wanted);
    let old_home = book.export(&Wanted::household(story::home(), &[]));
    story::cut(&mut book);
    let new = book.export(&wanted);
    let policies = book.policies();
    let since = |old: &Export, new: &Export| {
        let asked = Asked {
            since: Some(old),
            ..Asked::default()
        };
        verify(new, &policies, asked)
    };
    let verified = since(&old, &new).unwrap();
    let list = &verified.lists()[0];
    assert!(list.base_count > 10 && list.erased > 2, "{list:?}");
    assert_eq!(verified.not_compared(), list.base_count);
    let said = verified.facts().join("\n");
    let compared = format!("NOT COMPARED: {} entries", list.base_count);
    assert!(said.contains(&compared), "{said}");
    let older = format!("; {} older ones, all from before 2026-", list.base_count);
    assert!(said.contains(&older), "{said}");
    assert_eq!(since(&new, &new).unwrap().not_compared(), 0);
    // The household of which the last composition holds.
    let home = book.export(&Wanted::household(story::home(), &[]));
    assert!(since(&old_home, &home).unwrap().not_compared() > 2);
    let home = check(&book, &home).unwrap();
    assert_eq!(home.lists()[0].base_count, 2);
    assert!(home.remarks().contains(&Remark::MembershipPartial));
    // A person of whom nothing is left, and then something new.
    let gone = Wanted::subject(person("dario"));
    let emptied = book.export(&gone);
    assert_eq!(emptied.lists[0].head.value, None);
    let earlier = tell(20).export(&gone);
    let count = earlier.lists[0].items.len() as u64;
    assert_eq!(since(&earlier, &emptied).unwrap().not_compared(), count);
    let asked = story::Asked {
        targets: &["dario"],
        ..Default::default()
    };
    story::access(&mut book, "inps", "inps.entry", &asked);
    book.root();
    let anew = book.export(&gone);
    assert_eq!(anew.lists[0].head.value.unwrap().count, 1);
    assert_eq!(since(&earlier, &anew).unwrap().not_compared(), count);
}

/// A cluster that all together removes what is not old enough: nothing but an earlier export shows it.
#[test]
fn what_was_removed_before_its_time_is_missed() {
    for (name, all) in [("anna", false), ("dario", true)] {
        let wanted = Wanted::subject(person(name));
        let mut book = tell(20);
        let old = book.export(&wanted);
        let size = book.size().0;
        book.fold_early_cut(if all { size } else { size / 2 });
        book.root();
        let new = book.export(&wanted);
        assert_eq!(new.lists[0].head.value.is_none(), all);
        assert!(verify(&new, &book.policies(), Asked::default()).is_ok());
        let asked = Asked {
            since: Some(&old),
            ..Asked::default()
        };
        let fault = verify(&new, &book.policies(), asked).unwrap_err();
        assert_eq!(fault.lie, Lie::Missing, "{fault}");
    }
}

/// An item is the same wherever it is withheld, so that nobody says that a list began anew which did not. How old one was that both exports
/// withhold nobody sees, and it is said.
#[test]
fn what_is_withheld_is_compared_as_far_as_it_can_be() {
    let wanted = Wanted::subject(person("dario"));
    let withheld = |export: &mut Export| {
        for item in &mut export.lists[0].items {
            let (meta_salt, leaf_hash) = match &*item {
                Item::Opened(opened) => (opened.meta_salt(), opened.leaf_hash()),
                Item::Erased(erased) => (erased.meta_salt, erased.leaf_hash()),
                Item::Withheld(_) => continue,
            };
            *item = Item::Withheld(Withheld {
                item: bytes::item(&meta_salt, &person("dario"), &leaf_hash),
                why: Some(Why::Another),
            });
        }
    };
    let since = |old: &Export, new: &Export, book: &Book| {
        let asked = Asked {
            since: Some(old),
            ..Asked::default()
        };
        verify(new, &book.policies(), asked)
    };
    let mut book = tell(20);
    let old = book.export(&wanted);
    let Some(Item::Opened(last)) = old.lists[0].items.last() else {
        panic!("an opened item");
    };
    let again = last.index.0;
    let count = old.lists[0].items.len() as u64;
    let mut closed = old.clone();
    withheld(&mut closed);
    // Two years on all of it was old enough, by the time of the earlier root.
    story::cut(&mut book);
    let emptied = book.export(&wanted);
    let verified = since(&closed, &emptied, &book).unwrap();
    assert_eq!(
        (verified.not_compared(), verified.not_compared_unseen()),
        (count, 0)
    );
    // One of those that are said to be gone stands in the list that began anew.
    book.fold_again(again);
    book.root();
    let mut anew = book.export(&wanted);
    withheld(&mut anew);
    assert!(verify(&anew, &book.policies(), Asked::default()).is_ok());
    for earlier in [&old, &closed] {
        let fault = since(earlier, &anew, &book).unwrap_err();
        assert_eq!(fault.lie, Lie::Changed, "{fault}");
    }
    // Removed before its time: shown it is missed, withheld it is said that nobody sees.
    let mut book = tell(20);
    book.fold_early_cut(book.size().0);
    book.root();
    let emptied = book.export(&wanted);
    assert_eq!(since(&old, &emptied, &book).unwrap_err().lie, Lie::Missing);
    let verified = since(&closed, &emptied, &book).unwrap();
    assert_eq!(verified.not_compared_unseen(), count);
    let said = verified.facts().join("\n");
    assert!(
        said.contains(&format!("NOT KNOWN: whether {count} of these")),
        "{said}"
    );
}

/// Two ledgers under the same keys, one of which forgot an access: what a cluster that rewrites history would hand out.
#[test]
fn a_rewritten_history_is_no_continuation() {
    let wanted = Wanted::subject(person("anna"));
    let (honest, other) = (tell(21), tell(20));
    let (old, mut new) = (honest.export(&wanted), other);
    for _ in 0..3 {
        crate::story::access(
            &mut new,
            "inps",
            "inps.entry",
            &crate::story::Asked {
                targets: &["anna"],
                ..Default::default()
            },
        );
    }
    new.root();
    let asked = Asked {
        since: Some(&old),
        ..Asked::default()
    };
    let fault = verify(&new.export(&wanted), &new.policies(), asked).unwrap_err();
    assert_eq!(fault.lie, Lie::Changed);
}

#[test]
fn the_ref_is_that_of_the_code() {
    let book = tell(3);
    let export = book.export_bound(CODE);
    let policies = book.policies();
    let verify_for = |export: &Export, code| {
        let asked = Asked {
            code: Some(code),
            ..Asked::default()
        };
        verify(export, &policies, asked)
            .map(|verified| (verified.bound(), verified.opened()))
            .map_err(|fault| fault.lie)
    };
    assert_eq!(verify_for(&export, CODE), Ok((Bound::Yes, 1)));
    assert_eq!(verify_for(&export, "VRDLGI80A01H501U"), Err(Lie::Binding));
    assert_eq!(check(&book, &export).unwrap().bound(), Bound::NotAsked);
    // Another's ref under this code's binding, a changed blind, and no binding at all.
    let mut another = export.clone();
    another.head.about.of = person("anna");
    another.lists = book.export(&Wanted::subject(person("anna"))).lists;
    assert!(verify_for(&another, CODE).is_err());
    let mut changed = export.clone();
    changed.head.binding.as_mut().unwrap().blind[0] ^= 1;
    assert_eq!(verify_for(&changed, CODE), Err(Lie::Binding));
    let mut unbound = export.clone();
    unbound.head.binding = None;
    assert_eq!(verify_for(&unbound, CODE), Err(Lie::Binding));
    let mut unexplained = export;
    unexplained.records.clear();
    assert_eq!(verify_for(&unexplained, CODE), Err(Lie::Missing));
}

#[test]
fn without_a_policy_for_the_size_nothing_is_said() {
    let book = tell(3);
    let export = book.export(&Wanted::subject(person("anna")));
    let text = String::from_utf8(book.policies().format()).unwrap();
    let later = text.replacen("log ", "# visto: from size 100000\nlog ", 1);
    let policies = PolicySet::parse(later.as_bytes()).unwrap();
    let fault = verify(&export, &policies, Asked::default()).unwrap_err();
    assert_eq!(fault.lie, Lie::NoPolicy);
}

/// What an export claims: all that the verifier says, and every entry, but for what is said to be the exporter's word alone.
fn claims(export: &Export, verified: &Verified) -> String {
    let proven = |fact: &String| !fact.starts_with("NOT ");
    let said: Vec<String> = verified.facts().into_iter().filter(proven).collect();
    let lists: Vec<_> = export
        .lists
        .iter()
        .map(|list| (list.head.clone(), &list.items))
        .collect();
    let times = |item: &Item| match item {
        Item::Erased(erased) => format!("{:?}", (erased.index, erased.meta, erased.by)),
        Item::Withheld(withheld) => format!("{}", withheld.item),
        Item::Opened(opened) => format!("{:?} {}", opened.meta, opened.entry.to_wire()),
    };
    let items: Vec<String> = lists
        .iter()
        .flat_map(|(_, items)| items.iter().map(times))
        .collect();
    let refs: Vec<Hash> = lists.iter().map(|(head, _)| head.of).collect();
    format!("{said:?} {refs:?} {items:?} {:?}", export.facts.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 1500 } else { 4000 }))]
    /// One byte of an export changed: it does not verify, or it says what it said before.
    #[test]
    fn no_byte_changes_what_is_claimed(at in any::<prop::sample::Index>(), flip in 1..=255u8, household in any::<bool>()) {
        let (policies, texts, claimed) = shared();
        let text = &texts[usize::from(household)];
        let mut bytes = text.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(export) = Export::parse(&bytes)
            && let Ok(verified) = verify(&export, policies, Asked::default())
        {
            prop_assert_eq!(&claims(&export, &verified), &claimed[usize::from(household)], "byte {}", at);
        }
    }
}

type Shared = (PolicySet, [Vec<u8>; 2], [String; 2]);

fn shared() -> &'static Shared {
    static SHARED: std::sync::OnceLock<Shared> = std::sync::OnceLock::new();
    SHARED.get_or_init(|| {
        let book = tell(3);
        let exports = [
            book.export(&Wanted::subject(person("anna"))),
            book.export(&Wanted::household(home(), &[person("bruno")])),
        ];
        let claims = exports.each_ref().map(|export| {
            let verified = verify(export, &book.policies(), Asked::default()).unwrap();
            claims(export, &verified)
        });
        let texts = exports.map(|export| export.to_json().into_bytes());
        (book.policies(), texts, claims)
    })
}
