// SPDX-License-Identifier: EUPL-1.2
//! What the routes for questions by a reader begin with: media type, state, who asks, what such a reader may ask, and only then the body.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    http::HeaderMap,
};
use cluster::View;

use crate::{
    app::{App, Consistency},
    auth::Reader,
    body::{self, QUERY_BYTES_MAX, Read},
    extract::Query,
    observe::Notes,
    problem::Fault,
};

/// A JSON question as it came, of which no byte was read.
pub struct Question {
    /// Its headers.
    pub headers: HeaderMap,
    consistency: Consistency,
    notes: Notes,
    body: Body,
}

/// A question of somebody who may ask it.
pub struct Asked {
    /// The state to answer from, as fresh as the query's `consistency` says.
    pub view: View,
    /// Who asks.
    pub reader: Reader,
    /// The body of the request, at most [`QUERY_BYTES_MAX`].
    pub read: Read,
}

impl FromRequest<Arc<App>> for Question {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Question, Fault> {
        let (mut parts, body) = request.into_parts();
        let Query(consistency) = Query::from_request_parts(&mut parts, app).await?;
        let notes = Extension::<Notes>::from_request_parts(&mut parts, app).await;
        let Extension(notes) = notes.map_err(Fault::internal)?;
        Ok(Question {
            headers: parts.headers,
            consistency,
            notes,
            body,
        })
    }
}

impl Question {
    /// Reads it, if its reader passes `demand`.
    ///
    /// # Errors
    /// It is no JSON, no quorum confirmed the state, nobody or somebody else asks, or the body is too large or incomplete.
    pub async fn asked(
        self,
        app: &App,
        demand: impl Fn(&Reader) -> Result<(), Fault>,
    ) -> Result<Asked, Fault> {
        body::demand_json(&self.headers)?;
        let view = app.view(&self.consistency).await?;
        let reader = app.reader(&self.headers, &view, &self.notes)?;
        demand(&reader)?;
        let read = app.bodies.read(self.body, QUERY_BYTES_MAX).await?;
        Ok(Asked { view, reader, read })
    }
}
