// SPDX-License-Identifier: EUPL-1.2
//! `visto verify EXPORT`: complete as of a size and time, or what is wrong with it by name.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use ledger::{
    base64::url_encode,
    export::{self, Export, Fault, HONEST, Lie, Verified},
    number::TreeSize,
    policy::PolicySet,
    time::format_timestamp,
};
use serde::Serialize;

use super::super::{
    exit::{Exit, Failure},
    output::{self, Output},
    pseudonym::read_secret,
};

/// What an export must show beyond holding in itself.
#[derive(clap::Args)]
pub(super) struct Asked {
    /// File with the code whose ref the export must be about, - for stdin. Not an argument: those stand in the list of processes.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// The export must cover a tree of at least this size.
    #[arg(long, value_name = "SIZE")]
    at_least: Option<u64>,
    /// An earlier export: what it showed must still be there.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
}

/// What an export proves.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Complete {
    complete: bool,
    size: u64,
    time: String,
    origin: String,
    about: String,
    state_root: u64,
    opened: u64,
    erased: u64,
    withheld: BTreeMap<&'static str, u64>,
    accesses: u64,
    covered: u64,
    findings: BTreeMap<&'static str, u64>,
    not_opened: Vec<String>,
    except: &'static str,
}

pub(super) fn verify(
    file: &Path,
    asked: &Asked,
    policies: &PolicySet,
    output: Output,
) -> Result<Exit, Failure> {
    let since = asked.since.as_deref().map(open).transpose()?;
    let code = asked.code_file.as_deref();
    let code = code.map(|file| read_secret(Some(file))).transpose()?;
    let question = export::Asked {
        at_least: asked.at_least.map(TreeSize),
        since: since.as_ref(),
        code: code.as_deref().map(String::as_str),
    };
    let verified = export::verify(&open(file)?, policies, question).map_err(failure)?;
    output::one(output, &describe(&verified), |_| {
        verified.facts().join("\n")
    })?;
    Ok(Exit::Ok)
}

fn open(file: &Path) -> Result<Export, Failure> {
    let cannot = |error: String| Failure::cannot_check(format!("{}: {error}", file.display()));
    let mut text = fs::read(file).map_err(|error| cannot(error.to_string()))?;
    if text.starts_with(ZIP_MAGIC) {
        text = out_of_bundle(text).map_err(cannot)?;
    }
    Export::parse(&text).map_err(|refused| failure(refused.into()))
}

/// How a zip begins.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// The export in a citizen's bundle.
fn out_of_bundle(bundle: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut bundle =
        zip::ZipArchive::new(Cursor::new(bundle)).map_err(|error| error.to_string())?;
    let export = bundle
        .by_name("export.json")
        .map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    // What a bundle says of its length is believed in nothing.
    let bytes_max = u64::try_from(export::EXPORT_BYTES_MAX).unwrap_or(u64::MAX);
    export
        .take(bytes_max)
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    Ok(text)
}

fn failure(fault: Fault) -> Failure {
    match fault.lie {
        Lie::NoPolicy => Failure::cannot_check(fault),
        _ => Failure::failed(fault),
    }
}

fn describe(verified: &Verified) -> Complete {
    let (accesses, covered, findings) = verified.accesses();
    let withheld = verified.withheld().into_iter();
    Complete {
        complete: true,
        size: verified.size().0,
        time: format_timestamp(verified.time_ms()),
        origin: verified.head().origin.to_string(),
        about: url_encode(verified.head().about.of.as_bytes()),
        state_root: verified.state_root().1.0,
        opened: verified.opened(),
        erased: verified.erased(),
        withheld: withheld
            .map(|(why, count)| (why.map_or("no reason given", export::Why::as_str), count))
            .collect(),
        accesses,
        covered,
        findings: findings
            .into_iter()
            .map(|(finding, count)| (finding.name(), count))
            .collect(),
        not_opened: verified
            .not_opened()
            .iter()
            .map(|member| url_encode(member.of.as_bytes()))
            .collect(),
        except: HONEST,
    }
}
