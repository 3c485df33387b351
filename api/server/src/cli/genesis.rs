// SPDX-License-Identifier: EUPL-1.2
//! `visto genesis`: the first entry of a ledger and its first trust policy, from a description and key files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use client::build::{Draft, Head, Plain};
use ledger::{
    base64,
    body::{
        Content,
        governance::{Genesis, Institution, InstitutionEvent, NewKey, Node, Role},
    },
    bytes,
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    key::{KeyUse, PublicKey, SigningKey},
    note::{KeyName, SignatureType, VerifierKey},
    oprf::OprfPublicKey,
    policy::{Policy, PolicySet},
};
use serde::{Deserialize, Serialize};

use super::{
    exit::{Exit, Failure},
    key,
    output::{self, Output},
    pseudonym::parse_key,
};

/// The first entry of a ledger.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a genesis entry and the trust policy that names it, from a TOML description and key files.
    New(New),
}

/// Make a genesis entry and the trust policy that names it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct New {
    /// TOML description: ledger, threshold, institutions with keys and roles, nodes, log. Paths in it are relative to it.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// File to write the genesis entry to: one line, as every node reads it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// File to write the trust policy to.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Key that the nodes evaluate pseudonyms with, as `visto key oprf` printed it; none are evaluated without.
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    pub(crate) oprf_key: Option<OprfPublicKey>,
}

/// What a description holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    ledger: String,
    #[serde(default = "one")]
    shard: u64,
    /// k: how many institutions must sign what the governance says.
    threshold: u64,
    #[serde(default = "one_rules")]
    rules: u16,
    #[serde(default)]
    test: bool,
    institutions: Vec<InstitutionLine>,
    nodes: Vec<NodeLine>,
    log: LogLine,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstitutionLine {
    id: String,
    name: String,
    #[serde(default)]
    roles: Vec<String>,
    /// Key files by use: entry, token, governance.
    #[serde(default)]
    keys: Vec<KeyLine>,
}

/// A key of an institution: its file, or what its owner printed with `visto key show --ledger … --use … --institution …`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct KeyLine {
    #[serde(rename = "use")]
    key_use: String,
    file: Option<PathBuf>,
    public_key: Option<String>,
    possession: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeLine {
    node: u64,
    institution: String,
    /// `host:port` of its peer listener.
    peer: String,
    node_key: PathBuf,
    cosign_key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogLine {
    institution: String,
    key: PathBuf,
}

/// What was made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Made {
    pub(crate) origin: String,
    /// SHA-256 of the genesis entry's PAE, hexadecimal, as it stands in the policy.
    pub(crate) genesis: String,
    /// The log's verifier key.
    pub(crate) vkey: String,
    pub(crate) signatures: usize,
    pub(crate) out: PathBuf,
    pub(crate) policy: PathBuf,
}

pub(crate) fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let Command::New(new) = command;
    let made = make(new)?;
    output::one(output, &made, |made| {
        format!(
            "origin   {}\nvkey     {}\ngenesis  {} ({} signatures)\nentry    {}\npolicy   {}",
            made.origin,
            made.vkey,
            made.genesis,
            made.signatures,
            made.out.display(),
            made.policy.display()
        )
    })?;
    Ok(Exit::Ok)
}

