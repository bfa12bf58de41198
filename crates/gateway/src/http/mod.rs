//! MCP over streamable HTTP: `/mcp/<server>`, in front of a server that speaks it too, or of one
//! that the gateway runs over stdio.

pub(crate) mod body;
mod guard;
mod process;
mod process_output;
mod pump;
pub(crate) mod queue;
mod relay;
pub(crate) mod reply;
mod session;
mod unsolicited;
pub(crate) mod upstream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use counterfoil_listener::{BodyError, receive};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::names::SessionName;
use tokio::sync::watch;

pub(crate) use self::guard::{Addresses, Agents, Turned, check_json};
use self::guard::{check_get, check_post};
use self::relay::Line;
use self::reply::{json, refused, status_only, turned_away, unrecorded};
use self::session::Sessions;
use self::upstream::{PROTOCOL_VERSION, SESSION};
use crate::config::{Config, Protocol, Upstream};
use crate::error::GatewayError;
use crate::exchange::Errands;
use crate::message::refusal::HEADER_MISMATCH;
use crate::message::{Revision, headers};
use crate::proxy::{Caller, ClientMessage, Direction, Gate, Proxy, Refused, Verdict};

/// How long the body of a request may take to arrive.
pub(crate) const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Everything the MCP endpoint needs, made once.
#[derive(Debug)]
pub(crate) struct Service {
    gate: Gate,
    servers: HashMap<String, Served>,
    errands: Option<Errands>,
    agents: Agents,
    addresses: Addresses,
    max_bytes: usize,
    evidence_limit: Duration,
    /// Shared with every line, where streams without a call end when it turns true.
    stopping: watch::Sender<bool>,
}

/// One server behind the gateway.
#[derive(Debug)]
struct Served {
    config: crate::config::Server,
    via: Via,
}

#[derive(Debug)]
enum Via {
    Url(Line),
    Command(Sessions),
}

impl Service {
    /// Reads the agents' tokens and prepares every server; starts and connects to none.
    pub(crate) fn new(
        config: &Config,
        gate: Gate,
        errands: Option<Errands>,
        addresses: Addresses,
    ) -> Result<Self, GatewayError> {
        let client = upstream::client()?;
        let stopping = watch::Sender::new(false);
        let servers = config
            .servers
            .iter()
            .filter(|server| server.protocol == Protocol::Mcp)
            .map(|server| {
                let via = match &server.upstream {
                    Upstream::Url(url) => Via::Url(Line {
                        client: client.clone(),
                        url: url.clone(),
                        parked: Arc::default(),
                        limit: config.gateway.call_limit,
                        stopping: stopping.clone(),
                    }),
                    Upstream::Command(command) => {
                        Via::Command(Sessions::new(command.clone(), config.gateway.call_limit))
                    }
                };
                let served = Served {
                    config: server.clone(),
                    via,
                };
                (server.name.as_str().to_owned(), served)
            })
            .collect();
        Ok(Self {
            gate,
            errands,
            servers,
            agents: Agents::read(config)?,
            addresses,
            max_bytes: config.gateway.message_bytes,
            evidence_limit: config.gateway.evidence_limit,
            stopping,
        })
    }

    /// Ends the streams on which clients only listen.
    pub(crate) fn stop_listening(&self) {
        self.stopping.send_replace(true);
        for served in self.servers.values() {
            if let Via::Command(sessions) = &served.via {
                sessions.stop_listening();
            }
        }
    }

    /// Ends all servers that it runs.
    pub(crate) fn close(&self) {
        for served in self.servers.values() {
            if let Via::Command(sessions) = &served.via {
                sessions.close();
            }
        }
    }

    /// Checks what must hold before a body is read; who calls.
    fn admit(&self, served: &Served, request: &Request) -> Result<Caller, Turned> {
        let headers = request.headers();
        self.addresses.check(headers, request.uri())?;
        let mut caller = match served.config.direction {
            Direction::Incoming => Caller::by_evidence(),
            Direction::Local | Direction::Outgoing(_) => Caller {
                agent: self.agents.authenticate(headers)?,
                session: None,
            },
        };
        // A session's id is as good as a password to some servers: only its digest is recorded.
        caller.session = headers
            .get(SESSION)
            .map(|id| ContentDigest::of(id.as_bytes()).to_string())
            .and_then(|digest| digest.get(..16).map(str::to_owned))
            .and_then(|digest| SessionName::new(digest).ok());
        match *request.method() {
            Method::POST => check_post(headers)?,
            Method::GET => check_get(headers)?,
            _ => {}
        }
        Ok(caller)
    }
}

