//! The log as a SCITT transparency service: its tree's roots signed as COSE receipts (RFC 9942), over
//! the few endpoints that SCRAPI has for that.
//!
//! A receipt is for a published tree only, and is made when somebody asks: the same entry, size and
//! algorithm always give the same bytes. Spec: stock receipts §4.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path as UrlPath, Query, State, rejection::QueryRejection},
    http::{
        StatusCode,
        header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use counterfoil_protocol::{
    cbor::Encoder,
    stock::{Algorithm, cose_key, cose_key_set},
};
use counterfoil_tlog::text::parse_decimal;
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    Refusal,
    door::EntryBody,
    http::{blocking, check_shown, covering, take_in},
    node::Node,
    pool::internal,
    read,
};

const COSE: &str = "application/cose";
const CBOR: &str = "application/cbor";
const PROBLEM: &str = "application/concise-problem-details+cbor";

type Shared = State<Arc<Node>>;

/// What takes entries in.
pub(crate) fn writing() -> Router<Arc<Node>> {
    Router::new().route("/entries", post(register))
}

/// What answers questions.
pub(crate) fn reading() -> Router<Arc<Node>> {
    Router::new()
        .route("/entries/{index}", get(receipt))
        .route("/.well-known/scitt-keys", get(keys))
        .route("/.well-known/scitt-keys/{kid}", get(key))
}

/// A refusal as concise problem details (RFC 9290).
struct Problem(Refusal);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut encoder = Encoder::with_capacity(128);
        encoder.map(|map| {
            map.key(-1).text(self.0.code());
            map.key(-2).text(&self.0.shown());
        });
        let mut response =
            (status, [(CONTENT_TYPE, PROBLEM)], encoder.into_bytes()).into_response();
        if let Some(seconds) = self.0.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptQuery {
    /// The size of the tree; the published one without it.
    size: Option<String>,
    /// The number of the algorithm; -19 without it.
    alg: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterQuery {
    alg: Option<String>,
}

async fn receipt(
    State(node): Shared,
    UrlPath(index): UrlPath<String>,
    query: Result<Query<ReceiptQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Refusal::Request(error.body_text()))?;
    let algorithm = algorithm(query.alg)?;
    let index = parse_decimal(&index).ok_or(Refusal::NotFound("entry"))?;
    let published = node
        .published
        .borrow()
        .as_ref()
        .map_or(0, |published| published.head.size);
    let size = match query.size {
        None => published,
        Some(text) => parse_decimal(&text)
            .ok_or_else(|| Refusal::Request(format!("`{text}` is not a tree size")))?,
    };
    if size > published {
        return Err(Refusal::NotPublished { size, published }.into());
    }
    if index >= size {
        return Err(Refusal::NotCovered { index, size }.into());
    }
    let bytes = signed(&node, index, size, algorithm).await?;
    Ok((StatusCode::OK, [(CONTENT_TYPE, COSE)], bytes).into_response())
}

async fn register(
    State(node): Shared,
    query: Result<Query<RegisterQuery>, QueryRejection>,
    EntryBody(body): EntryBody,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Refusal::Request(error.body_text()))?;
    let algorithm = algorithm(query.alg)?;
    let deadline = Instant::now() + node.limits.wait();
    let index = take_in(&node, body, false, deadline).await?;
    let covering = covering(&node, &node.published, index, deadline, "published").await?;
    let bytes = signed(&node, index, covering.head.size, algorithm).await?;
    check_shown(&node, covering.head.size)?;
    let headers = [
        (CONTENT_TYPE, COSE.to_owned()),
        (LOCATION, format!("/entries/{index}")),
    ];
    Ok((StatusCode::CREATED, headers, bytes).into_response())
}

async fn keys(State(node): Shared) -> Response {
    let body = cose_key_set(&[node.stock.key()]);
    ([(CONTENT_TYPE, CBOR)], body).into_response()
}

async fn key(State(node): Shared, UrlPath(kid): UrlPath<String>) -> Result<Response, Problem> {
    let key = node.stock.key();
    if kid != URL_SAFE_NO_PAD.encode(key.thumbprint().as_bytes()) {
        return Err(Refusal::NotFound("key").into());
    }
    Ok(([(CONTENT_TYPE, CBOR)], cose_key(key)).into_response())
}

fn algorithm(text: Option<String>) -> Result<Algorithm, Refusal> {
    let Some(text) = text else {
        return Ok(Algorithm::Ed25519);
    };
    text.parse()
        .ok()
        .and_then(Algorithm::of_number)
        .ok_or_else(|| Refusal::Request(format!("`{text}` is neither -19 nor -8")))
}

/// The receipt of an entry in a published tree.
async fn signed(
    node: &Arc<Node>,
    index: u64,
    size: u64,
    algorithm: Algorithm,
) -> Result<Vec<u8>, Refusal> {
    blocking(node, move |node| {
        let published = node.published.borrow().clone();
        let tree = published
            .map(|published| published.head)
            .filter(|head| head.size >= size)
            .ok_or(Refusal::NotFound("published checkpoint"))?;
        read::receipt(&node.store, &node.stock, index, size, tree, algorithm).map_err(internal)
    })
    .await
}
