// SPDX-License-Identifier: EUPL-1.2
//! `visto consent`: what a person said yes to, and what became of it.

use wire::consent::{ConsentRecord, ConsentSearch};

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
    let Command::Show(show) = command;
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
    let events = record.events.iter();
    lines.extend(events.map(|event| {
        format!(
            "  {:<10}  {} at {} (entry {})",
            event.event, event.occurred_at, event.institution, event.index
        )
    }));
    lines.join("\n")
}
