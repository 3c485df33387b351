// SPDX-License-Identifier: EUPL-1.2
//! What must never stand in a log: persons, operators, tokens, keys.

use ledger::base64;

use crate::world;

/// Persons and households that scenarios use; their refs are looked for.
pub const NAMES: [&str; 8] = [
    "anna", "bruno", "carla", "dario", "elena", "rossi", "bianchi", "load",
];

/// What a log holds of it, in words, with the line cut short.
pub fn found_in(log: &str) -> Vec<String> {
    let forbidden = forbidden();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(log.lines()) {
        let shown = || line.chars().take(160).collect::<String>();
        for (what, text) in &forbidden {
            if line.contains(text.as_str()) {
                found.push(format!("line {number}: {what}: {}", shown()));
            }
        }
        if has_tax_code(line) {
            found.push(format!("line {number}: a tax code: {}", shown()));
        }
    }
    found
}

fn forbidden() -> Vec<(&'static str, String)> {
    let mut forbidden = vec![
        ("a token", "eyJ".to_owned()),
        ("a token", "Bearer ".to_owned()),
        ("a private key", "PRIVATE KEY".to_owned()),
        ("an operator's id", world::CLERK.to_owned()),
        ("a reader's id", "reader-0147".to_owned()),
    ];
    for name in NAMES {
        for text in [world::person(name), world::household(name)] {
            if let Some(bytes) = base64::url_decode(&text) {
                forbidden.push(("a ref", hex(&bytes)));
            }
            forbidden.push(("a ref", text));
        }
    }
    let mut labels: Vec<(String, String)> = world::INSTITUTIONS
        .iter()
        .flat_map(|(institution, _)| {
            ["entry", "token", "governance", "log"]
                .map(|label| ((*institution).to_owned(), label.to_owned()))
        })
        .collect();
    for node in 1..=5 {
        for label in [format!("node {node}"), format!("cosign {node}")] {
            labels.push((world::operator_of(node).to_owned(), label));
        }
    }
    for (institution, label) in labels {
        let seed = world::seed(&institution, &label);
        forbidden.push(("a private key", hex(&seed)));
        forbidden.push(("a private key", base64::url_encode(&seed)));
        forbidden.push(("a private key", base64::encode(&seed)));
    }
    forbidden
}

/// Sixteen characters in the form of an Italian tax code, standing alone.
fn has_tax_code(line: &str) -> bool {
    let form = b"AAAAAA00A00A000A";
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| {
            word.len() == form.len()
                && word.bytes().zip(form).all(|(c, kind)| {
                    if *kind == b'A' {
                        c.is_ascii_alphabetic()
                    } else {
                        c.is_ascii_digit()
                    }
                })
        })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_must_not_be_there_and_nothing_else() {
        let clean = r#"{"timestamp":"2026-11-24T22:13:05.123Z","level":"INFO","status":201,"request":"0199b2c4-7d1e-7c3a-9f2b-3c4d5e6f7a8b"}"#;
        assert_eq!(found_in(clean), Vec::<String>::new());
        for dirty in [
            format!("subject {}", world::person("anna")),
            format!("household={}", world::household("rossi")),
            "code RSSMRA85T10A562S seen".to_owned(),
            "Authorization: Bearer abc".to_owned(),
            format!("{:?}", world::CLERK),
            format!("seed {}", hex(&world::seed(world::INPS, "entry"))),
        ] {
            assert_eq!(found_in(&dirty).len(), 1, "{dirty}");
        }
    }
}