pub(crate) fn make(new: New) -> Result<Made, Failure> {
    let text = fs::read_to_string(&new.from)
        .map_err(|error| Failure::cannot_check(format!("{}: {error}", new.from.display())))?;
    let at = |error: String| Failure::usage(format!("{}: {error}", new.from.display()));
    let description: Description = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
    let folder = new.from.parent().map(Path::to_owned).unwrap_or_default();
    let mut founding =
        Founding::read(&description, &folder).map_err(|failure| match failure.exit {
            Exit::Usage => at(failure.text),
            _ => failure,
        })?;
    founding.genesis.oprf_key = new.oprf_key.map(|key| Hash(*key.as_bytes()));
    let signers: Vec<&SigningKey> = founding.governance.iter().collect();
    if signers.len() < usize::try_from(description.threshold).unwrap_or(usize::MAX) {
        return Err(at(format!(
            "threshold is {}, but {} files of governance keys are given",
            description.threshold,
            signers.len()
        )));
    }
    let now_ms = super::now_ms();
    let head = Head::new(&description.ledger, &founding.first_institution, now_ms);
    let draft = Draft::new(
        head,
        Plain::Other(Box::new(Content::Genesis(Box::new(founding.genesis)))),
        now_ms,
    )
    .map_err(Failure::failed)?;
    let entry = draft.sign(&signers).map_err(Failure::failed)?;
    let genesis = Hash::of(&[entry.pae()]);
    let origin = format!("{}/{}", description.ledger, description.shard);
    let log = verifier_key(&origin, SignatureType::Ed25519, founding.log).map_err(at)?;
    let mut nodes = Vec::new();
    for (number, cosign_key) in founding.cosigners {
        let name = format!("{}/node/{number}", description.ledger);
        nodes.push((
            number,
            verifier_key(&name, SignatureType::Cosignature, cosign_key).map_err(at)?,
        ));
    }
    let policy = Policy::majority(&log, &nodes).map_err(|error| at(error.to_string()))?;
    write_new(&new.out, format!("{}\n", entry.to_wire()).as_bytes())?;
    write_new(
        &new.policy,
        &PolicySet::from(policy).with_genesis(genesis).format(),
    )?;
    Ok(Made {
        origin,
        genesis: genesis.to_string(),
        vkey: log.to_string(),
        signatures: signers.len(),
        out: new.out,
        policy: new.policy,
    })
}

fn verifier_key(
    name: &str,
    signature_type: SignatureType,
    key: PublicKey,
) -> Result<VerifierKey, String> {
    let name =
        KeyName::parse(name).map_err(|error| format!("{name:?} cannot name a key: {error}"))?;
    Ok(VerifierKey::new(name, signature_type, key))
}

/// A description with its key files read.
struct Founding {
    genesis: Genesis,
    first_institution: InstitutionId,
    /// Governance keys whose files are at hand, one an institution.
    governance: Vec<SigningKey>,
    log: PublicKey,
    cosigners: Vec<(NodeNumber, PublicKey)>,
}

impl Founding {
    fn read(description: &Description, folder: &Path) -> Result<Founding, Failure> {
        let ledger = description.ledger.as_str();
        let (mut institutions, mut keys, mut roles, mut governance) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for line in &description.institutions {
            let id = institution(&line.id)?;
            for role in &line.roles {
                roles.push(Role {
                    institution: id.clone(),
                    role: role.clone(),
                    granted: true,
                });
            }
            for key_line in &line.keys {
                let key_use = KeyUse::parse(&key_line.key_use).ok_or_else(|| {
                    Failure::usage(format!(
                        "institutions {}: keys: use {:?} is not one",
                        line.id, key_line.key_use
                    ))
                })?;
                let (key, signing) = new_key(ledger, &id, key_use, key_line, folder)?;
                keys.push(key);
                governance.extend(signing.filter(|_| key_use == KeyUse::Governance));
            }
            institutions.push(Institution {
                institution: id,
                name: line.name.clone(),
                event: InstitutionEvent::Registered,
                successor: None,
            });
        }
        let (mut nodes, mut cosigners) = (Vec::new(), Vec::new());
        for line in &description.nodes {
            let id = institution(&line.institution)?;
            let node_key = key::read(&folder.join(&line.node_key))?;
            let cosign_key = key::read(&folder.join(&line.cosign_key))?;
            keys.push(possessed(ledger, &id, KeyUse::Node, &node_key));
            keys.push(possessed(ledger, &id, KeyUse::Cosign, &cosign_key));
            cosigners.push((NodeNumber(line.node), cosign_key.public()));
            nodes.push(Node {
                node: NodeNumber(line.node),
                institution: id,
                node_key: node_key.key_id(),
                cosign_key: cosign_key.key_id(),
                peer: line.peer.clone(),
                added: true,
                log_key: None,
            });
        }
        let log_institution = institution(&description.log.institution)?;
        let log = key::read(&folder.join(&description.log.key))?;
        keys.push(possessed(ledger, &log_institution, KeyUse::Log, &log));
        let first_institution = institutions
            .first()
            .map(|first| first.institution.clone())
            .ok_or_else(|| Failure::usage("no institution is given"))?;
        Ok(Founding {
            genesis: Genesis {
                shard: description.shard,
                k: description.threshold,
                rules: description.rules,
                institutions,
                keys,
                nodes,
                roles,
                oprf_key: None,
                test: description.test,
                previous: None,
            },
            first_institution,
            governance,
            log: log.public(),
            cosigners,
        })
    }
}

