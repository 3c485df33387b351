// SPDX-License-Identifier: EUPL-1.2
//! Exports, verified as a stranger would: with `ledger`'s verifier and the founders' policy alone.

use std::{collections::BTreeSet, io::Read};

use axum::http::{Method, StatusCode};
use client::build::{Plain, PlainAccess, PlainNote};
use ledger::{
    admission::{Row, RowKind},
    base64,
    body::{
        Body, Content, Reference,
        access::{Side, Visibility},
        system::{NoteKind, NoteOpens},
    },
    export::{self, Asked, Export, Item, Opened, Remark, Verified, Why},
    hash::Hash,
    number::EntryIndex,
    time,
};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    app::now_ms,
    due::Due,
    present::hash_text,
    release::READ_SUBJECTS_MAX,
    testing::{
        AUTHORITY, INPS, TOWN, good_token, institution,
        running::{
            Running, access, access_of, consent_named, erasure, household, link, policy, release,
            sign, sign_about,
        },
    },
};

const DAY: u64 = 86_400_000;

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

/// Orders an export as somebody; the text of a good answer.
async fn order_as(running: &Running, order: &Value, id: &str, role: Role) -> String {
    let answer = running.post_as("/v1/exports", order, id, role).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.text
}

fn citizens(about: Value) -> Value {
    let mut order = json!({"audience": "citizen", "ground": "dpv-gdpr:A15"});
    for (name, value) in about.as_object().unwrap() {
        order[name] = value.clone();
    }
    order
}

/// Verifies; every way to fail is a bug of the exporter.
fn verified(text: &str) -> (Export, Verified) {
    let export = Export::parse(text.as_bytes()).unwrap();
    let verified = export::verify(&export, &policy(), Asked::default());
    let verified = verified.unwrap_or_else(|fault| panic!("{fault:?}"));
    (export, verified)
}

async fn own(running: &Running, of: Hash) -> (Export, Verified) {
    let order = citizens(json!({"subject": hash_text(&of)}));
    verified(&order_as(running, &order, TOWN, Role::Dpo).await)
}

fn items(export: &Export) -> Vec<&Opened> {
    let items = export.lists.iter().flat_map(|list| &list.items);
    items
        .filter_map(|item| match item {
            Item::Opened(opened) => Some(opened.as_ref()),
            _ => None,
        })
        .collect()
}

fn body(opened: &Opened) -> Body {
    Body::parse_partial(opened.entry.payload(), opened.entry.disclosures()).unwrap()
}

fn disclosed(export: &Export) -> String {
    let all = items(export).into_iter().chain(&export.records);
    all.flat_map(|opened| opened.entry.disclosures())
        .map(|text| String::from_utf8(base64::url_decode(text).unwrap()).unwrap())
        .collect()
}

fn about(running: &Running, index: u64) -> Reference {
    let entry = running.node.view().unwrap().entry(EntryIndex(index));
    Reference {
        index: EntryIndex(index),
        leaf: entry.unwrap().unwrap().leaf_hash(),
    }
}

