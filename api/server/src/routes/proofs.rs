// SPDX-License-Identifier: EUPL-1.2
//! Inclusion and consistency proofs, open to everybody, within what is published.

use std::sync::Arc;

use axum::{Json, extract::State};
use ledger::{
    merkle::prove_consistency,
    number::{TreeSize, parse_decimal},
};
use wire::proof::{ConsistencyProof, InclusionProof};

use super::entries::entry_index;
use crate::{
    app::{App, blocking},
    extract::{Path, Query},
    present::hash_text,
    problem::{Fault, RequestFault},
};

/// Of which tree a proof is wanted.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProofQuery {
    /// Size of the tree; that of the newest published checkpoint when absent.
    #[param(value_type = Option<u64>, minimum = 1, example = 1)]
    pub tree_size: Option<String>,
}

/// Proves that an entry is in a tree (RFC 6962, 2.1.1).
///
/// Open to everybody: a proof names hashes alone.
#[utoipa::path(
    get,
    path = "/v1/entries/{index}/proof",
    tag = "proofs",
    operation_id = "proveInclusion",
    params(("index" = u64, Path, description = "Place in the ledger, from 0", minimum = 0, example = 0), ProofQuery),
    responses((status = 200, description = "The proof", body = InclusionProof))
)]
pub async fn inclusion(
    State(app): State<Arc<App>>,
    Path(index): Path,
    Query(query): Query<ProofQuery>,
) -> Result<Json<InclusionProof>, Fault> {
    let index = entry_index(&index)?;
    let published = app.published()?.size;
    if !published.holds(index) {
        return Err(Fault::NotFound);
    }
    let size = match query.tree_size.as_deref() {
        Some(size) => tree_size("tree_size", size, published)?,
        None => published,
    };
    if !size.holds(index) {
        return Err(RequestFault::Beyond.into());
    }
    let view = app.node.view()?;
    blocking(move || {
        let proof = view.inclusion(index, size)?.ok_or(Fault::NotFound)?;
        Ok(Json(InclusionProof {
            index: index.0,
            tree_size: size.0,
            leaf_hash: hash_text(&proof.leaf_hash),
            root: hash_text(&proof.root),
            hashes: proof.path.iter().map(hash_text).collect(),
        }))
    })
    .await
}

/// Between which trees a proof is wanted.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConsistencyQuery {
    /// Size of the older tree.
    #[param(value_type = u64, minimum = 0, example = 1)]
    pub from: Option<String>,
    /// Size of the newer tree; that of the newest published checkpoint when absent.
    #[param(value_type = Option<u64>, minimum = 0, example = 1)]
    pub to: Option<String>,
}

/// Proves that a tree is a beginning of another (RFC 6962, 2.1.2).
///
/// Open to everybody: a proof names hashes alone.
#[utoipa::path(
    get,
    path = "/v1/consistency",
    tag = "proofs",
    operation_id = "proveConsistency",
    params(ConsistencyQuery),
    responses((status = 200, description = "The proof", body = ConsistencyProof))
)]
pub async fn consistency(
    State(app): State<Arc<App>>,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Json<ConsistencyProof>, Fault> {
    let published = app.published()?.size;
    let from = query
        .from
        .as_deref()
        .ok_or_else(|| parameter("from"))
        .and_then(|size| tree_size("from", size, published))?;
    let to = match query.to.as_deref() {
        Some(size) => tree_size("to", size, published)?,
        None => published,
    };
    if from > to {
        return Err(RequestFault::Beyond.into());
    }
    let view = app.node.view()?;
    blocking(move || {
        let hashes = prove_consistency(from, to, &view).map_err(unprovable)?;
        let root = |size| view.root_at(size)?.ok_or(Fault::NotFound);
        Ok(Json(ConsistencyProof {
            from: from.0,
            to: to.0,
            from_root: hash_text(&root(from)?),
            to_root: hash_text(&root(to)?),
            hashes: hashes.iter().map(hash_text).collect(),
        }))
    })
    .await
}

fn tree_size(name: &str, text: &str, published: TreeSize) -> Result<TreeSize, Fault> {
    let size = parse_decimal(text)
        .map(TreeSize)
        .ok_or_else(|| parameter(name))?;
    if size > published {
        return Err(RequestFault::Beyond.into());
    }
    Ok(size)
}

fn parameter(name: &str) -> Fault {
    RequestFault::Member(name.to_owned(), "a tree size, in decimal").into()
}

fn unprovable(error: ledger::merkle::ProveError<cluster::Error>) -> Fault {
    match error {
        ledger::merkle::ProveError::OutOfRange => RequestFault::Beyond.into(),
        ledger::merkle::ProveError::Read(error) => Fault::from(error),
    }
}
