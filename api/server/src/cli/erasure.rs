// SPDX-License-Identifier: EUPL-1.2
//! `visto erasure`: order bodies away, and see which nodes have done it.

use std::path::PathBuf;

use client::{build, http::Until, keyfile};
use ledger::{
    base64,
    body::{
        Body, Common, Content, Disclosed, EntryType,
        system::{Erasure, Ground},
    },
    entry::SubmittedEntry,
    hash::Hash,
    id::{EntryId, InstitutionId},
};
use wire::erasure::{Erasure as Listed, ErasurePage};

use super::{
    Connection,
    exit::{Exit, Failure},
    now_ms,
    output::{self, Output},
};

/// Erasures: bodies that must go, while every proof stays.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Order entries' bodies away. Nodes carry it out by themselves; what is not the institution's own is spared.
    Order(Box<OrderArguments>),
    /// List erasures, newest first, with the nodes that have done them.
    List(Box<List>),
}

/// Order entries' bodies away.
#[derive(clap::Args)]
pub(crate) struct OrderArguments {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    what: What,
    /// Only this person's disclosure in those entries: a ref.
    #[arg(long, value_name = "REF", conflicts_with = "before")]
    subject: Option<String>,
    /// Only these types of a cut.
    #[arg(long, value_name = "TYPE", value_delimiter = ',', requires = "before", value_parser = parse_type)]
    types: Vec<EntryType>,
    /// Why: retention-ended, not-necessary, consent-withdrawn, objection, unlawful, legal-obligation or child.
    #[arg(long, value_name = "GROUND", value_parser = parse_ground)]
    ground: Ground,
    /// File of the institution's entry key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// What is to go: exactly one.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// These entries, by index.
    #[arg(long, value_name = "INDEX", value_delimiter = ',')]
    entries: Vec<u64>,
    /// Everything before this index that is older than the time of retention.
    #[arg(long, value_name = "INDEX")]
    before: Option<u64>,
}

/// List erasures.
#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    connection: Connection,
    /// Only those that some node has not done yet.
    #[arg(long)]
    open: bool,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Order(order) => give(*order, output).await,
        Command::List(list) => show(*list, output).await,
    }
}

async fn give(order: OrderArguments, output: Output) -> Result<Exit, Failure> {
    let connection = order.connection.resolve()?;
    let demand = |value: &Option<String>, flag: &str| {
        value
            .clone()
            .ok_or_else(|| Failure::usage(format!("give {flag}, or a profile that has it")))
    };
    let ledger = demand(&connection.ledger, "--ledger")?;
    let institution = demand(&connection.reader.institution, "--institution")?;
    let institution = InstitutionId::parse(&institution)
        .ok_or_else(|| Failure::usage(format!("{institution} is no institution")))?;
    let key = keyfile::read(&order.key)
        .map_err(|error| Failure::cannot_check(format!("{}: {error}", order.key.display())))?;
    let mut disclosures = Vec::new();
    let subject = match &order.subject {
        None => None,
        Some(text) => {
            let person = base64::url_decode_array(text)
                .map(Hash)
                .ok_or_else(|| Failure::usage(format!("{text} is no ref")))?;
            let (subject, disclosure) = Disclosed::seal(&random::<16>()?, person);
            disclosures.push(disclosure);
            Some(subject)
        }
    };
    let mut entries = order.what.entries;
    entries.sort_unstable();
    entries.dedup();
    let now_ms = now_ms();
    let body = Body {
        common: Common {
            ledger,
            id: EntryId::from_parts(now_ms, &random()?),
            institution,
            occurred_at_ms: now_ms,
            refers_to: None,
            stream: None,
        },
        content: Content::Erasure(Erasure {
            entries,
            subject,
            before: order.what.before,
            types: order.types,
            ground: order.ground,
        }),
    };
    let signed = SubmittedEntry::sign(body.to_json().as_bytes(), &[&key], disclosures)
        .map_err(|refused| Failure::failed(refused.to_string()))?;
    let client = connection.client()?;
    let accepted = client
        .submit(&signed.to_wire(), Until::Published)
        .await
        .map_err(Failure::of_client)?;
    output::one(output, &accepted, |accepted| {
        format!(
            "erasure {} ordered at {}; `visto erasure list` shows which nodes have done it",
            accepted.index, accepted.accepted_at
        )
    })?;
    Ok(Exit::Ok)
}

async fn show(list: List, output: Output) -> Result<Exit, Failure> {
    let connection = list.connection.resolve()?;
    let client = connection.client()?;
    let token = connection.token()?;
    let state = if list.open { "&state=open" } else { "" };
    let mut items: Vec<Listed> = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/erasures?limit=100{state}{cursor}");
        let text = client
            .text(&path, Some(&token))
            .await
            .map_err(Failure::of_client)?;
        let page: ErasurePage = serde_json::from_str(&text)
            .map_err(|error| Failure::cannot_check(format!("the answer is none: {error}")))?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    output::many(output, &items, |items| {
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        output::table(&["ORDER", "BY", "GROUND", "ENTRIES", "NODES"], &rows)
    })?;
    Ok(Exit::Ok)
}

fn row(erasure: &Listed) -> Vec<String> {
    let entries: Vec<String> = erasure.entries.iter().map(u64::to_string).collect();
    let what = match erasure.before {
        Some(before) => format!("before {before}"),
        None if erasure.one_person => format!("{} (one person)", entries.join(",")),
        None => entries.join(","),
    };
    let done = erasure.nodes.iter().filter(|node| node.erased.is_some());
    let silent: Vec<String> = erasure
        .nodes
        .iter()
        .filter(|node| node.erased.is_none())
        .map(|node| node.node.to_string())
        .collect();
    let nodes = if silent.is_empty() {
        "done".to_owned()
    } else {
        let hours = erasure.open_seconds.unwrap_or_default() / 3600;
        format!(
            "{} of {} done, waits {hours} h for {}",
            done.count(),
            erasure.nodes.len(),
            silent.join(",")
        )
    };
    vec![
        erasure.index.to_string(),
        erasure.institution.clone(),
        erasure.ground.clone(),
        what,
        nodes,
    ]
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    build::random().map_err(|error| Failure::failed(error.to_string()))
}

fn parse_ground(text: &str) -> Result<Ground, String> {
    Ground::parse(text).ok_or_else(|| format!("{text} is no ground of the list"))
}

fn parse_type(text: &str) -> Result<EntryType, String> {
    EntryType::parse(text).ok_or_else(|| format!("{text} is no type of entry"))
}
