//! Deciding a request.

use std::time::Duration;

use bytes::Bytes;
use counterfoil_enforcer::call::{Call, Denial, Envelope, Party};
use counterfoil_enforcer::contract::NotAttested;
use counterfoil_enforcer::{Decided, EnforcerError, Pending, Permit};

use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::record::UnverifiedRecord;

use super::answer::Asked;
use super::call::OpenCall;
use super::{Direction, Gate, Proxy, Request};
use crate::evidence;
use crate::exchange::{Errands, PUSH_FROM};

/// Records of the other operator are missing here. Spec: mcp §5.
const CHANNEL_GAP: &str = "channel_gap";
/// Too many of our records wait for the other operator to acknowledge them.
const CHANNEL_UNACKNOWLEDGED: &str = "channel_unacknowledged";

/// A request whose decision is on its way to the disk.
#[derive(Debug)]
#[must_use = "the decision counts only once it is durable"]
pub struct Deciding {
    request: Box<Request>,
    direction: Direction,
    errands: Option<Errands>,
    evidence_limit: Duration,
    pending: Begun,
}

/// An allowed request that is not sent before its evidence has been witnessed, or logged, because
/// a contract says so. Dropping it records that the call was not executed.
#[derive(Debug)]
#[must_use = "dropping it records that the call was not executed"]
pub struct Attesting {
    request: Box<Request>,
    direction: Direction,
    errands: Option<Errands>,
    limit: Duration,
    permit: Permit,
}

#[derive(Debug)]
enum Begun {
    Pending(Box<Pending>),
    Failed(EnforcerError),
    Refused(Bytes),
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It goes no further; this is the answer.
    Answer(Bytes),
    /// It goes no further; this is the answer, and no record says so. The HTTP status is 503.
    Unrecorded(Bytes),
    /// It goes to the server.
    Forward(Box<Forward>),
}

/// A request that goes to the server, and what to do when the answer comes.
#[derive(Debug)]
pub struct Forward {
    /// What the server gets.
    pub bytes: Bytes,
    /// The call until it is answered.
    pub call: OpenCall,
}

impl Proxy {
    /// Starts deciding a request. What comes from another operator goes through
    /// [`Proxy::in_order`] before. Calls come in this order into the stream of records.
    pub fn decide(&self, request: Box<Request>) -> Deciding {
        let pending = match &self.gate {
            Gate::Refusing { code, detail } => {
                Begun::Refused(self.refused_by_gate(&Asked::of(&request), code.as_str(), detail))
            }
            Gate::Open(enforcer) => {
                let call = Call {
                    on_behalf_of: None,
                    session: self.caller.session.clone(),
                    server: self.server.clone(),
                    verb: request.verb.clone(),
                    tool: request.tool.clone(),
                    arguments: request.arguments(),
                    parameters: request.message.params_bytes().unwrap_or_default(),
                    attestations: &request.attestations,
                };
                let party = match &self.direction {
                    Direction::Local => Party::Local {
                        agent: self.caller.agent.clone(),
                    },
                    Direction::Outgoing(counterparty) => Party::Outgoing {
                        agent: self.caller.agent.clone(),
                        counterparty,
                    },
                    Direction::Incoming => Party::Incoming {
                        envelope: request.envelope.as_ref(),
                    },
                };
                match enforcer.authorize(&call, &party) {
                    Ok(pending) => Begun::Pending(Box::new(pending)),
                    Err(error) => Begun::Failed(error),
                }
            }
        };
        Deciding {
            request,
            direction: self.direction.clone(),
            errands: self.errands.clone(),
            evidence_limit: self.evidence_limit,
            pending,
        }
    }
}

impl Deciding {
    /// Waits until the decision is durable, blocking the thread. For calls that stay with this
    /// operator, whose evidence nobody waits for.
    pub fn wait(self) -> Verdict {
        match self.wait_for_decision() {
            Ok(verdict) => verdict,
            Err(attesting) => attesting.give_up(&NotAttested {
                reason: ReasonCode::literal("evidence_late"),
                explanation: "the request's evidence is not waited for here".to_owned(),
            }),
        }
    }

    /// Waits until the decision is durable, blocking the thread, but not for the evidence of the
    /// request where a contract asks for it before the call.
    ///
    /// # Errors
    /// The request that has to wait for its evidence.
    pub fn wait_for_decision(self) -> Result<Verdict, Box<Attesting>> {
        let Self {
            request,
            direction,
            errands,
            evidence_limit,
            pending,
        } = self;
        let decided = match pending {
            Begun::Pending(pending) => pending.wait(),
            Begun::Failed(error) => Err(error),
            Begun::Refused(answer) => return Ok(Verdict::Answer(answer)),
        };
        conclude(request, direction, errands, evidence_limit, decided)
    }

