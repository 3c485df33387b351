// SPDX-License-Identifier: EUPL-1.2
//! The routes. Each handler reads: who asks, what is asked, which state; then decide, record, show.

use std::sync::Arc;

use axum::{Json, Router, middleware, routing::get};
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{app::App, observe, openapi, problem::Fault};

pub mod accesses;
pub mod admin;
mod asked;
pub mod audit;
pub mod consent_status;
pub mod consents;
pub mod entries;
pub mod erasures;
pub mod exchanges;
pub mod exports;
pub mod health;
pub mod households;
pub mod proofs;
pub mod pseudonyms;
pub mod receipts;
pub mod registry;
pub mod scope;
pub mod submit;
pub mod tiles;
pub mod tracing;
pub mod usage;

/// The routes and their description, without what wraps them.
pub fn described() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(submit::submit))
        .routes(routes!(entries::show))
        .routes(routes!(entries::receipt))
        .routes(routes!(proofs::inclusion))
        .routes(routes!(proofs::consistency))
        .routes(routes!(accesses::search))
        .routes(routes!(exports::make))
        .routes(routes!(usage::find))
        .routes(routes!(usage::period))
        .routes(routes!(usage::heartbeat))
        .routes(routes!(exchanges::list))
        .routes(routes!(tracing::reconcile))
        .routes(routes!(consents::search))
        .routes(routes!(consent_status::show))
        .routes(routes!(receipts::consent))
        .routes(routes!(erasures::list))
        .routes(routes!(households::composition))
        .routes(routes!(pseudonyms::evaluate))
        .routes(routes!(registry::institutions))
        .routes(routes!(registry::institution))
        .routes(routes!(registry::key))
        .routes(routes!(registry::nodes))
        .routes(routes!(registry::policy))
        .routes(routes!(registry::rules))
        .routes(routes!(registry::governance))
        .routes(routes!(tiles::checkpoint))
        .routes(routes!(admin::cluster))
        .routes(routes!(admin::root))
        .routes(routes!(audit::entries))
        .routes(routes!(audit::start))
        .routes(routes!(scope::subjects))
        .routes(routes!(pseudonyms::used))
        .routes(routes!(health::status))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .split_for_parts()
}

/// The whole application: routes, fallbacks, description and the wrapping of every request.
///
/// # Errors
/// The description cannot be written.
pub fn router(app: Arc<App>) -> Result<Router, Fault> {
    let (router, api) = described();
    let description = openapi::complete(&api)?;
    let swagger = SwaggerUi::new("/docs/api").config(Config::new(["/openapi.json"]));
    Ok(router
        .route("/tile/{*path}", get(tiles::tile))
        .route("/openapi.json", get(|| async move { Json(description) }))
        .merge(swagger)
        .fallback(|| async { Fault::NotFound })
        .method_not_allowed_fallback(|| async { Fault::Method })
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            observe::around,
        ))
        .with_state(app))
}

#[cfg(test)]
mod tests;
