// SPDX-License-Identifier: EUPL-1.2
//! The body of an answer, given out piece by piece: a connection asks for the next one when it got rid of what was before, so each is a sign
//! that somebody still takes it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::Activity;

/// Most bytes of a piece: whoever takes less in the longest silence allowed takes next to nothing.
const PIECE_BYTES: usize = 256 * 1024;

/// A body that tells its connection of each piece that is taken of it.
pub(super) struct Pieces {
    body: Body,
    /// What is left of a frame that is longer than a piece.
    rest: Bytes,
    activity: Arc<Activity>,
}

impl Pieces {
    pub(super) fn new(body: Body, activity: Arc<Activity>) -> Pieces {
        Pieces {
            body,
            rest: Bytes::new(),
            activity,
        }
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            this.activity.touch();
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        } else {
            this.activity.touch();
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (to_come, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = to_come.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(to_come.lower().saturating_add(rest));
        hint
    }
}
