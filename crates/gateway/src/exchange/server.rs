//! Answering other operators.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode, request};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use counterfoil_enforcer::call::Envelope;
use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::receipts::ReceiptBuilder;
use counterfoil_enforcer::{Enforcer, EnforcerError};
use counterfoil_listener::{BodyError, receive};
use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::UnverifiedRecord;
use serde::Serialize;

use super::index::ChannelIndex;
use super::pushed::Pushed;
use super::refusal::Refusal;
use super::wire::{ChannelHeads, Head, ManifestEntry, Manifests, Receipts, Records, encode};
use crate::evidence;
use crate::home;
use crate::http::{Addresses, BODY_PATIENCE};

/// The most bytes of a pushed body.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// The most records of one page.
const MAX_RECORDS: usize = 256;
/// The most receipts of one page.
const MAX_RECEIPTS: usize = 64;

/// What answering other operators needs.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) enforcer: Enforcer,
    manifests: PathBuf,
    pub(super) addresses: Addresses,
    pub(super) freshness: Duration,
    index: ChannelIndex,
    pushed: Pushed,
    /// Nonces of verified requests, and until when a request with them could be fresh.
    pub(super) nonces: Mutex<HashMap<(KeyThumbprint, String), u64>>,
}

impl Exchange {
    pub(crate) fn new(
        enforcer: Enforcer,
        manifests: PathBuf,
        addresses: Addresses,
        freshness: Duration,
        pushed: Pushed,
    ) -> Self {
        Self {
            index: ChannelIndex::new(enforcer.journal_path()),
            pushed,
            enforcer,
            manifests,
            addresses,
            freshness,
            nonces: Mutex::default(),
        }
    }

    fn receipt(&self, asking: &OperatorName, id: RecordId) -> Result<Vec<u8>, EnforcerError> {
        let mut builder = self.builder()?;
        let sequence = builder.reader().sequence_of(id)?;
        let (bytes, _) = builder.reader().record(sequence)?;
        let record = UnverifiedRecord::parse(&bytes)?;
        let link = record.unverified_content().channel();
        if link.is_none_or(|link| link.counterparty != *asking) {
            return Err(EnforcerError::NotFound(String::new()));
        }
        Ok(builder.build(sequence, &[])?.encode())
    }

    fn receipts(&self, asking: &OperatorName, page: Page) -> Result<Vec<String>, EnforcerError> {
        let mut builder = self.builder()?;
        self.index
            .records(asking, page.from, page.limit)?
            .into_iter()
            .map(|(sequence, _)| Ok(encode(&builder.build(sequence, &[])?.encode())))
            .collect()
    }

    fn builder(&self) -> Result<ReceiptBuilder, EnforcerError> {
        let reader = JournalReader::open(self.enforcer.journal_path())?;
        let manifests = home::read_manifests(&self.manifests)
            .map_err(|error| EnforcerError::NotFound(error.to_string()))?;
        Ok(ReceiptBuilder::new(reader, manifests))
    }

    fn heads(&self, operator: &OperatorName) -> Result<ChannelHeads, EnforcerError> {
        let heads = self.enforcer.channel_heads(operator)?;
        Ok(ChannelHeads {
            sent: heads.sent.map(Head::of),
            received: heads.received.into_iter().map(Head::of).collect(),
        })
    }
}

/// The routes of the exchange API.
pub(crate) fn router(exchange: Arc<Exchange>) -> Router {
    Router::new()
        .route("/exchange/v1/manifests", get(manifests))
        .route("/exchange/v1/channel", get(channel))
        .route("/exchange/v1/records", get(records).post(push))
        .route("/exchange/v1/receipts", get(receipts))
        .route("/exchange/v1/receipts/{id}", get(receipt))
        .with_state(exchange)
}

type Answer = Result<Response, Refusal>;

async fn manifests(State(exchange): State<Arc<Exchange>>, request: Request) -> Answer {
    exchange
        .addresses
        .check(request.headers(), request.uri())
        .map_err(|turned| Refusal::new(turned.status, turned.code, turned.reason.to_owned()))?;
    let manifests = home::read_manifests(&exchange.manifests).map_err(|error| {
        tracing::error!(%error, "our manifests cannot be read");
        Refusal::internal()
    })?;
    Ok(json(&Manifests {
        manifests: manifests.iter().map(ManifestEntry::of).collect(),
    }))
}

