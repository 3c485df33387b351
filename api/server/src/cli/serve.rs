// SPDX-License-Identifier: EUPL-1.2
//! `visto serve`: one node. What can be set stands in [`server::config::KEYS`]; the flags here are made of that list.

use std::{
    env,
    io::{self, Read},
    path::PathBuf,
    thread,
};

use clap::{Arg, ArgMatches, FromArgMatches, value_parser};
use server::config::{KEYS, ServeConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::exit::{Exit, Failure};

/// Flags of `visto serve`.
pub(crate) struct Arguments {
    config: Option<PathBuf>,
    stop_with_stdin: bool,
    /// Name of the key and what was given, as far as given.
    settings: Vec<(&'static str, String)>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let config = ServeConfig::load(
        arguments.config.as_deref(),
        env::vars(),
        &arguments.settings,
    )
    .map_err(Failure::usage)?;
    server::logging::init(config.log_json, &config.log_level).map_err(Failure::usage)?;
    let stop = stop_asked(arguments.stop_with_stdin)?;
    server::serve(config, stop).await.map_err(Failure::failed)?;
    Ok(Exit::Ok)
}

/// Resolves on SIGINT and SIGTERM and, if asked for, when stdin ends: then a node ends with whoever started it, however that one died.
pub(super) fn stop_asked(with_stdin: bool) -> Result<impl Future<Output = ()>, Failure> {
    let install = |kind| {
        signal(kind).map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
    };
    let (mut interrupt, mut terminate) = (
        install(SignalKind::interrupt())?,
        install(SignalKind::terminate())?,
    );
    let (ended, stdin_ended) = oneshot::channel::<()>();
    if with_stdin {
        // A thread of its own: a read of stdin cannot be taken back, and the process does not wait for this one.
        thread::spawn(move || {
            let mut sink = [0; 256];
            while matches!(io::stdin().read(&mut sink), Ok(read) if read > 0) {}
            let _ = ended.send(());
        });
    }
    Ok(async move {
        let stdin = async {
            if !with_stdin || stdin_ended.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stdin => {}
        }
    })
}

impl clap::Args for Arguments {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = command
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .env("VISTO_CONFIG")
                    .value_parser(value_parser!(PathBuf))
                    .help("TOML file with any of the settings below; environment and flags win over it"),
            )
            .arg(
                Arg::new("stop-with-stdin")
                    .long("stop-with-stdin")
                    .action(clap::ArgAction::SetTrue)
                    .help("Also stop when stdin ends, so that the node ends with its parent"),
            );
        KEYS.iter().fold(command, |command, key| {
            let mut help = format!("{} [{}]", key.help, key.env());
            if let Some(default) = key.default {
                help = format!("{help} [default: {default}]");
            }
            // What nobody would ever reach is not told before somebody does.
            if let Some(max) = key.max.filter(|max| *max < u64::from(u32::MAX)) {
                help = format!("{help} [1 to {max}]");
            }
            command.arg(
                Arg::new(key.name)
                    .long(key.flag())
                    .value_name("VALUE")
                    .help(help)
                    .help_heading("Settings"),
            )
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Arguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Arguments, clap::Error> {
        let given = |name: &'static str| Some((name, matches.get_one::<String>(name)?.clone()));
        Ok(Arguments {
            config: matches.get_one::<PathBuf>("config").cloned(),
            stop_with_stdin: matches.get_flag("stop-with-stdin"),
            settings: KEYS.iter().filter_map(|key| given(key.name)).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Arguments::from_arg_matches(matches)?;
        Ok(())
    }
}
