// SPDX-License-Identifier: EUPL-1.2
//! `visto consent`: what a person said yes to, and what became of it.

use wire::consent::{ConsentEvent, ConsentRecord, ConsentSearch, ReceiptQuery};

use super::{
    Connection,
    access::parse_time,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Consents: what a person said yes to.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show a person's consent records with their status at a time.
    Show(Box<Show>),
    /// Print a consent record and a receipt around it (JSON-LD, ISO/IEC TS 27560 by the Data Privacy Vocabulary).
    Receipt(Box<Receipt>),
}

/// Print a consent record and a receipt around it.
#[derive(clap::Args)]
pub(crate) struct Receipt {
    #[command(flatten)]
    connection: Connection,
    /// Ref of the person.
    #[arg(long, value_name = "REF")]
    subject: String,
    /// Name of the record.
    #[arg(long, value_name = "NAME")]
    record: String,
}

/// Show a person's consent records with their status at a time.
#[derive(clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    connection: Connection,
    /// Ref of the person.
    #[arg(long, value_name = "REF")]
    subject: String,
    /// One record alone.
    #[arg(long, value_name = "NAME")]
    record: Option<String>,
    /// Status at this time; now when absent.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<String>,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Show(show) => self::show(*show, output).await,
        Command::Receipt(receipt) => self::receipt(*receipt, output).await,
    }
}

async fn receipt(receipt: Receipt, output: Output) -> Result<Exit, Failure> {
    let connection = receipt.connection.resolve()?;
    let query = ReceiptQuery {
        subject: receipt.subject,
        record: receipt.record,
    };
    let document = connection
        .client()?
        .consent_receipt(&connection.token()?, &query)
        .await
        .map_err(Failure::of_client)?;
    // For persons too it is the document itself: it is what another system takes.
    output::one(output, &document, |document| format!("{document:#}"))?;
    Ok(Exit::Ok)
}

async fn show(show: Show, output: Output) -> Result<Exit, Failure> {
    let connection = show.connection.resolve()?;
    let client = connection.client()?;
    let mut search = ConsentSearch {
        subject: show.subject,
        record: show.record,
        at: show.at,
        ..ConsentSearch::default()
    };
    let mut items = Vec::new();
    loop {
        let page = client
            .search_consents(&connection.token()?, &search)
            .await
            .map_err(Failure::of_client)?;
        items.extend(page.items);
        search.cursor = page.next_cursor;
        if search.cursor.is_none() {
            break;
        }
    }
    output::many(output, &items, |items| {
        items.iter().map(describe).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(Exit::Ok)
}

fn describe(record: &ConsentRecord) -> String {
    let mut lines = vec![
        format!("{}: {}", record.record, record.status),
        format!("  purposes    {}", record.purposes.join(", ")),
        format!("  recipients  {}", record.recipients.join(", ")),
        format!("  data        {}", record.data_categories.join(", ")),
    ];
    if let Some(from) = &record.valid_from {
        lines.push(format!(
            "  valid       {from} to {}",
            record.valid_until.as_deref().unwrap_or("open")
        ));
    }
    lines.extend(record.events.iter().map(describe_event));
    if record.more_events {
        lines.push("  more events are not told".to_owned());
    }
    lines.join("\n")
}

fn describe_event(event: &ConsentEvent) -> String {
    let said = event.event.as_deref().unwrap_or("?");
    match (&event.occurred_at, &event.institution) {
        (Some(at), Some(by)) => format!("  {said:<10}  {at} at {by} (entry {})", event.index),
        _ => format!(
            "  {said:<10}  erased; accepted {} (entry {})",
            event.accepted_at, event.index
        ),
    }
}
