// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::panic)]
use std::{fs, path::Path, sync::mpsc, thread};

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

/// A thread that still reads a large file, or waits for a disk, keeps no process.
#[test]
fn a_command_that_ended_waits_for_its_threads_no_longer_than_it_says() {
    let (busy, free) = mpsc::channel::<()>();
    let (end, ended) = mpsc::channel();
    thread::spawn(move || {
        let exit = wait_for(async {
            let (begin, begun) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let _ = begin.send(());
                let _ = free.recv();
            });
            begun.await.unwrap();
            Ok(Exit::Ok)
        });
        end.send(exit.is_ok()).unwrap();
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Ok(true));
    drop(busy);
}

/// The whole help is a golden file: `REWRITE=1 cargo test -p server` writes it anew, and the difference is read in review.
#[test]
fn the_help_is_as_committed() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/help.txt");
    let mut text = String::new();
    write_help(&Arguments::command(), "visto", &mut text);
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&golden, &text).unwrap();
    }
    let committed = fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        text == committed,
        "the help changed; run with REWRITE=1 and read the difference of {}",
        golden.display()
    );
}

/// Help of a command and of all below it. Long options alone: clap wraps nothing where no terminal width is known.
fn write_help(command: &clap::Command, path: &str, text: &mut String) {
    let mut shown = command
        .clone()
        .bin_name(path)
        .disable_help_subcommand(true)
        // What happens to be set where the test runs is not part of the help.
        .mut_args(|argument| argument.hide_env_values(true))
        .term_width(0);
    text.push_str(&format!("$ {path} --help\n{}\n", shown.render_long_help()));
    for below in command.get_subcommands() {
        write_help(below, &format!("{path} {}", below.get_name()), text);
    }
}

#[test]
fn a_profile_is_overridden_by_flags_and_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profile.toml");
    let resolve = |text: &str, urls: &[&str]| {
        fs::write(&file, text).unwrap();
        let connection = Connection {
            profile: Some(file.clone()),
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..Connection::default()
        };
        connection
            .resolve()
            .map_err(|failure| (failure.exit, failure.text))
    };
    let sound = "urls = [\"http://127.0.0.1:1\"]\nledger = \"a.example\"\npolicy = \"policy.txt\"\ninstitution = \"ipa:inps\"\n";
    let connection = resolve(sound, &[]).unwrap();
    assert_eq!(connection.urls, ["http://127.0.0.1:1"]);
    assert_eq!(connection.policy.unwrap(), folder.path().join("policy.txt"));
    assert_eq!(
        resolve(sound, &["http://127.0.0.1:2"]).unwrap().urls,
        ["http://127.0.0.1:2"]
    );
    let (exit, text) = resolve("urls = 7\n", &[]).err().unwrap();
    assert_eq!(exit, Exit::Usage);
    assert!(
        text.contains("profile.toml") && text.contains("line 1"),
        "{text}"
    );
    let (_, text) = resolve("ledger = \"a\"\nurl = \"x\"\n", &[]).err().unwrap();
    assert!(text.contains("line 2") && text.contains("url"), "{text}");
}

#[test]
fn what_is_missing_is_named_with_its_three_places() {
    let failure = Connection::default().client().err().unwrap();
    assert_eq!(failure.exit, Exit::Usage);
    for place in ["--url", "VISTO_URL", "urls"] {
        assert!(failure.text.contains(place), "{}", failure.text);
    }
    let reader = ReaderFlags {
        institution: Some("INPS".to_owned()),
        person: Some("a".to_owned()),
        purpose: Some("dpv:x".to_owned()),
        ..ReaderFlags::default()
    };
    let failure = Connection {
        reader,
        ..Connection::default()
    }
    .token()
    .err()
    .unwrap();
    assert!(failure.text.contains("INPS"), "{}", failure.text);
}
