//! Plain HTTP APIs behind the gateway: `/http/<server>/<path>`.
//!
//! The same handshake as for MCP, for an API that knows nothing of it: the asking gateway puts its
//! signed request into a header, the asked one takes it out, verifies it, decides, and answers with
//! its decision and outcome in a header. Bodies pass as they are. Spec: http.

mod call;
mod commitment;
mod evidence_header;
mod headers;
mod problem;
mod reply;
mod target;
mod upstream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue, request};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use counterfoil_enforcer::call::{Call, Envelope, Party};
use counterfoil_enforcer::{Decided, EnforcerError, Permit};
use counterfoil_listener::{BodyError, receive};

use self::call::OpenCall;
use self::evidence_header::{EVIDENCE, Evidence};
use self::headers::HeaderError;
use self::problem::Problem;
use self::target::Target;
use self::upstream::{NoReply, Upstream};
use crate::config::{self, Config, Protocol};
use crate::error::GatewayError;
use crate::exchange::{Errands, Pushed};
use crate::http::upstream::client;
use crate::http::{Addresses, Agents, BODY_PATIENCE, Turned};
use crate::proxy::{Caller, Direction, Executed, Gate, TooManyRefusals, fill, run_errands};

/// Where the paths of servers begin.
const PREFIX: &str = "/http/";

/// Everything that answering for HTTP APIs needs, made once.
#[derive(Debug)]
pub(crate) struct Api {
    gate: Gate,
    errands: Option<Errands>,
    agents: Agents,
    addresses: Addresses,
    pushed: Pushed,
    max_bytes: usize,
    evidence_limit: Duration,
    servers: HashMap<String, Served>,
}

/// One server behind the gateway.
#[derive(Debug)]
struct Served {
    config: config::Server,
    upstream: Upstream,
}

/// A request that has been read.
struct Asked {
    target: Target,
    headers: HeaderMap,
    parameters: Vec<u8>,
    body: Bytes,
    /// What came along, where other operators call.
    envelope: Option<Envelope>,
    caller: Caller,
}

/// Why a request goes no further, and whether that is to be recorded.
struct Refused {
    problem: Box<Problem>,
    code: &'static str,
}

impl Refused {
    fn new(status: u16, code: &'static str, reason: &str) -> Self {
        Self {
            problem: Box::new(Problem::refused(status, code, reason)),
            code,
        }
    }
}

impl From<Turned> for Refused {
    fn from(turned: Turned) -> Self {
        Self {
            problem: Box::new(Problem::turned(turned)),
            code: turned.code,
        }
    }
}

impl From<HeaderError> for Refused {
    fn from(error: HeaderError) -> Self {
        Self::new(error.status(), error.code(), &error.to_string())
    }
}

impl Api {
    /// Reads the agents' tokens and prepares every server; connects to none.
    pub(crate) fn new(
        config: &Config,
        gate: Gate,
        errands: Option<Errands>,
        addresses: Addresses,
        pushed: Pushed,
    ) -> Result<Self, GatewayError> {
        let client = client()?;
        let max_bytes = config.gateway.message_bytes;
        let limit = config.gateway.call_limit;
        let servers = config
            .servers
            .iter()
            .filter(|server| server.protocol == Protocol::Http)
            .filter_map(|server| match &server.upstream {
                config::Upstream::Url(url) => Some((server, url)),
                // The configuration has refused that.
                config::Upstream::Command(_) => None,
            })
            .map(|(server, url)| {
                let served = Served {
                    config: server.clone(),
                    upstream: Upstream::new(client.clone(), url, limit, max_bytes),
                };
                (server.name.as_str().to_owned(), served)
            })
            .collect();
        Ok(Self {
            gate,
            errands,
            agents: Agents::read(config)?,
            addresses,
            pushed,
            max_bytes,
            evidence_limit: config.gateway.evidence_limit,
            servers,
        })
    }

