//! Deciding a request.

use bytes::Bytes;
use counterfoil_enforcer::call::{Call, Envelope, Party};
use counterfoil_enforcer::{Decided, EnforcerError, Pending, Permit};

use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::UnverifiedRecord;

use super::answer::Asked;
use super::call::OpenCall;
use super::{Direction, Gate, Proxy, Request};
use crate::evidence;
use crate::exchange::{Errands, PUSH_FROM};
use crate::message::splice;

/// Records of the other operator are missing here. Spec: mcp §5.
pub(super) const CHANNEL_GAP: &str = "channel_gap";
/// Too many of our records wait for the other operator to acknowledge them.
const CHANNEL_UNACKNOWLEDGED: &str = "channel_unacknowledged";

/// A request whose decision is on its way to the disk.
#[derive(Debug)]
#[must_use = "the decision counts only once it is durable"]
pub struct Deciding {
    request: Box<Request>,
    direction: Direction,
    errands: Option<Errands>,
    pending: Begun,
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
    /// Starts deciding a request. Calls come in this order into the stream of records.
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
                    arguments: request.action.arguments_bytes(&request.message),
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
            pending,
        }
    }
}

impl Deciding {
    /// Waits until the decision is durable, blocking the thread.
    pub fn wait(self) -> Verdict {
        let decided = match self.pending {
            Begun::Pending(pending) => pending.wait(),
            Begun::Failed(error) => Err(error),
            Begun::Refused(answer) => return Verdict::Answer(answer),
        };
        conclude(&self.request, self.direction, self.errands, decided)
    }

    /// Waits until the decision is durable.
    pub async fn durable(self) -> Verdict {
        let decided = match self.pending {
            Begun::Pending(pending) => pending.durable().await,
            Begun::Failed(error) => Err(error),
            Begun::Refused(answer) => return Verdict::Answer(answer),
        };
        conclude(&self.request, self.direction, self.errands, decided)
    }
}

fn conclude(
    request: &Request,
    direction: Direction,
    errands: Option<Errands>,
    decided: Result<Decided, EnforcerError>,
) -> Verdict {
    let asked = Asked::of(request);
    match decided {
        Ok(Decided::Allowed(permit)) => forward(request, asked, direction, errands, permit),
        Ok(Decided::Denied(denial)) => {
            if let Some(errands) = errands {
                let other = match direction {
                    Direction::Outgoing(operator) => Some(operator),
                    Direction::Incoming => request.envelope.as_ref().and_then(sender),
                    Direction::Local => None,
                };
                match (denial.reason.as_str(), other) {
                    (CHANNEL_GAP, Some(operator)) => errands.fetch(&operator),
                    (CHANNEL_UNACKNOWLEDGED, Some(operator)) => errands.push(&operator),
                    _ => {}
                }
            }
            Verdict::Answer(asked.denial(&denial))
        }
        Err(EnforcerError::TooManyRefusals) => Verdict::Unrecorded(asked.unrecorded()),
        Err(error) => {
            tracing::error!(code = error.code(), %error, "a call was denied: no decision could be recorded");
            Verdict::Answer(asked.undecided(&error))
        }
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
            match splice::insert(&request.message, &evidence::encode(&envelope)) {
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
