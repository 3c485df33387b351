// SPDX-License-Identifier: EUPL-1.2
//! The citizen's page in a real Chromium: what the browser is shown is made here, what is asked of it stands in `tests/browser`.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use client::{
    http::{Client, ExportForm},
    pseudonym::{Bound, Code, Pseudonyms},
};
use ledger::{base64, bytes::CodeKind};
use report::Embedded;
use serde_json::json;
use tests::{cluster::Cluster, oprf, sign::Draft, world};
use wire::{
    export::{ExportBinding, ExportOrder},
    token::Role,
};

const ANNA: &str = "RSSMRA85T50A562W";
const ANOTHER: &str = "RSSMRA85T10A562S";

#[test]
fn the_page_turns_green_or_red_in_a_real_browser() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, accesses) in [
        ("small", 20),
        ("one", 1),
        ("thousand", 1_000),
        ("ten-thousand", 10_000),
    ] {
        write_exports(&at(name), accesses);
        write_page(
            &at(&format!("{name}.html")),
            &at(name),
            "person.json",
            |export| export,
        );
    }
    write_page(
        &at("household.html"),
        &at("small"),
        "household.json",
        |export| export,
    );
    write_page(&at("nobody.html"), &at("small"), "nobody.json", |export| {
        export
    });
    write_page(&at("cut.html"), &at("small"), "person-cut.json", |export| {
        export
    });
    // The time of acceptance of one entry, a bit later than it was.
    write_page(
        &at("tampered.html"),
        &at("small"),
        "household.json",
        |export| {
            let place = export.find("\"lists\"").unwrap();
            let place = place + export[place..].find("\"meta\":\"").unwrap() + 14;
            let other = if export.as_bytes()[place] == b'A' {
                "B"
            } else {
                "A"
            };
            [&export[..place], other, &export[place + 1..]].concat()
        },
    );
    let nothing = Embedded {
        export: "",
        policy: "",
    };
    report::page(nothing, &mut File::create(at("empty.html")).unwrap()).unwrap();
    fs::write(at("other-policy.txt"), other_policy()).unwrap();

    browse("verifica.mjs", &[folder.path().to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bundle_that_real_nodes_hand_out_turns_green() {
    let cluster = Cluster::start().await;
    let bound = bind(&cluster, ANNA).await;
    let anna = base64::url_encode(bound.reference.as_bytes());
    cluster
        .accept(1, &world::consent("r-1", &anna, "given").line())
        .await;
    // Both sides of one access; the provider names the same subjects in its own words.
    let mut asked = world::access_draft(&anna);
    asked.content["consentRefs"] = json!(["r-1"]);
    let consumer = asked.sign(&[&world::key(world::VOGHERA, "entry")]);
    let mut given = Draft {
        institution: world::INPS.into(),
        ..world::access_draft(&anna)
    };
    given.content["side"] = json!("provider");
    given.content["exchange"] = asked.content["exchange"].clone();
    let provider = given.sign(&[&world::key(world::INPS, "entry")]);
    for line in [consumer.line(), provider.line()] {
        cluster.accept(2, &line).await;
    }
    let bundle = bundle_of(&cluster, &bound).await;
    let policy = cluster.policy_file();
    let arguments = [bundle, policy, ANNA.into(), ANOTHER.into()];
    tokio::task::spawn_blocking(move || browse("bundle.mjs", &arguments))
        .await
        .unwrap();
    cluster.finish().await;
}

/// The ref of a code, and what ties the two together.
async fn bind(cluster: &Cluster, code: &str) -> Bound {
    let http = Client::new(&cluster.urls(), Duration::from_secs(30)).unwrap();
    let tokens = || Ok(world::token(world::VOGHERA, Role::Institution));
    Pseudonyms::new(http, oprf::public_key(1), Box::new(tokens))
        .bind(&Code::parse(CodeKind::Cf, code).unwrap())
        .await
        .unwrap()
}

/// What the citizen's desk gets for a person.
async fn bundle_of(cluster: &Cluster, bound: &Bound) -> PathBuf {
    let Bound { reference, binding } = bound;
    let order = ExportOrder {
        subject: Some(base64::url_encode(reference.as_bytes())),
        audience: "citizen".into(),
        ground: "dpv-gdpr:A15".into(),
        binding: Some(ExportBinding::from(binding)),
        ..ExportOrder::default()
    };
    let path = cluster.folder().join("estratto.zip");
    let mut file = File::create(&path).unwrap();
    Client::new(&[cluster.url(3, "")], Duration::from_secs(30))
        .unwrap()
        .export(
            &world::token(world::VOGHERA, Role::Dpo),
            &order,
            ExportForm::Zip,
            &mut file,
        )
        .await
        .unwrap();
    path
}

/// Runs a script of `tests/browser` over a Chromium.
fn browse(script: &str, arguments: &[PathBuf]) {
    let run = Command::new("node")
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("browser")
                .join(script),
        )
        .args(arguments)
        .arg(chromium())
        .env("VISTO_BROWSER", packages())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    println!("{said}");
    assert!(
        run.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

/// Exports of a small ledger in memory, good and tampered, with the policy under which they hold.
fn write_exports(folder: &Path, accesses: u64) {
    let made = Command::new(example())
        .arg(folder)
        .arg(accesses.to_string())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn write_page(to: &Path, exports: &Path, export: &str, change: impl Fn(String) -> String) {
    let export = change(fs::read_to_string(exports.join(export)).unwrap());
    let policy = fs::read_to_string(exports.join("policy.txt")).unwrap();
    let embedded = Embedded {
        export: &export,
        policy: &policy,
    };
    report::page(embedded, &mut BufWriter::new(File::create(to).unwrap())).unwrap();
}

/// A policy that is well formed, of a log that nobody here knows: C2SP's own example.
fn other_policy() -> &'static str {
    "log ledger.visto.example/log1+f6834349+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c\nquorum none\n"
}

/// `ledger/examples/exports.rs`, built with all targets beside this test.
fn example() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let example = here.ancestors().nth(2).unwrap().join("examples/exports");
    assert!(
        example.is_file(),
        "{} is not built: cargo build -p ledger --example exports",
        example.display()
    );
    example
}

fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("chromium"))
        .find(|file| file.is_file());
    found.expect("chromium is not installed: ./scripts/test does it")
}

/// Where npm put driver and axe: named after the lock file, as scripts/lib/tools.sh does.
fn packages() -> PathBuf {
    std::env::var_os("VISTO_BROWSER").map_or_else(default_packages, PathBuf::from)
}

fn default_packages() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/package-lock.json");
    let sum = Command::new("sha256sum").arg(lock).output().unwrap();
    let named = String::from_utf8_lossy(&sum.stdout)[..12].to_owned();
    let folder = home
        .join(".cache/visto-tools")
        .join(format!("browser-{named}"));
    assert!(
        folder.is_dir(),
        "{} is not installed: ./scripts/test does it",
        folder.display()
    );
    folder
}
