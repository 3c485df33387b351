// SPDX-License-Identifier: EUPL-1.2
//! What the ledger answers: who saw a family, an access that no consent covered, and a receipt that a stranger verifies offline.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use client::http::Client;
use ledger::{base64, hash::Hash, time};
use serde_json::json;
use wire::{
    entry::Entry,
    household::CompositionQuery,
    search::{AccessSearch, EntryPage},
};

use super::{
    commands::Commands,
    founders::{DPO, FOUNDERS, INSPECTOR, Place},
    load::Acknowledged,
    nodes::Nodes,
    plan::Plan,
    title,
};
use crate::cli::{access, exit::Failure, output};

pub(super) async fn tell(
    place: &Place,
    nodes: &Nodes,
    commands: &Commands,
    plan: &Plan,
    acknowledged: &[Acknowledged],
) -> Result<(), Failure> {
    let client = Client::new(&nodes.urls(), Duration::from_secs(30))
        .map_err(Failure::failed)?
        .linearizable();
    household(place, commands, plan, &client).await?;
    withdrawn(place, commands, plan, &client).await?;
    readers(place, commands, &client, plan).await?;
    let last = acknowledged
        .last()
        .ok_or_else(|| Failure::failed("nothing was acknowledged"))?;
    let receipt = client
        .receipt(last.accepted.index, Some(&place.token(&INSPECTOR)?))
        .await
        .map_err(Failure::of_client)?;
    offline(place, commands, last, receipt)
}

async fn household(
    place: &Place,
    commands: &Commands,
    plan: &Plan,
    client: &Client,
) -> Result<(), Failure> {
    title(
        7,
        "A family asks: who saw our household? The privacy officer's answer follows its members through a separation",
    )?;
    let star = plan.star;
    let family = text_of(&plan.family_ref(star.family)?);
    output::put(&format!("    the (invented) family: {}", plan.star_names()))?;
    for (when, at_ms) in [
        ("before", star.separated_ms - 1),
        ("after", star.separated_ms),
    ] {
        let query = CompositionQuery {
            household: family.clone(),
            at: Some(time::format_timestamp(at_ms)),
        };
        let composition = client
            .composition(&place.token(&DPO)?, &query)
            .await
            .map_err(Failure::of_client)?;
        let members: Vec<String> = composition
            .members
            .iter()
            .map(|member| member.relation.clone().unwrap_or_default())
            .collect();
        output::put(&format!(
            "    {when:<6} the separation of {}: {}",
            time::format_timestamp(star.separated_ms),
            members.join(", ")
        ))?;
    }
    let body = json!({"household": family, "at": time::format_timestamp(star.separated_ms)});
    output::put(&commands.search(&commands.dpo, "/v1/households/composition", &body))?;
    let search = AccessSearch {
        household: Some(family.clone()),
        ..AccessSearch::default()
    };
    let page = client
        .search_accesses(&place.token(&INSPECTOR)?, &search)
        .await
        .map_err(Failure::of_client)?;
    show(&page)?;
    output::put(&commands.search(
        &commands.inspector,
        "/v1/accesses/search",
        &json!({"household": family}),
    ))?;
    // The spouse was seen in this family before the separation, and in the new one after it.
    let spouse = text_of(&plan.person_ref(star.spouse)?);
    let before = count_of(&page, &spouse, star.separated_ms, false);
    let after = count_of(&page, &spouse, star.separated_ms, true);
    if before == 0 || after != 0 {
        return Err(Failure::failed(format!(
            "the family's answer shows {before} accesses to the spouse before and {after} after the separation"
        )));
    }
    let opened = text_of(&plan.family_ref(star.opened)?);
    let search = AccessSearch {
        household: Some(opened),
        ..AccessSearch::default()
    };
    let page = client
        .search_accesses(&place.token(&INSPECTOR)?, &search)
        .await
        .map_err(Failure::of_client)?;
    if count_of(&page, &spouse, star.separated_ms, true) == 0
        || count_of(&page, &spouse, star.separated_ms, false) != 0
    {
        return Err(Failure::failed(
            "the new household's answer is not cut at the separation",
        ));
    }
    output::put("    the spouse's new household, from the separation on:")?;
    show(&page)
}

async fn withdrawn(
    place: &Place,
    commands: &Commands,
    plan: &Plan,
    client: &Client,
) -> Result<(), Failure> {
    title(
        8,
        "A consent was withdrawn, and the data were asked for all the same: recorded, with its finding",
    )?;
    let head = text_of(&plan.person_ref(plan.star.head)?);
    let search = AccessSearch {
        subject: Some(head.clone()),
        finding: Some("consent-withdrawn".to_owned()),
        ..AccessSearch::default()
    };
    let page = client
        .search_accesses(&place.token(&INSPECTOR)?, &search)
        .await
        .map_err(Failure::of_client)?;
    if page.items.is_empty() {
        return Err(Failure::failed("no access after the withdrawal was found"));
    }
    show(&page)?;
    output::put(&commands.search(
        &commands.inspector,
        "/v1/accesses/search",
        &json!({"subject": head, "finding": "consent-withdrawn"}),
    ))?;
    output::put(&commands.search(
        &commands.inspector,
        "/v1/consents/search",
        &json!({"subject": head}),
    ))
}

