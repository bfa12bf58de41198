//! What another operator sends: checked before anything else runs.
//!
//! Spec: mcp §5 (the checks, in order, and their reason codes).

use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{OperatorName, PrincipalName, ReasonCode, SessionName};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::record::{
    Acknowledgement, Body, DecidedRequest, Request, UnverifiedRecord, VerifiedRecord,
};

use crate::call::{Call, Envelope, MAX_ENVELOPE_RECORDS};
use crate::channel::Discontinuity;
use crate::decide::People;
use crate::enforcer::{Core, Enforcer};
use crate::error::{Blocked, EnforcerError};
use crate::journal::{Item, Received};

/// Why something that came from another operator is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: ReasonCode,
    pub(crate) explanation: String,
}

/// An envelope whose records have been parsed and whose signatures have been verified.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    counterparty: Option<OperatorName>,
    records: Vec<(VerifiedRecord, Vec<u8>)>,
    pub(crate) salt: Option<Salt>,
    disclosures: Vec<Disclosure>,
    refusal: Option<Refusal>,
}

/// An envelope that has been taken into its channel.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The operator, once its signature is beyond doubt.
    pub(crate) counterparty: Option<OperatorName>,
    /// The stream that the call came from.
    pub(crate) stream: Option<KeyThumbprint>,
    /// The request that is to be decided; none when it is not authentic or was decided before.
    pub(crate) request: Option<DecidedRequest>,
    pub(crate) refusal: Option<Refusal>,
}

/// Parses and verifies what came with a call. Takes no lock for long.
pub(crate) fn check(core: &Core, envelope: Option<&Envelope>) -> Incoming {
    let mut incoming = Incoming::default();
    let Some(envelope) = envelope else {
        incoming.refuse(
            "evidence_missing",
            "the call came without a signed request".to_owned(),
        );
        return incoming;
    };
    incoming.salt = envelope.salt;
    incoming.disclosures.clone_from(&envelope.disclosures);
    if let Err(refusal) = incoming.verify(core, envelope) {
        incoming.refusal = Some(refusal);
    }
    incoming
}

impl Incoming {
    fn refuse(&mut self, reason: &'static str, explanation: String) {
        self.refusal = Some(Refusal::new(reason, explanation));
    }

    fn verify(&mut self, core: &Core, envelope: &Envelope) -> Result<(), Refusal> {
        if envelope.records.is_empty() || envelope.records.len() > MAX_ENVELOPE_RECORDS {
            return Err(Refusal::new(
                "evidence_malformed",
                format!("{} records came with the call", envelope.records.len()),
            ));
        }
        let last = envelope.records.len() - 1;
        for (index, bytes) in envelope.records.iter().enumerate() {
            let record = UnverifiedRecord::parse(bytes)
                .map_err(|failure| Refusal::new(failure.code().as_str(), failure.to_string()))?;
            let Some(link) = record
                .unverified_content()
                .channel()
                .filter(|link| link.counterparty == core.identity.operator)
            else {
                return Err(Refusal::new(
                    "channel_mismatch",
                    format!(
                        "a record that came is not meant for {}",
                        core.identity.operator
                    ),
                ));
            };
            // What is sent again has been verified before.
            let this = Acknowledgement {
                stream: record.kid(),
                sequence: link.sequence,
                id: record.id(),
            };
            let known = core
                .stream()
                .channels
                .get(record.issuer())
                .is_some_and(|channel| channel.has_received(this));
            if known && index != last {
                continue;
            }
            if self
                .counterparty
                .as_ref()
                .is_some_and(|first| first != record.issuer())
            {
                return Err(Refusal::new(
                    "evidence_malformed",
                    "records of two operators came with one call".to_owned(),
                ));
            }
            // A retired key's records may still be missing here; it asks for nothing any more.
            let asks = matches!(record.unverified_content().body, Body::Request(_));
            let key = if asks && index == last {
                core.operators.enforcer_key(record.issuer(), record.kid())
            } else {
                core.operators.unrevoked_key(record.issuer(), record.kid())
            }
            .map_err(|failure| Refusal::new(failure.code().as_str(), failure.to_string()))?;
            let verified = record
                .verify(&key)
                .map_err(|failure| Refusal::new(failure.code().as_str(), failure.to_string()))?;
            self.counterparty = Some(verified.issuer().clone());
            self.records.push((verified, bytes.to_vec()));
        }
        Ok(())
    }

    /// Whether every record that came has been verified: an operator stands behind the call.
    pub(crate) const fn is_signed(&self) -> bool {
        self.refusal.is_none() && self.counterparty.is_some()
    }

