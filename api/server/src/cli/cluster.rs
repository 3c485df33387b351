// SPDX-License-Identifier: EUPL-1.2
//! `visto cluster`: its nodes as they see themselves, whether they agree, and who belongs to it.

use std::collections::BTreeSet;

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
    /// Compare the roots that the nodes given by --url compute at the same tree size. Exit code 1 if they differ, 3 if a member was not asked.
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
    /// Members that no URL led to: of these nothing is known.
    not_asked: Vec<u64>,
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
            "tree size {}: {verdict} that were asked",
            agreement.tree_size
        ));
        for node in &agreement.not_asked {
            lines.push(format!("node {node}: not asked, give its --url too"));
        }
        lines.join("\n")
    })?;
    Ok(match (agreement.agree, agreement.not_asked.is_empty()) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Ok,
        (true, false) => Exit::CannotCheck,
    })
}

/// Asks all nodes for their root at the largest size that all of them have.
async fn compare(client: &Client, token: &str) -> Result<Agreement, Failure> {
    let mut nodes = Vec::new();
    for url in client.urls() {
        nodes.push(
            client
                .cluster_at(url, Some(token))
                .await
                .map_err(Failure::of_client)?,
        );
    }
    let tree_size = nodes.iter().map(|node| node.tree_size).min().unwrap_or(0);
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
        not_asked: not_asked(&nodes),
        roots,
    })
}

/// Members, as those who were asked see them, of which none was asked itself. Two URLs may lead to one node.
fn not_asked(nodes: &[Cluster]) -> Vec<u64> {
    let asked: BTreeSet<u64> = nodes.iter().map(|node| node.node).collect();
    let members = nodes.iter().flat_map(|node| &node.members);
    let members: BTreeSet<u64> = members.map(|member| member.node).collect();
    members.difference(&asked).copied().collect()
}

#[cfg(test)]
mod tests {
    use wire::admin::Member;

    use super::*;

    fn seen_by(node: u64) -> Cluster {
        let members = [1, 2, 3].map(|node| Member {
            node,
            voter: true,
            raft_matched_index: None,
            lag: None,
            clock_offset_ms: None,
        });
        Cluster {
            node,
            version: "0".to_owned(),
            role: "follower".to_owned(),
            leader: Some(1),
            term: 1,
            raft_last_index: None,
            raft_applied_index: None,
            tree_size: 5,
            published_size: 5,
            healthy: true,
            failure_tolerance: 1,
            clock_offset_ms: None,
            members: members.to_vec(),
        }
    }

    #[test]
    fn agreement_is_that_of_all_members() {
        assert_eq!(not_asked(&[seen_by(1), seen_by(1)]), [2, 3]);
        assert_eq!(not_asked(&[seen_by(3), seen_by(1)]), [2]);
        assert!(not_asked(&[seen_by(3), seen_by(1), seen_by(2)]).is_empty());
    }
}
