// SPDX-License-Identifier: EUPL-1.2
//! `visto cluster add` and `remove`: membership follows entries that k institutions of the governance sign.
//!
//! Each entry names the leaf of the governance entry before it, so the entries go one by one. What was written stays written when a later
//! one is refused: run the command again with the cause mended, and the keys that are registered already are passed over.

use std::path::PathBuf;

use client::{
    build::{Draft, Head, Plain},
    http::{Client, Until},
};
use ledger::{
    base64,
    body::{
        Content, Reference,
        governance::{Key, NewKey, Node},
    },
    bytes,
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    key::{KeyUse, SigningKey},
    number::EntryIndex,
};
use serde::{Deserialize, Serialize};

use crate::cli::{
    Connection,
    exit::{Exit, Failure},
    key, now_ms,
    output::{self, Output},
};

/// Who signs for the governance.
#[derive(clap::Args)]
struct Governance {
    /// File of a governance key; give k of them, of distinct institutions.
    #[arg(long = "governance-key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// The institution that the entries speak for.
    #[arg(long = "for", id = "for_institution", value_name = "ID", value_parser = key::parse_institution)]
    institution: InstitutionId,
}

/// Add a node. Start it after this, with an empty data folder; it catches up by itself.
#[derive(clap::Args)]
pub(crate) struct Add {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    governance: Governance,
    /// Number of the node, never used before.
    #[arg(long, value_name = "NUMBER")]
    node: u64,
    /// `host:port` of its peer listener.
    #[arg(long, value_name = "ADDRESS")]
    peer: String,
    /// File of its node key.
    #[arg(long, value_name = "FILE")]
    node_key: PathBuf,
    /// File of its cosign key.
    #[arg(long, value_name = "FILE")]
    cosign_key: PathBuf,
}

/// Remove a node. Its number is never used again.
#[derive(clap::Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    governance: Governance,
    /// Number of the node.
    #[arg(long, value_name = "NUMBER")]
    node: u64,
    /// `host:port` of its peer listener, as its node entry has it.
    #[arg(long, value_name = "ADDRESS")]
    peer: String,
    /// File of the log key that is in force after the removal; every remaining node must have it.
    #[arg(long, value_name = "FILE")]
    log_key: PathBuf,
}

/// The governance's last word, as a node tells it (`GET /v1/governance`).
#[derive(Deserialize)]
struct GovernanceHead {
    index: u64,
    leaf: String,
}

/// One entry that was written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    what: String,
    index: u64,
    leaf_hash: String,
}

pub(crate) async fn add(add: Add, output: Output) -> Result<Exit, Failure> {
    let institution = add.governance.institution.clone();
    let (node_key, cosign_key) = (key::read(&add.node_key)?, key::read(&add.cosign_key)?);
    let mut session = Session::open(add.connection, &add.governance).await?;
    session
        .register(&institution, KeyUse::Node, &node_key)
        .await?;
    session
        .register(&institution, KeyUse::Cosign, &cosign_key)
        .await?;
    let node = Node {
        node: NodeNumber(add.node),
        institution,
        node_key: node_key.key_id(),
        cosign_key: cosign_key.key_id(),
        peer: add.peer,
        added: true,
        log_key: None,
    };
    session
        .write(format!("node {} added", add.node), Content::Node(node))
        .await?;
    session.print(output)
}

pub(crate) async fn remove(remove: Remove, output: Output) -> Result<Exit, Failure> {
    let institution = remove.governance.institution.clone();
    let log_key = key::read(&remove.log_key)?;
    let mut session = Session::open(remove.connection, &remove.governance).await?;
    let nodes = session
        .client
        .text("/v1/nodes", None)
        .await
        .map_err(Failure::of_client)?;
    let nodes: wire::registry::NodePage = serde_json::from_str(&nodes)
        .map_err(|_| Failure::cannot_check("/v1/nodes: unexpected answer"))?;
    let node = nodes
        .items
        .into_iter()
        .find(|node| node.node == remove.node)
        .ok_or_else(|| Failure::failed(format!("node {} is not in force", remove.node)))?;
    let key_id = |text: &str| {
        ledger::id::KeyId::parse(text)
            .ok_or_else(|| Failure::cannot_check("/v1/nodes: unexpected answer"))
    };
    session
        .register(&institution, KeyUse::Log, &log_key)
        .await?;
    let content = Content::Node(Node {
        node: NodeNumber(remove.node),
        institution: InstitutionId::parse(&node.institution)
            .ok_or_else(|| Failure::cannot_check("/v1/nodes: unexpected answer"))?,
        node_key: key_id(&node.node_key)?,
        cosign_key: key_id(&node.cosign_key)?,
        peer: remove.peer,
        added: false,
        log_key: Some(log_key.key_id()),
    });
    session
        .write(format!("node {} removed", remove.node), content)
        .await?;
    session.print(output)
}

