// SPDX-License-Identifier: EUPL-1.2
//! `visto export`: everything that names a person or a household, as a file that proves that nothing was left out.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use client::{http::ExportForm, pseudonym::Bound};
use ledger::{base64, bytes::CodeKind};
use serde::Serialize;
use wire::export::{ExportBinding, ExportOpen, ExportOrder};

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
    pseudonym,
};

/// Make an export of a person or a household: who saw their data, provably complete.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    of: Of,
    /// Kind of the code: cf, idANPR, stp, eni, anagrafica or isee.
    #[arg(long, value_name = "KIND", default_value = "cf", value_parser = pseudonym::parse_kind, requires = "bind")]
    kind: CodeKind,
    #[command(flatten)]
    key: pseudonym::Key,
    /// For whom: citizen (the own part of each entry; a privacy officer asks) or reader (what you may see).
    #[arg(long = "for", value_name = "AUDIENCE", default_value = "citizen", value_parser = ["citizen", "reader"])]
    audience: String,
    /// Ground on which it is handed out, a CURIE.
    #[arg(long, value_name = "CURIE", default_value = "dpv-gdpr:A15")]
    ground: String,
    /// For a citizen's household: who asks.
    #[arg(long = "self", value_name = "REF")]
    itself: Option<String>,
    /// A child for whom they speak; may be given again.
    #[arg(long, value_name = "REF")]
    minor: Vec<String>,
    /// An adult who gave them a mandate; may be given again.
    #[arg(long, value_name = "REF")]
    mandate: Vec<String>,
    /// File to write, which must not be there yet. A name that ends in .zip gets the citizen's bundle, any other export.json.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Whom it is about: one ref at most, and none where the code says.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Of {
    /// Ref of a person.
    #[arg(long, value_name = "REF", conflicts_with = "household")]
    subject: Option<String>,
    /// Ref of a household.
    #[arg(long, value_name = "REF")]
    household: Option<String>,
    /// File with the code of whom it is about, - for stdin: the export then carries what lets the citizen find the own ref by typing the code.
    /// Whoever has it can try codes.
    #[arg(long, value_name = "FILE", requires = "Key")]
    bind: Option<PathBuf>,
}

/// What was written.
#[derive(Serialize)]
struct Written {
    file: PathBuf,
    bytes: u64,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let connection = arguments.connection.resolve()?;
    let named = [
        ("self", arguments.itself.iter().collect::<Vec<_>>()),
        ("minor", arguments.minor.iter().collect()),
        ("mandate", arguments.mandate.iter().collect()),
    ];
    let open: Vec<ExportOpen> = named
        .into_iter()
        .flat_map(|(standing, refs)| {
            refs.into_iter().map(move |of| ExportOpen {
                of: of.clone(),
                standing: standing.to_owned(),
            })
        })
        .collect();
    let mut order = ExportOrder {
        subject: arguments.of.subject,
        household: arguments.of.household,
        audience: arguments.audience,
        ground: arguments.ground,
        open: (!open.is_empty()).then_some(open),
        binding: None,
    };
    match &arguments.of.bind {
        Some(file) => {
            let codes = pseudonym::read_codes(Some(file), arguments.kind)?;
            let bound = pseudonym::bind(connection.clone(), &arguments.key, &codes).await?;
            bind(&mut order, arguments.kind, &bound)?;
        }
        None if arguments.key.is_given() => {
            return Err(Failure::usage("--genesis and --oprf-key go with --bind"));
        }
        None => {}
    }
    let zip = arguments
        .out
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    let form = if zip {
        ExportForm::Zip
    } else {
        ExportForm::Json
    };
    let written = write(&connection, &order, form, arguments.out).await?;
    output::one(output, &written, |written| {
        format!(
            "{}: {} bytes; check it with visto verify --policy FILE {}",
            written.file.display(),
            written.bytes,
            written.file.display()
        )
    })?;
    Ok(Exit::Ok)
}

/// Puts the binding into the order, and the ref where none was given; a given one must be the code's.
fn bind(order: &mut ExportOrder, kind: CodeKind, bound: &Bound) -> Result<(), Failure> {
    let reference = base64::url_encode(bound.reference.as_bytes());
    let (of, other) = match kind {
        CodeKind::Anagrafica | CodeKind::Isee => (&mut order.household, &order.subject),
        CodeKind::Cf | CodeKind::IdAnpr | CodeKind::Stp | CodeKind::Eni => {
            (&mut order.subject, &order.household)
        }
    };
    if other.is_some() {
        return Err(Failure::usage(
            "--kind: a person's code goes with --subject, a household's with --household",
        ));
    }
    if of.as_ref().is_some_and(|given| *given != reference) {
        return Err(Failure::failed("the ref given is not the code's"));
    }
    *of = Some(reference);
    order.binding = Some(ExportBinding::from(&bound.binding));
    Ok(())
}

/// Writes a new file that only its owner reads; nothing of it stays if the export does not come whole.
async fn write(
    connection: &Connection,
    order: &ExportOrder,
    form: ExportForm,
    file: PathBuf,
) -> Result<Written, Failure> {
    let client = connection.client()?;
    let failed =
        |error: std::io::Error| Failure::cannot_check(format!("{}: {error}", file.display()));
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .map_err(failed)?;
    let made = client
        .export(&connection.token()?, order, form, &mut out)
        .await;
    match made.map_err(Failure::of_client) {
        Ok(bytes) => {
            out.flush().map_err(failed)?;
            Ok(Written { file, bytes })
        }
        Err(failure) => {
            let _ = fs::remove_file(&file);
            Err(failure)
        }
    }
}
