// SPDX-License-Identifier: EUPL-1.2
//! `visto cluster`: its nodes as they see themselves, whether they agree, and who belongs to it.

use client::http::Client;
use serde::Serialize;
use wire::admin::{Cluster, Root};

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
};

mod members;

/// The cluster: its nodes, their agreement, its members.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Ask each node given by --url how it is.
    Status(Connection),
    /// Compare the roots that the nodes given by --url compute at the same tree size. Exit code 1 if they differ.
    Check(Connection),
    /// Add a node: registers its keys and writes its node entry, signed by k governance keys.
    Add(members::Add),
    /// Remove a node: registers a new log key and writes the removal, signed by k governance keys.
    Remove(members::Remove),
}

pub(crate) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Status(connection) => status(&connection.resolve()?, output).await,
        Command::Check(connection) => check(&connection.resolve()?, output).await,
        Command::Add(add) => members::add(add, output).await,
        Command::Remove(remove) => members::remove(remove, output).await,
    }
}

/// One node's answer, or why there is none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    url: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

async fn status(connection: &Connection, output: Output) -> Result<Exit, Failure> {
    let client = connection.client()?;
    let token = connection.token()?;
    let (nodes, exit) = ask_all(&client, &token).await;
    output::many(output, &nodes, |nodes| {
        let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
        output::table(
            &[
                "url",
                "node",
                "role",
                "leader",
                "term",
                "tree size",
                "published",
                "health",
            ],
            &rows,
        )
    })?;
    Ok(exit)
}

async fn ask_all(client: &Client, token: &str) -> (Vec<NodeStatus>, Exit) {
    let mut exit = Exit::Ok;
    let mut nodes = Vec::new();
    for url in client.urls() {
        nodes.push(match client.cluster_at(url, Some(token)).await {
            Ok(cluster) => NodeStatus {
                url: url.clone(),
                cluster: Some(cluster),
                error: None,
            },
            Err(error) => {
                let failure = Failure::of_client(error);
                exit = failure.exit;
                NodeStatus {
                    url: url.clone(),
                    cluster: None,
                    error: Some(failure.text),
                }
            }
        });
    }
    (nodes, exit)
}

fn row(node: &NodeStatus) -> Vec<String> {
    let Some(cluster) = &node.cluster else {
        return vec![node.url.clone(), node.error.clone().unwrap_or_default()];
    };
    vec![
        node.url.clone(),
        cluster.node.to_string(),
        cluster.role.clone(),
        cluster
            .leader
            .map_or_else(|| "-".to_owned(), |leader| leader.to_string()),
        cluster.term.to_string(),
        cluster.tree_size.to_string(),
        cluster.published_size.to_string(),
        if cluster.healthy {
            "healthy".to_owned()
        } else {
            "NOT healthy".to_owned()
        },
    ]
}

/// What the nodes compute at one size.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Agreement {
    tree_size: u64,
    agree: bool,
    roots: Vec<Root>,
}

async fn check(connection: &Connection, output: Output) -> Result<Exit, Failure> {
    let client = connection.client()?;
    let token = connection.token()?;
    let agreement = compare(&client, &token).await?;
    output::one(output, &agreement, |agreement| {
        let mut lines: Vec<String> = agreement
            .roots
            .iter()
            .map(|root| format!("node {}: {}", root.node, root.root))
            .collect();
        let verdict = if agreement.agree {
            "the same root on all"
        } else {
            "DIFFERENT roots"
        };
        lines.push(format!(
            "tree size {}: {verdict} ({} nodes asked)",
            agreement.tree_size,
            agreement.roots.len()
        ));
        lines.join("\n")
    })?;
    Ok(if agreement.agree {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// Asks all nodes for their root at the largest size that all of them have.
async fn compare(client: &Client, token: &str) -> Result<Agreement, Failure> {
    let mut sizes = Vec::new();
    for url in client.urls() {
        sizes.push(
            client
                .cluster_at(url, Some(token))
                .await
                .map_err(Failure::of_client)?
                .tree_size,
        );
    }
    let tree_size = sizes.into_iter().min().unwrap_or(0);
    let mut roots = Vec::new();
    for url in client.urls() {
        roots.push(
            client
                .root_at(url, Some(token), tree_size)
                .await
                .map_err(Failure::of_client)?,
        );
    }
    let agree = roots.windows(2).all(|pair| matches!(pair, [one, other] if one.root == other.root && one.tree_size == other.tree_size));
    Ok(Agreement {
        tree_size,
        agree,
        roots,
    })
}
