// SPDX-License-Identifier: EUPL-1.2
//! `visto access`: who saw whose data.

use ledger::time;
use wire::{
    entry::Entry,
    search::{AccessSearch, EntryPage},
};

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Accesses: who saw whose data.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List accesses, newest first. The listing itself is recorded.
    List(Box<List>),
}

/// List accesses, newest first.
#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    of: Of,
    /// The institution's own id of a person who caused requests; beside --of-institution.
    #[arg(long, value_name = "ID", requires = "of_institution")]
    operator: Option<String>,
    /// Occurred at or after this time (YYYY-MM-DDTHH:MM:SSZ, or a date).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<String>,
    /// Occurred before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<String>,
    /// With this purpose, a CURIE.
    #[arg(long = "with-purpose", value_name = "CURIE")]
    with_purpose: Option<String>,
    /// With this finding; `any` = at least one, `none` = covered.
    #[arg(long, value_name = "NAME")]
    finding: Option<String>,
    /// Stop after so many; 0 = all.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
}

/// Whose data, or whose accesses: exactly one.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// Ref of a household: its members' accesses while they were members.
    #[arg(long, value_name = "REF")]
    household: Option<String>,
    /// Ref of a person.
    #[arg(long, value_name = "REF")]
    subject: Option<String>,
    /// An institution that signed or took part.
    #[arg(long = "of-institution", id = "of_institution", value_name = "ID")]
    institution: Option<String>,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let Command::List(list) = command;
    let connection = list.connection.resolve()?;
    let client = connection.client()?;
    let mut search = AccessSearch {
        household: list.of.household,
        subject: list.of.subject,
        institution: list.of.institution,
        operator: list.operator,
        from: list.from,
        to: list.to,
        purpose: list.with_purpose,
        finding: list.finding,
        ..AccessSearch::default()
    };
    let wanted = if list.limit == 0 {
        usize::MAX
    } else {
        usize::try_from(list.limit).unwrap_or(usize::MAX)
    };
    let mut items = Vec::new();
    loop {
        search.limit = Some(
            u32::try_from(wanted - items.len())
                .unwrap_or(wire::PAGE_ITEMS_MAX)
                .clamp(1, wire::PAGE_ITEMS_MAX),
        );
        // A token lives five minutes and pages may be many: a fresh one each time.
        let page: EntryPage = client
            .search_accesses(&connection.token()?, &search)
            .await
            .map_err(Failure::of_client)?;
        items.extend(page.items);
        search.cursor = page.next_cursor;
        if search.cursor.is_none() || items.len() >= wanted {
            break;
        }
    }
    items.truncate(wanted);
    output::many(output, &items, |items| {
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        output::table(&COLUMNS, &rows)
    })?;
    Ok(Exit::Ok)
}

/// What [`row`] shows of an access.
pub(crate) const COLUMNS: [&str; 8] = [
    "index", "occurred", "consumer", "provider", "side", "purpose", "basis", "findings",
];

/// The columns of one access.
pub(crate) fn row(entry: &Entry) -> Vec<String> {
    let at = |pointer: &str| {
        let value = entry
            .body
            .as_ref()
            .and_then(|body| body.pointer(pointer))
            .and_then(|value| value.as_str());
        value.unwrap_or("-").to_owned()
    };
    let findings = if entry.findings.is_empty() {
        "covered".to_owned()
    } else {
        entry.findings.join(",")
    };
    vec![
        entry.index.to_string(),
        at("/occurredAt"),
        at("/access/consumer/institution"),
        at("/access/provider/institution"),
        at("/access/side"),
        at("/access/purpose"),
        at("/access/legalBasis"),
        findings,
    ]
}

/// A time of the command line, in the form that the API takes.
pub(crate) fn parse_time(text: &str) -> Result<String, String> {
    let ms = time::parse_timestamp(text).or_else(|| time::parse_date(text));
    ms.map(time::format_timestamp)
        .ok_or_else(|| "not YYYY-MM-DDTHH:MM:SSZ and not YYYY-MM-DD".to_owned())
}