async fn channel(State(exchange): State<Arc<Exchange>>, request: Request) -> Answer {
    let operator = bare(&exchange, request)?.0;
    let heads = blocking(move || exchange.heads(&operator)).await?;
    Ok(json(&heads))
}

async fn records(
    State(exchange): State<Arc<Exchange>>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    let operator = bare(&exchange, request)?.0;
    let page = Page::parse(query.as_deref(), MAX_RECORDS)?;
    let records =
        blocking(move || exchange.index.records(&operator, page.from, page.limit)).await?;
    Ok(json(&Records {
        records: records.iter().map(|(_, bytes)| encode(bytes)).collect(),
    }))
}

async fn push(State(exchange): State<Arc<Exchange>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let (operator, digest) = exchange.authenticate_with_body(&parts)?;
    let body = read_body(body).await?;
    digest
        .check(&body)
        .map_err(|error| Refusal::unauthorized(error.code(), error.to_string()))?;
    let envelope = evidence::decode(&body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.code(), error.to_string()))?;
    let own = of_one(&envelope, &operator);
    if !own {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "records_of_another",
            format!("only records of {operator} are taken from {operator}"),
        ));
    }
    let heads = blocking(move || {
        exchange.enforcer.ingest(&envelope)?;
        for record in &envelope.records {
            let id = UnverifiedRecord::parse(record)?.id();
            exchange.pushed.keep(id, record);
        }
        exchange.heads(&operator)
    });
    Ok(json(&heads.await?))
}

async fn receipts(
    State(exchange): State<Arc<Exchange>>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    let operator = bare(&exchange, request)?.0;
    let page = Page::parse(query.as_deref(), MAX_RECEIPTS)?;
    let receipts = blocking(move || exchange.receipts(&operator, page)).await?;
    Ok(json(&Receipts { receipts }))
}

async fn receipt(
    State(exchange): State<Arc<Exchange>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let operator = bare(&exchange, request)?.0;
    let id = RecordId::from_hex(&id).map_err(|_| Refusal::not_found())?;
    let bytes = blocking(move || exchange.receipt(&operator, id)).await?;
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    Ok(response)
}

/// Authenticates a request without a body.
fn bare(exchange: &Exchange, request: Request) -> Result<(OperatorName, request::Parts), Refusal> {
    let (parts, _) = request.into_parts();
    let operator = exchange.authenticate(&parts)?;
    Ok((operator, parts))
}

fn of_one(envelope: &Envelope, operator: &OperatorName) -> bool {
    envelope
        .records
        .iter()
        .all(|bytes| UnverifiedRecord::parse(bytes).is_ok_and(|record| record.issuer() == operator))
}

async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    receive(body, MAX_BODY, BODY_PATIENCE)
        .await
        .map_err(|error| {
            let (status, code) = match error {
                BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
                BodyError::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
                BodyError::Broken(_) => (StatusCode::BAD_REQUEST, "body_unreadable"),
            };
            Refusal::new(status, code, error.to_string())
        })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EnforcerError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(EnforcerError::NotFound(_))) => Err(Refusal::not_found()),
        Ok(Err(EnforcerError::Refused {
            reason,
            explanation,
        })) => Err(Refusal {
            status: StatusCode::CONFLICT,
            code: reason.as_str().to_owned(),
            detail: explanation,
        }),
        Ok(Err(error)) => {
            tracing::error!(%error, "the exchange API could not answer");
            Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                error.code(),
                "the journal does not answer now".to_owned(),
            ))
        }
        Err(_) => Err(Refusal::internal()),
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    from: u64,
    limit: usize,
}

impl Page {
    fn parse(query: Option<&str>, most: usize) -> Result<Self, Refusal> {
        let mut page = Self {
            from: 0,
            limit: most,
        };
        let bad = |detail: String| Refusal::new(StatusCode::BAD_REQUEST, "query_invalid", detail);
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            match pair.split_once('=') {
                Some(("from", value)) => {
                    page.from = value
                        .parse()
                        .map_err(|_| bad(format!("`from` is `{value}`, not a number")))?;
                }
                Some(("limit", value)) => {
                    let limit: usize = value
                        .parse()
                        .map_err(|_| bad(format!("`limit` is `{value}`, not a number")))?;
                    page.limit = limit.min(most);
                }
                _ => return Err(bad(format!("`{pair}` is not a parameter here"))),
            }
        }
        Ok(page)
    }
}

fn json<T: Serialize>(value: &T) -> Response {
    axum::response::IntoResponse::into_response(Json(value))
}
