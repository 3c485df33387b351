// SPDX-License-Identifier: BSD-3-Clause
//! The gate as a `tower` layer.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_layer::Layer;
use tower_service::Service;

use super::{Admitted, Answer, Answering, Gate, Reason, transport};

/// Lets only covered calls through to the service that it is laid around.
///
/// The request's body is read whole first, up to a bound, since its digest is part of what the consumer signed; the service gets it as one
/// piece. The two headers are taken out, and the [`super::Covered`] access stands in the request's extensions. The service may put an
/// [`Answer`] into the response's. A call that passed is finished even if the caller goes away: what the service did is on record.
///
/// ```ignore
/// let app = axum::Router::new().route("/isee/{ref}", get(isee)).layer(GateLayer::new(gate, 1 << 20));
/// ```
#[derive(Clone, Debug)]
pub struct GateLayer {
    gate: Arc<Gate>,
    body_bytes_max: usize,
}

impl GateLayer {
    /// Around a service whose requests are no longer than this.
    pub fn new(gate: Arc<Gate>, body_bytes_max: usize) -> GateLayer {
        GateLayer {
            gate,
            body_bytes_max,
        }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            gate: Arc::clone(&self.gate),
            body_bytes_max: self.body_bytes_max,
        }
    }
}

/// A service behind a gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    gate: Arc<Gate>,
    body_bytes_max: usize,
}

impl<S, B, R> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Body + From<Bytes> + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    R: From<Bytes> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Answering<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was made ready, and another one for the next call.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let (gate, body_bytes_max) = (Arc::clone(&self.gate), self.body_bytes_max);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let body = match read_whole(body, body_bytes_max).await {
                Ok(body) => body,
                Err(reason) => return Ok(refusal(gate.refuse(reason))),
            };
            // Not dropped with the connection: an entry that is used up is followed to its end.
            let call = async move {
                let admitted = match gate.admit(&head, &body).await {
                    Ok(admitted) => admitted,
                    Err(reason) => return Ok(refusal(reason)),
                };
                transport::remove(&mut head.headers);
                head.extensions.insert(admitted.covered.clone());
                pass(
                    gate,
                    admitted,
                    inner,
                    Request::from_parts(head, B::from(body)),
                )
                .await
            };
            match tokio::spawn(call).await {
                Ok(answer) => answer,
                // It panicked or the runtime ends: nothing leaves.
                Err(_) => Ok(refusal(Reason::Broken)),
            }
        })
    }
}

async fn pass<S, B, R>(
    gate: Arc<Gate>,
    admitted: Admitted,
    mut inner: S,
    request: Request<B>,
) -> Result<Response<R>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    let mut response = inner.call(request).await?;
    let answer = response.extensions_mut().remove::<Answer>();
    let answer = answer.unwrap_or_else(|| Answer {
        status: response.status().as_u16(),
        ..Answer::default()
    });
    match gate.answered(admitted, &answer).await {
        Ok(id) => {
            if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
                response.headers_mut().insert(transport::ENTRY_ID, id);
            }
            Ok(response)
        }
        Err(reason) => Ok(refusal(reason)),
    }
}

async fn read_whole<B>(body: B, bytes_max: usize) -> Result<Bytes, Reason>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Reason::BodyTooLong),
        // It broke off, or comes so slowly that it holds a place for nothing.
        Ok(Err(_)) | Err(_) => Err(Reason::BodyBroken),
    }
}

/// A refusal as the caller gets it: the reason's status and problem document.
pub fn refusal<R: From<Bytes>>(reason: Reason) -> Response<R> {
    let text = serde_json::to_vec(&reason.problem()).unwrap_or_default();
    let mut response = Response::new(R::from(Bytes::from(text)));
    *response.status_mut() =
        StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Longest until a request's body is whole.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
