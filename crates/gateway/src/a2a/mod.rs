//! Agents that speak A2A over JSON-RPC behind the gateway: `/a2a/<server>`.
//!
//! What happens to a message is what happens to one of MCP ([`crate::proxy`]); the member has
//! another name and place, and another header says that it is used. Spec: a2a.

mod card;
mod extensions;
mod pump;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::Response;
use axum::routing::{any, get};
use counterfoil_listener::{BodyError, receive};
use reqwest::{Client, Url};
use tokio::time::{Instant, timeout};

use self::extensions::Extensions;
use self::pump::Pump;
use crate::config::{self, Config, Protocol};
use crate::error::GatewayError;
use crate::exchange::Errands;
use crate::http::body::stream;
use crate::http::reply::{events, json, refused, status_only, turned_away, unrecorded};
use crate::http::upstream::{NoReply, Reply, client, post};
use crate::http::{Addresses, Agents, BODY_PATIENCE, Turned, check_json};
use crate::message::refusal::INVALID_REQUEST;
use crate::message::{Dialect, Message};
use crate::proxy::{
    Caller, ClientMessage, Direction, Executed, Forward, Gate, OpenCall, Proxy, Refused,
    ServerMessage, Verdict,
};

/// The version of A2A that a request is of.
const VERSION: HeaderName = HeaderName::from_static("a2a-version");

/// Everything that answering for A2A agents needs, made once.
#[derive(Debug)]
pub(crate) struct Service {
    gate: Gate,
    errands: Option<Errands>,
    agents: Agents,
    addresses: Addresses,
    client: Client,
    /// How others reach this gateway.
    own: Url,
    limit: Duration,
    max_bytes: usize,
    evidence_limit: Duration,
    servers: HashMap<String, Served>,
}

/// One agent behind the gateway.
#[derive(Debug)]
struct Served {
    config: config::Server,
    url: Url,
}

impl Service {
    /// Reads the agents' tokens and prepares every server; connects to none.
    pub(crate) fn new(
        config: &Config,
        gate: Gate,
        errands: Option<Errands>,
        addresses: Addresses,
    ) -> Result<Self, GatewayError> {
        let servers = config
            .servers
            .iter()
            .filter(|server| server.protocol == Protocol::A2a)
            .filter_map(|server| match &server.upstream {
                config::Upstream::Url(url) => {
                    let served = Served {
                        config: server.clone(),
                        url: url.clone(),
                    };
                    Some((server.name.as_str().to_owned(), served))
                }
                // The configuration has refused that.
                config::Upstream::Command(_) => None,
            })
            .collect();
        Ok(Self {
            gate,
            errands,
            agents: Agents::read(config)?,
            addresses,
            client: client()?,
            own: config.gateway.url.clone(),
            limit: config.gateway.call_limit,
            max_bytes: config.gateway.message_bytes,
            evidence_limit: config.gateway.evidence_limit,
            servers,
        })
    }

    /// Who calls, if the request may be read.
    fn admit(&self, served: &Served, request: &Request) -> Result<Caller, Turned> {
        let headers = request.headers();
        self.addresses.check(headers, request.uri())?;
        let caller = match served.config.direction {
            Direction::Incoming => Caller::by_evidence(),
            Direction::Local | Direction::Outgoing(_) => Caller {
                agent: self.agents.authenticate(headers)?,
                session: None,
            },
        };
        if request.method() == Method::POST {
            check_json(headers)?;
        }
        Ok(caller)
    }

    async fn answer(&self, served: &Served, request: Request) -> Response {
        let caller = match self.admit(served, &request) {
            Ok(caller) => caller,
            Err(turned) => {
                let recorded = self.gate.record_refusal(turned.code).await;
                return turned_away(recorded.map_or_else(Turned::from, |()| turned));
            }
        };
        if request.method() != Method::POST {
            return status_only(StatusCode::METHOD_NOT_ALLOWED);
        }
        let proxy = Proxy::new(
            self.gate.clone(),
            served.config.name.clone(),
            served.config.direction.clone(),
            caller,
            self.max_bytes,
        );
        let proxy = proxy
            .with_errands(self.errands.clone())
            .with_evidence_limit(self.evidence_limit)
            .speaking(Dialect::A2a);
        let proxy = Arc::new(proxy);
        let (parts, body) = request.into_parts();
        match self.read(&proxy, &parts.headers, body).await {
            Ok(read) => self.decide(served, proxy, &parts.headers, read).await,
            Err(unread) => refused(proxy.record(unread).await),
        }
    }

