// SPDX-License-Identifier: EUPL-1.2
//! What operators of nodes ask. No entry is shown here.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::HeaderMap};
use cluster::{Role, Status};
use ledger::number::{TreeSize, parse_decimal};
use wire::admin::{Cluster, Member, Root};

use crate::{
    access,
    app::{App, blocking},
    extract::Query,
    observe::Notes,
    present::hash_text,
    problem::{Fault, RequestFault},
};

/// Shows the cluster as this node sees it.
///
/// For operators. What is known of each member's progress is complete on the leader.
#[utoipa::path(
    get,
    path = "/admin/v1/cluster",
    tag = "admin",
    operation_id = "showCluster",
    security(("reader" = [])),
    responses((status = 200, description = "The cluster", body = Cluster))
)]
pub async fn cluster(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
) -> Result<Json<Cluster>, Fault> {
    demand_operator(&app, &headers, &notes)?;
    Ok(Json(shown(&app.node.status())))
}

fn demand_operator(app: &App, headers: &HeaderMap, notes: &Notes) -> Result<(), Fault> {
    let reader = app.reader(headers, &app.node.view()?, notes)?;
    access::demand_operator(&reader)
}

fn shown(status: &Status) -> Cluster {
    let voters = status.voters.iter().map(|node| (*node, true));
    let learners = status.learners.iter().map(|node| (*node, false));
    let members = voters.chain(learners).map(|(node, voter)| {
        let matched = status.matched.get(&node).copied();
        Member {
            node: node.0,
            voter,
            raft_matched_index: matched,
            lag: matched.map(|matched| status.raft_last.saturating_sub(matched)),
            clock_offset_ms: None,
        }
    });
    let quorum = status.voters.len() / 2 + 1;
    Cluster {
        node: status.node.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: match status.role {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Learner => "learner",
            Role::Shutdown => "shutdown",
        }
        .to_owned(),
        leader: status.leader.map(|node| node.0),
        term: status.term,
        raft_last_index: Some(status.raft_last),
        raft_applied_index: Some(status.raft_applied),
        tree_size: status.applied_size.0,
        published_size: status.published_size.0,
        healthy: status.healthy,
        failure_tolerance: u32::try_from(status.voters.len().saturating_sub(quorum))
            .unwrap_or(u32::MAX),
        clock_offset_ms: status.clock_offset_ms,
        members: members.collect(),
    }
}

/// Of which tree the root is wanted.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RootQuery {
    /// Size of the tree; all that is applied here when absent.
    #[param(value_type = Option<u64>, minimum = 0, example = 1)]
    pub size: Option<String>,
}

/// Shows the root that this node computes from its own tree.
///
/// For operators: equal sizes must give equal roots on all nodes.
#[utoipa::path(
    get,
    path = "/admin/v1/cluster/roots",
    tag = "admin",
    operation_id = "showRoot",
    params(RootQuery),
    security(("reader" = [])),
    responses((status = 200, description = "The root", body = Root))
)]
pub async fn root(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    Query(query): Query<RootQuery>,
    headers: HeaderMap,
) -> Result<Json<Root>, Fault> {
    demand_operator(&app, &headers, &notes)?;
    let view = app.node.view()?;
    let size = match query.size.as_deref() {
        None => view.size(),
        Some(size) => parse_decimal(size)
            .map(TreeSize)
            .ok_or_else(|| RequestFault::Member("size".to_owned(), "a tree size, in decimal"))?,
    };
    if size > view.size() {
        return Err(RequestFault::Beyond.into());
    }
    let node = app.node.status().node.0;
    let root = blocking(move || view.root_at(size)?.ok_or(Fault::NotFound)).await?;
    Ok(Json(Root {
        node,
        tree_size: size.0,
        root: hash_text(&root),
    }))
}
