//! Answering other operators.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
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
use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, RecordId};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::UnverifiedRecord;
use serde::Serialize;

use super::index::ChannelIndex;
use super::nonces::Nonces;
use super::pushed::Pushed;
use super::refusal::Refusal;
use super::streams;
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
    /// When it began to answer, in seconds. What was answered before that is not remembered.
    pub(super) started: u64,
    /// Of each stream that is served here, by its key.
    indexes: Mutex<HashMap<KeyThumbprint, Arc<ChannelIndex>>>,
    pushed: Pushed,
    pub(super) nonces: Mutex<Nonces>,
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
            indexes: Mutex::default(),
            pushed,
            started: enforcer.environment().clock.now().seconds().get(),
            enforcer,
            manifests,
            addresses,
            freshness,
            nonces: Mutex::default(),
        }
    }

    fn records(&self, asking: &OperatorName, page: Page) -> Result<Vec<String>, EnforcerError> {
        let index = self.index(page.stream)?;
        let records = index.records(asking, page.from, page.limit)?;
        Ok(records.iter().map(|(_, bytes)| encode(bytes)).collect())
    }

    /// The receipt of a record to `asking`; none while it is in no sealed batch.
    fn receipt(
        &self,
        asking: &OperatorName,
        id: RecordId,
    ) -> Result<Option<Vec<u8>>, EnforcerError> {
        for (_, journal) in streams::served(self.enforcer.journal_path()) {
            let mut builder = self.builder(&journal)?;
            let sequence = match builder.reader().sequence_of(id) {
                Ok(sequence) => sequence,
                Err(EnforcerError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            let (bytes, _) = builder.reader().record(sequence)?;
            let record = UnverifiedRecord::parse(&bytes)?;
            let link = record.unverified_content().channel();
            if link.is_some_and(|link| link.counterparty == *asking) {
                return Ok(Some(builder.build(sequence, &[])?.encode()));
            }
        }
        // Only records to the asking operator are looked through: of others it learns nothing.
        for (stream, _) in streams::served(self.enforcer.journal_path()) {
            if self.index(Some(stream))?.is_unsealed(asking, id)? {
                return Ok(None);
            }
        }
        Err(EnforcerError::NotFound(String::new()))
    }

    fn receipts(&self, asking: &OperatorName, page: Page) -> Result<Vec<String>, EnforcerError> {
        let index = self.index(page.stream)?;
        let mut builder = self.builder(index.journal())?;
        index
            .records(asking, page.from, page.limit)?
            .into_iter()
            .map(|(sequence, _)| Ok(encode(&builder.build(sequence, &[])?.encode())))
            .collect()
    }

    /// The index of one of our streams; of this enforcer's if none is named.
    fn index(&self, stream: Option<KeyThumbprint>) -> Result<Arc<ChannelIndex>, EnforcerError> {
        let kid = stream.unwrap_or(self.enforcer.kid());
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = indexes.get(&kid) {
            return Ok(Arc::clone(index));
        }
        let journal = if kid == self.enforcer.kid() {
            self.enforcer.journal_path().to_owned()
        } else {
            let served = streams::served(self.enforcer.journal_path());
            let found = served.into_iter().find(|(stream, _)| *stream == kid);
            found
                .ok_or_else(|| EnforcerError::NotFound(String::new()))?
                .1
        };
        let index = Arc::new(ChannelIndex::new(&journal));
        indexes.insert(kid, Arc::clone(&index));
        Ok(index)
    }

    fn builder(&self, journal: &std::path::Path) -> Result<ReceiptBuilder, EnforcerError> {
        let reader = JournalReader::open(journal)?;
        let manifests = home::read_manifests(&self.manifests)
            .map_err(|error| EnforcerError::NotFound(error.to_string()))?;
        Ok(ReceiptBuilder::new(reader, manifests))
    }

    fn heads(&self, operator: &OperatorName) -> Result<ChannelHeads, EnforcerError> {
        let heads = self.enforcer.channel_heads(operator)?;
        Ok(ChannelHeads {
            sent: heads.sent.map(Head::of),
            received: heads.received.into_iter().map(Head::of).collect(),
            waiting: heads.waiting.into_iter().map(Head::of).collect(),
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
        .route("/exchange/v1/terms/{contract}", get(terms))
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
    let operator = bare(&exchange, request).await?.0;
    let heads = blocking(move || exchange.heads(&operator)).await?;
    Ok(json(&heads))
}

async fn records(
    State(exchange): State<Arc<Exchange>>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    let operator = bare(&exchange, request).await?.0;
    let page = Page::parse(query.as_deref(), MAX_RECORDS)?;
    let records = blocking(move || exchange.records(&operator, page)).await?;
    Ok(json(&Records { records }))
}

async fn push(State(exchange): State<Arc<Exchange>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    exchange.meet(&parts).await;
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
        let last = envelope.records.len().saturating_sub(1);
        for (index, record) in envelope.records.iter().enumerate() {
            let id = UnverifiedRecord::parse(record)?.id();
            let receipt = envelope.receipt.as_deref().filter(|_| index == last);
            exchange.pushed.keep(id, record, receipt);
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
    let operator = bare(&exchange, request).await?.0;
    let page = Page::parse(query.as_deref(), MAX_RECEIPTS)?;
    let receipts = blocking(move || exchange.receipts(&operator, page)).await?;
    Ok(json(&Receipts { receipts }))
}

async fn receipt(
    State(exchange): State<Arc<Exchange>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let operator = bare(&exchange, request).await?.0;
    let id = RecordId::from_hex(&id).map_err(|_| Refusal::not_found())?;
    let bytes = blocking(move || exchange.receipt(&operator, id)).await?;
    Ok(cbor(bytes.ok_or_else(Refusal::not_sealed)?))
}

async fn terms(
    State(exchange): State<Arc<Exchange>>,
    Path(contract): Path<String>,
    request: Request,
) -> Answer {
    let operator = bare(&exchange, request).await?.0;
    let contract = ContentDigest::from_hex(&contract).map_err(|_| Refusal::not_found())?;
    let terms = exchange.enforcer.terms_for(&operator, contract);
    Ok(cbor(terms.ok_or_else(Refusal::not_found)?.encode()))
}

fn cbor(bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    response
}

/// Authenticates a request without a body.
async fn bare(
    exchange: &Exchange,
    request: Request,
) -> Result<(OperatorName, request::Parts), Refusal> {
    let (parts, _) = request.into_parts();
    exchange.meet(&parts).await;
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
        Ok(Err(EnforcerError::Contract { code, detail })) => {
            Err(Refusal::new(StatusCode::CONFLICT, code, detail))
        }
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
    /// Whose records: those of one of our streams.
    stream: Option<KeyThumbprint>,
    from: u64,
    limit: usize,
}

impl Page {
    fn parse(query: Option<&str>, most: usize) -> Result<Self, Refusal> {
        let mut page = Self {
            stream: None,
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
                Some(("stream", value)) => {
                    let kid = KeyThumbprint::from_hex(value)
                        .map_err(|_| bad(format!("`stream` is `{value}`, not a thumbprint")))?;
                    page.stream = Some(kid);
                }
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
