//! In front of a server that speaks streamable HTTP itself.
//!
//! Statuses, session ids and events pass through. Of a stream, only the one event that answers
//! the call is changed; answers that nobody asked for are left out.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use reqwest::{Client, Method, Url};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::body::stream;
use super::pump::{Parked, Pump, Waiting, too_late};
use super::reply::{events, json, status_only, with_headers};
use super::upstream::{NoReply, Reply, SESSION, bare, forwarded, post};
use crate::message::{Body, Id, Message};
use crate::proxy::{Executed, Forward, OpenCall, Proxy, ServerMessage};

/// The way to a server.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) parked: Arc<Parked>,
    /// How long the server may take to answer, or to begin a stream.
    pub(super) limit: Duration,
    /// Turns true when the gateway stops: streams without a call end then.
    pub(super) stopping: watch::Sender<bool>,
}

impl Line {
    /// Sends a call that was allowed, and answers with what comes back.
    pub(super) async fn call(
        &self,
        proxy: Arc<Proxy>,
        headers: &HeaderMap,
        forward: Forward,
    ) -> Response {
        let deadline = Instant::now() + self.limit;
        let Forward { bytes, mut call } = forward;
        call.sent();
        let sending = post(
            &self.client,
            &self.url,
            forwarded(headers),
            bytes,
            proxy.server_bytes(),
        );
        let reply = match timeout(self.limit, sending).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(lost)) => return give_up(call, &lost).await,
            Err(_) => return timed_out(call, self.limit).await,
        };
        match reply {
            Reply::Whole {
                status,
                headers,
                is_json,
                body,
            } => {
                let answer = match answer_to(&proxy, is_json, body, call.id()) {
                    Some(message) => call.answered_in_order(message).await.durable().await,
                    None => {
                        let reason =
                            format!("the server answered with status {status} and no result");
                        let failed = call.failed(Executed::Maybe, "upstream_failed", &reason);
                        failed.durable().await
                    }
                };
                with_headers(json(passed_on(status), answer), headers)
            }
            Reply::Events {
                status,
                headers: received,
                events: upstream,
            } => {
                let (sender, body) = stream();
                let pump = Pump {
                    proxy,
                    upstream,
                    waiting: Waiting::Call(Box::new(call)),
                    parked: Some(Arc::clone(&self.parked)),
                    session: session_of(headers),
                    deadline,
                    limit: self.limit,
                    stopping: self.stopping.subscribe(),
                    sender,
                };
                tokio::spawn(pump.run());
                with_headers(events(status, body), received)
            }
        }
    }

    /// Sends a message that is not decided, and answers with what comes back.
    pub(super) async fn pass(
        &self,
        proxy: Arc<Proxy>,
        headers: &HeaderMap,
        message: Message,
    ) -> Response {
        let wanted = match message.body() {
            Body::Request { id, .. } => Some(id.clone()),
            _ => None,
        };
        let sending = post(
            &self.client,
            &self.url,
            forwarded(headers),
            message.bytes().clone(),
            proxy.server_bytes(),
        );
        let reply = match timeout(self.limit, sending).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(lost)) => {
                return json(
                    StatusCode::BAD_GATEWAY,
                    proxy.fail(&message, lost.code(), &lost.reason()),
                );
            }
            Err(_) => {
                let reason = "the server has not answered in time";
                return json(
                    StatusCode::GATEWAY_TIMEOUT,
                    proxy.fail(&message, "call_timed_out", reason),
                );
            }
        };
        match (reply, wanted) {
            (
                Reply::Whole {
                    status, headers, ..
                },
                None,
            ) => with_headers(status_only(passed_on(status)), headers),
            (
                Reply::Whole {
                    status,
                    headers,
                    is_json,
                    body,
                },
                Some(id),
            ) => {
                let answer = match answer_to(&proxy, is_json, body, &id) {
                    Some(answer) => answer.bytes().clone(),
                    None => {
                        let reason =
                            format!("the server answered with status {status} and no result");
                        proxy.fail(&message, "upstream_failed", &reason)
                    }
                };
                with_headers(json(passed_on(status), answer), headers)
            }
            (Reply::Events { .. }, None) => status_only(StatusCode::ACCEPTED),
            (
                Reply::Events {
                    status,
                    headers: received,
                    events: upstream,
                },
                Some(id),
            ) => {
                let (sender, body) = stream();
                let pump = Pump {
                    proxy,
                    upstream,
                    waiting: Waiting::Plain(id),
                    parked: None,
                    session: session_of(headers),
                    // Such a stream may stay open for as long as the client listens.
                    deadline: Instant::now() + Duration::from_secs(86_400 * 365),
                    limit: self.limit,
                    stopping: self.stopping.subscribe(),
                    sender,
                };
                tokio::spawn(pump.run());
                with_headers(events(status, body), received)
            }
        }
    }

    /// Opens the stream on which the server speaks by itself, and resumes broken ones. The server may
    /// take `limit` to begin it; then it stays open for as long as both sides want.
    pub(super) async fn listen(&self, proxy: Arc<Proxy>, headers: &HeaderMap) -> Response {
        let max_bytes = proxy.server_bytes();
        let mut stopping = self.stopping.subscribe();
        let asking = bare(
            &self.client,
            Method::GET,
            &self.url,
            forwarded(headers),
            max_bytes,
        );
        let reply = tokio::select! {
            reply = timeout(self.limit, asking) => reply,
            _ = stopping.wait_for(|stopping| *stopping) => {
                return status_only(StatusCode::SERVICE_UNAVAILABLE);
            }
        };
        match reply {
            Ok(Ok(Reply::Whole {
                status, headers, ..
            })) => with_headers(status_only(passed_on(status)), headers),
            Ok(Ok(Reply::Events {
                status,
                headers: received,
                events: upstream,
            })) => {
                let (sender, body) = stream();
                let pump = Pump {
                    proxy,
                    upstream,
                    waiting: Waiting::Nothing,
                    parked: Some(Arc::clone(&self.parked)),
                    session: session_of(headers),
                    deadline: Instant::now() + Duration::from_secs(86_400 * 365),
                    limit: Duration::MAX,
                    stopping,
                    sender,
                };
                tokio::spawn(pump.run());
                with_headers(events(status, body), received)
            }
            Ok(Err(_)) => status_only(StatusCode::BAD_GATEWAY),
            Err(_) => status_only(StatusCode::GATEWAY_TIMEOUT),
        }
    }

    /// Ends a session.
    pub(super) async fn delete(&self, headers: &HeaderMap) -> Response {
        let asking = bare(
            &self.client,
            Method::DELETE,
            &self.url,
            forwarded(headers),
            65_536,
        );
        match timeout(self.limit, asking).await {
            Ok(Ok(Reply::Whole { status, .. } | Reply::Events { status, .. })) => {
                status_only(passed_on(status))
            }
            Ok(Err(_)) => status_only(StatusCode::BAD_GATEWAY),
            Err(_) => status_only(StatusCode::GATEWAY_TIMEOUT),
        }
    }
}

