// SPDX-License-Identifier: EUPL-1.2
//! `visto scope`: every subject that one person's accesses touched, for notifications under Art. 33 and 34 GDPR.

use serde::Serialize;
use wire::scope::{ScopeEnd, ScopeQuery, Touched};

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// List every subject that one person touched (Art. 33 and 34 GDPR). The listing itself is recorded.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The institution that the person works for, and the institution's own id of the person.
    #[arg(long, num_args = 2, value_names = ["INSTITUTION", "USERID"])]
    operator: Vec<String>,
}

#[derive(Serialize)]
struct Whole {
    touched: Vec<Touched>,
    #[serde(flatten)]
    end: ScopeEnd,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let connection = arguments.connection.resolve()?;
    let [institution, operator] = arguments.operator.as_slice() else {
        return Err(Failure::usage("--operator INSTITUTION USERID is missing"));
    };
    let query = ScopeQuery {
        institution: institution.clone(),
        operator: operator.clone(),
    };
    let client = connection.client()?;
    let answer = client.scope(&connection.token()?, &query).await;
    let (touched, end) = answer.map_err(Failure::of_client)?;
    if output == Output::Ndjson {
        output::many(output, &touched, |_| String::new())?;
        // As a node sends it: the last line tells what is missing, and a list without it was cut short.
        output::one(output, &end, |_| String::new())?;
        return Ok(Exit::Ok);
    }
    output::one(output, &Whole { touched, end }, human)?;
    Ok(Exit::Ok)
}

fn human(whole: &Whole) -> String {
    let rows: Vec<Vec<String>> = whole
        .touched
        .iter()
        .map(|touched| {
            vec![
                touched.subject.clone(),
                touched.count.to_string(),
                touched.first.clone(),
                touched.last.clone(),
            ]
        })
        .collect();
    let ScopeEnd {
        subjects,
        entries,
        untold,
        tree_size,
    } = &whole.end;
    let table = output::table(&["subject", "entries", "first", "last"], &rows);
    let mut sums = format!("{subjects} subjects in {entries} entries, as of size {tree_size}");
    if *untold > 0 {
        sums.push_str(&format!("; whom {untold} of them name is not told"));
    }
    format!("{table}\n{sums}")
}