    async fn answer(&self, parts: request::Parts, body: Body) -> Response {
        let method = parts.method.clone();
        let inside = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let (name, path) = match inside.find('/') {
            Some(at) => inside.split_at(at),
            None => (inside, "/"),
        };
        let Some(served) = self.servers.get(name) else {
            let problem = Problem::refused(404, "unknown_server", "there is no such server here");
            return problem.reply().to(&method).respond(None);
        };
        match self.read(served, &parts, path, body).await {
            Ok(asked) => self.decide(served, asked).await,
            Err(refused) => {
                let recorded = self.gate.record_refusal(refused.code).await;
                let problem = match recorded {
                    Ok(()) => *refused.problem,
                    Err(TooManyRefusals) => Problem::turned(TooManyRefusals.into()),
                };
                problem.reply().to(&method).respond(None)
            }
        }
    }

    /// Checks everything that can be checked without deciding, the body last.
    async fn read(
        &self,
        served: &Served,
        parts: &request::Parts,
        path: &str,
        body: Body,
    ) -> Result<Asked, Refused> {
        let headers = &parts.headers;
        headers::check_framing(parts.version, headers)?;
        if parts.uri.authority().is_some() {
            let reason = "the request names its target with scheme and host";
            return Err(Refused::new(400, "target_form_not_supported", reason));
        }
        self.addresses.check(headers, &parts.uri)?;
        let incoming = served.config.direction == Direction::Incoming;
        let caller = if incoming {
            Caller::by_evidence()
        } else {
            Caller {
                agent: self.agents.authenticate(headers)?,
                session: None,
            }
        };
        let target = Target::read(&parts.method, path, parts.uri.query())
            .map_err(|error| Refused::new(error.status(), error.code(), &error.to_string()))?;
        let committed = headers::of_request(headers)?;
        let envelope = if incoming {
            self.evidence(headers)?
        } else if headers.contains_key(EVIDENCE) {
            return Err(HeaderError::EvidencePresent.into());
        } else {
            None
        };
        let body = receive(body, self.max_bytes, BODY_PATIENCE)
            .await
            .map_err(|error| {
                let (status, code) = match error {
                    BodyError::TooLarge { .. } => (413, "message_too_long"),
                    BodyError::TooSlow { .. } => (408, "body_too_slow"),
                    BodyError::Broken(_) => (400, "body_unreadable"),
                };
                Refused::new(status, code, &error.to_string())
            })?;
        Ok(Asked {
            parameters: commitment::parameters(&target, &committed, &body),
            headers: headers::onward(&committed, headers),
            target,
            body,
            envelope,
            caller,
        })
    }

    /// What another operator sent along. What is malformed is an envelope without records, which
    /// the enforcer refuses and records as malformed evidence.
    fn evidence(&self, headers: &HeaderMap) -> Result<Option<Envelope>, Refused> {
        match Evidence::of(headers) {
            Ok(None) => Ok(None),
            Ok(Some(Evidence::Records(envelope))) => Ok(Some(envelope)),
            Ok(Some(Evidence::Reference(id, envelope))) => match self.pushed.get(id) {
                Some(pushed) => Ok(Some(Envelope {
                    records: vec![pushed.record],
                    receipt: pushed.receipt.map(|receipt| receipt.to_vec()),
                    ..envelope
                })),
                None => {
                    let reason = "the record that the request refers to has not been pushed here";
                    Err(Refused::new(403, "evidence_reference_unknown", reason))
                }
            },
            Err(_) => Ok(Some(Envelope::default())),
        }
    }

