// SPDX-License-Identifier: EUPL-1.2
//! `visto certs`: a cluster's peer CA and its nodes' certificates.

use std::path::PathBuf;

use ledger::id::NodeNumber;
use serde::Serialize;

use super::{
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Make a cluster's peer CA and a certificate for each node. Keep `peer-ca.key` off the nodes: it is needed only to add one.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Name of the ledger; certificates of another one are refused.
    #[arg(long, value_name = "NAME")]
    ledger: String,
    /// Numbers of the nodes.
    #[arg(
        long,
        value_name = "NUMBER,…",
        value_delimiter = ',',
        default_value = "1,2,3"
    )]
    nodes: Vec<u64>,
    /// Folder to write peer-ca.{pem,key} and node-N/{peer-ca.pem,peer.pem,peer.key} into; a CA that is there already signs the new nodes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Written {
    node: u64,
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, output: Output) -> Result<Exit, Failure> {
    let nodes: Vec<NodeNumber> = arguments.nodes.iter().copied().map(NodeNumber).collect();
    cluster::certs::write(&arguments.out, &arguments.ledger, &nodes).map_err(Failure::failed)?;
    let written: Vec<Written> = arguments
        .nodes
        .iter()
        .map(|node| Written {
            node: *node,
            folder: arguments.out.join(format!("node-{node}")),
        })
        .collect();
    output::many(output, &written, |written| {
        let lines: Vec<String> = written
            .iter()
            .map(|one| format!("node {}: {}", one.node, one.folder.display()))
            .collect();
        lines.join("\n")
    })?;
    Ok(Exit::Ok)
}
