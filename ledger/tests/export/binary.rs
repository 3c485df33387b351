// SPDX-License-Identifier: EUPL-1.2
//! The binary `visto-verify` on exports, run as its users run it.

use std::{fs, path::PathBuf, process::Command};

use crate::{book::Wanted, story::tell, town::person};

fn run(folder: &PathBuf, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visto-verify"));
    command.current_dir(folder).args(["--policy", "policy.txt"]);
    let output = command.args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn exports_are_verified_offline() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("visto-verify-exports");
    fs::create_dir_all(&folder).unwrap();
    let mut book = tell(12);
    let wanted = Wanted::subject(person("anna"));
    let write = |name: &str, text: &[u8]| fs::write(folder.join(name), text).unwrap();
    write("old.json", book.export(&wanted).to_json().as_bytes());
    book.root();
    let mut export = book.export(&wanted);
    write("export.json", export.to_json().as_bytes());
    write("code.txt", b"RSSMRA80A01H501U\n");
    write("policy.txt", &book.policies().format());
    export.lists[0].items.remove(2);
    write("short.json", export.to_json().as_bytes());

    let (code, said, complaint) = run(&folder, &["--since", "old.json", "export.json"]);
    assert_eq!((code, complaint.as_str()), (0, ""));
    assert!(said.starts_with("Complete as of size "), "{said}");
    assert!(said.contains("nobody logged"), "{said}");

    for (args, exit, part) in [
        (&["short.json"][..], 1, "missing: the ledger's list has"),
        (&["--since", "export.json", "old.json"], 1, "old-root: "),
        (&["--at-least", "100000", "export.json"], 1, "old-root: "),
        (&["--code-file", "code.txt", "export.json"], 1, "binding: "),
        (&["policy.txt"], 1, "malformed: "),
        (&["nowhere.json"], 3, "nowhere.json"),
        (
            &["--at-least", "-1", "export.json"],
            2,
            "--at-least needs a size",
        ),
    ] {
        let (code, said, complaint) = run(&folder, args);
        assert_eq!((code, said.as_str()), (exit, ""), "{args:?}: {complaint}");
        assert!(complaint.contains(part), "{part} in {complaint}");
    }
}
