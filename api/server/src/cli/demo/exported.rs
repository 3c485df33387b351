// SPDX-License-Identifier: EUPL-1.2
//! A citizen takes the own bundle home: written by a privacy officer's desk, verified by the stranger's tool, and red once a byte is changed.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use client::http::{Client, ExportForm};
use wire::export::{ExportOpen, ExportOrder};

use super::{
    commands::Commands,
    founders::{DPO, Place},
    nodes::Nodes,
    plan::Plan,
    story::{indent, said, text_of, verifier},
    title,
};
use crate::cli::{exit::Failure, output};

pub(super) async fn tell(
    place: &Place,
    nodes: &Nodes,
    commands: &Commands,
    plan: &Plan,
) -> Result<(), Failure> {
    title(
        11,
        "A citizen takes the answer home: every entry that names her or her household, and the proof that none was left out",
    )?;
    let client = Client::new(&nodes.urls(), Duration::from_secs(60)).map_err(Failure::failed)?;
    let head = text_of(&plan.person_ref(plan.star.head)?);
    let family = text_of(&plan.family_ref(plan.star.family)?);
    let bundle = place.path("export.zip");
    let order = ExportOrder {
        subject: Some(head.clone()),
        audience: "citizen".to_owned(),
        ground: "dpv-gdpr:A15".to_owned(),
        ..ExportOrder::default()
    };
    let token = place.token(&DPO)?;
    write(&client, &token, &order, ExportForm::Zip, &bundle).await?;
    output::put(&commands.export(&commands.dpo, &format!("--subject {head}"), &bundle))?;
    let json = unpack(&bundle, "export.json", &place.path("export.json"))?;
    check(place, commands, &json, true)?;
    // A household's answer: her own list, and of the others that they belong.
    let order = ExportOrder {
        subject: None,
        household: Some(family.clone()),
        open: Some(vec![ExportOpen {
            of: head.clone(),
            standing: "self".to_owned(),
        }]),
        ..order
    };
    let household = place.path("household.json");
    write(&client, &token, &order, ExportForm::Json, &household).await?;
    output::put(&commands.export(
        &commands.dpo,
        &format!("--household {family} --self {head}"),
        &household,
    ))?;
    check(place, commands, &household, true)?;
    let broken = place.path("broken-export.json");
    fs::write(&broken, leave_one_out(&json)?).map_err(Failure::failed)?;
    output::put("    and with one entry left out:")?;
    check(place, commands, &broken, false)?;
    output::put(&format!(
        "    The bundle is {}. Unpack it and double-click verifica.html: it verifies in the browser, without any network.",
        bundle.display()
    ))
}

async fn write(
    client: &Client,
    token: &str,
    order: &ExportOrder,
    form: ExportForm,
    file: &Path,
) -> Result<(), Failure> {
    let mut out = fs::File::create(file).map_err(Failure::failed)?;
    client
        .export(token, order, form, &mut out)
        .await
        .map(|_| ())
        .map_err(Failure::of_client)
}

fn unpack(bundle: &Path, name: &str, file: &Path) -> Result<PathBuf, Failure> {
    let bundle = fs::File::open(bundle).map_err(Failure::failed)?;
    let mut zip = zip::ZipArchive::new(bundle).map_err(Failure::failed)?;
    let mut text = Vec::new();
    zip.by_name(name)
        .map_err(Failure::failed)?
        .read_to_end(&mut text)
        .map_err(Failure::failed)?;
    fs::write(file, text).map_err(Failure::failed)?;
    Ok(file.to_owned())
}

/// Verifies an export with the stranger's tool; it must hold, or be refused.
fn check(place: &Place, commands: &Commands, export: &Path, holds: bool) -> Result<(), Failure> {
    let verifier = verifier(commands)?;
    let policy = place.path("policy.txt");
    let told: Output = Command::new(&verifier)
        .arg("--policy")
        .arg(&policy)
        .arg(export)
        .output()
        .map_err(|error| Failure::failed(format!("{}: {error}", verifier.display())))?;
    output::put(&format!(
        "    $ {} --policy {} {}",
        verifier.display(),
        policy.display(),
        export.display()
    ))?;
    output::put(&indent(&said(&told)))?;
    if told.status.success() == holds {
        Ok(())
    } else if holds {
        Err(Failure::failed("the export does not verify offline"))
    } else {
        Err(Failure::failed(
            "an export with an entry left out was verified",
        ))
    }
}

/// The export without the first item of its first list.
fn leave_one_out(export: &Path) -> Result<String, Failure> {
    let text = fs::read(export).map_err(Failure::failed)?;
    let mut export = ledger::export::Export::parse(&text).map_err(Failure::failed)?;
    let list = export
        .lists
        .first_mut()
        .filter(|list| !list.items.is_empty());
    let list = list.ok_or_else(|| Failure::failed("the export holds no entry"))?;
    list.items.remove(0);
    Ok(export.to_json())
}
