// SPDX-License-Identifier: EUPL-1.2
//! The C2SP tlog-tiles routes: checkpoint, tiles and entry bundles, so that any tlog client can follow the log. Leaves are opaque commitments,
//! so all of it is public.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use ledger::tile::TilePath;

use crate::{
    app::{App, blocking},
    extract::Path,
    problem::Fault,
};

/// A tile never changes once it is published.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// A new checkpoint comes within moments.
const FOR_A_MOMENT: &str = "public, max-age=1";

/// Shows the newest published checkpoint (C2SP tlog-checkpoint, a signed note).
///
/// Signed by the log and cosigned by a majority of the nodes.
#[utoipa::path(
    get,
    path = "/checkpoint",
    tag = "tiles",
    operation_id = "showCheckpoint",
    responses((status = 200, description = "The checkpoint", body = String, content_type = "text/plain"))
)]
pub async fn checkpoint(State(app): State<Arc<App>>) -> Result<Response, Fault> {
    let note = app.published()?.note.to_string();
    Ok((
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, FOR_A_MOMENT),
        ],
        note,
    )
        .into_response())
}

/// A tile or a bundle of entries (C2SP tlog-tiles); 404 beyond the published size.
///
/// # Errors
/// `not-found` for a path that names none, or one that is not published yet.
pub async fn tile(State(app): State<Arc<App>>, Path(path): Path) -> Result<Response, Fault> {
    let path = TilePath::parse(&format!("tile/{path}")).map_err(|_| Fault::NotFound)?;
    let published = app.published()?.size;
    let within = match &path {
        TilePath::Tile(tile) => tile.within(published),
        TilePath::Bundle(bundle) => bundle.within(published),
    };
    if !within {
        return Err(Fault::NotFound);
    }
    let view = app.node.view()?;
    let bytes = blocking(move || {
        let bytes = match &path {
            TilePath::Tile(tile) => view.tile(tile)?,
            TilePath::Bundle(bundle) => view.bundle(bundle)?,
        };
        bytes.ok_or(Fault::NotFound)
    })
    .await?;
    Ok((
        [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::CACHE_CONTROL, FOR_EVER),
        ],
        bytes,
    )
        .into_response())
}