    /// Decides a request and, if it is allowed, has it answered.
    async fn decide(&self, served: &Served, asked: Asked) -> Response {
        let method = asked.target.method.clone();
        let enforcer = match &self.gate {
            Gate::Open(enforcer) => enforcer,
            Gate::Refusing { code, detail } => {
                let reason = format!("the gateway cannot decide now: {detail}");
                let problem = Problem::refused(503, code.as_str(), &reason);
                return problem.reply().to(&method).respond(None);
            }
        };
        let direction = &served.config.direction;
        let call = Call {
            on_behalf_of: None,
            session: asked.caller.session.clone(),
            server: served.config.name.clone(),
            verb: asked.target.verb.clone(),
            tool: asked.target.tool.clone(),
            arguments: &asked.parameters,
            parameters: &asked.parameters,
            attestations: &[],
        };
        let party = match direction {
            Direction::Local => Party::Local {
                agent: asked.caller.agent.clone(),
            },
            Direction::Outgoing(counterparty) => Party::Outgoing {
                agent: asked.caller.agent.clone(),
                counterparty,
            },
            Direction::Incoming => Party::Incoming {
                envelope: asked.envelope.as_ref(),
            },
        };
        // A request may overtake those before it.
        if let Party::Incoming {
            envelope: Some(envelope),
        } = &party
            && let Some(held) = enforcer.hold(envelope)
        {
            fill(held, self.errands.as_ref()).await;
        }
        let decided = match enforcer.authorize(&call, &party) {
            Ok(pending) => pending.durable().await,
            Err(error) => Err(error),
        };
        match decided {
            Ok(Decided::Allowed(mut permit)) => {
                match permit.attest(self.evidence_limit).await {
                    Ok(()) => self.forward(served, asked, permit).await,
                    // The permit, dropped, records that nothing was executed.
                    Err(late) => {
                        let code = late.reason.as_str();
                        let problem = Problem::refused(503, code, &late.explanation);
                        problem.reply().to(&method).respond(None)
                    }
                }
            }
            Ok(Decided::Denied(denial)) => {
                if let Some(errands) = &self.errands {
                    run_errands(errands, direction, asked.envelope.as_ref(), &denial);
                }
                let reply = Problem::denied(&denial).reply().to(&method);
                let evidence = denial.envelope.map(|envelope| {
                    let whole = Evidence::Records(envelope);
                    if whole.encode().is_some() {
                        whole
                    } else {
                        Evidence::Reference(denial.record, Envelope::default())
                    }
                });
                reply.respond(evidence.as_ref())
            }
            Err(EnforcerError::TooManyRefusals) => Problem::turned(TooManyRefusals.into())
                .reply()
                .to(&method)
                .respond(None),
            Err(error) => {
                tracing::error!(code = error.code(), %error, "a call was denied: no decision could be recorded");
                Problem::undecided(&error).reply().to(&method).respond(None)
            }
        }
    }

    /// Sends on what was allowed.
    async fn forward(&self, served: &Served, asked: Asked, permit: Permit) -> Response {
        let Gate::Open(enforcer) = &self.gate else {
            return Problem::refused(503, "gate_closed", "the gateway cannot decide now")
                .reply()
                .respond(None);
        };
        let mut call = OpenCall::new(
            permit,
            asked.target.method.clone(),
            served.config.direction.clone(),
            enforcer.clone(),
            self.errands.clone(),
        );
        let not_sent = |code, reason: String| NoReply {
            executed: Executed::No,
            status: 502,
            code,
            reason,
        };
        let Some(url) = served.upstream.url(&asked.target) else {
            let reason = "the path or query cannot be sent on as it is".to_owned();
            return call.failed(&not_sent("target_not_sendable", reason)).await;
        };
        let mut headers = asked.headers;
        match call.evidence().await {
            Ok(None) => {}
            Ok(Some(evidence)) => {
                if let Some(value) = evidence.encode() {
                    headers.insert(EVIDENCE, value);
                }
            }
            Err(detail) => {
                let reason = format!("the evidence could not be sent: {detail}");
                return call.failed(&not_sent("evidence_not_sent", reason)).await;
            }
        }
        call.sent();
        match served
            .upstream
            .send(&asked.target, url, headers, asked.body)
            .await
        {
            Ok(reply) => call.answered(reply).await,
            Err(lost) => call.failed(&lost).await,
        }
    }
}

/// The routes of HTTP APIs.
pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/http/{server}", any(handle))
        .route("/http/{server}/", any(handle))
        .route("/http/{server}/{*path}", any(handle))
        .with_state(api)
}

async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let ends = headers::ends_connection(&parts.headers);
    let mut response = api.answer(parts, body).await;
    if ends {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests;