fn accesses(export: &Export) -> Vec<u64> {
    items(export)
        .into_iter()
        .filter(|opened| matches!(body(opened).content, Content::Access(_)))
        .map(|opened| opened.index.0)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_citizens_export_is_complete_and_shows_the_own_part() {
    let running = Running::start().await;
    let now = now_ms();
    let (anna, bruno, carla) = (person(1), person(2), person(3));
    let nobody = own(&running, person(77)).await;
    assert_eq!(nobody.1.lists()[0].count, 0);
    running.accept(&consent_named("r-1", anna, now - DAY)).await;
    let mut plain = access_of(&[anna, bruno, carla]);
    plain.consent_refs = vec!["r-1".to_owned()];
    let bulk = running
        .accept(&sign(TOWN, now, Plain::Access(Box::new(plain.clone()))))
        .await;
    let provider = PlainAccess {
        side: Side::Provider,
        ..plain
    };
    let other = running
        .accept(&sign(INPS, now, Plain::Access(Box::new(provider))))
        .await;
    let (export, told) = own(&running, anna).await;
    assert_eq!(accesses(&export), [bulk, other]);
    assert_eq!(told.lists().len(), 1);
    assert_eq!(told.lists()[0].withheld.len(), 0);
    let shown = disclosed(&export);
    assert!(shown.contains(&hash_text(&anna)) && shown.contains("Domanda di bonus"));
    for hidden in [
        hash_text(&bruno),
        hash_text(&carla),
        "user-secret-7".to_owned(),
        "desk-secret-3".to_owned(),
    ] {
        assert!(!shown.contains(&hidden), "{hidden}");
    }
    // The consent that it rests on is proven, and who the institutions are.
    let kinds: Vec<u8> = export.facts.iter().map(|fact| fact.key.kind).collect();
    for kind in [3, 4, 6, 8, 9, 12] {
        assert!(kinds.contains(&kind), "a fact of kind {kind}");
    }
    let records: Vec<u64> = export.records.iter().map(|record| record.index.0).collect();
    assert!(records.contains(&0), "the genesis names the institutions");
    // Handing it out is on record, with the digest of the very bytes.
    let order = citizens(json!({"subject": hash_text(&anna)}));
    let text = order_as(&running, &order, AUTHORITY, Role::Authority).await;
    let (export, _) = own(&running, anna).await;
    let digest = Hash::of(&[text.as_bytes()]);
    let told: Vec<Body> = items(&export).into_iter().map(body).collect();
    assert!(told.iter().any(|body| match &body.content {
        Content::Disclosure(handed) =>
            handed.export_digest == digest
                && handed.institution == institution(AUTHORITY)
                && handed.ground == "dpv-gdpr:A15 as self",
        _ => false,
    }));
    assert!(told.iter().any(|body| match &body.content {
        Content::Read(read) => read.export_digest == Some(digest) && read.reader.value.is_none(),
        _ => false,
    }));
    running.stop().await;
}

/// Whose lists show that an export was read, and that it was handed out; its entries come from this index on.
fn named(running: &Running, from: u64, export: &str) -> (BTreeSet<Hash>, BTreeSet<Hash>) {
    let digest = Hash::of(&[export.as_bytes()]);
    let view = running.node.view().unwrap();
    let (mut read, mut handed_out) = (BTreeSet::new(), BTreeSet::new());
    for index in from..view.size().0 {
        let stored = view.entry(EntryIndex(index)).unwrap().unwrap();
        let told = stored.disclosures.iter();
        let told: Vec<String> = told.map(|it| it.text().to_owned()).collect();
        let body = Body::parse_partial(&stored.body.unwrap().payload, &told).unwrap();
        match body.content {
            Content::Read(it) if it.export_digest == Some(digest) => {
                read.extend(it.subjects.into_iter().filter_map(|of| of.value));
            }
            Content::Disclosure(it) if it.export_digest == digest => {
                handed_out.extend(it.subjects.into_iter().filter_map(|of| of.value));
            }
            _ => {}
        }
    }
    (read, handed_out)
}

/// Also where one entry does not hold all whose data is read.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_and_its_reading_are_on_record_before_it_leaves() {
    let running = Running::start().await;
    let home = Hash([200; 32]);
    let nth = |n: usize| Hash::of(&[&n.to_be_bytes()]);
    let members: Vec<Hash> = (0..READ_SUBJECTS_MAX + 50).map(nth).collect();
    // As many as one entry holds, and later others.
    let (first, second) = (&members[..150], &members[100..]);
    for (members, from) in [(first, now_ms() - DAY), (second, now_ms() - DAY / 2)] {
        running.accept(&household(home, members, from)).await;
    }
    let before = running.size();
    let open = json!([{"ref": hash_text(&members[0]), "as": "self"}]);
    let order = citizens(json!({"household": hash_text(&home), "open": open}));
    let answer = running
        .post_as("/v1/exports", &order, TOWN, Role::Dpo)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let (read, handed_out) = named(&running, before, &answer.text);
    assert!(read.len() > READ_SUBJECTS_MAX, "{}", read.len());
    assert_eq!(handed_out, [members[0]].into());
    running.stop().await;
}

