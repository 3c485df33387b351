// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use ledger::{body::EntryType, finding::Finding, rules::RULE_SETS};
use serde_json::Value;

use super::*;

const EXPORT: &str = r#"{"export":1,"said":"</script><script>alert(1)</script> & <!-- é 𝄞"}"#;
const POLICY: &str = "# visto: \"é\" 𝄞 <\nquorum none\n";

fn made() -> String {
    let mut out = Vec::new();
    let embedded = Embedded {
        export: EXPORT,
        policy: POLICY,
    };
    page(embedded, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn block<'p>(page: &'p str, id: &str) -> &'p str {
    let open = format!("<script type=\"application/json\" id=\"{id}\">");
    let (_, rest) = page.split_once(&open).unwrap();
    rest.split_once("</script>").unwrap().0
}

#[test]
fn what_is_embedded_comes_out_again_and_ends_no_block() {
    let page = made();
    let read = |id| serde_json::from_str::<Value>(block(&page, id)).unwrap();
    assert_eq!(
        read("visto-export"),
        serde_json::from_str::<Value>(EXPORT).unwrap()
    );
    assert_eq!(read("visto-policy"), Value::from(POLICY));
    assert_eq!(
        read("visto-codes-it"),
        serde_json::from_str::<Value>(code_list(Language::Italian)).unwrap()
    );
    assert_eq!(
        page.matches("<script").count(),
        5,
        "four blocks and the script"
    );
    assert!(!page.contains("{{"), "a place that was not filled");
}

#[test]
fn pieces_may_be_cut_anywhere() {
    let whole = page_escape(EXPORT.as_bytes()).into_owned();
    for cut in 0..=EXPORT.len() {
        let (a, b) = EXPORT.as_bytes().split_at(cut);
        assert_eq!([page_escape(a), page_escape(b)].concat(), whole);
    }
}

#[test]
fn the_page_asks_no_network_and_runs_its_own_script_alone() {
    let page = made();
    let (_, csp) = page
        .split_once("Content-Security-Policy\" content=\"")
        .unwrap();
    let csp = csp.split_once('"').unwrap().0;
    assert!(
        csp.starts_with("default-src 'none'; script-src 'sha256-"),
        "{csp}"
    );
    assert!(!csp.contains("unsafe") && !csp.contains("http"), "{csp}");
    assert!(!page.contains("src=\"") && !page.contains("<link"));
    assert!(
        page.contains("noble-curves - MIT License"),
        "the library's licence travels along"
    );
}

fn lists(language: Language) -> Value {
    serde_json::from_str::<Value>(code_list(language)).unwrap()["lists"].take()
}

#[test]
fn both_languages_explain_the_same_codes() {
    let codes = |language| -> BTreeSet<String> {
        let lists = lists(language);
        let all = lists.as_object().unwrap().iter();
        all.flat_map(|(list, codes)| {
            let codes = codes.as_object().unwrap();
            assert!(
                codes
                    .values()
                    .all(|word| !word.as_str().unwrap().is_empty())
            );
            codes.keys().map(move |code| format!("{list} {code}"))
        })
        .collect()
    };
    assert_eq!(codes(Language::Italian), codes(Language::English));
}

#[test]
fn every_code_that_the_ledger_knows_is_explained() {
    let lists = lists(Language::Italian);
    let explained = |list: &str, code: &str| {
        assert!(
            lists[list].get(code).is_some(),
            "codes.it.json lacks {list} {code}"
        );
    };
    EntryType::ALL
        .iter()
        .for_each(|of| explained("type", of.as_str()));
    Finding::ALL
        .iter()
        .for_each(|of| explained("finding", of.name()));
    for rules in RULE_SETS {
        rules
            .purposes
            .iter()
            .for_each(|rule| explained("purpose", rule.purpose));
        rules
            .bases
            .iter()
            .for_each(|rule| explained("legalBasis", rule.basis));
        explained("personalDataType", rules.special_data_type);
    }
    for action in ["read", "query", "disclose", "export", "update"] {
        explained("action", action);
    }
}

#[test]
fn what_to_read_first_names_every_file() {
    let text = leggimi("ledger.test.visto.example/1");
    assert!(text.contains("ledger.test.visto.example/1") && !text.contains('{'));
    for file in FILES {
        assert!(text.contains(file), "LEGGIMI.txt says nothing of {file}");
    }
}

/// The page's verifier is not the ledger's: other language, other hands. What the two must agree on are the golden vectors.
#[test]
fn the_page_s_own_tests_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = Path::new(env!("VERIFICA_TOOLS")).join("node_modules");
    let built = std::env::temp_dir().join(format!("verifica-tests-{}", std::process::id()));
    let bundled = Command::new(tools.join(".bin/esbuild"))
        .args(["test/vectors.test.ts", "test/judge.test.ts", "--bundle"])
        .args([
            "--platform=node",
            "--format=esm",
            "--target=node20",
            "--log-level=warning",
        ])
        .args(["--out-extension:.js=.mjs"])
        .arg(format!("--outdir={}", built.display()))
        .env("NODE_PATH", &tools)
        .current_dir(root.join("verifica"))
        .status()
        .unwrap();
    assert!(bundled.success());
    let run = Command::new("node")
        .arg("--test")
        .args([built.join("vectors.test.mjs"), built.join("judge.test.mjs")])
        .env(
            "VISTO_VECTORS",
            root.join("../../ledger/tests/data/visto-v1.json"),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    std::fs::remove_dir_all(built).unwrap();
}
