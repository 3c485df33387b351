// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::panic)]
use client::keyfile;
use ledger::{
    entry::{SubmittedEntry, genesis_keys, verify},
    policy::PolicySet,
};

use super::*;

const DESCRIPTION: &str = r#"
ledger = "ledger.visto.example"
threshold = 1
test = true
[[institutions]]
id = "ipa:c_m109"
name = "Comune di Voghera"
roles = ["registry-anagrafica"]
keys = [{ use = "governance", file = "governance.pem" }, { use = "entry", file = "entry.pem" }]
[[nodes]]
node = 1
institution = "ipa:c_m109"
peer = "127.0.0.1:7001"
node_key = "node.pem"
cosign_key = "cosign.pem"
[log]
institution = "ipa:c_m109"
key = "log.pem"
"#;

fn make_in(folder: &Path, description: &str) -> Result<Made, Failure> {
    for name in [
        "governance.pem",
        "entry.pem",
        "node.pem",
        "cosign.pem",
        "log.pem",
    ] {
        if !folder.join(name).exists() {
            keyfile::generate(&folder.join(name)).unwrap();
        }
    }
    fs::write(folder.join("genesis.toml"), description).unwrap();
    make(New {
        from: folder.join("genesis.toml"),
        out: folder.join("genesis.json"),
        policy: folder.join("policy.txt"),
        oprf_key: None,
    })
}

#[test]
fn a_genesis_verifies_by_its_own_keys_and_its_policy_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let made = make_in(folder.path(), DESCRIPTION).unwrap();
    assert_eq!(made.origin, "ledger.visto.example/1");
    let line = fs::read_to_string(&made.out).unwrap();
    let entry = SubmittedEntry::from_wire(line.trim_end().as_bytes()).unwrap();
    let keys = genesis_keys(&entry).unwrap();
    verify(entry.clone(), "ledger.visto.example", &keys).unwrap();
    let policy = fs::read(&made.policy).unwrap();
    PolicySet::parse(&policy).unwrap();
    let text = String::from_utf8(policy).unwrap();
    assert!(
        text.contains(&made.genesis) && text.contains(&made.vkey),
        "{text}"
    );
}

#[test]
fn nothing_that_is_there_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    make_in(folder.path(), DESCRIPTION).unwrap();
    let failure = make_in(folder.path(), DESCRIPTION).err().unwrap();
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.text.contains("genesis.json"), "{}", failure.text);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cases = [
        ("threshold = 1", "threshold = \"one\"", "line 3"),
        ("threshold = 1", "threshold = 2", "threshold is 2"),
        ("ipa:c_m109\"\nname", "C_M109\"\nname", "C_M109"),
        ("use = \"entry\"", "use = \"enter\"", "enter"),
        (", file = \"entry.pem\"", "", "give either file"),
        (
            ", file = \"entry.pem\"",
            ", public_key = \"AAAA\", possession = \"AAAA\"",
            "public_key",
        ),
        ("test = true", "tset = true", "tset"),
    ];
    for (sound, broken, told) in cases {
        let folder = tempfile::tempdir().unwrap();
        let failure = make_in(folder.path(), &DESCRIPTION.replace(sound, broken))
            .err()
            .unwrap();
        assert_eq!(failure.exit, Exit::Usage, "{broken}");
        assert!(
            failure.text.contains("genesis.toml") && failure.text.contains(told),
            "{broken}: {}",
            failure.text
        );
        assert!(!folder.path().join("genesis.json").exists());
    }
}
