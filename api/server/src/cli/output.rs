// SPDX-License-Identifier: EUPL-1.2
//! What goes to stdout: a table for persons, one JSON document, or one JSON line per item.

use std::io::{self, Write};

use serde::Serialize;

use super::exit::Failure;

/// How to print data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For persons.
    Human,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Ndjson,
}

/// Prints one value: as JSON, or in the words that `human` makes of it.
pub(crate) fn one<T: Serialize>(
    output: Output,
    value: &T,
    human: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let text = match output {
        Output::Human => human(value),
        Output::Json => json_pretty(value)?,
        Output::Ndjson => json_line(value)?,
    };
    put(&text)
}

/// Prints a list: as one JSON array, as a line per item, or in the words that `human` makes of it.
pub(crate) fn many<T: Serialize>(
    output: Output,
    items: &[T],
    human: impl FnOnce(&[T]) -> String,
) -> Result<(), Failure> {
    match output {
        Output::Human => put(&human(items)),
        Output::Json => put(&json_pretty(&items)?),
        Output::Ndjson => items.iter().try_for_each(|item| put(&json_line(item)?)),
    }
}

/// A table: columns as wide as their widest cell, the last one unpadded.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}

/// Writes a text and a line end to stdout. A reader that went away (`| head`) is no error of ours.
pub(crate) fn put(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn json_pretty(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(Failure::failed)
}

fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::failed)
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["1".to_owned(), "leader".to_owned()],
            vec!["12".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["node", "role"], &rows),
            "node  role\n1     leader\n12"
        );
    }
}
