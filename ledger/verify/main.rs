// SPDX-License-Identifier: EUPL-1.2
//! `visto-verify`: checks an entry and its receipt, or an export, offline, with nothing but a policy file. Short enough to be read whole.

mod export;
mod receipt;

use std::{fs::File, io::Read, process::ExitCode};

use ledger::base64::url_decode_array;
use ledger::key::PublicKey;
use ledger::number::{TreeSize, parse_decimal};
use ledger::policy::{POLICY_BYTES_MAX, PolicySet};

const USAGE: &str = "\
usage: visto-verify --policy FILE [--key PUBLIC_KEY]... ENTRY.json RECEIPT.tlog-proof
       visto-verify --policy FILE [--code-file FILE] [--at-least SIZE] [--since EARLIER.json] EXPORT.json
  --policy FILE    which log and nodes to trust, from which tree size on
  --key KEY        public key of a signer of the entry, base64url; may be repeated
  --code-file FILE file with the code whose ref the export must be about, - for stdin: arguments are seen by others
  --at-least SIZE  the export must cover a tree of at least this size
  --since FILE     what this earlier export showed must still be there
exit codes: 0 all that was checked holds, 1 proven false, 2 usage, 3 cannot check";

/// An exit code that is not 0, and why.
struct Stop(u8, String);

fn proven_false(why: String) -> Stop {
    Stop(1, format!("FALSE: {why}."))
}
fn usage(why: &str) -> Stop {
    Stop(2, format!("{why}\n{USAGE}"))
}
fn cannot_check(why: String) -> Stop {
    Stop(3, format!("Cannot check: {why}."))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Err(Stop(code, why)) = run(args) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{why}");
    ExitCode::from(code)
}

/// What was asked for on the command line.
#[derive(Default)]
struct Asked {
    policy: Option<String>,
    keys: Vec<PublicKey>,
    code: Option<String>,
    at_least: Option<TreeSize>,
    since: Option<String>,
    files: Vec<String>,
}

fn run(args: Vec<String>) -> Result<(), Stop> {
    let asked = parse(args)?;
    let export_alone = asked.code.is_some() || asked.at_least.is_some() || asked.since.is_some();
    let policy = asked.policy.as_ref();
    let policy = policy.ok_or_else(|| usage("a policy is needed"))?;
    let policies = PolicySet::parse(&read(policy, POLICY_BYTES_MAX)?)
        .map_err(|error| cannot_check(format!("policy file {policy}, {error}")))?;
    match asked.files.as_slice() {
        [entry, proof] if !export_alone => receipt::verify(entry, proof, &asked.keys, &policies)?,
        [file] if asked.keys.is_empty() => export::verify(file, &asked, &policies)?,
        _ => return Err(usage("an entry and a receipt are needed, or an export")),
    }
    println!("Verified: all of this follows from the files and keys given.");
    Ok(())
}

fn parse(args: Vec<String>) -> Result<Asked, Stop> {
    let mut asked = Asked::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| usage("a flag lacks its value"));
        match arg.as_str() {
            "--policy" if asked.policy.is_none() => asked.policy = Some(value()?),
            "--code-file" if asked.code.is_none() => asked.code = Some(code(&value()?)?),
            "--since" if asked.since.is_none() => asked.since = Some(value()?),
            "--at-least" if asked.at_least.is_none() => {
                let size = parse_decimal(&value()?).map(TreeSize);
                asked.at_least = Some(size.ok_or_else(|| usage("--at-least needs a size"))?);
            }
            "--key" => {
                let key = url_decode_array(&value()?);
                let key = key.and_then(|bytes| PublicKey::from_bytes(bytes).ok());
                asked
                    .keys
                    .push(key.ok_or_else(|| usage("--key needs a public key"))?);
            }
            flag if flag.starts_with('-') => return Err(usage("a flag unknown or given twice")),
            _ => asked.files.push(arg),
        }
    }
    Ok(asked)
}

/// The code in a file, or on stdin. One that is cut here is longer than any code, and so refused.
fn code(file: &str) -> Result<String, Stop> {
    let mut text = String::new();
    let from = match file {
        "-" => Ok(Box::new(std::io::stdin()) as Box<dyn Read>),
        _ => File::open(file).map(|file| Box::new(file) as Box<dyn Read>),
    };
    from.and_then(|from| from.take(CODE_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| cannot_check(format!("{file}: {error}")))?;
    Ok(text)
}

/// More bytes than a file with one code has.
const CODE_FILE_BYTES_MAX: u64 = 1_024;

/// Reads a file; one that is longer than any valid one is cut just past that, and so refused when it is parsed.
fn read(path: &str, bytes_max: usize) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max as u64 + 2).read_to_end(&mut bytes))
        .map_err(|error| cannot_check(format!("{path}: {error}")))?;
    Ok(bytes)
}
