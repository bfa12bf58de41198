//! What keeps strangers from filling the log with requests, connections and bodies that never end.
//!
//! Proofs and tiles are cheap and can be cached by whoever stands in front of the log. A submission
//! holds an entry in memory and waits, so there is a bound on how many do at the same time. It is
//! checked before the body is read.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use counterfoil_listener::{BodyError, Full, Limits, receive};
use counterfoil_tlog::tile::MAX_ENTRY_BYTES;
use tokio::sync::Semaphore;

use crate::{Refusal, node::Node};

/// Bounds of connections. No request takes longer than the time it may wait, so that whoever
/// finds no room gets some soon.
pub(crate) const CONNECTIONS: Limits = Limits::new(1_024, Full::Wait);

/// Lets a request in if there is room, and holds its place until it is answered.
pub(crate) async fn enter(
    State(places): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Response {
    match places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => Refusal::Busy.into_response(),
    }
}

/// The body of a request, read within a bounded time.
#[derive(Debug)]
pub(crate) struct EntryBody(pub(crate) Vec<u8>);

impl FromRequest<Arc<Node>> for EntryBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self, Refusal> {
        match receive(request.into_body(), MAX_ENTRY_BYTES, node.limits.body()).await {
            Ok(bytes) => Ok(Self(bytes.into())),
            Err(BodyError::TooLarge { .. }) => Err(Refusal::TooLarge),
            Err(BodyError::TooSlow { .. }) => Err(Refusal::SlowBody),
            Err(error @ BodyError::Broken(_)) => Err(Refusal::Request(error.to_string())),
        }
    }
}