    /// Who acts according to the request, when it is authentic. Its people are known as far as
    /// they were disclosed to us.
    pub(crate) fn people(&self) -> Option<People> {
        let (record, request) = self.request()?;
        let name = |field| {
            let disclosure = self.disclosures.iter().find(|one| one.field == field)?;
            let held = record.record().disclosable(field);
            (held == Some(disclosure.digest()))
                .then(|| String::from_utf8(disclosure.content.clone()).ok())?
        };
        Some(People {
            actor: request.actor.clone(),
            on_behalf_of: name(DisclosedField::OnBehalfOf)
                .and_then(|name| PrincipalName::new(name).ok()),
            session: name(DisclosedField::Session).and_then(|name| SessionName::new(name).ok()),
        })
    }

    fn request(&self) -> Option<(&VerifiedRecord, &Request)> {
        match self.records.last() {
            Some((record, _)) if self.refusal.is_none() => match &record.record().body {
                Body::Request(request) => Some((record, request)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Takes the records into their channel and judges the call they came with.
    pub(crate) fn arrive(
        self,
        core: &Core,
        call: &Call<'_>,
        parameters: ContentDigest,
        now: UnixMillis,
    ) -> Result<Arrival, EnforcerError> {
        if let Some(refusal) = self.refusal {
            // A signature that failed names nobody; one that holds names its operator.
            return Ok(Arrival {
                counterparty: None,
                stream: None,
                request: None,
                refusal: Some(refusal),
            });
        }
        let Some(counterparty) = self.counterparty.clone() else {
            let refusal = Refusal::new("evidence_missing", "no record came".to_owned());
            return Ok(Arrival {
                counterparty: None,
                stream: None,
                request: None,
                refusal: Some(refusal),
            });
        };
        let stream = self.records.last().map(|(record, _)| record.kid());
        let request = self.request().map(|(record, request)| {
            let refusal = judge(record, request, &counterparty, call, parameters, now, core);
            let asked = Acknowledgement {
                stream: record.kid(),
                sequence: request.channel.sequence,
                id: record.id(),
            };
            (asked, refusal)
        });
        let joined = join(core, &counterparty, &self.records)?;
        let Some((asked, refusal)) = request else {
            let refusal = joined.err().unwrap_or_else(|| {
                Refusal::new(
                    "evidence_malformed",
                    "the last record is not a request".to_owned(),
                )
            });
            return Ok(Arrival {
                counterparty: Some(counterparty),
                stream,
                request: None,
                refusal: Some(refusal),
            });
        };
        let first_time = core.stream().channel(&counterparty).claim(asked);
        let refusal = match joined {
            Err(refusal) => Some(refusal),
            Ok(()) if !first_time => Some(Refusal::new(
                "request_replayed",
                format!("request {} has been decided already", asked.id),
            )),
            Ok(()) => refusal,
        };
        // Whoever decides one request twice contradicts itself: a repeat is refused as no request.
        let request = first_time.then_some(DecidedRequest {
            id: asked.id,
            evidence: Level::Signed,
        });
        Ok(Arrival {
            counterparty: Some(counterparty),
            stream,
            request,
            refusal,
        })
    }
}

/// Checks the request itself against the call that it came with.
fn judge(
    record: &VerifiedRecord,
    request: &Request,
    counterparty: &OperatorName,
    call: &Call<'_>,
    parameters: ContentDigest,
    now: UnixMillis,
    core: &Core,
) -> Option<Refusal> {
    if request.actor.operator != *counterparty {
        return Some(Refusal::new(
            "actor_mismatch",
            format!(
                "{counterparty} asks for an agent of {}",
                request.actor.operator
            ),
        ));
    }
    if request.action.verb != call.verb
        || request.action.tool != call.tool
        || request.action.server != call.server
    {
        return Some(Refusal::new(
            "action_mismatch",
            format!(
                "the request is for {} {} of {}, the call for {} {} of {}",
                request.action.verb,
                request.action.tool,
                request.action.server,
                call.verb,
                call.tool,
                call.server
            ),
        ));
    }
    if request.parameters != parameters {
        return Some(Refusal::new(
            "parameters_mismatch",
            "the parameters are not those that were signed for".to_owned(),
        ));
    }
    let time = record.record().time;
    let distance = now.since(time).max(time.since(now));
    if distance > core.freshness_millis {
        return Some(Refusal::new(
            "request_stale",
            format!(
                "the request's time is {distance} ms from ours, at most {} are allowed",
                core.freshness_millis
            ),
        ));
    }
    None
}

/// Takes authentic records into the channel and queues them for the journal, in one step.
pub(crate) fn join(
    core: &Core,
    counterparty: &OperatorName,
    records: &[(VerifiedRecord, Vec<u8>)],
) -> Result<Result<(), Refusal>, EnforcerError> {
    let mut stream = core.stream();
    let channel = stream.channel(counterparty);
    let mut received = Vec::new();
    let mut refused = None;
    let mut refusal = None;
    for (record, bytes) in records {
        let kept = || Received {
            operator: counterparty.clone(),
            bytes: bytes.clone(),
        };
        match channel.receive(
            core.identity.kid,
            record.kid(),
            record.id(),
            record.record(),
        ) {
            Ok(true) => received.push(kept()),
            Ok(false) => {}
            Err(discontinuity) => {
                let because = Refusal::discontinuity(discontinuity);
                // A fork is evidence against whoever signed it: it is kept. A gap is not.
                if !matches!(discontinuity, Discontinuity::Gap { .. }) {
                    let reason = because.reason.clone();
                    refused = Some(Item::Refused {
                        id: record.id(),
                        reason,
                        record: kept(),
                    });
                }
                refusal = Some(because);
                break;
            }
        }
    }
    let received = (!received.is_empty()).then_some(Item::Received(received));
    for item in received.into_iter().chain(refused) {
        // Nobody waits for this ticket: whatever is made because of these records comes after
        // them in the same queue, and is durable only when they are.
        if let Err(error) = core.committer.submit(item) {
            // The channel has moved on, the journal will not: the next record would acknowledge
            // what is not there.
            let error = EnforcerError::from(error);
            stream.blocked = Some(Blocked::Failed(error.to_string()));
            return Err(error);
        }
    }
    drop(stream);
    Ok(refusal.map_or(Ok(()), Err))
}

/// Verifies what came with an answer of `counterparty` and takes it into the channel.
pub(crate) fn join_answer(
    core: &Core,
    counterparty: &OperatorName,
    envelope: &Envelope,
) -> Result<Result<(), Refusal>, EnforcerError> {
    let incoming = check(core, Some(envelope));
    if let Some(refusal) = incoming.refusal {
        return Ok(Err(refusal));
    }
    if incoming.counterparty.as_ref() != Some(counterparty) {
        return Ok(Err(Refusal::new(
            "evidence_malformed",
            format!("the answer's records are not of {counterparty}"),
        )));
    }
    join(core, counterparty, &incoming.records)
}

impl Enforcer {
    /// Takes in records that came outside of a call: pushed or pulled through the exchange API.
    /// They are durable when this returns.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`] naming the reason when they are refused; an error of the
    /// journal when they cannot be written.
    pub fn ingest(&self, envelope: &Envelope) -> Result<OperatorName, EnforcerError> {
        let incoming = check(&self.core, Some(envelope));
        let refused = |refusal: Refusal| EnforcerError::Refused {
            reason: refusal.reason,
            explanation: refusal.explanation,
        };
        if let Some(refusal) = incoming.refusal {
            return Err(refused(refusal));
        }
        let counterparty = incoming.counterparty.ok_or(EnforcerError::Busy)?;
        join(&self.core, &counterparty, &incoming.records)?.map_err(refused)?;
        self.core.flush()?;
        Ok(counterparty)
    }

    /// How many of our records of a channel the counterparty has not acknowledged.
    pub fn waiting(&self, counterparty: &OperatorName) -> usize {
        let stream = self.core.stream();
        stream
            .channels
            .get(counterparty)
            .map_or(0, crate::channel::Channel::waiting)
    }

    /// All our records of a channel that the counterparty has not acknowledged, durable.
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn unacknowledged(&self, counterparty: &OperatorName) -> Result<Envelope, EnforcerError> {
        let sent = {
            let mut stream = self.core.stream();
            self.core.check_begun(&stream)?;
            stream.channel(counterparty).unacknowledged()
        };
        self.core.flush()?;
        let records = sent
            .iter()
            .filter_map(|sent| sent.bytes.wait().cloned())
            .collect();
        Ok(Envelope {
            records,
            salt: None,
            disclosures: Vec::new(),
        })
    }
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, explanation: String) -> Self {
        Self {
            reason: ReasonCode::literal(reason),
            explanation,
        }
    }

    fn discontinuity(discontinuity: Discontinuity) -> Self {
        match discontinuity {
            Discontinuity::Gap { expected } => Self::new(
                "channel_gap",
                format!("records are missing; the next one expected is {expected}"),
            ),
            Discontinuity::Fork { sequence } => Self::new(
                "channel_fork",
                format!("another record has number {sequence} of this channel"),
            ),
            Discontinuity::Acknowledgement => Self::new(
                "acknowledgement_invalid",
                "a record acknowledges one that was never sent".to_owned(),
            ),
        }
    }
}
