// SPDX-License-Identifier: EUPL-1.2
//! The registry, open to everybody: a verifier needs it.

use std::sync::Arc;

use axum::{Json, extract::State};
use cluster::View;
use ledger::{
    id::{InstitutionId, KeyId},
    state::{
        StateKey,
        registry::{self, InstitutionRecord},
    },
};
use wire::{
    PAGE_ITEMS_MAX,
    registry::{Governance, Institution, InstitutionPage, Key, Node, NodePage, Policy, Rules},
};

use crate::{
    app::{App, Consistency, blocking},
    extract::{Path, Query},
    present::{hash_text, key_text},
    problem::{Fault, RequestFault},
    prove,
};

/// Which page.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most items on the page; 100 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, example = 100)]
    pub limit: Option<String>,
}

/// Whether to prove the answer.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Proving {
    /// `true`: with the proof of the value under the newest state root, once there is one.
    #[param(example = "true")]
    pub proof: Option<String>,
}

/// Lists the institutions.
///
/// In order of registration, with their roles and keys.
#[utoipa::path(
    get,
    path = "/v1/institutions",
    tag = "registry",
    operation_id = "listInstitutions",
    params(Paging, Consistency),
    responses((status = 200, description = "A page of institutions", body = InstitutionPage))
)]
pub async fn institutions(
    State(app): State<Arc<App>>,
    Query(paging): Query<Paging>,
    Query(consistency): Query<Consistency>,
) -> Result<Json<InstitutionPage>, Fault> {
    let limit = match paging.limit.as_deref() {
        None => PAGE_ITEMS_MAX,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit))
            .ok_or_else(|| RequestFault::Member("limit".to_owned(), "a number from 1 to 100"))?,
    };
    let from = match paging.cursor.as_deref() {
        None => 0,
        Some(cursor) => ledger::base64::url_decode(cursor)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes)
            .ok_or(RequestFault::Cursor)?,
    };
    let view = app.view(&consistency).await?;
    blocking(move || {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let (records, length) = registry::institutions(&view, from, wanted)?;
        let next = from.saturating_add(u64::from(limit));
        let items = records
            .into_iter()
            .map(|record| shown(&view, record))
            .collect::<Result<_, _>>()?;
        Ok(Json(InstitutionPage {
            items,
            limit,
            next_cursor: (next < length).then(|| ledger::base64::url_encode(&next.to_be_bytes())),
            tree_size: view.size().0,
        }))
    })
    .await
}

/// Shows an institution.
///
/// With its roles and keys.
#[utoipa::path(
    get,
    path = "/v1/institutions/{institution}",
    tag = "registry",
    operation_id = "showInstitution",
    params(("institution" = String, Path, description = "`ipa:<code>` or `cf:<11 digits>`", example = "ipa:inps"), Consistency),
    responses((status = 200, description = "The institution", body = Institution))
)]
pub async fn institution(
    State(app): State<Arc<App>>,
    Path(institution): Path,
    Query(consistency): Query<Consistency>,
) -> Result<Json<Institution>, Fault> {
    let institution = InstitutionId::parse(&institution).ok_or(Fault::NotFound)?;
    let view = app.view(&consistency).await?;
    blocking(move || {
        let record = registry::institution(&view, &institution)?.ok_or(Fault::NotFound)?;
        shown(&view, record).map(Json)
    })
    .await
}

fn shown(view: &View, record: InstitutionRecord) -> Result<Institution, Fault> {
    let keys = registry::keys_of(view, &record.institution)?;
    Ok(Institution {
        roles: registry::roles_of(view, &record.institution)?,
        institution: record.institution.as_str().to_owned(),
        name: record.name,
        active: !record.ended,
        successor: record
            .successor
            .map(|successor| successor.as_str().to_owned()),
        keys: keys.iter().map(|(id, _)| key_text(id)).collect(),
    })
}