/// Writes governance entries one after the other.
struct Session {
    client: Client,
    ledger: String,
    institution: InstitutionId,
    keys: Vec<SigningKey>,
    head: Reference,
    written: Vec<Written>,
}

impl Session {
    async fn open(connection: Connection, governance: &Governance) -> Result<Session, Failure> {
        let connection = connection.resolve()?;
        let client = connection.client()?;
        let ledger = connection
            .ledger
            .clone()
            .ok_or_else(|| Failure::usage("--ledger is missing"))?;
        let keys = governance
            .keys
            .iter()
            .map(|file| key::read(file))
            .collect::<Result<_, _>>()?;
        let text = client
            .text("/v1/governance", None)
            .await
            .map_err(Failure::of_client)?;
        let unexpected = || Failure::cannot_check("/v1/governance: unexpected answer");
        let head: GovernanceHead = serde_json::from_str(&text).map_err(|_| unexpected())?;
        let leaf = base64::url_decode_array(&head.leaf).ok_or_else(unexpected)?;
        Ok(Session {
            client,
            ledger,
            institution: governance.institution.clone(),
            keys,
            head: Reference {
                index: EntryIndex(head.index),
                leaf: Hash(leaf),
            },
            written: Vec::new(),
        })
    }

    /// Registers a key, unless it is registered already.
    async fn register(
        &mut self,
        institution: &InstitutionId,
        key_use: KeyUse,
        key: &SigningKey,
    ) -> Result<(), Failure> {
        match self
            .client
            .text(&format!("/v1/keys/{}", key.key_id()), None)
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(Failure::of_client(error)),
        }
        let new = NewKey {
            public_key: key.public(),
            key_use,
            institution: institution.clone(),
            possession: key.sign(&bytes::possession_message(
                &self.ledger,
                key_use,
                institution,
            )),
            from: None,
        };
        self.write(
            format!("{} key registered", key_use.as_str()),
            Content::Key(Key::Registered { key: new }),
        )
        .await
    }

    async fn write(&mut self, what: String, content: Content) -> Result<(), Failure> {
        let now_ms = now_ms();
        let mut head = Head::new(&self.ledger, &self.institution, now_ms);
        head.refers_to = Some(self.head);
        let signers: Vec<&SigningKey> = self.keys.iter().collect();
        let entry = Draft::new(head, Plain::Other(Box::new(content)), now_ms)
            .and_then(|draft| draft.sign(&signers))
            .map_err(Failure::failed)?;
        let accepted = self
            .client
            .submit(&entry.to_wire(), Until::Committed)
            .await
            .map_err(Failure::of_client)?;
        let leaf = base64::url_decode_array(&accepted.leaf_hash)
            .ok_or_else(|| Failure::cannot_check("unexpected answer: leafHash"))?;
        self.head = Reference {
            index: EntryIndex(accepted.index),
            leaf: Hash(leaf),
        };
        self.written.push(Written {
            what,
            index: accepted.index,
            leaf_hash: accepted.leaf_hash,
        });
        Ok(())
    }

    fn print(self, output: Output) -> Result<Exit, Failure> {
        output::many(output, &self.written, |written| {
            let lines: Vec<String> = written
                .iter()
                .map(|one| format!("entry {}: {}", one.index, one.what))
                .collect();
            lines.join("\n")
        })?;
        Ok(Exit::Ok)
    }
}