async fn readers(
    place: &Place,
    commands: &Commands,
    client: &Client,
    plan: &Plan,
) -> Result<(), Failure> {
    title(
        9,
        "The reader is on the record too: what we just asked was committed before it was answered",
    )?;
    let head = text_of(&plan.person_ref(plan.star.head)?);
    let search = AccessSearch {
        subject: Some(head.clone()),
        types: Some(vec!["read".to_owned()]),
        ..AccessSearch::default()
    };
    let page = client
        .search_accesses(&place.token(&INSPECTOR)?, &search)
        .await
        .map_err(Failure::of_client)?;
    if page.items.is_empty() {
        return Err(Failure::failed(
            "no reading of this person's accesses is on the record",
        ));
    }
    for entry in &page.items {
        let at = |pointer: &str| {
            entry
                .body
                .as_ref()
                .and_then(|body| body.pointer(pointer))
                .and_then(|value| value.as_str())
                .unwrap_or("-")
                .to_owned()
        };
        output::put(&format!(
            "    entry {} at {}: {} for {}",
            entry.index,
            entry.accepted_at,
            at("/read/institution"),
            at("/read/purpose")
        ))?;
    }
    let body = json!({"subject": head, "types": ["read"]});
    output::put(&commands.search(&commands.inspector, "/v1/accesses/search", &body))
}

/// Verifies a receipt with the stranger's tool, then breaks one byte of it and verifies again.
fn offline(
    place: &Place,
    commands: &Commands,
    one: &Acknowledged,
    text: String,
) -> Result<(), Failure> {
    title(
        10,
        "A stranger verifies a receipt offline, with the policy file alone",
    )?;
    let (entry, receipt, policy) = (
        place.path("entry.json"),
        place.path("entry.tlog-proof"),
        place.path("policy.txt"),
    );
    fs::write(&entry, one.entry.to_wire())
        .and_then(|()| fs::write(&receipt, &text))
        .map_err(Failure::failed)?;
    let (verifier, key) = (verifier(commands)?, signer(place, one)?);
    let verify = |receipt: &Path| {
        let mut command = Command::new(&verifier);
        command
            .arg("--policy")
            .arg(&policy)
            .arg("--key")
            .arg(&key)
            .arg(&entry)
            .arg(receipt);
        command
            .output()
            .map_err(|error| Failure::failed(format!("{}: {error}", verifier.display())))
    };
    let path = format!("/v1/entries/{}/receipt", one.accepted.index);
    output::put(&commands.read(&commands.inspector, &path))?;
    let verified = verify(&receipt)?;
    output::put(&format!(
        "    $ {} --policy {} --key {key} {} {}",
        verifier.display(),
        policy.display(),
        entry.display(),
        receipt.display()
    ))?;
    output::put(&indent(&said(&verified)))?;
    if !verified.status.success() {
        return Err(Failure::failed("the receipt does not verify offline"));
    }
    let mut bytes = text.into_bytes();
    // A letter of a hash, so that the form still holds and only the proof does not.
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes
        .iter_mut()
        .skip(middle)
        .find(|byte| byte.is_ascii_alphanumeric())
    {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
    let broken = place.path("broken.tlog-proof");
    fs::write(&broken, bytes).map_err(Failure::failed)?;
    let refused = verify(&broken)?;
    if refused.status.success() {
        return Err(Failure::failed(
            "a receipt with a changed byte was verified",
        ));
    }
    let code = refused.status.code().unwrap_or(-1);
    let verdict = said(&refused);
    let verdict = verdict.lines().last().unwrap_or_default();
    output::put(&format!(
        "    and with one byte of the receipt changed (exit code {code}):\n    {verdict}"
    ))
}

/// The public key of an entry's signer, as the registry has it.
fn signer(place: &Place, one: &Acknowledged) -> Result<String, Failure> {
    for founder in &FOUNDERS {
        let key = place.key(founder.id, "entry")?;
        if key.key_id() == one.entry.sigs().first() {
            return Ok(base64::url_encode(key.public().as_bytes()));
        }
    }
    Err(Failure::failed("the entry's signer is not a founder"))
}

/// What a command said, its verdict last.
pub(super) fn said(output: &std::process::Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// `visto-verify`, built beside this binary.
pub(super) fn verifier(commands: &Commands) -> Result<PathBuf, Failure> {
    let path = commands.visto.with_file_name("visto-verify");
    if path.is_file() {
        Ok(path)
    } else {
        Err(Failure::cannot_check(format!(
            "{}: not there; build it with: cargo build --release -p ledger",
            path.display()
        )))
    }
}

fn show(page: &EntryPage) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = page.items.iter().map(access::row).collect();
    output::put(&indent(&output::table(&access::COLUMNS, &rows)))
}

/// How many of the entries disclose this person and happened before, or from, a time.
fn count_of(page: &EntryPage, person: &str, at_ms: u64, from: bool) -> usize {
    let names = |entry: &Entry| {
        let subjects = entry
            .body
            .as_ref()
            .and_then(|body| body.pointer("/access/subjects"))
            .and_then(|list| list.as_array());
        subjects.is_some_and(|list| {
            list.iter()
                .any(|subject| subject.get("ref").and_then(|value| value.as_str()) == Some(person))
        })
    };
    let happened = |entry: &Entry| {
        let text = entry
            .body
            .as_ref()
            .and_then(|body| body.pointer("/occurredAt"))
            .and_then(|value| value.as_str());
        text.and_then(time::parse_timestamp)
            .is_some_and(|ms| (ms >= at_ms) == from)
    };
    page.items
        .iter()
        .filter(|entry| names(entry) && happened(entry))
        .count()
}

pub(super) fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

pub(super) fn text_of(reference: &Hash) -> String {
    base64::url_encode(reference.as_bytes())
}