fn session_of(headers: &HeaderMap) -> Option<String> {
    let session = headers.get(SESSION)?.to_str().ok()?;
    Some(session.to_owned())
}

/// A server's status as the client sees it. What is between the gateway and its server, such as a
/// redirect or a demand for credentials, is not the client's business.
fn passed_on(status: StatusCode) -> StatusCode {
    let own = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
    );
    if status.is_success() || (status.is_client_error() && !own) {
        status
    } else {
        StatusCode::BAD_GATEWAY
    }
}

/// The answer to the request with this id, if that is what the body is.
fn answer_to(proxy: &Proxy, is_json: bool, body: Bytes, id: &Id) -> Option<Message> {
    if !is_json {
        return None;
    }
    match proxy.read_from_server(Ok(body)) {
        ServerMessage::Answer(message) if message.id() == Some(id) => Some(message),
        ServerMessage::Answer(_) | ServerMessage::Pass(_) => {
            tracing::warn!("dropped a server's body that does not answer the request");
            None
        }
        ServerMessage::Dropped { code, reason } => {
            tracing::warn!(code, reason, "dropped what the server sent");
            None
        }
    }
}

async fn give_up(call: OpenCall, lost: &NoReply) -> Response {
    let executed = match lost {
        NoReply::NotSent(_) => Executed::No,
        NoReply::Lost(_) | NoReply::TooLarge => Executed::Maybe,
    };
    let failed = call.failed(executed, lost.code(), &lost.reason());
    json(StatusCode::OK, failed.durable().await)
}

async fn timed_out(call: OpenCall, limit: Duration) -> Response {
    json(StatusCode::OK, too_late(call, limit).await)
}
