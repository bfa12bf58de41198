//! Talking to an MCP server over streamable HTTP.

use std::time::Duration;

use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::{Bytes, BytesMut};
use reqwest::{Client, Method, Response, Url, redirect};

use crate::error::GatewayError;
use crate::message::sse::{EventSplitter, Piece};

/// The header that names a session.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The header that names the protocol revision.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Headers that go on to the server. Never `Authorization`: a token for the gateway is not one
/// for the server.
fn goes_on(name: &HeaderName) -> bool {
    let name = name.as_str();
    name == SESSION.as_str()
        || name == PROTOCOL_VERSION.as_str()
        || name == LAST_EVENT.as_str()
        || name == "mcp-method"
        || name == "mcp-name"
        || name.starts_with("mcp-param-")
        || matches!(name, "traceparent" | "tracestate" | "baggage")
}

/// Headers that come back to the client.
fn comes_back(name: &HeaderName) -> bool {
    name == SESSION || matches!(name.as_str(), "cache-control" | "retry-after")
}

/// A client for upstream servers: no redirects, no proxies from the environment, no waiting for a
/// connection without end.
pub(crate) fn client() -> Result<Client, GatewayError> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .build()
        .map_err(|error| GatewayError::Client(error.to_string()))
}

/// What a server sends back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A body of one message, or none at all.
    Whole {
        status: StatusCode,
        headers: HeaderMap,
        is_json: bool,
        body: Bytes,
    },
    /// A stream of events.
    Events {
        status: StatusCode,
        headers: HeaderMap,
        events: Events,
    },
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum NoReply {
    /// The request never left.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
    /// The reply is larger than allowed.
    TooLarge,
}

impl NoReply {
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::NotSent(detail) => format!("the server cannot be reached: {detail}"),
            Self::Lost(detail) => format!("the connection to the server was lost: {detail}"),
            Self::TooLarge => "the server's answer is larger than allowed".to_owned(),
        }
    }

    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "upstream_unreachable",
            Self::Lost(_) => "upstream_lost",
            Self::TooLarge => "upstream_answer_too_large",
        }
    }
}

/// The headers of a client's request that the server gets.
pub(crate) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| goes_on(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Sends one message.
pub(crate) async fn post(
    client: &Client,
    url: &Url,
    mut headers: HeaderMap,
    body: Bytes,
    max_bytes: usize,
) -> Result<Reply, NoReply> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    );
    let request = client.post(url.clone()).headers(headers).body(body);
    read(request.send().await, max_bytes).await
}

/// Sends a request without a body.
pub(crate) async fn bare(
    client: &Client,
    method: Method,
    url: &Url,
    mut headers: HeaderMap,
    max_bytes: usize,
) -> Result<Reply, NoReply> {
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let request = client.request(method, url.clone()).headers(headers);
    read(request.send().await, max_bytes).await
}

async fn read(sent: Result<Response, reqwest::Error>, max_bytes: usize) -> Result<Reply, NoReply> {
    let mut response = sent.map_err(|error| {
        let detail = causes(&error);
        if error.is_connect() || error.is_builder() {
            NoReply::NotSent(detail)
        } else {
            NoReply::Lost(detail)
        }
    })?;
    let status = response.status();
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase())
        .unwrap_or_default();
    let headers = response
        .headers()
        .iter()
        .filter(|(name, _)| comes_back(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if kind == "text/event-stream" {
        return Ok(Reply::Events {
            status,
            headers,
            events: Events {
                response,
                splitter: EventSplitter::new(max_bytes),
            },
        });
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| NoReply::Lost(causes(&error)))?
    {
        if body.len() + chunk.len() > max_bytes {
            return Err(NoReply::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply::Whole {
        status,
        headers,
        is_json: kind == "application/json",
        body: body.freeze(),
    })
}

/// The events of a stream.
#[derive(Debug)]
pub(crate) struct Events {
    response: Response,
    splitter: EventSplitter,
}

impl Events {
    /// The next piece; none at the end, an error where the stream broke. Loses nothing when
    /// cancelled.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, NoReply> {
        loop {
            match self.splitter.next_piece() {
                Some(Ok(piece)) => return Ok(Some(piece)),
                Some(Err(_)) => return Err(NoReply::TooLarge),
                None => {}
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.splitter.feed(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => return Err(NoReply::Lost(causes(&error))),
            }
        }
    }
}

/// An error with what caused it, without the address, which may be internal.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() {
        "no reply".clone_into(&mut text);
    }
    text
}