/// The routes of the MCP endpoint.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/mcp/{server}", any(handle))
        .with_state(service)
}

async fn handle(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let Some(served) = service.servers.get(&name) else {
        return status_only(StatusCode::NOT_FOUND);
    };
    let caller = match service.admit(served, &request) {
        Ok(caller) => caller,
        Err(turned) => {
            let recorded = service.gate.record_refusal(turned.code).await;
            return turned_away(recorded.map_or_else(Turned::from, |()| turned));
        }
    };
    let proxy = Proxy::new(
        service.gate.clone(),
        served.config.name.clone(),
        served.config.direction.clone(),
        caller,
        service.max_bytes,
    );
    let proxy = proxy
        .with_errands(service.errands.clone())
        .with_evidence_limit(service.evidence_limit);
    let proxy = Arc::new(proxy);
    if let Err(refused_version) = take_revision(&proxy, request.headers()) {
        return refused(proxy.record(refused_version).await);
    }
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::POST => match read_body(&proxy, body).await {
            Ok(body) => post(&service, served, proxy, &parts.headers, body).await,
            Err(unread) => refused(proxy.record(unread).await),
        },
        Method::GET | Method::DELETE if service.gate.enforcer().is_none() => {
            status_only(StatusCode::SERVICE_UNAVAILABLE)
        }
        Method::GET => match &served.via {
            Via::Url(line) => line.listen(proxy, &parts.headers).await,
            Via::Command(sessions) => sessions.listen(&proxy, &parts.headers),
        },
        Method::DELETE => match &served.via {
            Via::Url(line) => line.delete(&parts.headers).await,
            Via::Command(sessions) => sessions.delete(&proxy, &parts.headers),
        },
        _ => status_only(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Takes the revision from its header; requests of 2026-07-28 repeat it in the body.
fn take_revision(proxy: &Proxy, headers: &HeaderMap) -> Result<(), Refused> {
    let mut values = headers.get_all(PROTOCOL_VERSION).iter();
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else { return Ok(()) };
    let revision = value.to_str().ok().and_then(Revision::parse);
    match (revision, more) {
        (Some(revision), None) => {
            proxy.set_revision(revision);
            Ok(())
        }
        // Said to be assumed where the header is missing: with it, the oldest we speak is meant.
        (None, None) if value == "2025-03-26" => Ok(()),
        _ => Err(proxy.refuse_unread(
            "unsupported_protocol_version",
            "`MCP-Protocol-Version` names no revision that is spoken here",
            400,
        )),
    }
}

async fn read_body(proxy: &Proxy, body: Body) -> Result<Bytes, Refused> {
    receive(body, proxy.client_bytes(), BODY_PATIENCE)
        .await
        .map_err(|error| {
            let (code, status) = match error {
                BodyError::TooLarge { .. } => ("message_too_long", 413),
                BodyError::TooSlow { .. } => ("body_too_slow", 408),
                BodyError::Broken(_) => ("body_unreadable", 400),
            };
            proxy.refuse_unread(code, &error.to_string(), status)
        })
}

async fn post(
    service: &Service,
    served: &Served,
    proxy: Arc<Proxy>,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let read = proxy.read(Ok(body));
    let message = match &read {
        ClientMessage::Refused(refusal) => {
            return refused(proxy.record(refusal.clone()).await);
        }
        ClientMessage::Pass(message) => message,
        ClientMessage::Request(request) => request.message(),
    };
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    if let Err(mismatch) = headers::check(message, pairs) {
        let reason = format!("{mismatch}. Nothing was forwarded.");
        let refusal = proxy.refuse_as(message, mismatch.code(), &reason, HEADER_MISMATCH);
        return refused(proxy.record(refusal).await);
    }
    if service.gate.enforcer().is_none() {
        return status_only(StatusCode::SERVICE_UNAVAILABLE);
    }
    match (&served.via, read) {
        (_, ClientMessage::Refused(refusal)) => refused(refusal),
        (Via::Command(sessions), read) => sessions.post(proxy, headers, read).await,
        (Via::Url(line), ClientMessage::Pass(message)) => line.pass(proxy, headers, message).await,
        (Via::Url(line), ClientMessage::Request(request)) => {
            proxy.in_order(&request).await;
            match proxy.decide(request).durable().await {
                Verdict::Answer(answer) => json(StatusCode::OK, answer),
                Verdict::Unrecorded(answer) => unrecorded(answer),
                Verdict::Forward(forward) => line.call(proxy, headers, *forward).await,
            }
        }
    }
}
