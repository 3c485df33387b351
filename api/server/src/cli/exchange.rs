// SPDX-License-Identifier: EUPL-1.2
//! `visto exchange`: which calls only one side told, and which the two sides tell differently.

use clap::ValueEnum;
use wire::exchange::{Exchange, ExchangeSearch, ExchangeState};

use super::{
    Connection,
    access::parse_time,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Exchanges: the two sides of each call.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List exchanges and whether their sides agree, the last begun first. The listing itself is recorded.
    List(Box<List>),
}

/// List exchanges and whether their sides agree, the last begun first.
#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    connection: Connection,
    /// Only exchanges in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only unpaired ones of which this side was told.
    #[arg(long, value_enum)]
    side: Option<Side>,
    /// First entry accepted at or after this time (YYYY-MM-DDTHH:MM:SSZ, or a date).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<String>,
    /// First entry accepted before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<String>,
    /// First entry accepted so long ago or longer: 90s, 15m, 24h, 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    older_than: Option<u64>,
    /// Stop after so many; 0 = all.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    /// One side is missing.
    Unpaired,
    /// Both sides say the same.
    Paired,
    /// Both sides are there and say different things.
    Differing,
}

/// A side of a call.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Side {
    /// Who asked.
    Consumer,
    /// Who answered.
    Provider,
}

impl Side {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Side::Consumer => "consumer",
            Side::Provider => "provider",
        }
    }
}

pub(crate) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let Command::List(list) = command;
    let connection = list.connection.resolve()?;
    let client = connection.client()?;
    let state = list.state.map(|state| match state {
        State::Unpaired => "unpaired",
        State::Paired => "paired",
        State::Differing => "differing",
    });
    let mut search = ExchangeSearch {
        state: state.map(str::to_owned),
        side: list.side.map(|side| side.as_str().to_owned()),
        from: list.from,
        to: list.to,
        older_than: list.older_than,
        ..ExchangeSearch::default()
    };
    let wanted = if list.limit == 0 {
        usize::MAX
    } else {
        list.limit
    };
    let mut items = Vec::new();
    loop {
        let left = u32::try_from(wanted - items.len()).unwrap_or(wire::PAGE_ITEMS_MAX);
        search.limit = Some(left.clamp(1, wire::PAGE_ITEMS_MAX));
        let page = client
            .exchanges(&connection.token()?, &search)
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

const COLUMNS: [&str; 7] = [
    "since",
    "age",
    "consumer",
    "provider",
    "state",
    "entries",
    "differs in",
];

fn row(exchange: &Exchange) -> Vec<String> {
    let told = |side: Option<&wire::exchange::ExchangeSide>| match side {
        None => "-".to_owned(),
        Some(side) => {
            let entries: Vec<String> = side.entries.iter().map(u64::to_string).collect();
            let parts = side.parts.map(|parts| format!(" of {parts} parts"));
            entries.join(",") + &parts.unwrap_or_default()
        }
    };
    let differences: Vec<String> = exchange
        .differences
        .iter()
        .map(|difference| format!("{difference:?}").to_lowercase())
        .collect();
    let state = match exchange.state {
        ExchangeState::Unpaired => "unpaired",
        ExchangeState::Paired => "paired",
        ExchangeState::Differing => "differing",
        ExchangeState::Erased => "erased",
    };
    vec![
        exchange.since.clone(),
        age(exchange.age_seconds),
        exchange.consumer.clone(),
        exchange.provider.clone(),
        state.to_owned(),
        format!(
            "{} / {}",
            told(exchange.consumer_side.as_ref()),
            told(exchange.provider_side.as_ref())
        ),
        differences.join(","),
    ]
}

/// An age in its two largest units.
fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days, hours, _) => format!("{days}d{hours}h"),
    }
}

/// Seconds of an age such as `90s`, `15m`, `24h` or `7d`.
fn parse_age(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    units
        .into_iter()
        .find_map(|(unit, seconds)| {
            let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
            u64::from(number).checked_mul(seconds)
        })
        .filter(|seconds| u32::try_from(*seconds).is_ok())
        .ok_or_else(|| "not a number with s, m, h or d, such as 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_told() {
        assert_eq!(parse_age("24h"), Ok(86_400));
        assert_eq!(parse_age("90s"), Ok(90));
        for bad in ["", "24", "h", "-1h", "1.5h", "9999999999d", "1w"] {
            assert!(parse_age(bad).is_err(), "{bad}");
        }
        for (seconds, told) in [(59, "59s"), (61, "1m1s"), (7_260, "2h1m"), (90_000, "1d1h")] {
            assert_eq!(age(seconds), told);
        }
    }
}
