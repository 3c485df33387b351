// SPDX-License-Identifier: EUPL-1.2
//! Writes example exports of a small ledger, with the policy to verify them under: `cargo run -p ledger --example exports -- DIR [N]`,
//! N accesses to the person asked about. And each lie that the verifier's tests tell, in `lies/NAME.json`, with its name in `lies.tsv`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code
)]

#[path = "../tests/export/book.rs"]
mod book;
#[path = "../tests/export/lies.rs"]
mod lies;
#[path = "../tests/export/story.rs"]
mod story;
#[path = "../tests/admission/town.rs"]
mod town;

use std::{fs, path::PathBuf};

use book::Wanted;
use town::person;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().expect("a folder to write to"));
    let accesses = args
        .next()
        .map_or(20, |text| text.parse().expect("a number"));
    fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: &[u8]| fs::write(dir.join(name), text).unwrap();
    let book = story::tell(accesses);
    write("policy.txt", &book.policies().format());
    for (name, wanted) in [
        ("person.json", Wanted::subject(person("anna"))),
        ("nobody.json", Wanted::subject(person("nobody"))),
        (
            "household.json",
            Wanted::household(story::home(), &[person("bruno")]),
        ),
    ] {
        let export = book.export(&wanted);
        write(name, export.to_json().as_bytes());
        write(
            "checkpoint.txt",
            export.head.checkpoint.to_string().as_bytes(),
        );
    }
    let bound = book.export_bound(story::CODE);
    write("person-bound.json", bound.to_json().as_bytes());
    write("code.txt", story::CODE.as_bytes());
    let mut cut = story::tell(accesses);
    story::cut(&mut cut);
    let export = cut.export(&Wanted::subject(person("anna")));
    write("person-cut.json", export.to_json().as_bytes());
    fs::create_dir_all(dir.join("lies")).unwrap();
    let mut names = String::new();
    for (wanted, lies) in [
        (Wanted::subject(person("anna")), lies::ABOUT_ANNA),
        (
            Wanted::household(story::home(), &[person("bruno")]),
            lies::ABOUT_HOME,
        ),
    ] {
        let good = book.export(&wanted);
        // Each is as long as a good one, and none can be told of next to nothing.
        for (name, lie, tell) in lies.iter().filter(|_| (20..=100).contains(&accesses)) {
            let mut export = good.clone();
            tell(&book, &mut export);
            write(&format!("lies/{name}.json"), export.to_json().as_bytes());
            names.push_str(&format!("{name}\t{}\n", lie.name()));
        }
    }
    write("lies.tsv", names.as_bytes());
}