fn institution(text: &str) -> Result<InstitutionId, Failure> {
    key::parse_institution(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")))
}

fn new_key(
    ledger: &str,
    institution: &InstitutionId,
    key_use: KeyUse,
    line: &KeyLine,
    folder: &Path,
) -> Result<(NewKey, Option<SigningKey>), Failure> {
    match (&line.file, &line.public_key, &line.possession) {
        (Some(file), None, None) => {
            let signing = key::read(&folder.join(file))?;
            Ok((
                possessed(ledger, institution, key_use, &signing),
                Some(signing),
            ))
        }
        (None, Some(public_key), Some(possession)) => {
            let of = |what: &str| {
                Failure::usage(format!(
                    "institutions {institution}: keys: {what} is not what `visto key show` prints"
                ))
            };
            let public_key = base64::url_decode_array(public_key)
                .and_then(|bytes| PublicKey::from_bytes(bytes).ok())
                .ok_or_else(|| of("public_key"))?;
            let possession =
                base64::url_decode_array(possession).ok_or_else(|| of("possession"))?;
            Ok((
                NewKey {
                    public_key,
                    key_use,
                    institution: institution.clone(),
                    possession,
                    from: None,
                },
                None,
            ))
        }
        _ => Err(Failure::usage(format!(
            "institutions {institution}: keys: give either file, or public_key and possession"
        ))),
    }
}

fn possessed(
    ledger: &str,
    institution: &InstitutionId,
    key_use: KeyUse,
    key: &SigningKey,
) -> NewKey {
    NewKey {
        public_key: key.public(),
        key_use,
        institution: institution.clone(),
        possession: key.sign(&bytes::possession_message(ledger, key_use, institution)),
        from: None,
    }
}

/// Writes a file that must not be there yet: a genesis or a policy that is in use is not to be lost by a slip.
fn write_new(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let written = fs::File::create_new(path).and_then(|mut file| {
        use std::io::Write;
        file.write_all(text)?;
        file.sync_all()
    });
    written.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn one() -> u64 {
    1
}

fn one_rules() -> u16 {
    1
}

const EXAMPLE: &str = r#"A description:

  ledger = "ledger.visto.example"
  threshold = 2
  test = true

  [[institutions]]
  id = "ipa:c_m109"
  name = "Comune di Voghera"
  roles = ["registry-anagrafica", "dpo"]
  keys = [
    { use = "governance", file = "keys/c_m109-governance.pem" },
    { use = "entry", file = "keys/c_m109-entry.pem" },
    { use = "token", public_key = "…", possession = "…" },  # as `visto key show` printed them
  ]

  [[nodes]]
  node = 1
  institution = "ipa:c_m109"
  peer = "127.0.0.1:7001"
  node_key = "keys/node-1-node.pem"
  cosign_key = "keys/node-1-cosign.pem"

  [log]
  institution = "ipa:c_m109"
  key = "keys/log.pem""#;

#[cfg(test)]
mod tests;
