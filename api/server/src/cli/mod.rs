// SPDX-License-Identifier: EUPL-1.2
//! The command line: nouns, then verbs. Data goes to stdout, progress and errors to stderr; [`exit`] maps outcomes to exit codes.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Parser, Subcommand};

mod access;
mod audit;
mod certs;
mod cluster;
mod consent;
mod demo;
mod entry;
mod erasure;
mod exchange;
mod exit;
mod export;
mod gate;
mod genesis;
mod key;
mod output;
mod profile;
mod pseudonym;
mod scope;
mod serve;
mod token;
mod tracing;
mod verify;

use exit::{Exit, Failure};
use output::Output;

/// A ledger that several public institutions run together: who saw whose data, and who said yes.
#[derive(Parser)]
#[command(name = "visto", version, after_help = AFTER_HELP)]
struct Arguments {
    /// How to print data.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Human)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node: ledger, cluster and HTTP API in one process.
    Serve(serve::Arguments),
    /// Start three nodes on this machine and show the whole job on a generated town.
    Demo(demo::Arguments),
    /// Make a cluster's peer CA and its nodes' certificates.
    Certs(certs::Arguments),
    /// Private keys in files.
    #[command(subcommand)]
    Key(key::Command),
    /// The first entry of a ledger.
    #[command(subcommand)]
    Genesis(genesis::Command),
    /// Readers' tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// Entries: send them.
    #[command(subcommand)]
    Entry(entry::Command),
    /// Accesses: who saw whose data.
    #[command(subcommand)]
    Access(access::Command),
    /// Exchanges: the two sides of each call.
    #[command(subcommand)]
    Exchange(exchange::Command),
    /// Tracing files of the national platform (PDND).
    #[command(subcommand)]
    Tracing(tracing::Command),
    /// Consents: what a person said yes to.
    #[command(subcommand)]
    Consent(consent::Command),
    /// Exports: who saw somebody's data, provably complete.
    Export(Box<export::Arguments>),
    /// Stand before an e-service: let only calls through whose access is on record, and put the provider's side on record.
    Gate(gate::Arguments),
    /// Refs of codes, evaluated by the cluster without showing it the codes.
    #[command(subcommand)]
    Pseudonym(pseudonym::Command),
    /// Erasures: bodies that must go, while every proof stays.
    #[command(subcommand)]
    Erasure(erasure::Command),
    /// Check an export, or an entry and its receipt, against a policy, offline.
    Verify(verify::Arguments),
    /// Replay a ledger and recompute everything that it says of itself; stop at the first lie.
    Audit(audit::Arguments),
    /// List every subject that one person touched (Art. 33 and 34 GDPR).
    Scope(scope::Arguments),
    /// The cluster: its nodes, their agreement, its members.
    #[command(subcommand)]
    Cluster(cluster::Command),
}

/// Where the ledger's nodes are, and who asks. Flags win over the environment, the environment over the profile.
#[derive(Args, Clone, Default)]
struct Connection {
    /// TOML file with any of: urls, ledger, policy, institution, person, role, purpose, case, token_key.
    #[arg(long, env = "VISTO_PROFILE", value_name = "FILE")]
    profile: Option<PathBuf>,
    /// URL of a node; give several and the next one is asked when one does not answer.
    #[arg(
        long = "url",
        env = "VISTO_URL",
        value_name = "URL",
        value_delimiter = ','
    )]
    urls: Vec<String>,
    /// Name of the ledger.
    #[arg(long, env = "VISTO_LEDGER", value_name = "NAME")]
    ledger: Option<String>,
    /// Trust policy that receipts and checkpoints are verified against.
    #[arg(long, env = "VISTO_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How long to try, all attempts together, in seconds.
    #[arg(long = "timeout", value_name = "SECONDS", default_value_t = 30)]
    timeout_s: u64,
    #[command(flatten)]
    reader: ReaderFlags,
}

/// Who reads, and with which key.
#[derive(Args, Clone, Default)]
struct ReaderFlags {
    /// The reader's institution, such as ipa:c_m109.
    #[arg(long, env = "VISTO_INSTITUTION", value_name = "ID")]
    institution: Option<String>,
    /// The institution's own id of the person who reads.
    #[arg(long, env = "VISTO_PERSON", value_name = "ID")]
    person: Option<String>,
    /// In which role the person reads: institution, dpo, authority or operator.
    #[arg(long, env = "VISTO_ROLE", value_name = "ROLE")]
    role: Option<String>,
    /// What for, a CURIE such as dpv:DataSubjectRightsManagement.
    #[arg(long, env = "VISTO_PURPOSE", value_name = "CURIE")]
    purpose: Option<String>,
    /// The case that the reading serves.
    #[arg(long, env = "VISTO_CASE", value_name = "TEXT")]
    case: Option<String>,
    /// File of the institution's registered token key.
    #[arg(long, env = "VISTO_TOKEN_KEY", value_name = "FILE")]
    token_key: Option<PathBuf>,
}

/// Reads the command line, runs the command, and says how it ended.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors and go to stdout.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            let _ = error.print();
            return exit.into();
        }
    };
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("visto: {failure}");
            failure.exit.into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let output = arguments.output;
    match arguments.command {
        Command::Serve(arguments) => wait_for(serve::run(arguments)),
        Command::Demo(arguments) => wait_for(demo::run(arguments)),
        Command::Certs(arguments) => certs::run(&arguments, output),
        Command::Key(command) => key::run(command, output),
        Command::Genesis(command) => genesis::run(command, output),
        Command::Token(command) => token::run(command, output),
        Command::Entry(command) => wait_for(entry::run(command, output)),
        Command::Access(command) => wait_for(access::run(command, output)),
        Command::Exchange(command) => wait_for(exchange::run(command, output)),
        Command::Tracing(command) => wait_for(tracing::run(command, output)),
        Command::Consent(command) => wait_for(consent::run(command, output)),
        Command::Export(arguments) => wait_for(export::run(*arguments, output)),
        Command::Pseudonym(command) => wait_for(pseudonym::run(command, output)),
        Command::Erasure(command) => wait_for(erasure::run(command, output)),
        Command::Verify(arguments) => wait_for(verify::run(arguments, output)),
        Command::Gate(arguments) => wait_for(gate::run(arguments, output)),
        Command::Audit(arguments) => wait_for(audit::run(arguments, output)),
        Command::Scope(arguments) => wait_for(scope::run(arguments, output)),
        Command::Cluster(command) => wait_for(cluster::run(command, output)),
    }
}

/// How long a command that has ended waits for its threads: one may still read a large file through.
const THREADS_END: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 5 });

/// Runs a command that waits for others, on all cores.
fn wait_for(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads to run on: {error}")))?;
    let ended = runtime.block_on(command);
    runtime.shutdown_timeout(THREADS_END);
    ended
}

/// Now, in milliseconds since the epoch, by this machine's clock.
fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

const AFTER_HELP: &str = "Exit codes: 0 ok; 1 proven false, refused or failed; 2 usage; 3 cannot check; 4 not authorised; 5 no quorum.";

#[cfg(test)]
mod tests;