/// Shows a key.
///
/// By its key id; with its use, its institution, and from and until which index it is in force.
#[utoipa::path(
    get,
    path = "/v1/keys/{key_id}",
    tag = "registry",
    operation_id = "showKey",
    params(("key_id" = String, Path, description = "Key id, base64url"), Consistency, Proving),
    responses((status = 200, description = "The key", body = Key))
)]
pub async fn key(
    State(app): State<Arc<App>>,
    Path(key_id): Path,
    Query(consistency): Query<Consistency>,
    Query(proving): Query<Proving>,
) -> Result<Json<Key>, Fault> {
    let id = KeyId::parse(&key_id).ok_or(Fault::NotFound)?;
    let view = app.view(&consistency).await?;
    // Of the newest state root that there is: nobody makes the ledger fold without a token.
    let folded = match proving.proof.as_deref() {
        None | Some("false") => None,
        Some("true") => app.node.folded()?,
        Some(_) => {
            return Err(RequestFault::Member("proof".to_owned(), "true or false").into());
        }
    };
    blocking(move || {
        let proof = folded.map(|folded| prove::state(&folded, vec![StateKey::key(&id)]));
        let record = registry::key(&view, &id)?.ok_or(Fault::NotFound)?;
        Ok(Json(Key {
            key_id: key_text(&id),
            public_key: ledger::base64::url_encode(record.public_key.as_bytes()),
            key_use: record.key_use.as_str().to_owned(),
            in_force: record.in_force_at(view.size().next_index()),
            institution: record.institution.as_str().to_owned(),
            from: record.first,
            until: Some(record.until).filter(|until| *until != u64::MAX),
            proof: proof.transpose()?,
        }))
    })
    .await
}

/// Lists the nodes in force.
///
/// A majority of them cosigns every published checkpoint.
#[utoipa::path(
    get,
    path = "/v1/nodes",
    tag = "registry",
    operation_id = "listNodes",
    params(Consistency),
    responses((status = 200, description = "The nodes", body = NodePage))
)]
pub async fn nodes(
    State(app): State<Arc<App>>,
    Query(consistency): Query<Consistency>,
) -> Result<Json<NodePage>, Fault> {
    let view = app.view(&consistency).await?;
    blocking(move || {
        let next = view.size().next_index();
        let mut items = Vec::new();
        for node in registry::nodes_at(&view, view.size())? {
            items.push(Node {
                node: node.node.0,
                institution: node.institution.as_str().to_owned(),
                node_key: key_text(&registry::current_key(&view, &node.node_key, next)?),
                cosign_key: key_text(&registry::current_key(&view, &node.cosign_key, next)?),
            });
        }
        Ok(Json(NodePage {
            items,
            tree_size: view.size().0,
        }))
    })
    .await
}

/// Shows the trust policy that the governance set (C2SP tlog-policy).
///
/// Compare it with a copy from elsewhere: a policy that only this server vouches for proves nothing.
#[utoipa::path(
    get,
    path = "/v1/policy",
    tag = "registry",
    operation_id = "showPolicy",
    params(Consistency),
    responses((status = 200, description = "The policy", body = Policy))
)]
pub async fn policy(
    State(app): State<Arc<App>>,
    Query(consistency): Query<Consistency>,
) -> Result<Json<Policy>, Fault> {
    let view = app.view(&consistency).await?;
    blocking(move || {
        let (_, text) = registry::policy(&view)?.ok_or(Fault::NotFound)?;
        Ok(Json(Policy {
            text,
            tree_size: view.size().0,
        }))
    })
    .await
}

/// Shows the rule set in force.
///
/// Its number; every node and every auditor carries all rule sets.
#[utoipa::path(
    get,
    path = "/v1/rules",
    tag = "registry",
    operation_id = "showRules",
    params(Consistency),
    responses((status = 200, description = "The rule set", body = Rules))
)]
pub async fn rules(
    State(app): State<Arc<App>>,
    Query(consistency): Query<Consistency>,
) -> Result<Json<Rules>, Fault> {
    let view = app.view(&consistency).await?;
    blocking(move || {
        Ok(Json(Rules {
            rules: registry::rules(&view)?.ok_or(Fault::NotFound)?,
            tree_size: view.size().0,
        }))
    })
    .await
}

/// Shows where governance stands.
///
/// The entry that the next governance entry must name in `refersTo`, and how many institutions must sign it.
#[utoipa::path(
    get,
    path = "/v1/governance",
    tag = "registry",
    operation_id = "showGovernance",
    params(Consistency),
    responses((status = 200, description = "Where governance stands", body = Governance))
)]
pub async fn governance(
    State(app): State<Arc<App>>,
    Query(consistency): Query<Consistency>,
) -> Result<Json<Governance>, Fault> {
    let view = app.view(&consistency).await?;
    blocking(move || {
        let stands = registry::governance(&view)?.ok_or(Fault::NotFound)?;
        Ok(Json(Governance {
            index: stands.last.index.0,
            leaf: hash_text(&stands.last.leaf),
            k: stands.k,
            tree_size: view.size().0,
        }))
    })
    .await
}
