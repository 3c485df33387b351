// SPDX-License-Identifier: EUPL-1.2
//! The binary `visto-verify`, run as its users run it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ledger::base64::url_encode;

use crate::file::{entry, list, section, signing_key, text};
use crate::receipts::policies;

/// Files of one test, in a folder of its own that is written anew.
struct Case {
    folder: PathBuf,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join("visto-verify")
            .join(name);
        fs::create_dir_all(&folder).unwrap();
        let case = Case { folder };
        let receipt = &list(&section("receipt")["proofs"])[2];
        case.write("policy.txt", &policies().format());
        case.write(
            "entry.json",
            format!("{}\n", text(entry(text(receipt, "entry")), "wire")).as_bytes(),
        );
        case.write("receipt.tlog-proof", text(receipt, "tlog_proof").as_bytes());
        case
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.folder.join(file), bytes).unwrap();
    }

    /// Exit code, what it said, what it complained of.
    fn run(&self, more: &[&str]) -> (i32, String, String) {
        let args = ["--policy", "policy.txt", "entry.json", "receipt.tlog-proof"];
        self.run_with(&[&args[..], more].concat())
    }

    fn run_with(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_visto-verify"));
        let output = command
            .current_dir(&self.folder)
            .args(args)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

fn key(name: &str) -> String {
    url_encode(signing_key(name).public().as_bytes())
}

#[test]
fn says_what_holds() {
    let case = Case::new("holds");
    let (code, said, complaint) = case.run(&["--key", &key("voghera"), "--key", &key("asl")]);
    assert_eq!((code, complaint.as_str()), (0, ""), "{said}");
    for part in [
        "of type access, by ipa:c_m109",
        "none is withheld",
        "holds.",
        "number 2 of ledger.visto.example/1",
        "The ledger accepted it at 20",
        "ledger.visto.example/node/3 cosigned that tree at 20",
        "Verified: ",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("NOT CHECKED"));
}

#[test]
fn says_what_it_did_not_check() {
    let (code, said, _) = Case::new("unchecked").run(&[]);
    assert_eq!(code, 0);
    assert!(
        said.contains("NOT CHECKED: the institution's signature"),
        "{said}"
    );
}

#[test]
fn withheld_values_are_said_to_be() {
    let case = Case::new("withheld");
    let wire = fs::read_to_string(case.folder.join("entry.json")).unwrap();
    let (head, rest) = wire.split_once("\"disclosures\"").unwrap();
    let (_, rest) = rest.split_once(',').unwrap();
    case.write(
        "entry.json",
        format!("{head}\"disclosures\":[{rest}").as_bytes(),
    );
    let (code, said, complaint) = case.run(&[]);
    assert_eq!((code, complaint.as_str()), (0, ""));
    assert!(said.contains("others are withheld"), "{said}");
}

#[test]
fn proves_false_what_is() {
    let case = Case::new("false");
    let (code, _, complaint) = case.run(&["--key", &key("inps")]);
    assert_eq!(
        (code, complaint.starts_with("FALSE: no key given")),
        (1, true),
        "{complaint}"
    );

    let other = text(entry("access-provider"), "wire");
    case.write("entry.json", other.as_bytes());
    let (code, _, complaint) = case.run(&[]);
    assert_eq!(
        (code, complaint.contains("another entry's")),
        (1, true),
        "{complaint}"
    );
    case.write("entry.json", b"{}");
    assert_eq!(case.run(&[]).0, 1);

    let case = Case::new("false-receipt");
    case.write("receipt.tlog-proof", b"c2sp.org/tlog-proof@v1\n");
    assert_eq!(case.run(&[]).0, 1);

    // The same body and receipt with a signature that does not hold cannot lead to the leaf either, but the key speaks first.
    let case = Case::new("false-signature");
    let wire = fs::read_to_string(case.folder.join("entry.json")).unwrap();
    let at = wire.find("\"sig\"").unwrap() + 12;
    let other = if wire.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    case.write(
        "entry.json",
        format!("{}{other}{}", &wire[..at], &wire[at + 1..]).as_bytes(),
    );
    let (code, _, complaint) = case.run(&["--key", &key("voghera")]);
    assert_eq!(
        (code, complaint.contains("does not hold")),
        (1, true),
        "{complaint}"
    );
}

#[test]
fn cannot_check_without_policy_or_files() {
    let case = Case::new("cannot");
    assert_eq!(
        case.run_with(&["--policy", "none.txt", "entry.json", "receipt.tlog-proof"])
            .0,
        3
    );
    assert_eq!(
        case.run_with(&["--policy", "policy.txt", "none.json", "receipt.tlog-proof"])
            .0,
        3
    );
    let later = [b"# visto: from size 1000\n".to_vec(), policies().format()].concat();
    case.write("policy.txt", &later);
    let (code, _, complaint) = case.run(&[]);
    assert_eq!(
        (
            code,
            complaint.contains("says nothing about a tree of this size")
        ),
        (3, true),
        "{complaint}"
    );
    case.write("policy.txt", b"quorum none\nquorum none\n");
    let (code, _, complaint) = case.run(&[]);
    assert_eq!(
        (code, complaint.contains("line 2: a second quorum")),
        (3, true),
        "{complaint}"
    );
}

#[test]
fn usage_is_its_own_exit_code() {
    let case = Case::new("usage");
    for args in [
        &[][..],
        &["--policy"],
        &["entry.json", "receipt.tlog-proof"],
        &[
            "--policy",
            "policy.txt",
            "entry.json",
            "receipt.tlog-proof",
            "--code-file",
            "entry.json",
        ],
        &["--policy", "policy.txt", "export.json", "--key", "AAAA"],
        &["--policy", "policy.txt"],
        &[
            "--policy",
            "policy.txt",
            "entry.json",
            "receipt.tlog-proof",
            "more",
        ],
        &[
            "--policy",
            "policy.txt",
            "entry.json",
            "receipt.tlog-proof",
            "--unknown",
        ],
        &[
            "--policy",
            "policy.txt",
            "entry.json",
            "receipt.tlog-proof",
            "--policy",
            "policy.txt",
        ],
        &[
            "--policy",
            "policy.txt",
            "entry.json",
            "receipt.tlog-proof",
            "--key",
            "AAAA",
        ],
        &[
            "--policy",
            "policy.txt",
            "entry.json",
            "receipt.tlog-proof",
            "--key",
        ],
    ] {
        let (code, said, complaint) = case.run_with(args);
        assert_eq!((code, said.as_str()), (2, ""), "{args:?}");
        assert!(complaint.contains("usage: visto-verify"), "{complaint}");
    }
    let (code, said, _) = case.run_with(&["--help"]);
    assert_eq!((code, said.starts_with("usage: ")), (0, true));
}
