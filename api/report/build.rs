// SPDX-License-Identifier: EUPL-1.2
//! Bundles the page of `verifica/` into one file: esbuild and the one library that the page contains come from npm, at the exact versions
//! of the committed lock file, once per machine and lock file, into the folder of tools that scripts/lib uses too.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    for watched in ["verifica", "codes"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    for variable in ["VISTO_TOOLS", "VISTO_CACHE"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let sources = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("verifica");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let tools = installed(&sources, &out)?;
    // The tests bundle the page's own tests with the same tools.
    println!("cargo::rustc-env=VERIFICA_TOOLS={}", tools.display());
    let script = bundled(&tools, &sources, "src/main.ts", &out.join("page.js"))?;
    let style = bundled(&tools, &sources, "style.css", &out.join("page.css"))?;
    // Either would end the script's element, or change how its text is read.
    if script.contains("</script") || script.contains("<!--") {
        return Err("the bundled script cannot stand in a page".into());
    }
    let csp = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; worker-src blob:; base-uri 'none'; form-action 'none'",
        sha256(&script),
        sha256(&style)
    );
    let code_list = |file: &str| -> Result<String> {
        Ok(fs::read_to_string(sources.join("../codes").join(file))?.replace('<', "\\u003c"))
    };
    let page = fs::read_to_string(sources.join("page.html"))?
        .replace("{{csp}}", &csp)
        .replace("{{style}}", &style)
        .replace("{{codes-it}}", &code_list("codes.it.json")?)
        .replace("{{codes-en}}", &code_list("codes.en.json")?)
        // Last: nothing in the script is a place to fill.
        .replace("{{script}}", &script);
    let (start, rest) = page.split_once("{{export}}").ok_or("no {{export}}")?;
    let (middle, end) = rest.split_once("{{policy}}").ok_or("no {{policy}}")?;
    for (file, text) in [
        ("start.html", start),
        ("middle.html", middle),
        ("end.html", end),
    ] {
        fs::write(out.join(file), text)?;
    }
    Ok(())
}

/// The folder with `node_modules`. Named after the lock file: another lock file, another folder; an old one is never changed.
fn installed(sources: &Path, out: &Path) -> Result<PathBuf> {
    let lock = fs::read(sources.join("package-lock.json"))?;
    let named: String = Sha256::digest(&lock)
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = tools_folder(out).join(format!("verifica-{named}"));
    if folder.join("node_modules/.bin/esbuild").exists() {
        return Ok(folder);
    }
    // Moved into place last: a run that is cut off, or another beside it, leaves no half folder that the next one would believe.
    let fresh = folder.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&fresh)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(sources.join(file), fresh.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--silent",
    ])
    .current_dir(&fresh);
    run(
        npm,
        "npm, which fetches the page's library and bundler (Debian: apt install nodejs npm; scripts/demo and scripts/test do that)",
    )?;
    if fs::rename(&fresh, &folder).is_err() {
        fs::remove_dir_all(&fresh)?;
    }
    Ok(folder)
}

/// As scripts/lib/common.sh has it.
fn tools_folder(out: &Path) -> PathBuf {
    let variable = |name| env::var_os(name).map(PathBuf::from);
    variable("VISTO_TOOLS")
        .or_else(|| variable("VISTO_CACHE").map(|cache| cache.join("visto-tools")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/visto-tools")))
        .unwrap_or_else(|| out.to_owned())
}

/// One file of a source and all that it names. Comments that carry a licence stay.
fn bundled(tools: &Path, sources: &Path, source: &str, to: &Path) -> Result<String> {
    let mut esbuild = Command::new(tools.join("node_modules/.bin/esbuild"));
    esbuild
        .args([
            source,
            "--bundle",
            "--format=iife",
            "--target=es2022",
            "--charset=utf8",
        ])
        .args(["--minify", "--legal-comments=inline", "--log-level=warning"])
        .arg(format!("--outfile={}", to.display()))
        .env("NODE_PATH", tools.join("node_modules"))
        .current_dir(sources);
    run(esbuild, "esbuild, which needs node (Debian: nodejs)")?;
    Ok(fs::read_to_string(to)?)
}

fn run(mut command: Command, what: &str) -> Result<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} failed ({status}): {what}").into()),
        Err(cause) => Err(format!("cannot start {what}: {cause}").into()),
    }
}

/// As a source in a content security policy.
fn sha256(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}