    /// Waits until the decision is durable, and for the evidence of the request where a contract
    /// asks for it before the call.
    pub async fn durable(self) -> Verdict {
        let Self {
            request,
            direction,
            errands,
            evidence_limit,
            pending,
        } = self;
        let decided = match pending {
            Begun::Pending(pending) => pending.durable().await,
            Begun::Failed(error) => Err(error),
            Begun::Refused(answer) => return Verdict::Answer(answer),
        };
        match conclude(request, direction, errands, evidence_limit, decided) {
            Ok(verdict) => verdict,
            Err(attesting) => attesting.attested().await,
        }
    }
}

impl Attesting {
    /// Waits for the evidence.
    pub async fn attested(mut self) -> Verdict {
        match self.permit.attest(self.limit).await {
            Ok(()) => {
                let asked = Asked::of(&self.request);
                forward(
                    &self.request,
                    asked,
                    self.direction,
                    self.errands,
                    self.permit,
                )
            }
            Err(late) => self.give_up(&late),
        }
    }

    fn give_up(self, late: &NotAttested) -> Verdict {
        tracing::warn!(code = late.reason.as_str(), "{}", late.explanation);
        let answer = Asked::of(&self.request).not_sent(late);
        // Its outcome need not be durable before the agent hears that nothing happened.
        drop(self.permit);
        Verdict::Answer(answer)
    }
}

fn conclude(
    request: Box<Request>,
    direction: Direction,
    errands: Option<Errands>,
    limit: Duration,
    decided: Result<Decided, EnforcerError>,
) -> Result<Verdict, Box<Attesting>> {
    let asked = Asked::of(&request);
    Ok(match decided {
        Ok(Decided::Allowed(permit)) if permit.needs_receipt() => {
            return Err(Box::new(Attesting {
                request,
                direction,
                errands,
                limit,
                permit,
            }));
        }
        Ok(Decided::Allowed(permit)) => forward(&request, asked, direction, errands, permit),
        Ok(Decided::Denied(denial)) => {
            if let Some(errands) = errands {
                run_errands(&errands, &direction, request.envelope.as_ref(), &denial);
            }
            Verdict::Answer(asked.denial(&denial))
        }
        Err(EnforcerError::TooManyRefusals) => Verdict::Unrecorded(asked.unrecorded()),
        Err(error) => {
            tracing::error!(code = error.code(), %error, "a call was denied: no decision could be recorded");
            Verdict::Answer(asked.undecided(&error))
        }
    })
}

/// Has done outside of calls what would have let this one pass.
pub(crate) fn run_errands(
    errands: &Errands,
    direction: &Direction,
    envelope: Option<&Envelope>,
    denial: &Denial,
) {
    let other = match direction {
        Direction::Outgoing(operator) => Some(operator.clone()),
        Direction::Incoming => envelope.and_then(sender),
        Direction::Local => None,
    };
    match (denial.reason.as_str(), other) {
        (CHANNEL_GAP, Some(operator)) => errands.fetch(&operator),
        (CHANNEL_UNACKNOWLEDGED, Some(operator)) => errands.push(&operator),
        _ => {}
    }
}

/// The operator whose records these are.
fn sender(envelope: &Envelope) -> Option<OperatorName> {
    let record = UnverifiedRecord::parse(envelope.records.last()?).ok()?;
    Some(record.issuer().clone())
}

fn forward(
    request: &Request,
    asked: Asked,
    direction: Direction,
    errands: Option<Errands>,
    permit: Permit,
) -> Verdict {
    let bytes = match permit.request_envelope() {
        None => request.message.bytes().clone(),
        Some(envelope) => {
            if let (Direction::Outgoing(operator), Some(errands)) = (&direction, &errands)
                && envelope.records.len() > PUSH_FROM
            {
                errands.push(operator);
            }
            match request
                .dialect
                .insert(&request.message, &evidence::encode(&envelope))
            {
                Ok(bytes) => bytes,
                // Dropping the permit records that the call was not executed.
                Err(error) => {
                    return Verdict::Answer(asked.error(error.code(), &error.to_string()));
                }
            }
        }
    };
    Verdict::Forward(Box::new(Forward {
        bytes,
        call: OpenCall::new(permit, asked, direction, errands),
    }))
}