/// Who is in the entries of another's list finds the reading in the own one, if the export shows them and they may be told.
#[tokio::test(flavor = "multi_thread")]
async fn the_reading_of_an_export_names_all_whom_it_shows() {
    let running = Running::start().await;
    let now = now_ms();
    let (anna, bruno, carla, dario) = (person(1), person(2), person(3), person(4));
    for others in [[bruno, carla], [carla, bruno]] {
        let both = [anna, others[0], others[1]];
        running.accept(&access(&both, now)).await;
    }
    // Released to Anna, and kept from Dario.
    let sealed = running.accept(&secret(&[anna, dario], now)).await;
    running
        .accept(&release(AUTHORITY, about(&running, sealed), anna))
        .await;
    // Not shown any more.
    let gone = running.accept(&access(&[anna, person(5)], now)).await;
    let order = erasure(TOWN, &[gone], Some(person(5)));
    running.accept(&order).await;
    let readers =
        json!({"subject": hash_text(&anna), "audience": "reader", "ground": "dpv:LegalCompliance"});
    let citizens = citizens(json!({"subject": hash_text(&anna)}));
    let all = [anna, bruno, carla];
    for (order, id, role, expected) in [
        (&readers, AUTHORITY, Role::Authority, &all[..]),
        (&readers, INPS, Role::Institution, &all),
        (&citizens, TOWN, Role::Dpo, &[anna]),
    ] {
        let before = running.size();
        let text = order_as(&running, order, id, role).await;
        let shown = disclosed(&Export::parse(text.as_bytes()).unwrap());
        for of in [bruno, carla] {
            let named = expected.contains(&of);
            assert_eq!(shown.contains(&hash_text(&of)), named, "{id}");
        }
        let (read, handed_out) = named(&running, before, &text);
        assert_eq!(read, expected.iter().copied().collect(), "{id}");
        assert_eq!(handed_out, [anna].into(), "{id}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_opens_and_a_restriction_is_counted_where_it_may_be_told() {
    let running = Running::start().await;
    let now = now_ms();
    let anna = person(1);
    let hidden = |ground: &str| {
        let mut plain = access_of(&[anna]);
        plain.visibility = Visibility::Hidden {
            legal_reference: ground.to_owned(),
            authority: institution(AUTHORITY),
        };
        sign(TOWN, now, Plain::Access(Box::new(plain)))
    };
    let note = |by: &str, about: Reference, opens: NoteOpens| {
        let plain = PlainNote {
            kind: NoteKind::Decide,
            text: Some("perché".to_owned()),
            subjects: vec![anna],
            opens: vec![opens],
        };
        sign_about(by, now, Some(about), Plain::Note(plain))
    };
    let seen = running.accept(&access(&[anna], now)).await;
    let secret = running.accept(&hidden("art. 329 c.p.p.")).await;
    let told = running.accept(&hidden("art. 2-undecies")).await;
    let before = own(&running, anna).await.0;
    assert!(!disclosed(&before).contains("user-secret-7"));
    assert!(before.restricted.is_empty());
    for (by, index, opens) in [
        (TOWN, seen, NoteOpens::UserId),
        (TOWN, secret, NoteOpens::Restriction),
        (AUTHORITY, told, NoteOpens::Restriction),
    ] {
        let about = about(&running, index);
        running.accept(&note(by, about, opens)).await;
    }
    let (after, _) = own(&running, anna).await;
    assert!(disclosed(&after).contains("user-secret-7"));
    assert!(!disclosed(&after).contains("desk-secret-3"));
    let restricted: Vec<(&str, u64)> = after
        .restricted
        .iter()
        .map(|restricted| (restricted.ground.as_str(), restricted.count))
        .collect();
    assert_eq!(restricted, [("art. 2-undecies", 1)]);
    assert_eq!(accesses(&after), [seen]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_released_is_explained_and_what_is_sealed_is_nowhere() {
    let running = Running::start().await;
    let now = now_ms();
    let (anna, bruno) = (person(1), person(2));
    let mut plain = access_of(&[anna, bruno]);
    plain.visibility = Visibility::Deferred {
        until: time::format_date(now - DAY),
        legal_reference: "art. 329 c.p.p.".to_owned(),
        authority: None,
    };
    let sealed = running
        .accept(&sign(TOWN, now, Plain::Access(Box::new(plain))))
        .await;
    let (before, told) = own(&running, anna).await;
    assert_eq!((told.lists()[0].count, before.lists[0].items.len()), (0, 0));
    assert!(before.records.iter().all(|record| record.index.0 != sealed));
    Due::default().release(&running.node, now).await.unwrap();
    let (after, _) = own(&running, anna).await;
    let released = after.records.iter().find(|record| record.index.0 == sealed);
    let released = body(released.expect("the access behind the release"));
    assert_eq!(export::persons(&released), [anna]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_follows_births_moves_and_separations() {
    let running = Running::start().await;
    let now = now_ms();
    let ago = |days: u64| now - days * DAY;
    let home = person(90);
    let (anna, bruno, child, other) = (person(1), person(2), person(3), person(4));
    for (members, from) in [
        (vec![anna, bruno], ago(30)),
        (vec![anna, bruno, child], ago(20)),
        (vec![anna, child], ago(10)),
        (vec![anna, child, other], ago(5)),
    ] {
        running.accept(&household(home, &members, from)).await;
    }
    let inside = running.accept(&access(&[anna, bruno], ago(15))).await;
    let after_he_left = running.accept(&access(&[bruno], ago(8))).await;
    let before_birth = running.accept(&access(&[child], ago(25))).await;
    let childs = running.accept(&access(&[child], ago(2))).await;
    let others = running.accept(&access(&[other], ago(1))).await;
    // A reader who may see all: every member's list, cut to the time of membership.
    let order = json!({"household": hash_text(&home), "audience": "reader", "ground": "dpv:LegalCompliance"});
    let (export, told) = verified(&order_as(&running, &order, AUTHORITY, Role::Authority).await);
    let mut seen = accesses(&export);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [inside, childs, others]);
    assert_eq!(told.lists().len(), 5);
    let outside = |n: Hash| {
        let list = told.lists().iter().find(|list| list.of == n).unwrap();
        list.withheld.get(&Some(Why::OutsideMembership)).copied()
    };
    assert!(outside(bruno).is_some() && outside(child).is_some());
    assert!(
        ![after_he_left, before_birth]
            .iter()
            .any(|index| seen.contains(index))
    );
    // Anna asks for herself and her child: the adults' lists are not opened.
    let order = citizens(json!({"household": hash_text(&home), "open": [
        {"ref": hash_text(&anna), "as": "self"}, {"ref": hash_text(&child), "as": "minor"}]}));
    let (export, told) = verified(&order_as(&running, &order, TOWN, Role::Dpo).await);
    let mut closed: Vec<Hash> = told.not_opened().iter().map(|member| member.of).collect();
    closed.sort_unstable();
    assert_eq!(closed, [bruno, other]);
    let mut seen = accesses(&export);
    seen.sort_unstable();
    assert_eq!(seen, [inside, childs]);
    // Of the access to both, Bruno's part stays closed, though the household tells who he is.
    let both = items(&export)
        .into_iter()
        .find(|opened| opened.index.0 == inside);
    assert_eq!(export::persons(&body(both.unwrap())), [anna]);
    // With a mandate his list is there.
    let order = citizens(json!({"household": hash_text(&home), "open": [
        {"ref": hash_text(&anna), "as": "self"}, {"ref": hash_text(&bruno), "as": "mandate"}]}));
    let (_, told) = verified(&order_as(&running, &order, TOWN, Role::Dpo).await);
    assert!(told.lists().iter().any(|list| list.of == bruno));
    // Whoever may not see the compositions, or names a stranger, gets nothing.
    let order = json!({"household": hash_text(&home), "audience": "reader", "ground": "dpv:LegalCompliance"});
    let answer = running
        .post_as("/v1/exports", &order, INPS, Role::Institution)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().as_str()),
        (404, "not-found")
    );
    let order = citizens(json!({"household": hash_text(&home), "open": [
        {"ref": hash_text(&person(50)), "as": "self"}]}));
    let answer = running
        .post_as("/v1/exports", &order, TOWN, Role::Dpo)
        .await;
    assert_eq!(answer.status.as_u16(), 400, "{}", answer.text);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_bring_the_other_list_and_readers_get_what_they_may_see() {
    let running = Running::start().await;
    let now = now_ms();
    let (old, new) = (person(1), person(2));
    let before = running.accept(&access(&[old], now)).await;
    running.accept(&link(old, new)).await;
    let after = running.accept(&access(&[new], now)).await;
    for of in [old, new] {
        let (export, told) = own(&running, of).await;
        assert_eq!(told.lists().len(), 2);
        let mut seen = accesses(&export);
        seen.sort_unstable();
        assert_eq!(seen, [before, after]);
    }
    // An institution that took part in the accesses sees them; that others took exports is not its to see.
    let order =
        json!({"subject": hash_text(&old), "audience": "reader", "ground": "dpv:LegalCompliance"});
    let (export, told) = verified(&order_as(&running, &order, INPS, Role::Institution).await);
    assert!(accesses(&export).contains(&before));
    let list = told.lists().iter().find(|list| list.of == old).unwrap();
    assert!(list.withheld[&Some(Why::Another)] > 0);
    assert!(!disclosed(&export).contains("user-secret-7"));
    running.stop().await;
}

/// An access that its authority keeps from the persons named.
fn secret(of: &[Hash], occurred_at_ms: u64) -> ledger::entry::SubmittedEntry {
    let mut plain = access_of(of);
    plain.visibility = Visibility::Hidden {
        legal_reference: "art. 329 c.p.p.".to_owned(),
        authority: institution(AUTHORITY),
    };
    sign(TOWN, occurred_at_ms, Plain::Access(Box::new(plain)))
}

fn erased(export: &Export) -> Vec<(u64, u64)> {
    let items = export.lists.iter().flat_map(|list| &list.items);
    items
        .filter_map(|item| match item {
            Item::Erased(erased) => Some((erased.index.0, erased.by.0)),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_names_a_sealed_entry_tells_nobody_of_it() {
    let running = Running::start().await;
    let (now, anna) = (now_ms(), person(1));
    let mut plainly = Vec::new();
    for _ in 0..3 {
        plainly.push(running.accept(&access(&[anna], now)).await);
    }
    let sealed = running.accept(&secret(&[anna], now)).await;
    let mut orders = Vec::new();
    for (entries, person) in [
        (vec![plainly[0], sealed], None),
        (vec![plainly[1], sealed], Some(anna)),
        (vec![plainly[2]], None),
    ] {
        let order = erasure(TOWN, &entries, person);
        orders.push(running.accept(&order).await);
    }
    let (export, told) = own(&running, anna).await;
    assert_eq!(erased(&export), [(plainly[2], orders[2])]);
    assert_eq!(told.withheld()[&Some(Why::Another)], 2);
    let shown: Vec<u64> = export.records.iter().map(|record| record.index.0).collect();
    assert!(
        shown.contains(&orders[2]) && !shown.contains(&orders[0]),
        "{shown:?}"
    );
    assert!(!shown.contains(&orders[1]));
    // That somebody looked at the order stands not under the ref of whom it is kept from.
    let rows = || {
        let row = Row {
            kind: RowKind::Subject,
            of: anna,
        };
        let view = running.node.view().unwrap();
        let all = 0..view.size().0;
        view.rows(row.kind, &row.of, all, cluster::Direction::Up, 100)
            .unwrap()
            .len()
    };
    let before = rows();
    let query = json!({"institution": TOWN, "types": ["erasure"]});
    let found = running
        .post_as("/v1/accesses/search", &query, TOWN, Role::Dpo)
        .await;
    assert_eq!(
        found.json()["items"].as_array().unwrap().len(),
        3,
        "{}",
        found.text
    );
    assert_eq!(rows(), before);
    // To its authority nothing is sealed; and once it is released, to nobody.
    let order =
        json!({"subject": hash_text(&anna), "audience": "reader", "ground": "dpv:LegalCompliance"});
    let (export, _) = verified(&order_as(&running, &order, AUTHORITY, Role::Authority).await);
    assert_eq!(erased(&export).len(), 3);
    running
        .accept(&release(AUTHORITY, about(&running, sealed), anna))
        .await;
    let (export, _) = own(&running, anna).await;
    assert_eq!(erased(&export).len(), 3, "{:?}", erased(&export));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_of_which_a_member_was_erased_is_partial() {
    let running = Running::start().await;
    let now = now_ms();
    let (home, anna, bruno, carla) = (person(90), person(1), person(2), person(3));
    let family = household(home, &[anna, bruno, carla], now - 30 * DAY);
    let first = running.accept(&family).await;
    let inside = running.accept(&access(&[anna, bruno], now - DAY)).await;
    let mut by = Vec::new();
    for gone in [bruno, carla] {
        let order = erasure(TOWN, &[first], Some(gone));
        by.push(running.accept(&order).await);
    }
    let asked = [
        (
            json!({"household": hash_text(&home), "audience": "reader", "ground": "dpv:LegalCompliance"}),
            AUTHORITY,
            Role::Authority,
        ),
        (
            citizens(
                json!({"household": hash_text(&home), "open": [{"ref": hash_text(&anna), "as": "self"}]}),
            ),
            TOWN,
            Role::Dpo,
        ),
    ];
    for (order, id, role) in asked {
        let (export, told) = verified(&order_as(&running, &order, id, role).await);
        let composition = EntryIndex(first);
        let erased = |by: &u64| Remark::MemberErased {
            composition,
            by: EntryIndex(*by),
        };
        for order in &by {
            assert!(
                told.remarks().contains(&erased(order)),
                "{:?}",
                told.remarks()
            );
        }
        assert!(accesses(&export).contains(&inside));
        // The orders open nobody: whom they took is not said.
        let records = export.records.iter();
        let orders = records.filter(|record| by.contains(&record.index.0));
        assert!(
            orders
                .clone()
                .all(|order| order.entry.disclosures().is_empty())
        );
        assert_eq!(orders.count(), 2);
        assert!(!disclosed(&export).contains(&hash_text(&carla)));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_s_answer_does_not_tell_whether_there_is_one() {
    let running = Running::start().await;
    let now = now_ms();
    let (home, erased_home, none) = (person(90), person(91), person(92));
    running
        .accept(&household(home, &[person(1)], now - DAY))
        .await;
    let all = running
        .accept(&household(erased_home, &[person(1)], now - DAY))
        .await;
    running.accept(&erasure(TOWN, &[all], None)).await;
    let size = running.size();
    let citizens = |of: Hash| {
        citizens(json!({"household": hash_text(&of), "open": [
            {"ref": hash_text(&person(50)), "as": "self"}]}))
    };
    let readers = |of: Hash| json!({"household": hash_text(&of), "audience": "reader", "ground": "dpv:LegalCompliance"});
    for (id, role) in [(TOWN, Role::Dpo), (INPS, Role::Institution)] {
        let mut answers = Vec::new();
        for of in [home, erased_home, none] {
            let order = match role {
                Role::Dpo => citizens(of),
                _ => readers(of),
            };
            let answer = running.post_as("/v1/exports", &order, id, role).await;
            let mut problem = answer.json();
            problem["instance"].take();
            answers.push((answer.status, problem));
        }
        assert_eq!(answers[0], answers[2]);
        assert_eq!(answers[1], answers[2]);
    }
    // No reading is on record, for nothing was told. State roots are the ledger's own.
    let view = running.node.view().unwrap();
    for index in size..view.size().0 {
        let kind = view
            .entry(EntryIndex(index))
            .unwrap()
            .unwrap()
            .meta
            .entry_type;
        assert_eq!(kind, ledger::body::EntryType::StateRoot);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_releases_count_whenever_they_were_told() {
    let running = Running::start().await;
    let now = now_ms();
    let ago = |days: u64| now - days * DAY;
    let (home, anna, bruno, again) = (person(90), person(1), person(2), person(3));
    for (members, from) in [(vec![anna, bruno], ago(30)), (vec![anna], ago(10))] {
        running.accept(&household(home, &members, from)).await;
    }
    let (inside, outside) = (ago(15), ago(8));
    let mut told = Vec::new();
    for at in [inside, outside] {
        let sealed = running.accept(&secret(&[bruno], at)).await;
        let released = running
            .accept(&release(AUTHORITY, about(&running, sealed), bruno))
            .await;
        told.push((sealed, released));
    }
    // Joined after he had left.
    running.accept(&link(bruno, again)).await;
    let linked = running.accept(&access(&[again], inside)).await;
    running.accept(&access(&[again], outside)).await;
    let order = json!({"household": hash_text(&home), "audience": "reader", "ground": "dpv:LegalCompliance"});
    let (export, verified) =
        verified(&order_as(&running, &order, AUTHORITY, Role::Authority).await);
    assert_eq!(accesses(&export), [linked]);
    let lists: Vec<Hash> = verified.lists().iter().map(|list| list.of).collect();
    assert!(lists.contains(&again));
    let opened: Vec<u64> = items(&export).iter().map(|item| item.index.0).collect();
    let records: Vec<u64> = export.records.iter().map(|record| record.index.0).collect();
    let shown = |(sealed, released)| (records.contains(&sealed), opened.contains(&released));
    assert_eq!(shown(told[0]), (true, true));
    assert_eq!(shown(told[1]), (false, false));
    running.stop().await;
}

/// 130 entries, the bundle, and what stands in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_export_is_the_same_file() {
    let running = Running::start().await;
    let anna = person(1);
    running.accept(&access(&[anna], now_ms())).await;
    let bearer = format!("Bearer {}", good_token(TOWN, Role::Dpo));
    let order = citizens(json!({"subject": hash_text(&anna)})).to_string();
    let ask = async |accepted: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("accept-encoding", accepted),
            ("authorization", bearer.as_str()),
        ];
        let answer = running
            .call(Method::POST, "/v1/exports", &headers, order.clone())
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(
            answer.header("content-length"),
            answer.bytes.len().to_string()
        );
        assert_eq!(answer.header("content-type"), "application/json");
        answer
    };
    let plain = ask("gzip;q=0").await;
    assert!(plain.headers.get("content-encoding").is_none());
    verified(&plain.text);
    let answer = ask("gzip").await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert!(answer.header("vary").contains("accept-encoding"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(answer.bytes.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    assert!(answer.bytes.len() < text.len(), "{}", text.len());
    verified(&text);
    // What is on record is the digest of the file that the citizen gets in the end.
    let digest = Hash::of(&[text.as_bytes()]);
    assert_eq!(
        answer.header("etag"),
        format!("W/\"{}\"", hash_text(&digest))
    );
    let (later, _) = own(&running, anna).await;
    let handed = items(&later).into_iter().any(|opened| {
        matches!(body(opened).content, Content::Disclosure(handed) if handed.export_digest == digest)
    });
    assert!(handed);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_holds_all_that_a_citizen_needs() {
    let running = Running::start().await;
    let now = now_ms();
    let anna = person(1);
    let lines: String = (0..130)
        .map(|n| format!("{}\n", access(&[anna], now - n).to_wire()))
        .collect();
    let headers = [("content-type", "application/x-ndjson")];
    let sent = running
        .call(Method::POST, "/v1/entries", &headers, lines)
        .await;
    assert_eq!(sent.status.as_u16(), 200, "{}", sent.text);
    let bearer = format!("Bearer {}", good_token(TOWN, Role::Dpo));
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/zip"),
        ("authorization", bearer.as_str()),
    ];
    let order = citizens(json!({"subject": hash_text(&anna)}));
    let answer = running
        .call(Method::POST, "/v1/exports", &headers, order.to_string())
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/zip");
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(answer.bytes)).unwrap();
    let mut read = |name: &str| {
        let mut text = String::new();
        zip.by_name(name)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    let json = read("export.json");
    let (export, told) = verified(&json);
    assert_eq!(told.lists()[0].opened, 130);
    let policies = ledger::policy::PolicySet::parse(read("policy.txt").as_bytes()).unwrap();
    assert!(export::verify(&export, &policies, Asked::default()).is_ok());
    assert_eq!(read("checkpoint.txt"), export.head.checkpoint.to_string());
    assert!(read("verifica.html").contains("<script"));
    assert!(read("keys.json").contains(TOWN));
    assert!(read("LEGGIMI.txt").contains(export.head.origin.as_str()));
    for name in ["codes.it.json", "codes.en.json"] {
        assert!(serde_json::from_str::<Value>(&read(name)).is_ok());
    }
    let index = items(&export)[129].index;
    let receipt = read(&format!("receipts/{index}.tlog-proof"));
    assert!(receipt.starts_with("c2sp.org/tlog-proof@v1"));
    running.stop().await;
}