    async fn read(
        &self,
        proxy: &Proxy,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<ClientMessage, Refused> {
        let body = receive(body, proxy.client_bytes(), BODY_PATIENCE)
            .await
            .map_err(|error| {
                let (code, status) = match error {
                    BodyError::TooLarge { .. } => ("message_too_long", 413),
                    BodyError::TooSlow { .. } => ("body_too_slow", 408),
                    BodyError::Broken(_) => ("body_unreadable", 400),
                };
                proxy.refuse_unread(code, &error.to_string(), status)
            })?;
        let read = match proxy.read(Ok(body)) {
            ClientMessage::Refused(refusal) => return Err(refusal),
            read => read,
        };
        let activated = Extensions::of(headers).is_activated();
        if let (ClientMessage::Request(request), Direction::Incoming, false) =
            (&read, proxy.direction(), activated)
        {
            let reason = format!(
                "the header `A2A-Extensions` does not activate `{}`, which this agent requires. \
                 Nothing was forwarded.",
                crate::message::splice::A2A_EXTENSION
            );
            let code = "extension_not_activated";
            return Err(proxy.refuse_as(request.message(), code, &reason, INVALID_REQUEST));
        }
        Ok(read)
    }

    async fn decide(
        &self,
        served: &Served,
        proxy: Arc<Proxy>,
        headers: &HeaderMap,
        read: ClientMessage,
    ) -> Response {
        let request = match read {
            ClientMessage::Refused(refusal) => return refused(refusal),
            // In A2A there are requests only.
            ClientMessage::Pass(_) => return status_only(StatusCode::ACCEPTED),
            ClientMessage::Request(request) => request,
        };
        proxy.in_order(&request).await;
        let mut response = match proxy.decide(request).durable().await {
            Verdict::Answer(answer) => json(StatusCode::OK, answer),
            Verdict::Unrecorded(answer) => unrecorded(answer),
            Verdict::Forward(forward) => self.call(served, &proxy, headers, *forward).await,
        };
        if *proxy.direction() == Direction::Incoming {
            Extensions::confirm(response.headers_mut());
        }
        response
    }

    /// Sends a call that was allowed, and answers with what comes back.
    async fn call(
        &self,
        served: &Served,
        proxy: &Arc<Proxy>,
        headers: &HeaderMap,
        forward: Forward,
    ) -> Response {
        let deadline = Instant::now() + self.limit;
        let Forward { bytes, mut call } = forward;
        call.sent();
        let sending = post(
            &self.client,
            &served.url,
            onward(proxy.direction(), headers),
            bytes,
            proxy.server_bytes(),
        );
        match timeout(self.limit, sending).await {
            Ok(Ok(Reply::Whole {
                status,
                is_json,
                body,
                ..
            })) => {
                let answer = match answer_to(proxy, is_json, body, &call) {
                    Some(message) => call.answered_in_order(message).await.durable().await,
                    None => {
                        let reason =
                            format!("the agent answered with status {status} and no result");
                        let failed = call.failed(Executed::Maybe, "upstream_failed", &reason);
                        failed.durable().await
                    }
                };
                json(StatusCode::OK, answer)
            }
            Ok(Ok(Reply::Events {
                events: upstream, ..
            })) => {
                let (sender, body) = stream();
                let pump = Pump::new(
                    Arc::clone(proxy),
                    upstream,
                    call,
                    deadline,
                    self.max_bytes,
                    sender,
                );
                tokio::spawn(pump.run());
                events(StatusCode::OK, body)
            }
            Ok(Err(lost)) => {
                let executed = match lost {
                    NoReply::NotSent(_) => Executed::No,
                    NoReply::Lost(_) | NoReply::TooLarge => Executed::Maybe,
                };
                let failed = call.failed(executed, lost.code(), &lost.reason());
                json(StatusCode::OK, failed.durable().await)
            }
            Err(_) => {
                let reason = format!("the agent has not answered for {} s", self.limit.as_secs());
                let failed = call.failed(Executed::Maybe, "call_timed_out", &reason);
                json(StatusCode::OK, failed.durable().await)
            }
        }
    }
}

/// The headers of a request that the agent, or the other operator, gets.
fn onward(direction: &Direction, headers: &HeaderMap) -> HeaderMap {
    let mut onward = HeaderMap::new();
    for (name, value) in headers {
        let goes_on =
            name == VERSION || matches!(name.as_str(), "traceparent" | "tracestate" | "baggage");
        if goes_on {
            onward.append(name.clone(), value.clone());
        }
    }
    let activated = matches!(direction, Direction::Outgoing(_));
    Extensions::of(headers).write(activated, &mut onward);
    onward
}

/// The answer to the call, if that is what the body is.
fn answer_to(proxy: &Proxy, is_json: bool, body: bytes::Bytes, call: &OpenCall) -> Option<Message> {
    if !is_json {
        return None;
    }
    match proxy.read_from_server(Ok(body)) {
        ServerMessage::Answer(message) if message.id() == Some(call.id()) => Some(message),
        ServerMessage::Answer(_) | ServerMessage::Pass(_) => {
            tracing::warn!("dropped an agent's body that does not answer the request");
            None
        }
        ServerMessage::Dropped { code, reason } => {
            tracing::warn!(code, reason, "dropped what the agent sent");
            None
        }
    }
}

/// The routes of A2A agents.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/a2a/{server}", any(handle))
        .route("/a2a/{server}/", any(handle))
        .route("/a2a/{server}/.well-known/agent-card.json", get(card))
        .with_state(service)
}

async fn handle(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    match service.servers.get(&name) {
        Some(served) => service.answer(served, request).await,
        None => status_only(StatusCode::NOT_FOUND),
    }
}

async fn card(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let Some(served) = service.servers.get(&name) else {
        return status_only(StatusCode::NOT_FOUND);
    };
    // Like a manifest, the card of an agent that others call is for everybody.
    if let Err(turned) = service.admit(served, &request) {
        let recorded = service.gate.record_refusal(turned.code).await;
        return turned_away(recorded.map_or_else(Turned::from, |()| turned));
    }
    if service.gate.enforcer().is_none() {
        return status_only(StatusCode::SERVICE_UNAVAILABLE);
    }
    let fetching = card::fetch(&service.client, served, service.max_bytes);
    let fetched = match timeout(service.limit, fetching).await {
        Ok(fetched) => fetched,
        Err(_) => return status_only(StatusCode::GATEWAY_TIMEOUT),
    };
    match fetched.and_then(|card| card::rewrite(&card, served, &service.own)) {
        Ok(card) => json(StatusCode::OK, card.into()),
        Err(reason) => {
            tracing::warn!(server = %served.config.name, reason, "an agent card cannot be shown");
            status_only(StatusCode::BAD_GATEWAY)
        }
    }
}
