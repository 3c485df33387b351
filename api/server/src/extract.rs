// SPDX-License-Identifier: EUPL-1.2
//! axum's extractors with our own refusals: a path or query that cannot be read is a problem document too.

use axum::{
    extract::{FromRequestParts, Path as AxumPath, Query as AxumQuery},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::problem::{Fault, RequestFault};

/// The one variable of a path, as text; what is no UTF-8 names nothing.
pub struct Path(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path, Fault> {
        AxumPath::<String>::from_request_parts(parts, state)
            .await
            .map(|AxumPath(text)| Path(text))
            .map_err(|_| Fault::NotFound)
    }
}

/// The parameters of a query.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Fault> {
        AxumQuery::<T>::from_request_parts(parts, state)
            .await
            .map(|AxumQuery(parameters)| Query(parameters))
            .map_err(|_| RequestFault::Member(String::new(), "each parameter once, as text").into())
    }
}
